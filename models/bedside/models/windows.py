"""Where a beat's window lies, and the buffer of clean signal that windows are cut from.

Fed with the 250 Hz clean lead of `bedside.signal.lead`; never touches a clock, file or model. All
indices are 250 Hz samples since the stream began, so a window does not depend on how the stream was cut.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self, TypeAlias

import numpy as np
import numpy.typing as npt

Floats: TypeAlias = npt.NDArray[np.float64]

FS_HZ = 250
"""Rate of the clean lead (`bedside.signal.lead.INTERNAL_HZ`)."""

BEFORE = 75
"""Samples of the window before the R peak: 0.30 s, the P wave of a slow conduction included."""
AFTER = 105
"""Samples from the R peak on: 0.42 s, most of the T wave."""
SLACK = 6
"""Samples by which a window may be moved to lie on a template: 24 ms, more than a beat finder's jitter."""
SETTLED = AFTER + SLACK
"""A beat is judged when 0.44 s after it are settled. A beat finder takes a peak back within 0.2 s of it."""
RR_MAX = 10 * FS_HZ
"""A longer interval between two beats is not an interval: the heart stood still or beats were missed."""
JUMP_MAX = 10 * 60 * FS_HZ
"""A hole longer than ten minutes empties the buffer; a shorter one is filled with NaN."""


@dataclass(frozen=True, slots=True, eq=False)
class CleanBuffer:
    """The newest clean samples, mV, NaN where the lead was not seen. `first`: index of the oldest."""

    first: int
    values: Floats  # (n,)

    @classmethod
    def empty(cls) -> Self:
        return cls(0, np.empty(0))

    @property
    def end(self) -> int:
        """Index just after the newest sample."""
        return self.first + self.values.size

    def extended(self, clean_mv: Floats, clean_first: int) -> CleanBuffer:
        """With `clean_mv` behind; a hole before it becomes NaN.

        Raises `ValueError` when the samples overlap those that are here: the caller repeats itself.
        """
        if clean_mv.size == 0:
            return self
        if self.values.size == 0:
            return CleanBuffer(clean_first, clean_mv.astype(np.float64))
        hole = clean_first - self.end
        if hole < 0:
            raise ValueError(f"clean samples from {clean_first}: expected {self.end} or later")
        if hole > JUMP_MAX:
            return CleanBuffer(clean_first, clean_mv.astype(np.float64))
        parts = [self.values, np.full(hole, np.nan), clean_mv] if hole else [self.values, clean_mv]
        return CleanBuffer(self.first, np.concatenate(parts))

    def from_index(self, index: int) -> CleanBuffer:
        """Without the samples before `index`."""
        drop = min(max(index - self.first, 0), self.values.size)
        return self if drop == 0 else CleanBuffer(self.first + drop, self.values[drop:])

    def around(self, peak: int) -> Floats:
        """The window of the beat whose R peak is at `peak`, with `SLACK` on both sides.

        Shape (BEFORE + AFTER + 2 * SLACK,), mV, NaN where the buffer has no sample.
        """
        start, stop = peak - BEFORE - SLACK, peak + AFTER + SLACK
        inside = self.values[max(start - self.first, 0) : max(stop - self.first, 0)]
        if inside.size == stop - start:
            return inside
        window = np.full(stop - start, np.nan)
        offset = max(self.first - start, 0)
        window[offset : offset + inside.size] = inside
        return window
