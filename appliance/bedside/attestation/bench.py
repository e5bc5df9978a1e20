"""How fast statements and envelopes are made and judged, and what a gateway's rhythm costs on the wire.

Figures for the README and for `bedside bench`; processor time, so that other work on the box counts little.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from typing import Final

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from bedside.attestation.alert import SEALED_BYTES, Envelope, open_envelope, seal
from bedside.attestation.exchange import (
    REPLY_BYTES,
    Request,
    Sealed,
    Subject,
    encode_envelope,
    encode_request,
)
from bedside.attestation.sign1 import key_id, take_apart
from bedside.attestation.statement import GENESIS, STATEMENT_BYTES, Link, Measured, Statement, Status, make
from bedside.attestation.verify import STRICT, Arrival, Gateway
from bedside.core.frames import framed
from bedside.core.sealing import OpeningKey

DAY_S: Final = 86_400.0
_ID = "0" * 32


class _Key:
    def __init__(self) -> None:
        self._key = Ed25519PrivateKey.generate()
        self.public_key = self._key.public_key().public_bytes_raw()

    def sign(self, message: bytes) -> bytes:
        return self._key.sign(message)


def rates(seconds: float = 1.0) -> dict[str, float]:
    """Runs a second of processor time of each: how many a second one core makes and judges."""
    key, recipient, beacon = _Key(), OpeningKey.generate(), os.urandom(32)
    sueid = b"\x01" + os.urandom(32)
    measured = Measured({"beats": os.urandom(32)}, "tflite-runtime 2.14.0", os.urandom(32), "builtin", "0.1.0")
    gateway = Gateway(key_id(key.public_key), key.public_key, sueid, (measured,))
    link = Link(1, GENESIS, 500_000, Status.GAP)
    statement = Statement(beacon, os.urandom(16), 1_800_000_000, "local", sueid, 1, measured, os.urandom(32), link)
    data, arrival = make(statement, key), Arrival(500_000, {500_000: beacon}, "local")
    signed = take_apart(data)
    envelope = Envelope(180_000_000, 1_800_000_000_000_000, 10_000)
    sealed, senders = seal(envelope, key, recipient.public), {gateway.kid: key.public_key}

    def judge() -> None:
        if STRICT.verify(data, lambda _: gateway, arrival).refusal is not None:
            raise AssertionError("the bench's own statement was refused")

    found = {
        "statements_made_per_s": _rate(lambda: make(statement, key), seconds),
        "statements_verified_per_s": _rate(judge, seconds),
        "signatures_verified_per_s": _rate(lambda: signed.verified_by(key.public_key), seconds),
        "envelopes_sealed_per_s": _rate(lambda: seal(envelope, key, recipient.public), seconds),
        "envelopes_opened_per_s": _rate(lambda: open_envelope(sealed, recipient, senders), seconds),
    }
    found["verifier_share_of_signature_speed"] = found["statements_verified_per_s"] / found["signatures_verified_per_s"]
    return found


def wire_bytes_per_day(*, recipients: int = 1, slot_s: float = 10.0, epoch_s: float = 3600.0) -> dict[str, int]:
    """What a gateway sends and receives in a day, frames included, patients or none."""
    parts = [Sealed(bytes(16), bytes(SEALED_BYTES))] * recipients
    envelope = encode_envelope(180_000_000, parts, _Key())
    sent = {
        Subject.ENVELOPE: (envelope, DAY_S / slot_s),
        Subject.STATEMENT: (bytes(STATEMENT_BYTES), DAY_S / epoch_s),
        Subject.BEACON: (b"", DAY_S / epoch_s),
    }
    frames = {subject: len(framed(encode_request(Request(subject, _ID, body)))) for subject, (body, _) in sent.items()}
    messages = sum(times for _, times in sent.values())
    up = sum(frames[subject] * times for subject, (_, times) in sent.items())
    return {
        "envelope_frame_bytes": frames[Subject.ENVELOPE],
        "statement_frame_bytes": frames[Subject.STATEMENT],
        "sent_bytes_per_day": round(up),
        "received_bytes_per_day": round(messages * len(framed(bytes(REPLY_BYTES)))),
    }


def _rate(work: Callable[[], object], seconds: float) -> float:
    done, start = 0, time.process_time()
    while (used := time.process_time() - start) < seconds:
        for _ in range(50):
            work()
        done += 50
    return round(done / used, 1)
