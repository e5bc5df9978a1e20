"""The teachers of the rhythm model, and the student that runs on the box.

Training only (extra `train`). Bagged perceptrons, boosted trees and extremely random trees are wrong about different
strips; the mean of their log shares is better than each. The student, one hidden layer, learns that mean on the strips
and on mixtures of two strips, with noise on its inputs. It sees no label.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

import numpy as np

from bedside.models import perceptrons
from bedside.models.perceptrons import Floats, Labels, Net

Teacher: TypeAlias = Callable[[Floats], Floats]
"""Rows (n, n_inputs) to shares (n, n_classes) that sum to 1."""

N_CLASSES: Final = 4
FLOOR: Final = 1e-3  # added to a share before its logarithm
MIXTURES: Final = 5  # rows mixed of two, for each row
PERCEPTRONS: Final = perceptrons.Recipe(noise=0.2, decay=0.03, epochs=60)
STUDENT: Final = perceptrons.Recipe(
    members=1, hidden=192, epochs=25, batch=256, rate=3e-3, noise=0.3, dropout=0.1, decay=0.01, smooth=0.0
)


@dataclass(frozen=True, slots=True, eq=False)
class Lesson:
    """Rows (n, n_inputs), their labels, and whose they are: all windows of a strip together weigh as one."""

    rows: Floats
    labels: Labels
    strip: Labels

    @property
    def weight(self) -> Floats:
        weight: Floats = 1 / np.bincount(self.strip)[self.strip]
        return weight


def bagged_perceptrons(lesson: Lesson, seed: int) -> Teacher:
    """Each member learns from strips drawn with replacement."""
    net = perceptrons.fit(lesson.rows, lesson.labels, lesson.strip, N_CLASSES, PERCEPTRONS, seed)
    return lambda rows: shares(net.logits(rows))


def boosted_trees(lesson: Lesson, seed: int) -> Teacher:
    from sklearn.ensemble import HistGradientBoostingClassifier

    return _fitted(
        HistGradientBoostingClassifier(
            max_iter=150,
            learning_rate=0.06,
            max_leaf_nodes=12,
            max_features=0.4,
            l2_regularization=3,
            early_stopping=False,
            random_state=seed,
        ),
        lesson,
    )


def random_trees(lesson: Lesson, seed: int) -> Teacher:
    from sklearn.ensemble import ExtraTreesClassifier

    return _fitted(ExtraTreesClassifier(400, min_samples_leaf=3, max_features=0.4, random_state=seed), lesson)


TEACHERS: Final = (bagged_perceptrons, boosted_trees, random_trees)


def _fitted(model: Any, lesson: Lesson) -> Teacher:
    """Shares of all classes, those that the lesson lacks at zero."""
    model.fit(lesson.rows, lesson.labels, sample_weight=lesson.weight)

    def teacher(rows: Floats) -> Floats:
        given = np.zeros((rows.shape[0], N_CLASSES))
        given[:, model.classes_] = model.predict_proba(rows)
        return given

    return teacher


def mean_opinion(teachers: tuple[Teacher, ...]) -> Teacher:
    """The shares whose logarithm is the mean of the teachers'."""
    return lambda rows: shares(np.mean([np.log(teacher(rows) + FLOOR) for teacher in teachers], axis=0))


def student(lesson: Lesson, teacher: Teacher, seed: int) -> Net:
    """A net that says what `teacher` says of the lesson's rows and of what lies between them."""
    rng = np.random.default_rng(seed)
    shown = [lesson.rows]
    for _ in range(MIXTURES):
        part = rng.random((lesson.rows.shape[0], 1))
        shown.append(lesson.rows * (1 - part) + lesson.rows[rng.permutation(lesson.rows.shape[0])] * part)
    rows, whose = np.concatenate(shown), np.tile(lesson.strip, 1 + MIXTURES)
    return perceptrons.fit_shares(rows, teacher(rows), whose, STUDENT, seed, bagged=False)


def shares(logits: Floats) -> Floats:
    """Of each class, by row; they sum to 1."""
    share = np.exp(logits - logits.max(axis=1, keepdims=True))
    whole: Floats = share / share.sum(axis=1, keepdims=True)
    return whole
