"""Sealed alert envelopes: what leaves for the care team elsewhere, one a slot, real or dummy, all alike.

An envelope's plaintext is the sender's COSE_Sign1 over {slot, time, alerts}, padded to
`PLAINTEXT_BYTES`, then sealed to the recipient (`core.sealing`). The signature stands inside: who
carries the envelope cannot tell who signed what, and the recipient still knows that it was the box.
A dummy is the same with no alert in it: same steps, same size, and to the recipient the proof that
the box was there in that slot.

The clinical alarm is local and immediate; this is the copy. Worst added delay: one slot, and the
half second before it in which the envelope is made.

Pure: keys and time are passed in; no clock, file, socket or asyncio.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

from bedside.attestation.sign1 import FormError, Signer, decode, encode, is_deterministic, key_id, sign1, take_apart
from bedside.core.errors import BedsideError
from bedside.core.events import Alarm, AlarmClass, AlarmState, Priority
from bedside.core.sealing import OVERHEAD_BYTES, OpeningKey, SealError, SealingKey
from bedside.core.time import US_PER_S

PLAINTEXT_BYTES: Final = 1024
SEALED_BYTES: Final = PLAINTEXT_BYTES + OVERHEAD_BYTES
TYP: Final = "application/vnd.bedside.alerts+cose"
INFO: Final = b"bedside alert envelope 1"
VERSION: Final = 1
TEXT_BYTES_MAX: Final = 120
KIND_BYTES_MAX: Final = 40
LIVE_S_MAX: Final = 60.0  # an alert that left the box later than this after it was raised is history, not live
MERGED_KIND: Final = "merged"  # stands for `count` older ones that were too many to keep
_LENGTH_BYTES = 2
_PRIORITIES: Final = (Priority.HIGH, Priority.MEDIUM, Priority.LOW)  # index = code on the wire and rank
_STATES: Final = (AlarmState.ACTIVE, AlarmState.ACKNOWLEDGED, AlarmState.LATCHED, AlarmState.ENDED)
_CLASSES: Final = (AlarmClass.PHYSIOLOGICAL, AlarmClass.TECHNICAL)


class EnvelopeError(BedsideError):
    """An envelope that is not what a known sender sealed for this recipient."""


@dataclass(frozen=True, slots=True)
class Alert:
    """One alarm's newest state, as the care team elsewhere is told. Ids are surrogates; the text holds no name."""

    alarm: str
    patient: str | None  # None: of the box
    kind: str
    alarm_class: AlarmClass
    priority: Priority
    state: AlarmState
    raised_us: int
    changed_us: int
    text: str
    simulated: bool = False
    count: int = 1  # more than one only for `MERGED_KIND`

    @property
    def urgency(self) -> tuple[int, int]:
        """Sorts high priority first, and within one priority the newest first."""
        return _PRIORITIES.index(self.priority), -self.raised_us

    @classmethod
    def of(cls, alarm: Alarm) -> Alert:
        """What of an alarm's change is told."""
        return cls(
            alarm=_cut(alarm.alarm, KIND_BYTES_MAX),
            patient=None if alarm.patient is None else _cut(alarm.patient, KIND_BYTES_MAX),
            kind=_cut(alarm.kind, KIND_BYTES_MAX),
            alarm_class=alarm.alarm_class,
            priority=alarm.priority,
            state=alarm.state,
            raised_us=alarm.raised_us,
            changed_us=alarm.changed_us,
            text=_cut(alarm.text, TEXT_BYTES_MAX),
            simulated=alarm.simulated,
        )

    def to_list(self) -> list[Any]:
        """As it stands in an envelope and in the outbox."""
        codes = (_CLASSES.index(self.alarm_class), _PRIORITIES.index(self.priority), _STATES.index(self.state))
        times = (self.raised_us, self.changed_us)
        patient = None if self.patient is None else _pack_id(self.patient)
        return [_pack_id(self.alarm), patient, self.kind, *codes, *times, self.text, self.simulated, self.count]

    @classmethod
    def from_list(cls, values: Any) -> Alert:
        """The reverse of `to_list`. Raises `ValueError` when it is not that."""
        if not isinstance(values, list | tuple) or len(values) != 11:
            raise ValueError("alert: expected a list of 11")
        alarm, patient, kind, class_code, priority, state, raised_us, changed_us, text, simulated, count = values
        numbers = (class_code, priority, state, raised_us, changed_us, count)
        if any(type(number) is not int or number < 0 for number in numbers) or type(simulated) is not bool:
            raise ValueError("alert: expected numbers of 0 or more")
        if not isinstance(kind, str) or not isinstance(text, str):
            raise ValueError("alert: expected kind and text as text")
        try:
            codes = (_CLASSES[class_code], _PRIORITIES[priority], _STATES[state])
        except IndexError as error:
            raise ValueError("alert: unknown code") from error
        who = None if patient is None else _unpack_id(patient)
        return cls(_unpack_id(alarm), who, kind, *codes, raised_us, changed_us, text, simulated, count)


@dataclass(frozen=True, slots=True)
class Envelope:
    """What the sender says in one slot. `waiting` alerts did not fit and follow in later slots."""

    slot: int  # number of the slot since 1970: unix time over the slot's length
    made_us: int
    slot_ms: int
    alerts: tuple[Alert, ...] = ()
    waiting: int = 0

    def age_s(self, alert: Alert) -> float:
        """How long before this envelope the alert was raised, seconds, by the sender's clock."""
        return max(0.0, (self.made_us - alert.raised_us) / US_PER_S)

    def is_live(self, alert: Alert) -> bool:
        """Whether the alert left in time to be acted on as news; else it is history."""
        return self.age_s(alert) <= LIVE_S_MAX


def fill(slot: int, made_us: int, slot_ms: int, waiting: Sequence[Alert], signer: Signer) -> Envelope:
    """An envelope with as many alerts as fit, most urgent first; `waiting` must be in that order."""
    empty = len(_signed(Envelope(slot, made_us, slot_ms, (), len(waiting)), signer))
    room = PLAINTEXT_BYTES - _LENGTH_BYTES - empty - 8  # 8: the heads that grow with what they hold
    taken: list[Alert] = []
    for alert in waiting:
        room -= len(encode(alert.to_list()))
        if room < 0:
            break
        taken.append(alert)
    return Envelope(slot, made_us, slot_ms, tuple(taken), len(waiting) - len(taken))


def seal(envelope: Envelope, signer: Signer, recipient: SealingKey) -> bytes:
    """The sealed envelope: `SEALED_BYTES` bytes, whatever is in it. Raises `ValueError` when too much is."""
    signed = _signed(envelope, signer)
    if len(signed) > PLAINTEXT_BYTES - _LENGTH_BYTES:
        raise ValueError(f"envelope of {len(signed)} bytes: at most {PLAINTEXT_BYTES - _LENGTH_BYTES} fit")
    plaintext = len(signed).to_bytes(_LENGTH_BYTES, "big") + signed
    return recipient.seal(plaintext.ljust(PLAINTEXT_BYTES, b"\x00"), INFO)


def open_envelope(sealed: bytes, key: OpeningKey, senders: dict[bytes, bytes]) -> tuple[bytes, Envelope]:
    """The sender's kid and what it said; `senders` holds the public keys of the boxes we know, by kid.

    Raises `EnvelopeError` when the envelope is for another recipient, was altered, or was signed by
    nobody we know.
    """
    try:
        plaintext = key.open(sealed, INFO)
    except SealError as error:
        raise EnvelopeError("sealed for another recipient, or altered on the way") from error
    size = int.from_bytes(plaintext[:_LENGTH_BYTES], "big")
    data, padding = plaintext[_LENGTH_BYTES : _LENGTH_BYTES + size], plaintext[_LENGTH_BYTES + size :]
    if len(plaintext) != PLAINTEXT_BYTES or padding != bytes(len(padding)):
        raise EnvelopeError("opened to something that is no envelope")
    try:
        signed = take_apart(data)
        values = decode(signed.payload)
    except FormError as error:
        raise EnvelopeError("opened to something that is no envelope") from error
    public_key = senders.get(signed.kid) if signed.kid is not None else None
    if signed.kid is None or public_key is None:
        raise EnvelopeError("signed by a box that this recipient does not know: trust its public file first")
    if not is_deterministic(data, signed) or signed.header.get(16) != TYP or not signed.verified_by(public_key):
        raise EnvelopeError("the box's signature does not match")
    try:
        return signed.kid, _envelope(values)
    except ValueError as error:
        raise EnvelopeError("signed by the box, but in a form that this version does not know") from error


def merge(alerts: Sequence[Alert]) -> Alert:
    """One low-priority alert that stands for many that can no longer be kept one by one."""
    newest = max(alerts, key=lambda alert: alert.raised_us)
    count = sum(alert.count for alert in alerts)
    return replace(
        newest,
        alarm=min(alerts, key=lambda alert: alert.raised_us).alarm,
        patient=None,
        kind=MERGED_KIND,
        priority=Priority.LOW,
        state=AlarmState.ENDED,
        text=f"{count} older alerts could not be kept one by one while the link was down",
        count=count,
    )


def sender_of(public_key: bytes) -> bytes:
    """The kid under which a sender's key is known."""
    return key_id(public_key)


def _signed(envelope: Envelope, signer: Signer) -> bytes:
    alerts = [alert.to_list() for alert in envelope.alerts]
    body = {1: VERSION, 2: envelope.slot, 3: envelope.made_us, 4: envelope.slot_ms, 5: alerts, 6: envelope.waiting}
    return sign1(encode(body), signer, TYP)


def _envelope(values: Any) -> Envelope:
    if not isinstance(values, dict) or set(values) != {1, 2, 3, 4, 5, 6} or values[1] != VERSION:
        raise ValueError("envelope: unknown form")
    numbers = (values[2], values[3], values[4], values[6])
    if any(type(number) is not int or number < 0 for number in numbers) or not isinstance(values[5], list | tuple):
        raise ValueError("envelope: unknown form")
    alerts = tuple(Alert.from_list(item) for item in values[5])
    return Envelope(values[2], values[3], values[4], alerts, values[6])


def _pack_id(text: str) -> bytes | str:
    """An id of 32 hex digits as 16 bytes, with a mark for the dashes of a UUID; any other as it is."""
    plain = text.replace("-", "")
    if len(plain) == 32:
        try:
            raw = bytes.fromhex(plain)
        except ValueError:
            return _cut(text, KIND_BYTES_MAX)
        if text == raw.hex():
            return raw
        if text == _dashed(raw.hex()):
            return b"-" + raw
    return _cut(text, KIND_BYTES_MAX)


def _unpack_id(value: Any) -> str:
    if isinstance(value, str):
        return value
    if isinstance(value, bytes) and len(value) == 16:
        return value.hex()
    if isinstance(value, bytes) and len(value) == 17 and value[:1] == b"-":
        return _dashed(value[1:].hex())
    raise ValueError("alert: expected an id")


def _dashed(digits: str) -> str:
    return "-".join((digits[:8], digits[8:12], digits[12:16], digits[16:20], digits[20:]))


def _cut(text: str, size: int) -> str:
    """At most `size` bytes of UTF-8, never half a character."""
    return text.encode()[:size].decode(errors="ignore")
