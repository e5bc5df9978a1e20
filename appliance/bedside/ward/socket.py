"""The local socket: what the dashboard, `bedside status` and the supervisor ask of the gateway.

A Unix socket with mode 0600 in a folder with mode 0700: who may open it may see the ward. Framing in
`core.wire`, shapes in `core.api`. A client that sends rubbish is told so and let go; each has a
bounded number of requests under way (one), and the number of clients is bounded.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from bedside.core import wire
from bedside.core.errors import BedsideError
from bedside.ward.waves import SlowViewer, WaveRing

log = logging.getLogger(__name__)

CLIENTS_MAX = 256
IDLE_S_MAX = 600.0

Answer = Callable[[dict[str, Any]], Awaitable[Any]]


class RequestError(BedsideError):
    """A request that cannot be answered. `code` is one of those that `core.api` lists."""

    def __init__(self, code: str, message: str) -> None:
        self.code = code
        super().__init__(message)


class GatewaySocket:
    """Serves `operations` (name: answer) and `subscribe` on a Unix socket."""

    def __init__(self, path: Path, operations: dict[str, Answer], ring: WaveRing) -> None:
        self._path = path
        self._operations = operations
        self._ring = ring
        self._clients = 0

    async def run(self) -> None:
        """Serve until cancelled; every client is let go then."""
        self._path.unlink(missing_ok=True)  # a killed gateway left it; the store's lock says that we are alone
        server = await asyncio.start_unix_server(self._client, self._path, limit=2**20)
        self._path.chmod(0o600)
        tasks = self._tasks = set[asyncio.Task[None]]()
        try:
            async with server:
                await server.serve_forever()
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            self._path.unlink(missing_ok=True)

    async def _client(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        self._clients += 1
        try:
            if self._clients > CLIENTS_MAX:
                await _send(writer, _failure(None, "busy", f"more than {CLIENTS_MAX} clients"))
                return
            await self._converse(reader, writer)
        except (wire.WireError, ConnectionError, TimeoutError) as error:
            log.info("client let go", extra={"reason": str(error)})
        except asyncio.CancelledError:
            pass  # the gateway ends; a server's client task has nobody to tell
        finally:
            self._clients -= 1
            self._tasks.discard(task)
            writer.close()
            with contextlib.suppress(ConnectionError, asyncio.CancelledError):
                await writer.wait_closed()

    async def _converse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            async with asyncio.timeout(IDLE_S_MAX):
                request = await wire.read_frame(reader)
            if request is None:
                return
            if request.get("op") == "subscribe":
                await self._subscribe(request, reader, writer)
                return
            await _send(writer, await self._answer(request))

    async def _answer(self, request: dict[str, Any]) -> dict[str, Any]:
        number = request.get("id")
        if request.get("v") != wire.VERSION:
            return _failure(number, "bad_request", f"protocol version {request.get('v')!r}: expected {wire.VERSION}")
        answer = self._operations.get(str(request.get("op")))
        if answer is None:
            return _failure(number, "bad_request", f"operation {request.get('op')!r} is not known")
        try:
            return {"v": wire.VERSION, "id": number, "ok": True, "result": await answer(request)}
        except RequestError as error:
            return _failure(number, error.code, str(error))
        except BedsideError as error:
            return _failure(number, "not_possible", str(error))

    async def _subscribe(
        self, request: dict[str, Any], reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        after = request.get("after")
        if after is not None and not isinstance(after, int):
            await _send(writer, _failure(request.get("id"), "bad_request", "after: expected a number or null"))
            return
        hung_up = asyncio.ensure_future(reader.read(1))
        try:
            async with contextlib.aclosing(self._ring.frames(after)) as frames:
                async for data in frames:
                    if hung_up.done():
                        return
                    writer.write(data)
                    async with asyncio.timeout(20.0):
                        await writer.drain()
        except SlowViewer:
            await _send(writer, _failure(request.get("id"), "busy", "not read for 20 s, or the gateway ends"))
        finally:
            hung_up.cancel()


async def _send(writer: asyncio.StreamWriter, message: dict[str, Any]) -> None:
    writer.write(wire.frame(message))
    async with asyncio.timeout(20.0):
        await writer.drain()


def _failure(number: Any, code: str, message: str) -> dict[str, Any]:
    return {"v": wire.VERSION, "id": number, "ok": False, "error": {"code": code, "message": message}}
