"""The auditor's round: ask each gateway of the site, do its challenged work again, sign, hand the result over."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
from collections.abc import Sequence
from typing import Final

from bedside.attestation.audit import (
    NONCE_BYTES,
    Audit,
    AuditError,
    Offer,
    Rerun,
    decode_offer,
    encode_ask,
    encode_result,
    failures,
    sign,
)
from bedside.attestation.sign1 import FormError, decode, encode
from bedside.auditor.site import Keys, Ledger, SiteGateway
from bedside.core.frames import FrameError, framed, read_framed, socket_address
from bedside.core.time import Clock, Worker

log = logging.getLogger(__name__)

ROUND_S: Final = 2.0
TIMEOUT_S: Final = 5.0


class Auditor:
    """One care site's auditor. `run` it; every gateway is asked once a round."""

    def __init__(
        self,
        keys: Keys,
        gateways: Sequence[SiteGateway],
        ledger: Ledger,
        rerun: Rerun,
        *,
        clock: Clock,
        worker: Worker,
        round_s: float = ROUND_S,
    ) -> None:
        """`worker` owns the ledger and runs the models."""
        self._keys, self._gateways, self._ledger, self._rerun = keys, tuple(gateways), ledger, rerun
        self._clock, self._worker, self._round_s = clock, worker, round_s
        self._silent: set[bytes] = set()

    async def run(self, stop: asyncio.Event) -> None:
        """Go round until `stop` is set."""
        while not stop.is_set():
            for gateway in self._gateways:
                await self.visit(gateway)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._round_s):
                    await stop.wait()

    async def visit(self, gateway: SiteGateway) -> Audit | None:
        """Audit what one gateway has to audit; the result that was handed over, None when there was nothing to do.

        Raises `StoreError` when the result could not be kept; a gateway that does not answer is only logged.
        """
        try:
            async with asyncio.timeout(TIMEOUT_S):
                return await self._visit(gateway)
        except (OSError, FrameError, AuditError, FormError, TimeoutError) as error:
            if gateway.kid not in self._silent:
                self._silent.add(gateway.kid)
                log.warning("gateway not audited", extra={"gateway": gateway.kid.hex()[:8], "reason": str(error)})
            return None

    async def _visit(self, gateway: SiteGateway) -> Audit | None:
        with socket_address(gateway.socket) as address:
            reader, writer = await asyncio.open_unix_connection(address)
        try:
            nonce = os.urandom(NONCE_BYTES)
            sealed = await _ask(reader, writer, "ask", encode_ask(nonce, self._keys))
            self._silent.discard(gateway.kid)
            if not sealed:
                return None
            offer = decode_offer(sealed, nonce, self._keys.opening, gateway.public_key)
            audit = await self._worker.run(lambda: self._judge(gateway, offer))
            if audit is not None:
                await _ask(reader, writer, "result", encode_result(offer.subject.epoch, audit))
            return audit
        finally:
            writer.close()
            with contextlib.suppress(OSError):
                await writer.wait_closed()

    def _judge(self, gateway: SiteGateway, offer: Offer) -> Audit | None:
        """The result, the one that was signed before if there is one; None for another subject of a signed epoch."""
        before = self._ledger.signed(gateway.kid, offer.subject.epoch)
        if before is not None:
            if before[0] != offer.subject:
                log.error("gateway offers other work for an audited epoch", extra={"gateway": gateway.kid.hex()[:8]})
                return None
            return before[1]
        failed, real = failures(offer, self._rerun)
        audit = sign(offer.subject, failed, gateway.in_service, self._keys)
        self._ledger.keep(gateway.kid, offer.subject, audit, real, self._clock.now_us())
        level = logging.ERROR if failed else logging.INFO
        log.log(level, "audited", extra={"gateway": gateway.kid.hex()[:8], "failed": failed, "real": real})
        return audit


async def _ask(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, what: str, message: bytes) -> bytes:
    writer.write(framed(encode([what, message])))
    await writer.drain()
    body = await read_framed(reader)
    if body is None:
        raise FrameError("the gateway hung up")
    reply = decode(body)
    if not isinstance(reply, list) or len(reply) != 2 or not isinstance(reply[1], bytes):
        raise AuditError("audit reply: unknown form")
    if reply[0] is not True:
        raise AuditError("the gateway does not take this auditor: has it our public file?")
    return reply[1]
