"""Half a minute of one lead as a row of numbers: what tells sinus rhythm, fibrillation, another rhythm and noise apart.

Views of the same window: the intervals (all, and those between two beats that are not ventricular, and how they
step), the classes of the beats, the average beat (is there a P wave at a fixed place before it, what do its waves say,
does one beat look like the next), and what is left of the lead when the average beat is taken away (atrial waves of 4
to 9 Hz, noise). Fed with 250 Hz clean signal and beats of `bedside.signal`; pure.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Final, TypeAlias

import numpy as np
import numpy.typing as npt
from numpy.lib.stride_tricks import sliding_window_view

from bedside.models import rhythm_waves
from bedside.models.windows import FS_HZ, Floats

Int8s: TypeAlias = npt.NDArray[np.int8]

WINDOW_S: Final = 30
WINDOW: Final = WINDOW_S * FS_HZ
SHORTEST: Final = 8 * FS_HZ
"""A shorter window says too little of a rhythm."""
RR_S: Final = (0.2, 2.5)
BEFORE: Final = 75  # 0.30 s before the R peak: the P wave
AFTER: Final = 100  # 0.40 s after it: most of the T wave
BEATS_MAX: Final = 64
LONGEST_S: Final = 3.0
UNKNOWN_RR_S: Final = 0.8
STEPS: Final = (0.02, 0.05, 0.1, 0.2, 9.0)  # of an interval against the one before, in parts of the usual one
LOCAL: Final = 9  # intervals among which one is early or late
EARLY: Final = 0.87
LATE: Final = 1.2
PAUSED: Final = 1.05
SLOW_S: Final = 1.2
FAST_S: Final = 0.6
GRID_S: Final = 0.04
INPUT_SCALE: Final = 32.0
"""int8 steps for one spread of a number."""

_P: Final = slice(10, 58)  # 0.26 to 0.07 s before the R peak
_QRS: Final = slice(55, 100)
_T: Final = slice(112, 175)
QRS_SLOPES: Final = 44  # differences within `_QRS`
_TINY: Final = 1e-6
_LAGS: Final = (1, 2, 3, 4)
_FFT: Final = 1024
_HZ: Final = np.fft.rfftfreq(_FFT, 1 / FS_HZ)
_HANN: Final = np.hanning(_FFT)
_BANDS: Final = tuple(np.digitize(_HZ, edges) == 1 for edges in ((0.5, 3.5), (3.5, 9.5), (9.5, 20.0), (20.0, 38.0)))
_WAVES: Final = (_HZ >= 3.5) & (_HZ < 9.5)


@dataclass(frozen=True, slots=True, eq=False)
class RhythmWindow:
    """`clean_mv` float64 (n,), n <= WINDOW, NaN where not seen; beats by their place in it; `usable`: of its seconds.

    `symbols[i]` is N, S, V, F or Q: the class of the beat at sample `at[i]`.
    """

    clean_mv: Floats
    at: npt.NDArray[np.int64]
    symbols: Sequence[str]
    usable: float


def describe(window: RhythmWindow) -> Floats | None:
    """The numbers of `NAMES`, float64; None for a window that is too short, hardly seen, or with less than 4 beats."""
    seen = np.isfinite(window.clean_mv)
    if window.clean_mv.size < SHORTEST or seen.mean() < 0.5 or window.at.size < 4:
        return None
    clean_mv = np.where(seen, window.clean_mv, 0.0)
    symbols = np.array(list(window.symbols))
    minutes = window.clean_mv.size / FS_HZ / 60.0
    numbers = _intervals(window.at, symbols, seen)
    numbers += [float(np.mean(symbols == one)) for one in "VSQ"]
    shape, template, size_mv = _shape(clean_mv, window.at, symbols)
    numbers += shape
    rr_s = np.diff(window.at) / FS_HZ
    numbers += _steps(rr_s) + _odd_beats(clean_mv, window.at, rr_s)
    numbers += rhythm_waves.describe(clean_mv, window.at, symbols != "V", _usual_s(rr_s))
    numbers += _rest(clean_mv, seen, window.at, template, size_mv)
    numbers += [window.usable, float(seen.mean()), math.log(window.at.size / minutes / 70.0)]
    return np.array(numbers)


# Intervals


def _intervals(at: npt.NDArray[np.int64], symbols: npt.NDArray[np.str_], seen: npt.NDArray[np.bool_]) -> list[float]:
    rr_s = np.diff(at) / FS_HZ
    holes = np.concatenate([[0], np.cumsum(~seen)])
    known = (rr_s > RR_S[0]) & (rr_s < RR_S[1]) & (holes[at[1:]] == holes[at[:-1]])
    ventricular = (symbols == "V") | (symbols == "F")
    own = known & ~ventricular[1:] & ~ventricular[:-1]
    every = rr_s[known]
    if every.size < 3:
        return [0.0] * (len(_ALL_NAMES) + len(_OWN_NAMES))
    median_s = _median(every)
    relative = every / median_s
    step = np.diff(relative)
    low, high = np.quantile(relative, [0.1, 0.9]).tolist()
    numbers = [
        math.log(median_s / 0.85),
        math.log(float(relative.min())),
        math.log(float(relative.max())),
        math.log(high - low + 0.01),
        float(np.mean(np.abs(step) > 0.1)),
        float(np.mean(relative < 0.8)),
        float(np.mean(relative > 1.25)),
    ]
    return numbers + _scatter(rr_s[own] if own.sum() >= 4 else every)


def _scatter(rr_s: Floats) -> list[float]:
    """How the intervals between beats that are not ventricular follow each other."""
    relative = rr_s / _median(rr_s)
    step = np.diff(relative)
    apart = np.abs(step)
    centred = relative - relative.mean()
    power = float(centred @ centred) + 0.01
    near = np.abs(relative[:, None] - relative[None, :]) < 0.08
    pairs = np.triu_indices(relative.size - 1, 1)
    once = near[:-1, :-1][pairs]
    twice = int(np.count_nonzero(once & near[1:, 1:][pairs]))
    early = (relative[:-1] < 0.88) & (relative[1:] > 1.06)
    lags = [_median(np.abs(relative[lag:] - relative[:-lag])) for lag in _LAGS if relative.size > lag + 2]
    return [
        -math.log((twice + 1) / (int(np.count_nonzero(once)) + 1)),
        float(near.mean()),
        float(np.mean(apart > 0.1)),
        float(np.mean(apart > 0.05)),
        float(np.mean(apart < 0.03)),
        math.log(_median(apart) + 0.005),
        math.log(math.sqrt(float(step @ step) / step.size) + 0.005),
        math.log(min(lags) + 0.005) if lags else -3.0,
        float(np.mean(step[1:] * step[:-1] < 0)) if step.size > 1 else 0.0,
        float(centred[1:] @ centred[:-1]) / power,
        float(centred[2:] @ centred[:-2]) / power,
        float(early.mean()),
        math.log(min(rr_s.size, 60) / 30.0),
    ]


def _usual_s(rr_s: Floats) -> float:
    plausible = rr_s[(rr_s > RR_S[0]) & (rr_s < LONGEST_S)]
    return _median(plausible) if plausible.size else UNKNOWN_RR_S


def _steps(rr_s: Floats) -> list[float]:
    """How the intervals step up and down, which come early or late where they lie, and how far they reach."""
    rr_s = rr_s[(rr_s > RR_S[0]) & (rr_s < LONGEST_S)]
    if rr_s.size < 3:
        rr_s = np.full(3, UNKNOWN_RR_S)
    step = np.diff(rr_s)
    relative = step / _median(rr_s)
    numbers = []
    for low, high in pairwise(STEPS):
        numbers += [
            float(np.count_nonzero((relative > low) & (relative <= high))) / step.size,
            float(np.count_nonzero((relative < -low) & (relative >= -high))) / step.size,
        ]
    padded = np.concatenate([np.full(LOCAL // 2, rr_s[0]), rr_s, np.full(LOCAL // 2, rr_s[-1])])
    local = np.median(sliding_window_view(padded, LOCAL), axis=1)
    here = rr_s / local
    early = here < EARLY
    logs = np.log(local)
    return [
        *numbers,
        float(np.count_nonzero(early)),
        float(np.mean(early)),
        float(np.mean(here > LATE)),
        float(np.count_nonzero(early[:-1] & (here[1:] > PAUSED))),
        math.log(float(rr_s.max())),
        math.log(float(rr_s.min())),
        float(np.mean(rr_s > SLOW_S)),
        float(np.mean(rr_s < FAST_S)),
        math.sqrt(max(float(np.mean(logs * logs)) - float(np.mean(logs)) ** 2, 0.0)),
        _places(rr_s),
        _places(step),
    ]


def _places(values: Floats) -> float:
    """Of how many different places two values after each other give, on a grid of 40 ms, by the number of pairs."""
    at = np.floor(values / GRID_S).astype(np.int64)
    pairs = set((at[:-1] * 1000 + at[1:]).tolist())
    return len(pairs) / (int(at.size) - 1)


# The average beat


def _shape(
    clean_mv: Floats, at: npt.NDArray[np.int64], symbols: npt.NDArray[np.str_]
) -> tuple[list[float], Floats, float]:
    """Numbers of the average beat, the beat itself (BEFORE + AFTER samples), and its QRS's size in mV."""
    inside = (at >= BEFORE) & (at + AFTER <= clean_mv.size) & (symbols != "V") & (symbols != "F")
    chosen = at[inside][:BEATS_MAX]
    if chosen.size < 3:
        chosen = at[(at >= BEFORE) & (at + AFTER <= clean_mv.size)][:BEATS_MAX]
    if chosen.size < 3:
        return [0.0] * len(_SHAPE_NAMES), np.zeros(BEFORE + AFTER), 1.0
    beats = clean_mv[chosen[:, None] + np.arange(-BEFORE, AFTER)]
    template = np.median(beats, axis=0)
    qrs = _centred(beats[:, _QRS])
    likeness = qrs @ _centred(template[None, _QRS])[0]
    sizes = beats[:, _QRS].max(axis=1) - beats[:, _QRS].min(axis=1)
    size_mv = _median(sizes) + _TINY
    p_wave = template[_P]
    p_line = p_wave - np.linspace(p_wave[0], p_wave[-1], p_wave.size)
    p_beats = beats[:, _P] - beats[:, _P].mean(axis=1, keepdims=True)
    noise = _median(np.abs(p_beats - np.median(p_beats, axis=0)).ravel()) + 0.002
    slope = np.abs(np.diff(template[_QRS]))
    return (
        [
            _median(likeness),
            float(np.quantile(likeness, 0.1)),
            float(np.mean(likeness < 0.8)),
            _coherence(p_beats),
            _coherence(beats[:, _T] - beats[:, _T].mean(axis=1, keepdims=True)),
            math.log(float(np.ptp(p_line)) / size_mv + 0.01),
            math.log(float(np.ptp(p_line)) / noise + 0.1),
            float(p_line.max() + p_line.min()) / (float(np.ptp(p_line)) + 0.01),
            float(np.argmax(np.abs(p_line))) / p_line.size,
            math.log(noise / size_mv + 0.005),
            math.log(float(np.ptp(template[_T])) / size_mv + 0.01),
            float(np.count_nonzero(slope > 0.15 * slope.max())) / slope.size,
            math.log(size_mv),
            math.log(_median(np.abs(sizes - size_mv)) / size_mv + 0.01),
            float(template[_QRS].max() + template[_QRS].min()) / size_mv,
        ],
        template,
        size_mv,
    )


def _odd_beats(clean_mv: Floats, at: npt.NDArray[np.int64], rr_s: Floats) -> list[float]:
    """How many beats are not like the average one, and of the early ones how many are and are not."""
    inside = (at >= 25) & (at + 35 <= clean_mv.size)
    if np.count_nonzero(inside) < 4:
        return list(_ODD_UNKNOWN)
    qrs = clean_mv[at[inside][:, None] + np.arange(-25, 35)]
    likeness = _centred(qrs) @ _centred(np.median(qrs, axis=0)[None])[0]
    sizes = np.log(qrs.max(axis=1) - qrs.min(axis=1) + 0.001)
    before_s = np.concatenate([[0.0], rr_s])[inside]
    early = (before_s > RR_S[0]) & (before_s < EARLY * _usual_s(rr_s))
    return [
        float(likeness.std()),
        float(np.count_nonzero(likeness < 0.7)),
        float(np.count_nonzero(likeness < 0.9)),
        float(sizes.std()),
        float(np.partition(likeness, 1)[1]),
        float(np.count_nonzero(early & (likeness < 0.8))),
        float(np.count_nonzero(early & (likeness >= 0.9))),
    ]


def _median(values: Floats) -> float:
    """`np.median` without its checks, which cost more than the sorting."""
    half = values.size // 2
    if values.size % 2:
        return float(np.partition(values, half)[half])
    low, high = np.partition(values, (half - 1, half))[half - 1 : half + 1].tolist()
    return float((low + high) / 2)


def _centred(rows: Floats) -> Floats:
    rows = rows - rows.mean(axis=1, keepdims=True)
    unit: Floats = rows / (np.sqrt((rows * rows).sum(axis=1, keepdims=True)) + _TINY)
    return unit


def _coherence(rows: Floats) -> float:
    """0: nothing in these segments is common to the beats; 1: all are alike. Power of the mean over mean power."""
    n = rows.shape[0]
    mean = rows.mean(axis=0)
    shared = float(mean @ mean) / (float((rows * rows).sum()) / n + _TINY)
    return (n * shared - 1.0) / (n - 1.0)


# What is left beside the beats


def _rest(
    clean_mv: Floats, seen: npt.NDArray[np.bool_], at: npt.NDArray[np.int64], template: Floats, size_mv: float
) -> list[float]:
    left = clean_mv.copy()
    for peak in at.tolist():
        start, stop = max(peak - BEFORE, 0), min(peak + AFTER, left.size)
        left[start:stop] -= template[start - peak + BEFORE : stop - peak + BEFORE]
        left[max(peak - 15, 0) : peak + 16] = 0.0  # what the average does not fit of a QRS is no atrial wave
    n = left.size // _FFT
    spectrum = np.fft.rfft(left[: n * _FFT].reshape(n, _FFT) * _HANN, axis=1)
    power = (spectrum.real**2 + spectrum.imag**2).mean(axis=0)
    total = float(power[1:].sum()) + _TINY
    shares = [math.log(float(power[band].sum()) / total + 0.001) for band in _BANDS]
    waves = power[_WAVES]
    top = int(np.argmax(waves))
    peak_share = float(waves[max(top - 2, 0) : top + 3].sum()) / (float(waves.sum()) + _TINY)
    spread = clean_mv[seen]
    apart = np.abs(clean_mv[2:] - 2.0 * clean_mv[1:-1] + clean_mv[:-2])
    seconds = clean_mv[: clean_mv.size // FS_HZ * FS_HZ].reshape(-1, FS_HZ)
    tall = seconds.max(axis=1) - seconds.min(axis=1)
    usual = _median(tall)
    centred = spread - spread.mean()
    fourth = centred * centred / (float(centred @ centred) / centred.size + _TINY)
    return [
        *shares,
        math.log(math.sqrt(float(waves.sum()) / _FFT) / size_mv / 8.0 + 0.001),
        peak_share,
        float(_HZ[_WAVES][top]) / 9.0,
        math.log(math.sqrt(float(left @ left) / left.size) / size_mv + 0.01),
        math.log(_median(apart) / size_mv + 0.0005),
        math.log(float(fourth @ fourth) / fourth.size + 0.1),
        math.log((float(tall.max()) + _TINY) / (usual + _TINY)),
        math.log((float(tall.min()) + 0.01) / (usual + 0.01)),
    ]


_ALL_NAMES: Final = ("rr", "rr_shortest", "rr_longest", "rr_spread", "rr_jumps", "rr_early", "rr_late")
_OWN_NAMES: Final = (
    "own_entropy", "own_near", "own_jumps_10", "own_jumps_5", "own_steady", "own_step", "own_rms_step", "own_lag",
    "own_turns", "own_lag1", "own_lag2", "own_early", "own_count",
)  # fmt: skip
_SHAPE_NAMES: Final = (
    "qrs_likeness", "qrs_least_likeness", "qrs_others", "p_coherence", "t_coherence", "p_size", "p_over_noise",
    "p_sign", "p_place", "p_noise", "t_size", "qrs_width", "qrs_size", "qrs_scatter", "qrs_pole",
)  # fmt: skip
_STEP_NAMES: Final = (
    "up_2", "down_2", "up_5", "down_5", "up_10", "down_10", "up_20", "down_20", "early_beats", "early_share",
    "late_share", "early_paused", "longest", "shortest", "slow_share", "fast_share", "local_spread", "places",
    "step_places",
)  # fmt: skip
_ODD_NAMES: Final = (
    "likeness_spread", "unlike_beats", "half_alike_beats", "size_spread", "second_least_likeness", "early_unlike",
    "early_alike",
)  # fmt: skip
_ODD_UNKNOWN: Final = (0.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0)
_REST_NAMES: Final = (
    "rest_0_3", "rest_3_9", "rest_9_20", "rest_20_38", "waves_size", "waves_peak", "waves_hz", "rest_size",
    "roughness", "kurtosis", "tallest_second", "lowest_second",
)  # fmt: skip
NAMES: Final = (
    *_ALL_NAMES, *_OWN_NAMES, "share_v", "share_s", "share_q", *_SHAPE_NAMES, *_STEP_NAMES, *_ODD_NAMES,
    *rhythm_waves.NAMES, *_REST_NAMES, "usable", "seen", "beats",
)  # fmt: skip
