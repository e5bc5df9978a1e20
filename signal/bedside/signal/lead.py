"""One ECG lead, from source samples to conditioned wave, beats and quality: the room's front door.

Fed block by block; calls `resample`, `filters`, `beats` and `quality`. No clock, file or socket.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from bedside.signal import character, overload, quality
from bedside.signal.beats import BeatFinder, BeatFrame, BeatState
from bedside.signal.character import Character, CharacterState
from bedside.signal.conditioning import HALF, Chain, Conditioned, condition, stacked
from bedside.signal.evidence import Hump
from bedside.signal.filters import Baseline, FirBank, lowpass_kernel, quadrature_kernels
from bedside.signal.gaps import GUARD, FillState, Marks, bridge, near, none_of
from bedside.signal.overload import OverloadState
from bedside.signal.quality import SECOND, WAVE, QualityState, Second, Verdict, judge_second
from bedside.signal.resample import INTERNAL_HZ, Floats, Resampler, ResampleState

__all__ = ["HALF", "INTERNAL_HZ", "LeadAnalyser", "LeadOutput", "LeadState", "QualitySecond", "RPeak"]

FRAME = 50  # internal samples that are judged together: 0.2 s
FRAMES_MAX = 10  # frames that are processed in one piece at most
PART_MAX = 4096  # source samples of which a part may be kept as it lies in memory
WARM = 25  # internal samples (0.1 s) at the start of a stream in which no beat is looked for
LIMIT_MV = 1e6  # no lead gives a kilovolt; what claims so is held there
LONG_GAP_S = 0.5  # a hole longer than this forgets the rhythm and levels the baseline anew
DELAY_S_MAX = 0.6  # from an R peak to its report
_NOTHING: Floats = np.zeros(0)


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
    characters: tuple[Character, ...] = ()  # what kind of lead it is, when that has become clear or has changed


class _Next(NamedTuple):
    """Source samples that complete whole frames."""

    mv: Floats
    n_frames: int


class _Chunk(NamedTuple):
    """Source samples, and what two filters took away, of frames that were processed together."""

    source: Floats
    fast: Floats
    wander: Floats

    def part(self, source_at: int, source_end: int, at: int, end: int) -> _Chunk:
        """What lies between these source samples, and these at 250 Hz."""
        return _Chunk(self.source[source_at:source_end], self.fast[at:end], self.wander[at:end])


@dataclass
class LeadState:
    """Memory of one lead: plain values and arrays that are never written to, so it copies and pickles."""

    pending: Floats  # source samples that do not fill a frame yet
    n_in: int  # source samples processed
    frame: int  # frames processed
    fill: FillState
    marks: Marks | None  # which of the resampler's tail were missing; None: none
    chain: Chain
    unseen: Marks | None  # (HALF + GUARD,) the newest internal samples: missing? None: none
    beats: BeatState
    second: tuple[_Chunk, ...]  # since the running second began
    usual_mv: float
    quality: QualityState
    overload: OverloadState
    character: CharacterState

    def fork(self) -> LeadState:
        """A copy that may go its own way."""
        other = object.__new__(LeadState)
        other.__dict__.update(self.__dict__)
        return other


class _Collected:
    """What the frames of one block give."""

    def __init__(self, first: int) -> None:
        self.first = first
        self.clean: list[Floats] = []
        self.raw: list[Floats] = []
        self.peaks: list[RPeak] = []
        self.retracted: list[int] = []
        self.quality: list[QualitySecond] = []
        self.characters: list[Character] = []


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
            chain=Chain(tail, np.zeros(HALF), self.baseline.initial(), self.bank.initial()),
            unseen=np.ones(HALF + GUARD, dtype=np.bool_),
            beats=self.finder.initial(),
            second=(),
            usual_mv=0.0,
            quality=quality.initial(),
            overload=OverloadState(),
            character=CharacterState(),
        )

    def step(self, state: LeadState, block_mv: NDArray[np.generic], together: int = 1) -> tuple[LeadState, LeadOutput]:
        """Take `n` >= 0 source samples, shape (n,), mV, NaN where missing; integers are taken as mV.

        Infinite values and those beyond 1 kV are held at ±1 kV (the second is then called saturated or in
        motion). The given state stays valid: two futures may start from it. `together`: samples wait until so
        many frames, counted from the stream's start, are complete; it changes when results come, not what they
        are. Raises `ValueError` naming `block_mv` when it is not one-dimensional or not real numbers, and naming
        `together` when that is less than one.
        """
        state, got = self._begun(state, block_mv, together)
        while (chunk := self._next(state, together)) is not None:
            self._frames(state, chunk, got)
        return state, self._output(state, got)

    def step_many(
        self, states: Sequence[LeadState], blocks_mv: Sequence[NDArray[np.generic]], together: int = 1
    ) -> tuple[list[LeadState], list[LeadOutput]]:
        """`step` for many leads of one rate at once: the same results, bit for bit, for less.

        Leads whose samples lie alike on the internal grid are conditioned in one call; a lead with samples missing
        goes alone. Raises `ValueError` naming `blocks_mv` when there are not as many as states, and as `step` does.
        """
        if len(states) != len(blocks_mv):
            raise ValueError(f"blocks_mv: expected {len(states)}, one for each state, got {len(blocks_mv)}")
        leads = [self._begun(state, block, together) for state, block in zip(states, blocks_mv, strict=True)]
        busy = leads
        while busy:
            alike: dict[tuple[int, int, int], list[tuple[LeadState, _Collected, Floats]]] = {}
            again = []
            for state, got in busy:
                if (chunk := self._next(state, together)) is None:
                    continue
                again.append((state, got))
                if _plain(state, chunk.mv):
                    grid = state.chain.resample.n_out * self.resampler.num - state.n_in * self.resampler.den
                    alike.setdefault((chunk.n_frames, chunk.mv.size, grid), []).append((state, got, chunk.mv))
                else:
                    self._frames(state, chunk, got)
            for (n_frames, _, _), group in alike.items():
                self._group(group, n_frames)
            busy = again
        return [state for state, _ in leads], [self._output(state, got) for state, got in leads]

    def _group(self, group: Sequence[tuple[LeadState, _Collected, Floats]], n_frames: int) -> None:
        """The same frames of several plain leads."""
        offsets = np.array([[state.fill.offset] for state, _, _ in group])
        filled = np.array([chunk for _, _, chunk in group]) - offsets
        chain, wave = self._condition(stacked([state.chain for state, _, _ in group]), filled, n_frames)
        for row, (state, got, chunk) in enumerate(group):
            resample = ResampleState(
                chain.resample.tail[row], state.n_in + chunk.size, (state.frame + n_frames) * FRAME
            )
            own = Chain(resample, chain.raw[row], chain.baseline[row], chain.fir[row])
            self._known(state, chunk, float(filled[row, -1]), own, Conditioned(*(part[row] for part in wave)), got)

    def _begun(self, state: LeadState, block_mv: NDArray[np.generic], together: int) -> tuple[LeadState, _Collected]:
        """A fork of the state that has taken the block, and nothing collected yet."""
        if together < 1:
            raise ValueError(f"together: expected at least 1 frame, got {together!r}")
        block = _checked(block_mv)
        state = state.fork()
        state.pending = np.concatenate((state.pending, block)) if state.pending.size else block.copy()
        return state, _Collected(max(0, state.frame * FRAME - HALF))

    def wanted(self, state: LeadState, together: int = 1) -> int:
        """How many source samples complete the next group of `together` frames: a block of so many fills one."""
        frame = (state.frame // together + 1) * together
        return self.resampler.input_end(frame * FRAME) - state.n_in - state.pending.size

    def _next(self, state: LeadState, together: int) -> _Next | None:
        """The pending samples of as many whole frames as there are, at most of two seconds; they pend no more."""
        n_frames = self.resampler.outputs(state.n_in + state.pending.size) // (FRAME * together) * together
        n_frames = min(n_frames - state.frame, FRAMES_MAX // together * together or together)
        if n_frames <= 0:
            return None
        end = self.resampler.input_end((state.frame + n_frames) * FRAME) - state.n_in
        chunk, rest = state.pending[:end], state.pending[end:]
        if state.pending.size > PART_MAX:  # a part of a long block would keep all of it
            chunk = chunk.copy()
            rest = rest.copy() if rest.size <= PART_MAX else rest
        state.pending = rest
        return _Next(chunk, n_frames)

    def _output(self, state: LeadState, got: _Collected) -> LeadOutput:
        settled = self._settled(state) if state.frame else 0
        peaks, retracted, quality = tuple(got.peaks), tuple(got.retracted), tuple(got.quality)
        characters = tuple(got.characters)
        return LeadOutput(
            _joined(got.clean), got.first, peaks, retracted, quality, settled, _joined(got.raw), characters
        )

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

    def _frames(self, state: LeadState, chunk: _Next, got: _Collected) -> None:
        """Process exactly the source samples that complete so many frames; replaces the state's fields."""
        if _plain(state, chunk.mv):
            filled = chunk.mv - state.fill.offset
            chain, wave = self._condition(state.chain, filled, chunk.n_frames)
            self._known(state, chunk.mv, float(filled[-1]), chain, wave, got)
            return
        source_mv = np.clip(chunk.mv, -LIMIT_MV, LIMIT_MV)
        start = 0
        for _ in range(chunk.n_frames):
            end = start + self.resampler.input_end((state.frame + 1) * FRAME) - state.n_in
            self._marred(state, source_mv[start:end], got)
            start = end

    def _known(
        self, state: LeadState, source_mv: Floats, held: float, chain: Chain, wave: Conditioned, got: _Collected
    ) -> None:
        """Take plain frames that were conditioned."""
        state.fill = FillState(held, 0, state.fill.offset, True)
        state.chain = chain
        self._look(state, source_mv, wave, got)
        got.clean.append(wave.clean)
        got.raw.append(wave.raw)

    def _condition(self, chain: Chain, filled: Floats, n_frames: int) -> tuple[Chain, Conditioned]:
        """Resample and filter, shape (..., n): one lead, or several at once, with the same bits."""
        return condition(self.resampler, self.baseline, self.bank, chain, filled, n_frames * FRAME)

    def _marred(self, state: LeadState, chunk: Floats, got: _Collected) -> None:
        """One frame of a lead that has, or had just now, samples missing; or that begins."""
        missing = np.isnan(chunk)
        state.fill, filled, gap_ended = bridge(state.fill, chunk, missing, round(LONG_GAP_S * self.fs_hz))
        resample = state.chain.resample
        marks = state.marks if state.marks is not None else np.zeros(resample.tail.size, dtype=np.bool_)
        unseen = np.zeros(FRAME, dtype=np.bool_)
        unseen[self.resampler.step_mask(marks, missing, resample, resample.n_out + FRAME)] = True
        state.marks = none_of(np.concatenate((marks, missing))[-marks.size :])
        state.chain, wave = self._condition(state.chain, filled, 1)
        before = state.unseen if state.unseen is not None else np.zeros(HALF + GUARD, dtype=np.bool_)
        known = np.concatenate((before, unseen))
        state.unseen = none_of(known[FRAME:])
        shown, raw = wave.clean, wave.raw
        if known.any():
            wave = wave._replace(envelope=np.where(near(known)[GUARD : GUARD + FRAME], 0.0, wave.envelope))
            hidden = known[GUARD : GUARD + FRAME]
            shown, raw = np.where(hidden, np.nan, shown), np.where(hidden, np.nan, raw)
        if state.frame == 0:  # filters have seen too little to tell a beat from the start itself
            wave.envelope[: HALF + WARM] = 0.0
            shown, raw = shown[HALF:], raw[HALF:]
        if gap_ended:
            state.beats = self.finder.forget_rhythm(state.beats)
        self._look(state, chunk, wave, got)
        got.clean.append(shown)
        got.raw.append(raw)

    def _look(self, state: LeadState, chunk: Floats, wave: Conditioned, got: _Collected) -> None:
        """Find beats in conditioned frames, and judge the seconds that they complete."""
        clean = np.concatenate((state.beats.wave, wave.clean))
        state.beats, frames = self.finder.frames(
            state.beats, wave.clean, wave.envelope, wave.slow, wave.clean.size // FRAME
        )
        new, before, source_at, at = _Chunk(chunk, wave.fast, wave.wander), state.n_in, 0, 0
        state.n_in += chunk.size
        for done, found in enumerate(frames, 1):
            for mark in found.retracted:
                got.retracted.append(self._peak(mark).index)
            for mark in found.beats:
                got.peaks.append(self._peak(mark))
            state.frame += 1
            if state.frame % (SECOND // FRAME) == 0:
                source_end, end = self.resampler.input_end(state.frame * FRAME) - before, done * FRAME
                parts = (*state.second, new.part(source_at, source_end, at, end))
                whole = _Chunk(*map(np.concatenate, zip(*parts, strict=True)))
                got.quality.append(self._second(state, whole, found, clean[end : WAVE + end], got.characters))
                state.second, source_at, at = (), source_end, end
        if at < wave.clean.size:
            state.second = (*state.second, new.part(source_at, chunk.size, at, wave.clean.size))

    def _second(
        self, state: LeadState, whole: _Chunk, found: BeatFrame, clean: Floats, characters: list[Character]
    ) -> QualitySecond:
        first = self.resampler.source_index(state.frame * FRAME - SECOND)
        end = self.resampler.source_index(state.frame * FRAME)
        latest = [(beat.r_at, beat.alike, beat.logit) for beat in found.latest]
        source, n = whole.source, state.frame * FRAME
        second = Second(source, state.usual_mv, whole.fast, whole.wander, found.swing_mv, clean, n, latest)
        state.quality, verdict = self._judged(state.quality, second)
        silent = not latest or latest[-1][0] - HALF < n - SECOND - FRAME
        state.overload, verdict = overload.judge(state.overload, verdict, source, silent)
        if verdict.usable:
            state.usual_mv = verdict.rest_mv
            amplitudes_mv = [beat.amplitude_mv for beat in found.latest]
            state.character, said = character.step(state.character, amplitudes_mv, found.swing_mv, verdict.noise)
            if said is not None:
                characters.append(said)
        return QualitySecond(first, end - first, verdict.usable, verdict.score, verdict.reason)

    def _judged(self, state: QualityState, second: Second) -> tuple[QualityState, Verdict]:
        return judge_second(state, second)

    def _peak(self, mark: Hump) -> RPeak:
        at = max(0, mark.r_at - HALF)
        return RPeak(self.resampler.source_index(at), at, mark.amplitude_mv, mark.confidence)


def _checked(block_mv: NDArray[np.generic]) -> Floats:
    array = np.asarray(block_mv)
    if array.ndim != 1:
        raise ValueError(f"block_mv: expected one dimension, got shape {array.shape}")
    if array.dtype == np.float64:
        return array  # type: ignore[return-value]
    if array.dtype.kind not in "fiu":
        raise ValueError(f"block_mv: expected real numbers, got {array.dtype}")
    if array.dtype.itemsize > 8:  # what a longer type holds may be too large
        array = np.clip(array, -LIMIT_MV, LIMIT_MV)
    return array.astype(np.float64)


def _plain(state: LeadState, chunk: Floats) -> bool:
    """Is nothing missing, wild or new, neither in the chunk nor in what the filters remember?"""
    fill = state.fill
    if state.marks is not None or state.unseen is not None or fill.n_missing or not fill.started:
        return False
    # NaN and infinity are not less
    return bool(np.maximum.reduce(chunk) < LIMIT_MV) and bool(np.minimum.reduce(chunk) > -LIMIT_MV)


def _joined(parts: list[Floats]) -> Floats:
    return parts[0] if len(parts) == 1 else np.concatenate(parts) if parts else _NOTHING
