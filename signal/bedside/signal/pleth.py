"""Pulses of one pulse wave (photoplethysmogram or arterial pressure), and what may be believed of each second.

Fed by blocks of a wearable's PLETH or PRESSURE stream in any unit; knows nothing of the ECG, of oxygen or of time of
day. `pulse_shape.py` judges a pulse's form and `pulse_quality.py` a second; here pulses are found and all is tied.
"""

from __future__ import annotations

import copy
import math
from dataclasses import dataclass
from itertools import pairwise
from typing import NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from bedside.signal.pulse_quality import PulseSecond, SecondSeen, judge_pulse_second
from bedside.signal.pulse_shape import Form, Forms, FormState
from bedside.signal.resample import Floats

__all__ = ["Pulse", "PulseAnalyser", "PulseOutput", "PulseSecond", "PulseState"]

FS_HZ_MIN, FS_HZ_MAX = 20.0, 1000.0
INNER_HZ_MIN = 50.0  # faster waves are averaged down to between this and twice this: a pulse has nothing above 15 Hz
FRAME_S = 1.0  # all work is done once a second
HISTORY_S = 4.0
RISE_S = 0.13  # a pulse's upstroke lasts about this long
WAIT_S = 0.46  # after the upstroke before a pulse is judged: its peak and its fall lie within
FOOT_S = 0.3  # the foot lies within this before the steepest place
APART_S = 0.28  # two pulses lie no closer: 214 per minute
SHARE = 0.15  # of the usual upstroke is asked for (atrial fibrillation fills the heart unequally),
SHARE_EARLY = 0.6  # and more soon after a pulse, where a dicrotic wave may rise half as high:
EARLY_S = 0.36  # within it
STRONG = 0.62  # an upstroke of so much of the usual is a pulse; a weaker one may be an echo of the one before:
ECHO_PULSES = 5  # of the last so many strong pulses
ECHOED = 2  # so many were followed by a like one,
ECHO_S_MAX = 0.8  # within so long,
ECHO_S = 0.07  # as long after,
ECHO_RATIO = 1.7  # and as tall, up to this factor
ECHOES = 4  # echoes a pulse may have
OVERDUE_S = 1.5  # after so long without a pulse the share asked for halves each second,
SHARE_MIN = 0.05  # but not below this: an upstroke of a twentieth of the usual carries no blood worth the name
RISES = 8  # upstrokes whose upper quartile is the usual one
RATE_S = 10.0  # the rate is that of the pulses of the last so many seconds,
RATE_PULSES = 9  # of at most so many of them,
RATE_INTERVALS = 3  # and at least so many intervals between neighbours that are both believed
RATE_SHARE = 0.6  # and at least so many of its intervals,
SILENT_S = 3.0  # no rate after so long without a believed pulse
SPREAD_MAX = 0.6  # of the middle intervals, as a share: more is no rhythm but movement
LONG_GAP_S = 0.5
LIMIT = 1e9  # samples beyond it are held there
PERFUSION_PULSES = 5
LATELY = 4  # pulses among which one stranger is forgiven: two are movement, whatever the others look like


class Pulse(NamedTuple):
    """One pulse, in source samples; `height` in the stream's unit, from foot to peak.

    `believed`: its form is that of the pulses before it; a wave that goes up and down otherwise is no evidence of a
    heart that beats. `likeness`: correlation with the usual form, -1..1; 0 while none is known.
    """

    onset_index: int
    peak_index: int
    height: float
    believed: bool = True
    likeness: float = 0.0


class PulseOutput(NamedTuple):
    """What a block brought. `rate_bpm` None: no rate can be given now.

    `seconds`: one verdict for each second of the wave, in order, each known one second after its end.
    """

    pulses: tuple[Pulse, ...]
    rate_bpm: float | None
    settled_index: int  # no pulse whose upstroke lies before it will appear
    seconds: tuple[PulseSecond, ...] = ()


@dataclass
class PulseState:
    """Memory of one wave. Arrays are never written to, so a shallow copy is a fork. Indices count inner samples."""

    pending: Floats  # source samples
    n: int  # inner samples processed
    held: float
    n_missing: int  # run of missing inner samples
    offset: float
    started: bool
    tail: Floats  # the newest samples before smoothing
    wave: Floats  # smoothed, newest last
    rise: Floats  # sum of the upward steps over the last RISE_S
    tops: tuple[tuple[int, float], ...]  # upstrokes not yet judged
    rises: tuple[float, ...]  # of the last pulses
    tops_taken: tuple[int, ...]
    weak: tuple[
        tuple[tuple[float, float], ...], ...
    ]  # of each strong pulse: delay (s) and share of the weak ones after
    strong: tuple[int, float]  # the newest strong pulse: where, and its upstroke
    forms: FormState
    recent: tuple[tuple[float, float, bool], ...]  # foot, height, believed of the newest pulses
    seen: SecondSeen | None  # the second whose pulses are not all known yet
    rate_bpm: float | None  # at the end of the newest frame


@dataclass(frozen=True, eq=False)
class PulseAnalyser:
    """Slope-sum pulse finder with a running threshold: results do not depend on how the stream is cut.

    A pulse and its second's verdict are known at most 2 s after. Source: Zong et al. 2003,
    doi:10.1109/CIC.2003.1291140 (slope-sum function); here the threshold is a share of the upper quartile of the last
    eight upstrokes, the foot is where the tangent of the upstroke meets the level before it, and a pulse is believed by
    its form (Orphanidou et al. 2015, doi:10.1109/JBHI.2014.2338351: template matching).
    """

    fs_hz: float
    every: int  # source samples averaged to an inner one
    frame: int  # source samples in a frame
    smooth: int
    rise: int
    forms: Forms
    step_size: float  # smallest step of the converter, in the stream's unit; 0 where unknown
    has_dc: bool

    @classmethod
    def design(cls, fs_hz: float, *, step_size: float = 0.0, has_dc: bool = False) -> Self:
        """Raises `ValueError` when `fs_hz` is not within 20..1000 Hz, or `step_size` is negative or not finite.

        `has_dc`: the values are light, its constant part included, so that a perfusion index can be given.
        """
        if not FS_HZ_MIN <= fs_hz <= FS_HZ_MAX:
            raise ValueError(f"fs_hz: expected {FS_HZ_MIN:g} to {FS_HZ_MAX:g} Hz, got {fs_hz!r}")
        if not 0 <= step_size < math.inf:
            raise ValueError(f"step_size: expected 0 or more, got {step_size!r}")
        every = max(1, int(fs_hz / INNER_HZ_MIN))
        inner_hz = fs_hz / every
        smooth = 2 * int(0.02 * inner_hz) + 1
        return cls(
            float(fs_hz),
            every,
            every * round(FRAME_S * inner_hz),
            smooth,
            max(2, round(RISE_S * inner_hz)),
            Forms.design(inner_hz),
            float(step_size),
            has_dc,
        )

    @property
    def inner_hz(self) -> float:
        return self.fs_hz / self.every

    def initial(self) -> PulseState:
        """State before the first sample."""
        empty = np.zeros(round(HISTORY_S * self.inner_hz))
        return PulseState(
            pending=np.zeros(0),
            n=0,
            held=0.0,
            n_missing=0,
            offset=0.0,
            started=False,
            tail=np.zeros(self.smooth - 1),
            wave=empty,
            rise=empty,
            tops=(),
            rises=(),
            tops_taken=(),
            weak=(),
            strong=(0, 0.0),
            forms=self.forms.initial(),
            recent=(),
            seen=None,
            rate_bpm=None,
        )

    def step(self, state: PulseState, block: NDArray[np.generic]) -> tuple[PulseState, PulseOutput]:
        """Take `n` >= 0 samples, shape (n,), any unit, NaN where missing. The given state stays valid.

        Infinite values are held at 1e9. Raises `ValueError` naming `block` when it is not one-dimensional or not
        real numbers.
        """
        values = np.asarray(block)
        if values.ndim != 1 or values.dtype.kind not in "fiu":
            raise ValueError(f"block: expected real numbers in one dimension, got {values.dtype} of {values.shape}")
        pending = np.concatenate((state.pending, np.clip(values.astype(np.float64), -LIMIT, LIMIT)))
        state = copy.copy(state)  # arrays are never written to
        pulses: list[Pulse] = []
        seconds: list[PulseSecond] = []
        whole = pending.size // self.frame * self.frame
        for start in range(0, whole, self.frame):
            self._frame(state, pending[start : start + self.frame], pulses, seconds)
        state.pending = pending[whole:].copy()
        settled = state.tops[0][0] if state.tops else state.n - self._samples(WAIT_S)
        output = PulseOutput(tuple(pulses), state.rate_bpm, max(0, settled * self.every), tuple(seconds))
        return state, output

    def finish(self, state: PulseState) -> PulseOutput:
        """What the last two seconds of a stream that has ended still hold; no state goes on."""
        n_in = state.n * self.every + state.pending.size
        _, output = self.step(state, np.full(2 * self.frame, np.nan))
        seconds = tuple(one for one in output.seconds if one.first_index + one.n_samples <= n_in)
        return output._replace(seconds=seconds)

    def _samples(self, seconds: float) -> int:
        return round(seconds * self.inner_hz)

    def _source(self, inner: float) -> int:
        """The source sample at the middle of those averaged to an inner one."""
        return max(0, round(inner * self.every + 0.5 * (self.every - 1)))

    def _frame(self, state: PulseState, source: Floats, pulses: list[Pulse], seconds: list[PulseSecond]) -> None:
        chunk = source.reshape(-1, self.every).mean(axis=1) if self.every > 1 else source
        filled = self._fill(state, chunk)
        tail = state.wave.size
        raw = np.concatenate((state.tail, filled))
        state.tail = raw[filled.size :]
        smoothed = np.convolve(raw, np.full(self.smooth, 1.0 / self.smooth), "valid")
        wave = np.concatenate((state.wave, smoothed))
        steps = np.maximum(np.diff(wave[-filled.size - self.rise - 1 :]), 0.0)
        sums = np.cumsum(np.concatenate((np.zeros(1), steps)))
        rise = (sums[self.rise :] - sums[: -self.rise])[-filled.size :]
        rise = np.where(np.isnan(chunk), 0.0, rise)
        state.wave = wave[-tail:]
        state.rise = np.concatenate((state.rise, rise))[-tail:]
        state.n += chunk.size
        self._collect(state, chunk.size)
        found: list[Pulse] = []
        while state.tops and state.tops[0][0] + self._samples(WAIT_S) < state.n:
            self._judge(state, found)
        pulses += found
        state.rate_bpm = self._rate(state)
        self._second(state, source, chunk.size, seconds)

    # ------------------------------------------------------------------ holes

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
                    state.tops_taken, state.recent = (), ()
                state.started, state.n_missing, state.held = True, 0, value
            out[at] = state.held - state.offset
        return out

    # ------------------------------------------------------------------ pulses

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
        usual = sorted(state.rises)[3 * len(state.rises) // 4] if state.rises else height
        since_s = (at - state.tops_taken[-1]) / self.inner_hz if state.tops_taken else math.inf
        share = SHARE if state.tops_taken else 0.0
        if since_s > OVERDUE_S and state.tops_taken:
            share = max(SHARE_MIN, SHARE * 0.5 ** (since_s - OVERDUE_S))
        elif since_s < EARLY_S:
            share = SHARE_EARLY
        if height < STRONG * usual and self._echo(state, at, height):
            return
        if height < share * usual or height <= 0.0 or since_s < APART_S:
            return
        if height >= STRONG * usual:
            state.strong, state.weak = (at, height), (*state.weak[-ECHO_PULSES:], ())
        here = at - state.n + state.wave.size
        before = state.wave[max(0, here - self._samples(FOOT_S)) : here + 1]
        after = state.wave[here : here + self._samples(FOOT_S) + 1]
        onset, peak = int(before[::-1].argmin()), int(after.argmax())
        late = self.smooth // 2  # delay of the smoothing
        foot = at - onset + _tangent_foot(before[before.size - 1 - onset :])
        rise = float(after[peak] - before[before.size - 1 - onset])
        state.forms, form = self.forms.judge(state.forms, state.wave, foot - state.n + state.wave.size, rise)
        pulses.append(
            Pulse(
                self._source(foot - late),
                self._source(at + peak - late),
                rise,
                form is Form.USUAL,
                state.forms.likeness,
            )
        )
        state.rises = (*state.rises[1 - RISES :], height)
        state.tops_taken = (*state.tops_taken[-RISES:], at)
        oldest = state.n - self._samples(RATE_S + 2.0)
        kept = tuple(one for one in state.recent[-40:] if one[0] >= oldest)
        state.recent = (*kept, (foot - late, rise, form is Form.USUAL))

    def _echo(self, state: PulseState, at: int, height: float) -> bool:
        """Does a weak upstroke follow strong pulses so regularly that it belongs to them, as a dicrotic wave does?

        While few strong pulses are known, every weak one is taken for an echo.
        """
        if not state.weak:
            return True
        where, strong = state.strong
        delay_s, share = (at - where) / self.inner_hz, height / max(strong, 1e-300)
        if delay_s > ECHO_S_MAX:
            return False
        alike = [
            any(abs(d - delay_s) <= ECHO_S and 1 / ECHO_RATIO <= s / max(share, 1e-300) <= ECHO_RATIO for d, s in weak)
            for weak in state.weak[:-1]
        ]
        *before, newest = state.weak
        state.weak = (*before, (*newest, (delay_s, share))[:ECHOES])
        return sum(alike) >= ECHOED or len(before) < ECHO_PULSES

    def _interval_s(self, state: PulseState) -> float:
        """The usual interval between pulses; 0 until three are known."""
        gaps = sorted(after - before for before, after in pairwise(state.tops_taken))
        return gaps[len(gaps) // 2] / self.inner_hz if len(gaps) >= 3 else 0.0

    def _rate(self, state: PulseState) -> float | None:
        """From intervals between neighbours that are both believed: the mean without the longest and the shortest."""
        recent = [one for one in state.recent if one[0] >= state.n - RATE_S * self.inner_hz][-RATE_PULSES:]
        if not recent or not recent[-1][2] or state.n - recent[-1][0] > SILENT_S * self.inner_hz:
            return None
        gaps = sorted(after[0] - before[0] for before, after in pairwise(recent) if before[2] and after[2])
        if len(gaps) < max(RATE_INTERVALS, RATE_SHARE * (len(recent) - 1)):
            return None
        spread = gaps[-1 - len(gaps) // 4] - gaps[len(gaps) // 4]
        if spread > SPREAD_MAX * gaps[len(gaps) // 2]:
            return None
        middle = gaps[1:-1] if len(gaps) >= 5 else gaps
        return 60.0 * self.inner_hz * len(middle) / sum(middle)

    # ------------------------------------------------------------------ seconds

    def _second(self, state: PulseState, source: Floats, n_inner: int, seconds: list[PulseSecond]) -> None:
        """Judge the second before: all its pulses are known now. The newest one waits for its own."""
        if state.seen is not None:
            first = state.seen.first
            believed = [foot for foot, _, good in state.recent if good and foot < first + n_inner]
            inside = [good for foot, _, good in state.recent if first <= foot < first + n_inner]
            lately = [good for foot, _, good in state.recent if foot < first + n_inner][-LATELY:]
            interval_s = self._interval_s(state)
            heights = sorted(height for _, height, good in state.recent[-PERFUSION_PULSES:] if good)
            verdict = judge_pulse_second(
                state.seen,
                inside,
                strangers=lately.count(False),
                usual=state.forms.height,
                since_s=(first + n_inner - believed[-1]) / self.inner_hz if believed else math.inf,
                interval_s=interval_s,
                step_size=self.step_size,
            )
            perfusion = None
            if self.has_dc and verdict.usable and heights and state.seen.mean > 0:
                perfusion = 100.0 * heights[len(heights) // 2] / state.seen.mean
            seconds.append(
                PulseSecond(
                    first_index=first * self.every,
                    n_samples=n_inner * self.every,
                    usable=verdict.usable,
                    score=verdict.score,
                    reason=verdict.reason,
                    pulses=sum(inside) if verdict.usable else 0,
                    newest_index=self._source(believed[-1]) if believed else None,
                    rate_bpm=state.rate_bpm if verdict.usable else None,
                    perfusion_pct=perfusion,
                )
            )
        state.seen = SecondSeen.of(source, state.n - n_inner)


def _tangent_foot(upstroke: Floats) -> float:
    """Samples after its lowest point at which the steepest tangent of an upstroke meets that point's level."""
    if upstroke.size < 3:
        return 0.0
    steps = np.diff(upstroke)
    steep = int(steps.argmax())
    if steps[steep] <= 0.0:
        return 0.0
    meets = steep + 0.5 - (0.5 * (upstroke[steep] + upstroke[steep + 1]) - upstroke[0]) / steps[steep]
    return float(min(max(meets, 0.0), upstroke.size - 1.0))
