"""A body, as a virtual wearable measures it: simulated, or replayed from a recording.

Pure: everything is a function of the time since the body's beginning, so two wearables on one
body agree and a scenario runs twice alike.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from bedside.core.samples import Counts


@dataclass(frozen=True, slots=True)
class RadioState:
    """The wearable's radio and power at one moment."""

    on: bool = True  # False: switched off, or out of range
    loss: float = 0.0  # share of notifications that never arrive, 0 to 1


@dataclass(frozen=True, slots=True)
class ScriptLine:
    """A line of the timetable: what a viewer will see at about `at_s`."""

    at_s: float
    text: str


class Physiology(Protocol):
    """What there is to measure. Times are seconds since the body's beginning."""

    @property
    def name(self) -> str:
        """The demonstration's name for this body; simulated ones say so."""
        ...

    @property
    def simulated(self) -> bool:
        """True for a generated signal, False for a replayed recording of a person."""
        ...

    @property
    def lead(self) -> str:
        """The ECG lead's name."""
        ...

    @property
    def ecg_rate_hz(self) -> float: ...

    def ecg_uv(self, first_index: int, n_samples: int) -> Counts:
        """ECG samples in microvolts, int32, shape (n_samples,); what the electrodes give, contact or not."""
        ...

    def beats_s(self, start_s: float, end_s: float) -> tuple[float, ...]:
        """Times of the beats that a strap's own counter finds in `[start_s, end_s)`."""
        ...

    def contact(self, at_s: float) -> bool:
        """Do the ECG electrodes touch skin?"""
        ...

    def spo2_pct(self, at_s: float) -> float | None:
        """Oxygen saturation; None where the body has no oximeter or the oximeter no pulse."""
        ...

    def pulse_bpm(self, at_s: float) -> float | None: ...

    def pressure_mmhg(self, at_s: float) -> tuple[float, float] | None:
        """Systolic and diastolic pressure as a cuff would measure them; None where the body wears no cuff."""
        ...

    def battery_pct(self, at_s: float) -> float: ...

    def radio(self, at_s: float) -> RadioState: ...

    def script(self) -> tuple[ScriptLine, ...]:
        """What happens to this body, in order of time; empty for a plain recording."""
        ...
