"""The beat finder: humps of the QRS envelope, each judged once with a short look ahead.

Fed by `lead.py` with frames of envelopes and conditioned lead at 250 Hz; asks `evidence.py` for each hump;
knows nothing of source rates.
"""

from __future__ import annotations

import math
from copy import copy
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np

from bedside.signal.evidence import (
    BEATS_KEPT,
    CLOSE,
    OTHERS_KEPT,
    USUAL_SINCE,
    WEIGHTS,
    Hump,
    Other,
    Scene,
    Usual,
    evidence,
    logit,
    overdue_logit,
    usual_of,
)
from bedside.signal.resample import Floats

HISTORY = 500  # samples of envelopes and lead that are kept: 2 s
WAIT = 45  # samples (0.18 s) after a hump before it is judged: what follows may be larger
EDGE = 15  # samples (60 ms) on each side of the hump's top in which its R peak lies
_APART = 20  # samples (80 ms): two tops closer than that are one hump
_SHAPE = 24  # samples (96 ms) on each side of the top that make up a hump's shape
_FLOOR_SPAN = 375  # samples (1.5 s)
FLOOR_MV = 0.03  # an envelope below this is no beat: a QRS of about 0.1 mV
FLOOR_SHARE = 0.05  # nor one below this share of the usual beat


@dataclass
class BeatState:
    """Memory of one lead. Arrays and tuples are never written to, so a shallow copy is a fork."""

    n: int  # internal samples seen
    wave: Floats  # (HISTORY,) the conditioned lead, mV; newest last
    envelope: Floats  # (HISTORY,) mV
    slow: Floats  # (HISTORY,) mV
    pending: tuple[tuple[int, float], ...]  # humps not yet judged: index, height
    beats: tuple[Hump, ...]
    others: tuple[Other, ...]
    beat_shapes: Floats  # (OTHERS_KEPT, _SHAPE + 1), each of length 1; newest last
    other_shapes: Floats
    usual: Usual | None
    level: float  # what a QRS's envelope reaches, mV
    noise: float  # what other humps reach, mV
    polarity: float  # running sign of the R peaks, -1..1


class BeatOutput(NamedTuple):
    """What a frame brought, in internal samples."""

    beats: tuple[Hump, ...]
    retracted: tuple[Hump, ...]
    settled: int  # no beat will appear before this sample


class BeatFrame(NamedTuple):
    """What one of several frames brought, in internal samples, and what was known after it."""

    beats: tuple[Hump, ...]
    retracted: tuple[Hump, ...]
    swing_mv: float  # of the usual beat; 0 while unknown
    last: int  # R peak of the newest beat; -1: none


@dataclass(frozen=True)
class BeatFinder:
    """Judges every hump of the envelope once, `WAIT` samples after its top.

    Instead of one threshold that adapts, the odds of being a beat are weighed from some thirty measures
    relative to the last nine beats and eight other humps: height, slope, width, shape (correlation), place in
    the rhythm, what follows. A long pause lowers what is asked (the causal form of search-back). A beat
    may be withdrawn when a more certain one follows within 0.2 s. Ideas from Pan & Tompkins 1985,
    doi:10.1109/TBME.1985.325532 (running levels, T wave by slope) and Hamilton & Tompkins 1986,
    doi:10.1109/TBME.1986.325695 (medians); new here: the measures are weighed together by a fitted line.
    """

    weights: tuple[float, ...] = WEIGHTS

    def initial(self) -> BeatState:
        """State before the first sample."""
        empty, shapes = np.zeros(HISTORY), np.zeros((OTHERS_KEPT, _SHAPE + 1))
        return BeatState(0, empty, empty, empty, (), (), (), shapes, shapes, None, 0.0, 0.0, 0.0)

    def step(
        self, state: BeatState, wave_mv: Floats, envelope_mv: Floats, slow_mv: Floats
    ) -> tuple[BeatState, BeatOutput]:
        """Take one frame, shape (n,) each, 1 <= n <= 100; envelopes 0 where the lead was not seen."""
        n = wave_mv.size
        state = replace(
            state,
            n=state.n + n,
            wave=np.concatenate((state.wave[n:], wave_mv)),
            envelope=np.concatenate((state.envelope[n:], envelope_mv)),
            slow=np.concatenate((state.slow[n:], slow_mv)),
        )
        self._collect(state, n)
        found: list[Hump] = []
        retracted: list[Hump] = []
        while state.pending and state.pending[0][0] + WAIT < state.n:
            self._judge(state, found, retracted)
        return state, BeatOutput(tuple(found), tuple(retracted), self.settled(state))

    def frames(
        self, state: BeatState, wave_mv: Floats, envelope_mv: Floats, slow_mv: Floats, n_frames: int
    ) -> tuple[BeatState, list[BeatFrame]]:
        """Take `n_frames` frames of one length at once: what as many calls of `step` give, for less."""
        n = wave_mv.size // n_frames
        state = copy(state)
        wave = np.concatenate((state.wave, wave_mv))
        envelope = np.concatenate((state.envelope, envelope_mv))
        slow = np.concatenate((state.slow, slow_mv))
        rises = envelope[HISTORY - 1 :] > envelope[HISTORY - 2 : -1]
        tops = np.flatnonzero(rises[:-1] > rises[1:]).tolist()  # top i lies at HISTORY - 1 + i
        out, end = [], 0
        for _ in range(n_frames):
            end += n
            state.n += n
            due = bool(state.pending) and state.pending[0][0] + WAIT < state.n
            found: list[Hump] = []
            retracted: list[Hump] = []
            if due or (tops and tops[0] < end):
                state.wave, state.slow = wave[end : HISTORY + end], slow[end : HISTORY + end]
                state.envelope = envelope[end : HISTORY + end]
                if tops and tops[0] < end:
                    self._collect(state, n)
                    while tops and tops[0] < end:
                        tops.pop(0)
                while state.pending and state.pending[0][0] + WAIT < state.n:
                    self._judge(state, found, retracted)
            swing_mv = state.usual.swing if state.usual else 0.0
            last = state.beats[-1].r_at if state.beats else -1
            out.append(BeatFrame(tuple(found), tuple(retracted), swing_mv, last))
        state.wave, state.envelope, state.slow = wave[-HISTORY:], envelope[-HISTORY:], slow[-HISTORY:]
        return state, out

    def settled(self, state: BeatState) -> int:
        """No beat will appear before this sample any more."""
        undecided = state.pending[0][0] if state.pending else state.n - WAIT
        return max(0, min(undecided, state.n - WAIT) - EDGE)

    def forget_rhythm(self, state: BeatState) -> BeatState:
        """After a hole the time since the last beat means nothing; levels and shapes stay."""
        return replace(state, beats=(), usual=None)

    def _collect(self, state: BeatState, n_new: int) -> None:
        """Append the envelope's new local maxima to `pending`."""
        part = state.envelope[-n_new - 2 :]
        middle, floor = part[1:-1], max(FLOOR_MV, FLOOR_SHARE * state.level)
        # A top beside a sample that was not seen (0) is the edge of a hole.
        tops = np.flatnonzero((middle > part[:-2]) & (middle >= part[2:]) & (middle > floor) & (part[2:] > 0))
        first = state.n - n_new - 1
        pending = list(state.pending)
        for offset in tops.tolist():
            height = float(middle[offset])
            if pending and first + offset - pending[-1][0] < _APART:
                if height <= pending[-1][1]:
                    continue
                pending.pop()
            pending.append((first + offset, height))
        state.pending = tuple(pending)

    def _judge(self, state: BeatState, found: list[Hump], retracted: list[Hump]) -> None:
        (at, height), *rest = state.pending
        state.pending = tuple(rest)
        hump = self._measure(state, at, height)
        shape = self._shape(state, at)
        hump = hump._replace(logit=self.odds(hump, self._scene(state, shape, rest)))
        last = state.beats[-1] if state.beats else None
        if hump.logit > 0 and last is not None and min(at - last.at, hump.r_at - last.r_at) < CLOSE:
            if hump.logit > last.logit and abs(hump.r_at - last.r_at) > EDGE:  # closer: the same R peak again
                retracted.append(last)
                last_shape = state.beat_shapes[-1]
                state.beats = state.beats[:-1]
                state.usual = usual_of(state.beats)
                state.beat_shapes = np.concatenate((state.beat_shapes[:1], state.beat_shapes[:-1]))
                self._reject(state, last, last_shape)
            else:
                hump = hump._replace(logit=-hump.logit)
        if hump.logit > 0:
            found.append(hump)
            self._accept(state, hump, shape)
        else:
            self._reject(state, hump, shape)

    def odds(self, hump: Hump, scene: Scene) -> float:
        """ln(odds) that the hump is a beat; above 0 it is taken for one."""
        return logit(evidence(hump, scene), self.weights) + overdue_logit(hump, scene)

    def _scene(self, state: BeatState, shape: Floats, rest: list[tuple[int, float]]) -> Scene:
        return Scene(
            state.beats,
            state.others,
            state.usual,
            state.level,
            state.noise,
            float(np.add.reduce(state.envelope[-_FLOOR_SPAN:])) / _FLOOR_SPAN,
            float((state.beat_shapes @ shape).max()),
            (state.other_shapes @ shape).tolist(),
            rest,
        )

    def _accept(self, state: BeatState, hump: Hump, shape: Floats) -> None:
        state.beats = (*state.beats[1 - BEATS_KEPT :], hump)
        state.beat_shapes = np.concatenate((state.beat_shapes[1:], shape[None]))
        state.usual = usual_of(state.beats)
        heights = sorted(beat.height for beat in state.beats)
        middle = heights[len(heights) // 2]
        state.level = middle if len(heights) >= 3 or state.level == 0.0 else 0.5 * (state.level + middle)
        state.polarity += 0.2 * (math.copysign(1.0, hump.amplitude_mv) - state.polarity)

    def _reject(self, state: BeatState, hump: Hump, shape: Floats) -> None:
        state.others = (*state.others[1 - OTHERS_KEPT :], Other(hump.at, hump.height, hump.since))
        state.other_shapes = np.concatenate((state.other_shapes[1:], shape[None]))
        state.noise += 0.15 * (min(hump.height, state.level or hump.height) - state.noise)

    def _shape(self, state: BeatState, at: int) -> Floats:
        """The hump's wave at 125 Hz, without its mean, of length 1."""
        start = at - state.n + HISTORY - _SHAPE
        part = state.wave[start : start + 2 * _SHAPE + 1 : 2]
        part = part - float(np.add.reduce(part)) / part.size
        shape: Floats = part / math.sqrt(float(part @ part) + 1e-12)
        return shape

    def _measure(self, state: BeatState, at: int, height: float) -> Hump:
        """Measure a hump and find its R peak: the largest deflection, of the usual sign when it is close."""
        start = at - state.n + HISTORY - EDGE
        end = start + 2 * EDGE + 1
        part = state.wave[start:end]
        rest_mv = 0.5 * float(part[0] + part[-1])
        up, down = int(part.argmax()), int(part.argmin())
        up_mv, down_mv = float(part[up]) - rest_mv, rest_mv - float(part[down])
        upright = up_mv * (1.0 + 0.5 * state.polarity) >= down_mv * (1.0 - 0.5 * state.polarity)
        offset, amplitude_mv = (up, up_mv) if upright else (down, -down_mv)
        return Hump(
            at=at,
            height=height,
            r_at=at - EDGE + offset,
            amplitude_mv=amplitude_mv,
            steepness=float(np.abs(part[2:] - part[:-2]).max()),
            slow=float(state.slow[start:end].max()) / height,
            swing=up_mv + down_mv,
            width=float(np.count_nonzero(state.envelope[start - 10 : end + 10] > 0.5 * height)),
            since=min(at - state.beats[-1].at, 1000) if state.beats else USUAL_SINCE,
        )
