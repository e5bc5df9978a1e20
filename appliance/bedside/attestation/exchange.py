"""The messages between a gateway, the operator and a recipient: both ends' codec, in deterministic CBOR.

| subject | who asks | message | reply |
| --- | --- | --- | --- |
| `enrol` | gateway | COSE_Sign1 over {token, public key, pseudonym, measured} | `Ack` |
| `beacon` | gateway | nothing | `Ack` with epoch and beacon |
| `statement` | gateway | the statement | `Ack` |
| `envelope` | gateway | COSE_Sign1 over [slot, [[recipient, sealed] …]] | `Ack` |
| `pickup` | recipient | [recipient, after, limit] | [[number, received_us, kid, sealed] …] |

A request is [version, subject, id, message], its id 32 hex digits and unique: the same id twice is
done once and answered alike. A reply to a gateway is `REPLY_BYTES` long, whatever was asked and
answered. Pure: bytes and values only.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final

from bedside.attestation.alert import SEALED_BYTES
from bedside.attestation.sign1 import FormError, Signed, Signer, decode, encode, is_deterministic, sign1, take_apart
from bedside.attestation.statement import SUEID_BYTES, Measured

VERSION: Final = 1
REPLY_BYTES: Final = 192
REASON_CHARS_MAX: Final = 32
ENROL_TYP: Final = "application/vnd.bedside.enrol+cose"
ENVELOPE_TYP: Final = "application/vnd.bedside.envelope+cose"
RECIPIENTS_MAX: Final = 8
PICKUP_MAX: Final = 256


class Subject(StrEnum):
    """What a message is about."""

    ENROL = "enrol"
    BEACON = "beacon"
    STATEMENT = "statement"
    ENVELOPE = "envelope"
    PICKUP = "pickup"


class MessageError(ValueError):
    """Bytes that are not the message that was expected."""


@dataclass(frozen=True, slots=True)
class Request:
    """One message on its way to the operator."""

    subject: Subject
    id: str
    message: bytes


@dataclass(frozen=True, slots=True)
class Ack:
    """The operator's answer to a gateway. `reason` names a refusal; empty when all is well."""

    ok: bool
    reason: str = ""
    epoch: int = 0
    beacon: bytes = bytes(32)


@dataclass(frozen=True, slots=True)
class Enrolment:
    """What a gateway says of itself to enrol, signed by the key it enrols."""

    token: str
    public_key: bytes
    sueid: bytes
    measured: Measured


@dataclass(frozen=True, slots=True)
class Sealed:
    """One envelope for one recipient: to the operator nothing but bytes."""

    recipient: bytes  # the id of the recipient's key
    data: bytes


@dataclass(frozen=True, slots=True)
class PickedUp:
    """One envelope as the operator kept it."""

    number: int  # the operator's own running number
    received_us: int
    kid: bytes
    sealed: bytes


def encode_request(request: Request) -> bytes:
    """The bytes of a request."""
    return encode([VERSION, str(request.subject), request.id, request.message])


def decode_request(data: bytes) -> Request:
    """Raises `MessageError`."""
    values = _list(data, 4)
    version, subject, message_id, message = values
    if version != VERSION or not isinstance(message, bytes):
        raise MessageError("request: unknown form")
    if not isinstance(message_id, str) or len(message_id) != 32:
        raise MessageError("request: an id has 32 characters")
    try:
        return Request(Subject(subject), message_id, message)
    except ValueError as error:
        raise MessageError("request: unknown subject") from error


def encode_ack(ack: Ack) -> bytes:
    """`REPLY_BYTES` bytes."""
    unpadded = encode([ack.ok, ack.reason[:REASON_CHARS_MAX], ack.epoch, ack.beacon])
    return unpadded.ljust(REPLY_BYTES, b"\x00")


def decode_ack(data: bytes) -> Ack:
    """Raises `MessageError`."""
    if len(data) != REPLY_BYTES:
        raise MessageError(f"reply of {len(data)} bytes: expected {REPLY_BYTES}")
    ok, reason, epoch, beacon = _list(data, 4)
    if type(ok) is not bool or not isinstance(reason, str) or type(epoch) is not int or not isinstance(beacon, bytes):
        raise MessageError("reply: unknown form")
    return Ack(ok, reason, epoch, beacon)


def encode_enrolment(enrolment: Enrolment, signer: Signer) -> bytes:
    """The signed enrolment: whoever sends it holds the key."""
    measured = enrolment.measured
    body = [enrolment.token, enrolment.public_key, enrolment.sueid, measured.to_map(), measured.version]
    return sign1(encode(body), signer, ENROL_TYP)


def decode_enrolment(data: bytes) -> Enrolment:
    """Raises `MessageError`, also when the key that is enrolled did not sign."""
    signed = _signed(data, ENROL_TYP)
    token, public_key, sueid, measured, version = _list(signed.payload, 5)
    if not isinstance(token, str) or not isinstance(public_key, bytes) or not isinstance(version, str):
        raise MessageError("enrolment: unknown form")
    if not isinstance(sueid, bytes) or len(sueid) != SUEID_BYTES:
        raise MessageError(f"enrolment: a pseudonym has {SUEID_BYTES} bytes")
    if not signed.verified_by(public_key):
        raise MessageError("enrolment: not signed by the key that it enrols")
    try:
        return Enrolment(token, public_key, sueid, Measured.from_map(measured, version))
    except ValueError as error:
        raise MessageError(f"enrolment: {error}") from error


def encode_envelope(slot: int, parts: Sequence[Sealed], signer: Signer) -> bytes:
    """One slot's message. Its size depends on the number of recipients alone."""
    return sign1(encode([slot, [[part.recipient, part.data] for part in parts]]), signer, ENVELOPE_TYP)


def envelope_kid(data: bytes) -> bytes | None:
    """The kid that an envelope message names, before anything is checked; None when it names none."""
    try:
        return _signed(data, ENVELOPE_TYP).kid
    except MessageError:
        return None


def decode_envelope(data: bytes, public_key: bytes) -> tuple[int, tuple[Sealed, ...]]:
    """The slot and its sealed parts. Raises `MessageError`, also when `public_key` did not sign."""
    signed = _signed(data, ENVELOPE_TYP)
    if not signed.verified_by(public_key):
        raise MessageError("envelope: the signature does not match")
    slot, parts = _list(signed.payload, 2)
    if type(slot) is not int or not 0 <= slot < 2**48 or not isinstance(parts, list):
        raise MessageError("envelope: unknown form")
    if len(parts) > RECIPIENTS_MAX:
        raise MessageError(f"envelope: more than {RECIPIENTS_MAX} recipients")
    return slot, tuple(_sealed(part) for part in parts)


def encode_pickup(recipient: bytes, after: int, limit: int = PICKUP_MAX) -> bytes:
    """A recipient asks for up to `limit` envelopes numbered above `after`."""
    return encode([recipient, after, limit])


def decode_pickup(data: bytes) -> tuple[bytes, int, int]:
    """Recipient, after, limit. Raises `MessageError`."""
    recipient, after, limit = _list(data, 3)
    if not isinstance(recipient, bytes) or type(after) is not int or type(limit) is not int or after < 0:
        raise MessageError("pickup: unknown form")
    return recipient, after, max(1, min(limit, PICKUP_MAX))


def encode_picked_up(items: Sequence[PickedUp]) -> bytes:
    """The reply to a pickup."""
    return encode([[item.number, item.received_us, item.kid, item.sealed] for item in items])


def decode_picked_up(data: bytes) -> tuple[PickedUp, ...]:
    """Raises `MessageError`."""
    found = []
    for item in _list(data, None):
        if not isinstance(item, list) or len(item) != 4:
            raise MessageError("pickup reply: unknown form")
        number, received_us, kid, sealed = item
        if type(number) is not int or type(received_us) is not int:
            raise MessageError("pickup reply: unknown form")
        if not isinstance(kid, bytes) or not isinstance(sealed, bytes):
            raise MessageError("pickup reply: unknown form")
        found.append(PickedUp(number, received_us, kid, sealed))
    return tuple(found)


def _sealed(part: Any) -> Sealed:
    if not isinstance(part, list) or len(part) != 2:
        raise MessageError("envelope: unknown form")
    recipient, data = part
    if not isinstance(recipient, bytes) or not isinstance(data, bytes) or len(data) != SEALED_BYTES:
        raise MessageError(f"envelope: a sealed part has {SEALED_BYTES} bytes")
    return Sealed(recipient, data)


def _signed(data: bytes, typ: str) -> Signed:
    try:
        signed = take_apart(data)
    except FormError as error:
        raise MessageError(str(error)) from error
    if signed.header.get(16) != typ or not is_deterministic(data, signed):
        raise MessageError("another kind of message, or not in deterministic CBOR")
    return signed


def _list(data: bytes, size: int | None) -> list[Any]:
    try:
        values = decode(data)
    except FormError as error:
        raise MessageError(str(error)) from error
    if not isinstance(values, list) or (size is not None and len(values) != size):
        raise MessageError("unknown form")
    return values
