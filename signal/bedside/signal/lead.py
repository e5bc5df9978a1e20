"""One ECG lead, from source samples to conditioned wave, beats and quality: the room's front door.

Fed block by block; calls `resample`, `filters`, `beats` and `quality`. No clock, file or socket.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from bedside.signal.beats import BeatFinder, BeatOutput, BeatState
from bedside.signal.evidence import Hump
from bedside.signal.filters import Baseline, FirBank, lowpass_kernel, quadrature_kernels
from bedside.signal.quality import SECOND, Second, Verdict, judge_second
from bedside.signal.resample import INTERNAL_HZ, Floats, Resampler, ResampleState

__all__ = ["INTERNAL_HZ", "LeadAnalyser", "LeadOutput", "LeadState", "QualitySecond", "RPeak"]

FRAME = 50  # internal samples that are processed together: 0.2 s
HALF = 18  # delay of the FIR filters, internal samples: 72 ms
GUARD = 6  # internal samples (24 ms) beside a hole in which no beat is looked for
WARM = 25  # internal samples (0.1 s) at the start of a stream in which no beat is looked for
LIMIT_MV = 1e6  # no lead gives a kilovolt; what claims so is held there
LONG_GAP_S = 0.5  # a hole longer than this forgets the rhythm and levels the baseline anew
BLOCKED_S = 5  # seconds after a gross disturbance in which a silent lead is not believed: amplifiers recover slowly
DISTURBANCES = frozenset({"motion", "saturated", "lead_off"})
DELAY_S_MAX = 0.6  # from an R peak to its report


@dataclass(frozen=True, slots=True)
class RPeak:
    """A beat. `index` counts source samples since the stream began, `clean_index` internal ones."""

    index: int
    clean_index: int
    amplitude_mv: float  # signed, against the line between 60 ms before and after
    confidence: float  # 0.5..1


@dataclass(frozen=True, slots=True)
class QualitySecond:
    """One second of source samples, and whether anything may be read from it."""

    first_index: int
    n_samples: int
    usable: bool
    score: float  # 0..1
    reason: str | None  # lead_off flat saturated motion muscle mains missing


@dataclass(frozen=True, slots=True, eq=False)
class LeadOutput:
    """What a block brought. `clean_mv[i]` lies at `(clean_first + i) / 250` s after the first source sample.

    `raw_mv` is the same lead before the high-pass and the low-pass, less a constant that only a long hole changes:
    ST levels and the slow waves are read there, because a causal high-pass of 0.5 Hz bends them.

    `retracted` names peaks of earlier outputs or of this one: add `peaks` first, then take these away.
    """

    clean_mv: Floats  # float64 (m,), NaN where the lead was not seen
    clean_first: int
    peaks: tuple[RPeak, ...]
    retracted: tuple[int, ...]  # source indices
    quality: tuple[QualitySecond, ...]
    settled_index: int  # source index before which no new peak will appear
    raw_mv: Floats  # float64 (m,), beside `clean_mv` sample for sample, NaN where that is


class FillState(NamedTuple):
    """How missing samples are bridged: the value held, the run of missing ones, the offset taken away."""

    held: float
    n_missing: int
    offset: float
    started: bool


@dataclass
class LeadState:
    """Memory of one lead: plain values and arrays that are never written to, so it copies and pickles."""

    pending: Floats  # source samples that do not fill a frame yet
    n_in: int  # source samples processed
    frame: int  # frames processed
    fill: FillState
    marks: NDArray[np.bool_]  # which of the resampler's tail were missing
    resample: ResampleState
    baseline: Floats
    fir: Floats
    raw: Floats  # (HALF,) the newest internal samples before the high-pass
    unseen: NDArray[np.bool_]  # (HALF + GUARD,) the newest internal samples: missing?
    beats: BeatState
    second_raw: tuple[Floats, ...]  # source chunks since the running second began
    second_fast: tuple[Floats, ...]  # what the low-pass took away
    second_slow: tuple[Floats, ...]  # what the baseline filter took away
    usual_mv: float
    blocked_s: int  # seconds for which silence is not believed yet


class _Collected:
    """What the frames of one block give."""

    def __init__(self) -> None:
        self.clean: list[Floats] = []
        self.raw: list[Floats] = []
        self.peaks: list[RPeak] = []
        self.retracted: list[int] = []
        self.quality: list[QualitySecond] = []
        self.settled = 0


@dataclass(frozen=True, eq=False)
class LeadAnalyser:
    """Streaming analysis of one ECG lead of 100 to 1000 Hz.

    Samples gather into frames of 0.2 s of internal time (50 samples at 250 Hz), and only whole frames are
    processed: every result is the same, bit for bit, however the stream is cut. A beat is reported at most
    0.6 s of signal after its R peak. Memory is constant; cost grows with the number of samples alone.
    """

    fs_hz: float
    resampler: Resampler
    baseline: Baseline
    bank: FirBank
    finder: BeatFinder

    @classmethod
    def design(cls, fs_hz: float) -> Self:
        """Raises `ValueError` when `fs_hz` is not within 100..1000 Hz."""
        resampler = Resampler.design(fs_hz)
        quick = quadrature_kernels(HALF, centre_hz=11.0, sigma_s=0.020)  # narrow and normal QRS
        slow = quadrature_kernels(HALF, centre_hz=6.0, sigma_s=0.030)  # wide QRS, and T waves
        bank = FirBank.design(lowpass_kernel(HALF, 38.0), *quick, *slow)
        return cls(float(fs_hz), resampler, Baseline.design(), bank, BeatFinder())

    def initial(self) -> LeadState:
        """State before the first sample."""
        tail = self.resampler.initial()
        return LeadState(
            pending=np.zeros(0),
            n_in=0,
            frame=0,
            fill=FillState(0.0, 0, 0.0, False),
            marks=np.ones(tail.tail.size, dtype=np.bool_),
            resample=tail,
            baseline=self.baseline.initial(),
            fir=self.bank.initial(),
            raw=np.zeros(HALF),
            unseen=np.ones(HALF + GUARD, dtype=np.bool_),
            beats=self.finder.initial(),
            second_raw=(),
            second_fast=(),
            second_slow=(),
            usual_mv=0.0,
            blocked_s=0,
        )

    def step(self, state: LeadState, block_mv: NDArray[np.generic]) -> tuple[LeadState, LeadOutput]:
        """Take `n` >= 0 source samples, shape (n,), mV, NaN where missing; integers are taken as mV.

        Infinite values and those beyond 1 kV are held at ±1 kV (the second is then called saturated or in
        motion). The given state stays valid: two futures may start from it. Raises `ValueError` naming
        `block_mv` when it is not one-dimensional or not real numbers.
        """
        block = _checked(block_mv)
        state = replace(state, pending=np.concatenate((state.pending, block)))
        got = _Collected()
        first = max(0, state.frame * FRAME - HALF)
        pending, start = state.pending, 0
        while True:
            end = self.resampler.input_end((state.frame + 1) * FRAME) - state.n_in
            if start + end > pending.size:
                break
            self._frame(state, pending[start : start + end], got)
            start += end
        state.pending = pending[start:].copy()
        clean = np.concatenate(got.clean) if got.clean else np.zeros(0)
        raw = np.concatenate(got.raw) if got.raw else np.zeros(0)
        settled = self._settled(state) if state.frame else 0
        return state, LeadOutput(clean, first, tuple(got.peaks), tuple(got.retracted), tuple(got.quality), settled, raw)

    def finish(self, state: LeadState) -> LeadOutput:
        """What the last 0.6 s of a stream that has ended still hold: its last beats; no state goes on.

        `clean_mv` may run past the stream's end with NaN.
        """
        n_in = state.n_in + state.pending.size
        _, output = self.step(state, np.full(math.ceil(2 * DELAY_S_MAX * self.fs_hz), np.nan))
        quality = tuple(second for second in output.quality if second.first_index + second.n_samples <= n_in)
        return replace(output, quality=quality)

    def _settled(self, state: LeadState) -> int:
        return max(0, self.resampler.source_index(max(0, self.finder.settled(state.beats) - HALF)))

    def _frame(self, state: LeadState, chunk: Floats, got: _Collected) -> None:
        """Process exactly the source samples that complete one frame; replaces the state's fields."""
        missing = np.isnan(chunk)
        state.fill, filled, gap_ended = _bridge(state.fill, chunk, missing, round(LONG_GAP_S * self.fs_hz))
        first_out = state.resample.n_out
        unseen = np.zeros(FRAME, dtype=np.bool_)
        if missing.any() or state.marks.any():
            unseen[self.resampler.step_mask(state.marks, missing, state.resample, first_out + FRAME)] = True
        state.resample, inner = self.resampler.step(state.resample, filled, first_out + FRAME)
        state.marks = np.concatenate((state.marks, missing))[-state.marks.size :]
        state.baseline, level = self.baseline.step(state.baseline, inner)
        before = state.fir
        state.fir, (clean, even, odd, slow_even, slow_odd) = self.bank.step(before, level)
        fast = np.concatenate((before[HALF:], level))[:FRAME] - clean
        envelope = np.sqrt(even * even + odd * odd)
        slow = np.sqrt(slow_even * slow_even + slow_odd * slow_odd)
        known = np.concatenate((state.unseen, unseen))
        state.unseen = known[FRAME:]
        shown = clean
        joined = np.concatenate((state.raw, inner))
        raw, state.raw = joined[:FRAME], joined[FRAME:]
        if known.any():
            envelope = np.where(_near(known)[GUARD : GUARD + FRAME], 0.0, envelope)
            hidden = known[GUARD : GUARD + FRAME]
            shown, raw = np.where(hidden, np.nan, clean), np.where(hidden, np.nan, raw)
        if state.frame == 0:  # filters have seen too little to tell a beat from the start itself
            envelope[: HALF + WARM] = 0.0
        if gap_ended:
            state.beats = self.finder.forget_rhythm(state.beats)
        state.beats, beats = self.finder.step(state.beats, clean, envelope, slow)
        self._report(beats, got)
        got.clean.append(shown if state.frame else shown[HALF:])
        got.raw.append(raw if state.frame else raw[HALF:])
        state.frame += 1
        state.n_in += chunk.size
        self._seconds(state, chunk, fast, inner - level, got)

    def _report(self, beats: BeatOutput, got: _Collected) -> None:
        for mark in beats.retracted:
            got.retracted.append(self._peak(mark).index)
        got.peaks.extend(self._peak(mark) for mark in beats.beats)

    def _peak(self, mark: Hump) -> RPeak:
        at = max(0, mark.r_at - HALF)
        return RPeak(self.resampler.source_index(at), at, mark.amplitude_mv, mark.confidence)

    def _seconds(self, state: LeadState, chunk: Floats, fast: Floats, slow: Floats, got: _Collected) -> None:
        state.second_raw = (*state.second_raw, chunk)
        state.second_fast = (*state.second_fast, fast)
        state.second_slow = (*state.second_slow, slow)
        if len(state.second_raw) < SECOND // FRAME:
            return
        first = self.resampler.source_index(state.frame * FRAME - SECOND)
        end = self.resampler.source_index(state.frame * FRAME)
        source = np.concatenate(state.second_raw)
        beat_mv = state.beats.usual.swing if state.beats.usual else 0.0
        verdict = judge_second(
            Second(
                source, state.usual_mv, np.concatenate(state.second_fast), np.concatenate(state.second_slow), beat_mv
            )
        )
        verdict = self._recovering(state, verdict)
        if verdict.usable:
            state.usual_mv = float(np.nanmean(source))
        got.quality.append(QualitySecond(first, end - first, *verdict))
        state.second_raw = state.second_fast = state.second_slow = ()

    def _recovering(self, state: LeadState, verdict: Verdict) -> Verdict:
        """After a gross disturbance an overloaded amplifier shows a line without beats: no asystole, but motion."""
        if verdict.reason in DISTURBANCES:
            state.blocked_s = BLOCKED_S
        elif verdict.usable and state.blocked_s:
            beats = state.beats.beats
            if beats and beats[-1].r_at - HALF >= state.frame * FRAME - SECOND - FRAME:
                state.blocked_s = 0
            else:
                state.blocked_s -= 1
                return Verdict(False, min(verdict.score, 0.3), "motion")
        return verdict


def _checked(block_mv: NDArray[np.generic]) -> Floats:
    array = np.asarray(block_mv)
    if array.ndim != 1:
        raise ValueError(f"block_mv: expected one dimension, got shape {array.shape}")
    if array.dtype.kind not in "fiu":
        raise ValueError(f"block_mv: expected real numbers, got {array.dtype}")
    return np.clip(array.astype(np.float64), -LIMIT_MV, LIMIT_MV)


def _near(unseen: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Samples within `GUARD` of one that was not seen."""
    return np.convolve(unseen, np.ones(2 * GUARD + 1), "same") > 0.5


def _bridge(
    fill: FillState, chunk: Floats, missing: NDArray[np.bool_], long_gap: int
) -> tuple[FillState, Floats, bool]:
    """Give the chunk finite: holes by a straight line where their end is in sight, held where it is not.

    The first sample ever, and the first after a long hole, sets the offset so that the line goes on level:
    a constant of any size leaves no transient. Also tells whether a long hole ended.
    """
    if not missing.any() and fill.started and fill.n_missing < long_gap:
        filled = chunk - fill.offset
        return FillState(float(filled[-1]), 0, fill.offset, True), filled, False
    seen = np.flatnonzero(~missing)
    if seen.size == 0:
        n_missing = fill.n_missing + chunk.size
        return fill._replace(n_missing=n_missing), np.full(chunk.size, fill.held), False
    filled, offset, held, ended = np.empty(chunk.size), fill.offset, fill.held, False
    previous, run = -1, fill.n_missing
    for at in seen.tolist():
        gap = run + at - previous - 1
        run = 0
        if gap >= long_gap or not fill.started:
            offset, ended = float(chunk[at]) - held, fill.started
            fill = fill._replace(started=True)
        value = float(chunk[at]) - offset
        if at - previous > 1:
            filled[previous + 1 : at] = np.linspace(held, value, at - previous + 1)[1:-1]
        filled[at] = held = value
        previous = at
    filled[previous + 1 :] = held
    return FillState(held, chunk.size - 1 - previous, offset, True), filled, ended
