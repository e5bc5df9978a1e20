"""The engine's own time: it only goes forward, whatever is done to the box's clock.

Delays, reminders and escalations run on it. Pure: it learns of time by what it is told.
"""

from __future__ import annotations

from dataclasses import dataclass

from bedside.core.time import US_PER_S

STEP_MAX_S = 10.0
"""A step forward longer than this is a clock that was set (the engine hears of time each second): it counts so much."""
BACK_MAX_S = 30.0
"""Times of data may lie so far behind the newest; further back is a clock that was set."""


@dataclass(slots=True)
class EngineClock:
    """`elapsed_us` never goes back and never leaps; `now_us` is the newest wall-clock time that was told."""

    now_us: int = 0
    elapsed_us: int = 0
    _told: bool = False

    def tell(self, now_us: int) -> None:
        """It is `now_us` (microseconds UTC), or was a moment ago."""
        if not self._told:
            self.now_us, self._told = now_us, True
            return
        step_us = now_us - self.now_us
        if step_us >= 0:
            self.elapsed_us += min(step_us, round(STEP_MAX_S * US_PER_S))
            self.now_us = now_us
        elif step_us < -BACK_MAX_S * US_PER_S:
            self.now_us = now_us
