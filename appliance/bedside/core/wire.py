"""The local socket's framing: a 4-byte big-endian length, then that many bytes of UTF-8 JSON.

Requests: `{"v": 1, "id": n, "op": "…", …}`; replies: `{"v": 1, "id": n, "ok": true, "result": …}` or
`{"v": 1, "id": n, "ok": false, "error": {"code", "message"}}`; pushes after `subscribe`:
`{"v": 1, "push": "batch", …}`. `api.py` has their shapes. Both directions are bounded.
"""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import Mapping
from typing import Any

from bedside.core.errors import BedsideError

FRAME_BYTES_MAX = 16 * 1024 * 1024
VERSION = 1


class WireError(BedsideError):
    """The peer sent a frame that is too long, cut, or no JSON object."""


def frame(message: Mapping[str, Any]) -> bytes:
    """One framed message. Raises `ValueError` when it is longer than a frame may be."""
    body = json.dumps(message, separators=(",", ":"), allow_nan=False).encode()
    if len(body) > FRAME_BYTES_MAX:
        raise ValueError(f"message of {len(body)} bytes: a frame holds at most {FRAME_BYTES_MAX}")
    return len(body).to_bytes(4, "big") + body


def _message(body: bytes) -> dict[str, Any]:
    try:
        message = json.loads(body)
    except ValueError as error:
        raise WireError(f"frame of {len(body)} bytes is no JSON") from error
    if not isinstance(message, dict):
        raise WireError(f"frame holds {type(message).__name__}, expected an object")
    return message


def _length(prefix: bytes) -> int:
    length = int.from_bytes(prefix, "big")
    if length > FRAME_BYTES_MAX:
        raise WireError(f"frame announces {length} bytes: at most {FRAME_BYTES_MAX} are taken")
    return length


async def read_frame(reader: asyncio.StreamReader) -> dict[str, Any] | None:
    """The next message, or None at a clean end. Raises `WireError`."""
    try:
        prefix = await reader.readexactly(4)
    except asyncio.IncompleteReadError as error:
        if error.partial:
            raise WireError("the peer hung up inside a frame") from error
        return None
    try:
        return _message(await reader.readexactly(_length(prefix)))
    except asyncio.IncompleteReadError as error:
        raise WireError("the peer hung up inside a frame") from error


def receive_frame(connection: socket.socket) -> dict[str, Any] | None:
    """The next message from a blocking socket, or None at a clean end. Raises `WireError`, `TimeoutError`."""
    prefix = _receive(connection, 4)
    if prefix is None:
        return None
    body = _receive(connection, _length(prefix))
    if body is None:
        raise WireError("the peer hung up inside a frame")
    return _message(body)


def _receive(connection: socket.socket, size: int) -> bytes | None:
    parts = bytearray()
    while len(parts) < size:
        part = connection.recv(size - len(parts))
        if not part:
            if parts:
                raise WireError("the peer hung up inside a frame")
            return None
        parts += part
    return bytes(parts)
