"""What the heads of the beat network learn from: the corpus as one table, and each head's lesson.

Training only; pure but for what it is given. A lesson is the rows that a head's question can be asked of, thinned where
a lead has far more N beats than the rest, and what is shown besides (`augment.py`, `intervals.py`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, TypeAlias

import numpy as np
import numpy.typing as npt

from bedside.models import augment, corpus, distil, intervals, network
from bedside.models.features import NAMES, Int8s

Labels: TypeAlias = npt.NDArray[np.str_]

RHYTHM_OTHERS_MAX: Final = 250  # N beats taken of each recording of beat times
UNHURRIED_SHARE: Final = 0.5  # of the V beats, shown again with the interval of another beat
SHOWN_N_MAX: Final = 1000  # N beats of each lead that a student is shown
FIRST_RHYTHM: Final = 1_000_000  # their patients' numbers start here
S_COLUMNS: Final = (
    "calm_", "rr_scatter", "experience", "qrs_correlation", "window_correlation", "qrs_distance", "p_",
    "log_amplitude", "width",
)  # fmt: skip
"""Beginnings of the inputs that the S head may use: how early against slow references, only while the rhythm is
calm (in atrial fibrillation every beat looks early), and how much the shape is the usual one. Given all
inputs it learns the rhythms of the few patients with many S beats by heart."""


@dataclass(frozen=True, slots=True)
class HeadPlan:
    """A head's question: `symbol` against the other classes of `classes`; all else is left out of training."""

    symbol: str
    classes: str
    columns: npt.NDArray[np.bool_]
    recipe: network.Recipe
    nets: int  # bagged perceptrons, each of its own seed
    student: distil.StudentPlan | None = None  # None: the mean of the perceptrons is the head
    trees: distil.TreesPlan | None = None  # beside the perceptrons, for a student


def plans() -> tuple[HeadPlan, ...]:
    """V against all but fusion beats; S against N."""
    everything = np.ones(len(NAMES), dtype=np.bool_)
    slow = np.array([name.startswith(S_COLUMNS) for name in NAMES])
    v, s = network.Recipe(members=16, hidden=8, temper=1.0, others_max=4000), network.Recipe(12, 12, others_max=2000)
    grown = distil.TreesPlan(columns=1.0, whole_lesson=False)
    return (
        HeadPlan("V", "NSV", everything, v, nets=2),
        HeadPlan("S", "NS", slow, s, nets=1, student=distil.StudentPlan(), trees=grown),
    )


@dataclass(frozen=True, slots=True, eq=False)
class Table:
    """All leads of a corpus, row by row."""

    rows: Int8s
    labels: Labels
    patient: npt.NDArray[np.int64]  # index into `patients`
    lead: npt.NDArray[np.int64]
    judged: npt.NDArray[np.bool_]
    main: npt.NDArray[np.bool_]
    patients: tuple[str, ...]
    rr_s: npt.NDArray[np.float64]

    @classmethod
    def of(cls, data: corpus.Corpus) -> Table:
        patients, leads = data.patients, data.leads
        return cls(
            np.concatenate([lead.rows for lead in leads]),
            np.concatenate([lead.labels for lead in leads]),
            np.concatenate([np.full(lead.labels.size, patients.index(lead.patient)) for lead in leads]),
            np.concatenate([np.full(lead.labels.size, i) for i, lead in enumerate(leads)]),
            np.concatenate([lead.judged for lead in leads]),
            np.concatenate([np.full(lead.labels.size, lead.main) for lead in leads]),
            patients,
            np.concatenate([lead.rr_s for lead in leads]),
        )


@dataclass(frozen=True, slots=True, eq=False)
class Material:
    """Everything that a model may be made from."""

    table: Table
    rhythms: tuple[intervals.Rhythm, ...]
    thinned: Thinned | None = None

    @classmethod
    def of(cls, table: Table, rhythms: tuple[intervals.Rhythm, ...]) -> Material:
        return cls(table, rhythms, thinned_leads(table))


@dataclass(frozen=True, slots=True, eq=False)
class Thinned:
    """N and S beats of main leads whose calm stretches were cut out."""

    rows: Int8s
    truth: npt.NDArray[np.bool_]
    patient: npt.NDArray[np.int64]


def thinned_leads(table: Table) -> Thinned | None:
    """The main leads with many S beats, with most of their N beats cut out."""
    odd = augment.odd_shapes(table.rows)
    rows, truth, patients = [], [], []
    for lead in np.unique(table.lead[table.main]):
        mine = np.flatnonzero(table.lead == lead)
        found = augment.thinned(table.rr_s[mine], table.labels[mine], odd[mine])
        if found is None:
            continue
        at = mine[found.at]
        asked = table.judged[at] & np.isin(table.labels[at], ["N", "S"])
        changed = table.rows[at[asked]].copy()
        changed[:, : found.rows.shape[1]] = found.rows[asked]
        rows.append(changed)
        truth.append(table.labels[at[asked]] == "S")
        patients.append(table.patient[at[asked]])
    return Thinned(np.concatenate(rows), np.concatenate(truth), np.concatenate(patients)) if rows else None


def whole(
    lesson: network.Lesson, material: Material, use: npt.NDArray[np.bool_], plan: HeadPlan, rng: np.random.Generator
) -> network.Lesson:
    """With what is shown besides: V beats that do not come early; for S, others' intervals and thinned leads."""
    if plan.symbol == "V":
        return _with_unhurried(lesson, material.table, rng)
    return _with_others(lesson, material, use, rng)


def shown(table: Table, use: npt.NDArray[np.bool_], seed: int) -> Int8s:
    """What students are shown: of each lead every judged beat, but N beats only up to `SHOWN_N_MAX`."""
    rng = np.random.default_rng(seed)
    at = use & table.judged
    for lead in np.unique(table.lead[at]):
        common = np.flatnonzero(at & (table.lead == lead) & (table.labels == "N"))
        if common.size > SHOWN_N_MAX:
            at[rng.choice(common, common.size - SHOWN_N_MAX, replace=False)] = False
    rows: Int8s = table.rows[at]
    return rows


def lesson_of(
    table: Table, use: npt.NDArray[np.bool_], plan: HeadPlan, others_max: int, rng: np.random.Generator
) -> network.Lesson:
    """Rows of the plan's classes; a lead gives at most `others_max` negatives, which then stand for all of its."""
    take = use & table.judged & np.isin(table.labels, list(plan.classes))
    stands_for = np.where(table.main, 1.0, 0.0)
    for lead in np.unique(table.lead[take]):
        others = np.flatnonzero(take & (table.lead == lead) & (table.labels != plan.symbol))
        if others.size > others_max:
            take[rng.choice(others, others.size - others_max, replace=False)] = False
            stands_for[others] *= others.size / others_max
    at = np.flatnonzero(take)
    return network.Lesson(table.rows[at], table.labels[at] == plan.symbol, table.patient[at], stands_for[at], at)


def _with_unhurried(lesson: network.Lesson, table: Table, rng: np.random.Generator) -> network.Lesson:
    """V beats once more that do not come early."""
    lead = table.lead[lesson.at]
    rows, at = augment.unhurried(lesson.rows, lesson.truth, lead, UNHURRIED_SHARE, rng)
    return lesson.followed_by(rows, np.ones(at.size, dtype=np.bool_), lesson.patients[at])


def _with_others(
    lesson: network.Lesson, material: Material, use: npt.NDArray[np.bool_], rng: np.random.Generator
) -> network.Lesson:
    """Thinned leads and others' intervals behind. The shape that intervals lack is borrowed from N beats of the
    lesson, for S and N alike."""
    shapes = lesson.rows[~lesson.truth]
    if material.thinned is not None:
        thin = material.thinned
        mine = np.isin(thin.patient, np.unique(material.table.patient[use]))
        lesson = lesson.followed_by(thin.rows[mine], thin.truth[mine], thin.patient[mine])
    for number, rhythm in enumerate(material.rhythms):
        s, n = np.flatnonzero(rhythm.labels == "S"), np.flatnonzero(rhythm.labels == "N")
        pick = np.concatenate([s, rng.choice(n, min(n.size, RHYTHM_OTHERS_MAX), replace=False)])
        borrowed = shapes[rng.integers(0, shapes.shape[0], pick.size)].copy()
        borrowed[:, : rhythm.rows.shape[1]] = rhythm.rows[pick]
        patients = np.full(pick.size, FIRST_RHYTHM + number)
        lesson = lesson.followed_by(borrowed, rhythm.labels[pick] == "S", patients)
    return lesson
