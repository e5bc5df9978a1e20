"""Negative controls of training without TensorFlow: shuffled labels give chance, missing classes are named."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from bedside.core.errors import SetupError
from bedside.models import present, rhythm_teachers, rhythm_train, shipped
from bedside.models.rhythm import LABELS
from bedside.models.rhythm_cards import confusion, f1_scores
from bedside.models.rhythm_corpus import Strips
from bedside.models.rhythm_features import NAMES

pytestmark = pytest.mark.requirement("MOD-003")

CHANCE_MAX = 0.40  # mean F1 of three of four classes that are dealt 4 : 3 : 2 : 1


def strips(n: int = 300) -> Strips:
    """Invented strips of one window each: a label says how sixteen numbers stand, of which a fifth stand otherwise."""
    rng = np.random.default_rng(5)
    labels = rng.choice(len(LABELS), n, p=[0.4, 0.3, 0.2, 0.1]).astype(np.int64)
    ways = rng.choice([-1.0, 1.0], (len(LABELS), 16))
    rows = np.zeros((n, len(NAMES)))
    rows[:, :16] = 1000.0 * ways[labels] * rng.choice([1.0, -1.0], (n, 16), p=[0.8, 0.2])
    names = tuple(f"A{number:05d}" for number in range(n))
    return Strips(rows, np.ones(n, dtype=np.bool_), np.arange(n), names, labels, ())


def mean_f1(material: Strips, shuffle: bool) -> float:
    shares = rhythm_train.cross_validated(material, shuffle=shuffle)
    return f1_scores(confusion(material.labels, shares.argmax(axis=1)))["mean"]


def test_the_rhythm_net_learns_what_can_be_learned_and_shuffled_labels_give_chance(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # Without the trees, which need scikit-learn: a student of perceptrons alone, both briefly taught.
    monkeypatch.setattr(rhythm_train, "TEACHERS", (rhythm_teachers.bagged_perceptrons,))
    for name in ("PERCEPTRONS", "STUDENT"):
        monkeypatch.setattr(rhythm_teachers, name, replace(getattr(rhythm_teachers, name), epochs=10))
    assert mean_f1(strips(), shuffle=False) > 0.7
    assert mean_f1(strips(), shuffle=True) < CHANCE_MAX


def test_the_committed_rhythm_model_was_trained_beside_a_control_that_gave_chance() -> None:
    facts = json.loads((shipped.folder() / "cards" / "rhythm.json").read_text())
    assert facts["shuffled_labels_mean_f1"] < CHANCE_MAX < facts["f1"]["mean"]


def test_a_class_that_too_few_patients_have_is_named_before_training() -> None:
    labels, people = np.array(list("NNSSVV")), np.array([1, 2, 1, 1, 1, 2])
    wanted = {"N": "N beats", "S": "S beats", "V": "V beats", "F": "F beats"}
    with pytest.raises(SetupError, match="S beats of 1 patient, F beats of no patients"):
        present.require(labels, people, wanted, "DIR")
    present.require(labels, people, {"N": "N beats", "V": "V beats"}, "DIR")
