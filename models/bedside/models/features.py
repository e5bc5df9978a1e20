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

from bedside.models.tempo import EARLY_AT, RR_NAMES, Tempo
from bedside.models.variants import Variants
from bedside.models.windows import AFTER, BEFORE, FS_HZ, SLACK, Floats

Int8s: TypeAlias = npt.NDArray[np.int8]

SHAPES_MAX: Final = 8
SHAPE_JOIN_CORRELATION: Final = 0.90
"""QRS correlation from which a beat counts as one more of a known shape."""
SHAPE_JOIN_LOG_AMPLITUDE: Final = 0.5
SHAPE_MEMORY_BEATS: Final = 40
"""A template is the mean of its first 40 beats, then an exponential mean."""
ODD_CORRELATION: Final = 0.85
"""QRS correlation with the main shape below which a beat is odd: intervals beside it are no reference."""
SHARE_DECAY: Final = 1 - 1 / 500
"""Shares of shapes are counted over about the last 500 beats."""
TRACK_MEMORY_BEATS: Final = 100
TRACK_OTHERS: Final = 0.1
COMPARED: Final = (1, 2, 3, 4, 15, 17)
_ALIKE: Final = [1.0, 0.0, 0.0, 0.0, 1.0, 0.0]

_LENGTH: Final = BEFORE + AFTER
_P_START: Final = BEFORE - 65  # -0.26 s
_P_STOP: Final = BEFORE - 17  # -0.068 s
_QRS_STOP: Final = BEFORE + 35  # +0.14 s
_T: Final = slice(_QRS_STOP, _LENGTH)
_P: Final = slice(_P_START, _P_STOP)
_PARTS: Final = np.array([0, _P_START, _P_STOP, _QRS_STOP])  # where a window's parts begin: rest, P, QRS, T
_QRS: Final = slice(BEFORE - 25, _QRS_STOP)  # -0.10 to +0.14 s
_N_QRS: Final = _QRS_STOP - (BEFORE - 25)
_SHIFTED: Final = np.arange(2 * SLACK + 1)[:, np.newaxis] + np.arange(_QRS.start, _QRS.stop)
"""Where the QRS lies in a window, moved by each step of the slack."""
_WIDTH: Final = slice(BEFORE - 35, BEFORE + 50)
_GRID: Final = np.concatenate(
    [
        np.arange(BEFORE - 70, BEFORE - 30, 8),
        np.arange(BEFORE - 30, BEFORE + 45, 5),
        np.arange(BEFORE + 45, _LENGTH, 10),
    ]
)
_TINY: Final = 1e-9
_top, _bottom, _sum = np.maximum.reduce, np.minimum.reduce, np.add.reduce
"""As the methods of an array, without their way through Python, which costs as much again on so few numbers."""

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
    "own_mean_window_correlation",
    "own_mean_qrs_distance",
    "own_mean_p_distance",
    "own_mean_t_distance",
    "own_mean_p_correlation",
    "own_mean_p_size_relative",
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
_TRACKED_AT: Final = np.array([(RR_NAMES + SHAPE_NAMES).index(name) for name in TRACKED_NAMES])
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
    "rr_log_p95_300": (0, 1.0),
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
    "calm_log_p95_300": (0, 1.0),
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
    "own_mean_window_correlation": (0.5, 0.5),
    "own_mean_qrs_distance": (0.3, 0.3),
    "own_mean_p_distance": (0.15, 0.15),
    "own_mean_t_distance": (0.25, 0.25),
    "own_mean_p_correlation": (0, 1.0),
    "own_mean_p_size_relative": (0.5, 2.0),
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
    steps = np.rint((row - _CENTRE) / _STEP)
    held: Int8s = np.minimum(np.maximum(steps, -INPUT_STEPS), INPUT_STEPS).astype(np.int8)
    return held


def real(rows: Int8s) -> Floats:
    """What the int8 rows stand for, within a step; what lay beyond a limit is at it. Shape as `rows`."""
    numbers: Floats = rows * _STEP + _CENTRE
    return numbers


class Shape:
    """One shape of this patient's beats. Never changed: `with_beat` gives a new one."""

    __slots__ = ("against_main", "count", "early", "measures", "number", "template", "unit")

    def __init__(
        self, number: int, template: Floats, measures: list[float], early: float, against_main: list[float], count: int
    ) -> None:
        self.number = number  # counts the lead's shapes: a slot that was given away has a new one
        self.template = template  # mV, median zero
        self.unit = _unit(template)  # its QRS, mean zero, norm one
        self.measures = measures  # running means of `_measures`
        self.against_main = against_main  # running means of the `COMPARED` numbers of its beats
        self.count = count
        self.early = early

    def with_beat(self, aligned: Floats, measures: list[float], early: float, against_main: list[float]) -> Shape:
        """The shape with one more beat."""
        rate = 1 / min(self.count + 1, SHAPE_MEMORY_BEATS)
        return Shape(
            self.number,
            self.template + rate * (aligned - self.template),
            [old + rate * (new - old) for old, new in zip(self.measures, measures, strict=True)],
            self.early + rate * (early - self.early),
            [old + rate * (new - old) for old, new in zip(self.against_main, against_main, strict=True)],
            self.count + 1,
        )


class Memory:
    """One lead's past, as far as beats are described against it. `copy()` forks it."""

    def __init__(self) -> None:
        self.tempo = Tempo()
        self.shapes: tuple[Shape, ...] = ()
        self.weights: list[float] = []  # beats of each shape, the old ones forgotten
        self.units: Floats = _ONES[np.newaxis]  # a constant and the QRS of each shape: (1 + shapes, samples)
        self.n_shapes = 0  # ever
        self.track_mean: Floats = np.zeros(len(TRACKED_NAMES))
        self.track_spread: Floats = np.zeros(len(TRACKED_NAMES))
        self.previous_correlation = 1.0
        self.previous_shape = -1  # number
        self.variants = Variants()
        self.variant = -1  # number of the last beat's

    def copy(self) -> Memory:
        """A memory that goes its own way from here. Arrays are never written in place, so they are shared."""
        twin = Memory.__new__(Memory)
        twin.__dict__.update(self.__dict__)
        twin.tempo = self.tempo.copy()
        twin.variants = self.variants.copy()
        return twin

    def take(self, window_mv: Floats, rr_s: float | None) -> Floats:
        """Describe a beat against the past, then make it part of the past.

        `window_mv`: `CleanBuffer.around` the R peak, no NaN. `rr_s`: interval to the beat before, more than 0,
        None where it is not known.
        Gives float64, shape (len(NAMES),). `variant` is then the number of its variant.
        """
        numbers = self.tempo.numbers(rr_s)
        early = numbers[EARLY_AT]
        wave_mv = window_mv - _median(window_mv)
        views = wave_mv[_SHIFTED]
        if not self.shapes:
            first = wave_mv[SLACK : SLACK + _LENGTH]
            self._add(Shape(self.n_shapes, first, _measures(first), 0.0, _ALIKE, 0))
        shapes, weights = self.shapes, self.weights
        correlations = _correlations(views, self.units)
        shifts, best = correlations.argmax(axis=0).tolist(), _top(correlations).tolist()
        main = weights.index(max(weights))
        wave = wave_mv[shifts[main] : shifts[main] + _LENGTH]
        measures = _measures(wave)
        near = _nearness(best, measures[0], shapes)
        own = near.index(max(near))
        shape = shapes[own]
        joins = shape.count == 0 or near[own] >= SHAPE_JOIN_CORRELATION
        compared, amplitude = _compare(wave, measures, shapes[main])
        compared[0] = 1.0 if shape.count == 0 else best[main]
        numbers += compared
        total = max(sum(weights), 1.0)
        numbers += [
            best[own],
            weights[own] / total,
            float(own == main),
            shape.early,
            shape.measures[2] - shapes[main].measures[2],
            float(shape.unit @ shapes[main].unit),
            math.log1p(shape.count),
            weights[main] / total,
            shapes[main].early,
            self.previous_correlation,
            float(shape.number == self.previous_shape),
            (shifts[main] - SLACK) / FS_HZ,
            min(early, 0.0) * compared[0],
        ]
        self.previous_correlation = compared[0]
        aligned = wave_mv[shifts[own] : shifts[own] + _LENGTH]
        self.variant = self.variants.take(aligned[_QRS])
        against_main = [compared[at] for at in COMPARED]
        numbers += self._learn_shape(aligned, measures, early, against_main, own if joins else None).against_main
        described = np.array(numbers)
        moved = self._moved(described[_TRACKED_AT], 1.0 if own == main and joins else TRACK_OTHERS)
        self.tempo.learn(rr_s, early, compared[0] < ODD_CORRELATION)
        usual = self.shapes[main]  # with this beat, if it is one of it
        scale = (1.0 if usual.measures[4] >= 0 else -1.0) / amplitude
        sparse = wave[_GRID]
        return np.concatenate([described, moved, sparse * scale, (sparse - usual.template[_GRID]) * scale])

    def intervals_only(self, rr_s: float, odd: bool = False) -> Floats:
        """The numbers of the interval alone, for training on beat times without a signal. Shape (len(RR_NAMES),)."""
        numbers = self.tempo.numbers(rr_s)
        self.tempo.learn(rr_s, numbers[EARLY_AT], odd)
        return np.array(numbers)

    def skip(self, rr_s: float | None) -> None:
        """Remember the interval of a beat that cannot be judged."""
        self.previous_shape = -1
        self.tempo.learn(rr_s, 0.0, True)

    def _learn_shape(
        self, aligned: Floats, measures: list[float], early: float, against_main: list[float], at: int | None
    ) -> Shape:
        """The beat joins the shape at `at`, or is the first of a new one."""
        self.weights = [weight * SHARE_DECAY for weight in self.weights]
        if at is None:
            at = self._add(Shape(self.n_shapes, aligned, measures, early, against_main, 0))
        shape = self.shapes[at].with_beat(aligned, measures, early, against_main)
        self._put(at, shape)
        self.weights[at] += 1
        self.previous_shape = shape.number
        return shape

    def _add(self, shape: Shape) -> int:
        """Room for a new shape, that of the least seen one if there is no other."""
        self.n_shapes += 1
        if len(self.shapes) < SHAPES_MAX:
            self.shapes = (*self.shapes, shape)
            self.weights = [*self.weights, 0.0]
            self.units = np.vstack([self.units, shape.unit])
            return len(self.shapes) - 1
        at = self.weights.index(min(self.weights))
        self.weights[at] = 0.0
        self._put(at, shape)
        return at

    def _put(self, at: int, shape: Shape) -> None:
        self.shapes = (*self.shapes[:at], shape, *self.shapes[at + 1 :])
        self.units = self.units.copy()
        self.units[at + 1] = shape.unit

    def _moved(self, tracked: Floats, share: float) -> Floats:
        """The tracked numbers against their running means, in running spreads; then learn them."""
        step = tracked - self.track_mean
        width = self.track_spread + _TRACK_FLOOR
        moved: Floats = step / width
        slow = share / min(self.tempo.beats + 1, TRACK_MEMORY_BEATS)
        # One odd beat must not move the mean: a step counts at most three spreads, once there is a spread.
        if self.tempo.beats >= 10:
            step = np.minimum(np.maximum(moved, -3.0), 3.0) * width
        self.track_mean = self.track_mean + slow * step
        self.track_spread = self.track_spread + slow * (np.abs(step) - self.track_spread)
        return moved


_TRACK_FLOOR: Final = np.array([0.01, 0.02, 0.01, 0.01, 0.01, 0.03, 0.03, 0.004, 0.01, 0.02, 0.05, 0.01, 0.02])
"""Added to each running spread, so that a lead without noise does not make every beat odd."""


def _median(values: Floats) -> float:
    """`np.median` without its checks, which cost more than the sorting."""
    ordered = values.copy()
    ordered.sort()
    half = ordered.size // 2
    return float(ordered[half] if ordered.size % 2 else (ordered[half - 1] + ordered[half]) / 2)


def _unit(wave: Floats) -> Floats:
    qrs = wave[_QRS]
    qrs = qrs - _sum(qrs) / _N_QRS
    unit: Floats = qrs * (1 / (math.sqrt(float(qrs @ qrs)) + _TINY))
    return unit


_ONES: Final = np.full(_N_QRS, _N_QRS**-0.5)


def _correlations(views: Floats, units: Floats) -> Floats:
    """Of the QRS, moved by each step of the slack, with that of each shape. (2 * SLACK + 1, shapes)."""
    products = views @ units.T
    energy = np.einsum("ij,ij->i", views, views) - products[:, 0] ** 2
    norms = np.sqrt(np.maximum(energy, 0.0)) + _TINY
    correlations: Floats = products[:, 1:] / norms[:, np.newaxis]
    return correlations


def _nearness(best: list[float], size_mv: float, shapes: tuple[Shape, ...]) -> list[float]:
    """Correlations, less where the shape is of another size."""
    limit = math.exp(SHAPE_JOIN_LOG_AMPLITUDE)
    return [
        one if shape.measures[0] < size_mv * limit and size_mv < shape.measures[0] * limit else one - 0.3
        for one, shape in zip(best, shapes, strict=True)
    ]


def _measures(wave: Floats) -> list[float]:
    """QRS height (mV), steepest slope (mV a sample), width (s), fatness, pole (-1..1), height of the P part (mV).

    Width: time that holds the middle 90 % of the QRS's slope energy.
    """
    qrs, p = wave[_QRS], wave[_P]
    top, bottom = float(_top(qrs)), float(_bottom(qrs))
    size = top - bottom + _TINY
    zone = wave[_WIDTH]
    slopes = zone[1:] - zone[:-1]
    energy = (slopes * slopes).cumsum()
    total = float(energy[-1]) + _TINY
    first, last = energy.searchsorted([0.05 * total, 0.95 * total]).tolist()
    steepest = max(float(_top(slopes)), -float(_bottom(slopes))) + _TINY
    fat = float(_sum(np.abs(qrs))) / _N_QRS / size
    return [size, steepest, (last - first) / FS_HZ, fat, (top + bottom) / size, float(_top(p) - _bottom(p))]


def _compare(wave: Floats, measures: list[float], main: Shape) -> tuple[list[float], float]:
    """Shape numbers up to `p_size_relative`, the first left for the caller; and the main shape's height, mV."""
    template = main.template
    six = np.array([wave, template, wave * template, wave * wave, template * template, np.abs(wave - template)])
    sums = np.add.reduceat(six, _PARTS, axis=1).tolist()
    whole = [sum(one) for one in sums]
    distance = sums[5]
    size, slope, width, fat, pole, p_mv = measures
    amplitude, slope_usual, width_usual, fat_usual, pole_usual, p_usual_mv = main.measures
    tail = wave[_T]
    p_size, p_usual = p_mv / amplitude, p_usual_mv / amplitude
    return [
        0.0,
        _correlation(whole, _LENGTH),
        distance[2] / (_QRS_STOP - _P_STOP) / amplitude,
        distance[1] / (_P_STOP - _P_START) / amplitude,
        distance[3] / (_LENGTH - _QRS_STOP) / amplitude,
        math.log(size / amplitude),
        math.log(slope / slope_usual),
        width,
        width - width_usual,
        fat,
        fat - fat_usual,
        abs(pole),
        pole - pole_usual if pole_usual >= 0 else pole_usual - pole,
        float(_top(tail) - _bottom(tail)) / size,
        sums[0][3] / (_LENGTH - _QRS_STOP) * (1.0 if pole >= 0 else -1.0) / size,
        _correlation([one[1] for one in sums], _P_STOP - _P_START),
        p_size,
        math.log((p_size + 0.01) / (p_usual + 0.01)),
    ], amplitude


def _correlation(sums: list[float], n: int) -> float:
    """From the sums of a, b, ab, aa and bb over `n` samples."""
    a, b, ab, aa, bb = sums[:5]
    var_a, var_b = max(aa - a * a / n, 0.0), max(bb - b * b / n, 0.0)
    return (ab - a * b / n) / (math.sqrt(var_a * var_b) + _TINY)
