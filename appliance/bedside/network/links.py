"""Links to an operator. The embedded default is a Unix socket on the same box; others stand behind the same port.

One message at a time, each answered or `LinkError`. A connection is kept between messages and made
anew after any failure; nothing is ever sent again by itself, since a second try outside its slot
would be seen on the wire.
"""

from __future__ import annotations

import asyncio
import contextlib
from pathlib import Path

from bedside.attestation.exchange import Request, Subject, encode_request
from bedside.core.errors import LinkError
from bedside.core.frames import FrameError, framed, read_framed, socket_address

TIMEOUT_S = 10.0  # for who sets no limit of their own; the sender's is a part of its slot


class UnixLink:
    """`core.ports.Link` over the embedded operator's socket."""

    def __init__(self, socket_path: Path, timeout_s: float = TIMEOUT_S) -> None:
        self._path = socket_path
        self._timeout_s = timeout_s
        self._connection: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None
        self._turn = asyncio.Lock()
        self._closed = False

    async def send(self, subject: str, message: bytes, message_id: str) -> bytes:
        """Deliver one message and give the operator's reply. Raises `LinkError`."""
        frame = framed(encode_request(Request(Subject(subject), message_id, message)))
        async with self._turn:
            if self._closed:
                raise LinkError("the link is closed")
            try:
                async with asyncio.timeout(self._timeout_s):
                    return await self._ask(frame)
            except TimeoutError as error:
                await self._drop()
                raise LinkError(f"no answer from the operator within {self._timeout_s:g} s") from error
            except (OSError, FrameError) as error:
                await self._drop()
                reason = getattr(error, "strerror", None) or error
                raise LinkError(f"operator at {self._path.name}: {reason}") from error
            except asyncio.CancelledError:
                await self._drop()  # a reply that comes later must not answer the next message
                raise

    async def close(self) -> None:
        """Release the connection. Safe to call twice."""
        self._closed = True
        async with self._turn:
            await self._drop()

    async def _ask(self, frame: bytes) -> bytes:
        if self._connection is None:
            with socket_address(self._path) as address:
                self._connection = await asyncio.open_unix_connection(address)
        reader, writer = self._connection
        writer.write(frame)
        await writer.drain()
        reply = await read_framed(reader)
        if reply is None:
            raise FrameError("the operator hung up")
        return reply

    async def _drop(self) -> None:
        if self._connection is None:
            return
        _, writer = self._connection
        self._connection = None
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()
