"""The beat finder: candidates on the QRS envelope, each judged once with a short look ahead.

Fed by `lead.py` with frames of envelope and conditioned lead at 250 Hz; knows nothing of source rates.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np

from bedside.signal.resample import Floats

HISTORY = 500  # samples of envelope and lead that are kept: 2 s
WAIT = 45  # samples after a candidate before it is judged: 0.18 s
_EDGE = 15  # samples (60 ms) around the envelope's top in which the R peak lies
_REFRACTORY = 50  # 0.2 s
_T_WAVE = 90  # 0.36 s: within it a low, slow candidate is taken for a T wave


class Mark(NamedTuple):
    """A judged candidate: where its envelope tops, how high, where its R peak is."""

    at: int
    height: float
    r_at: int
    amplitude_mv: float
    steepness: float
    confidence: float


@dataclass
class BeatState:
    """Memory of one lead. Copied by `BeatFinder.step`, never shared."""

    n: int  # internal samples seen
    wave: Floats  # (HISTORY,) the conditioned lead, mV; newest last
    envelope: Floats  # (HISTORY,) mV
    pending: tuple[tuple[int, float], ...]  # candidates not yet judged: index, height
    beats: tuple[Mark, ...]  # the newest accepted, at most 9
    level: float  # what a QRS's envelope reaches, mV
    noise: float  # what the largest other humps reach, mV
    polarity: float  # running sign of the R peaks, -1..1


class BeatOutput(NamedTuple):
    """What a frame brought, in internal samples."""

    beats: tuple[Mark, ...]
    retracted: tuple[Mark, ...]
    settled: int  # no beat will appear before this sample


@dataclass(frozen=True)
class BeatFinder:
    """Adaptive thresholds between the running height of QRS humps and of all others.

    Every candidate (a local maximum of the envelope) is judged once, `WAIT` samples later. Sources of the
    ideas: Pan & Tompkins 1985, doi:10.1109/TBME.1985.325532 (running levels, T wave by slope);
    Hamilton & Tompkins 1986, doi:10.1109/TBME.1986.325695 (medians).
    """

    floor_mv: float = 0.03  # an envelope below this is no beat: 0.15 mV QRS

    def initial(self) -> BeatState:
        """State before the first sample."""
        empty = np.zeros(HISTORY)
        return BeatState(0, empty, empty, (), (), 0.0, 0.0, 0.0)

    def step(self, state: BeatState, wave_mv: Floats, envelope_mv: Floats) -> tuple[BeatState, BeatOutput]:
        """Take one frame, shape (n,) each, 1 <= n <= 100; envelope 0 where the lead was not seen."""
        state = replace(
            state,
            n=state.n + wave_mv.size,
            wave=np.concatenate((state.wave[wave_mv.size :], wave_mv)),
            envelope=np.concatenate((state.envelope[wave_mv.size :], envelope_mv)),
        )
        self._collect(state, wave_mv.size)
        found: list[Mark] = []
        retracted: list[Mark] = []
        while state.pending and state.pending[0][0] + WAIT < state.n:
            self._judge(state, found, retracted)
        return state, BeatOutput(tuple(found), tuple(retracted), self.settled(state))

    def settled(self, state: BeatState) -> int:
        """No beat will appear before this sample any more."""
        undecided = state.pending[0][0] if state.pending else state.n - WAIT
        return max(0, min(undecided, state.n - WAIT) - _EDGE)

    def forget_rhythm(self, state: BeatState) -> BeatState:
        """After a hole the time since the last beat means nothing; levels stay."""
        return replace(state, beats=())

    def _collect(self, state: BeatState, n_new: int) -> None:
        """Append the envelope's new local maxima to `pending`."""
        part = state.envelope[-n_new - 2 :]
        middle = part[1:-1]
        tops = np.flatnonzero((middle > part[:-2]) & (middle >= part[2:]) & (middle > self.floor_mv) & (part[2:] > 0))
        first = state.n - n_new - 1
        pending = list(state.pending)
        for at in tops.tolist():
            height = float(middle[at])
            if pending and first + at - pending[-1][0] < 20:  # 80 ms: one hump in two tops
                if height <= pending[-1][1]:
                    continue
                pending.pop()
            pending.append((first + at, height))
        state.pending = tuple(pending)

    def _judge(self, state: BeatState, found: list[Mark], retracted: list[Mark]) -> None:
        (at, height), *rest = state.pending
        state.pending = tuple(rest)
        mark = self._locate(state, at, height)
        confidence = self._confidence(state, mark, rest)
        if confidence < 0.5:
            state.noise += 0.1 * (min(height, state.level or height) - state.noise)
            return
        mark = mark._replace(confidence=confidence)
        if state.beats and at - state.beats[-1].at < _REFRACTORY:
            retracted.append(state.beats[-1])
            state.beats = state.beats[:-1]
        found.append(mark)
        state.beats = (*state.beats[-8:], mark)
        heights = sorted(beat.height for beat in state.beats)
        middle = heights[len(heights) // 2]
        state.level = middle if len(heights) >= 3 or state.level == 0.0 else 0.5 * (state.level + middle)
        state.polarity += 0.2 * (float(np.sign(mark.amplitude_mv)) - state.polarity)

    def _confidence(self, state: BeatState, mark: Mark, rest: list[tuple[int, float]]) -> float:
        """How surely the candidate is a beat, 0..1; 0.5 is the line."""
        at, height = mark.at, mark.height
        level = state.level or height
        last = state.beats[-1] if state.beats else None
        if last is None:
            share = 0.4
        else:
            since = at - last.at
            if since < _REFRACTORY and (height < 2.0 * last.height or last.confidence > 0.8):
                return 0.0
            gaps = sorted(b.at - a.at for a, b in zip(state.beats, state.beats[1:], strict=False))
            usual = gaps[len(gaps) // 2] if gaps else 200
            phase = since / min(max(usual, 75), 400)
            share = 0.5 if phase < 0.5 else 0.35 if phase < 0.9 else 0.22 if phase < 1.4 else 0.12
            if since < _T_WAVE and mark.steepness < 0.5 * last.steepness:
                return 0.1
        for later, other in rest:
            if later - at < _REFRACTORY and other > 1.5 * height:
                return 0.1
        quiet = min(state.noise, 0.8 * level)
        line = quiet + share * max(level - quiet, 0.0)
        return 0.5 * min(2.0, height / max(line, 1e-9))

    def _locate(self, state: BeatState, at: int, height: float) -> Mark:
        """Find the R peak near the envelope's top: the largest deflection, of the usual sign when it is close."""
        start = at - state.n + HISTORY - _EDGE
        part = state.wave[start : start + 2 * _EDGE + 1]
        rest_mv = 0.5 * float(part[0] + part[-1])
        up, down = int(part.argmax()), int(part.argmin())
        up_mv, down_mv = float(part[up]) - rest_mv, rest_mv - float(part[down])
        upright = up_mv * (1.0 + 0.5 * state.polarity) >= down_mv * (1.0 - 0.5 * state.polarity)
        steepness = float(np.abs(part[2:] - part[:-2]).max())
        offset, amplitude_mv = (up, up_mv) if upright else (down, -down_mv)
        return Mark(at, height, at - _EDGE + offset, amplitude_mv, steepness, 0.0)
