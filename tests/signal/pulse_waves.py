"""Pulse waves with known pulses for tests of the signal and monitor rooms."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


def pulse_wave(times_s: Sequence[float], duration_s: float, fs_hz: float, heights: Sequence[float] = ()) -> Floats:
    """A pulse each: upstroke of 0.1 s, a dicrotic wave a third as high 0.3 s later. Peaks at `times_s`."""
    t_s = np.arange(round(duration_s * fs_hz)) / fs_hz
    out = np.zeros(t_s.size)
    for number, at in enumerate(times_s):
        tall = heights[number] if heights else 1.0
        for late_s, width_s, height in ((0.0, 0.07, 1.0), (0.30, 0.08, 0.35)):
            out += tall * height * np.exp(-0.5 * ((t_s - at - late_s) / width_s) ** 2)
    return out
