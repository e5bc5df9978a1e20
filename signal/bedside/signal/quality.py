"""Whether a second of a lead can be believed, and in one plain word why not.

Gross faults are decided first, each by a measure of its own (missing, flat, at the rail, mains, muscle, swinging
baseline). What passes is weighed by a fitted line of independent measures (`WEIGHTS`): do the last beats look like the
ones before; how sure is the beat finder of them; how restless is the lead between them; how much does its baseline
move; does a second beat detector see the same beats. The line needs beats to compare with: a lead that shows none for
seconds is not called noisy for it, so that a standstill stays visible, and where no beat was ever found only the gross
faults count.

Fed by `lead.py` with one second of source samples and of the conditioned lead, and the beats found; pure. Ideas from
Li, Mark & Clifford 2008, doi:10.1088/0967-3334/29/1/002 (agreement of two detectors, spectral shares), and Orphanidou
et al. 2015, doi:10.1109/JBHI.2014.2338351 (template matching).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from operator import mul
from typing import NamedTuple

import numpy as np

from bedside.signal.resample import INTERNAL_HZ, Floats

SECOND = 250  # internal samples
WAVE = 500  # samples of the conditioned lead that are looked at: 2 s
KNOWN = 455  # of them, those where no beat is still to come
MISSING_SHARE_MAX = 0.2
FLAT_MV = 0.012  # peak to peak; two steps of a 5 µV converter
RAIL_MV = 3.0  # a flat line this far from the lead's usual level rests at the amplifier's rail
SATURATED_SHARE = 0.08  # of the samples sit in runs on the very same extreme value
SATURATED_MV = 0.5  # where the second swings by less than that, extremes are just coarse steps
MUSCLE_MV = 0.08  # spread of what lies above 40 Hz, QRS and mains apart ...
MUSCLE_SHARE = 0.05  # ... or this share of the usual QRS where that is more
MAINS_MV = 2.0  # amplitude of 50 or 60 Hz; the low-pass leaves less than a hundredth of it
MOTION_MV = 2.0  # swing within the second of what lies below 0.5 Hz; or as much as the usual QRS where that is more
QUIET_MV = 0.03  # root mean square of what the low-pass took: neither muscle nor mains can then be too much

ALIKE_KEPT = 5  # beats whose likeness is averaged, the least like left out ...
ALIKE_S = 4.0  # ... while they are not older
ALIKE_UNKNOWN = 0.97  # with fewer than three of them
SURE, UNSURE = 12.0, -2.0  # ln(odds) of a beat that count at most and at least ...
SURE_UNKNOWN = 9.0  # ... and with fewer than three of them, or fewer than this in all:
SURE_FROM = 6  # the first beats of a stream have nothing to be compared with
LEVELS_KEPT = 6  # seconds with beats
STEEP = 8  # samples (32 ms): the second detector's slope
STEEP_SHARE = 0.5  # of the wave's steepest slope: a beat by the second detector
APART = 50  # samples (0.2 s): slopes nearer than that are one beat
NEAR = 38  # samples (0.15 s): the two detectors mean the same beat
DOUBT = 0.0  # below this the line is sure already, and the second detector is not asked
REJECT = 3.5  # ln(odds) of noise from which a second is rejected
ROUGH = 0.34  # energy of the second difference as a share of the first's: muscle lies above, motion below

_MIDDLE = KNOWN // 4
_T_S = np.arange(SECOND) / INTERNAL_HZ
_MAINS_HZ = (50.0, 60.0)
_MAINS = np.exp(-2j * np.pi * np.outer(_MAINS_HZ, _T_S))  # whole periods in each half


class Second(NamedTuple):
    """What is known of one second."""

    source_mv: Floats  # as it came, NaN where missing
    usual_mv: float  # where the lead rested in the last believable second
    fast_mv: Floats  # (SECOND,) what the low-pass took away
    slow_mv: Floats  # (SECOND,) what the baseline filter took away
    beat_mv: float  # usual QRS, peak to peak; 0 where unknown
    wave_mv: Floats  # (WAVE,) the conditioned lead until now
    end: int  # internal index behind its last sample
    beats: Sequence[tuple[int, float, float]]  # the newest, in order: index, likeness to those before, ln(odds)


class FastNoise(NamedTuple):
    """What lies above the pass band. `mains_hz` is where the mains would be, however weak it is."""

    mains_hz: float
    mains_mv: float  # amplitude
    muscle_mv: float  # robust spread of the rest


class Verdict(NamedTuple):
    """`score` 0 (nothing can be seen) to 1; `reason` None when usable; `rest_mv`: the source's mean, NaN if unseen.

    `noise`: what lies above the pass band, None where that is next to nothing.
    """

    usable: bool
    score: float
    reason: str | None
    rest_mv: float = math.nan
    noise: FastNoise | None = None


QualityState = tuple[float, ...]
"""What the line compares with: the steepest slopes of the last seconds that had beats, mV in 4 ms."""


def initial() -> QualityState:
    """Before the first second."""
    return ()


def judge_second(state: QualityState, second: Second) -> tuple[QualityState, Verdict]:
    """The gravest fault first; one of them suffices to reject the second, else the line decides."""
    state, gross, measures = examine(state, second)
    if not gross.usable:
        return state, gross
    if measures is None:  # no beat to compare with
        return state, gross._replace(score=0.75)
    odds = noise_odds(measures)
    score = 1.0 / (1.0 + math.exp(min(odds - REJECT, 50.0)))
    if odds < REJECT:
        return state, Verdict(True, score, None, gross.rest_mv, gross.noise)
    return state, Verdict(False, score, _plain_reason(second.wave_mv), gross.rest_mv, gross.noise)


def examine(
    state: QualityState, second: Second, ask_from: float = DOUBT
) -> tuple[QualityState, Verdict, Measures | None]:
    """What the gross faults say alone, and the measures that the line weighs; None: no beat to compare with.

    `ask_from`: ln(odds) of noise from which the second detector is asked; who fits the line always asks.
    """
    swing_mv = float(np.maximum.reduce(second.slow_mv) - np.minimum.reduce(second.slow_mv))
    gross = _gross(second, swing_mv)
    state, measures = _measure(state, second, swing_mv, ask_from)
    return state, gross, measures


# Gross faults


def _gross(second: Second, swing_mv: float) -> Verdict:
    source = second.source_mv
    total = float(np.add.reduce(source))
    n_source = source.size
    if math.isnan(total):
        source = source[~np.isnan(source)]
        if source.size < max(3, (1 - MISSING_SHARE_MAX) * n_source):
            return Verdict(False, 0.0, "missing")
        total = float(np.add.reduce(source))
    rest_mv = total / source.size
    low, high = float(np.minimum.reduce(source)), float(np.maximum.reduce(source))
    if high - low <= FLAT_MV:
        far = abs(0.5 * (low + high) - second.usual_mv) > RAIL_MV
        return Verdict(False, 0.0, "lead_off" if far else "flat", rest_mv)
    if high - low > SATURATED_MV and _at_rail(source, low, high, second.usual_mv):
        return Verdict(False, 0.1, "saturated", rest_mv)
    worst, reason, noise = 0.0, "", None
    if float(second.fast_mv @ second.fast_mv) > SECOND * QUIET_MV * QUIET_MV:
        noise = fast_noise(second.fast_mv)
        muscle = noise.muscle_mv / max(MUSCLE_MV, MUSCLE_SHARE * second.beat_mv)
        worst, reason = max((noise.mains_mv / MAINS_MV, "mains"), (muscle, "muscle"))
    worst, reason = max((worst, reason), (swing_mv / max(MOTION_MV, second.beat_mv), "motion"))
    if worst >= 1.0:
        return Verdict(False, 1.0 / (1.0 + worst * worst), reason, rest_mv, noise)
    return Verdict(True, 1.0, None, rest_mv, noise)


def _at_rail(seen: Floats, low: float, high: float, usual_mv: float) -> bool:
    """Does the second rest in runs on an extreme that is not where the lead rests between its beats?

    A simulator's line between beats is one value, the lowest there is: no rail, for most of the second lies on it.
    """
    for value in (low, high):
        if np.count_nonzero(seen == value) <= SATURATED_SHARE * seen.size:
            continue
        if _in_runs_at(seen, value) <= SATURATED_SHARE * seen.size:
            continue
        middle = float(np.median(seen))
        if abs(value - middle) > 0.25 * (high - low) or abs(value - usual_mv) > RAIL_MV:
            return True
    return False


def fast_noise(fast_mv: Floats) -> FastNoise:
    """The stronger of the mains near 50 and near 60 Hz, found within 1 Hz, and what is left without it.

    Its frequency follows from how far its phase turns from one half second to the next. The spread of the rest is 1.48
    times the median size: QRS complexes and pacing spikes, short as they are, do not count.
    """
    halves = (_MAINS * fast_mv).reshape(len(_MAINS_HZ), 2, -1).sum(2)
    k = int(np.abs(halves).sum(1).argmax())
    turn = float(np.angle(halves[k, 1] * halves[k, 0].conjugate()))
    hz = _MAINS_HZ[k] + turn / np.pi
    wave = np.exp(-2j * np.pi * hz * _T_S)
    part = 2.0 / SECOND * (wave @ fast_mv)
    rest = np.abs(fast_mv - (part * wave.conjugate()).real)
    rest.partition(SECOND // 2)
    return FastNoise(hz, abs(part), 1.48 * float(rest[SECOND // 2]))


def _in_runs_at(seen: Floats, value: float) -> int:
    """Samples at `value` whose next neighbour is there too."""
    at = seen == value
    return int(np.count_nonzero(at[1:] & at[:-1]))


# The line


class Measures(NamedTuple):
    """Independent measures of noise, as the line takes them; each grows with noise."""

    unlike: float  # ln of how unlike the last beats are to those before them
    unsure: float  # of the beat finder: its ln(odds) for the last beats, with a minus
    restless: float  # ln of the usual slope between beats, as a share of a QRS's
    baseline: float  # ln of the baseline's swing within the second, as a share of the QRS
    disagreement: float  # share of beats that only one of the two detectors sees, 0..1


# Logistic regression by `python signal/fit_quality.py` (README.md); a constant, then in the order of `Measures`.
WEIGHTS = (9.40, 1.26, 0.73, 0.13, 0.36, 2.44)


def noise_odds(measures: Measures) -> float:
    """ln(odds) that a person would call the second noise, by the fitted line."""
    return float(WEIGHTS[0] + sum(map(mul, WEIGHTS[1:], measures)))


def _measure(
    state: QualityState, second: Second, swing_mv: float, ask_from: float
) -> tuple[QualityState, Measures | None]:
    """The measures of the second, and what the next ones will be compared with. None: no beat to compare with."""
    wave, first = second.wave_mv, second.end - WAVE
    slope = wave[1:KNOWN:2] - wave[: KNOWN - 1 : 2]
    np.abs(slope, slope)
    slope.partition(_MIDDLE)  # the middle one in place, what is larger behind it
    restless_mv, steepest_mv = float(slope[_MIDDLE]), float(np.maximum.reduce(slope[_MIDDLE:]))
    if second.beats and second.beats[-1][0] >= first:
        state = (*state, steepest_mv)[-LEVELS_KEPT:]
    if not state:
        return state, None
    level_mv = max(sorted(state)[len(state) // 2], steepest_mv, 1e-4)
    alike, sure = _lately(second)
    measures = Measures(
        math.log(max(1.0 - alike, 0.0) + 0.02),
        -sure,
        math.log(restless_mv / level_mv + 0.003),
        math.log(min(swing_mv / max(second.beat_mv, 0.1), 10.0) + 0.05),
        0.0,
    )
    if noise_odds(measures) >= ask_from:
        measures = measures._replace(disagreement=_disagreement(wave, [at - first for at, _, _ in second.beats]))
    return state, measures


def _lately(second: Second) -> tuple[float, float]:
    """How like those before them the newest beats are, and how sure it is that they are beats.

    Each without the least: one new form (an ectopic beat, the first of a tachycardia) is no noise.
    """
    since = second.end - ALIKE_S * INTERNAL_HZ
    fresh = [one for one in second.beats[-ALIKE_KEPT:] if one[0] >= since and one[1] != 0.0]
    if len(fresh) < 3:
        return ALIKE_UNKNOWN, SURE_UNKNOWN
    alike = [one[1] for one in fresh]
    sure = [min(max(one[2], UNSURE), SURE) for one in fresh]
    n = len(fresh) - 1
    known = len(second.beats) >= SURE_FROM
    return (sum(alike) - min(alike)) / n, (sum(sure) - min(sure)) / n if known else SURE_UNKNOWN


def _disagreement(wave: Floats, peaks: Sequence[int]) -> float:
    """Of the beats that either detector sees well within the wave, the share that the other does not."""
    steep = np.abs(wave[STEEP:KNOWN] - wave[: KNOWN - STEEP])
    free = _by_slope(steep, STEEP_SHARE * float(np.maximum.reduce(steep)))
    inside = alone = 0
    for peak in peaks:
        same = next((one for one in free if one[0] - NEAR <= peak <= one[1] + NEAR), None)
        if same is not None:
            free.remove(same)
        if 20 <= peak < KNOWN - 20:
            inside += 1
            alone += same is None
    extra = sum(1 for one in free if 20 <= 0.5 * (one[0] + one[1]) < KNOWN - 20)
    return (alone + extra) / max(inside + extra, 1)


def _by_slope(steep: Floats, threshold: float) -> list[tuple[int, int]]:
    """The second detector: stretches `[first, last]` of the wave where it is steep, those near each other joined."""
    at = np.flatnonzero(steep > threshold)
    if at.size == 0:
        return []
    breaks = np.flatnonzero(np.diff(at) >= APART)
    firsts, lasts = at[np.concatenate(([0], breaks + 1))], at[np.concatenate((breaks, [at.size - 1]))]
    return [(int(one) + STEEP // 2, int(other) + STEEP // 2) for one, other in zip(firsts, lasts, strict=True)]


def _plain_reason(wave: Floats) -> str:
    """Muscle is rough; electrodes and bodies that move are not."""
    slope = wave[1:KNOWN] - wave[: KNOWN - 1]
    bend = slope[1:] - slope[:-1]
    rough = float(bend @ bend) / (float(slope @ slope) + 1e-12)
    return "muscle" if rough > ROUGH else "motion"
