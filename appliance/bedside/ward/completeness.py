"""How much of a patient's ECG is here, for each of the last hours, and what the rest was lost to.

An hour's share is the time of the samples that came over the time for which she was monitored in it: silence counts
as missing whether or not anybody has declared it yet. Of several leads the best one counts. Pure: time is passed in.
"""

from __future__ import annotations

from bedside.core.api import CompletenessView, HourView
from bedside.core.samples import Block
from bedside.core.time import US_PER_S

HOURS = 24
HOUR_US = 3600 * US_PER_S
STREAMS_MAX = 16
SETTLE_US = 5 * US_PER_S
"""The newest seconds are under way, and not missing."""


class Completeness:
    """One patient's. `began_us`: since when she is monitored; the first block or view may say it."""

    def __init__(self) -> None:
        self._began_us: int | None = None
        self._received: dict[str, dict[int, int]] = {}  # stream: hour: microseconds
        self._lost: dict[int, dict[str, int]] = {}  # hour: cause: microseconds

    @property
    def measured(self) -> bool:
        """Has there been an ECG at all?"""
        return bool(self._received)

    def block(self, block: Block) -> None:
        """Samples came."""
        stream = block.stream.id
        if stream not in self._received and len(self._received) >= STREAMS_MAX:
            return
        if self._began_us is None:
            self._began_us = block.start_us
        hours = self._received.setdefault(stream, {})
        for hour, span_us in _by_hour(block.start_us, block.end_us):
            hours[hour] = hours.get(hour, 0) + span_us
        _forget(hours)

    def gap(self, cause: str, start_us: int, end_us: int) -> None:
        """Samples will not come."""
        for hour, span_us in _by_hour(start_us, end_us):
            causes = self._lost.setdefault(hour, {})
            causes[cause] = causes.get(cause, 0) + span_us
        _forget(self._lost)

    def view(self, now_us: int) -> CompletenessView:
        """The last hours, oldest first. A share is None where she was not monitored for long enough to say."""
        if self._began_us is None or self._began_us > now_us:
            self._began_us = now_us
        until_us = now_us - SETTLE_US
        first = max(self._began_us // HOUR_US, now_us // HOUR_US - HOURS + 1)
        hours: list[HourView] = []
        received_us = expected_us = 0
        for hour in range(first, now_us // HOUR_US + 1):
            start_us, end_us = max(hour * HOUR_US, self._began_us), min((hour + 1) * HOUR_US, until_us)
            due_us = max(0, end_us - start_us)
            came_us = min(max((one.get(hour, 0) for one in self._received.values()), default=0), due_us)
            received_us, expected_us = received_us + came_us, expected_us + due_us
            lost_s = {cause: round(us / US_PER_S, 1) for cause, us in sorted(self._lost.get(hour, {}).items())}
            share = round(came_us / due_us, 4) if due_us >= SETTLE_US else None
            hours.append(HourView(hour_us=hour * HOUR_US, share=share, lost_s=lost_s))
        return CompletenessView(
            since_us=max(self._began_us, first * HOUR_US),
            share=round(received_us / expected_us, 4) if expected_us >= SETTLE_US else None,
            missing_s=round((expected_us - received_us) / US_PER_S, 1),
            hours=hours,
        )


def _by_hour(start_us: int, end_us: int) -> list[tuple[int, int]]:
    """The hours that a span touches, and how much of it lies in each; of a long one the last hours."""
    found = []
    at_us = max(start_us, end_us - HOURS * HOUR_US)
    while at_us < end_us:
        hour = at_us // HOUR_US
        next_us = min(end_us, (hour + 1) * HOUR_US)
        found.append((hour, next_us - at_us))
        at_us = next_us
    return found


def _forget(hours: dict[int, int] | dict[int, dict[str, int]]) -> None:
    while len(hours) > HOURS + 1:
        del hours[min(hours)]
