"""Frames of bytes on a socket: a 4-byte big-endian length, then that many bytes.

For the sockets between trust domains (gateway, operator, care team), where messages are binary and
their size is part of what is promised. The local socket's JSON framing is `wire.py`.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from bedside.core.errors import BedsideError

FRAME_BYTES_MAX = 1024 * 1024
PREFIX_BYTES = 4
_SOCKET_PATH_BYTES_MAX = 107  # sockaddr_un of Linux, less the final zero


class FrameError(BedsideError):
    """The peer sent a frame that is too long, or hung up inside one."""


def framed(body: bytes) -> bytes:
    """One frame. Raises `ValueError` when it is longer than a frame may be."""
    if len(body) > FRAME_BYTES_MAX:
        raise ValueError(f"message of {len(body)} bytes: a frame holds at most {FRAME_BYTES_MAX}")
    return len(body).to_bytes(PREFIX_BYTES, "big") + body


async def read_framed(reader: asyncio.StreamReader) -> bytes | None:
    """The next frame's bytes, or None at a clean end. Raises `FrameError`."""
    try:
        prefix = await reader.readexactly(PREFIX_BYTES)
    except asyncio.IncompleteReadError as error:
        if not error.partial:
            return None
        raise FrameError("the peer hung up inside a frame") from error
    length = int.from_bytes(prefix, "big")
    if length > FRAME_BYTES_MAX:
        raise FrameError(f"frame announces {length} bytes: at most {FRAME_BYTES_MAX} are taken")
    try:
        return await reader.readexactly(length)
    except asyncio.IncompleteReadError as error:
        raise FrameError("the peer hung up inside a frame") from error


@contextmanager
def socket_address(path: Path) -> Iterator[str]:
    """An address for a Unix socket at `path`, also where the path is longer than an address may be.

    Linux takes 107 bytes; a longer path is reached through an open handle of its folder.
    """
    if len(os.fsencode(path)) <= _SOCKET_PATH_BYTES_MAX:
        yield str(path)
        return
    folder = os.open(path.parent, os.O_PATH | os.O_DIRECTORY)
    try:
        yield f"/proc/self/fd/{folder}/{path.name}"
    finally:
        os.close(folder)
