"""Causal polyphase resampling from any wearable's rate to the one internal rate.

Fed by raw leads; knows nothing of beats, gaps or time of day.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from fractions import Fraction
from typing import NamedTuple, Self, TypeAlias

import numpy as np
from numpy.typing import NDArray

Floats: TypeAlias = NDArray[np.float64]
Ints: TypeAlias = NDArray[np.int64]

INTERNAL_HZ = 250.0
FS_HZ_MIN, FS_HZ_MAX = 100.0, 1000.0

_PHASES_MAX = 512  # finer fractions are rounded to 1/512 of a source sample: 4 µs at 500 Hz
_HALF_TAPS = 8  # source samples on each side at rates up to the internal one
_PLANNED = 50  # outputs that one matrix gives at most
_PLANS_MAX = 32  # matrices kept by a design
_PASS = 0.84  # cut-off as a share of the lower Nyquist frequency


class ResampleState(NamedTuple):
    """Memory of one lead, or of several of one rate: the newest `2 * half` source samples, how many came and went."""

    tail: Floats  # (..., 2 * half)
    n_in: int
    n_out: int


@dataclass(frozen=True, eq=False)
class Resampler:
    """Windowed-sinc FIR, linear phase: output sample k lies exactly at k / 250 s of the source's time.

    The delay (`half` source samples, 24 to 80 ms) shows only in when a sample can be had, never in its
    index. Positions are exact rationals, so nothing drifts over days. Source: Crochiere & Rabiner,
    Multirate Digital Signal Processing, 1983, chapter 4.
    """

    num: int  # source samples for each output sample = num / den
    den: int
    half: int
    kernels: Floats  # (n_phases + 1, 2 * half)
    _plans: dict[tuple[int, int], Floats] = field(default_factory=dict, repr=False)  # see `_plan`

    @classmethod
    def design(cls, fs_hz: float) -> Self:
        """Raises `ValueError` when `fs_hz` is not within 100..1000 Hz."""
        if not FS_HZ_MIN <= fs_hz <= FS_HZ_MAX:  # also refuses NaN
            raise ValueError(f"fs_hz: expected {FS_HZ_MIN:g} to {FS_HZ_MAX:g} Hz, got {fs_hz!r}")
        ratio = (Fraction(fs_hz) / Fraction(INTERNAL_HZ)).limit_denominator(1_000_000)
        half = int(np.ceil(_HALF_TAPS * max(1.0, fs_hz / INTERNAL_HZ)))
        n_phases = min(ratio.denominator, _PHASES_MAX)
        distance = np.arange(1 - half, half + 1) - np.arange(n_phases + 1)[:, None] / n_phases
        cut = _PASS * min(1.0, INTERNAL_HZ / fs_hz)  # of the source's Nyquist frequency
        window = np.i0(6.0 * np.sqrt(np.clip(1 - (distance / half) ** 2, 0, 1)))
        kernels = np.sinc(cut * distance) * window
        kernels /= kernels.sum(axis=1, keepdims=True)
        return cls(ratio.numerator, ratio.denominator, half, kernels)

    def initial(self) -> ResampleState:
        """State of a lead that had always rested at 0."""
        return ResampleState(np.zeros(2 * self.half), 0, 0)

    def source_index(self, index: int) -> int:
        """The source sample nearest to internal sample `index`."""
        return (2 * index * self.num + self.den) // (2 * self.den)

    def input_end(self, n_out: int) -> int:
        """How many source samples must have come before output sample `n_out - 1` can be given."""
        return (n_out - 1) * self.num // self.den + self.half + 1

    def outputs(self, n_in: int) -> int:
        """How many output samples can be given once `n_in` source samples have come: `input_end` the other way."""
        return max(0, ((n_in - self.half) * self.den - 1) // self.num + 1)

    def step(self, state: ResampleState, block: Floats, n_out_max: int | None = None) -> tuple[ResampleState, Floats]:
        """Take `n` >= 0 finite samples, shape (..., n); give every output sample that they complete, up to `n_out_max`.

        Outputs held back by `n_out_max` come with the next step, as long as that limit is
        reached by the block's very last sample (`input_end`). Outputs are made fifty at a time from the first one
        on; steps that end on the same fifties give the same bits, one lead alone or many together.
        """
        n = block.shape[-1]
        if n == 0:
            return state, block
        n_in = state.n_in + n
        n_out = max(state.n_out, self.outputs(n_in))
        if n_out_max is not None:
            n_out = min(n_out, n_out_max)
        joined = np.concatenate((state.tail, block), -1)
        after = ResampleState(joined[..., -2 * self.half :], n_in, n_out)
        if n_out == state.n_out:
            return after, joined[..., :0]
        return after, self._outputs(joined, state, n_out)

    def _outputs(self, joined: Floats, state: ResampleState, n_out: int) -> Floats:
        """The output samples up to `n_out`, from source samples `state.n_in - 2 * half` on."""
        n, parts = n_out - state.n_out, []
        step, uneven = divmod(_PLANNED * self.num, self.den)
        many = n // _PLANNED if n % _PLANNED == 0 and not uneven else 1  # fifties that one matrix gives
        for first in range(state.n_out, n_out, _PLANNED * many):
            whole, rest = divmod(first * self.num, self.den)  # Python integers: exact after any number of years
            matrix = self._plan(rest, min(_PLANNED, n_out - first))
            start, size = whole + self.half + 1 - state.n_in, joined.itemsize
            shape, strides = (
                (*joined.shape[:-1], many, matrix.shape[1], 1),
                (*joined.strides[:-1], step * size, size, size),
            )
            columns: Floats = np.ndarray(shape, np.float64, joined, start * size, strides)
            parts.append(np.matmul(matrix, columns).reshape(*joined.shape[:-1], -1))
        return parts[0] if len(parts) == 1 else np.concatenate(parts, -1)

    def step_mask(self, tail: NDArray[np.bool_], block: NDArray[np.bool_], state: ResampleState, n_out: int) -> Ints:
        """Which of the output samples up to `n_out` touch a marked source sample, as positions in the output.

        `tail` holds the marks of `state.tail`. An output sample is marked when either source sample beside it is.
        """
        joined = np.concatenate((tail, block))
        whole, rest = divmod(state.n_out * self.num, self.den)
        at = self._rows(rest, n_out - state.n_out)[0] + (whole + 2 * self.half - state.n_in)
        return np.flatnonzero(joined[at] | joined[np.minimum(at + 1, joined.size - 1)])

    def _plan(self, rest: int, n: int) -> Floats:
        """The matrix (n, source samples) that gives `n` outputs which start `rest` / den past a source sample.

        Frames start at few different rests, so these are kept; past 32 of them, at odd rates, they are made anew.
        """
        plan = self._plans.get((rest, n))
        if plan is None:
            rows, phases = self._rows(rest, n)
            plan = np.zeros((n, int(rows[-1]) + 2 * self.half))
            plan[np.arange(n)[:, None], rows[:, None] + np.arange(2 * self.half)] = self.kernels[phases]
            if len(self._plans) < _PLANS_MAX:
                self._plans[(rest, n)] = plan
        return plan

    def _rows(self, rest: int, n: int) -> tuple[Ints, Ints]:
        """Source sample at or before each of `n` outputs, and its kernel's number."""
        steps = np.arange(n, dtype=np.int64) * self.num + rest
        n_phases = len(self.kernels) - 1
        return steps // self.den, np.rint((steps % self.den) * (n_phases / self.den)).astype(np.int64)
