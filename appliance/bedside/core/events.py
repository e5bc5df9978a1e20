"""What happened: one tagged union of frozen events, with one codec for JSON and deterministic CBOR.

Every event carries type, schema, id (UUIDv7), patient, stream, start, end and what it supersedes.
Readers ignore types that they do not know (`decode` gives None). JSON goes over the API and the
socket; CBOR (RFC 8949, 4.2.1) goes to disk, into digests and into the outbox.
"""

from __future__ import annotations

import dataclasses
import types
import typing
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, ClassVar, TypeAlias

import cbor2

from bedside.core.codes import Code
from bedside.core.samples import LinkState, Validity

Json: TypeAlias = "bool | int | float | str | list[Json] | dict[str, Json] | None"
Evidence: TypeAlias = "dict[str, Json]"


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """What all events share. Times are microseconds UTC; `end_us` is None while it lasts."""

    type: ClassVar[str] = ""
    schema: ClassVar[int] = 1

    id: str
    patient: str | None  # None: of the box, not of a patient
    stream: str | None = None
    start_us: int
    end_us: int | None = None
    supersedes: str | None = None
    simulated: bool = False


class BeatClass(StrEnum):
    """AAMI EC57 classes, and the explicit "cannot judge"."""

    N = "N"
    S = "S"
    V = "V"
    F = "F"
    Q = "Q"


@dataclass(frozen=True, slots=True, kw_only=True)
class Beat(Event):
    """One heart beat at its R peak (`start_us`, and `index` in the stream's own samples)."""

    type: ClassVar[str] = "beat"
    index: int
    beat_class: BeatClass
    judged: bool  # False: no model could judge it; the class is then Q
    probability: float | None  # of `beat_class`; None where no model judged
    rr_s: float | None
    amplitude_mv: float
    model: str | None  # SHA-256 of the model's bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Numeric(Event):
    """A vital sign's value at `start_us`. `value` None: withheld, `reason` says why."""

    type: ClassVar[str] = "numeric"
    code: Code
    value: float | None
    unit: str
    validity: Validity
    reason: str | None = None
    source: str  # the wearable's or stream's id
    stored: bool = False  # from a wearable's memory: it was so at `start_us`, and is no live condition


class RhythmLabel(StrEnum):
    """Rhythms, named as the aux strings of WFDB annotations without the bracket."""

    SINUS = "N"
    AF = "AFIB"
    SVT = "SVTA"
    VT = "VT"
    VF = "VFL"
    ASYSTOLE = "ASYS"
    PACED = "P"
    BIGEMINY = "B"
    TRIGEMINY = "T"
    NOISE = "NOISE"
    UNKNOWN = "UNK"


@dataclass(frozen=True, slots=True, kw_only=True)
class Rhythm(Event):
    """A rhythm episode. It is sent at its onset (no end) and again, superseding, at its end."""

    type: ClassVar[str] = "rhythm"
    label: RhythmLabel
    index: int  # of the onset, in the stream's samples
    end_index: int | None = None
    evidence: Evidence = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Quality(Event):
    """The quality of a stream changed at sample `index`."""

    type: ClassVar[str] = "quality"
    index: int
    usable: bool
    score: float  # 0 to 1
    reason: str | None  # None when usable: "lead_off", "flat", "saturated", "motion", "muscle", "mains", "missing"


@dataclass(frozen=True, slots=True, kw_only=True)
class PulseSecond(Event):
    """One second (`start_us` to `end_us`) of a pulse wave: what it says of a heart that beats, known 1 to 2 s later.

    `pulses` counts the believed ones whose foot lies in the second, 0 where it is not usable: the pulses of the last
    N s are the sum over the seconds that end in them. A second that is not usable is no evidence either way.
    """

    type: ClassVar[str] = "pulse_second"
    index: int  # of the second's first sample
    n_samples: int
    usable: bool
    reason: str | None  # None when usable: missing flat saturated motion low_perfusion no_pulse learning lead_off
    pulses: int
    newest_pulse_us: int | None  # foot of the newest believed pulse before the second's end
    rate_bpm: float | None  # of the believed pulses of the last 10 s


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding(Event):
    """What signal or model saw that is no rhythm: a pause, a run, a disagreement, a model that abstains."""

    type: ClassVar[str] = "finding"
    kind: str
    evidence: Evidence = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamGap(Event):
    """Samples that will not come, and why."""

    type: ClassVar[str] = "gap"
    index: int
    n_samples: int
    cause: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Link(Event):
    """A wearable's link changed."""

    type: ClassVar[str] = "link"
    wearable: str
    state: LinkState
    reason: str


class Priority(StrEnum):
    """IEC 60601-1-8 alarm condition priorities."""

    HIGH = "high"
    MEDIUM = "medium"
    LOW = "low"


class AlarmClass(StrEnum):
    """IEC 60601-1-8: physiological or technical alarm condition."""

    PHYSIOLOGICAL = "physiological"
    TECHNICAL = "technical"


class AlarmState(StrEnum):
    """The state of one alarm (IEC 60601-1-8 and BICEPS words)."""

    ACTIVE = "active"  # condition present, not acknowledged
    ACKNOWLEDGED = "acknowledged"  # condition present, acknowledged: visible, silent until the reminder
    LATCHED = "latched"  # condition gone, not acknowledged, signals go on
    ENDED = "ended"


@dataclass(frozen=True, slots=True, kw_only=True)
class Alarm(Event):
    """A change of one alarm. `start_us` is the condition's onset, `raised_us` when it was first signalled.

    All changes of one alarm share `alarm` (the id of the first); `end_us` is the end of the *condition*.
    """

    type: ClassVar[str] = "alarm"
    alarm: str
    kind: str
    alarm_class: AlarmClass
    priority: Priority
    state: AlarmState
    condition: bool  # is the condition still present
    latching: bool
    raised_us: int
    changed_us: int
    text: str  # one sentence for the screen, no name in it
    by: str | None = None  # who acknowledged
    evidence: Evidence = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Suppression(Event):
    """An alarm that was not raised, and the rule that held it back."""

    type: ClassVar[str] = "suppression"
    kind: str
    reason: str
    evidence: Evidence = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Audit(Event):
    """Who did what on the box: started, stopped, acknowledged, saw, changed."""

    type: ClassVar[str] = "audit"
    actor: str
    action: str
    detail: Evidence = field(default_factory=dict)


EVENT_TYPES: dict[str, type[Event]] = {
    cls.type: cls
    for cls in (Beat, Numeric, Rhythm, Quality, PulseSecond, Finding, StreamGap, Link, Alarm, Suppression, Audit)
}


def to_dict(event: Event) -> dict[str, Json]:
    """The event as plain JSON values, with `type` and `schema`."""
    values: dict[str, Json] = {"type": event.type, "schema": event.schema}
    for item in dataclasses.fields(event):
        value = getattr(event, item.name)
        values[item.name] = str(value) if isinstance(value, StrEnum) else value
    return values


def from_dict(values: Mapping[str, Any]) -> Event | None:
    """The event that `to_dict` made; None for a type or schema this version does not know.

    Raises `ValueError` when a known type lacks a field or holds a word that is not of its enum.
    """
    cls = EVENT_TYPES.get(values.get("type", ""))
    if cls is None or values.get("schema") != cls.schema:
        return None
    hints = _hints(cls)
    known: dict[str, Any] = {}
    for name, hint in hints.items():
        if name in values:
            known[name] = _restore(hint, values[name])
    try:
        return cls(**known)
    except TypeError as error:
        raise ValueError(f"event {cls.type!r}: {error}") from error


def to_cbor(event: Event) -> bytes:
    """Deterministic CBOR of `to_dict(event)`."""
    return cbor2.dumps(to_dict(event), canonical=True)


def from_cbor(data: bytes) -> Event | None:
    """The reverse of `to_cbor`; None for unknown types. Raises `ValueError` for bytes that are no event."""
    try:
        values = cbor2.loads(data)
    except (cbor2.CBORError, ValueError, EOFError) as error:
        raise ValueError(f"event: not CBOR: {error}") from error
    if not isinstance(values, dict):
        raise ValueError(f"event: expected a map, got {type(values).__name__}")
    return from_dict(values)


_HINTS: dict[type[Event], dict[str, Any]] = {}


def _hints(cls: type[Event]) -> dict[str, Any]:
    if cls not in _HINTS:
        hints = typing.get_type_hints(cls)
        _HINTS[cls] = {item.name: hints[item.name] for item in dataclasses.fields(cls)}
    return _HINTS[cls]


def _restore(hint: Any, value: Any) -> Any:
    """Turn a plain value back into the enum that its field wants."""
    if value is None:
        return None
    options = typing.get_args(hint) if isinstance(hint, types.UnionType) else (hint,)
    for option in options:
        if isinstance(option, type) and issubclass(option, StrEnum):
            return option(value)
    return value
