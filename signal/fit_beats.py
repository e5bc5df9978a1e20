"""Fit the line that tells beats from other humps, and show how it does on records that it was not fitted to.

    python signal/fit_beats.py DIR [--leave-one-out] [--rounds 3]

DIR holds MIT-BIH records (WFDB). The lead is MLII where a record has it, else its first. Each hump of the QRS
envelope is labelled by the annotations: for each beat the highest hump within 120 ms. Round 0 lets the
annotations decide while the measures are taken; each later round lets the line of the round before decide, so
that it also learns from the company of its own errors; all rounds' humps are fitted together (logistic
regression, ridge 1). Prints the weights for `bedside/signal/evidence.py`, in its order, and errors a record.
With `--leave-one-out` each record is then judged by a line fitted to the other records alone (201 and 202 are
one patient: keep only one of them in DIR, or leave both out).
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import wfdb

from bedside.signal.beats import BeatFinder
from bedside.signal.evidence import Hump, Scene, evidence, logit, overdue_logit
from bedside.signal.lead import HALF, LeadAnalyser
from bedside.signal.resample import INTERNAL_HZ, Floats

BEAT_SYMBOLS = frozenset("NLRejAaJSVEF/fQnB?")
LABEL_WINDOW = 30  # internal samples, 120 ms
MATCH_S = 0.15


@dataclass(frozen=True, eq=False)
class Truth:
    """A record's lead and beats; `flutter` are stretches that neither side counts, in source samples."""

    name: str
    fs_hz: float
    lead_mv: Floats
    beats: tuple[int, ...]
    flutter: tuple[tuple[int, int], ...]

    def counts(self, at: float) -> bool:
        """Whether a source sample lies outside flutter."""
        return not any(first <= at <= last for first, last in self.flutter)


@dataclass(frozen=True)
class Recorder(BeatFinder):
    """A finder that writes down what it weighs. With `answers` the annotations decide, else the weights."""

    answers: frozenset[int] | None = None
    seen: list[tuple[int, float, tuple[float, ...]]] = field(default_factory=list)

    def odds(self, hump: Hump, scene: Scene) -> float:
        measures = evidence(hump, scene)
        self.seen.append((hump.at, hump.height, measures))
        if self.answers is not None:
            return 1.0 if hump.at in self.answers else -1.0
        return logit(measures, self.weights) + overdue_logit(hump, scene)


def read(path: Path) -> Truth:
    """A record and its reference annotations."""
    record, marks = wfdb.rdrecord(str(path)), wfdb.rdann(str(path), "atr")
    lead = record.sig_name.index("MLII") if "MLII" in record.sig_name else 0
    flutter, start = list[tuple[int, int]](), 0
    for at, symbol in zip(marks.sample.tolist(), marks.symbol, strict=True):
        if symbol == "[":
            start = at
        elif symbol == "]":
            flutter.append((start, at))
    beats = tuple(at for at, symbol in zip(marks.sample.tolist(), marks.symbol, strict=True) if symbol in BEAT_SYMBOLS)
    return Truth(path.name, float(record.fs), record.p_signal[:, lead], beats, tuple(flutter))


def play(truth: Truth, finder: BeatFinder) -> list[int]:
    """The source samples of the beats that stand at the end."""
    design = replace(LeadAnalyser.design(truth.fs_hz), finder=finder)
    state, output = design.step(design.initial(), truth.lead_mv)
    end = design.finish(state)
    standing = [peak.index for peak in (*output.peaks, *end.peaks)]
    for index in (*output.retracted, *end.retracted):
        standing.remove(index)
    return standing


def labelled(truth: Truth, seen: Sequence[tuple[int, float, tuple[float, ...]]]) -> tuple[Floats, Floats]:
    """Measures (n, k) and labels (n,) of the humps outside flutter."""
    to_source = truth.fs_hz / INTERNAL_HZ
    seen = [one for one in seen if truth.counts((one[0] - HALF) * to_source)]
    at, height = np.array([one[0] for one in seen]), np.array([one[1] for one in seen])
    labels = np.zeros(at.size)
    for beat in truth.beats:
        inner = beat / to_source + HALF
        first, last = np.searchsorted(at, (inner - LABEL_WINDOW, inner + LABEL_WINDOW))
        if last > first and truth.counts(beat):
            labels[first + int(height[first:last].argmax())] = 1.0
    return np.array([one[2] for one in seen]), labels


def answers(truth: Truth) -> frozenset[int]:
    """The humps that are beats, whatever the finder thinks of them."""
    recorder = Recorder(answers=frozenset())
    play(truth, recorder)
    measures = sorted((at, height) for at, height, _ in recorder.seen)
    at, height = np.array([one[0] for one in measures]), np.array([one[1] for one in measures])
    chosen = set[int]()
    for beat in truth.beats:
        inner = beat * INTERNAL_HZ / truth.fs_hz + HALF
        first, last = np.searchsorted(at, (inner - LABEL_WINDOW, inner + LABEL_WINDOW))
        if last > first:
            chosen.add(int(at[first + int(height[first:last].argmax())]))
    return frozenset(chosen)


def fit(parts: Sequence[tuple[Floats, Floats]], ridge: float = 1.0) -> tuple[float, ...]:
    """Logistic regression by Newton's method."""
    measures = np.concatenate([part[0] for part in parts])
    labels = np.concatenate([part[1] for part in parts])
    weights = np.zeros(measures.shape[1])
    for _ in range(12):
        odds = 1.0 / (1.0 + np.exp(-np.clip(measures @ weights, -30.0, 30.0)))
        slope = measures.T @ (odds - labels) + ridge * weights
        bend = (measures * (odds * (1.0 - odds))[:, None]).T @ measures + ridge * np.eye(weights.size)
        weights -= np.linalg.solve(bend, slope)
    return tuple(weights.tolist())


def errors(truth: Truth, marks: Sequence[int]) -> tuple[int, int, int]:
    """Found, false, missed within 150 ms, one to one, in order of time."""
    window = MATCH_S * truth.fs_hz
    beats = [at for at in truth.beats if truth.counts(at)]
    left = [at for at in sorted(marks) if truth.counts(at)]
    found, n_left, k = 0, len(left), 0
    for number, beat in enumerate(beats):
        while k < n_left and left[k] < beat - window:
            k += 1
        if k == n_left:
            break
        while k + 1 < n_left and abs(left[k + 1] - beat) < abs(left[k] - beat):
            k += 1
        following = beats[number + 1] if number + 1 < len(beats) else np.inf
        if abs(left[k] - beat) <= window and abs(left[k] - beat) <= abs(left[k] - following):
            found, k = found + 1, k + 1
    return found, n_left - found, len(beats) - found


def report(title: str, rows: Sequence[tuple[str, tuple[int, int, int]]]) -> None:
    """One line a record, then the sum."""
    found, false, missed = (sum(row[1][k] for row in rows) for k in range(3))
    lines = [f"{name} found {one[0]} false {one[1]} missed {one[2]}" for name, one in rows]
    total = f"F1 {200 * found / max(1, 2 * found + false + missed):.3f} % false {false} missed {missed}"
    sys.stdout.write("\n".join((title, *lines, f"{title}: {total}", "")))
    sys.stdout.flush()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--leave-one-out", action="store_true")
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    truths = [read(path.with_suffix("")) for path in sorted(arguments.data.glob("*.hea"))]
    parts: dict[str, list[tuple[Floats, Floats]]] = {}
    for truth in truths:
        recorder = Recorder(answers=answers(truth))
        play(truth, recorder)
        parts[truth.name] = [labelled(truth, recorder.seen)]
    for number in range(arguments.rounds):
        weights = fit([part for one in parts.values() for part in one])
        rows = list[tuple[str, tuple[int, int, int]]]()
        for truth in truths:
            recorder = Recorder(weights=weights)
            rows.append((truth.name, errors(truth, play(truth, recorder))))
            parts[truth.name].append(labelled(truth, recorder.seen))
        report(f"round {number + 1}, fitted to all", rows)
    weights = fit([part for one in parts.values() for part in one])
    sys.stdout.write("WEIGHTS: tuple[float, ...] = (" + ", ".join(f"{weight:.4f}" for weight in weights) + ")\n")
    report("final, fitted to all", [(t.name, errors(t, play(t, BeatFinder(weights)))) for t in truths])
    if arguments.leave_one_out:
        rows = []
        for truth in truths:
            others = [part for name, one in parts.items() if name != truth.name for part in one]
            rows.append((truth.name, errors(truth, play(truth, BeatFinder(fit(others))))))
        report("each record left out of the fit", rows)


if __name__ == "__main__":
    main()
