"""P, QRS and T of every beat, and what is measured on them, from a running mean of the patient's own beats.

Fed with the raw lead, R peaks and verdicts of `lead.py`, some frames at a time; no clock, file or socket. A beat waits
until its T wave, its neighbour and the quality of its seconds are known, at most 2 s, so results do not depend on how
the stream was cut. Each beat is compared with two running means (the usual one, and one for what comes beside it, as
ventricular beats do). The network reads a mean often while it is young and every 15 s later; a beat that is like a
mean has that mean's marks, checked for its own P wave. A beat like neither is read alone, as long as that is rare.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from typing import NamedTuple, Self

import numpy as np

from bedside.signal.intervals import Corrected, Measures, corrected
from bedside.signal.marks import NOTHING, Reading, read
from bedside.signal.resample import INTERNAL_HZ, Floats
from bedside.signal.waves import AFTER, BEFORE, MARGIN, WINDOW, Network

SHIFT = 2  # internal samples that R may lie beside where the mean has it
LEFT, RIGHT = BEFORE + MARGIN + SHIFT, AFTER + MARGIN + SHIFT
CORE = slice(BEFORE + MARGIN - 30, BEFORE + MARGIN + 90)  # what is compared: 120 ms before R to 360 ms after
JUDGED_BEFORE, JUDGED_AFTER = 75, 125  # the part of a beat that must be seen and believed: 300 and 500 ms
LATER_PEAK = 62  # a peak may be taken back until 0.25 s of peaks behind it are settled
ALIKE = 0.90  # correlation from which a beat counts as like a mean
HEIGHTS = (0.6, 1.67)  # of a beat against the mean
YOUNG = 8  # beats until which a mean is read anew with each
MEMORY = 16  # beats over which a mean forgets
READ_EVERY = 3750  # internal samples (15 s) between readings of a grown mean
ALONE_EVERY, ALONE_MAX = 2500, 8  # one beat in 10 s may be read alone, eight at once
TURNED = 6  # beats in a row that are like the other mean and not the usual one: then it is the usual one
SUMMARY_EVERY = 2500
KEPT = 60  # beats that a summary may look back on
HELD_MAX = 5000  # internal samples: a beat whose quality is not known after 20 s is not waited for any longer
UNJUDGED_MAX = 500  # how far the verdicts may lie behind a beat at a stream's end
TRIM_EVERY = 1250
FEW, LEARNT = 3, 4  # usual beats that a summary needs in 10 s, and in all
NOISE_MAX_MV = 0.05  # rms of what noise is left in the mean
WIDE_S = 0.16  # a QRS this wide without a P wave may be ventricular: nothing but its width is said
P_MISSED = 0.25  # likelihood under which this beat has no P wave although the mean has one
RR_S = (0.25, 2.5)
DELAY_S_MAX = 2.0
NEVER = -(1 << 62)


class Neighbours(NamedTuple):
    """The R peaks before and after, internal samples from this one; None where not near."""

    before: int | None
    after: int | None


class JudgedSecond(NamedTuple):
    """`[first, end)` in internal samples, and whether anything may be read from it."""

    first: int
    end: int
    usable: bool


@dataclass(frozen=True, slots=True, eq=False)
class WaveInput:
    """What is new. `settled`: no peak before it is still to come. `retracted`: peaks that are none."""

    raw_mv: Floats  # internal samples, NaN where not seen
    first: int
    peaks: tuple[int, ...]  # internal samples
    settled: int
    seconds: tuple[JudgedSecond, ...] = ()
    retracted: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class BeatWaves:
    """One beat, R at internal sample `at`; `reading` counts from `origin`, where the mean has its R.

    `reason`: why nothing is measured on it: `missing`, `rejected` (by the quality of its seconds), `low` (a QRS too
    small to see waves beside it), `unlike` (like no mean, and too many such to read each). `usual`: like the
    patient's own mean; measures of other beats say nothing about the patient's conduction or ST.
    """

    at: int
    origin: int
    usual: bool
    match: float | None  # correlation with the usual mean, 0 to 1
    p_likelihood: float | None  # 0 to 1
    reading: Reading
    reason: str | None = None

    @property
    def marks(self) -> Reading:
        """The marks in internal samples since the stream began."""
        return self.reading.moved(self.origin)

    @property
    def confidence(self) -> float:
        """Of the marks as a whole, 0 to 1: the network's share of votes, times likeness where a mean was read."""
        found = [one.share for one in (self.reading.p, self.reading.qrs, self.reading.t) if one is not None]
        return (
            sum(found) / len(found) * (self.match if self.usual and self.match is not None else 1.0) if found else 0.0
        )


@dataclass(frozen=True, slots=True)
class WaveSummary:
    """What the usual beats of the last 10 s say. `measures` are of the running mean; None: cannot be judged."""

    at: int
    n_beats: int  # usual ones in the window
    reason: str | None  # why nothing is given: too_few_beats learning unlike rejected low
    measures: Measures
    qtc: Corrected | None
    st_change_mv: float | None  # ST80 against the patient's own reference
    p_share: float | None  # of the usual beats that have a P wave, of those in which it could be judged
    noise_mv: float | None  # rms of a single beat against the mean


@dataclass(frozen=True, slots=True)
class WaveOutput:
    """Beats in order of their R peaks; summaries one in 10 s."""

    beats: tuple[BeatWaves, ...] = ()
    summaries: tuple[WaveSummary, ...] = ()


@dataclass(frozen=True, slots=True, eq=False)
class Mean:
    """A running mean of aligned beats, and what the network read on it."""

    wave_mv: Floats  # (WINDOW + 2 * MARGIN,)
    core: Floats  # its CORE, centred
    size: float  # Euclidean norm of `core`
    n: int
    noise_mv: float  # rms of single beats against it, within CORE
    reading: Reading = NOTHING
    read_at: int = NEVER
    p_filter: Floats | None = None  # its inner product with a beat's stretch: how much of the P wave is there
    p_first: int = 0  # where that begins in a window


@dataclass(slots=True, eq=False)
class WaveState:
    """Memory: plain values and arrays that are never written to, so it copies and pickles."""

    chunks: tuple[Floats, ...] = ()
    first: int = 0  # index of the first sample of `chunks`
    end: int = 0
    pending: tuple[int, ...] = ()
    settled: int = 0
    judged_to: int = 0
    rejected: tuple[tuple[int, int], ...] = ()
    before: int | None = None  # the R peak before
    usual: Mean | None = None
    other: Mean | None = None
    turning: int = 0
    rr_s: float | None = None  # running mean
    allowance: float = float(ALONE_MAX)
    kept: tuple[tuple[int, bool, bool | None, str | None], ...] = ()  # at, usual, P seen, reason
    reference_st_mv: float | None = None
    summed_to: int = 0

    def forked(self) -> WaveState:
        """A state of its own that shares the values: what moves on is the copy."""
        return WaveState(
            self.chunks,
            self.first,
            self.end,
            self.pending,
            self.settled,
            self.judged_to,
            self.rejected,
            self.before,
            self.usual,
            self.other,
            self.turning,
            self.rr_s,
            self.allowance,
            self.kept,
            self.reference_st_mv,
            self.summed_to,
        )


@dataclass(frozen=True, eq=False)
class Delineator:
    """Streaming and causal: `step(state, new) -> (state, out)`; memory is constant, cost grows with beats alone."""

    network: Network = field(default_factory=Network.shipped)

    @classmethod
    def design(cls) -> Self:
        """With the weights that come with Bedside."""
        return cls()

    def initial(self) -> WaveState:
        """State before the first sample."""
        return WaveState()

    def step(self, state: WaveState, new: WaveInput) -> tuple[WaveState, WaveOutput]:
        """Take what is new, in order and without holes in `raw_mv`; give the beats that it completes.

        Raises `ValueError` naming `first` when `raw_mv` does not go on where the last one ended.
        """
        if new.first != state.end and state.chunks:
            raise ValueError(f"first: expected {state.end}, got {new.first}")
        state = state.forked()
        if not state.chunks:
            state.first = state.summed_to = new.first
        state.chunks = (*state.chunks, new.raw_mv)
        state.end = new.first + new.raw_mv.size
        state.pending = (*state.pending, *new.peaks)
        if new.retracted:
            state.pending = tuple(at for at in state.pending if at not in new.retracted)
        if new.seconds:
            state.rejected += tuple((one.first, one.end) for one in new.seconds if not one.usable)
            state.judged_to = new.seconds[-1].end
        state.settled = max(state.settled, new.settled)
        ready = min(state.end - RIGHT, state.settled - AFTER - LATER_PEAK, state.judged_to - JUDGED_AFTER)
        ready = max(ready, state.end - HELD_MAX)
        out = self._advance(state, ready)
        _trim(state, ready)
        return state, out

    def finish(self, state: WaveState) -> WaveOutput:
        """The beats that a stream which has ended still holds, as far as their samples were seen."""
        return self._advance(state.forked(), state.end)

    def _advance(self, state: WaveState, ready: int) -> WaveOutput:
        """Everything about the beats up to `ready`, and the summaries that fall due on the way; moves `state` on."""
        due = sum(1 for at in state.pending if at <= ready)
        beats: list[BeatWaves] = []
        summaries: list[WaveSummary] = []
        if due:
            whole = np.concatenate(state.chunks)
            for k in range(due):
                at = state.pending[k]
                _sum_up(state, at, summaries)
                after = state.pending[k + 1] if k + 1 < len(state.pending) else None
                beats.append(self._beat(state, whole, at, after))
            state.pending, state.chunks = state.pending[due:], (whole,)
        _sum_up(state, ready, summaries)
        return WaveOutput(tuple(beats), tuple(summaries))

    # One beat

    def _beat(self, state: WaveState, whole: Floats, at: int, after: int | None) -> BeatWaves:
        before, state.before = state.before, at
        unjudged = at - state.judged_to > UNJUDGED_MAX
        if unjudged or any(first < at + JUDGED_AFTER and end > at - JUDGED_BEFORE for first, end in state.rejected):
            return _silent(state, at, "rejected")
        window = _window(whole, at - state.first)
        if window is None:
            return _silent(state, at, "missing")
        near = Neighbours(
            before - at if before is not None and at - before < BEFORE else None,
            after - at if after is not None and after - at < AFTER else None,
        )
        if before is not None and RR_S[0] <= (rr_s := (at - before) / INTERNAL_HZ) <= RR_S[1]:
            state.rr_s = rr_s if state.rr_s is None else state.rr_s + 0.2 * (rr_s - state.rr_s)
        if state.usual is None:
            state.usual = self._read(_started(window), at, near)
            return _spoken(state, at, True, 1.0, None, state.usual.reading, 0)
        match, shift, alike = _likeness(window, state.usual)
        if not alike:
            return self._unlike(state, window, at, match, near)
        state.turning = 0
        mean = _taken(state.usual, window, shift)
        if mean.n <= YOUNG or at - mean.read_at >= READ_EVERY:
            mean = self._read(mean, at, near)
        state.usual = mean
        return _like(state, mean, window, shift, at, match, usual=True)

    def _unlike(self, state: WaveState, window: Floats, at: int, match: float, near: Neighbours) -> BeatWaves:
        """A beat that is not like the usual ones: like the last of its kind, or read alone."""
        other = state.other
        _, shift, alike = _likeness(window, other) if other is not None else (0.0, 0, False)
        if other is None or not alike:
            state.turning, state.other = 0, self._afforded(state, _started(window), at, near)
            reason = None if state.other.read_at == at else "unlike"
            return _spoken(state, at, False, match, None, state.other.reading, 0, reason)
        state.turning += 1
        other = _taken(other, window, shift)
        if other.n <= YOUNG or at - other.read_at >= READ_EVERY:
            other = self._afforded(state, other, at, near)
        state.other = other
        usual = state.usual is None or state.turning >= TURNED or state.usual.n < 3 <= other.n
        if usual:
            state.usual, state.other, state.turning, state.reference_st_mv = other, state.usual, 0, None
        return _like(state, other, window, shift, at, match, usual)

    def _afforded(self, state: WaveState, mean: Mean, at: int, near: Neighbours) -> Mean:
        """Read the mean if not too many were read of late."""
        if state.allowance < 1.0:
            return mean
        state.allowance -= 1.0
        return self._read(mean, at, near)

    def _read(self, mean: Mean, at: int, near: Neighbours) -> Mean:
        left_mv = mean.noise_mv / math.sqrt(min(mean.n, MEMORY))
        reading = read(mean.wave_mv, near.before, near.after, left_mv, self.network)
        p_filter, p_first = None, 0
        if reading.p is not None:
            p_first = max(round(reading.p.on) + BEFORE + MARGIN - 2, 0)
            p_filter = _p_filter(mean.wave_mv[p_first : round(reading.p.off) + BEFORE + MARGIN + 3])
        return replace(mean, reading=reading, read_at=at, p_filter=p_filter, p_first=p_first)


def _window(whole: Floats, at: int) -> Floats | None:
    """The samples around a beat, shape (LEFT + RIGHT,), finite; None where too little was seen of it."""
    first, end = at - LEFT, at + RIGHT
    window = whole[max(first, 0) : end]
    if window.size < end - first:
        window = np.concatenate((np.full(max(-first, 0), np.nan), window, np.full(max(end - whole.size, 0), np.nan)))
    if math.isfinite(float(window.sum())):
        return window
    unseen = np.isnan(window)
    if unseen[LEFT - JUDGED_BEFORE // 2 : LEFT + JUDGED_AFTER // 2].any():
        return None
    seen = np.flatnonzero(~unseen)
    return np.interp(np.arange(window.size), seen, window[seen])


def _started(window: Floats) -> Mean:
    wave_mv = window[SHIFT:-SHIFT]
    core = wave_mv[CORE]
    level = core.mean()
    core = core - level
    return Mean(wave_mv - level, core, math.sqrt(float(core @ core)), 1, 0.0)


def _taken(mean: Mean, window: Floats, shift: int) -> Mean:
    """The mean with one beat more."""
    part = window[SHIFT + shift : SHIFT + shift + WINDOW + 2 * MARGIN]
    core = part[CORE]
    off = part - (mean.wave_mv + float(core.sum()) / core.size)
    apart = off[CORE]
    noise_mv = math.sqrt(float(apart @ apart) / apart.size)
    n = mean.n + 1
    wave_mv = mean.wave_mv + off * (1.0 / min(n, MEMORY))
    core = wave_mv[CORE]
    core = core - float(core.sum()) / core.size
    size = math.sqrt(float(core @ core))
    noise_mv = noise_mv if mean.n == 1 else mean.noise_mv + 0.2 * (noise_mv - mean.noise_mv)
    return Mean(wave_mv, core, size, n, noise_mv, mean.reading, mean.read_at, mean.p_filter, mean.p_first)


def _like(state: WaveState, mean: Mean, window: Floats, shift: int, at: int, match: float, usual: bool) -> BeatWaves:
    """A beat that is like a mean has its marks, less a P wave that it has not."""
    reading, likelihood = mean.reading, None
    if mean.p_filter is not None:
        first = SHIFT + shift + mean.p_first
        likelihood = max(0.0, min(1.0, float(window[first : first + mean.p_filter.size] @ mean.p_filter)))
        if likelihood < P_MISSED:
            reading = replace(reading, p=None, p_seen=False, measures=replace(reading.measures, pr_s=None))
    elif reading.p_seen is False:
        likelihood = 0.0
    if usual and state.reference_st_mv is None and mean.n >= YOUNG:
        state.reference_st_mv = reading.measures.st80_mv
    reason = "unlike" if mean.read_at == NEVER else None
    return _spoken(state, at, usual, match, likelihood, reading, shift, reason)


def _likeness(window: Floats, mean: Mean) -> tuple[float, int, bool]:
    """Correlation with the mean at the best shift, 0 to 1; that shift; and whether it is alike in height too."""
    around = window[SHIFT + CORE.start - SHIFT : SHIFT + CORE.stop + SHIFT]
    products = np.correlate(around, mean.core, "valid")
    best = int(products.argmax())
    part = around[best : best + mean.core.size]
    part = part - float(part.sum()) / part.size
    size = math.sqrt(float(part @ part))
    if size == 0.0 or mean.size == 0.0:
        return 0.0, 0, False
    match = max(0.0, min(1.0, float(products[best]) / (size * mean.size)))
    alike = match >= ALIKE and HEIGHTS[0] <= size / mean.size <= HEIGHTS[1]
    return match, best - SHIFT, alike


def _p_filter(part: Floats) -> Floats:
    """What projects a stretch on the P wave `part`: 1 for the same wave, 0 for a straight line.

    Both are held against the line between their ends, each the mean of three samples; as that is linear, one inner
    product does it.
    """
    rise = np.linspace(0.0, 1.0, part.size)
    first, last = float(part[:3].sum()) / 3, float(part[-3:].sum()) / 3
    wave = part - (first + (last - first) * rise)
    out = wave.copy()
    out[:3] -= float(wave @ (1.0 - rise)) / 3
    out[-3:] -= float(wave @ rise) / 3
    return np.asarray(out / (float(wave @ wave) + 1e-12))


def _silent(state: WaveState, at: int, reason: str) -> BeatWaves:
    return _spoken(state, at, False, None, None, NOTHING, 0, reason)


def _spoken(
    state: WaveState,
    at: int,
    usual: bool,
    match: float | None,
    likelihood: float | None,
    reading: Reading,
    shift: int,
    reason: str | None = None,
) -> BeatWaves:
    if reason is None and reading.qrs is None:
        reason = "low"
    state.kept = (*state.kept[1 - KEPT :], (at, usual, reading.p_seen, reason))
    return BeatWaves(at, at + shift, usual, match, likelihood, reading, reason)


def _trim(state: WaveState, ready: int) -> None:
    """Forget samples and verdicts that no later beat needs; peaks still to come lie behind `ready`."""
    needed = min(state.pending[0] if state.pending else ready, ready) - LEFT
    if needed - state.first < TRIM_EVERY:
        return
    state.chunks = (np.concatenate(state.chunks)[needed - state.first :].copy(),)
    state.first = needed
    state.rejected = tuple(one for one in state.rejected if one[1] > needed)


def _sum_up(state: WaveState, to: int, out: list[WaveSummary]) -> None:
    while to - state.summed_to >= SUMMARY_EVERY:
        state.summed_to += SUMMARY_EVERY
        state.allowance = min(float(ALONE_MAX), state.allowance + SUMMARY_EVERY / ALONE_EVERY)
        out.append(_summary(state, state.summed_to))


def _summary(state: WaveState, at: int) -> WaveSummary:
    """What may be said at `at` of the 10 s before it."""
    recent = [one for one in state.kept if at - SUMMARY_EVERY <= one[0] < at]
    seen = [p_seen for _, usual, p_seen, _ in recent if usual and p_seen is not None]
    n_usual = sum(1 for _, usual, _, _ in recent if usual)
    p_share = sum(seen) / len(seen) if seen else None
    mean = state.usual
    reason = _reason(mean, n_usual, [why for _, _, _, why in recent if why is not None])
    if reason is not None or mean is None:
        return WaveSummary(at, n_usual, reason, Measures(), None, None, p_share, mean.noise_mv if mean else None)
    measures = mean.reading.measures
    if p_share is None or p_share < 0.5:
        measures = replace(measures, pr_s=None)
    if measures.qrs_s is None or (measures.qrs_s > WIDE_S and mean.reading.p is None):
        return WaveSummary(at, n_usual, "wide", Measures(qrs_s=measures.qrs_s), None, None, p_share, mean.noise_mv)
    qtc = corrected(measures.qt_s, state.rr_s) if measures.qt_s is not None and state.rr_s is not None else None
    change_mv = None
    if measures.st80_mv is not None and state.reference_st_mv is not None:
        change_mv = measures.st80_mv - state.reference_st_mv
    return WaveSummary(at, n_usual, None, measures, qtc, change_mv, p_share, mean.noise_mv)


def _reason(mean: Mean | None, n_usual: int, others: list[str]) -> str | None:
    """Why nothing can be said, if nothing can."""
    if n_usual < FEW:
        return max(set(others), key=lambda why: (others.count(why), why)) if others else "too_few_beats"
    if mean is None or mean.n < LEARNT:
        return "learning"
    if mean.reading.qrs is None:
        return "low"
    return "noisy" if mean.noise_mv / math.sqrt(min(mean.n, MEMORY)) > NOISE_MAX_MV else None
