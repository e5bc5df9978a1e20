"""Beats against an expert's, as EC57 and IEC 60601-2-47 ask: pairs within 150 ms, counted per record, gross, average.

The matcher is our own (one pass, in time order); `independent` checks its sums with `wfdb.processing`. Rules that move
the figures are stated here: ventricular flutter between `[` and `]` is left out on both sides (207); e and j count as
N (and as S in a figure of its own); the learning period is the first five minutes, and figures are given with and
without it; F beats called V, and Q beats called V or S, count neither way; the paced records 102, 104, 107 and 217
count for QRS and not for classes.
Pure but for `read_reference` and `independent`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from bedside.core.errors import SetupError

Indices = npt.NDArray[np.int64]

WINDOW_S = 0.150
NARROW_S = 0.050
LEARNING_S = 300.0
CLASS_OF = {
    **dict.fromkeys("NLRBejn", "N"),
    **dict.fromkeys("AaJS", "S"),
    **dict.fromkeys("VEr", "V"),
    "F": "F",
    **dict.fromkeys("/fQ?", "Q"),
}
ESCAPES = frozenset("ej")
RUNS = (("couplets", 2, 2), ("short_runs", 3, 5), ("long_runs", 6, 1 << 30))
"""Ventricular runs by their number of beats. A run is found when a called one that overlaps it has at least the first
number of beats of its kind; a called run is right when a reference one that overlaps it has."""
NO_RUNS = ((0, 0, 0),) * len(RUNS)
PACED = frozenset({"102", "104", "107", "217"})


@dataclass(frozen=True, eq=False)
class Marks:
    """Beats in order: `samples`, and the AAMI class of each; `flutter`: stretches without beats by definition."""

    samples: Indices
    classes: tuple[str, ...]
    flutter: tuple[tuple[int, int], ...] = ()
    escapes: frozenset[int] = frozenset()  # positions of e and j


@dataclass(frozen=True, slots=True)
class Tally:
    """Counts of one record (or their sum) in one period."""

    tp: int = 0
    fn: int = 0
    fp: int = 0
    narrow_tp: int = 0  # pairs within 50 ms
    veb: tuple[int, int, int] = (0, 0, 0)  # TP, FN, FP
    sveb: tuple[int, int, int] = (0, 0, 0)
    sveb_escapes: tuple[int, int, int] = (0, 0, 0)  # with e and j counted as S
    runs: tuple[tuple[int, int, int], ...] = NO_RUNS  # found, missed, false, of each kind
    apart_ms: tuple[float, ...] = field(default=(), repr=False)  # test minus reference, of each pair

    def __add__(self, other: Tally) -> Tally:
        return Tally(
            self.tp + other.tp,
            self.fn + other.fn,
            self.fp + other.fp,
            self.narrow_tp + other.narrow_tp,
            _sum(self.veb, other.veb),
            _sum(self.sveb, other.sveb),
            _sum(self.sveb_escapes, other.sveb_escapes),
            tuple(_sum(a, b) for a, b in zip(self.runs, other.runs, strict=True)),
            self.apart_ms + other.apart_ms,
        )


def _sum(a: tuple[int, int, int], b: tuple[int, int, int]) -> tuple[int, int, int]:
    return a[0] + b[0], a[1] + b[1], a[2] + b[2]


@dataclass(frozen=True, slots=True)
class Figures:
    """Sensitivity, positive predictivity and F1 in %; None where there is nothing to divide by."""

    se: float | None
    ppv: float | None
    f1: float | None


def figures(tp: int, fn: int, fp: int) -> Figures:
    """Se, +P and F1 of counts."""
    return Figures(
        100.0 * tp / (tp + fn) if tp + fn else None,
        100.0 * tp / (tp + fp) if tp + fp else None,
        200.0 * tp / (2 * tp + fn + fp) if 2 * tp + fn + fp else None,
    )


def match(reference: Indices, test: Indices, window: float) -> list[tuple[int | None, int | None]]:
    """Pairs of positions (reference, test) that lie at most `window` samples apart; None where there is no partner.

    In time order: two marks are paired unless the next mark of one side is nearer to the other's and that leaves
    neither worse. Each mark has at most one partner.
    """
    pairs: list[tuple[int | None, int | None]] = []
    i = j = 0
    while i < reference.size and j < test.size:
        apart = abs(int(test[j]) - int(reference[i]))
        if apart <= window:
            better_test = j + 1 < test.size and abs(int(test[j + 1]) - int(reference[i])) < apart
            better_reference = i + 1 < reference.size and abs(int(test[j]) - int(reference[i + 1])) < apart
            if better_test and not _needed(reference, test, i + 1, j + 1, window):
                pairs.append((None, j))
                j += 1
            elif better_reference and not _needed(test, reference, j + 1, i + 1, window):
                pairs.append((i, None))
                i += 1
            else:
                pairs.append((i, j))
                i, j = i + 1, j + 1
        elif test[j] < reference[i]:
            pairs.append((None, j))
            j += 1
        else:
            pairs.append((i, None))
            i += 1
    pairs += [(position, None) for position in range(i, reference.size)]
    return pairs + [(None, position) for position in range(j, test.size)]


def _needed(one: Indices, other: Indices, i: int, j: int, window: float) -> bool:
    """Would the mark `other[j]` be the only partner of the next mark `one[i]`?"""
    if i >= one.size or abs(int(other[j]) - int(one[i])) > window:
        return False
    return not (j + 1 < other.size and abs(int(other[j + 1]) - int(one[i])) <= window)


def score(reference: Marks, test: Marks, fs_hz: float, *, from_s: float = 0.0, classes: bool = True) -> Tally:
    """Count one record from `from_s` on. `classes` False: only whether there is a beat."""
    kept = _kept(reference, reference.flutter, round(from_s * fs_hz))
    seen = _kept(test, reference.flutter, round(from_s * fs_hz))
    pairs = match(reference.samples[kept], test.samples[seen], WINDOW_S * fs_hz)
    expected = [reference.classes[k] for k in kept]
    given = [test.classes[k] for k in seen]
    apart = [
        1000.0 * (int(test.samples[seen[j]]) - int(reference.samples[kept[i]])) / fs_hz
        for i, j in pairs
        if i is not None and j is not None
    ]
    truth = [(expected[i] if i is not None else None, given[j] if j is not None else None) for i, j in pairs]
    as_s = ["S" if k in reference.escapes else reference.classes[k] for k in kept]
    with_escapes = [(as_s[i] if i is not None else None, given[j] if j is not None else None) for i, j in pairs]
    marked = _runs(reference.samples[kept], expected)
    called = _runs(test.samples[seen], given)
    return Tally(
        tp=len(apart),
        fn=sum(1 for i, j in pairs if j is None),
        fp=sum(1 for i, j in pairs if i is None),
        narrow_tp=sum(1 for one in apart if abs(one) <= 1000.0 * NARROW_S),
        veb=_of_class("V", "FQ", truth) if classes else (0, 0, 0),
        sveb=_of_class("S", "Q", truth) if classes else (0, 0, 0),
        sveb_escapes=_of_class("S", "Q", with_escapes) if classes else (0, 0, 0),
        runs=_run_counts(marked, called, WINDOW_S * fs_hz) if classes else NO_RUNS,
        apart_ms=tuple(apart),
    )


def _kept(marks: Marks, flutter: Sequence[tuple[int, int]], first: int) -> list[int]:
    inside = np.zeros(marks.samples.size, dtype=np.bool_)
    for start, end in flutter:
        inside |= (marks.samples >= start) & (marks.samples <= end)
    return [int(k) for k in np.flatnonzero(~inside & (marks.samples >= first))]


def _of_class(wanted: str, neither: str, truth: Sequence[tuple[str | None, str | None]]) -> tuple[int, int, int]:
    """TP, FN, FP of one class; reference classes in `neither` that are given as `wanted` count neither way."""
    tp = sum(1 for expected, given in truth if expected == wanted and given == wanted)
    fn = sum(1 for expected, given in truth if expected == wanted and given != wanted)
    fp = sum(1 for expected, given in truth if given == wanted and expected != wanted and expected not in (*neither,))
    return tp, fn, fp


def _runs(samples: Indices, classes: Sequence[str]) -> list[tuple[int, int, int]]:
    """Two and more ventricular beats in a row: first sample, last sample, number of beats."""
    found: list[tuple[int, int, int]] = []
    began = 0
    for k in range(len(classes) + 1):
        if k < len(classes) and classes[k] == "V":
            continue
        if k - began >= 2:
            found.append((int(samples[began]), int(samples[k - 1]), k - began))
        began = k + 1
    return found


def _run_counts(
    marked: Sequence[tuple[int, int, int]], called: Sequence[tuple[int, int, int]], window: float
) -> tuple[tuple[int, int, int], ...]:
    """Found, missed and false runs of each kind."""

    def longest(run: tuple[int, int, int], others: Sequence[tuple[int, int, int]]) -> int:
        return max((n for first, last, n in others if first <= run[1] + window and last >= run[0] - window), default=0)

    counts = []
    for _, least, most in RUNS:
        mine = [run for run in marked if least <= run[2] <= most]
        given = [run for run in called if least <= run[2] <= most]
        found = sum(longest(run, called) >= least for run in mine)
        counts.append((found, len(mine) - found, sum(longest(run, marked) < least for run in given)))
    return tuple(counts)


def read_marks(path: Path, extension: str) -> Marks:
    """Beats of an annotation file (`path` without extension). Raises `SetupError` when it cannot be read."""
    import wfdb

    try:
        annotation: Any = wfdb.rdann(str(path), extension)
    except FileNotFoundError as error:
        raise SetupError(
            f"{path}.{extension}: no such annotation file", hint="name its extension with --ann"
        ) from error
    except Exception as error:  # wfdb raises whatever a malformed file leads to
        raise SetupError(f"{path}.{extension}: {type(error).__name__}: {error}", hint="get the file again") from error
    samples = np.asarray(annotation.sample, np.int64)
    symbols: list[str] = list(annotation.symbol)
    beats = [k for k, symbol in enumerate(symbols) if symbol in CLASS_OF]
    flutter, began = [], None
    for sample, symbol in zip(samples, symbols, strict=True):
        if symbol == "[" and began is None:
            began = int(sample)
        elif symbol == "]" and began is not None:
            flutter.append((began, int(sample)))
            began = None
    if began is not None and samples.size:
        flutter.append((began, int(samples[-1])))
    escapes = frozenset(position for position, k in enumerate(beats) if symbols[k] in ESCAPES)
    return Marks(samples[beats], tuple(CLASS_OF[symbols[k]] for k in beats), tuple(flutter), escapes)


def independent(reference: Marks, test: Marks, fs_hz: float, from_s: float = 0.0) -> tuple[int, int, int]:
    """TP, FN, FP of the same marks by another's matcher, `wfdb.processing.compare_annotations`."""
    from wfdb import processing

    kept = _kept(reference, reference.flutter, round(from_s * fs_hz))
    seen = _kept(test, reference.flutter, round(from_s * fs_hz))
    if not kept or not seen:
        return 0, len(kept), len(seen)
    compared: Any = processing.compare_annotations(reference.samples[kept], test.samples[seen], int(WINDOW_S * fs_hz))
    return int(compared.tp), int(compared.fn), int(compared.fp)
