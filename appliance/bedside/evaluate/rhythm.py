"""Rhythm episodes against an expert's, as EC57 asks: by episode and by duration, per record, gross and average.

Rules that move the figures are stated here. Atrial fibrillation is what the experts call `AFIB`; their flutter and
junctional rhythm (`AFL`, `J`) are left out on both sides, as is what they call paced, because our `AFIB` means
"irregular as in fibrillation or flutter". An episode is found when any part of it is (EC57, 5.2); sustained episodes
last 30 s or more. A VT or VF that overlaps no VT, VF or idioventricular rhythm of the experts, and no three of their
ventricular beats in a row, is a false alarm; those are counted per 24 h. Pure.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Final, TypeAlias

import numpy as np
import numpy.typing as npt

from bedside.core.events import Json

Times: TypeAlias = tuple[float, float]
"""`[start_s, end_s)`."""

SUSTAINED_S: Final = 30.0
LONG_S: Final = 10.0  # a VT or VF so long must be found
AF_NEUTRAL: Final = frozenset({"AFL", "J", "P"})
VT_OURS: Final = frozenset({"VT", "VFL"})
VT_NEUTRAL: Final = frozenset({"IVR", "VT", "VFL", "VF"})


@dataclass(frozen=True, slots=True)
class RhythmSpan:
    """One rhythm of the experts or of ours."""

    label: str
    start_s: float
    end_s: float


def spans_of(samples: Sequence[int], notes: Sequence[str], end: int, fs_hz: float) -> tuple[RhythmSpan, ...]:
    """Rhythms from WFDB annotations' `aux_note`s such as `(AFIB`; each lasts until the next, the last until `end`."""
    marks = [
        (int(at), note.strip("\x00 ").removeprefix("("))
        for at, note in zip(samples, notes, strict=True)
        if note.startswith("(")
    ]
    ends = [at for at, _ in marks[1:]] + [end]
    return tuple(
        RhythmSpan(label, at / fs_hz, stop / fs_hz) for (at, label), stop in zip(marks, ends, strict=True) if stop > at
    )


def ventricular_runs(samples: Sequence[int], symbols: Sequence[str], fs_hz: float) -> tuple[Times, ...]:
    """Three or more ventricular beats in a row, and flutter between `[` and `]`: what no VT in it is false for."""
    runs: list[Times] = []
    held: list[int] = []
    flutter: int | None = None
    for at, symbol in [*zip(samples, symbols, strict=True), (-1, "N")]:
        if symbol == "[":
            flutter = int(at)
        elif symbol == "]" and flutter is not None:
            runs.append((flutter / fs_hz, int(at) / fs_hz))
            flutter = None
        elif symbol in "VEF" or symbol == "!":
            held.append(int(at))
        elif symbol in "NLRBAaJSjenrQ/f?":
            if len(held) >= 3:
                runs.append((held[0] / fs_hz, held[-1] / fs_hz))
            held = []
    return tuple(runs)


def merged(times: Iterable[Times]) -> tuple[Times, ...]:
    """The union of spans, in order, none empty."""
    joined: list[Times] = []
    for start_s, end_s in sorted(one for one in times if one[1] > one[0]):
        if joined and start_s <= joined[-1][1]:
            joined[-1] = (joined[-1][0], max(end_s, joined[-1][1]))
        else:
            joined.append((start_s, end_s))
    return tuple(joined)


def without(times: Iterable[Times], holes: Iterable[Times]) -> tuple[Times, ...]:
    """`times` less `holes`."""
    left = list(merged(times))
    for start_s, end_s in merged(holes):
        left = [
            part
            for one in left
            for part in ((one[0], min(one[1], start_s)), (max(one[0], end_s), one[1]))
            if part[1] > part[0]
        ]
    return tuple(left)


def overlap_s(one: Iterable[Times], other: Iterable[Times]) -> float:
    """Seconds that lie in both."""
    two = merged(other)
    return sum(max(min(a[1], b[1]) - max(a[0], b[0]), 0.0) for a in merged(one) for b in two)


def total_s(times: Iterable[Times]) -> float:
    """Seconds in the union."""
    return sum(end_s - start_s for start_s, end_s in merged(times))


@dataclass(frozen=True, slots=True)
class FibrillationTally:
    """Atrial fibrillation of one record or their sum. Seconds, and episodes found of episodes asked for."""

    both_s: float = 0.0
    truth_s: float = 0.0
    said_s: float = 0.0
    judged_s: float = 0.0  # less what is left out
    episodes: tuple[int, int] = (0, 0)  # found, all
    sustained: tuple[int, int] = (0, 0)
    said: tuple[int, int] = (0, 0)  # of ours: those that meet fibrillation, all
    onset_late_s: tuple[float, ...] = field(default=(), repr=False)  # of sustained ones found: ours minus theirs
    end_late_s: tuple[float, ...] = field(default=(), repr=False)

    def __add__(self, other: FibrillationTally) -> FibrillationTally:
        return FibrillationTally(
            self.both_s + other.both_s,
            self.truth_s + other.truth_s,
            self.said_s + other.said_s,
            self.judged_s + other.judged_s,
            _plus(self.episodes, other.episodes),
            _plus(self.sustained, other.sustained),
            _plus(self.said, other.said),
            self.onset_late_s + other.onset_late_s,
            self.end_late_s + other.end_late_s,
        )

    @property
    def sensitivity(self) -> float | None:
        return _share(self.both_s, self.truth_s)

    @property
    def precision(self) -> float | None:
        return _share(self.both_s, self.said_s)

    @property
    def specificity(self) -> float | None:
        return _share(self.judged_s - self.truth_s - self.said_s + self.both_s, self.judged_s - self.truth_s)

    def facts(self) -> dict[str, Json]:
        """For tables and cards: shares 0 to 1, seconds."""
        return {
            "sensitivity": _rounded(self.sensitivity),
            "precision": _rounded(self.precision),
            "specificity": _rounded(self.specificity),
            "truth_s": round(self.truth_s, 1),
            "said_s": round(self.said_s, 1),
            "both_s": round(self.both_s, 1),
            "judged_s": round(self.judged_s, 1),
            "episodes": list(self.episodes),
            "sustained": list(self.sustained),
            "said_episodes": list(self.said),
            "onset_late_s": _quartiles(self.onset_late_s),
            "end_late_s": _quartiles(self.end_late_s),
        }


def fibrillation(truth: Sequence[RhythmSpan], ours: Sequence[RhythmSpan], end_s: float) -> FibrillationTally:
    """Atrial fibrillation of one record that lasts `end_s`."""
    neutral = [(one.start_s, one.end_s) for one in truth if one.label in AF_NEUTRAL]
    wanted = merged((one.start_s, one.end_s) for one in truth if one.label == "AFIB")
    said = without([(one.start_s, one.end_s) for one in ours if one.label == "AFIB"], neutral)
    found = [one for one in wanted if overlap_s([one], said) > 0.0]
    long = [one for one in wanted if one[1] - one[0] >= SUSTAINED_S]
    late, over = [], []
    for one in long:
        touching = [mine for mine in said if overlap_s([one], [mine]) > 0.0]
        if touching and one[0] > 0.0:
            late.append(touching[0][0] - one[0])
        if touching and one[1] < end_s:
            over.append(touching[-1][1] - one[1])
    return FibrillationTally(
        both_s=overlap_s(wanted, said),
        truth_s=total_s(wanted),
        said_s=total_s(said),
        judged_s=end_s - total_s(neutral),
        episodes=(len(found), len(wanted)),
        sustained=(sum(1 for one in long if one in found), len(long)),
        said=(sum(1 for one in said if overlap_s([one], wanted) > 0.0), len(said)),
        onset_late_s=tuple(late),
        end_late_s=tuple(over),
    )


@dataclass(frozen=True, slots=True)
class DangerTally:
    """VT, VF and asystole of one record or their sum: episodes found of all, of the long ones, false ones."""

    found: tuple[int, int] = (0, 0)
    long_found: tuple[int, int] = (0, 0)
    false: int = 0
    false_vf: int = 0
    false_asystole: int = 0
    hours: float = 0.0
    seen_after_s: tuple[float, ...] = field(default=(), repr=False)  # of long ones: from onset to being said

    def __add__(self, other: DangerTally) -> DangerTally:
        return DangerTally(
            _plus(self.found, other.found),
            _plus(self.long_found, other.long_found),
            self.false + other.false,
            self.false_vf + other.false_vf,
            self.false_asystole + other.false_asystole,
            self.hours + other.hours,
            self.seen_after_s + other.seen_after_s,
        )

    def facts(self) -> dict[str, Json]:
        """Counts, and false ones per 24 h."""
        per_day = 24.0 / self.hours if self.hours else 0.0
        return {
            "episodes": list(self.found),
            "longer_than_10_s": list(self.long_found),
            "false": self.false,
            "false_vf": self.false_vf,
            "false_asystole": self.false_asystole,
            "false_per_24_h": round((self.false + self.false_vf + self.false_asystole) * per_day, 2),
            "hours": round(self.hours, 3),
            "seen_after_s": _quartiles(self.seen_after_s),
        }


@dataclass(frozen=True, slots=True)
class Said:
    """An alarm of a dangerous rhythm: where its condition began, and when it was signalled."""

    label: str
    start_s: float
    said_s: float


def danger(
    truth: Sequence[RhythmSpan], runs: Sequence[Times], ours: Sequence[RhythmSpan], said: Sequence[Said], end_s: float
) -> DangerTally:
    """Ventricular tachycardia and flutter, and asystole, of one record that lasts `end_s`."""
    wanted = [one for one in truth if one.label in ("VT", "VFL", "VF")]
    excused = [*runs, *((one.start_s, one.end_s) for one in truth if one.label in VT_NEUTRAL)]
    ventricular = [one for one in ours if one.label in VT_OURS]
    hits = [[mine for mine in ventricular if mine.start_s < one.end_s and mine.end_s > one.start_s] for one in wanted]
    long = [(one, mine) for one, mine in zip(wanted, hits, strict=True) if one.end_s - one.start_s >= LONG_S]
    wrong = [one for one in ventricular if overlap_s([(one.start_s, one.end_s)], excused) == 0.0]
    after = []
    for one, _ in long:
        told = [
            alarm.said_s for alarm in said if alarm.label in VT_OURS and one.start_s <= alarm.said_s < one.end_s + 5
        ]
        if told:
            after.append(min(told) - one.start_s)
    return DangerTally(
        found=(sum(1 for mine in hits if mine), len(wanted)),
        long_found=(sum(1 for _, mine in long if mine), len(long)),
        false=sum(1 for one in wrong if one.label == "VT"),
        false_vf=sum(1 for one in wrong if one.label == "VFL"),
        false_asystole=sum(1 for one in ours if one.label == "ASYS"),
        hours=end_s / 3600.0,
        seen_after_s=tuple(after),
    )


def area_under_curve(scores: npt.NDArray[np.float64], truth: npt.NDArray[np.bool_]) -> float | None:
    """AUC by ranks, ties halved (Mann and Whitney); None when one class is missing."""
    positives, negatives = int(truth.sum()), int((~truth).sum())
    if not positives or not negatives:
        return None
    _, where, n = np.unique(scores, return_inverse=True, return_counts=True)
    middle = np.cumsum(n) - (n - 1) / 2.0
    ranks = middle[where]
    return float((ranks[truth].sum() - positives * (positives + 1) / 2.0) / (positives * negatives))


def bootstrap(parts: Sequence[Sequence[float]], seed: int = 1, draws: int = 2000) -> tuple[float, float] | None:
    """95 % interval of sum(column 0) / sum(column 1), patients (rows) drawn with replacement; None without any."""
    table = np.array(parts, dtype=np.float64).reshape(-1, 2)
    if not table.size:
        return None
    drawn = table[np.random.default_rng(seed).integers(0, len(table), size=(draws, len(table)))].sum(axis=1)
    known = drawn[:, 1] > 0
    if not known.any():
        return None
    low, high = np.quantile(drawn[known, 0] / drawn[known, 1], [0.025, 0.975])
    return round(float(low), 4), round(float(high), 4)


def _plus(a: tuple[int, int], b: tuple[int, int]) -> tuple[int, int]:
    return a[0] + b[0], a[1] + b[1]


def _share(part: float, whole: float) -> float | None:
    return part / whole if whole > 0 else None


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 4)


def _quartiles(values: Sequence[float]) -> Json:
    """Median, quartiles and extremes, seconds; None without values."""
    if not values:
        return None
    low, first, middle, third, high = np.quantile(np.array(values), [0.0, 0.25, 0.5, 0.75, 1.0])
    named = {"min": low, "q1": first, "median": middle, "q3": third, "max": high}
    return {key: round(float(value), 1) for key, value in named.items()}
