"""What was tried for the rhythm model, each variant cross-validated on the folds of `bedside train rhythm`.

    python models/experiments/rhythm.py --data DIR [--cache FILE] [--before]

Not shipped and not run by the product. Reads the strips through the live path once (kept in `--cache`) and prints F1 of
N, A, O, ~ and the mean of N, A, O: of each teacher, of their mean, of the student, of the student of shuffled labels.
`--before`: without the numbers that this version added (waves of the average beat, steps, odd beats).
"""

from __future__ import annotations

import argparse
import pickle
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from bedside.models import rhythm_cards, rhythm_waves
from bedside.models.rhythm_corpus import Strips
from bedside.models.rhythm_features import _ODD_NAMES, _STEP_NAMES, NAMES
from bedside.models.rhythm_teachers import TEACHERS, Lesson, mean_opinion, student
from bedside.models.rhythm_train import N_FOLDS, SEED, folds_of, input_of, shares_of, strips_in

Floats = npt.NDArray[np.float64]
say = print
ADDED = frozenset((*_STEP_NAMES, *_ODD_NAMES, *rhythm_waves.NAMES))


def logits_by_variant(strips: Strips, columns: npt.NDArray[np.bool_], seed: int) -> dict[str, Floats]:
    """Log shares of every row by models that saw none of its fold."""
    fold = folds_of(strips.names)[strips.strip]
    names = [make.__name__ for make in TEACHERS]
    given = {name: np.zeros((strips.strip.size, 4)) for name in (*names, "teachers", "student")}
    x = input_of(strips.rows) * columns
    for number in range(N_FOLDS):
        rows, held = strips.judged & (fold != number), fold == number
        lesson = Lesson(x[rows], strips.labels[strips.strip[rows]], strips.strip[rows])
        teachers = tuple(make(lesson, seed + number) for make in TEACHERS)
        for name, teacher in zip(names, teachers, strict=True):
            given[name][held] = np.log(teacher(x[held]) + 1e-6)
        given["teachers"][held] = np.log(mean_opinion(teachers)(x[held]))
        given["student"][held] = student(lesson, mean_opinion(teachers), seed + number).logits(x[held])
    return given


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--cache", type=Path)
    parser.add_argument("--seed", type=int, default=SEED)
    parser.add_argument("--before", action="store_true")
    asked = parser.parse_args()
    if asked.cache is not None and asked.cache.is_file():
        strips = pickle.loads(asked.cache.read_bytes())  # noqa: S301 (a file of our own making)
    else:
        strips = strips_in(asked.data)
        if asked.cache is not None:
            asked.cache.write_bytes(pickle.dumps(strips))
    columns = np.array([not (asked.before and name in ADDED) for name in NAMES])
    every = np.ones(strips.strip.size, dtype=np.bool_)
    began_s = time.process_time()
    for name, logits in logits_by_variant(strips, columns, asked.seed).items():
        _print(name, strips, shares_of(logits, strips, every), asked.seed)
    say(f"{time.process_time() - began_s:.0f} CPU s for all of these")
    shuffled = replace(strips, labels=np.random.default_rng(asked.seed).permutation(strips.labels))
    logits = logits_by_variant(shuffled, columns, asked.seed)["student"]
    _print("student of shuffled labels", strips, shares_of(logits, strips, every), asked.seed)


def _print(name: str, strips: Strips, shares: Floats, seed: int) -> None:
    figures = rhythm_cards.figures(strips.labels, shares, seed)
    scores = " ".join(f"{label} {value:.3f}" for label, value in figures["f1"].items())
    low, high = figures["mean_f1_interval_95"]
    say(f"{name}: {scores} ({low:.3f}..{high:.3f})", flush=True)


if __name__ == "__main__":
    main()
