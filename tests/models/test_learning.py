"""Training itself, small, with TensorFlow: the same bytes twice, and chance from shuffled labels."""

from __future__ import annotations

import numpy as np
import pytest

from bedside.models import intervals, lessons, train
from bedside.models.features import NAMES
from bedside.models.scoring import count

pytestmark = pytest.mark.long


def table(seed: int, shuffled: bool) -> lessons.Table:
    """Eight invented patients; V beats differ in twenty numbers, S beats in how early they are."""
    chance = np.random.default_rng(seed)
    n = 8 * 3000
    labels = chance.choice(np.array(["N", "S", "V"]), n, p=[0.7, 0.15, 0.15])
    rows = chance.normal(0, 30, (n, len(NAMES)))
    rows[labels == "V", 20:40] += 25
    rows[np.ix_(labels == "S", [NAMES.index("calm_log_p80_300"), NAMES.index("calm_log_mean300")])] -= 70
    if shuffled:
        labels = chance.permutation(labels)
    patient = np.repeat(np.arange(8), 3000)
    yes = np.ones(n, dtype=np.bool_)
    int8 = np.clip(np.rint(rows), -127, 127).astype(np.int8)
    return lessons.Table(int8, labels, patient, patient, yes, yes, tuple("abcdefgh"), np.full(n, 0.8))


def held_out_f1(material: lessons.Material, symbol: str) -> float:
    data = material.table
    content = train.made(material, data.patient < 6, 1)[1]
    unseen = data.patient >= 6
    logits = train.build(content, "beats", len(NAMES)).logits(data.rows[unseen])
    symbols = train.called(logits[:, 0], logits[:, 1], data.judged[unseen])
    return count(symbol, data.labels[unseen], symbols, np.array([], dtype=np.str_)).f1 or 0.0


def test_the_same_seed_gives_the_same_bytes() -> None:
    material = lessons.Material(table(1, shuffled=False), ())
    everyone = np.ones(material.table.labels.size, dtype=np.bool_)
    assert train.made(material, everyone, 3)[1] == train.made(material, everyone, 3)[1]


def test_what_can_be_learned_is_learned_and_shuffled_labels_give_chance() -> None:
    true, shuffled = lessons.Material(table(1, shuffled=False), ()), lessons.Material(table(1, shuffled=True), ())
    for symbol in "VS":
        assert held_out_f1(true, symbol) > 0.8
        assert held_out_f1(shuffled, symbol) < 0.35


def test_intervals_of_others_join_the_s_head_alone() -> None:
    chance = np.random.default_rng(2)
    others = intervals.Rhythm("incart_1", chance.integers(-99, 99, (50, 22), dtype=np.int8), np.array(["S", "N"] * 25))
    material = lessons.Material(table(1, shuffled=False), (others,))
    alone = lessons.Material(material.table, ())
    everyone = np.ones(material.table.labels.size, dtype=np.bool_)
    with_v, with_s = train.made(material, everyone, 3)[0]
    v, s = train.made(alone, everyone, 3)[0]
    np.testing.assert_array_equal(with_v.w1, v.w1)
    assert not np.array_equal(with_s.w1, s.w1)
