"""When a sample was: the stream's index is the truth, and this maps it to time.

Fed by the start times that blocks carry; pure.
"""

from __future__ import annotations

from collections import deque

from bedside.core.time import US_PER_S

TOLERANCE_US = 2_000
"""A block that starts within 2 ms of where the last segment puts it adds no segment: rounding is no news."""
SEGMENTS_KEPT = 256


class Timeline:
    """Index to µs UTC by segments, each a first index, its time and a rate. Memory is bounded."""

    def __init__(self) -> None:
        self._segments: deque[tuple[int, int, float]] = deque(maxlen=SEGMENTS_KEPT)

    def note(self, index: int, start_us: int, rate_hz: float) -> None:
        """Sample `index` was taken at `start_us`, and `rate_hz` follow in a second."""
        if self._segments:
            _, _, before_hz = self._segments[-1]
            near = abs(self.at(index) - start_us) <= TOLERANCE_US
            if near and abs(rate_hz / before_hz - 1.0) < 0.01:
                return
        self._segments.append((index, start_us, rate_hz))

    def at(self, index: float) -> int:
        """The time of a sample, µs UTC; before the first segment extrapolated. Raises `LookupError` when empty."""
        if not self._segments:
            raise LookupError("timeline: no sample has come yet")
        chosen = self._segments[0]
        for segment in reversed(self._segments):
            if segment[0] <= index:
                chosen = segment
                break
        first, start_us, rate_hz = chosen
        return start_us + round((index - first) * US_PER_S / rate_hz)
