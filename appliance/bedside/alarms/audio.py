"""What of the open alarms must be heard, and the audio pause (IEC 60601-1-8: AUDIO PAUSED, audio only).

An alarm sounds from its raising until somebody acknowledges it. A pause silences what sounds for at most
`PAUSE_S_MAX`, by name; it touches nothing on the screens. What is more urgent than all that sounded when the pause
was begun breaks through and ends it; what is as urgent or less stays visual. Pure: the clock is monotonic and
passed in, so a box's clock that is set neither prolongs nor ends a pause.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from bedside.alarms.table import URGENCY
from bedside.core.events import Alarm, AlarmState, Priority

PAUSE_S_MAX = 120.0
"""IEC 60601-1-8 leaves the time to the maker; two minutes are the usual default (clinical notes, 2c)."""


def signalling(alarms: Iterable[Alarm]) -> Priority | None:
    """The most urgent priority among alarms that nobody has acknowledged; None: nothing must sound."""
    loud = [one.priority for one in alarms if one.state in (AlarmState.ACTIVE, AlarmState.LATCHED)]
    return min(loud, key=lambda priority: URGENCY[priority], default=None)


@dataclass(frozen=True, slots=True)
class AudioPause:
    """A pause that `by` began. `level`: the most urgent priority that sounded then."""

    by: str
    level: Priority
    until_s: float  # monotonic

    @classmethod
    def begin(cls, by: str, level: Priority, seconds: float, now_s: float) -> AudioPause:
        """Raises `ValueError` for a nameless pause, or one that is not 1 to `PAUSE_S_MAX` seconds long."""
        if not by.strip():
            raise ValueError("audio pause: nobody is named")
        if not 1.0 <= seconds <= PAUSE_S_MAX:
            raise ValueError(f"audio pause: expected 1 to {PAUSE_S_MAX:g} s, got {seconds:g}")
        return cls(by, level, now_s + seconds)

    def remaining_s(self, now_s: float) -> float:
        """How long the pause still lasts."""
        return max(0.0, self.until_s - now_s)

    def over(self, loudest: Priority | None, now_s: float) -> str | None:
        """Why the pause is over now, that `loudest` must be heard; None: it lasts."""
        if now_s >= self.until_s:
            return "expired"
        if loudest is not None and URGENCY[loudest] < URGENCY[self.level]:
            return "a more urgent alarm"
        return None
