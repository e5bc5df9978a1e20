"""When beats were that a strap tells only by the intervals between them (HRS 1.0, 3.1.1.4: RR-Interval, no time).

A strap notifies about once a second and tells the intervals that ended since. So a beat was at most a notification's
period and a radio's delay before it was told, and never after. Intervals are laid end to end; where the chain lies in
our time follows from the notification that came soonest after its beat. How soon that was is bounded too: waits fill
at most one period, so if they were seen to differ by `s`, the shortest was no longer than a period minus `s`.

A notification that was lost, or a strap without contact, breaks the chain: intervals were lost with it. Pure: times
are passed in; memory is bounded.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

from bedside.ble.clock_model import DELAY_US
from bedside.core.time import US_PER_S

PERIOD_US = US_PER_S
"""How often straps notify."""
BROKEN_US = 1_700_000
"""A notification that comes so long after the last one followed another that was lost."""
WINDOW_US = 120 * US_PER_S
SLACK_US = 300_000
"""How much later than a period a radio may make a notification before intervals are taken for lost."""


@dataclass(frozen=True, slots=True)
class Beats:
    """The beats of one notification, oldest first, in our time (UTC), and how far off they all may be."""

    times_us: tuple[int, ...]
    uncertainty_us: int


class RrClock:
    """The chain of one strap's intervals."""

    def __init__(self) -> None:
        self._chain_us = 0.0  # our count of time along the intervals
        self._arrived_us: int | None = None
        self._waits: deque[tuple[int, float]] = deque()  # arrival, and arrival minus chain at the newest beat

    def reset(self) -> None:
        """Intervals were lost."""
        self._waits.clear()
        self._arrived_us = None

    def take(self, rr_1024: tuple[int, ...], arrived_us: int) -> Beats | None:
        """One notification's intervals; None where it holds none (no beat ended since)."""
        gap_us = None if self._arrived_us is None else arrived_us - self._arrived_us
        if gap_us is not None and not 0 <= gap_us <= BROKEN_US:
            self.reset()
        self._arrived_us = arrived_us
        if not rr_1024:
            return None
        chain = []
        for interval in rr_1024:
            self._chain_us += interval * US_PER_S / 1024
            chain.append(self._chain_us)
        self._waits.append((arrived_us, arrived_us - self._chain_us))
        if self._spread_us() > PERIOD_US + SLACK_US:  # more than waiting can explain
            newest = self._waits[-1]
            self._waits.clear()
            self._waits.append(newest)
        while self._waits[0][0] < arrived_us - WINDOW_US:
            self._waits.popleft()
        shortest = min(wait for _, wait in self._waits)
        unknown_us = max(0.0, PERIOD_US + SLACK_US - self._spread_us())
        return Beats(
            times_us=tuple(round(at_us + shortest - unknown_us / 2) for at_us in chain),
            uncertainty_us=DELAY_US + round(unknown_us / 2),
        )

    def _spread_us(self) -> float:
        waits = [wait for _, wait in self._waits]
        return max(waits) - min(waits)
