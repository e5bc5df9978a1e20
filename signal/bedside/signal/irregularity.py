"""Atrial fibrillation from RR intervals: irregularly irregular, where no interval tells of the next.

Only intervals between two beats that are not ventricular count, so ventricular bigeminy does not look like
fibrillation. At every second such interval the last 16, each divided by their median, are weighed by a fitted line
(`measure`): sample entropy at two tolerances (m = 1; Richman & Moorman 2000, doi:10.1152/ajpheart.2000.278.6.H2039,
with one added to both counts), how many pairs are alike, the size and the turning of the steps, how well the best of
the last four intervals predicts the next (bigeminy and trigeminy repeat themselves), and early beats with a pause.

The line's odds are summed (Page 1954, doi:10.1093/biomet/41.1-2.100): between 0 and `FULL`, fibrillation is on from
when the sum is full until it is empty, and lies where the sum left empty, or was last full. Onset and end are known
about 20 intervals late and lie within a few intervals of where they are put.

Fitted by `python signal/fit_irregularity.py DIR` to 18 records of the MIT-BIH AF Database and 93 recordings without
(INCART, MIT-BIH Normal Sinus Rhythm); its leave-one-out figures are in the room's README. Pure.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]

WINDOW = 16
EVERY = 2  # judged at every second new interval
FULL = 80.0
ODDS_MAX = 3.0  # of one judgement, an interval: the first beats of a burst do not decide alone
TOLERANCES = (0.04, 0.08)
JUMP = 0.10
EARLY, PAUSE = 0.87, 1.06  # of the median: an early beat and the interval after it
LAGS = (1, 2, 3, 4)
SPAN_S_MAX = 60.0  # older intervals are of another time
NAMES = ("entropy_4", "entropy_8", "alike", "jumps", "step", "turns", "lag", "early")
WEIGHTS: tuple[float, ...] = (1.165, 1.934, -1.333, 1.272, 0.836, 4.981, 1.0, -11.823)
BIAS = -2.67
_TOLERANCES = np.array(TOLERANCES)[:, None, None]
_BEFORE = np.triu(np.ones((WINDOW - 1, WINDOW - 1), dtype=np.bool_), 1)  # each pair once
_N_PAIRS = np.count_nonzero(_BEFORE)


@dataclass(frozen=True, slots=True)
class Irregularity:
    """`entropy`: nats; `jumps`: 0-1; `rate_bpm`: of the median interval; `odds`: above 0 it fibrillates."""

    entropy: float
    jumps: float
    rate_bpm: float
    odds: float


def numbers(rr_s: Floats) -> tuple[float, ...]:
    """The measures of `NAMES` for intervals, seconds, float64 (16,). Raises `ValueError` for another shape."""
    if rr_s.shape != (WINDOW,):
        raise ValueError(f"rr_s: shape {rr_s.shape}, expected ({WINDOW},)")
    relative = rr_s / _median(rr_s.tolist())
    apart = np.abs(relative[:, None] - relative)
    near = apart < _TOLERANCES
    once = near[:, :-1, :-1] & _BEFORE
    twice = once & near[:, 1:, 1:]
    alike = [np.count_nonzero(one) for one in once]
    entropy = [-math.log((np.count_nonzero(one) + 1) / (n + 1)) for one, n in zip(twice, alike, strict=True)]
    step = relative[1:] - relative[:-1]
    lag = min(_median(apart.diagonal(lag).tolist()) for lag in LAGS)
    each, steps = relative.tolist(), step.tolist()
    return (
        *entropy,
        math.log((alike[-1] + 1) / _N_PAIRS),
        sum(1 for one in steps if abs(one) > JUMP) / len(steps),
        math.log(math.sqrt(float(step @ step) / len(steps)) + 0.005),
        sum(1 for one, after in pairwise(steps) if one * after < 0.0) / (len(steps) - 1),
        math.log(lag + 0.005),
        sum(1 for one, after in pairwise(each[1:]) if one < EARLY and after > PAUSE) / (WINDOW - 2),
    )


def measure(rr_s: Floats) -> Irregularity:
    """Weigh intervals, seconds, float64 (16,). Raises `ValueError` for another shape."""
    seen = numbers(rr_s)
    odds = BIAS + sum(weight * value for weight, value in zip(WEIGHTS, seen, strict=True))
    return Irregularity(seen[1], seen[3], 60.0 / _median(rr_s.tolist()), odds)


def _median(values: Sequence[float]) -> float:
    """Of a handful of values, for which `np.median` takes ten times as long."""
    ordered = sorted(values)
    half = len(ordered) // 2
    return ordered[half] if len(ordered) % 2 else (ordered[half - 1] + ordered[half]) / 2


@dataclass(frozen=True, slots=True)
class IrregularityState:
    """`rr_s` and `ends`: the newest intervals and the clean index at which each ended; `onset` while it fibrillates."""

    rr_s: tuple[float, ...] = ()
    ends: tuple[int, ...] = ()
    pending: int = 0  # intervals since the last judgement
    total: float = 0.0  # 0 to FULL
    empty: int | None = None  # the middle of the window when the sum was last empty
    full: int = 0  # and when it was last full
    onset: int | None = None
    ended: int | None = None  # where the last episode ended
    evidence: Irregularity | None = None


def step(state: IrregularityState, rr_s: float, end: int, fs_hz: float) -> IrregularityState:
    """Take one interval between two non-ventricular beats, ending at clean index `end`."""
    rr_kept, ends = (*state.rr_s, rr_s)[-WINDOW:], (*state.ends, end)[-WINDOW:]
    old = 0
    while ends[old] <= end - SPAN_S_MAX * fs_hz:
        old += 1
    rr_kept, ends, pending = rr_kept[old:], ends[old:], state.pending + 1
    grown = IrregularityState(
        rr_kept, ends, pending, state.total, state.empty, state.full, state.onset, state.ended, state.evidence
    )
    if grown.pending < EVERY or len(grown.rr_s) < WINDOW:
        return grown
    return _judge(grown, measure(np.array(grown.rr_s)))


def expire(state: IrregularityState, now: int, fs_hz: float) -> IrregularityState:
    """Forget what no interval has spoken for in `SPAN_S_MAX`, and end the episode."""
    if not state.ends or now - state.ends[-1] < SPAN_S_MAX * fs_hz:
        return state
    return IrregularityState(ended=state.ends[-1] if state.onset is not None else state.ended)


def _judge(state: IrregularityState, seen: Irregularity) -> IrregularityState:
    middle = state.ends[WINDOW // 2]
    first = state.empty if state.empty is not None else state.ends[0]
    odds = min(max(seen.odds, -ODDS_MAX), ODDS_MAX) * min(state.pending, EVERY)
    total = min(max(state.total + odds, 0.0), FULL)
    state = replace(state, pending=0, total=total, evidence=seen, empty=middle if total <= 0.0 else first)
    if total >= FULL:
        return replace(state, full=middle, onset=first if state.onset is None else state.onset)
    if total <= 0.0 and state.onset is not None:
        return replace(state, onset=None, ended=max(state.full, state.onset))
    return state
