"""Pulses of one pulse wave (photoplethysmogram): onset, peak, and the pulse rate that follows.

Fed by blocks of a wearable's PLETH stream in any unit; knows nothing of the ECG, of oxygen or of time of day.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import pairwise
from typing import NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from bedside.signal.resample import Floats

FS_HZ_MIN, FS_HZ_MAX = 20.0, 1000.0
FRAME_S = 0.2
HISTORY_S = 2.0
RISE_S = 0.13  # a pulse's upstroke lasts about this long
WAIT_S = 0.4  # after the upstroke before a pulse is judged: its peak lies within
APART_S = 0.28  # two pulses lie no closer: 214 per minute
SHARE = 0.4  # of the usual upstroke is asked for,
SHARE_EARLY = 0.75  # and more soon after a pulse, where a dicrotic wave may rise half as high:
EARLY_S = 0.45  # within it,
EARLY_SHARE = 0.6  # or within this share of the usual interval
OVERDUE_S = 1.5  # after so long without a pulse the share asked for halves each second
RATE_PULSES = 8  # intervals whose median is the rate
SILENT_S = 3.0  # no rate after so long without a pulse
SPREAD_MAX = 0.5  # of the middle intervals, as a share: more is no rhythm but movement
LONG_GAP_S = 0.5
LIMIT = 1e9  # samples beyond it are held there


class Pulse(NamedTuple):
    """One pulse, in source samples; `height` in the stream's unit, from onset to peak."""

    onset_index: int
    peak_index: int
    height: float


class PulseOutput(NamedTuple):
    """What a block brought. `rate_bpm` None: no rate can be given now."""

    pulses: tuple[Pulse, ...]
    rate_bpm: float | None
    settled_index: int  # no pulse whose upstroke lies before it will appear


@dataclass
class PulseState:
    """Memory of one wave. Arrays are never written to, so a shallow copy is a fork."""

    pending: Floats
    n: int  # source samples processed
    held: float
    n_missing: int  # run of missing samples
    offset: float
    started: bool
    tail: Floats  # the newest samples before smoothing
    wave: Floats  # smoothed, newest last
    rise: Floats  # sum of the upward steps over the last RISE_S
    tops: tuple[tuple[int, float], ...]  # upstrokes not yet judged
    rises: tuple[float, ...]  # of the last pulses
    tops_taken: tuple[int, ...]


@dataclass(frozen=True, eq=False)
class PulseAnalyser:
    """Slope-sum pulse finder with a running threshold: results do not depend on how the stream is cut.

    A pulse is reported at most 0.8 s after its upstroke. Source: Zong et al. 2003, doi:10.1109/CIC.2003.1291140
    (slope-sum function); here the threshold is a share of the median of the last eight upstrokes.
    """

    fs_hz: float
    frame: int
    smooth: int
    rise: int

    @classmethod
    def design(cls, fs_hz: float) -> Self:
        """Raises `ValueError` when `fs_hz` is not within 20..1000 Hz."""
        if not FS_HZ_MIN <= fs_hz <= FS_HZ_MAX:
            raise ValueError(f"fs_hz: expected {FS_HZ_MIN:g} to {FS_HZ_MAX:g} Hz, got {fs_hz!r}")
        smooth = 2 * int(0.02 * fs_hz) + 1
        return cls(float(fs_hz), max(2, round(FRAME_S * fs_hz)), smooth, max(2, round(RISE_S * fs_hz)))

    def initial(self) -> PulseState:
        """State before the first sample."""
        empty = np.zeros(round(HISTORY_S * self.fs_hz))
        return PulseState(np.zeros(0), 0, 0.0, 0, 0.0, False, np.zeros(self.smooth - 1), empty, empty, (), (), ())

    def step(self, state: PulseState, block: NDArray[np.generic]) -> tuple[PulseState, PulseOutput]:
        """Take `n` >= 0 samples, shape (n,), any unit, NaN where missing. The given state stays valid.

        Raises `ValueError` naming `block` when it is not one-dimensional or not real numbers.
        """
        values = np.asarray(block)
        if values.ndim != 1 or values.dtype.kind not in "fiu":
            raise ValueError(f"block: expected real numbers in one dimension, got {values.dtype} of {values.shape}")
        pending = np.concatenate((state.pending, np.clip(values.astype(np.float64), -LIMIT, LIMIT)))
        state = replace(state)
        pulses: list[Pulse] = []
        whole = pending.size // self.frame * self.frame
        for start in range(0, whole, self.frame):
            self._frame(state, pending[start : start + self.frame], pulses)
        state.pending = pending[whole:].copy()
        settled = state.tops[0][0] if state.tops else state.n - self._samples(WAIT_S)
        return state, PulseOutput(tuple(pulses), self._rate(state), max(0, settled))

    def _samples(self, seconds: float) -> int:
        return round(seconds * self.fs_hz)

    def _frame(self, state: PulseState, chunk: Floats, pulses: list[Pulse]) -> None:
        filled = self._fill(state, chunk)
        tail = state.wave.size
        raw = np.concatenate((state.tail, filled))
        state.tail = raw[filled.size :]
        smoothed = np.convolve(raw, np.full(self.smooth, 1.0 / self.smooth), "valid")
        wave = np.concatenate((state.wave, smoothed))
        steps = np.maximum(np.diff(wave[-filled.size - self.rise - 1 :]), 0.0)
        rise = np.convolve(steps, np.ones(self.rise), "valid")[-filled.size :]
        rise = np.where(np.isnan(chunk), 0.0, rise)
        state.wave = wave[-tail:]
        state.rise = np.concatenate((state.rise, rise))[-tail:]
        state.n += chunk.size
        self._collect(state, chunk.size)
        while state.tops and state.tops[0][0] + self._samples(WAIT_S) < state.n:
            self._judge(state, pulses)

    def _fill(self, state: PulseState, chunk: Floats) -> Floats:
        """Hold through holes; after a long one the wave goes on at the level where it stopped."""
        missing = np.isnan(chunk)
        if not missing.any() and state.started and state.n_missing == 0:
            state.held = float(chunk[-1])
            return chunk - state.offset
        out = np.empty(chunk.size)
        for at, value in enumerate(chunk.tolist()):
            if missing[at]:
                state.n_missing += 1
            else:
                if not state.started or state.n_missing >= self._samples(LONG_GAP_S):
                    state.offset += value - state.held
                    state.tops_taken = ()
                state.started, state.n_missing, state.held = True, 0, value
            out[at] = state.held - state.offset
        return out

    def _collect(self, state: PulseState, n_new: int) -> None:
        part = state.rise[-n_new - 2 :]
        middle = part[1:-1]
        apart, first, tops = self._samples(APART_S), state.n - n_new - 1, list(state.tops)
        for offset in np.flatnonzero((middle > part[:-2]) & (middle >= part[2:])).tolist():
            height = float(middle[offset])
            if tops and first + offset - tops[-1][0] < apart:
                if height <= tops[-1][1]:
                    continue
                tops.pop()
            tops.append((first + offset, height))
        state.tops = tuple(tops)

    def _judge(self, state: PulseState, pulses: list[Pulse]) -> None:
        (at, height), *rest = state.tops
        state.tops = tuple(rest)
        usual = sorted(state.rises)[len(state.rises) // 2] if state.rises else height
        since_s = (at - state.tops_taken[-1]) / self.fs_hz if state.tops_taken else 0.0
        early = bool(state.tops_taken) and since_s < max(EARLY_S, EARLY_SHARE * self._interval_s(state))
        share = (SHARE_EARLY if early else SHARE) * 0.5 ** max(0.0, since_s - OVERDUE_S)
        if height < share * usual or height <= 0.0 or (state.tops_taken and since_s < APART_S):
            return
        here = at - state.n + state.wave.size
        before = state.wave[max(0, here - self._samples(0.3)) : here + 1]
        after = state.wave[here : here + self._samples(0.3) + 1]
        onset, peak = int(before[::-1].argmin()), int(after.argmax())
        late = self.smooth // 2  # delay of the smoothing
        rise = float(after[peak] - before[before.size - 1 - onset])
        pulses.append(Pulse(max(0, at - onset - late), max(0, at + peak - late), rise))
        state.rises = (*state.rises[1 - RATE_PULSES :], height)
        state.tops_taken = (*state.tops_taken[-RATE_PULSES:], at)

    def _interval_s(self, state: PulseState) -> float:
        """The usual interval between pulses; 0 until three are known."""
        gaps = sorted(after - before for before, after in pairwise(state.tops_taken))
        return gaps[len(gaps) // 2] / self.fs_hz if len(gaps) >= 3 else 0.0

    def _rate(self, state: PulseState) -> float | None:
        taken = state.tops_taken
        if len(taken) < 4 or state.n - taken[-1] > self._samples(SILENT_S):
            return None
        gaps = sorted(after - before for before, after in pairwise(taken))
        middle = gaps[len(gaps) // 2]
        spread = gaps[-1 - len(gaps) // 4] - gaps[len(gaps) // 4]
        return None if spread > SPREAD_MAX * middle else 60.0 * self.fs_hz / middle
