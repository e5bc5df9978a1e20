"""Whether a second of a lead can be believed, and in one plain word why not.

Fed by `lead.py` with one second of source samples and of the conditioned lead; knows no more of beats than how
tall they are, so a rhythm that it has never seen is not mistaken for noise.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from bedside.signal.resample import INTERNAL_HZ, Floats

SECOND = 250  # internal samples
MISSING_SHARE_MAX = 0.2
FLAT_MV = 0.012  # peak to peak; two steps of a 5 µV converter
RAIL_MV = 3.0  # a flat line this far from the lead's usual level rests at the amplifier's rail
SATURATED_SHARE = 0.08  # of the samples sit in runs on the very same extreme value
SATURATED_MV = 0.5  # where the second swings by less than that, extremes are just coarse steps
MUSCLE_MV = 0.08  # spread of what lies above 40 Hz, QRS and mains apart
MAINS_MV = 0.5  # amplitude of 50 or 60 Hz; the low-pass leaves at most a twentieth of it
MOTION_MV = 2.0  # swing within the second of what lies below 0.5 Hz; or as much as the usual QRS where that is more

_T_S = np.arange(SECOND) / INTERNAL_HZ
_MAINS = np.stack([wave(2 * np.pi * hz * _T_S) for hz in (50.0, 60.0) for wave in (np.cos, np.sin)])  # whole periods


class Second(NamedTuple):
    """What is known of one second."""

    source_mv: Floats  # as it came, NaN where missing
    usual_mv: float  # where the lead rested in the last believable second
    fast_mv: Floats  # (SECOND,) what the low-pass took away
    slow_mv: Floats  # (SECOND,) what the baseline filter took away
    beat_mv: float  # usual QRS, peak to peak; 0 where unknown


class Verdict(NamedTuple):
    """`score` 0 (nothing can be seen) to 1; `reason` None when usable."""

    usable: bool
    score: float
    reason: str | None


def judge_second(second: Second) -> Verdict:
    """Independent measures, the gravest first; one of them suffices to reject the second."""
    source = second.source_mv
    seen = source[~np.isnan(source)]
    if seen.size < max(3, (1 - MISSING_SHARE_MAX) * source.size):
        return Verdict(False, 0.0, "missing")
    low, high = float(seen.min()), float(seen.max())
    if high - low <= FLAT_MV:
        far = abs(0.5 * (low + high) - second.usual_mv) > RAIL_MV
        return Verdict(False, 0.0, "lead_off" if far else "flat")
    railed = max(_in_runs_at(seen, low), _in_runs_at(seen, high))
    if railed > SATURATED_SHARE * seen.size and high - low > SATURATED_MV:
        return Verdict(False, 0.1, "saturated")
    mains_mv, muscle_mv = fast_noise_mv(second.fast_mv)
    swing_mv = float(second.slow_mv.max() - second.slow_mv.min())
    worst, reason = max(
        (mains_mv / MAINS_MV, "mains"),
        (muscle_mv / MUSCLE_MV, "muscle"),
        (swing_mv / max(MOTION_MV, second.beat_mv), "motion"),
    )
    usable = worst < 1.0
    return Verdict(usable, 1.0 / (1.0 + worst * worst), None if usable else reason)


def fast_noise_mv(fast_mv: Floats) -> tuple[float, float]:
    """Amplitude of the stronger of 50 and 60 Hz, and the robust spread of the rest, mV.

    The spread is 1.48 times the median size: QRS complexes and pacing spikes, short as they are, do not count.
    """
    parts = (_MAINS @ fast_mv) * (2.0 / SECOND)
    sizes = [math.hypot(parts[k], parts[k + 1]) for k in (0, 2)]
    k = 0 if sizes[0] >= sizes[1] else 2
    rest = np.abs(fast_mv - (parts[k] * _MAINS[k] + parts[k + 1] * _MAINS[k + 1]))
    rest.partition(SECOND // 2)
    return max(sizes), 1.48 * float(rest[SECOND // 2])


def _in_runs_at(seen: Floats, value: float) -> int:
    """Samples at `value` whose next neighbour is there too."""
    at = seen == value
    return int(np.count_nonzero(at[1:] & at[:-1]))
