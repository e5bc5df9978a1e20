"""The operator's service: a Unix socket that takes enrolments, statements and sealed envelopes, and answers all alike.

One connection is served message by message; all database work goes through one `Worker`, so there is
one writer. A reply to a gateway always has the same size, whatever was decided.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import logging
import os
import secrets
from pathlib import Path
from typing import Final

from bedside.attestation.exchange import (
    Ack,
    MessageError,
    Request,
    Subject,
    decode_enrolment,
    decode_envelope,
    decode_pickup,
    decode_request,
    encode_ack,
    encode_picked_up,
    envelope_kid,
)
from bedside.attestation.sign1 import key_id
from bedside.attestation.statement import BEACON_BYTES
from bedside.attestation.verify import STRICT, Arrival, Gateway, Refusal, Verdict
from bedside.core.errors import BedsideError, SetupError, StoreError
from bedside.core.frames import FrameError, framed, read_framed, socket_address
from bedside.core.time import US_PER_S, Clock, Worker
from bedside.operator.sink import Sink

log = logging.getLogger(__name__)

CONNECTIONS_MAX: Final = 64
KEEP_S: Final = 72 * 3600.0  # a recipient may be away this long
TOKEN_S: Final = 24 * 3600.0
_STRANGERS: Final = frozenset(
    {Refusal.SIZE, Refusal.CBOR_FORM, Refusal.HEADER, Refusal.UNKNOWN_KEY, Refusal.SIGNATURE}
)  # nobody was authenticated: counted, never stored


class OperatorService:
    """One embedded operator, in `folder`."""

    def __init__(
        self,
        folder: Path,
        *,
        clock: Clock,
        worker: Worker,
        name: str = "local",
        epoch_s: float = 3600.0,
        keep_s: float = KEEP_S,
    ) -> None:
        self.folder = folder
        self.name = name
        self._clock = clock
        self._worker = worker
        self._epoch_us = round(epoch_s * US_PER_S)
        self._keep_us = round(keep_s * US_PER_S)
        self._sink: Sink | None = None
        self._lock: int | None = None
        self._server: asyncio.Server | None = None
        self._connections: set[asyncio.Task[None]] = set()

    @property
    def socket_path(self) -> Path:
        """Where gateways and recipients connect."""
        return self.folder / "operator.sock"

    @property
    def sink(self) -> Sink:
        """The database; only through the worker. Raises `StoreError` before `start` and after `close`."""
        if self._sink is None:
            raise StoreError("the operator is not running")
        return self._sink

    async def start(self) -> None:
        """Take the lock, open the database, listen. Raises `SetupError` when another operator runs here."""
        try:
            self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._lock = os.open(self.folder / "operator.lock", os.O_RDWR | os.O_CREAT, 0o600)
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            await self.close()
            raise SetupError(
                f"an operator is already running on {self.folder}", hint="use that one, or stop it first"
            ) from error
        except OSError as error:
            await self.close()
            raise SetupError(
                f"operator's folder {self.folder}: {error.strerror or error}", hint="let this user write the folder"
            ) from error
        try:
            self._sink = await self._worker.run(lambda: Sink.open(self.folder / "operator.db"))
            self.socket_path.unlink(missing_ok=True)  # we hold the lock: whoever left it is gone
            with socket_address(self.socket_path) as address:
                self._server = await asyncio.start_unix_server(self._connected, address)
            self.socket_path.chmod(0o600)
        except BaseException:
            await self.close()
            raise
        log.info("operator listening", extra={"socket": self.socket_path.name})

    async def close(self) -> None:
        """Stop listening, finish what was asked, release everything. Safe to call twice."""
        server, self._server = self._server, None
        if server is not None:
            server.close()
            self.socket_path.unlink(missing_ok=True)
        for task in list(self._connections):
            task.cancel()
        if self._connections:
            await asyncio.gather(*self._connections, return_exceptions=True)
        sink, self._sink = self._sink, None
        if sink is not None:
            await self._worker.run(sink.close)
        lock, self._lock = self._lock, None
        if lock is not None:
            os.close(lock)

    async def run(self, stop: asyncio.Event) -> None:
        """Serve until `stop` is set."""
        await self.start()
        try:
            await stop.wait()
        finally:
            await self.close()

    async def new_token(self, lasts_s: float = TOKEN_S) -> str:
        """A token with which one gateway can enrol once."""
        token = secrets.token_urlsafe(24)
        sink, now_us = self.sink, self._clock.now_us()
        await self._worker.run(lambda: sink.put_token(token, now_us + round(lasts_s * US_PER_S), now_us))
        return token

    async def offer_token(self, path: Path) -> None:
        """Write a token for the box's own gateway to `path` (0600). One that has enrolled does not look at it."""
        token = await self.new_token()

        def write() -> None:
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
                file.write(token + "\n")

        await self._worker.run(write)

    # One connection

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        if len(self._connections) >= CONNECTIONS_MAX:
            writer.close()
            return
        self._connections.add(task)
        try:
            while (body := await read_framed(reader)) is not None:
                writer.write(framed(await self.answer(body)))
                await writer.drain()
        except (FrameError, ConnectionError) as error:
            log.warning("connection dropped", extra={"reason": str(error)})
        except asyncio.CancelledError:
            pass  # we are closing: a handler that ends cancelled would be reported as an error by asyncio
        finally:
            self._connections.discard(task)
            writer.close()
            with contextlib.suppress(OSError):
                await writer.wait_closed()

    async def answer(self, body: bytes) -> bytes:
        """The reply to one message. Raises nothing: what cannot be understood or kept is answered so."""
        try:
            request = decode_request(body)
        except MessageError:
            await self._count("malformed")
            return encode_ack(Ack(False, "malformed"))
        try:
            if request.subject is Subject.PICKUP:
                return await self._pick_up(request)
            return encode_ack(await self._ack(request))
        except MessageError:
            await self._count("malformed")
            return encode_ack(Ack(False, "malformed"))
        except BedsideError as error:
            log.error("message not kept", extra={"subject": str(request.subject), "error": type(error).__name__})
            return encode_ack(Ack(False, "try_again"))

    async def _ack(self, request: Request) -> Ack:
        match request.subject:
            case Subject.ENROL:
                return await self._enrol(request.message)
            case Subject.BEACON:
                epoch = self._epoch()
                return Ack(True, "", epoch, await self._beacon(epoch))
            case Subject.STATEMENT:
                return await self._statement(request.message)
            case _:
                return await self._envelope(request)

    # Subjects

    async def _enrol(self, message: bytes) -> Ack:
        enrolment = decode_enrolment(message)
        kid, sink, now_us = key_id(enrolment.public_key), self.sink, self._clock.now_us()
        gateway = Gateway(kid, enrolment.public_key, enrolment.sueid, (enrolment.measured,))
        reason = await self._worker.run(lambda: sink.enrol(enrolment.token, gateway, now_us))
        log.info("enrolment", extra={"gateway": kid.hex()[:8], "refused": reason})
        return Ack(reason is None, reason or "")

    async def _beacon(self, epoch: int) -> bytes:
        sink, fresh = self.sink, os.urandom(BEACON_BYTES)
        return await self._worker.run(lambda: sink.beacon(epoch, fresh))

    async def _statement(self, data: bytes) -> Ack:
        sink, now_us, epoch = self.sink, self._clock.now_us(), self._epoch()

        def judge() -> Verdict | str:
            """In one go, so that no two statements of a gateway are judged against the same head."""
            arrival = Arrival(epoch, sink.beacons(), self.name, auditors=sink.auditors())
            verdict = STRICT.verify(data, sink.gateway, arrival)
            if verdict.refusal is Refusal.REPLAY:
                return verdict  # a retry whose first answer was lost: told what it was told
            if verdict.refusal in _STRANGERS:
                sink.count(f"statement_{verdict.refusal}", now_us)
            else:
                before = sink.verdict(verdict.hash)
                if before is not None:
                    return before[0] or ""
                sink.put_statement(data, verdict, now_us)
            return verdict

        verdict = await self._worker.run(judge)
        if isinstance(verdict, str):
            return Ack(not verdict, verdict, epoch)
        if verdict.refusal is Refusal.REPLAY:
            return Ack(True, "", epoch)
        if verdict.refusal is not None:
            log.warning("statement refused", extra={"reason": str(verdict.refusal)})
        return Ack(verdict.refusal is None, str(verdict.refusal or ""), epoch)

    async def _envelope(self, request: Request) -> Ack:
        kid = envelope_kid(request.message)
        sink, now_us = self.sink, self._clock.now_us()
        gateway = await self._worker.run(lambda: sink.gateway(kid)) if kid is not None else None
        if gateway is None or gateway.revoked:
            await self._count("envelope_unknown_key" if gateway is None else "envelope_revoked_key")
            return Ack(False, "unknown_key" if gateway is None else "revoked_key")
        slot, parts = decode_envelope(request.message, gateway.public_key)
        await self._worker.run(lambda: sink.put_envelope(request.id, gateway.kid, slot, parts, now_us, self._keep_us))
        return Ack(True)

    async def _pick_up(self, request: Request) -> bytes:
        recipient, after, limit = decode_pickup(request.message)
        sink = self.sink
        return encode_picked_up(await self._worker.run(lambda: sink.pick_up(recipient, after, limit)))

    def _epoch(self) -> int:
        return self._clock.now_us() // self._epoch_us

    async def _count(self, name: str) -> None:
        sink, now_us = self._sink, self._clock.now_us()
        if sink is not None:
            with contextlib.suppress(BedsideError):
                await self._worker.run(lambda: sink.count(name, now_us))
