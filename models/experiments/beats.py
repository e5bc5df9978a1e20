"""What was tried for the beat model, each variant cross-validated on the same folds.

    python models/experiments/beats.py --data DIR --cache FILE VARIANT ...

Not shipped and not run by the product. Reads a folder of recordings through the live path once (kept in `--cache`),
then trains float heads on the folds of `bedside train beats` and prints gross and per-record counts. Variants:

    committed    the recipe as committed
    alone        each beat by its own logit (no opinions of variants)
    hurried      V beats only with their own intervals
    unthinned    no recordings with the calm stretches cut out
    recordings   no beat times of other people
    perceptrons  bagged perceptrons alone (committed before), without trees and without a student
    trees        gradient boosting alone
    teachers     the mean of both: too large for the box
    students     both heads learn that mean (committed for S alone)
    lookahead    opinions that know the whole recording: what revising a class later could give at most
    shuffled     labels shuffled among the training beats: what chance gives
"""

from __future__ import annotations

import argparse
import pickle
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from bedside.models import corpus, distil, intervals, lessons, train
from bedside.models.opinion import Opinions
from bedside.models.scoring import Counts, count, folds, interval

Floats = npt.NDArray[np.float64]
say = print  # a command of our own, not the product's
VARIANTS = (
    "committed", "alone", "hurried", "unthinned", "recordings", "perceptrons", "trees", "teachers", "students",
    "lookahead", "shuffled",
)  # fmt: skip


def read(data: Path, cache: Path | None) -> tuple[corpus.Corpus, tuple[intervals.Rhythm, ...]]:
    """Recordings and beat times; `cache` is a file of our own making."""
    if cache is not None and cache.is_file():
        kept: tuple[corpus.Corpus, tuple[intervals.Rhythm, ...]] = pickle.loads(cache.read_bytes())  # noqa: S301
        return kept
    found = corpus.read(data / "mitdb"), intervals.read(data)
    if cache is not None:
        cache.write_bytes(pickle.dumps(found))
    return found


def opinions(logits: Floats, lead: corpus.Lead, passes: int) -> Floats:
    """As the product has them; with two passes the second knows what the first heard."""
    moved, of = logits.copy(), Opinions()
    for _ in range(passes):
        for at in np.flatnonzero(lead.judged).tolist():
            moved[at] = of.heard(int(lead.variants[at]), float(logits[at]))
    return moved


V_TREES, S_TREES = distil.TreesPlan(0.3, whole_lesson=True), distil.TreesPlan(1.0, whole_lesson=False)


def plans() -> tuple[lessons.HeadPlan, ...]:
    """As committed, with trees beside the perceptrons of both heads."""
    v, s = lessons.plans()
    return replace(v, trees=V_TREES), replace(s, trees=S_TREES)


def trees(material: lessons.Material, use: npt.NDArray[np.bool_], seed: int) -> list[distil.Teacher]:
    """Gradient boosting for both questions."""
    return [train.teachers(material, use, plan, seed)[0][-1] for plan in plans()]


def teachers(material: lessons.Material, use: npt.NDArray[np.bool_], seed: int) -> list[distil.Teacher]:
    """The mean opinions of perceptrons and trees."""
    return [distil.mean_opinion(*train.teachers(material, use, plan, seed)) for plan in plans()]


def students(material: lessons.Material, use: npt.NDArray[np.bool_], seed: int) -> list[distil.Teacher]:
    """What two students make of them."""
    rows = lessons.shown(material.table, use, seed)
    return [
        distil.student(rows, teacher, plan.columns, distil.StudentPlan(), seed + number).logits
        for number, (plan, teacher) in enumerate(zip(plans(), teachers(material, use, seed), strict=True))
    ]


def perceptrons(material: lessons.Material, use: npt.NDArray[np.bool_], seed: int) -> list[distil.Teacher]:
    """Bagged perceptrons alone, one seed, as they were committed before."""
    return [train.net(material, use, plan, seed).logits for plan in lessons.plans()]


def logits_of(variant: str, material: lessons.Material, seen: npt.NDArray[np.bool_], seed: int) -> Any:
    """A function from rows to both logits, by a model of `variant` that saw only `seen`."""
    if variant in MAKERS:
        made = MAKERS[variant](material, seen, seed)
        return lambda rows: [one(rows) for one in made]
    heads = train.train_heads(material, seen, seed)
    return lambda rows: [head.logits(rows) for head in heads]


MAKERS = {"trees": trees, "teachers": teachers, "students": students, "perceptrons": perceptrons}


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--cache", type=Path)
    parser.add_argument("--seed", type=int, default=train.SEED)
    parser.add_argument("--records", action="store_true")
    parser.add_argument("variants", nargs="*", choices=[*VARIANTS, []], default=["committed"])
    asked = parser.parse_args()
    data, rhythms = read(asked.data, asked.cache)
    table = lessons.Table.of(data)
    dealt = folds(train._burden(data), train.N_FOLDS)
    for variant in asked.variants:
        began_s = time.process_time()
        say(variant, end=": ", flush=True)
        rows = judge(variant, data, table, rhythms, dealt, asked.seed)
        for symbol in "VS":
            per = [one[symbol] for one in rows.values()]
            total, span = sum(per, Counts()), interval(per, 1)
            say(f"{symbol} {total.f1:.4f} {span[0]:.3f}..{span[1]:.3f}" if span and total.f1 else symbol, end="  ")
        say(f"{time.process_time() - began_s:.0f} CPU s", flush=True)
        for record, one in rows.items() if asked.records else ():
            say(record, *(f"{symbol} {c.tp}/{c.fp}/{c.fn}" for symbol, c in one.items()))


def judge(
    variant: str,
    data: corpus.Corpus,
    table: lessons.Table,
    rhythms: tuple[intervals.Rhythm, ...],
    dealt: tuple[tuple[str, ...], ...],
    seed: int,
) -> dict[str, dict[str, Counts]]:
    """Counts of each main lead by a model that did not see its patient."""
    if variant == "shuffled":
        table = replace(table, labels=np.random.default_rng(seed).permutation(table.labels))
    material = lessons.Material.of(table, () if variant == "recordings" else rhythms)
    if variant in {"unthinned", "recordings"}:
        kept = tuple(one for one in material.rhythms if not one.name.startswith("thinned"))
        material = lessons.Material(table, kept)
    lessons.UNHURRIED_SHARE = 0.0 if variant == "hurried" else 0.5  # type: ignore[misc]
    counts: dict[str, dict[str, Counts]] = {}
    for number, held in enumerate(dealt):
        seen = ~np.isin(table.patient, [table.patients.index(patient) for patient in held])
        logits = logits_of(variant, material, seen, seed + number)
        for lead in data.leads:
            if not lead.main or lead.patient not in held:
                continue
            v, s = logits(lead.rows)
            if variant != "alone":
                v = opinions(v, lead, 2 if variant == "lookahead" else 1)
            symbols = train.called(v, s, lead.judged)
            counts[lead.record] = {one: count(one, lead.labels, symbols, lead.missed) for one in "VS"}
    return dict(sorted(counts.items()))


if __name__ == "__main__":
    main()
