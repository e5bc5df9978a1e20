"""Whether a second of a lead can be believed, and in one plain word why not.

Fed by `lead.py` with one second of source samples and of conditioned lead; knows nothing of beats' classes.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from bedside.signal.resample import Floats

MISSING_SHARE_MAX = 0.2
FLAT_MV = 0.012  # peak to peak; two steps of a 5 µV converter
RAIL_MV = 3.0  # a flat line this far from the lead's usual level rests at the amplifier's rail
SATURATED_SHARE = 0.08  # of the samples sit on the very same extreme value
MUSCLE_MV = 0.08  # rms above 40 Hz
MAINS_MV = 0.25  # amplitude of 50 or 60 Hz
MOTION_MV = 2.5  # swing of the second's slow part


class Second(NamedTuple):
    """What is measured of one second."""

    source_mv: Floats  # as it came, NaN where missing
    fs_hz: float
    usual_mv: float  # where the lead rested before
    clean_mv: Floats  # conditioned, 250 Hz
    fast_mv: Floats  # what the low-pass took away, 250 Hz
    level_mv: float  # QRS envelope level
    envelope_mv: Floats


class Verdict(NamedTuple):
    """`score` 0 (nothing can be seen) to 1; `reason` None when usable."""

    usable: bool
    score: float
    reason: str | None


def judge_second(second: Second) -> Verdict:
    """Independent measures, the gravest first; one of them suffices to reject the second."""
    seen = second.source_mv[~np.isnan(second.source_mv)]
    if seen.size < (1 - MISSING_SHARE_MAX) * second.source_mv.size or seen.size < 3:
        return Verdict(False, 0.0, "missing")
    low, high = float(seen.min()), float(seen.max())
    if high - low <= FLAT_MV:
        far = abs(0.5 * (low + high) - second.usual_mv) > RAIL_MV
        return Verdict(False, 0.0, "lead_off" if far else "flat")
    at_rail = max(_runs_at(seen, low), _runs_at(seen, high))
    if at_rail > SATURATED_SHARE * seen.size and high - low > 0.5:
        return Verdict(False, 0.1, "saturated")
    mains = _mains_mv(seen, second.fs_hz)
    muscle = float(np.sqrt(np.mean(np.square(second.fast_mv))))
    swing = _swing_mv(seen)
    parts = ((mains / MAINS_MV, "mains"), (muscle / MUSCLE_MV, "muscle"), (swing / MOTION_MV, "motion"))
    worst, reason = max(parts)
    score = 1.0 / (1.0 + worst * worst)
    return Verdict(worst < 1.0, score, None if worst < 1.0 else reason)


def _runs_at(seen: Floats, value: float) -> int:
    """Samples at `value` whose neighbour is there too."""
    at = seen == value
    return int(np.count_nonzero(at[1:] & at[:-1]))


def _mains_mv(seen: Floats, fs_hz: float) -> float:
    """The larger amplitude of 50 and 60 Hz."""
    t_s = np.arange(seen.size) / fs_hz
    centred = (seen - seen.mean()) * np.hanning(seen.size)
    return max(
        4.0 * abs(complex(centred @ np.exp(-2j * np.pi * hz * t_s))) / seen.size
        for hz in (50.0, 60.0)
        if hz < 0.48 * fs_hz or hz == 50.0
    )


def _swing_mv(seen: Floats) -> float:
    """Peak to peak of the means of eighths of the second: slow movement, hardly the QRS."""
    size = seen.size // 8
    means = seen[: 8 * size].reshape(8, size).mean(axis=1)
    return float(means.max() - means.min())
