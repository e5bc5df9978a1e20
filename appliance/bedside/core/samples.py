"""What comes out of a source: blocks of samples, readings, and what the wearable says of itself.

These are the items that travel from the decoders (or from a recording) to a patient's monitor.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from bedside.core.codes import Code, StreamKind
from bedside.core.time import US_PER_S

Counts: TypeAlias = npt.NDArray[np.int32]
Floats: TypeAlias = npt.NDArray[np.float64]

MISSING = np.iinfo(np.int32).min
"""The count that stands for a sample that was never received."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamInfo:
    """One lead or channel of one wearable. Its samples are `counts * unit_per_count` in `unit` (UCUM)."""

    id: str
    patient: str
    wearable: str
    kind: StreamKind
    label: str  # the lead's or channel's name: "I", "MLII", "PLETH"
    rate_hz: float  # nominal
    unit: str
    unit_per_count: float
    simulated: bool


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Block:
    """Consecutive samples of one stream.

    `counts`: int32, shape (n,), n >= 0, `MISSING` where a sample was not received. The truth of a
    stream is its sample index; `start_us` (UTC) maps `first_index` to time, `uncertainty_us` says how well.
    """

    stream: StreamInfo
    first_index: int
    start_us: int
    rate_hz: float
    counts: Counts
    uncertainty_us: int = 0

    @property
    def end_us(self) -> int:
        """The time just after the last sample."""
        return self.start_us + round(self.counts.size * US_PER_S / self.rate_hz)

    def values(self) -> Floats:
        """The samples in the stream's unit, float64, NaN where one is missing."""
        values = self.counts * self.stream.unit_per_count
        values[self.counts == MISSING] = np.nan
        return values


class Validity(StrEnum):
    """What may be believed of a number. Order of trust: good, questionable, rejected."""

    GOOD = "good"
    QUESTIONABLE = "questionable"  # shown, marked
    REJECTED = "rejected"  # withheld: `---` with the reason


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """A number that the wearable itself measured, at `time_us` (UTC)."""

    wearable: str
    patient: str
    code: Code
    time_us: int
    value: float | None  # None: the device says that it has none; `reason` tells why
    validity: Validity = Validity.GOOD
    reason: str | None = None
    stored: bool = False  # from the wearable's memory: of `time_us`, heard later, never a live condition


@dataclass(frozen=True, slots=True, kw_only=True)
class Contact:
    """The wearable says whether its electrodes touch skin (HRS contact bits, PMD, PLX sensor status)."""

    wearable: str
    patient: str
    time_us: int
    on_skin: bool
    kind: StreamKind = StreamKind.ECG


class LinkState(StrEnum):
    """Where a wearable's session stands."""

    SEARCHING = "searching"
    CONNECTING = "connecting"
    UP = "up"
    LOST = "lost"
    STOPPED = "stopped"  # by us
    RESTING = "resting"  # a cuff, scale or meter between two measurements: it calls when it has one


@dataclass(frozen=True, slots=True, kw_only=True)
class LinkChange:
    """A wearable's link came up or went. `reason` is a plain word or sentence without patient data."""

    wearable: str
    patient: str
    time_us: int
    state: LinkState
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Gap:
    """Samples of `stream` that will not come: `[first_index, first_index + n_samples)`, and why."""

    stream: StreamInfo
    first_index: int
    n_samples: int
    start_us: int
    end_us: int
    cause: str  # "link_lost", "packets_lost", "malformed_packet", "clock_reset", "restart"


Plain: TypeAlias = "dict[str, bool | int | float | str | None]"


@dataclass(frozen=True, slots=True, kw_only=True)
class Remark:
    """What a session found out about its wearable; it becomes a finding of `kind` with `evidence`, no name in it."""

    wearable: str
    patient: str
    time_us: int
    kind: str  # "wearable_clock", "battery_night", "stored_review", "back_fill"
    evidence: Plain
    stream: str | None = None


Item: TypeAlias = Block | Reading | Contact | LinkChange | Gap | Remark
