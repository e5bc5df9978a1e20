"""The gateway's side of the care site's audits: what is due, the socket on which the auditor asks, and his result.

The auditor asks; the gateway answers with what the beacon picked, sealed to him (`attestation.audit`), and takes
his signed result into the next statement. He is waited for a few slots when he is known to be there; without
him the statement leaves unaudited, which is not paid where there is a site.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import sqlite3
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Self

from bedside.attestation.audit import (
    Audit,
    AuditError,
    Offer,
    Subject,
    decode_ask,
    decode_result,
    encode_offer,
    is_signed,
    offer_of,
)
from bedside.attestation.sign1 import FormError, Signer, decode, encode
from bedside.core.errors import SetupError, StoreError
from bedside.core.frames import FrameError, framed, read_framed, socket_address
from bedside.core.keyfiles import read_public_file
from bedside.core.sealing import SealingKey
from bedside.core.time import US_PER_S, Clock, Worker
from bedside.network.outbox import Outbox

log = logging.getLogger(__name__)

HEARD_S: Final = 60.0  # an auditor that asked so lately is waited for
WAIT_SLOTS: Final = 3  # … but no longer than this, before the statement leaves without an audit
CONNECTIONS_MAX: Final = 4
PUBLIC_SIZES: Final = {"public_key": 32, "sealing_key": 1216}


@dataclass(frozen=True, slots=True)
class KnownAuditor:
    """The care site's auditor as the gateway knows it: who signs, and to whom is sealed."""

    public_key: bytes
    sealing: SealingKey

    @classmethod
    def load(cls, path: Path) -> Self | None:
        """From the auditor's public file; None where there is none: a home without a site. Raises `SetupError`."""
        if not path.exists():
            return None
        found = read_public_file(path, "auditor", PUBLIC_SIZES)
        try:
            return cls(found["public_key"], SealingKey.of(found["sealing_key"]))
        except ValueError as error:
            raise SetupError(f"{path}: {error}", hint="bring the auditor's public file again") from error


class AuditDesk:
    """Which audit is due, and which result the next statement carries."""

    def __init__(self, auditor: bytes | None, sueid: bytes, outbox: Outbox, worker: Worker, clock: Clock) -> None:
        """`auditor`: public key of the care site's auditor, None for a home without one."""
        self._auditor, self._sueid = auditor, sueid
        self._outbox, self._worker, self._clock = outbox, worker, clock
        self._beacon: tuple[int, bytes] | None = None
        self._heard_us: int | None = None
        self._result: tuple[int, Audit] | None = None  # the epoch whose work it is of
        self._waited = 0

    def beacon_came(self, epoch: int, beacon: bytes) -> None:
        """The operator published its beacon of `epoch` (its own number)."""
        if self._beacon != (epoch, beacon):
            self._beacon, self._waited = (epoch, beacon), 0

    async def asked(self) -> Offer | None:
        """The auditor asks: what is due, or None. Raises `StoreError`."""
        self._heard_us = self._clock.now_us()
        return await self._due()

    def answered(self, epoch: int, audit: Audit, offer: Offer) -> bool:
        """The auditor's result; False when its signature does not fit what was offered to it."""
        if self._auditor is None or epoch != offer.subject.epoch or not is_signed(audit, offer.subject, self._auditor):
            return False
        if audit.failed:
            log.error("the site's auditor found work that does not hold", extra={"failed": audit.failed})
        self._result = (epoch, audit)
        return True

    def result_for(self, epoch: int) -> Audit | None:
        """What the statement of the operator's `epoch` carries: the audit of the work of the one before."""
        return self._result[1] if self._result is not None and self._result[0] == epoch - 1 else None

    async def holds_up(self) -> bool:
        """Whether the statement waits one more slot for the auditor. Depends on him and on time, never on a patient."""
        if self._heard_us is None or self._clock.now_us() - self._heard_us > HEARD_S * US_PER_S:
            return False
        if self._waited >= WAIT_SLOTS or await self._due() is None:
            return False
        self._waited += 1
        return True

    @property
    def words(self) -> str:
        """For the list of parts; empty without a site."""
        if self._auditor is None:
            return ""
        if self._result is None:
            return "; the care site has not audited yet"
        _, audit = self._result
        return f"; last audit by the care site: {audit.failed} of {audit.challenges} leaves failed"

    async def _due(self) -> Offer | None:
        """The work of the newest verified statement, once the next epoch's beacon is known and until it is audited."""
        if self._beacon is None or self._auditor is None:
            return None
        epoch, beacon = self._beacon
        done = self._result[0] if self._result is not None else None

        def offer() -> Offer | None:
            stated = self._outbox.newest_statement()
            if stated is None or stated.answer != "" or stated.epoch != epoch - 1 or stated.epoch == done:
                return None
            tree = self._outbox.work(stated.epoch)
            return offer_of(tree, Subject(self._sueid, stated.epoch, tree.root, beacon)) if tree is not None else None

        return await self._worker.run(offer)


class AuditPort:
    """A socket on which the site's auditor, and nobody else, is answered. `run` it in a task.

    Frames: ["ask", signed request] -> [True, sealed offer] or [True, b""] when nothing is due;
    ["result", result] -> [True, b""]; [False, b""] for whoever is not the auditor.
    """

    def __init__(self, path: Path, desk: AuditDesk, auditor: KnownAuditor, signer: Signer) -> None:
        self._path, self._desk, self._auditor, self._signer = path, desk, auditor, signer
        self._connections: set[asyncio.Task[None]] = set()

    async def run(self) -> None:
        """Serve until cancelled."""
        self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._path.unlink(missing_ok=True)
        with socket_address(self._path) as address:
            server = await asyncio.start_unix_server(self._connected, address)
        self._path.chmod(0o600)
        try:
            await server.serve_forever()
        finally:
            server.close()
            self._path.unlink(missing_ok=True)
            for task in list(self._connections):
                task.cancel()
            await asyncio.gather(*self._connections, return_exceptions=True)

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        if len(self._connections) >= CONNECTIONS_MAX:
            writer.close()
            return
        self._connections.add(task)
        offered: Offer | None = None
        try:
            while (body := await read_framed(reader)) is not None:
                reply, offered = await self._answer(body, offered)
                writer.write(framed(reply))
                await writer.drain()
        except (FrameError, ConnectionError) as error:
            log.warning("auditor's connection dropped", extra={"reason": str(error)})
        except asyncio.CancelledError:
            pass  # we are closing
        finally:
            self._connections.discard(task)
            writer.close()
            with contextlib.suppress(OSError):
                await writer.wait_closed()

    async def _answer(self, body: bytes, offered: Offer | None) -> tuple[bytes, Offer | None]:
        """The reply to one message, and what was offered on this connection."""
        try:
            what, message = decode(body)
            if what == "ask":
                nonce = decode_ask(message, self._auditor.public_key)
                offer = await self._desk.asked()
                sealed = b"" if offer is None else encode_offer(offer, nonce, self._signer, self._auditor.sealing)
                return encode([True, sealed]), offer
            if what == "result" and offered is not None:
                epoch, audit = decode_result(message)
                return encode([self._desk.answered(epoch, audit, offered), b""]), None
        except (AuditError, FormError, ValueError, TypeError) as error:
            log.warning("audit request refused", extra={"reason": str(error)})
        except (StoreError, sqlite3.Error) as error:
            log.error("audit not answered", extra={"error": str(error)})
        return encode([False, b""]), None
