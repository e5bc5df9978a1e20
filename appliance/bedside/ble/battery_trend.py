"""Will a wearable's battery last until the morning? Asked from the evening on, answered from how fast it falls.

A wearable says whole percents, so its fall is measured between the moments at which it stepped down. While less is
known than `FALL_PCT_MIN` over `FALL_S_MIN` nothing is claimed: the alarm of a low battery does not depend on this.
Pure: times are passed in.
"""

from __future__ import annotations

from dataclasses import dataclass

from bedside.core.time import US_PER_S

EVENING_S = 21 * 3600
MORNING_S = 7 * 3600
DAY_S = 86_400
FALL_PCT_MIN = 2.0
FALL_S_MIN = 3600.0
STEPS_MAX = 48


@dataclass(frozen=True, slots=True)
class Forecast:
    """`lasts`: until 07:00 local time. `empty_us`: when it will be empty; `value`: percent now."""

    lasts: bool
    value: float
    empty_us: int


class BatteryTrend:
    """The fall of one battery since it was last charged."""

    def __init__(self) -> None:
        self._steps: list[tuple[int, float]] = []  # when the battery stepped down, and to what
        self._level: float | None = None

    def level(self, pct: float, now_us: int) -> None:
        """The wearable says `pct`. More than before: it was charged, and what was known of its fall is over."""
        if self._level is None or pct > self._level:
            self._steps = []
        elif pct < self._level:
            self._steps.append((now_us, pct))
            del self._steps[:-STEPS_MAX]
        self._level = pct

    def empty_us(self) -> int | None:
        """When it will be empty; None while nobody can say."""
        if len(self._steps) < 2:
            return None
        (from_us, high), (to_us, low) = self._steps[0], self._steps[-1]
        if high - low < FALL_PCT_MIN or to_us - from_us < FALL_S_MIN * US_PER_S:
            return None
        return to_us + round(low * (to_us - from_us) / (high - low))

    def forecast(self, now_us: int, zone_s: float) -> Forecast | None:
        """From 21:00 to 07:00 local time whether it lasts until 07:00; None by day, or while nobody can say."""
        local_s = (now_us / US_PER_S + zone_s) % DAY_S
        if MORNING_S <= local_s < EVENING_S:
            return None
        empty_us = self.empty_us()
        if empty_us is None or self._level is None:
            return None
        morning_us = now_us + round((MORNING_S - local_s) % DAY_S * US_PER_S)
        return Forecast(lasts=empty_us >= morning_us, value=self._level, empty_us=empty_us)


def clock_text(time_us: int, zone_s: float) -> str:
    """Local time of day as HH:MM."""
    minutes = int((time_us / US_PER_S + zone_s) % DAY_S) // 60
    return f"{minutes // 60:02}:{minutes % 60:02}"
