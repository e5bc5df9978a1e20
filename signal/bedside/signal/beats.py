"""The beat finder: humps of the QRS envelope, each judged once with a short look ahead.

Fed by `lead.py` with frames of envelopes and conditioned lead at 250 Hz; asks `evidence.py` for each hump;
knows nothing of source rates.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from bedside.signal.beat_weights import NET
from bedside.signal.evidence import (
    CLOSE,
    CONTEXT,
    SHAPE,
    SLOPES,
    VIEW,
    Hump,
    Memory,
    Net,
    Sight,
    Usual,
    accepted,
    asked_level,
    evidence,
    overdue_logit,
    rejected,
)
from bedside.signal.resample import Floats

HISTORY = 500  # samples of envelopes and lead that are kept: 2 s
WAIT = 45  # samples (0.18 s) after a hump before it is judged: what follows may be larger
EDGE = 15  # samples (60 ms) on each side of the hump's top in which its R peak lies
DOUBTED = 6.0  # a beat with less ln(odds) may still be taken back:
HORIZON = 110  # until a hump this long after it (0.44 s) is judged
MARGIN = 0.5  # by how much more likely (ln) the other reading must be
APART = 26  # samples (104 ms): two tops closer than that are one hump, as a wide beat may have them
_SHAPE = 24  # samples (96 ms) on each side of the top that make up a hump's shape
_BEFORE, _AFTER = 70, 46  # samples (280 and 184 ms) of its context
_FLOOR_SPAN = 375  # samples (1.5 s)
FLOOR_MV = 0.03  # an envelope below this is no beat: a QRS of about 0.1 mV
QRS_MIN_MV = 0.16  # peak to peak: IEC 60601-2-27 wants 0.15 mV not counted; the rest is what sampling may add
FLOOR_SHARE = 0.17  # nor one below this share of the usual beat, unless one is overdue


class Doubt(NamedTuple):
    """The other reading of the last beat: that it was none."""

    at: int
    memory: Memory
    stands: float  # ln(likelihood) of the reading that is told
    falls: float  # and of this one


@dataclass(slots=True)
class BeatState:
    """Memory of one lead. Arrays and tuples are never written to, so a shallow copy is a fork."""

    n: int  # internal samples seen
    wave: Floats  # (HISTORY,) the conditioned lead, mV; newest last
    envelope: Floats  # (HISTORY,) mV
    slow: Floats  # (HISTORY,) mV
    pending: tuple[tuple[int, float], ...]  # humps not yet judged: index, height
    memory: Memory
    doubt: Doubt | None

    @property
    def beats(self) -> tuple[Hump, ...]:
        """The last beats, newest last."""
        return self.memory.beats

    @property
    def usual(self) -> Usual | None:
        """What they were like."""
        return self.memory.usual


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
    latest: tuple[Hump, ...]  # the newest beats that stand, in order


@dataclass(frozen=True)
class BeatFinder:
    """Judges every hump of the envelope once, `WAIT` samples after its top.

    Instead of one threshold that adapts, the odds of being a beat are weighed from some fifty measures
    relative to the last nine beats and eight other humps: height, slope, width, shape and surroundings
    (correlation), place in the rhythm, what follows, and how noisy the lead is. A long pause lowers what is
    asked (the causal form of search-back). A beat that is not certain is remembered in two readings, as a beat
    and as none; the humps of the next 0.44 s are judged under both, and it is withdrawn when the second
    reading explains them better: so a P wave as tall as its QRS, or a QRS told from its T wave only by what
    came after. Ideas from Pan & Tompkins 1985, doi:10.1109/TBME.1985.325532 (running levels, T wave by slope)
    and Hamilton & Tompkins 1986, doi:10.1109/TBME.1986.325695 (medians); new here: the measures are weighed
    together by a fitted net, and two readings compete.
    """

    net: Net = NET
    apart: int = APART
    floor_share: float = FLOOR_SHARE
    least_mv: float = QRS_MIN_MV

    def initial(self) -> BeatState:
        """State before the first sample."""
        empty = np.zeros(HISTORY)
        return BeatState(0, empty, empty, empty, (), Memory.empty(), None)

    def step(
        self, state: BeatState, wave_mv: Floats, envelope_mv: Floats, slow_mv: Floats
    ) -> tuple[BeatState, BeatOutput]:
        """Take one frame, shape (n,) each, 1 <= n <= 100; envelopes 0 where the lead was not seen."""
        state, (frame,) = self.frames(state, wave_mv, envelope_mv, slow_mv, 1)
        return state, BeatOutput(frame.beats, frame.retracted, self.settled(state))

    def frames(
        self, state: BeatState, wave_mv: Floats, envelope_mv: Floats, slow_mv: Floats, n_frames: int
    ) -> tuple[BeatState, list[BeatFrame]]:
        """Take `n_frames` frames of one length at once: what as many calls of `step` give, for less."""
        n = wave_mv.size // n_frames
        wave = np.concatenate((state.wave, wave_mv))
        envelope = np.concatenate((state.envelope, envelope_mv))
        slow = np.concatenate((state.slow, slow_mv))
        state = BeatState(state.n, state.wave, state.envelope, state.slow, state.pending, state.memory, state.doubt)
        rises = envelope[HISTORY - 1 :] > envelope[HISTORY - 2 : -1]
        tops = (rises[:-1] > rises[1:]).nonzero()[0]  # top i lies at HISTORY - 1 + i
        heights, after = envelope[HISTORY - 1 + tops], envelope[HISTORY + tops]
        ahead = list(zip(tops.tolist(), heights.tolist(), after.tolist(), strict=True))[::-1]
        first = state.n - 1
        out, end = [], 0
        for _ in range(n_frames):
            end += n
            state.n += n
            if ahead and ahead[-1][0] < end:
                self._collect(state, first, end, ahead)
            found: list[Hump] = []
            retracted: list[Hump] = []
            if state.pending and state.pending[0][0] + WAIT < state.n:
                state.wave, state.slow = wave[end : HISTORY + end], slow[end : HISTORY + end]
                state.envelope = envelope[end : HISTORY + end]
                while state.pending and state.pending[0][0] + WAIT < state.n:
                    self._judge(state, found, retracted)
            swing_mv = state.usual.swing if state.usual else 0.0
            out.append(BeatFrame(tuple(found), tuple(retracted), swing_mv, state.beats))
        state.wave, state.envelope, state.slow = wave[-HISTORY:], envelope[-HISTORY:], slow[-HISTORY:]
        return state, out

    def settled(self, state: BeatState) -> int:
        """No beat will appear before this sample any more."""
        undecided = state.pending[0][0] if state.pending else state.n - WAIT
        return max(0, min(undecided, state.n - WAIT) - EDGE)

    def forget_rhythm(self, state: BeatState) -> BeatState:
        """After a hole the time since the last beat means nothing; levels and shapes stay."""
        memory = state.memory._replace(beats=(), rows=(), usual=None)
        return BeatState(state.n, state.wave, state.envelope, state.slow, state.pending, memory, None)

    def _collect(self, state: BeatState, first: int, end: int, tops: list[tuple[int, float, float]]) -> None:
        """Append the frame's local maxima of the envelope to `pending`; `tops` (newest first) counts from `first`."""
        floor = max(FLOOR_MV, self.floor_share * asked_level(first + tops[-1][0], state.memory))
        pending = list(state.pending)
        while tops and tops[-1][0] < end:
            offset, height, after = tops.pop()
            if height <= floor or after == 0.0:  # a top beside a sample that was not seen: a hole's edge
                continue
            if pending and first + offset - pending[-1][0] < self.apart:
                if height <= pending[-1][1]:
                    continue
                pending.pop()
            pending.append((first + offset, height))
        state.pending = tuple(pending)

    def _judge(self, state: BeatState, found: list[Hump], retracted: list[Hump]) -> None:
        sight = self._look(state)
        state.pending = state.pending[1:]
        memory, doubt = state.memory, state.doubt
        logit, yes, twin = self._read(sight, memory)
        if doubt is not None:
            if sight.hump.at - doubt.at > HORIZON:
                doubt = None
            else:
                other_logit, other_yes, _ = self._read(sight, doubt.memory)
                if twin:
                    other_yes = False  # the same R peak again: no reason to take back what was told
                doubt = doubt._replace(
                    stands=doubt.stands + _ln_odds_to_ln(logit if yes else -logit),
                    falls=doubt.falls + _ln_odds_to_ln(other_logit if other_yes else -other_logit),
                )
                if not (yes or other_yes):
                    doubt = doubt._replace(memory=rejected(doubt.memory, sight, other_logit))
                elif doubt.falls > doubt.stands + MARGIN:
                    retracted.append(memory.beats[-1])
                    memory, logit, yes, doubt = doubt.memory, other_logit, other_yes, None
                else:
                    doubt = None
        if yes:
            state.memory = accepted(memory, sight, logit)
            found.append(state.memory.beats[-1])
            if logit < DOUBTED:
                doubt = Doubt(
                    sight.hump.at, rejected(memory, sight, logit), _ln_odds_to_ln(logit), _ln_odds_to_ln(-logit)
                )
        else:
            state.memory = rejected(memory, sight, logit)
        state.doubt = doubt

    def _read(self, sight: Sight, memory: Memory) -> tuple[float, bool, bool]:
        """ln(odds) of a beat, the verdict, and whether it is the last beat's R peak again."""
        logit, hump = self.odds(sight, memory), sight.hump
        yes = logit > 0 and hump.swing > self.least_mv
        if not memory.beats:
            return logit, yes, False
        last = memory.beats[-1]
        twin = abs(hump.r_at - last.r_at) <= EDGE
        return logit, yes and min(hump.at - last.at, hump.r_at - last.r_at) >= CLOSE, twin

    def odds(self, sight: Sight, memory: Memory) -> float:
        """ln(odds) that the hump is a beat; above 0 it is taken for one."""
        return self.net.logit(evidence(sight, memory)) + overdue_logit(sight, memory)

    def _look(self, state: BeatState) -> Sight:
        """Measure the oldest pending hump and what is around it."""
        at, height = state.pending[0]
        middle = at - state.n + HISTORY
        view = (_VIEW @ state.wave[middle - _BEFORE : middle + _AFTER]).reshape(3, VIEW)
        view /= np.sqrt(np.add.reduce(view * view, 1, keepdims=True) + 1e-12)
        wave = state.wave[-_FLOOR_SPAN:]
        next_height, next_after = 0.0, CLOSE
        for later, one in state.pending[1:]:
            if later - at < CLOSE and one > next_height:
                next_height, next_after = one, later - at
        return Sight(
            self._measure(state, at, height, middle),
            view,
            float(np.add.reduce(state.envelope[-_FLOOR_SPAN:])) / _FLOOR_SPAN + 1e-9,
            float(np.add.reduce(state.slow[-_FLOOR_SPAN:])) / _FLOOR_SPAN,
            float(np.add.reduce(np.abs(wave[2:] - wave[:-2]))) / _FLOOR_SPAN,
            next_height,
            next_after,
        )

    def _measure(self, state: BeatState, at: int, height: float, middle: int) -> Hump:
        """Measure a hump and find its R peak: the largest deflection, of the usual sign when it is close."""
        start, end = middle - EDGE, middle + EDGE + 1
        part = state.wave[start:end]
        up, down = int(part.argmax()), int(part.argmin())
        rest_mv = 0.5 * float(part[0] + part[-1])
        up_mv, down_mv = float(part[up]) - rest_mv, rest_mv - float(part[down])
        polarity = state.memory.polarity
        upright = up_mv * (1.0 + 0.5 * polarity) >= down_mv * (1.0 - 0.5 * polarity)
        offset, amplitude_mv = (up, up_mv) if upright else (down, -down_mv)
        slope = part[2:] - part[:-2]
        return Hump(
            at,
            height,
            at - EDGE + offset,
            amplitude_mv,
            steepness=float(np.maximum.reduce(np.abs(slope))) + 1e-6,
            sharpness=float(np.maximum.reduce(np.abs(slope[4:] - slope[:-4]))) + 1e-6,
            slow=float(np.maximum.reduce(state.slow[start:end])) / height,
            swing=up_mv + down_mv + 1e-6,
            width=float(np.count_nonzero(state.envelope[start - 10 : end + 10] > 0.5 * height)),
        )


def _viewer() -> Floats:
    """(3 * VIEW, _BEFORE + _AFTER): what makes shape, surroundings and slopes of the wave around a top."""
    out = np.zeros((3, VIEW, _BEFORE + _AFTER))
    shape = range(_BEFORE - _SHAPE, _BEFORE + _SHAPE + 1, 2)
    out[0, range(SHAPE), shape] = 1.0
    out[0, :SHAPE, shape] -= 1.0 / SHAPE
    context = range(0, _BEFORE + _AFTER, 4)
    out[1, range(CONTEXT), context] = 1.0
    out[1, :CONTEXT, context] -= 1.0 / CONTEXT
    out[2, range(SLOPES), shape[1:]] = 1.0
    out[2, range(SLOPES), shape[:-1]] = -1.0
    return out.reshape(3 * VIEW, -1)


_VIEW = _viewer()


def _ln_odds_to_ln(logit: float) -> float:
    """ln of the probability that these ln(odds) stand for."""
    return -math.log1p(math.exp(-logit)) if logit > -30.0 else logit
