"""One subscription to the gateway, fanned out to all viewers as server-sent events.

A single thread reads batches, writes each once as SSE bytes and keeps the last 60 s in a ring; a viewer is
a cursor into that ring, so a slow one costs nothing and a lost one catches up by the id of its last event.
While the gateway is silent every viewer is told so, and since when. The thread never gives up.

Event ids are `EPOCH-SEQUENCE`: the epoch is the gateway's start, so that a sequence number of another run
of the gateway is never taken for one of this run.
"""

from __future__ import annotations

import itertools
import json
import logging
import select
import socket
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bedside.core.time import US_PER_S, Clock, SystemClock
from bedside.core.wire import VERSION, WireError, frame, receive_frame
from bedside.dashboard.gateway_client import GatewayDown, GatewayRefused, ask, connect

log = logging.getLogger(__name__)

BATCHES_MAX = 700
"""60 s of a batch each 100 ms, and some slack."""
RING_BYTES_MAX = 64 * 1024 * 1024
HISTORY_BATCHES = 120
"""What a new viewer gets at once (12 s): enough for a full sweep of the widest tile, and a ward."""
SILENT_S = 2.0
"""Batches come every 0.1 s: after this the gateway counts as silent."""
GONE_S = 3.0
"""After this, questions to it are refused at once; only an acknowledgement is always tried."""
GIVE_UP_S = 10.0
"""After this much silence the connection is opened anew."""
BACK_OFF_S = (0.1, 0.2, 0.5, 1.0, 2.0)
STATE_EVERY_S = 2.0
"""How often a viewer hears from the dashboard at the least, so that both sides notice a dead connection."""
READY_S = 5.0
"""How long the first answer of a new connection may take."""


@dataclass(frozen=True, slots=True)
class GatewayState:
    """Does the gateway answer, and since when is it so. `text` is for the screen."""

    answering: bool
    since_us: int
    text: str


@dataclass(frozen=True, slots=True)
class _Entry:
    event_id: str
    payload: bytes


def sse(event: str, data: object, event_id: str | None = None) -> bytes:
    """One server-sent event. The JSON has no line break and only ASCII, so one `data` line holds it."""
    head = f"id: {event_id}\n" if event_id is not None else ""
    body = json.dumps(data, separators=(",", ":"), allow_nan=False)
    return f"{head}event: {event}\ndata: {body}\n\n".encode()


class Feed:
    """The subscription and its viewers. `start` once; `close` ends all viewers and is safe to call twice."""

    def __init__(self, path: Path, *, clock: Clock | None = None) -> None:
        self._path = path
        self._clock: Clock = clock if clock is not None else SystemClock()
        self._changed = threading.Condition()
        self._ring: deque[_Entry] = deque()
        self._ring_bytes = 0
        self._count = 0  # entries ever appended: the ring holds the last len(ring) of them
        self._epoch = ""
        self._sequence: int | None = None
        self._state = GatewayState(False, self._clock.now_us(), "Connecting to the gateway")
        self._state_version = 0
        self._viewers = 0
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._run, name="gateway-feed", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def close(self) -> None:
        self._closing.set()
        with self._changed:
            self._changed.notify_all()
        if self._thread.is_alive() and threading.current_thread() is not self._thread:
            self._thread.join(timeout=1.0)

    @property
    def state(self) -> GatewayState:
        with self._changed:
            return self._state

    @property
    def gone(self) -> bool:
        """Has the gateway been silent for so long that asking it would only keep a thread waiting?"""
        state = self.state
        return not state.answering and self._clock.now_us() - state.since_us > GONE_S * US_PER_S

    @property
    def held(self) -> tuple[int, int]:
        """How many batches, and how many bytes, the ring holds now."""
        with self._changed:
            return len(self._ring), self._ring_bytes

    @property
    def viewers(self) -> int:
        """How many event streams are open now."""
        with self._changed:
            return self._viewers

    def follow(self, after: str | None, allowed: Callable[[], bool] = lambda: True) -> Iterator[bytes]:
        """SSE bytes for one viewer: its state, what it missed since event `after`, then everything as it comes.

        Ends when the feed closes or `allowed` no longer holds (asked about once a second).
        """
        with self._changed:
            self._viewers += 1
        try:
            yield from self._follow(self._cursor(after), allowed)
        finally:
            with self._changed:
                self._viewers -= 1

    def _follow(self, cursor: int, allowed: Callable[[], bool]) -> Iterator[bytes]:
        yield b"retry: 1000\n\n"
        told = -1
        asked_s = time.monotonic()
        while True:
            with self._changed:
                self._changed.wait_for(
                    lambda: self._closing.is_set() or self._count > cursor or self._state_version != told,  # noqa: B023
                    timeout=STATE_EVERY_S,
                )
                if self._closing.is_set():
                    return
                fresh = self._since(cursor)
                cursor = self._count
                state, version = self._state, self._state_version
            if time.monotonic() - asked_s > 1.0:
                asked_s = time.monotonic()
                if not allowed():
                    return
            if version != told or not fresh:
                told = version
                yield sse("state", {"answering": state.answering, "since_us": state.since_us, "text": state.text})
            if fresh:
                yield b"".join(entry.payload for entry in fresh)

    def _cursor(self, after: str | None) -> int:
        with self._changed:
            oldest = self._count - len(self._ring)
            if after is not None:
                for position, entry in enumerate(self._ring):
                    if entry.event_id == after:
                        return oldest + position + 1
            return max(oldest, self._count - HISTORY_BATCHES)

    def _since(self, cursor: int) -> list[_Entry]:
        oldest = self._count - len(self._ring)
        return list(itertools.islice(self._ring, max(cursor - oldest, 0), None))

    def _run(self) -> None:
        failures = 0
        while not self._closing.is_set():
            try:
                with connect(self._path, READY_S) as connection:
                    for _ in self._batches(connection):
                        failures = 0
            except (GatewayDown, GatewayRefused, WireError, OSError) as error:
                self._say(False, "Gateway not answering")
                log.debug("gateway lost", extra={"reason": str(error)})
            except (KeyError, TypeError, ValueError) as error:  # a gateway of another version must not end the feed
                self._say(False, "Gateway speaks another version")
                log.error("gateway not understood", extra={"reason": repr(error)})
            self._closing.wait(BACK_OFF_S[min(failures, len(BACK_OFF_S) - 1)])
            failures += 1

    def _batches(self, connection: socket.socket) -> Iterator[None]:
        """Subscribe and keep each batch; yields after each. Raises when the connection is no good any more."""
        ward = ask(connection, "ward", {})
        self._begin(f"{int(ward['started_us']):x}")
        connection.sendall(frame({"v": VERSION, "id": 2, "op": "subscribe", "after": self._sequence}))
        heard_s = time.monotonic()
        while not self._closing.is_set():
            readable, _, _ = select.select([connection], [], [], 0.25)
            silent_s = time.monotonic() - heard_s
            if readable:
                message = receive_frame(connection)
                if message is None:
                    raise GatewayDown("gateway hung up")
                if message.get("ok") is False:
                    raise GatewayDown("gateway refused the subscription")
                if message.get("push") == "batch":
                    heard_s = time.monotonic()
                    self._keep(message)
                    yield
            elif silent_s > GIVE_UP_S:
                raise GatewayDown("gateway silent")
            elif silent_s > SILENT_S:
                self._say(False, "Gateway not answering", since_us=self._clock.now_us() - round(silent_s * US_PER_S))

    def _begin(self, epoch: str) -> None:
        """A connection to a gateway started at `epoch`: another one than before means other sequence numbers."""
        with self._changed:
            if epoch == self._epoch:
                return
            self._epoch = epoch
            self._sequence = None
            self._ring.clear()
            self._ring_bytes = 0

    def _keep(self, batch: dict[str, Any]) -> None:
        sequence = int(batch["sequence"])
        event_id = f"{self._epoch}-{sequence}"
        entry = _Entry(event_id, sse("batch", batch, event_id))
        self._say(True, "Gateway answering")
        with self._changed:
            self._sequence = sequence
            self._ring.append(entry)
            self._ring_bytes += len(entry.payload)
            while len(self._ring) > BATCHES_MAX or (self._ring_bytes > RING_BYTES_MAX and len(self._ring) > 1):
                self._ring_bytes -= len(self._ring.popleft().payload)
            self._count += 1
            self._changed.notify_all()

    def _say(self, answering: bool, text: str, since_us: int | None = None) -> None:
        with self._changed:
            if self._state.answering == answering and self._state.text == text:
                return
            was_down = not self._state.answering and not answering
            since_us = self._state.since_us if was_down else since_us or self._clock.now_us()
            self._state = GatewayState(answering, since_us, text)
            self._state_version += 1
            self._changed.notify_all()
        log.info("gateway state", extra={"answering": answering, "text": text})
