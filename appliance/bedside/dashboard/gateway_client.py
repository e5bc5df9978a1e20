"""Asking the gateway over its Unix socket: one short connection for each question, never without a time-out.

Fed by the request threads of the web server. `feed.py` holds the one long connection for waves.
"""

from __future__ import annotations

import socket
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from bedside.core.errors import BedsideError
from bedside.core.events import Json
from bedside.core.wire import VERSION, WireError, frame, receive_frame

REQUESTS_AT_ONCE_MAX = 12
"""More questions than this wait: a gateway that is slow must not be buried under its viewers' questions."""


class GatewayDown(BedsideError):
    """The gateway did not answer: not running, frozen, or it hung up."""


class GatewayRefused(BedsideError):
    """The gateway answered, and said no. `code` is one of those in `core.api`."""

    def __init__(self, code: str, message: str) -> None:
        self.code = code
        super().__init__(message)


def connect(path: Path, timeout_s: float) -> socket.socket:
    """An open connection to the gateway. Raises `GatewayDown`."""
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        connection.settimeout(timeout_s)
        connection.connect(str(path))
    except OSError as error:
        connection.close()
        raise GatewayDown(f"gateway not reachable: {error.strerror or error}") from error
    return connection


def ask(connection: socket.socket, op: str, arguments: Mapping[str, Json]) -> Any:
    """One question and its answer on an open connection. Raises `GatewayDown`, `GatewayRefused`."""
    try:
        connection.sendall(frame({"v": VERSION, "id": 1, "op": op, **arguments}))
        reply = receive_frame(connection)
    except (OSError, WireError) as error:
        raise GatewayDown(f"gateway did not answer {op!r}: {error}") from error
    if reply is None:
        raise GatewayDown(f"gateway hung up on {op!r}")
    if reply.get("ok") is True:
        return reply.get("result")
    refusal = reply.get("error")
    if not isinstance(refusal, dict):
        raise GatewayDown(f"gateway answered {op!r} with a message that is no reply")
    raise GatewayRefused(str(refusal.get("code", "bad_request")), str(refusal.get("message", "refused")))


class GatewayClient:
    """Questions to the gateway from many threads at once. Keeps nothing between two questions."""

    def __init__(self, path: Path, *, timeout_s: float = 3.0) -> None:
        self._path = path
        self._timeout_s = timeout_s
        self._slots = threading.BoundedSemaphore(REQUESTS_AT_ONCE_MAX)

    def request(self, op: str, *, timeout_s: float | None = None, **arguments: Json) -> Any:
        """The result of one operation of `core.api`, within `timeout_s`. Raises `GatewayDown`, `GatewayRefused`."""
        if not self._slots.acquire(timeout=self._timeout_s):
            raise GatewayDown(f"{REQUESTS_AT_ONCE_MAX} questions wait for the gateway already")
        try:
            with connect(self._path, timeout_s or self._timeout_s) as connection:
                return ask(connection, op, arguments)
        finally:
            self._slots.release()
