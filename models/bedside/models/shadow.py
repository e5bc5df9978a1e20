"""A candidate beside the models that judge: the same beats and half minutes, and only the difference is kept.

`ShadowedBeats` and `ShadowedWindows` stand where `BeatClassifier` and `RhythmJudge` stand and answer for the live
model, to the bit. The candidate hears the same, in a state of its own; whatever it does (raise, be slow to load, be of
another mind) changes no answer. A `Comparison` counts how often the two agree and keeps the newest disagreements, with
their time and without a patient's name; a person reads it (`bedside models compare`) before the candidate may judge.
"""

from __future__ import annotations

import logging
from collections import Counter, deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final

from bedside.models.beats import BeatClassifier, BeatState, ClassifiedBeat
from bedside.models.rhythm import RhythmJudge, RhythmJudgeState, RhythmOpinion
from bedside.models.windows import Floats
from bedside.signal.lead import RPeak

log = logging.getLogger(__name__)

KEPT_MAX: Final = 200
UNJUDGED: Final = "-"


@dataclass(frozen=True, slots=True)
class Disagreement:
    """One beat or half minute on which the two differ. `at_us`: when it was judged; probabilities are of the labels."""

    kind: str
    at_us: int
    live: str
    candidate: str
    live_probability: float | None
    candidate_probability: float | None


class Comparison:
    """What two sets of models said of the same: counts by (live, candidate), and the newest disagreements.

    `live`, `candidate`: digests by model name. `now_us`: the clock. Not for several threads.
    """

    def __init__(self, live: Mapping[str, str], candidate: Mapping[str, str], now_us: Callable[[], int]) -> None:
        self.live, self.candidate, self._now_us = dict(live), dict(candidate), now_us
        self.since_us = now_us()
        self.tables: dict[str, Counter[tuple[str, str]]] = {"beats": Counter(), "rhythm": Counter()}
        self.failures: Counter[str] = Counter()
        self.kept: deque[Disagreement] = deque(maxlen=KEPT_MAX)

    def heard(
        self, kind: str, live: str, candidate: str, live_probability: float | None, candidate_probability: float | None
    ) -> None:
        """Both have judged one thing; `UNJUDGED` where one could not."""
        self.tables[kind][live, candidate] += 1
        if live != candidate:
            at_us = self._now_us()
            self.kept.append(
                Disagreement(kind, at_us, live, candidate, _short(live_probability), _short(candidate_probability))
            )

    def failed(self, kind: str) -> None:
        """The candidate raised: it is not asked again on that stream."""
        self.failures[kind] += 1

    def document(self) -> dict[str, Any]:
        """All of it, ready for JSON."""
        return {
            "live": self.live,
            "candidate": self.candidate,
            "since_us": self.since_us,
            "until_us": self._now_us(),
            "tables": {kind: [[*pair, n] for pair, n in sorted(table.items())] for kind, table in self.tables.items()},
            "failures": dict(self.failures),
            "kept": [asdict(one) for one in self.kept],
        }

    def resume(self, document: Mapping[str, Any]) -> bool:
        """Go on from what was written before a restart, if it was of the same models; say whether it was."""
        try:
            if document["live"] != self.live or document["candidate"] != self.candidate:
                return False
            tables = {
                kind: Counter({(str(a), str(b)): int(n) for a, b, n in document["tables"][kind]})
                for kind in self.tables
            }
            kept = [Disagreement(**one) for one in document["kept"]]
            failures, since_us = Counter(document["failures"]), int(document["since_us"])
        except (KeyError, TypeError, ValueError, AttributeError):
            return False
        self.tables, self.failures, self.since_us = tables, failures, since_us
        self.kept.extend(kept)
        return True


def _short(probability: float | None) -> float | None:
    return None if probability is None else round(probability, 3)


@dataclass(frozen=True, slots=True, eq=False)
class Shadowed:
    """Both states of one lead; `candidate` None: it failed here and is not asked any more."""

    live: Any
    candidate: Any


class ShadowedBeats:
    """A beat classifier with a candidate beside it."""

    def __init__(self, live: BeatClassifier, candidate: BeatClassifier, comparison: Comparison) -> None:
        self._live, self._candidate, self._comparison = live, candidate, comparison

    @property
    def digest(self) -> str | None:
        """Of the live model: it alone answers."""
        return self._live.digest

    def initial(self) -> Shadowed:
        """State of a lead before its first sample."""
        return Shadowed(self._live.initial(), self._candidate.initial())

    def step(
        self,
        state: Shadowed,
        clean_mv: Floats,
        clean_first: int,
        peaks: Sequence[RPeak],
        settled_clean_index: int,
        retracted: Sequence[int] = (),
    ) -> tuple[Shadowed, tuple[ClassifiedBeat, ...]]:
        """As `BeatClassifier.step`, by the live model."""
        arguments = (clean_mv, clean_first, peaks, settled_clean_index, retracted)
        live, beats = self._live.step(state.live, *arguments)
        return self._beside(live, beats, state.candidate, lambda its: self._candidate.step(its, *arguments))

    def finish(self, state: Shadowed) -> tuple[Shadowed, tuple[ClassifiedBeat, ...]]:
        """As `BeatClassifier.finish`."""
        live, beats = self._live.finish(state.live)
        return self._beside(live, beats, state.candidate, self._candidate.finish)

    def _beside(
        self,
        live: BeatState,
        beats: tuple[ClassifiedBeat, ...],
        candidate: BeatState | None,
        ask: Callable[[BeatState], tuple[BeatState, tuple[ClassifiedBeat, ...]]],
    ) -> tuple[Shadowed, tuple[ClassifiedBeat, ...]]:
        if candidate is None:
            return Shadowed(live, None), beats
        try:
            candidate, others = ask(candidate)
            other = {one.peak.index: one for one in others}
            for beat in beats:
                self._compare(beat, other.get(beat.peak.index))
        except Exception as error:  # a candidate's fault is no fault of the monitoring
            log.exception("candidate failed", extra={"error": type(error).__name__})
            self._comparison.failed("beats")
            candidate = None
        return Shadowed(live, candidate), beats

    def _compare(self, beat: ClassifiedBeat, other: ClassifiedBeat | None) -> None:
        mine = beat.symbol if beat.judged else UNJUDGED
        its = other.symbol if other is not None and other.judged else UNJUDGED
        self._comparison.heard("beats", mine, its, beat.probability, other.probability if other is not None else None)


class ShadowedWindows:
    """A judge of half minutes with a candidate beside it."""

    def __init__(self, live: RhythmJudge, candidate: RhythmJudge, comparison: Comparison) -> None:
        self._live, self._candidate, self._comparison = live, candidate, comparison

    @property
    def digest(self) -> str | None:
        """Of the live model: it alone answers."""
        return self._live.digest

    def initial(self) -> Shadowed:
        """State of a lead before its first sample."""
        return Shadowed(self._live.initial(), self._candidate.initial())

    def step(
        self,
        state: Shadowed,
        clean_mv: Floats,
        clean_first: int,
        beats: Sequence[tuple[int, str]],
        retracted: Sequence[int],
        seconds: Sequence[tuple[int, int, bool]],
        closely: bool = True,
    ) -> tuple[Shadowed, tuple[RhythmOpinion, ...]]:
        """As `RhythmJudge.step`, by the live model."""
        arguments = (clean_mv, clean_first, beats, retracted, seconds, closely)
        live, opinions = self._live.step(state.live, *arguments)
        candidate: RhythmJudgeState | None = state.candidate
        if candidate is not None:
            try:
                candidate, others = self._candidate.step(candidate, *arguments)
                other = {one.at: one for one in others}
                for opinion in opinions:
                    self._compare(opinion, other.get(opinion.at))
            except Exception as error:
                log.exception("candidate failed", extra={"error": type(error).__name__})
                self._comparison.failed("rhythm")
                candidate = None
        return Shadowed(live, candidate), opinions

    def finish(self, state: Shadowed) -> RhythmOpinion | None:
        """As `RhythmJudge.finish`; the last, shorter window is not compared."""
        return self._live.finish(state.live)

    def _compare(self, opinion: RhythmOpinion, other: RhythmOpinion | None) -> None:
        self._comparison.heard(
            "rhythm",
            opinion.label or UNJUDGED,
            (other.label if other is not None else None) or UNJUDGED,
            max(opinion.probabilities) if opinion.probabilities is not None else None,
            max(other.probabilities) if other is not None and other.probabilities is not None else None,
        )
