"""One ECG lead from samples to findings: lead analyser, beat classifier, heart rate and rhythm, wired.

Cut-independent by construction: the lead analyser and everything behind it run once for every two of its internal
frames (0.4 s), counted from the first sample, so what follows a sample depends on samples alone, never on how they
came. Indices here count source samples since the analysis began, or samples of the clean lead (250 Hz). Pure.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any, Protocol

from bedside.core.samples import Floats
from bedside.monitor.delineation import WaveWatch, wave_input
from bedside.monitor.opinions import Note as WindowNote
from bedside.monitor.opinions import WindowJudge, Windows
from bedside.signal.character import Character
from bedside.signal.delineation import WaveSummary
from bedside.signal.lead import INTERNAL_HZ, LeadAnalyser, LeadOutput, QualitySecond, RPeak
from bedside.signal.rate import Rate, RateMeter
from bedside.signal.rhythm import (
    Episode,
    JudgedBeat,
    Note,
    Opinion,
    Pause,
    RhythmAnalyser,
    RhythmInput,
    SeenSecond,
    base_rhythm,
)

log = logging.getLogger(__name__)

FRAMES_TOGETHER = 2
KNOWN_DELAY_S = 0.1
"""Filters look 72 ms ahead, the resampler a few samples: so much later than its time is a clean sample known."""

Stage = Callable[[str], AbstractContextManager[object]]
"""Measures the cost of a stage; the caller brings the clock."""


class ClassifiedBeat(Protocol):
    """A beat and its class, as `bedside.models.beats` gives it."""

    @property
    def peak(self) -> RPeak: ...
    @property
    def rr_s(self) -> float | None: ...
    @property
    def symbol(self) -> str: ...
    @property
    def judged(self) -> bool: ...
    @property
    def probability(self) -> float | None: ...
    @property
    def reason(self) -> str | None: ...


class BeatJudge(Protocol):
    """`bedside.models.beats.BeatClassifier`, as far as it is used here."""

    @property
    def digest(self) -> str | None: ...

    def initial(self) -> Any: ...

    def step(
        self,
        state: Any,
        clean_mv: Floats,
        clean_first: int,
        peaks: Sequence[RPeak],
        settled_clean_index: int,
        retracted: Sequence[int] = (),
    ) -> tuple[Any, Sequence[ClassifiedBeat]]: ...

    def finish(self, state: Any) -> tuple[Any, Sequence[ClassifiedBeat]]: ...


@dataclass(frozen=True, slots=True)
class LeadBeat:
    """A beat at source sample `index`; class Q and not `judged` where no model spoke."""

    index: int
    symbol: str
    judged: bool
    probability: float | None
    rr_s: float | None
    amplitude_mv: float


@dataclass(frozen=True, slots=True, eq=False)
class LeadFindings:
    """What two frames brought. `known` is the source index (not whole) at which this could be known."""

    known: float
    clean_mv: Floats  # 250 Hz
    clean_first: int
    beats: tuple[LeadBeat, ...] = ()
    retracted: tuple[int, ...] = ()  # beats that were given before and are none
    quality: tuple[QualitySecond, ...] = ()
    episodes: tuple[Episode, ...] = ()
    pauses: tuple[Pause, ...] = ()
    notes: tuple[Note | WindowNote, ...] = ()
    rates: tuple[tuple[int, Rate], ...] = ()  # source index of a whole second, and the heart rate there
    model_failed: str | None = None  # what went wrong, once
    waves: tuple[WaveSummary, ...] = ()  # intervals and ST, one in 10 s
    characters: tuple[Character, ...] = ()  # what kind of lead it is, when that is new


class Lead:
    """One lead of `fs_hz` since `feed` was first called. Raises `ValueError` for a rate that cannot be analysed."""

    def __init__(self, fs_hz: float, judge: BeatJudge, stage: Stage, windows: WindowJudge | None = None) -> None:
        self.fs_hz = fs_hz
        self.on_skin: bool | None = None
        self._stage = stage
        self._analyser = _design(fs_hz)
        self._state = self._analyser.initial()
        self._judge: BeatJudge | None = judge
        self._judge_state: Any = judge.initial()
        self._waiting: list[RPeak] = []  # given to the judge, not yet given back
        self._given: deque[int] = deque(maxlen=32)  # source indices of the newest beats that were given
        self._found: deque[RPeak] = deque(maxlen=32)  # the newest peaks
        self._failing = False
        self._windows = Windows(windows)
        self._meter, self._rhythm = RateMeter(), RhythmAnalyser()
        self._rate = self._meter.initial()
        self._rhythm_state = self._rhythm.initial()
        self._waves = WaveWatch()
        self._fed = 0
        self._seconds = 0
        self._bad_since_s: float | None = None
        self._bad_reason: str | None = None

    def to_source(self, clean_index: float) -> float:
        """Where a sample of the clean lead lies among the source samples."""
        return clean_index * self.fs_hz / INTERNAL_HZ

    def to_clean(self, index: float) -> int:
        return round(index * INTERNAL_HZ / self.fs_hz)

    def feed(self, values_mv: Floats) -> list[LeadFindings]:
        """Take the next samples, mV, NaN where missing."""
        found = []
        at = 0
        while at < values_mv.size:
            end = min(at + self._analyser.wanted(self._state, FRAMES_TOGETHER), values_mv.size)
            with self._stage("signal"):
                self._state, output = self._analyser.step(self._state, values_mv[at:end], FRAMES_TOGETHER)
            self._fed += end - at
            at = end
            if output.clean_mv.size:
                clean_end = output.clean_first + output.clean_mv.size
                found.append(self._findings(output, self.to_source(clean_end) + KNOWN_DELAY_S * self.fs_hz))
        return found

    def close(self) -> LeadFindings:
        """End the analysis: the last beats are found and judged if possible, open episodes end at the last sample."""
        end = self.to_clean(self._fed)
        with self._stage("signal"):
            last = self._analyser.finish(self._state)
        n_inside = max(end - last.clean_first, 0)
        inside = replace(last, clean_mv=last.clean_mv[:n_inside], raw_mv=last.raw_mv[:n_inside])
        found = self._findings(inside, float(self._fed))
        late: list[ClassifiedBeat] = []
        if self._judge is not None:
            late, _ = self._asked(self._judge.finish, self._judge_state)
        self._waiting.clear()
        with self._stage("waves"):
            waves = (*found.waves, *self._waves.close())
        return replace(
            found,
            waves=waves,
            beats=(*found.beats, *(_lead_beat(beat) for beat in late)),
            episodes=(*found.episodes, *self._rhythm.close(self._rhythm_state, end)),
            notes=(*found.notes, *self._windows.finish()),
        )

    def _findings(self, output: LeadOutput, known: float) -> LeadFindings:
        settled = int(output.settled_index * INTERNAL_HZ / self.fs_hz)
        late = tuple(index for index in output.retracted if index in self._given)
        beats, failure = self._classes(output, settled)
        self._given.extend(beat.peak.index for beat in beats)
        with self._stage("rhythm"):
            quality = tuple(self._believed(second) for second in output.quality)
            for second in quality:
                self._believe(second)
            retracted = self._found_again(output)
            self._count(output)
            new = self._rhythm_input(output, beats, quality, settled, retracted)
        opinions, notes = self._opinions(new)
        with self._stage("rhythm"):
            self._rhythm_state, rhythm = self._rhythm.step(self._rhythm_state, replace(new, opinions=opinions))
            rates = self._rates(output)
        with self._stage("waves"):
            waves = self._waves.take(wave_input(output, self.fs_hz, quality, retracted))
        return LeadFindings(
            known,
            output.clean_mv,
            output.clean_first,
            beats=tuple(_lead_beat(beat) for beat in beats),
            retracted=late,
            quality=quality,
            episodes=rhythm.episodes,
            pauses=rhythm.pauses,
            rates=rates,
            model_failed=failure,
            waves=waves,
            notes=(*rhythm.notes, *notes),
            characters=output.characters,
        )

    def _opinions(self, new: RhythmInput) -> tuple[tuple[Opinion, ...], tuple[WindowNote, ...]]:
        """What the model of half minutes says, and what it says otherwise than the rules."""
        with self._stage("models"):
            return self._windows.step(
                new.clean_mv,
                new.clean_first,
                [(beat.at, beat.symbol) for beat in new.beats],
                new.retracted,
                [(one.first, one.n, one.usable) for one in new.seconds],
                base_rhythm(self._rhythm_state),
                self._rhythm_state.af.total > 0.0,
            )

    # Beats

    def _classes(self, output: LeadOutput, settled: int) -> tuple[list[ClassifiedBeat], str | None]:
        """Ask the judge. One that raises is not asked again in this analysis: its beats stay unjudged."""
        self._waiting += output.peaks
        for index in output.retracted:
            taken = next((peak for peak in self._waiting if peak.index == index), None)
            if taken is not None:
                self._waiting.remove(taken)
        if self._judge is None:
            unjudged: list[ClassifiedBeat] = [_Unjudged(peak) for peak in self._waiting]
            self._waiting = []
            return unjudged, None
        beats, failure = self._asked(
            self._judge.step,
            self._judge_state,
            output.clean_mv,
            output.clean_first,
            output.peaks,
            settled,
            output.retracted,
        )
        failed = any(beat.reason == "model_failed" for beat in beats)
        if failed and not self._failing and failure is None:
            failure = "model_failed"
        self._failing = failed or (self._failing and not beats)
        return beats, failure

    def _asked(self, question: Callable[..., Any], *arguments: Any) -> tuple[list[ClassifiedBeat], str | None]:
        try:
            with self._stage("models"):
                self._judge_state, beats = question(*arguments)
        except Exception as error:  # a model's fault must not end the monitoring
            log.exception("beat model failed", extra={"error": type(error).__name__})
            self._judge, self._judge_state = None, None
            unjudged: list[ClassifiedBeat] = [_Unjudged(peak) for peak in self._waiting]
            self._waiting = []
            return unjudged, type(error).__name__
        self._waiting = self._waiting[len(beats) :]
        return list(beats), None

    # Quality, rate, rhythm

    def _found_again(self, output: LeadOutput) -> tuple[int, ...]:
        """Clean indices of the peaks that were retracted: of two at 130 Hz, one source index may name either."""
        self._found.extend(output.peaks)
        return tuple(peak.clean_index for peak in self._found if peak.index in output.retracted)

    def _count(self, output: LeadOutput) -> None:
        """Peaks to the rate: first those of before that were none, then the new ones that still are some."""
        for index in output.retracted:
            self._rate = self._meter.retract(self._rate, index / self.fs_hz)
        for peak in output.peaks:
            if peak.index not in output.retracted:
                self._rate = self._meter.beat(self._rate, peak.index / self.fs_hz)

    def _believed(self, second: QualitySecond) -> QualitySecond:
        """What the electrodes say of themselves counts more than what the signal looks like."""
        if self.on_skin is False:
            return replace(second, usable=False, score=0.0, reason="lead_off")
        return second

    def _believe(self, second: QualitySecond) -> None:
        if (
            second.usable or second.reason == "flat"
        ):  # between slow beats a clean lead is flat; without beats see `rate`
            self._bad_since_s = self._bad_reason = None
            return
        if self._bad_since_s is None:
            self._bad_since_s = second.first_index / self.fs_hz
        self._bad_reason = second.reason
        self._rate = self._meter.unseen(self._rate)

    def _rhythm_input(
        self,
        output: LeadOutput,
        beats: Sequence[ClassifiedBeat],
        quality: Sequence[QualitySecond],
        settled: int,
        retracted: tuple[int, ...],
    ) -> RhythmInput:
        return RhythmInput(
            clean_mv=output.clean_mv,
            clean_first=output.clean_first,
            peaks=tuple(peak.clean_index for peak in output.peaks),
            beats=tuple(JudgedBeat(beat.peak.clean_index, beat.symbol) for beat in beats),
            seconds=tuple(
                SeenSecond(self.to_clean(one.first_index), self.to_clean(one.n_samples), one.usable, one.reason)
                for one in quality
            ),
            settled=settled,
            on_skin=self.on_skin,
            retracted=retracted,
        )

    def _rates(self, output: LeadOutput) -> tuple[tuple[int, Rate], ...]:
        """The heart rate at each whole second that the clean lead has passed."""
        rates = []
        passed = (output.clean_first + output.clean_mv.size) // round(INTERNAL_HZ)
        settled_s = output.settled_index / self.fs_hz
        while self._seconds < passed:
            self._seconds += 1
            bad_s = max(self._seconds - self._bad_since_s, 0.0) if self._bad_since_s is not None else 0.0
            rate = self._meter.read(self._rate, settled_s, bad_s, self._bad_reason)
            rates.append((round(self._seconds * self.fs_hz), rate))
        return tuple(rates)


@lru_cache(maxsize=32)
def _design(fs_hz: float) -> LeadAnalyser:
    """Frozen, and the same for every lead of that rate."""
    return LeadAnalyser.design(fs_hz)


@dataclass(frozen=True, slots=True)
class _Unjudged:
    """A beat that no model could judge."""

    peak: RPeak
    rr_s: float | None = None
    symbol: str = "Q"
    judged: bool = False
    probability: float | None = None
    reason: str | None = "model_failed"


def _lead_beat(beat: ClassifiedBeat) -> LeadBeat:
    return LeadBeat(beat.peak.index, beat.symbol, beat.judged, beat.probability, beat.rr_s, beat.peak.amplitude_mv)
