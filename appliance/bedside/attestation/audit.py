"""The care site's audit of an epoch's work: leaves picked by the operator's beacon, opened, and done again.

    epoch e      the statement commits to the work before it (root), with beacon e
    epoch e + 1  beacon e + 1 appears: nobody knew it when the root was signed, and it picks `CHALLENGES` leaves
                 the auditor gets their salts and work from the gateway, checks them against the root,
                 runs the same models on the same int8 tensors, and signs how many did not hold
                 the statement of e + 1 carries that signature; the operator checks it and learns one number

A dummy that opens to a dummy holds: an audit runs alike with and without patients, so passing says
nothing of whether there are any. Whether the box is in service for the site is the site's own word.

The offer is sealed to the auditor and signed by the gateway, the result signed by the auditor, so the
connection between them need not be trusted. Pure: no clock, file, socket, model or asyncio.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from bedside.attestation.sign1 import (
    KID_BYTES,
    SIGNATURE_BYTES,
    FormError,
    Signer,
    decode,
    encode,
    is_deterministic,
    key_id,
    sign1,
    take_apart,
)
from bedside.attestation.work import SALT_BYTES, WORK_SLOTS, Opening, Piece, WorkTree
from bedside.core import merkle
from bedside.core.errors import BedsideError
from bedside.core.sealing import OpeningKey, SealError, SealingKey

CHALLENGES: Final = 64
STEPS_MAX: Final = 1
"""How far an output may be from the auditor's own, in int8 steps: an ARM gateway's built-in kernels are one step off an
x86-64 auditor's in 0.05 % of rows. Who stays within a step of the model has run it, or its equal."""
NONCE_BYTES: Final = 16
ASK_TYP: Final = "application/vnd.bedside.audit-ask+cose"
OFFER_TYP: Final = "application/vnd.bedside.audit-offer+cose"
_INFO: Final = b"bedside audit offer 1"
_SIGNED: Final = "bedside-audit/1"


class AuditError(BedsideError):
    """A message of an audit that is not what it should be; the sentence says in what."""


@dataclass(frozen=True, slots=True)
class Audit:
    """The auditor's signed result, as the next statement carries it."""

    challenges: int
    failed: int
    in_service: bool
    auditor: bytes  # kid of the auditor's key
    signature: bytes

    def to_map(self) -> dict[int, Any]:
        """As it stands in the statement."""
        return {1: self.challenges, 2: self.failed, 3: int(self.in_service), 4: self.auditor, 5: self.signature}

    @classmethod
    def from_map(cls, values: Any) -> Audit:
        """Raises `ValueError` when it is not that."""
        if not isinstance(values, dict) or set(values) != {1, 2, 3, 4, 5}:
            raise ValueError("audit: expected a map with keys 1 to 5")
        challenges, failed, in_service, auditor, signature = (values[key] for key in (1, 2, 3, 4, 5))
        if type(challenges) is not int or challenges != CHALLENGES:
            raise ValueError(f"audit: expected {CHALLENGES} challenges")
        if type(failed) is not int or not 0 <= failed <= challenges or in_service not in (0, 1):
            raise ValueError("audit: a number out of range")
        if not isinstance(auditor, bytes) or len(auditor) != KID_BYTES:
            raise ValueError(f"audit: a kid has {KID_BYTES} bytes")
        if not isinstance(signature, bytes) or len(signature) != SIGNATURE_BYTES:
            raise ValueError(f"audit: a signature has {SIGNATURE_BYTES} bytes")
        return cls(challenges, failed, bool(in_service), auditor, signature)


@dataclass(frozen=True, slots=True)
class Subject:
    """What an audit is about: whose work, of which epoch, under which head, picked by which beacon."""

    sueid: bytes  # the gateway's pseudonym towards this operator
    epoch: int  # the operator's number of the epoch whose statement carries `root`
    root: bytes
    beacon: bytes  # of the epoch after: unknown when the root was signed


@dataclass(frozen=True, slots=True)
class Opened:
    """One challenged leaf with its proof."""

    leaf: int
    opening: Opening
    proof: tuple[bytes, ...]


@dataclass(frozen=True, slots=True)
class Offer:
    """All that the auditor needs."""

    subject: Subject
    opened: tuple[Opened, ...]


def challenged(beacon: bytes, root: bytes, count: int = CHALLENGES) -> tuple[int, ...]:
    """The leaves that `beacon` picks under `root`: `count` different ones, each set as likely as any other.

    The values of SHA-256("bedside challenge 1" || beacon || root || n), n = 0, 1, 2 …, read as 16-bit
    numbers modulo the number of leaves (which divides 65,536), repeats left out.
    """
    if not 0 < count <= WORK_SLOTS:
        raise ValueError(f"count: expected 1 to {WORK_SLOTS}")
    found: dict[int, None] = {}
    n = 0
    while len(found) < count:
        block = hashlib.sha256(b"bedside challenge 1" + beacon + root + n.to_bytes(4, "big")).digest()
        for at in range(0, len(block), 2):
            if len(found) < count:
                found[int.from_bytes(block[at : at + 2], "big") % WORK_SLOTS] = None
        n += 1
    return tuple(found)


def offer_of(tree: WorkTree, subject: Subject) -> Offer:
    """What the gateway opens to its auditor."""
    leaves = challenged(subject.beacon, subject.root)
    return Offer(subject, tuple(Opened(leaf, tree.openings[leaf], tree.proof(leaf)) for leaf in leaves))


Rerun = Callable[[bytes, bytes], bytes | None]  # model digest, int8 inputs -> int8 outputs; None: it cannot be run


def failures(offer: Offer, rerun: Rerun) -> tuple[int, int]:
    """How many of the challenged leaves did not hold, and how many held real work.

    A leaf holds when it is the one that the beacon picked, its opening and proof lead to the root, and it
    is either a dummy or work whose outputs `rerun` gives again, each within `STEPS_MAX`. What is missing does not hold.
    """
    subject, failed, real = offer.subject, 0, 0
    by_leaf = {opened.leaf: opened for opened in offer.opened}
    for leaf in challenged(subject.beacon, subject.root):
        opened = by_leaf.get(leaf)
        if opened is None or not _proven(opened, subject.root):
            failed += 1
        elif opened.opening.work:
            real += 1
            failed += not _holds(opened.opening.work, rerun)
    return failed, real


def _proven(opened: Opened, root: bytes) -> bool:
    return merkle.verify_inclusion(
        root_hash=root, leaf=opened.opening.leaf, index=opened.leaf, size=WORK_SLOTS, proof=opened.proof
    )


def _holds(work: bytes, rerun: Rerun) -> bool:
    try:
        piece = Piece.decode(work)
    except ValueError:
        return False
    again = rerun(piece.model, piece.inputs)
    return again is not None and _within(again, piece.outputs)


def _within(one: bytes, other: bytes) -> bool:
    """Whether two int8 tensors are of one size and nowhere more than `STEPS_MAX` apart."""
    pairs = zip(memoryview(one).cast("b"), memoryview(other).cast("b"), strict=False)
    return len(one) == len(other) and all(abs(a - b) <= STEPS_MAX for a, b in pairs)


def sign(subject: Subject, failed: int, in_service: bool, signer: Signer) -> Audit:
    """The auditor's word. Signing the same twice gives the same bytes."""
    message = _signed_bytes(subject, CHALLENGES, failed, in_service)
    return Audit(CHALLENGES, failed, in_service, key_id(signer.public_key), signer.sign(message))


def is_signed(audit: Audit, subject: Subject, public_key: bytes) -> bool:
    """Whether this auditor's key signed this result of this audit."""
    try:
        key = Ed25519PublicKey.from_public_bytes(public_key)
        key.verify(audit.signature, _signed_bytes(subject, audit.challenges, audit.failed, audit.in_service))
    except (InvalidSignature, ValueError):
        return False
    return True


def _signed_bytes(subject: Subject, challenges: int, failed: int, in_service: bool) -> bytes:
    return encode(
        [_SIGNED, subject.sueid, subject.epoch, subject.root, subject.beacon, challenges, failed, int(in_service)]
    )


# The messages between gateway and auditor


def encode_ask(nonce: bytes, signer: Signer) -> bytes:
    """The auditor asks whether there is anything to audit."""
    return sign1(encode([1, nonce]), signer, ASK_TYP)


def decode_ask(data: bytes, public_key: bytes) -> bytes:
    """The nonce. Raises `AuditError`, also when `public_key` did not sign."""
    version, nonce = _signed_list(data, ASK_TYP, public_key, 2)
    if version != 1 or not isinstance(nonce, bytes) or len(nonce) != NONCE_BYTES:
        raise AuditError("audit request: unknown form")
    return nonce


def encode_offer(offer: Offer, nonce: bytes, signer: Signer, reader: SealingKey) -> bytes:
    """Signed by the gateway, sealed to the auditor: nobody between them reads or changes it."""
    subject = offer.subject
    body = [
        nonce,
        [subject.sueid, subject.epoch, subject.root, subject.beacon],
        [[one.leaf, one.opening.salt, one.opening.work, list(one.proof)] for one in offer.opened],
    ]
    return reader.seal(sign1(encode(body), signer, OFFER_TYP), _INFO)


def decode_offer(sealed: bytes, nonce: bytes, key: OpeningKey, public_key: bytes) -> Offer:
    """Raises `AuditError`: for another reader, not signed by this gateway, an answer to another question."""
    try:
        data = key.open(sealed, _INFO)
    except SealError as error:
        raise AuditError("audit offer: sealed for another auditor, or altered") from error
    answered, about, rows = _signed_list(data, OFFER_TYP, public_key, 3)
    if answered != nonce:
        raise AuditError("audit offer: an answer to another question")
    try:
        sueid, epoch, root, beacon = about
        subject = Subject(_bytes(sueid, 33), _uint(epoch), _bytes(root, 32), _bytes(beacon, 32))
        opened = tuple(_opened(row) for row in rows)
    except (ValueError, TypeError) as error:
        raise AuditError("audit offer: unknown form") from error
    return Offer(subject, opened)


def encode_result(epoch: int, audit: Audit) -> bytes:
    """The auditor's result on its way to the gateway."""
    return encode([epoch, audit.to_map()])


def decode_result(data: bytes) -> tuple[int, Audit]:
    """Epoch and result, the signature not yet checked. Raises `AuditError`."""
    try:
        epoch, values = decode(data)
        return _uint(epoch), Audit.from_map(values)
    except (FormError, ValueError, TypeError) as error:
        raise AuditError("audit result: unknown form") from error


def _signed_list(data: bytes, typ: str, public_key: bytes, size: int) -> list[Any]:
    try:
        signed = take_apart(data)
        values = decode(signed.payload)
    except FormError as error:
        raise AuditError(f"audit: {error}") from error
    if signed.header.get(16) != typ or not is_deterministic(data, signed):
        raise AuditError("audit: another kind of message, or not in deterministic CBOR")
    if not signed.verified_by(public_key):
        raise AuditError("audit: not signed by the key that is known here")
    if not isinstance(values, list) or len(values) != size:
        raise AuditError("audit: unknown form")
    return values


def _opened(row: Any) -> Opened:
    leaf, salt, work, proof = row
    if not isinstance(work, bytes) or not isinstance(proof, list):
        raise ValueError("opened leaf")
    path = tuple(_bytes(one, 32) for one in proof)
    return Opened(_uint(leaf), Opening(_bytes(salt, SALT_BYTES), work), path)


def _bytes(value: Any, size: int) -> bytes:
    if not isinstance(value, bytes) or len(value) != size:
        raise ValueError("bytes")
    return value


def _uint(value: Any) -> int:
    if type(value) is not int or not 0 <= value < 2**63:
        raise ValueError("number")
    return value
