"""Counting beats right and wrong by ANSI/AAMI EC57, and how sure the figures are. Pure arithmetic."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, TypeAlias

import numpy as np
import numpy.typing as npt

Labels: TypeAlias = npt.NDArray[np.str_]
Floats: TypeAlias = npt.NDArray[np.float64]
Json: TypeAlias = "bool | int | float | str | list[Json] | dict[str, Json] | None"

NEUTRAL: Final = {"V": frozenset("FQ"), "S": frozenset("Q")}
"""Called V, a fusion beat counts neither for nor against (EC57); an unclassifiable beat never does."""


@dataclass(frozen=True, slots=True)
class Counts:
    """True positives, false positives, false negatives of one class."""

    tp: int = 0
    fp: int = 0
    fn: int = 0

    def __add__(self, other: Counts) -> Counts:
        return Counts(self.tp + other.tp, self.fp + other.fp, self.fn + other.fn)

    @property
    def sensitivity(self) -> float | None:
        """TP / (TP + FN), None without such beats."""
        return self.tp / (self.tp + self.fn) if self.tp + self.fn else None

    @property
    def precision(self) -> float | None:
        """TP / (TP + FP) ("+P"), None when none was called."""
        return self.tp / (self.tp + self.fp) if self.tp + self.fp else None

    @property
    def f1(self) -> float | None:
        """2 TP / (2 TP + FP + FN), None where there is nothing to count."""
        total = 2 * self.tp + self.fp + self.fn
        return 2 * self.tp / total if total else None

    def facts(self) -> dict[str, Json]:
        """For a card."""
        return {
            "tp": self.tp, "fp": self.fp, "fn": self.fn,
            "sensitivity": _rounded(self.sensitivity), "precision": _rounded(self.precision), "f1": _rounded(self.f1),
        }  # fmt: skip


def count(symbol: str, labels: Labels, called: Labels, missed: Labels) -> Counts:
    """Counts of class `symbol` ("V" or "S") over found beats (`labels`, "x": no beat there) and missed ones."""
    hit, truth = called == symbol, labels == symbol
    neutral = np.isin(labels, list(NEUTRAL[symbol]))
    return Counts(
        tp=int(np.sum(hit & truth)),
        fp=int(np.sum(hit & ~truth & ~neutral)),
        fn=int(np.sum(~hit & truth)) + int(np.sum(missed == symbol)),
    )


def interval(per_patient: Sequence[Counts], seed: int, draws: int = 2000) -> tuple[float, float] | None:
    """95 % interval of the gross F1 by bootstrap over patients; None where no draw has anything to count."""
    table = np.array([[c.tp, c.fp, c.fn] for c in per_patient], dtype=np.int64)
    rng = np.random.default_rng(seed)
    sums = table[rng.integers(0, len(table), size=(draws, len(table)))].sum(axis=1)
    total = 2 * sums[:, 0] + sums[:, 1] + sums[:, 2]
    values = 2 * sums[total > 0, 0] / total[total > 0]
    if values.size == 0:
        return None
    low, high = np.quantile(values, [0.025, 0.975])
    return float(low), float(high)


def folds(burden: Mapping[str, tuple[int, int]], n_folds: int) -> tuple[tuple[str, ...], ...]:
    """Patients dealt to folds so that each gets its share of S and V beats. `burden`: patient -> (S, V) counts.

    Deterministic: patients in order of S, then V beats, go to and fro over the folds.
    """
    order = sorted(burden, key=lambda patient: (-burden[patient][0], -burden[patient][1], patient))
    hands: list[list[str]] = [[] for _ in range(n_folds)]
    for i, patient in enumerate(order):
        lap, at = divmod(i, n_folds)
        hands[at if lap % 2 == 0 else n_folds - 1 - at].append(patient)
    return tuple(tuple(sorted(hand)) for hand in hands)


def best_threshold(logits: Floats, truth: npt.NDArray[np.bool_], stands_for: Floats) -> float:
    """The logit above which calling a beat positive gives the largest F1; 0 without positives.

    `stands_for`: how many beats each one stands for, where only a part of the negatives was kept.
    """
    if not truth.any():
        return 0.0
    order = np.argsort(-logits, kind="stable")
    weight = stands_for[order]
    tp = np.cumsum(weight * truth[order])
    f1 = 2 * tp / (np.cumsum(weight) + tp[-1])
    at = int(np.argmax(f1))
    following = logits[order[min(at + 1, truth.size - 1)]]
    return float((logits[order[at]] + following) / 2)


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 4)
