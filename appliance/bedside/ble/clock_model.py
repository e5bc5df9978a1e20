"""How a wearable's clock runs beside ours: offset and drift from many packets, with what is not known of them.

A packet says by the wearable's clock when its last sample was taken, and comes later than that: by an unknown delay,
never early. Over many packets the fastest ones form a lower edge; its height is the offset and its slope the drift.
The slope is that of the lower hull's segment under the mean of the points, which is the line below all points that
lies closest to them (Moon, Skelly, Towsley: "Estimation and removal of clock skew from network delay measurements",
INFOCOM 1999). Only the fastest packet of each `BUCKET_US` is kept, so memory is bounded.

What cannot be known: a delay that all packets share. It stands in the uncertainty as `DELAY_US`.

Pure: no clock, file, socket or asyncio; times are whole microseconds and passed in.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

from bedside.core.time import US_PER_S

BUCKET_US = 10 * US_PER_S
BUCKETS_MAX = 180
"""Half an hour: slow enough for the slope to be sure, short enough that a warming quartz is followed."""

RECENT_US = 300 * US_PER_S
"""How long a fast packet's height counts: long enough to meet a fast one."""

SPAN_US = 500 * US_PER_S
"""A slope is believed from so long a run on; before that the drift is taken for none, and said to be unknown."""

SETTLED_US = 60 * US_PER_S
"""After so long one packet of the run was fast; before that a packet's own lateness counts as unknown."""

DELAY_US = 50_000
"""What is not known of the fastest packet's delay: one connection interval of a thrifty strap."""

DRIFT_MAX = 250e-6
"""No quartz is worse; a steeper slope is a radio that gets slower."""

SPREAD_MAX_US = 60 * US_PER_S


@dataclass(frozen=True, slots=True)
class Fit:
    """The clock as it is known: `offset_us` (ours minus the wearable's) at the wearable's time `device_us`.

    `drift_ppm`: by how much ours runs faster; None while it is not known. `uncertainty_us` of the offset.
    """

    device_us: int
    offset_us: int
    drift_ppm: float | None
    uncertainty_us: int


Point = tuple[int, int]
"""The wearable's time and the offset that a packet showed (arrival minus stamp), in microseconds."""


class ClockModel:
    """The memory of one wearable's clock, from one reset of it to the next."""

    def __init__(self) -> None:
        self._points: list[Point] = []  # the fastest packet of each bucket, oldest first
        self._slope: float | None = None

    def reset(self) -> None:
        """The clock jumped: nothing that was known of it holds."""
        self._points = []
        self._slope = None

    @property
    def empty(self) -> bool:
        """True before the first packet, and after a reset."""
        return not self._points

    def lateness_us(self, device_us: int, arrived_us: int) -> int:
        """By how much a packet is later than the fastest would be; negative: earlier. 0 where nothing is known."""
        if not self._points:
            return 0
        return arrived_us - device_us - self._height(device_us)[0]

    def observe(self, device_us: int, arrived_us: int) -> Fit:
        """One more packet, and the clock as it is known with it."""
        offset_us = arrived_us - device_us
        points = self._points
        if points and points[-1][0] // BUCKET_US == device_us // BUCKET_US:
            if offset_us < points[-1][1]:
                points[-1] = (device_us, offset_us)
        else:
            self._slope = drift(points)  # of the buckets that are full
            points.append((device_us, offset_us))
            del points[:-BUCKETS_MAX]
        height_us, age_us = self._height(device_us)
        unknown = self._slope_unknown()
        late_us = 0 if device_us - points[0][0] >= SETTLED_US else min(offset_us - height_us, SPREAD_MAX_US)
        return Fit(
            device_us=device_us,
            offset_us=height_us,
            drift_ppm=None if self._slope is None else round(self._slope * 1e6, 2),
            uncertainty_us=DELAY_US + round(unknown * age_us) + late_us,
        )

    def _slope_unknown(self) -> float:
        """What is not known of the drift: two edges of a run may each be off by `DELAY_US`."""
        if self._slope is None:
            return DRIFT_MAX
        return min(DRIFT_MAX, 2.0 * DELAY_US / (self._points[-1][0] - self._points[0][0]))

    def _height(self, device_us: int) -> tuple[int, int]:
        """The lower edge at `device_us`, and how old the packet is that it rests on."""
        slope = self._slope or 0.0
        best_us, age_us = None, 0
        for at_us, offset_us in reversed(self._points):
            since_us = device_us - at_us
            if since_us > RECENT_US and best_us is not None:
                break
            height_us = offset_us + round(slope * since_us)
            if best_us is None or height_us < best_us:
                best_us, age_us = height_us, abs(since_us)
        assert best_us is not None
        return best_us, age_us


def drift(points: Sequence[Point]) -> float | None:
    """Slope of the line below `points` (rising in time) that is closest to them; None while it is not sure.

    Cut to `DRIFT_MAX` either way.
    """
    if len(points) < 3 or points[-1][0] - points[0][0] < SPAN_US:
        return None
    hull: list[Point] = []
    for point in points:
        while len(hull) > 1 and _above(hull[-2], hull[-1], point):
            hull.pop()
        hull.append(point)
    count, total = len(points), sum(at_us for at_us, _ in points)
    for (from_us, low_us), (to_us, high_us) in itertools.pairwise(hull):
        if to_us * count >= total:
            return max(-DRIFT_MAX, min(DRIFT_MAX, (high_us - low_us) / (to_us - from_us)))
    raise AssertionError("the mean of the points lies under their hull")


def _above(first: Point, middle: Point, last: Point) -> bool:
    """Does `middle` lie on or above the line from `first` to `last`? Exact: whole numbers."""
    return (middle[1] - first[1]) * (last[0] - first[0]) >= (last[1] - first[1]) * (middle[0] - first[0])
