"""Whether a second of a pulse wave can be believed, and in one plain word why not.

Fed by `pleth.py` with one second of source samples and what is known of its pulses.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple, Self

import numpy as np

from bedside.signal.resample import Floats

MISSING_SHARE_MAX = 0.2
FLAT_SHARE = 0.02  # of the usual pulse: a second that swings less is a flat line
FLAT_STEPS = 2  # or two steps of the converter
SATURATED_SHARE = 0.12  # of the samples sit in runs on the very same extreme value
SATURATED_OF_PULSE = 0.3  # where the second swings by less than that, extremes are just the quiet part of a pulse
SWING_MAX = 4.0  # usual pulses; more is movement
STRANGERS = 2  # of the last four pulses not believed: movement, whatever the others look like
LOW_STEPS = 6  # a pulse of fewer steps of the converter cannot be told from noise
SILENT_S_MIN = 2.0  # so long after the last believed pulse a second has no pulse,
SILENT_INTERVALS = 2.5  # or so many usual intervals


@dataclass(frozen=True, slots=True)
class PulseSecond:
    """One second of source samples: may anything be read from it, and which pulses are in it.

    `pulses`: believed pulses whose foot lies in it; 0 where it is not usable. `newest_index`: foot of the newest
    believed pulse before the second's end. `rate_bpm`, `perfusion_pct`: None where none can be given.
    """

    first_index: int
    n_samples: int
    usable: bool
    score: float  # 0..1
    reason: str | None  # missing flat saturated motion low_perfusion no_pulse learning
    pulses: int
    newest_index: int | None
    rate_bpm: float | None
    perfusion_pct: float | None


class SecondSeen(NamedTuple):
    """What is kept of a second until its pulses are known."""

    first: int  # inner samples
    missing: float  # share
    swing: float
    railed: float  # share of samples in runs on the highest or lowest value
    mean: float

    @classmethod
    def of(cls, source: Floats, first: int) -> Self:
        missing = np.isnan(source)
        seen = source[~missing] if missing.any() else source
        if seen.size < 3:
            return cls(first, 1.0, 0.0, 0.0, math.nan)
        low, high = float(seen.min()), float(seen.max())
        railed = max(_in_runs_at(seen, low), _in_runs_at(seen, high)) / seen.size
        return cls(first, 1.0 - seen.size / source.size, high - low, railed, float(seen.mean()))


class PulseVerdict(NamedTuple):
    usable: bool
    score: float
    reason: str | None


def judge_pulse_second(
    second: SecondSeen,
    pulses: Sequence[bool],
    *,
    strangers: int,
    usual: float,
    since_s: float,
    interval_s: float,
    step_size: float,
) -> PulseVerdict:
    """Independent measures, the gravest first. `pulses`: for each pulse in the second, is it believed?

    `strangers`: how many of the last four pulses are not believed. `usual`: height of a usual pulse, 0 where unknown.
    `since_s`: from the last believed pulse to the second's end; infinite where there was none.
    """
    if second.missing > MISSING_SHARE_MAX:
        return PulseVerdict(False, 0.0, "missing")
    if second.swing <= max(FLAT_SHARE * usual, FLAT_STEPS * step_size):
        return PulseVerdict(False, 0.0, "flat")
    if usual == 0.0:
        return PulseVerdict(False, 0.2, "learning")
    if usual < LOW_STEPS * step_size:
        return PulseVerdict(False, 0.2, "low_perfusion")
    if second.railed > SATURATED_SHARE and second.swing > SATURATED_OF_PULSE * usual:
        return PulseVerdict(False, 0.1, "saturated")
    if second.swing > SWING_MAX * usual or not all(pulses) or strangers >= STRANGERS:
        return PulseVerdict(False, 0.3, "motion")
    if since_s > max(SILENT_S_MIN, SILENT_INTERVALS * interval_s):
        return PulseVerdict(False, 0.2, "no_pulse")
    return PulseVerdict(True, 1.0 - 0.1 * second.swing / max(SWING_MAX * usual, 1e-12), None)


def _in_runs_at(seen: Floats, value: float) -> int:
    """Samples at `value` whose next neighbour is there too."""
    at = seen == value
    return int(np.count_nonzero(at[1:] & at[:-1]))
