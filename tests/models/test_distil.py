"""A student says what its teachers say: of rows it was shown, of rows between them, and of nothing else."""

from __future__ import annotations

import numpy as np
import pytest

from bedside.models import distil, network
from bedside.models.augment import INTERVAL_COLUMNS
from bedside.models.features import NAMES, Int8s

PLAN = distil.StudentPlan(hidden=24, epochs=25, batch=128)
EVERY = np.ones(len(NAMES), dtype=np.bool_)


def rows(n: int, seed: int) -> Int8s:
    drawn: Int8s = np.clip(np.rint(np.random.default_rng(seed).normal(0, 40, (n, len(NAMES)))), -127, 127).astype(
        np.int8
    )
    return drawn


def corner(shown: Int8s) -> distil.Floats:
    """A teacher with a corner, as trees have them: positive where two numbers are large together."""
    return np.asarray(np.where((shown[:, 3] > 0) & (shown[:, 40] > 0), 4.0, -4.0))


def test_a_student_takes_over_what_its_teacher_says_of_rows_it_never_saw() -> None:
    head = distil.student(rows(6000, 1), corner, EVERY, PLAN, seed=1)
    unseen = rows(2000, 2)
    agreed = float(np.mean((head.logits(unseen) > 0) == (corner(unseen) > 0)))
    other = float(np.mean((head.logits(unseen) > 0) == (corner(rows(2000, 3)) > 0)))  # what chance agrees on
    assert agreed > 0.85
    assert other < 0.75


def test_a_student_uses_only_the_inputs_that_are_its() -> None:
    columns = EVERY.copy()
    columns[40] = False
    head = distil.student(rows(1500, 1), corner, columns, PLAN, seed=1)
    shown, changed = rows(200, 2), rows(200, 2)
    changed[:, 40] = -changed[:, 40].clip(-126, 126)
    np.testing.assert_allclose(head.logits(shown), head.logits(changed))
    assert np.abs(head.w1[41]).max() > 0


def test_the_same_seed_gives_the_same_student() -> None:
    first, again, other = (distil.student(rows(600, 1), corner, EVERY, PLAN, seed) for seed in (1, 1, 2))
    np.testing.assert_array_equal(first.w1, again.w1)
    assert not np.array_equal(first.w1, other.w1)


def test_a_mean_opinion_holds_each_teacher_so_that_the_surest_does_not_rule() -> None:
    shown = rows(3, 1)
    sure, against = (lambda some: np.full(some.shape[0], 900.0)), (lambda some: np.full(some.shape[0], -7.0))
    assert distil.mean_opinion((sure, against), (1.0, 1.0))(shown) == pytest.approx([0.5] * 3)
    assert distil.mean_opinion((sure, against), (1.0, 3.0))(shown) == pytest.approx([-3.25] * 3)


def test_mixed_rows_lie_between_two_rows_or_have_the_intervals_of_another() -> None:
    shown = rows(400, 1)
    mixed = distil.mixed(shown, np.random.default_rng(1))
    assert mixed.shape == shown.shape
    assert mixed.dtype == np.int8
    rest = np.setdiff1d(np.arange(len(NAMES)), INTERVAL_COLUMNS)
    hurried = (mixed[:, rest] == shown[:, rest]).all(axis=1)
    assert 0.4 < hurried.mean() < 0.6
    assert (mixed[hurried] != shown[hurried]).any(axis=1).mean() > 0.9
    assert np.abs(mixed[~hurried].astype(int)).max() <= 127


def test_heads_together_say_the_mean_of_what_each_says() -> None:
    heads = tuple(distil.student(rows(300, 1), corner, EVERY, PLAN, seed) for seed in (1, 2))
    unseen = rows(50, 3)
    whole = network.together(heads)
    np.testing.assert_allclose(
        whole.logits(unseen), np.mean([head.logits(unseen) for head in heads], axis=0), rtol=1e-3, atol=1e-3
    )
    assert whole.w1.shape[1] == 2 * PLAN.hidden
