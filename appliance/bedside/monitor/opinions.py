"""What a model of half minutes says of one lead, held beside what the rules say of it.

Its opinions go to the rhythm rules (it may deny a fibrillation, see `bedside.signal.rhythm`), the average beat's shape
once a minute to whoever follows the patient's usual (`qrs_shape`); to people go three kinds of note: `rhythm_opinion`
when what the model sees has changed for two windows in a row, `rhythm_disagreement` when rules and model have
contradicted each other for two, and `rhythm_model_failed` when it cannot be asked any more (the rules decide alone
then). Pure; fed by `lead.py`.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from bedside.core.events import Evidence
from bedside.core.samples import Floats
from bedside.signal.rhythm import Opinion

log = logging.getLogger(__name__)

FIBRILLATION = "A"
SHAPE_EVERY = 15_000  # clean samples: a minute
SURE = 0.8  # so sure must a model be to contradict rules that say no fibrillation
WORDS = {"N": "sinus rhythm", "A": "fibrillation or flutter", "O": "another rhythm", "~": "noise"}
FAILED = "rhythm_model_failed"


class WindowOpinion(Protocol):
    """As `bedside.models.rhythm` gives it."""

    @property
    def since(self) -> int: ...
    @property
    def at(self) -> int: ...
    @property
    def label(self) -> str | None: ...
    @property
    def probabilities(self) -> tuple[float, ...] | None: ...
    @property
    def reason(self) -> str | None: ...
    @property
    def qrs_width_ms(self) -> float | None: ...
    @property
    def qrs_mv(self) -> float | None: ...


class WindowJudge(Protocol):
    """`bedside.models.rhythm.RhythmJudge`, as far as it is used here."""

    @property
    def digest(self) -> str | None: ...

    def initial(self) -> Any: ...

    def step(
        self,
        state: Any,
        clean_mv: Floats,
        clean_first: int,
        beats: Sequence[tuple[int, str]],
        retracted: Sequence[int],
        seconds: Sequence[tuple[int, int, bool]],
        closely: bool = True,
    ) -> tuple[Any, Sequence[WindowOpinion]]: ...

    def finish(self, state: Any) -> WindowOpinion | None: ...


@dataclass(frozen=True, slots=True)
class Note:
    """A finding of kind `kind` about the window that ends at clean index `at`."""

    kind: str
    at: int
    evidence: Evidence


class Windows:
    """One lead's windows. `judge` None: no model, no opinions."""

    def __init__(self, judge: WindowJudge | None) -> None:
        self._judge = judge if judge is not None and judge.digest is not None else None
        self._state: Any = judge.initial() if judge is not None else None
        self._digest = judge.digest if judge is not None else None
        self._failed = False
        self._labels: tuple[str, ...] = ()  # of the last two windows
        self._said: str | None = None
        self._against: tuple[tuple[str, str] | None, ...] = ()  # contradictions of the last two windows
        self._disputed: tuple[str, str] | None = None

    def step(
        self,
        clean_mv: Floats,
        clean_first: int,
        beats: Sequence[tuple[int, str]],
        retracted: Sequence[int],
        seconds: Sequence[tuple[int, int, bool]],
        rules: str,
        closely: bool,
    ) -> tuple[tuple[Opinion, ...], tuple[Note, ...]]:
        """What is new of the lead, in clean indices; `rules`: the base rhythm that the rules hold for the present;
        `closely`: they see, or begin to see, fibrillation."""
        if self._judge is None:
            return (), ()
        try:
            self._state, found = self._judge.step(
                self._state, clean_mv, clean_first, beats, retracted, seconds, closely
            )
        except Exception as error:  # a model's fault must not end the monitoring
            log.exception("rhythm model failed", extra={"error": type(error).__name__})
            self._judge = None
            at = clean_first + clean_mv.size
            return (), (Note(FAILED, at, {"on": True, "detail": type(error).__name__}),)
        opinions, notes = [], []
        for one in found:
            notes += self._health(one)
            if one.probabilities is not None and one.label is not None:
                opinions.append(Opinion(one.since, one.at, one.probabilities[1]))
                notes += self._heard(one, one.label, one.probabilities, rules)
        return tuple(opinions), tuple(notes)

    def finish(self) -> tuple[Note, ...]:
        """The stream has ended: what its last half minute says, if that was not said yet."""
        if self._judge is None:
            return ()
        try:
            last = self._judge.finish(self._state)
        except Exception as error:
            log.exception("rhythm model failed", extra={"error": type(error).__name__})
            return ()
        if last is None or last.label is None or last.probabilities is None or last.label == self._said:
            return ()
        return (self._opinion(last, last.label, last.probabilities),)

    def _health(self, one: WindowOpinion) -> list[Note]:
        failed = one.reason == "model_failed"
        if failed == self._failed or one.reason not in (None, "model_failed"):
            return []
        self._failed = failed
        evidence: Evidence = {"on": failed}
        return [Note(FAILED, one.at, evidence | ({"detail": "the runtime refused a window"} if failed else {}))]

    def _heard(self, one: WindowOpinion, label: str, shares: tuple[float, ...], rules: str) -> list[Note]:
        notes = self._shape(one, label)
        self._labels = (*self._labels, label)[-2:]
        if self._labels == (label, label) and label != self._said:
            self._said = label
            notes.append(self._opinion(one, label, shares))
        dispute = _dispute(rules, label, shares)
        self._against = (*self._against, dispute)[-2:]
        if self._against == (dispute, dispute) and dispute != self._disputed:
            self._disputed = dispute
            if dispute is not None:
                evidence: Evidence = {
                    "rules": dispute[0],
                    "model": dispute[1],
                    "model_says": WORDS[dispute[1]],
                    "fibrillation_probability": round(shares[1], 3),
                    "model_sha256": self._digest,
                }
                notes.append(Note("rhythm_disagreement", one.at, evidence))
        return notes

    def _shape(self, one: WindowOpinion, label: str) -> list[Note]:
        """The average beat, once a minute, where the window is more than noise."""
        if one.at % SHAPE_EVERY or label == "~" or one.qrs_width_ms is None or one.qrs_mv is None:
            return []
        return [Note("qrs_shape", one.at, {"qrs_width_ms": round(one.qrs_width_ms, 1), "qrs_mv": round(one.qrs_mv, 3)})]

    def _opinion(self, one: WindowOpinion, label: str, shares: tuple[float, ...]) -> Note:
        evidence: Evidence = {
            "label": label,
            "says": WORDS[label],
            "model_sha256": self._digest,
            "window_s": (one.at - one.since) / 250,
            **{f"p_{name}": round(share, 3) for name, share in zip(WORDS, shares, strict=True)},
        }
        return Note("rhythm_opinion", one.at, evidence)


def _dispute(rules: str, label: str, shares: tuple[float, ...]) -> tuple[str, str] | None:
    if rules == "AFIB" and label in ("N", "O"):
        return rules, label
    if rules in ("N", "B", "T") and label == FIBRILLATION and shares[1] >= SURE:
        return rules, label
    return None
