"""The gateway's heartbeat to the annunciator: one datagram a second, only while the ward really lives.

A beat is withheld when a patient's session has not ticked for `STALL_S`: a gateway that is alive but
watches nobody must not look well.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import socket
from collections.abc import Callable
from pathlib import Path

from bedside.core.time import Clock

BEAT_S = 1.0
STALL_S = 5.0
VERSION = 1


class Heartbeat:
    """Sends beats to the annunciator's datagram socket; a missing annunciator is `healthy == False`, no error."""

    def __init__(
        self, path: Path, clock: Clock, oldest_tick_s: Callable[[], float], priority: Callable[[], str]
    ) -> None:
        self.healthy = False
        self._run = os.urandom(8).hex()  # tells this start of the gateway from the one before
        self._path = path
        self._clock = clock
        self._oldest_tick_s = oldest_tick_s
        self._priority = priority
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.setblocking(False)

    async def run(self) -> None:
        """Beat until cancelled."""
        while True:
            if self._clock.monotonic_s() - self._oldest_tick_s() < STALL_S:
                self._send({"state": "monitoring", "alarm": self._priority()})
            await asyncio.sleep(BEAT_S)

    def farewell(self) -> None:
        """Tell the annunciator that monitoring ends on purpose."""
        self._send({"state": "stopped"})
        self._socket.close()

    def _send(self, message: dict[str, str]) -> None:
        data = json.dumps({"v": VERSION, "run": self._run, **message}).encode()
        self.healthy = False
        with contextlib.suppress(OSError):  # not there (yet), or its queue is full: shown as a part that failed
            self._socket.sendto(data, str(self._path))
            self.healthy = True
