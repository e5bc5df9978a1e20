"""What a beat looks like to a model: 250 Hz window and intervals in, one row of numbers out.

Fed by `beats.py` (live) and `train.py` (the same code on recordings); pure, no clock, file or model.

A beat is described against the patient's own past, never against a population: against running
templates of up to eight beat shapes, against slow references of the RR interval (mean and upper
percentile of the last 300, upper percentile of the last 30), and each distance against its own
running mean, which carries the noise of this lead. Nothing here calls a shape "normal": the model
sees how common, how early and how wide a shape has been, so that a patient whose majority is
ventricular does not become the norm. All numbers are free of the lead's gain and, but for the
detector, of its polarity.
"""

from __future__ import annotations

import math
from typing import Final, TypeAlias

import numpy as np
import numpy.typing as npt

from bedside.models.windows import AFTER, BEFORE, FS_HZ, SLACK, Floats

Int8s: TypeAlias = npt.NDArray[np.int8]

SHAPES_MAX: Final = 8
SHAPE_JOIN_CORRELATION: Final = 0.90
"""QRS correlation from which a beat counts as one more of a known shape."""
SHAPE_JOIN_LOG_AMPLITUDE: Final = 0.5
SHAPE_MEMORY_BEATS: Final = 40
"""A template is the mean of its first 40 beats, then an exponential mean."""
SHARE_DECAY: Final = 1 - 1 / 500
"""Shares of shapes are counted over about the last 500 beats."""
SCATTER_CALM: Final = 0.06
"""`rr_scatter30` below which an early beat is taken for early; at the next number no beat is."""
SCATTER_FIBRILLATION: Final = 0.12
RR_KEPT: Final = 300
TRACK_MEMORY_BEATS: Final = 100

_LENGTH: Final = BEFORE + AFTER
_QRS: Final = slice(BEFORE - 25, BEFORE + 35)  # -0.10 to +0.14 s
_P: Final = slice(BEFORE - 65, BEFORE - 17)  # -0.26 to -0.068 s
_T: Final = slice(BEFORE + 35, BEFORE + 105)  # +0.14 to +0.42 s
_WIDTH: Final = slice(BEFORE - 35, BEFORE + 50)
_GRID: Final = np.concatenate(
    [
        np.arange(BEFORE - 70, BEFORE - 30, 8),
        np.arange(BEFORE - 30, BEFORE + 45, 5),
        np.arange(BEFORE + 45, _LENGTH, 10),
    ]
)
_TINY: Final = 1e-9

RR_NAMES: Final = (
    "rr_s",
    "rr_log_mean300",
    "rr_log_p80_300",
    "rr_log_p80_30",
    "rr_log_median9",
    "rr_log_previous",
    "rr_previous_log_median9",
    "rr_before_previous_log_median9",
    "rr_spread9",
    "rr_irregular30",
    "rr_turning30",
    "rr_early_share300",
    "rr_repeat",
    "rr_rank30",
    "rr_scatter30",
    "calm_log_mean300",
    "calm_log_p80_300",
    "calm_log_p80_30",
    "experience",
)
SHAPE_NAMES: Final = (
    "qrs_correlation",
    "window_correlation",
    "qrs_distance",
    "p_distance",
    "t_distance",
    "log_amplitude",
    "log_slope",
    "width_s",
    "width_relative",
    "fatness",
    "fatness_relative",
    "polarity",
    "polarity_relative",
    "t_size",
    "t_direction",
    "p_correlation",
    "p_size",
    "p_size_relative",
    "own_correlation",
    "own_share",
    "own_is_main",
    "own_early",
    "own_width_relative",
    "own_main_correlation",
    "own_age",
    "main_share",
    "main_early",
    "previous_qrs_correlation",
    "previous_same_shape",
    "offset_s",
    "early_correlation",
)
TRACKED_NAMES: Final = (
    "qrs_correlation",
    "window_correlation",
    "qrs_distance",
    "p_distance",
    "t_distance",
    "log_amplitude",
    "log_slope",
    "width_s",
    "fatness",
    "t_size",
    "p_correlation",
    "p_size",
    "rr_log_median9",
)
"""Shape numbers that also go in relative to their own running mean and spread."""
_TRACKED_AT: Final = tuple((RR_NAMES + SHAPE_NAMES).index(name) for name in TRACKED_NAMES)
NAMES: Final = (
    RR_NAMES
    + SHAPE_NAMES
    + tuple(f"{name}_moved" for name in TRACKED_NAMES)
    + tuple(f"wave_{(i - BEFORE) / FS_HZ:+.3f}s" for i in _GRID)
    + tuple(f"difference_{(i - BEFORE) / FS_HZ:+.3f}s" for i in _GRID)
)
"""The columns of a row, in order."""

INPUT_STEPS: Final = 127
_WAVE_LIMIT: Final = 1.2
_LIMITS: Final[dict[str, tuple[float, float]]] = {
    # name: (value that becomes 0, distance from it that becomes 127); what lies beyond is held there.
    "rr_s": (0.8, 0.8),
    "rr_log_mean300": (0, 1.0),
    "rr_log_p80_300": (0, 1.0),
    "rr_log_p80_30": (0, 1.0),
    "rr_log_median9": (0, 1.0),
    "rr_log_previous": (0, 1.2),
    "rr_previous_log_median9": (0, 1.0),
    "rr_before_previous_log_median9": (0, 1.0),
    "rr_spread9": (0.3, 0.3),
    "rr_irregular30": (0.4, 0.4),
    "rr_turning30": (0.5, 0.5),
    "rr_early_share300": (0.25, 0.25),
    "rr_repeat": (0.3, 0.3),
    "rr_rank30": (0.5, 0.5),
    "rr_scatter30": (0.15, 0.15),
    "calm_log_mean300": (0, 1.0),
    "calm_log_p80_300": (0, 1.0),
    "calm_log_p80_30": (0, 1.0),
    "experience": (0.5, 0.5),
    "qrs_correlation": (0.5, 0.5),
    "window_correlation": (0.5, 0.5),
    "qrs_distance": (0.3, 0.3),
    "p_distance": (0.15, 0.15),
    "t_distance": (0.25, 0.25),
    "log_amplitude": (0, 1.2),
    "log_slope": (0, 1.2),
    "width_s": (0.12, 0.12),
    "width_relative": (0, 0.2),
    "fatness": (0.2, 0.2),
    "fatness_relative": (0, 0.2),
    "polarity": (0.5, 0.5),
    "polarity_relative": (0, 1.2),
    "t_size": (0.6, 0.6),
    "t_direction": (0, 0.35),
    "p_correlation": (0, 1.0),
    "p_size": (0.4, 0.4),
    "p_size_relative": (0.5, 2.0),
    "own_correlation": (0.5, 0.5),
    "own_share": (0.5, 0.5),
    "own_is_main": (0.5, 0.5),
    "own_early": (0, 0.7),
    "own_width_relative": (0, 0.2),
    "own_main_correlation": (0, 1.0),
    "own_age": (4.0, 4.0),
    "main_share": (0.5, 0.5),
    "main_early": (0, 0.6),
    "previous_qrs_correlation": (0.5, 0.5),
    "previous_same_shape": (0.5, 0.5),
    "offset_s": (0, 0.024),
    "early_correlation": (0, 0.8),
    "qrs_correlation_moved": (-4, 6),
    "window_correlation_moved": (-4, 6),
    "qrs_distance_moved": (4, 6),
    "p_distance_moved": (3, 5),
    "t_distance_moved": (4, 6),
    "log_amplitude_moved": (0, 5),
    "log_slope_moved": (0, 5),
    "width_s_moved": (3, 6),
    "fatness_moved": (2, 5),
    "t_size_moved": (4, 7),
    "p_correlation_moved": (-3, 5),
    "p_size_moved": (4, 7),
    "rr_log_median9_moved": (0, 7),
}
_CENTRE: Final = np.array([_LIMITS.get(name, (0.0, 0.0))[0] for name in NAMES])
_STEP: Final = np.array([_LIMITS.get(name, (0.0, _WAVE_LIMIT))[1] / INPUT_STEPS for name in NAMES])


def quantised(row: Floats) -> Int8s:
    """The model's input for a row: `round((value - centre) / step)`, halves to even, held in -127..127.

    Centres and steps are the fixed table above, so the int8 tensor does not depend on a model or runtime.
    """
    steps: Int8s = np.clip(np.rint((row - _CENTRE) / _STEP), -INPUT_STEPS, INPUT_STEPS).astype(np.int8)
    return steps


class Memory:
    """One lead's past, as far as beats are described against it. `copy()` forks it."""

    def __init__(self) -> None:
        self.beats = 0
        self.rr_s: Floats = np.empty(0)  # newest last, at most RR_KEPT
        self.early: Floats = np.empty(0)  # log of each of those against the median of the nine before it
        self.shapes: Floats = np.zeros((0, _LENGTH))  # templates, mV, median zero
        self.units: Floats = np.zeros((0, _QRS.stop - _QRS.start))  # their QRS, mean zero, norm one
        self.weight: Floats = np.zeros(0)
        self.count: Floats = np.zeros(0)
        self.shape_early: Floats = np.zeros(0)
        self.track_mean: Floats = np.zeros(len(TRACKED_NAMES))
        self.track_spread: Floats = np.zeros(len(TRACKED_NAMES))
        self.previous_correlation = 1.0
        self.previous_shape = -1
        self.previous_qrs: Floats = np.zeros(0)

    def copy(self) -> Memory:
        """A memory that goes its own way from here. Arrays are never written in place, so they are shared."""
        twin = Memory.__new__(Memory)
        twin.__dict__.update(self.__dict__)
        return twin

    def take(self, window_mv: Floats, rr_s: float | None) -> Floats:
        """Describe a beat against the past, then make it part of the past.

        `window_mv`: `CleanBuffer.around` the R peak, no NaN. `rr_s`: interval to the beat before, more than 0,
        None where it is not known.
        Gives float64, shape (len(NAMES),).
        """
        rr_row = self._intervals(rr_s)
        early = rr_row[_EARLY_AT]
        shape_row, wave_row, aligned, own = self._shape(window_mv, early)
        row = np.concatenate([rr_row, shape_row])
        tracked = row[list(_TRACKED_AT)]
        moved = (tracked - self.track_mean) / (self.track_spread + _TRACK_FLOOR)
        self._learn(aligned, own, early, rr_s, tracked)
        return np.concatenate([row, moved, wave_row])

    def intervals_only(self, rr_s: float) -> Floats:
        """The numbers of the interval alone, for training on beat times without a signal. Shape (len(RR_NAMES),)."""
        row = self._intervals(rr_s)
        self._learn_interval(rr_s, row[_EARLY_AT])
        return row

    def skip(self, rr_s: float | None) -> None:
        """Remember the interval of a beat that cannot be judged."""
        self.previous_shape = -1
        self._learn_interval(rr_s, 0.0)

    def _intervals(self, rr_s: float | None) -> Floats:
        past = self.rr_s if self.rr_s.size else np.array([rr_s if rr_s is not None else 0.8])
        last9 = _median(past[-9:])
        rr = last9 if rr_s is None else rr_s
        recent = past[-30:]
        top, mean_rr = np.sort(past), float(past.mean())
        p80_all, p80_recent = float(top[(top.size * 4) // 5]), float(np.sort(recent)[(recent.size * 4) // 5])
        steps = np.diff(recent)
        turning = float(np.mean(steps[1:] * steps[:-1] < 0)) if steps.size > 1 else 0.0
        irregular = float(np.mean(np.abs(steps))) / float(np.mean(recent)) if steps.size else 0.0
        scatter = _scatter(recent)
        calm = min(max((SCATTER_FIBRILLATION - scatter) / (SCATTER_FIBRILLATION - SCATTER_CALM), 0.0), 1.0)
        repeat = float(np.min(np.abs(np.log(past[-6:-1] / rr)))) if past.size > 2 else 0.0
        return np.array(
            [
                rr,
                math.log(rr / mean_rr),
                math.log(rr / p80_all),
                math.log(rr / p80_recent),
                math.log(rr / last9),
                math.log(rr / past[-1]),
                math.log(past[-1] / last9),
                math.log(past[-2] / last9) if past.size > 1 else 0.0,
                float(np.std(np.log(past[-9:] / last9))),
                irregular,
                turning,
                float(np.mean(self.early < -0.12)) if self.early.size else 0.0,
                repeat,
                float(np.mean(recent < rr)),
                scatter,
                calm * math.log(rr / mean_rr),
                calm * math.log(rr / p80_all),
                calm * math.log(rr / p80_recent),
                min(self.beats, 60) / 60,
            ]
        )

    def _shape(self, window_mv: Floats, early: float) -> tuple[Floats, Floats, Floats, int]:
        """Numbers of the shape, its waves, the window as aligned to its own shape, and which shape (or -1: new)."""
        if self.weight.size == 0:
            aligned = window_mv[SLACK : SLACK + _LENGTH] - _median(window_mv)
            self.shapes, self.units = aligned[np.newaxis], _unit(aligned)[np.newaxis]
            self.weight, self.count, self.shape_early = np.zeros(1), np.zeros(1), np.zeros(1)
        main = int(np.argmax(self.weight))
        views = np.lib.stride_tricks.sliding_window_view(window_mv[_QRS.start : _QRS.stop + 2 * SLACK], 60)
        centred = views - views.mean(axis=1, keepdims=True)
        norms = np.sqrt(np.einsum("ij,ij->i", centred, centred)) + _TINY
        correlations = (centred @ self.units.T) / norms[:, np.newaxis]  # (2 * SLACK + 1, shapes)
        best_shift = np.argmax(correlations, axis=0)
        best = correlations[best_shift, np.arange(best_shift.size)]
        template = self.shapes[main]
        wave = window_mv[best_shift[main] : best_shift[main] + _LENGTH]
        wave = wave - _median(wave)
        amplitude, size = float(np.ptp(template[_QRS])) + _TINY, float(np.ptp(wave[_QRS])) + _TINY
        log_sizes = np.log(np.ptp(self.shapes[:, _QRS], axis=1) / size + _TINY)
        near = np.where(np.abs(log_sizes) < SHAPE_JOIN_LOG_AMPLITUDE, best, best - 0.3)
        own = int(np.argmax(near))
        aligned = window_mv[best_shift[own] : best_shift[own] + _LENGTH]
        aligned = aligned - _median(aligned)
        qrs_unit = _unit(wave)
        numbers = _compare(wave, template, amplitude, size)
        share = self.weight / max(float(self.weight.sum()), 1.0)
        own_template = self.shapes[own]
        first = self.count[own] == 0
        numbers[0] = 1.0 if first else float(best[main])
        rest = [
            float(best[own]),
            float(share[own]),
            float(own == main),
            float(self.shape_early[own]),
            _width_s(own_template) - _width_s(template),
            float(self.units[own] @ self.units[main]),
            math.log1p(float(self.count[own])),
            float(share[main]),
            float(self.shape_early[main]),
            self.previous_correlation,
            float(own == self.previous_shape),
            (int(best_shift[main]) - SLACK) / FS_HZ,
            min(early, 0.0) * numbers[0],
        ]
        sign = 1.0 if template[_QRS][np.argmax(np.abs(template[_QRS]))] >= 0 else -1.0
        waves = np.concatenate([wave[_GRID], wave[_GRID] - template[_GRID]]) * (sign / amplitude)
        self.previous_correlation, self.previous_qrs = numbers[0], qrs_unit
        joins = first or near[own] >= SHAPE_JOIN_CORRELATION
        return np.array(numbers + rest), waves, aligned, own if joins else -1

    def _learn(self, aligned: Floats, own: int, early: float, rr_s: float | None, tracked: Floats) -> None:
        weight, count, shape_early = self.weight * SHARE_DECAY, self.count.copy(), self.shape_early.copy()
        shapes, units = self.shapes.copy(), self.units.copy()
        if own < 0:
            if weight.size < SHAPES_MAX:
                own = weight.size
                shapes, units = np.vstack([shapes, aligned]), np.vstack([units, _unit(aligned)])
                weight, count, shape_early = np.append(weight, 0.0), np.append(count, 0.0), np.append(shape_early, 0.0)
            else:
                own = int(np.argmin(weight))
            shapes[own], weight[own], count[own], shape_early[own] = aligned, 0.0, 0.0, early
        rate = 1 / min(count[own] + 1, SHAPE_MEMORY_BEATS)
        shapes[own] += rate * (aligned - shapes[own])
        units[own] = _unit(shapes[own])
        weight[own] += 1
        count[own] += 1
        shape_early[own] += rate * (early - shape_early[own])
        self.shapes, self.units, self.weight, self.count, self.shape_early = shapes, units, weight, count, shape_early
        self.previous_shape = own
        slow = 1 / min(self.beats + 1, TRACK_MEMORY_BEATS)
        step = tracked - self.track_mean
        # One odd beat must not move the mean: a step counts at most three spreads, once there is a spread.
        if self.beats >= 10:
            limit = 3 * (self.track_spread + _TRACK_FLOOR)
            step = np.clip(step, -limit, limit)
        self.track_mean = self.track_mean + slow * step
        self.track_spread = self.track_spread + slow * (np.abs(step) - self.track_spread)
        self._learn_interval(rr_s, early)

    def _learn_interval(self, rr_s: float | None, early: float) -> None:
        self.beats += 1
        if rr_s is not None:
            self.rr_s = np.append(self.rr_s, rr_s)[-RR_KEPT:]
            self.early = np.append(self.early, early)[-RR_KEPT:]


_EARLY_AT: Final = RR_NAMES.index("rr_log_median9")
_TRACK_FLOOR: Final = np.array([0.01, 0.02, 0.01, 0.01, 0.01, 0.03, 0.03, 0.004, 0.01, 0.02, 0.05, 0.01, 0.02])
"""Added to each running spread, so that a lead without noise does not make every beat odd."""


def _median(values: Floats) -> float:
    """`np.median` without its checks, which cost more than the sorting."""
    ordered = np.sort(values, axis=None)
    half = ordered.size // 2
    return float(ordered[half] if ordered.size % 2 else (ordered[half - 1] + ordered[half]) / 2)


def _scatter(rr_s: Floats) -> float:
    """How far an interval lies from those one to four before it, by the best of these four lags (median, log).

    Single early beats, bigeminy and trigeminy leave it small; in atrial fibrillation no lag fits.
    """
    log_rr = np.log(rr_s)
    lags = [_median(np.abs(log_rr[lag:] - log_rr[:-lag])) for lag in range(1, 5) if log_rr.size > lag + 3]
    return min(lags, default=0.0)


def _unit(wave: Floats) -> Floats:
    qrs = wave[_QRS] - wave[_QRS].mean()
    unit: Floats = qrs / (math.sqrt(float(qrs @ qrs)) + _TINY)
    return unit


def _correlation(a: Floats, b: Floats) -> float:
    a, b = a - a.mean(), b - b.mean()
    return float(a @ b) / (math.sqrt(float(a @ a) * float(b @ b)) + _TINY)


def _width_s(wave: Floats) -> float:
    """Time that holds the middle 90 % of the QRS's slope energy."""
    energy = np.cumsum(np.diff(wave[_WIDTH]) ** 2)
    total = energy[-1] + _TINY
    return float(np.searchsorted(energy, 0.95 * total) - np.searchsorted(energy, 0.05 * total)) / FS_HZ


def _compare(wave: Floats, template: Floats, amplitude: float, size: float) -> list[float]:
    difference = np.abs(wave - template)
    qrs, reference = wave[_QRS], template[_QRS]
    width, width_reference = _width_s(wave), _width_s(template)
    fat, fat_reference = float(np.mean(np.abs(qrs))) / size, float(np.mean(np.abs(reference))) / amplitude
    pole = float(qrs.max() + qrs.min()) / size
    pole_reference = float(reference.max() + reference.min()) / amplitude
    slope, slope_reference = np.abs(np.diff(qrs)).max(), np.abs(np.diff(reference)).max()
    tail = wave[_T]
    p_size, p_reference = float(np.ptp(wave[_P])) / amplitude, float(np.ptp(template[_P])) / amplitude
    return [
        0.0,  # QRS correlation: put in by the caller, who has it
        _correlation(wave, template),
        float(difference[_QRS].mean()) / amplitude,
        float(difference[_P].mean()) / amplitude,
        float(difference[_T].mean()) / amplitude,
        math.log(size / amplitude),
        math.log((slope + _TINY) / (slope_reference + _TINY)),
        width,
        width - width_reference,
        fat,
        fat - fat_reference,
        abs(pole),
        pole - pole_reference if pole_reference >= 0 else pole_reference - pole,
        float(np.ptp(tail)) / size,
        float(tail.mean()) * (1.0 if pole >= 0 else -1.0) / size,
        _correlation(wave[_P], template[_P]),
        p_size,
        math.log((p_size + 0.01) / (p_reference + 0.01)),
    ]
