"""Alarms held against experts: the verdict on a monitor's alarm, and our own alarms against annotated rhythms.

PhysioNet Challenge 2015 (Clifford et al., doi:10.1088/0967-3334/37/8/E5): a bedside monitor alarmed at the end of five
minutes; was it true? Our verdict is whether the live path, fed all channels up to the alarm and nothing behind it,
shows the same condition in the last `WINDOW_S`. Score: 100 (TP + TN) / (TP + TN + FP + 5 FN), a suppressed true alarm
weighs five. Pure but for `judge`, which runs a recording.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import TypeVar

import numpy as np

from bedside.alarms.table import ConditionTable, default_table
from bedside.core.events import Alarm, Suppression
from bedside.evaluate.analyze import Analysis, analyze

ALARM_AT_S = 300.0
"""The alarm stands here, or at the record's end where that is shorter; what follows is not read."""
WINDOW_S = 16.0
"""The condition must be there within so long before the alarm: 10 s (EC13) and what a monitor takes to alarm."""
KINDS: Mapping[str, tuple[str, ...]] = {
    "Asystole": ("asystole",),
    "Bradycardia": ("extreme_bradycardia", "asystole"),
    "Tachycardia": ("extreme_tachycardia", "ventricular_tachycardia", "ventricular_fibrillation"),
    "Ventricular_Flutter_Fib": ("ventricular_fibrillation",),
    "Ventricular_Tachycardia": ("ventricular_tachycardia",),
}
"""Our conditions that say what the monitor's alarm says; a worse one of the chain holds the lesser back."""
RATES = {"extreme_bradycardia": 42.0, "extreme_tachycardia": 130.0}
"""The limits of the evaluation. The monitors' own are not known; these were chosen on the development folds."""
FOLDS = 5
T = TypeVar("T", Alarm, Suppression)


@dataclass(frozen=True, slots=True)
class Verdict:
    """One record: what the monitor said, whether that was true, and what we say."""

    record: str
    kind: str
    truth: bool
    alarmed: bool
    suppressed: tuple[str, ...]  # reasons of what was held back and not raised
    raised_s: float | None  # before the monitor's alarm; below 0: after it
    cpu_s: float


@dataclass(frozen=True, slots=True)
class Counts:
    """Of a monitor's alarms."""

    tp: int = 0
    fn: int = 0
    fp: int = 0
    tn: int = 0

    def __add__(self, other: Counts) -> Counts:
        return Counts(self.tp + other.tp, self.fn + other.fn, self.fp + other.fp, self.tn + other.tn)

    @property
    def score(self) -> float | None:
        """The Challenge's; None without records."""
        weighed = self.tp + self.tn + self.fp + 5 * self.fn
        return 100.0 * (self.tp + self.tn) / weighed if weighed else None


@cache
def evaluation_table() -> ConditionTable:
    """The shipped table with the limits of the evaluation."""
    table = default_table()
    rows = dict(table.conditions)
    for kind, rate_bpm in RATES.items():
        rows[kind] = replace(rows[kind], trigger={**rows[kind].trigger, "rate_bpm": rate_bpm})
    return replace(table, conditions=rows)


def read_truth(header: Path) -> tuple[str, bool] | None:
    """The monitor's alarm and whether it was true, from a header's comments; None where it says neither."""
    said = [line[1:].strip() for line in header.read_text("utf-8", "replace").splitlines() if line.startswith("#")]
    kind = next((one for one in said if one in KINDS), None)
    truth = next((one for one in said if one in ("True alarm", "False alarm")), None)
    return (kind, truth == "True alarm") if kind is not None and truth is not None else None


def judge(record: Path, lead: str | None = None) -> Verdict:
    """Run a record of the Challenge up to its alarm. Raises `SetupError`, and `ValueError` where no alarm is named."""
    truth = read_truth(record.with_suffix(".hea"))
    if truth is None:
        raise ValueError(f"{record.name}: the header names no alarm and its truth")
    analysis = analyze(record, lead=lead, all_channels=lead is None, until_s=ALARM_AT_S, table=evaluation_table())
    return verdict(analysis, *truth)


def verdict(analysis: Analysis, kind: str, truth: bool) -> Verdict:
    """What the analysis says of the monitor's alarm `kind` at its end."""
    end_s, kinds = analysis.duration_s, KINDS[kind]
    episodes = {(one.alarm, one.start_us): one for one in _of_kinds(analysis.events, Alarm, kinds)}
    shown = [one for one in episodes.values() if _ends_s(analysis, one) > end_s - WINDOW_S]
    held = {
        f"{one.kind}: {one.reason}"
        for one in _of_kinds(analysis.events, Suppression, kinds)
        if _ends_s(analysis, one) > end_s - WINDOW_S
    }
    raised_s = min((analysis.second(one.raised_us) for one in shown), default=None)
    return Verdict(
        record=analysis.recording.name,
        kind=kind,
        truth=truth,
        alarmed=bool(shown),
        suppressed=() if shown else tuple(sorted(held)),
        raised_s=round(end_s - raised_s, 3) if raised_s is not None else None,
        cpu_s=sum(seconds for stage, seconds in analysis.cpu_s.items() if stage != "reading"),
    )


def _of_kinds(events: Iterable[object], cls: type[T], kinds: Sequence[str]) -> list[T]:
    return [one for one in events if isinstance(one, cls) and one.kind in kinds]


def _ends_s(analysis: Analysis, event: Alarm | Suppression) -> float:
    """When the condition ended, as far as this event tells; one that lasts has no end."""
    return analysis.second(event.end_us) if event.end_us is not None else float("inf")


def count(verdicts: Iterable[Verdict]) -> Counts:
    """The four counts."""
    total = Counts()
    for one in verdicts:
        total += Counts(
            tp=int(one.truth and one.alarmed),
            fn=int(one.truth and not one.alarmed),
            fp=int(not one.truth and one.alarmed),
            tn=int(not one.truth and not one.alarmed),
        )
    return total


def folds(verdicts: Sequence[Verdict]) -> list[list[Verdict]]:
    """By ranges of record numbers, as records that lie near each other may be one patient's."""
    ordered = sorted(verdicts, key=lambda one: (number_of(one.record), one.record))
    bounds = np.linspace(0, len(ordered), FOLDS + 1).round().astype(int).tolist()
    return [ordered[first:last] for first, last in itertools.pairwise(bounds)]


def number_of(record: str) -> int:
    """The number in a record's name: 103 of `a103l`."""
    digits = "".join(letter for letter in record if letter.isdigit())
    return int(digits) if digits else 0


def interval(verdicts: Sequence[Verdict], draws: int = 2000) -> tuple[float, float] | None:
    """The 95 % interval of the score by drawing records again, with replacement."""
    if not verdicts:
        return None
    rng = np.random.default_rng(2015)
    right = np.array([one.truth == one.alarmed for one in verdicts])
    weight = np.array([5.0 if one.truth and not one.alarmed else 1.0 for one in verdicts])
    drawn = rng.integers(0, len(verdicts), (draws, len(verdicts)))
    scores = 100.0 * right[drawn].sum(axis=1) / weight[drawn].sum(axis=1)
    low, high = np.percentile(scores, (2.5, 97.5))
    return float(low), float(high)
