"""Beats unlike the patient's own: each QRS held against a slow reference of itself, by shape and by width.

The second witness of a ventricular tachycardia, and no relation of the first: nothing here is fitted to recordings
of other people, nothing asks a model. Clinical rule: a regular tachycardia with a wide QRS that differs from the
patient's own in sinus rhythm is ventricular until shown otherwise (Brugada 1991, doi:10.1161/01.CIR.83.5.1649).

The reference is the form that most slow beats share (a running majority vote), and is learned below 100/min only:
a tachycardia that goes on for an hour never becomes what it is held against. It is measured on the clean lead
(250 Hz), once the lead's quality over the beat is known. Pure, causal; what it finds does not depend on how the
stream is cut, because beats are taken one by one, in order.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]

FS_HZ = 250
SHAPE_S = 0.10  # on each side of R: a wide QRS, and neither P nor T
SHIFT = 5  # samples (20 ms) by which R of two forms of one beat may be marked apart
WIDTH_S = 0.16  # on each side of R, where the QRS's ends are looked for
WIDTH_SHARE = 0.05  # of the slope's energy lies before the QRS and as much behind it
SWING_MV = 0.15  # a smaller deflection has no form that could be told from noise
SLOW_RR_S = 0.6  # 100/min: no tachycardia is slower (AHA/ACC/HRS 2017), so what is slower may be learned
EARLY = 0.85  # of the mean interval: an earlier beat is premature, and not the patient's usual one
LIKE = 0.8  # correlation from which a slow beat votes for the reference
VOTES = 8  # more votes for than against: the reference is the patient's own
VOTES_MAX = 30  # half a minute of another slow form and it is learned anew
MEAN_OF = 16  # beats
WAIT = 65  # samples (0.26 s) after R: one that follows within 0.2 s may still retract it
KEPT = 1000  # samples (4 s) of the lead: quality is known a second late, beats 0.6 s

WIDE_S = 0.08  # by `measure`, what bundle branch block (0.12 s from onset to end) has: MIT-BIH 109, 124, 207
WIDER = 1.4  # times the reference, and so no stretch by noise
ALIKE = 0.9  # correlation from which a QRS is the patient's own whatever its width
UNLIKE = 0.6  # below it another form, also where both are wide (bundle branch block, and VT on top)
AT_ONCE = 0.97  # as R is marked: more alike than any threshold here, so no better place is looked for
KIN = 0.8  # beats of one tachycardia resemble each other; artefacts do not
ALONE_WIDE_S = 0.10  # without a reference the width alone must speak, and say more than bundle branch block ...
ALONE_RR_S = 0.5  # ... at 120/min and more ...
ALONE_SPREAD = 0.2  # ... and regularly: the last intervals differ by less than this share of their mean

REACH = round(WIDTH_S * FS_HZ) + SHIFT + 1  # samples on each side of R that are looked at
_ONES = np.ones(2 * round(SHAPE_S * FS_HZ) + 1)
_SHARES = np.array((WIDTH_SHARE, 1.0 - WIDTH_SHARE))


class Reference(NamedTuple):
    """The patient's own QRS: `shape` (n,) of length 1, and `width_s`; trusted from `VOTES` votes."""

    shape: Floats
    width_s: float
    votes: int

    @property
    def learned(self) -> bool:
        return self.votes >= VOTES


class WideBeat(NamedTuple):
    """A beat at clean index `at`. `wide` None: not measurable. `correlation` None: there was no reference yet."""

    at: int
    wide: bool | None
    width_s: float = 0.0
    correlation: float | None = None
    width_ratio: float | None = None


class WideState(NamedTuple):
    """The newest seconds of the lead, peaks still to be measured, the reference. Arrays are never written to."""

    tail: tuple[Floats, ...] = ()  # as they came, at least the last `KEPT`
    size: int = 0  # samples in the tail
    end: int = 0  # clean index behind the tail's last sample
    waiting: tuple[int, ...] = ()
    last: int | None = None  # the beat before
    rr_s: tuple[float, ...] = ()  # the newest four
    reference: Reference | None = None
    kin: Floats | None = None  # form of the beat before, where that was wide


def initial() -> WideState:
    """Before the first sample."""
    return WideState()


def step(
    state: WideState,
    clean_mv: Floats,
    clean_first: int,
    peaks: Sequence[int],
    retracted: Sequence[int],
    known_to: int,
    holes: Sequence[tuple[int, int]],
) -> tuple[WideState, tuple[WideBeat, ...]]:
    """Take the next samples, peaks, and peaks that were none; give the beats that can be measured now.

    `known_to`: the quality before this clean index is known, and no peak is still to come;
    `holes`: `[first, end)` that cannot be believed.
    """
    tail, size, end, waiting = state.tail, state.size, state.end, state.waiting
    if clean_mv.size:
        new = clean_mv[max(end - clean_first, 0) :] if end else clean_mv
        tail, size, end = (*tail, new), size + new.size, clean_first + clean_mv.size
    if peaks or retracted:
        waiting = tuple(sorted({*waiting, *peaks} - set(retracted)))
    limit = min(end, known_to) - WAIT
    found = []
    if waiting and waiting[0] < limit:
        lead_mv = np.concatenate(tail)
        state = state._replace(end=end)
        while waiting and waiting[0] < limit:
            at, *rest = waiting
            waiting = tuple(rest)
            believed = not any(first <= at + REACH and last > at - REACH for first, last in holes)
            state, beat = _take(state, at, believed, lead_mv)
            found.append(beat)
        tail = (lead_mv,)
    while tail and size - tail[0].size >= KEPT:
        size -= tail[0].size
        tail = tail[1:]
    if size > 2 * KEPT:  # one long block
        tail, size = (np.concatenate(tail)[-KEPT:],), KEPT
    return WideState(tail, size, end, waiting, state.last, state.rr_s, state.reference, state.kin), tuple(found)


def _take(state: WideState, at: int, believed: bool, lead_mv: Floats) -> tuple[WideState, WideBeat]:
    rr_s = (at - state.last) / FS_HZ if state.last is not None else None
    if not believed or rr_s is None or rr_s > 2.0:  # the time since the last beat means nothing
        return state._replace(last=at, rr_s=(), kin=None), WideBeat(at, None)
    intervals_s = (*state.rr_s, rr_s)[-4:]
    measured = measure(lead_mv, at - state.end + lead_mv.size, rr_s)
    if measured is None:
        return state._replace(last=at, rr_s=intervals_s, kin=None), WideBeat(at, None)
    around, width_s = measured
    reference = state.reference
    own, alike, shift = unit(around[SHIFT:-SHIFT]), 0.0, SHIFT
    if reference is not None and reference.votes > 0:
        alike = float(own @ reference.shape)
        if alike < AT_ONCE:
            alike, shift = best_shift(around, reference.shape)
            own = unit(around[shift : shift + around.size - 2 * SHIFT])
    beat = _judge(at, alike, width_s, intervals_s, reference)
    if may_learn(intervals_s):
        reference = _vote(reference, alike, own, width_s)
    kin = unit(around[SHIFT:-SHIFT]) if beat.wide else None
    if beat.wide and state.kin is not None and best_shift(around, state.kin)[0] < KIN:
        beat = beat._replace(wide=False)
    return state._replace(last=at, rr_s=intervals_s, reference=reference, kin=kin), beat


def may_learn(rr_s: Sequence[float]) -> bool:
    """Is the newest beat a slow one, and not premature? Never true above 100/min."""
    mean_s = sum(rr_s) / len(rr_s)
    return len(rr_s) == 4 and min(mean_s, rr_s[-1]) > SLOW_RR_S and rr_s[-1] > EARLY * mean_s


def measure(lead_mv: Floats, at: int, rr_s: float) -> tuple[Floats, float] | None:
    """The lead around the peak at `at`, `SHAPE_S` and `SHIFT` on each side, and the QRS's width in s.

    The width is the time that holds the middle 90 % of the slope's energy, looked for up to half an interval away:
    no QRS duration (a normal QRS has 0.04 s, a bundle branch block 0.08 s), but steady in noise.
    None where the lead was not seen, or where there is no deflection of size.
    """
    half = round(SHAPE_S * FS_HZ) + SHIFT
    reach = min(round(WIDTH_S * FS_HZ), int(0.5 * rr_s * FS_HZ))
    if at - max(half, reach + 1) < 0:
        return None
    around = lead_mv[at - half : at + half + 1]
    part = lead_mv[at - reach - 1 : at + reach + 2]
    if around.size < 2 * half + 1 or part.size < 2 * reach + 3:
        return None
    swing_mv = float(np.maximum.reduce(around) - np.minimum.reduce(around))
    if not swing_mv >= SWING_MV:  # NaN too
        return None
    slope = part[2:] - part[:-2]
    energy = np.add.accumulate(slope * slope)
    if math.isnan(energy[-1]):  # a sample was not seen
        return None
    low, high = energy.searchsorted(energy[-1] * _SHARES)
    return around, float(high - low) / FS_HZ


def unit(part: Floats) -> Floats:
    """Without its mean, of length 1."""
    part = part - float(np.add.reduce(part)) / part.size
    return np.asarray(part / math.sqrt(float(part @ part) + 1e-12), dtype=np.float64)


def best_shift(around: Floats, shape: Floats) -> tuple[float, int]:
    """The best correlation of `shape` (n,) within `around` (n + 2 SHIFT,), and where."""
    n = shape.size
    sums = np.correlate(around, _ONES)
    power = np.correlate(around * around, _ONES)
    sums *= sums
    sums /= n
    power -= sums
    values = np.correlate(around, shape)  # the shape has no mean
    values /= np.sqrt(np.maximum(power, 1e-12, out=power), out=power)
    at = int(values.argmax())
    return float(values[at]), at


def _judge(at: int, alike: float, width_s: float, rr_s: tuple[float, ...], reference: Reference | None) -> WideBeat:
    if reference is None or not reference.learned:
        regular = max(rr_s) - min(rr_s) < ALONE_SPREAD * sum(rr_s) / len(rr_s)
        return WideBeat(at, width_s >= ALONE_WIDE_S and rr_s[-1] <= ALONE_RR_S and regular, width_s)
    ratio = width_s / reference.width_s
    stretched = alike < ALIKE and ratio >= WIDER
    other = alike < UNLIKE and ratio >= 1.0 / WIDER
    return WideBeat(at, width_s >= WIDE_S and (stretched or other), width_s, alike, ratio)


def _vote(reference: Reference | None, alike: float, own: Floats, width_s: float) -> Reference:
    """A slow beat votes for the reference and moves it, or against; at none it is it. `own`: its form, of length 1."""
    if reference is None or reference.votes == 0:
        return Reference(own, width_s, 1)
    if alike < LIKE:
        return reference._replace(votes=reference.votes - 1)
    share = 1.0 / min(reference.votes + 1, MEAN_OF)
    return Reference(
        unit((1.0 - share) * reference.shape + share * own),
        (1.0 - share) * reference.width_s + share * width_s,
        min(reference.votes + 1, VOTES_MAX),
    )
