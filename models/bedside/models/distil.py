"""From several teachers to the small network that the box runs: their mean opinion, learned by one hidden layer.

Training only (extra `train`). Boosted trees and bagged perceptrons are wrong about different beats of a patient whom
neither has seen, so their mean is better than either; but trees are too large for the box. A student is shown the
training patients' rows, rows mixed from two of them, and what the teachers say of each, with noise on its inputs, so
that it takes over how the teachers judge what lies between the patients. No label is used twice: the student sees none.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

import numpy as np
import numpy.typing as npt

from bedside.models.augment import INTERVAL_COLUMNS
from bedside.models.features import Int8s
from bedside.models.network import Head, Lesson, Singles, standard

Floats: TypeAlias = npt.NDArray[np.float64]
Teacher: TypeAlias = Callable[[Int8s], Floats]
"""int8 rows (n, n_inputs) to logits (n,), above 0: positive."""

LOGIT_MAX: Final = 8.0
"""What a teacher says is held within: how sure it is beyond that decides nothing."""
STEP_MAX: Final = 4.0  # of an error's part in a gradient, so that the surest beats do not rule
SIGMAS: Final = 6.0


@dataclass(frozen=True, slots=True)
class TreesPlan:
    """How a head's boosted trees are grown. `columns`: share of the inputs that each split may choose from."""

    columns: float
    whole_lesson: bool  # or only the recordings as they are
    trees: int = 200
    rate: float = 0.06
    leaves: int = 15


@dataclass(frozen=True, slots=True)
class StudentPlan:
    """How a student is trained."""

    hidden: int = 192
    epochs: int = 10
    batch: int = 512
    rate: float = 3e-3
    noise: float = 0.25  # of an input's spread
    decay: float = 1e-3


def trees(lesson: Lesson, columns: npt.NDArray[np.bool_], plan: TreesPlan, seed: int) -> Teacher:
    """Gradient boosting on a head's lesson. A row weighs the root of the beats that it stands for."""
    from sklearn.ensemble import HistGradientBoostingClassifier

    model: Any = HistGradientBoostingClassifier(
        max_iter=plan.trees,
        learning_rate=plan.rate,
        max_leaf_nodes=plan.leaves,
        max_features=plan.columns,
        random_state=seed,
    )
    weight = np.sqrt(np.maximum(lesson.stands_for, 1.0))
    model.fit(lesson.rows[:, columns], lesson.truth, sample_weight=weight)
    return lambda rows: np.asarray(model.decision_function(rows[:, columns]), dtype=np.float64)


def mean_opinion(teachers: tuple[Teacher, ...], shares: tuple[float, ...]) -> Teacher:
    """Of several, each held within `LOGIT_MAX`."""

    def opinion(rows: Int8s) -> Floats:
        total = np.zeros(rows.shape[0])
        for teacher, share in zip(teachers, shares, strict=True):
            total += share * np.clip(teacher(rows), -LOGIT_MAX, LOGIT_MAX)
        return total / sum(shares)

    return opinion


def mixed(rows: Int8s, rng: np.random.Generator) -> Int8s:
    """As many rows again: half of them with the intervals of another row, half between two rows."""
    other, hurried = rows[rng.permutation(rows.shape[0])], rng.random(rows.shape[0]) < 0.5
    part = rng.random((rows.shape[0], 1))
    between: Int8s = np.rint(rows * (1 - part) + other * part).astype(np.int8)
    changed = rows.copy()
    changed[:, INTERVAL_COLUMNS] = other[:, INTERVAL_COLUMNS]
    between[hurried] = changed[hurried]
    return between


def student(rows: Int8s, teacher: Teacher, columns: npt.NDArray[np.bool_], plan: StudentPlan, seed: int) -> Head:
    """A head that says what `teacher` says of `rows` and of what lies between them. Same seed and rows, same head."""
    rng = np.random.default_rng(seed)
    middle, spread = standard(rows)
    shown = np.concatenate([rows, mixed(rows, rng)])
    wanted = teacher(shown).astype(np.float32)
    scaled = np.clip((shown.astype(np.float32) - middle) / spread, -SIGMAS, SIGMAS) * columns
    w1, b1, w2, b2 = _fit(scaled.astype(np.float32), wanted, plan, rng)
    flat = w1 * (columns / spread)[:, np.newaxis]
    return Head(flat.astype(np.float32), (b1 - middle @ flat).astype(np.float32), w2, float(b2[0]), 0.0)


def _fit(x: Singles, wanted: Singles, plan: StudentPlan, rng: np.random.Generator) -> tuple[Singles, ...]:
    """Adam on the squared error, its steps held; beats near the boundary weigh most."""
    n_inputs = x.shape[1]
    start = (
        rng.normal(0, n_inputs**-0.5, (n_inputs, plan.hidden)), np.zeros(plan.hidden),
        rng.normal(0, plan.hidden**-0.5, plan.hidden), np.zeros(1),
    )  # fmt: skip
    variables = [part.astype(np.float32) for part in start]
    moments = [(np.zeros_like(v), np.zeros_like(v)) for v in variables]
    weight = 1 / (1 + np.abs(wanted) / 2)
    weight /= weight.mean()
    steps, done = max(1, x.shape[0] // plan.batch), 0
    for _ in range(plan.epochs):
        order = rng.permutation(x.shape[0])
        for i in range(steps):
            take = order[i * plan.batch : (i + 1) * plan.batch]
            inputs = x[take] + np.float32(plan.noise) * rng.standard_normal((take.size, n_inputs), dtype=np.float32)
            gradients = _gradients(inputs, wanted[take], weight[take], variables)
            done += 1
            rate = plan.rate * 0.5 * (1 + math.cos(math.pi * done / (steps * plan.epochs)))
            for v, gradient, (m, s) in zip(variables, gradients, moments, strict=True):
                m += np.float32(0.1) * (gradient - m)
                s += np.float32(0.01) * (gradient * gradient - s)
                move = m / np.float32(1 - 0.9**done) / (np.sqrt(s / np.float32(1 - 0.99**done)) + np.float32(1e-7))
                v -= np.float32(rate) * (move + np.float32(plan.decay) * v)
    return tuple(variables)


def _gradients(inputs: Singles, wanted: Singles, weight: Singles, variables: list[Singles]) -> tuple[Singles, ...]:
    w1, b1, w2, b2 = variables
    inner = inputs @ w1 + b1
    units = np.maximum(inner, 0.0)
    error = np.clip(2 * (units @ w2 + b2 - wanted) * weight, -STEP_MAX, STEP_MAX) / np.float32(inputs.shape[0])
    back = (error[:, np.newaxis] * w2) * (inner > 0)
    return inputs.T @ back, back.sum(axis=0), units.T @ error, error.sum(keepdims=True)
