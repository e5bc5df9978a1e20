"""What is to be printed, as plain values: who, of what time, which waves, numbers, alarms and remarks.

Times are microseconds UTC. Whoever fills these decides who may read them: a name that is None is printed as withheld,
never left out without a word. Pure.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Who:
    """The patient as the reader may see her."""

    id: str  # the site's surrogate
    name: str | None  # None: this reader may not see it
    bed: str | None
    simulated: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Origin:
    """What a sheet says of itself, so that it can be traced."""

    title: str
    printed_us: int
    printed_by: str
    software: str
    models: tuple[str, ...] = ()  # a short name or digest each
    log_head: str | None = None  # size and root of the records' log when it was printed
    act: str | None = None  # id of the audit entry of this printing


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Stretch:
    """Consecutive samples in the lead's unit, shape (n,); NaN where one is missing."""

    start_us: int
    rate_hz: float
    values: Floats

    @property
    def end_us(self) -> int:
        return self.start_us + round(self.values.size * 1e6 / self.rate_hz)


@dataclass(frozen=True, slots=True, kw_only=True)
class BeatSign:
    """A beat: its class as a letter, "?" where none could be judged."""

    time_us: int
    symbol: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Span:
    """Something that lasts over a lead: a rhythm, or why the signal was not usable."""

    start_us: int
    end_us: int
    text: str
    warning: bool


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Lead:
    """One stream. An ECG (`unit` "mV") is drawn to scale; anything else to the row's height, and says so."""

    label: str
    unit: str
    simulated: bool
    stretches: tuple[Stretch, ...]
    beats: tuple[BeatSign, ...] = ()
    spans: tuple[Span, ...] = ()
    filtered: str = "as recorded, no filter"

    @property
    def to_scale(self) -> bool:
        return self.unit == "mV"


@dataclass(frozen=True, slots=True, kw_only=True)
class Number:
    """A vital sign over the printed time. `newest` None: the last one was withheld; `note` says why."""

    label: str
    unit: str
    decimals: int
    newest: float | None
    newest_us: int
    low: float | None
    high: float | None
    mean: float | None
    count: int
    withheld: int
    note: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class AlarmLine:
    """One alarm with its sentence and what became of it."""

    start_us: int
    end_us: int | None
    priority: str
    technical: bool
    text: str
    fate: str  # such as "acknowledged by nurse A, 14:03:10"


@dataclass(frozen=True, slots=True, kw_only=True)
class TrendPart:
    """A part of a trend: None where there was no number."""

    start_us: int
    end_us: int
    low: float | None
    high: float | None
    mean: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Trend:
    """A number's course over the printed time."""

    label: str
    unit: str
    decimals: int
    parts: tuple[TrendPart, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Window:
    """A time of which all leads are drawn at full scale, with the reason for it."""

    start_us: int
    end_us: int
    caption: str


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Report:
    """One document."""

    who: Who
    origin: Origin
    start_us: int
    end_us: int
    leads: tuple[Lead, ...] = ()
    windows: tuple[Window, ...] = ()
    numbers: tuple[Number, ...] = ()
    alarms: tuple[AlarmLine, ...] = ()
    trends: tuple[Trend, ...] = ()
    remarks: tuple[str, ...] = ()  # what is not in it, and why
