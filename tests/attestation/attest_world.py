"""A gateway with a software key, an operator's memory of it, and statements that follow each other."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from bedside.attestation import sign1
from bedside.attestation.audit import Audit, Subject
from bedside.attestation.audit import sign as sign_audit
from bedside.attestation.statement import (
    GENESIS,
    STATEMENT_BYTES,
    TYP,
    Link,
    Measured,
    Statement,
    Status,
    claims,
    make,
    padded,
    statement_hash,
)
from bedside.attestation.verify import STRICT, Arrival, Gateway, Verdict, Verifier

OPERATOR = "local"
EPOCH = 500_000


class KeySigner:
    """A software key."""

    def __init__(self) -> None:
        self._key = Ed25519PrivateKey.generate()
        self.public_key = self._key.public_key().public_bytes_raw()

    def sign(self, message: bytes) -> bytes:
        return self._key.sign(message)


def digest_of(text: str) -> bytes:
    return hashlib.sha256(text.encode()).digest()


MEASURED = Measured({"beats": digest_of("model")}, "tflite-runtime 2.14.0", digest_of("runtime"), "builtin", "0.1.0")


@dataclass
class World:
    """One enrolled gateway in mid-life: its operator took three statements, and the fourth is due."""

    signer: KeySigner = field(default_factory=KeySigner)
    site: KeySigner = field(default_factory=KeySigner)  # the auditor of the site that the gateway belongs to
    sueid: bytes = field(default_factory=lambda: b"\x01" + os.urandom(32))
    beacons: dict[int, bytes] = field(default_factory=lambda: {EPOCH + n: os.urandom(32) for n in range(-60, 1)})
    gateway: Gateway = field(init=False)
    sent: list[bytes] = field(default_factory=list)

    def __post_init__(self) -> None:
        kid = sign1.key_id(self.signer.public_key)
        self.gateway = Gateway(kid, self.signer.public_key, self.sueid, (MEASURED,))
        for epoch in range(EPOCH - 3, EPOCH):
            verdict = self.judge(self.make(epoch=epoch), arrival_epoch=epoch)
            assert verdict.refusal is None, verdict.refusal
            assert verdict.gateway is not None
            self.gateway = verdict.gateway

    def statement(self, epoch: int = EPOCH, **changes: Any) -> Statement:
        """The next statement of the chain; `changes` to its fields, or to its link's as seq, prev, status."""
        first = self.gateway.epoch + 1 != epoch
        link = Link(self.gateway.seq + 1, self.gateway.head, epoch, Status.GAP if first else Status.OK)
        link = replace(link, **{name: changes.pop(name) for name in ("seq", "prev", "status") if name in changes})
        statement = Statement(
            beacon=self.beacons.get(epoch, b"\x05" * 32),
            cti=os.urandom(16),
            issued_s=epoch * 3600,
            operator=OPERATOR,
            sueid=self.sueid,
            boot_count=7,
            measured=MEASURED,
            work_root=os.urandom(32),
            link=link,
        )
        return replace(statement, **changes)

    def make(self, epoch: int = EPOCH, **changes: Any) -> bytes:
        data = make(self.statement(epoch, **changes), self.signer)
        self.sent.append(data)
        return data

    def signed_claims(self, change: Callable[[dict[Any, Any]], None]) -> bytes:
        """The next statement with its claims changed before padding and signing."""
        values = claims(self.statement())
        change(values)
        return self.signed_payload(padded(values, self.payload_bytes()))

    def signed_payload(self, payload: bytes) -> bytes:
        return sign1.sign1(payload, self.signer, TYP)

    def payload_bytes(self) -> int:
        return len(sign1.take_apart(make(self.statement(), self.signer)).payload)

    def find(self, kid: bytes) -> Gateway | None:
        return self.gateway if kid == self.gateway.kid else None

    def judge(
        self,
        data: bytes,
        *,
        verifier: Verifier = STRICT,
        arrival_epoch: int = EPOCH,
        find: Callable[[bytes], Gateway | None] | None = None,
    ) -> Verdict:
        arrival = Arrival(arrival_epoch, self.beacons, OPERATOR, auditors=self.auditors())
        return verifier.verify(data, find or self.find, arrival)

    def auditors(self) -> dict[bytes, bytes]:
        """Whose audits the operator takes."""
        return {sign1.key_id(self.site.public_key): self.site.public_key}

    def audit(
        self,
        epoch: int = EPOCH,
        failed: int = 0,
        in_service: bool = True,
        signer: KeySigner | None = None,
        **changes: Any,
    ) -> Audit:
        """The site's audit that the statement of `epoch` should carry; `changes` to what it is about."""
        last = self.gateway.recent[-1]
        subject = replace(Subject(self.sueid, last.epoch, last.root, self.beacons[epoch]), **changes)
        return sign_audit(subject, failed, in_service, signer or self.site)


__all__ = [
    "EPOCH",
    "GENESIS",
    "MEASURED",
    "OPERATOR",
    "STATEMENT_BYTES",
    "KeySigner",
    "World",
    "digest_of",
    "statement_hash",
]
