"""An operator in a folder, and a gateway's key that speaks to it without a socket."""

from __future__ import annotations

import os
import secrets
from dataclasses import dataclass, field, replace
from pathlib import Path

from tests.attestation.attest_world import MEASURED, KeySigner

from bedside.attestation.alert import Envelope, seal
from bedside.attestation.audit import Subject as AuditSubject
from bedside.attestation.audit import sign
from bedside.attestation.exchange import (
    Ack,
    Enrolment,
    Request,
    Sealed,
    Subject,
    decode_ack,
    encode_enrolment,
    encode_envelope,
    encode_request,
)
from bedside.attestation.statement import GENESIS, Link, Measured, Statement, Status, make, statement_hash
from bedside.core.sealing import OpeningKey
from bedside.core.time import InlineWorker
from bedside.operator.service import OperatorService

EPOCH_S = 3600
START_US = 500_000 * EPOCH_S * 1_000_000


class SetClock:
    """A clock that a test sets."""

    def __init__(self) -> None:
        self.us = START_US

    def now_us(self) -> int:
        return self.us

    def monotonic_s(self) -> float:
        return self.us / 1e6


@dataclass
class Box:
    """A gateway's side, by hand."""

    service: OperatorService
    signer: KeySigner = field(default_factory=KeySigner)
    sueid: bytes = field(default_factory=lambda: b"\x01" + os.urandom(32))
    key: OpeningKey = field(default_factory=OpeningKey.generate)
    measured: Measured = MEASURED
    seq: int = 0
    prev: bytes = GENESIS
    root: bytes = bytes(32)

    async def ask(self, subject: Subject, message: bytes, message_id: str = "") -> Ack:
        request = Request(subject, message_id or secrets.token_hex(16), message)
        return decode_ack(await self.service.answer(encode_request(request)))

    async def enrol(self, token: str) -> Ack:
        enrolment = Enrolment(token, self.signer.public_key, self.sueid, self.measured)
        return await self.ask(Subject.ENROL, encode_enrolment(enrolment, self.signer))

    async def statement(
        self, status: Status = Status.GAP, measured: Measured | None = None, site: KeySigner | None = None
    ) -> bytes:
        """The chain's next statement with the current beacon, audited by `site` where it is given."""
        ack = await self.ask(Subject.BEACON, b"")
        root = os.urandom(32)
        subject = AuditSubject(self.sueid, ack.epoch - 1, self.root, ack.beacon)
        audit = sign(subject, 0, True, site) if site is not None else None
        self.root = root
        self.seq += 1
        statement = Statement(
            beacon=ack.beacon, cti=os.urandom(16), issued_s=1, operator="local", sueid=self.sueid, boot_count=1,
            measured=measured or self.measured, work_root=root,
            link=Link(self.seq, self.prev, ack.epoch, status), audit=audit,
        )  # fmt: skip
        data = make(statement, self.signer)
        self.prev = statement_hash(data)
        return data

    def envelope(self, slot: int) -> bytes:
        sealed = seal(Envelope(slot, slot * 10_000_000, 10_000), self.signer, self.key.public)
        return encode_envelope(slot, [Sealed(self.key.public.id, sealed)], self.signer)


async def an_operator(path: Path) -> tuple[OperatorService, SetClock]:
    clock = SetClock()
    service = OperatorService(path / "operator", clock=clock, worker=InlineWorker(), epoch_s=EPOCH_S)
    await service.start()
    return service, clock


async def an_enrolled_box(service: OperatorService) -> Box:
    box = Box(service)
    ack = await box.enrol(await service.new_token())
    assert ack.ok
    return box


CHEAPER = replace(MEASURED, models={"beats": b"\x99" * 32})
