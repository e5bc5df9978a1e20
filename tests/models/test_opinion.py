"""A beat is judged in the light of those of its shape, and no shape is right because it is common."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bedside.models import augment, calibration
from bedside.models.features import NAMES
from bedside.models.opinion import LOGIT_MAX, SHARE_MAX, Opinions

pytestmark = pytest.mark.requirement("MOD-002")


def test_one_noisy_beat_of_a_known_shape_does_not_become_ventricular() -> None:
    opinions = Opinions()
    for _ in range(50):
        opinions.heard(1, -4.0)
    assert opinions.heard(1, 2.0) < 0
    assert opinions.heard(2, 2.0) > 0  # the same beat of a new shape does


def test_a_ventricular_majority_stays_ventricular() -> None:
    opinions = Opinions()
    for _ in range(500):
        assert opinions.heard(1, 1.0) > 0
    assert opinions.heard(1, -0.5) > 0


@given(st.lists(st.tuples(st.integers(0, 3), st.floats(-50, 50)), max_size=60))
def test_a_logit_moves_only_towards_its_shapes_mean(beats: list[tuple[int, float]]) -> None:
    opinions, past = Opinions(), {number: list[float]() for number in range(4)}
    for shape, logit in beats:
        held = min(max(logit, -LOGIT_MAX), LOGIT_MAX)
        past[shape].append(held)
        mean = sum(past[shape]) / len(past[shape])
        moved = opinions.heard(shape, logit)
        assert min(held, mean) - 1e-9 <= moved <= max(held, mean) + 1e-9
        assert abs(moved - mean) >= (1 - SHARE_MAX) * abs(held - mean) - 1e-9


def test_a_copy_forgets_shapes_that_are_gone_and_goes_its_own_way() -> None:
    opinions = Opinions()
    opinions.heard(1, 3.0)
    opinions.heard(2, 3.0)
    twin = opinions.copy({2})
    twin.heard(2, -3.0)
    assert set(twin.of) == {2}
    assert opinions.of[2] == (1, 3.0)


def test_a_curve_finds_what_made_the_truth_and_chance_gives_a_flat_one() -> None:
    chance = np.random.default_rng(1)
    logits = chance.normal(0, 3, 20_000)
    truth = chance.random(20_000) < 1 / (1 + np.exp(-(0.7 * logits - 1)))
    slope, offset = calibration.curve(logits, truth)
    assert slope == pytest.approx(0.7, abs=0.05)
    assert offset == pytest.approx(-1, abs=0.1)
    assert abs(calibration.curve(logits, chance.permutation(truth))[0]) < 0.03
    assert calibration.curve(logits, np.ones(20_000, dtype=np.bool_)) == (1.0, 0.0)


def test_the_calibration_error_sees_what_is_overconfident() -> None:
    chance = np.random.default_rng(2)
    truth = chance.random(10_000) < 0.7
    honest = calibration.reliability(np.full(10_000, 0.7), truth)
    proud = calibration.reliability(np.full(10_000, 0.97), truth)
    assert honest["expected_error"] < 0.02 < 0.25 < proud["expected_error"]
    assert sum(bar["beats"] for bar in proud["bars"]) == 10_000


def test_thinned_beats_are_mostly_early_and_keep_their_own_intervals() -> None:
    labels = np.array([*"NNNNNNNNNSSSS"] * 15)
    rr_s = np.where(labels == "S", 0.55, 0.9)
    found = augment.thinned(rr_s, labels, np.zeros(labels.size, dtype=np.bool_))
    assert found is not None
    assert np.mean(labels[found.at] == "S") > 0.6
    assert augment.thinned(rr_s[:26], labels[:26], np.zeros(26, dtype=np.bool_)) is None


def test_an_unhurried_v_beat_has_the_interval_of_another_beat_and_its_own_shape() -> None:
    rows = np.repeat(np.arange(4, dtype=np.int8)[:, np.newaxis], len(NAMES), axis=1)
    v, lead = np.array([True, False, False, True]), np.array([0, 0, 0, 1])
    changed, places = augment.unhurried(rows, v, lead, 1.0, np.random.default_rng(1))
    assert places.tolist() == [0]  # the other V has no other beat in its lead
    assert set(changed[0, augment.INTERVAL_COLUMNS].tolist()) <= {1, 2}
    assert changed[0, NAMES.index("qrs_correlation")] == 0
