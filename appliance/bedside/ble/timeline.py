"""Sample index and time of one stream, from the wearable's own time stamps.

Each frame says when its *last* sample was taken by the wearable's clock. From two frames' stamps follows how many
samples lie between them, so a lost frame is a gap of known length; nothing is stretched over it. The wearable's
clock is mapped to ours by `clock_model`. How long a sample lasts by the wearable's clock is measured too: few sample
at their nominal rate, and over a lost hour a part in a thousand would be 470 samples.

Pure: no clock, file, socket or asyncio; arrival times are passed in.
"""

from __future__ import annotations

from dataclasses import dataclass

from bedside.ble.clock_model import ClockModel, Fit
from bedside.core.time import US_PER_S

LEAD_US = 5 * US_PER_S
"""A stamp this far ahead of the fastest packet so far is no early packet: the wearable's clock was set forward."""

LAG_US = 60 * US_PER_S
"""Packets held back for longer than this, with samples missing before them, are taken for a clock that stood still."""

RATE_OFF_MAX = 0.01
"""A sample that lasts longer or shorter than this share of its nominal time is of stamps that are wrong."""

RATE_SAMPLES = 8_192
"""The measured rate begins as if so many samples had come at the nominal one …"""
RATE_SAMPLES_MAX = 16 * RATE_SAMPLES
"""… and forgets half of its past when it has seen so many."""

LATE_FRAMES_MAX = 3
"""So many frames in a row from before the last one are no stragglers: the clock went back."""


@dataclass(frozen=True, slots=True)
class Hole:
    """Samples between the last frame and this one."""

    first_index: int
    n_samples: int
    start_us: int
    end_us: int
    cause: str


@dataclass(frozen=True, slots=True)
class Placement:
    """Where a frame belongs."""

    first_index: int
    start_us: int
    uncertainty_us: int
    hole: Hole | None  # comes before the frame


class Timeline:
    """The memory of one stream across links.

    `first_index` is the index after the last sample known; `resumed_us` when that one ended (after a restart of the
    box): what passed since then becomes a gap. None: the stream begins.
    """

    def __init__(self, rate_hz: float, first_index: int = 0, resumed_us: int | None = None) -> None:
        self.rate_hz = rate_hz
        self.next_index = first_index
        self.clock = ClockModel()
        self.fit: Fit | None = None  # the wearable's clock as of the newest frame
        self.clock_resets = 0
        self.cut_frames = 0  # their end was missing: taken for lost
        self._usual = 0  # samples of a frame that follows another
        self.late_frames = 0  # told apart from gaps: their samples were declared lost already
        self._nominal_ns = 1e9 / rate_hz
        self._measured_ns, self._measured_samples = round(RATE_SAMPLES * self._nominal_ns), RATE_SAMPLES
        self._last_ns: int | None = None
        self._arrived_us = 0
        self._end_us = resumed_us or 0  # our time just after the last placed sample
        self._resumed_us = resumed_us
        self._late_in_a_row = 0

    @property
    def measured_rate_hz(self) -> float:
        """Samples a second by the wearable's own clock."""
        return 1e9 / self._period_ns

    @property
    def _period_ns(self) -> float:
        low, high = self._nominal_ns * (1 - RATE_OFF_MAX), self._nominal_ns * (1 + RATE_OFF_MAX)
        return min(high, max(low, self._measured_ns / self._measured_samples))

    def place(self, *, last_ns: int, n_samples: int, arrived_us: int, cause: str) -> Placement | None:
        """Index and time of a frame of `n_samples`; None when it repeats or precedes what was already placed.

        `cause` says why samples are missing, if any are. A frame without a sample has no place.
        """
        if n_samples <= 0:
            return None
        hole_samples = 0
        if self._last_ns is not None:
            step_ns = last_ns - self._last_ns
            if -LEAD_US * 1000 < step_ns <= 0 and self._late_in_a_row < LATE_FRAMES_MAX:
                self._late_in_a_row += 1
                self.late_frames += 1
                return None
            missing = round(step_ns / self._period_ns) - n_samples
            if self._cut(missing, n_samples):
                self.cut_frames += 1
                return None
            if self._follows(missing, n_samples):
                self._measure(step_ns, n_samples)
                self._usual = n_samples
            elif missing > 0 and self._believable(last_ns // 1000, arrived_us):
                hole_samples = missing
            else:  # the clock went back, or jumped: only our own time can say how long it was
                cause = "clock_reset"
                elapsed = round((arrived_us - self._arrived_us) * 1000 / self._period_ns) - n_samples
                hole_samples = elapsed if elapsed > n_samples // 2 else 0
                self.clock.reset()
                self.clock_resets += 1
        return self._placed(last_ns, n_samples, arrived_us, hole_samples, cause)

    def _follows(self, missing: int, n_samples: int) -> bool:
        """Does the frame go on where the last one ended, however late it came?

        Stamps of a running stream differ by a sample or two, and a lost frame is never so short.
        """
        return missing == 0 if n_samples < 16 else abs(missing) <= max(2, n_samples // 32)

    def _cut(self, missing: int, n_samples: int) -> bool:
        """Is it a frame whose end was cut off between two samples?

        Its stamp is of the sample that is missing, so what it holds belongs earlier than its stamp says: it is shorter
        than a frame usually is, and what is missing before it makes up just that.
        """
        return n_samples < self._usual and missing > 0 and (missing + n_samples) % self._usual == 0

    def _measure(self, step_ns: int, n_samples: int) -> None:
        """A frame that follows the last one says how long its samples took."""
        self._measured_ns += step_ns
        self._measured_samples += n_samples
        if self._measured_samples > RATE_SAMPLES_MAX:
            self._measured_ns //= 2
            self._measured_samples //= 2

    def _believable(self, device_us: int, arrived_us: int) -> bool:
        """Does a stamp fit the clock as it ran so far? Packets can be late, for as long as a radio keeps them."""
        return -LEAD_US <= self.clock.lateness_us(device_us, arrived_us) <= LAG_US

    def _placed(self, last_ns: int, n_samples: int, arrived_us: int, hole_samples: int, cause: str) -> Placement:
        fit = self.fit = self.clock.observe(last_ns // 1000, arrived_us)
        end_us = last_ns // 1000 + fit.offset_us + round(self._period_ns / 1000)
        start_us = end_us - round(n_samples * self._period_ns / 1000)
        if self._last_ns is None and self._resumed_us is not None:
            hole_samples = max(0, round((start_us - self._resumed_us) * 1000 / self._period_ns))
            cause = "restart"
        hole = None
        if hole_samples:
            hole = Hole(self.next_index, hole_samples, self._end_us, max(start_us, self._end_us), cause)
        first_index = self.next_index + hole_samples
        self.next_index = first_index + n_samples
        self._last_ns, self._arrived_us, self._end_us = last_ns, arrived_us, end_us
        self._late_in_a_row = 0
        return Placement(first_index, start_us, fit.uncertainty_us, hole)
