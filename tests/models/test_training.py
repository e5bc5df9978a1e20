"""What training stands on, without TensorFlow: matching, counting, folds, thresholds, intervals, the card."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path

import numpy as np
import pytest
import wfdb
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from bedside.core.errors import SetupError
from bedside.models import cards, cli, corpus, network, shipped
from bedside.models.features import NAMES
from bedside.models.lessons import plans
from bedside.models.scoring import Counts, best_threshold, count, folds, interval
from bedside.models.train import called, figures

positions = st.lists(st.integers(0, 3000), unique=True, max_size=40).map(
    lambda at: np.array(sorted(at), dtype=np.int64)
)


@given(found=positions, reference=positions)
def test_matching_pairs_each_beat_once_and_within_tolerance(
    found: np.ndarray[tuple[int], np.dtype[np.int64]], reference: np.ndarray[tuple[int], np.dtype[np.int64]]
) -> None:
    partner = corpus.match(found, reference, 54)
    taken = partner[partner >= 0]
    assert np.unique(taken).size == taken.size
    assert np.all(np.abs(found[partner >= 0] - reference[taken]) <= 54)
    for at in found[partner < 0]:  # what is left over could not have been paired
        free = np.delete(reference, taken)
        assert not np.any(np.abs(free - at) <= 54)


def test_a_synthetic_record_goes_through_the_live_path_and_a_damaged_one_is_named(tmp_path: Path) -> None:
    at = np.arange(360, 60 * 360, 300)
    signal = np.random.default_rng(0).normal(0, 0.005, 60 * 360 + 360)
    for r in at:
        signal[r - 12 : r + 13] += 1.2 * np.hanning(25)
    for name in ("900", "901"):
        wfdb.wrsamp(
            name,
            fs=360,
            units=["mV"],
            sig_name=["I"],
            p_signal=signal[:, np.newaxis],
            fmt=["16"],
            write_dir=str(tmp_path),
        )
        wfdb.wrann(name, "atr", at, symbol=["N"] * at.size, write_dir=str(tmp_path))
    (tmp_path / "901.dat").write_bytes(b"short")
    data = corpus.read(tmp_path)
    assert [lead.record for lead in data.leads] == ["900"]
    assert [record for record, _ in data.skipped] == ["901"]
    (lead,) = data.leads
    assert lead.rows.shape == (lead.labels.size, len(NAMES))
    assert np.sum(lead.labels == "N") >= at.size - 2
    assert lead.judged[:-1].all()


def test_a_folder_without_records_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SetupError, match="no annotated record"):
        corpus.read(tmp_path)


def test_counting_follows_ec57() -> None:
    labels = np.array(["V", "V", "N", "F", "Q", "x", "S"])
    called_ = np.array(["V", "N", "V", "V", "V", "V", "S"])
    assert count("V", labels, called_, np.array(["V", "N"])) == Counts(tp=1, fp=2, fn=2)
    assert count("S", labels, called_, np.array([], dtype=np.str_)) == Counts(tp=1, fp=0, fn=0)


def test_empty_counts_have_no_figures() -> None:
    assert (Counts().sensitivity, Counts().precision, Counts().f1) == (None, None, None)
    assert interval([Counts(), Counts()], seed=1) is None


def test_the_interval_holds_the_gross_figure_and_is_wide_when_one_patient_rules() -> None:
    even = [Counts(90, 10, 10)] * 20
    uneven = [Counts(1800, 0, 0)] + [Counts(0, 20, 20)] * 19
    low, high = interval(even, seed=1) or (0.0, 0.0)
    assert low == pytest.approx(0.9) == high
    low, high = interval(uneven, seed=1) or (0.0, 0.0)
    gross = sum(uneven, Counts()).f1
    assert gross is not None
    assert low < 0.1 < gross < high


@given(
    st.dictionaries(st.text("0123456789", min_size=3, max_size=3), st.tuples(st.integers(0, 400), st.integers(0, 900))),
    st.integers(1, 8),
)
def test_folds_hold_every_patient_once(burden: dict[str, tuple[int, int]], n: int) -> None:
    dealt = folds(burden, n)
    assert sorted(patient for fold in dealt for patient in fold) == sorted(burden)
    assert max(map(len, dealt)) - min(map(len, dealt)) <= 1


@given(
    st.lists(st.tuples(st.integers(-20, 20), st.booleans()), min_size=1, max_size=60, unique_by=lambda pair: pair[0])
)
def test_the_threshold_gives_the_largest_f1(pairs: list[tuple[int, bool]]) -> None:
    logits, truth = np.array([float(at) for at, _ in pairs]), np.array([positive for _, positive in pairs])

    def f1(threshold: float) -> float:
        hit = logits >= threshold
        return float(2 * np.sum(hit & truth) / (np.sum(hit) + np.sum(truth))) if truth.any() else 0.0

    chosen = f1(best_threshold(logits, truth, np.ones(truth.size)))
    assert chosen == pytest.approx(max(f1(at) for at in logits))


def test_a_beat_that_stands_for_many_counts_as_many_when_a_threshold_is_chosen() -> None:
    logits, truth = np.array([3.0, 2.0, 1.0]), np.array([True, False, True])
    assert best_threshold(logits, truth, np.array([1.0, 1.0, 1.0])) == 1.0
    assert best_threshold(logits, truth, np.array([1.0, 50.0, 1.0])) == 2.5


def test_v_goes_before_s_and_what_is_not_judged_is_q() -> None:
    v, s = np.array([1.0, -1.0, -1.0, 1.0]), np.array([1.0, 1.0, -1.0, 1.0])
    assert called(v, s, np.array([True, True, True, False])).tolist() == ["V", "S", "N", "Q"]


def test_a_patient_with_a_thousand_beats_does_not_outweigh_one_with_ten_a_hundredfold() -> None:
    truth = np.array([True] * 1010 + [False] * 50)
    patients = np.array([1] * 1000 + [2] * 10 + [3] * 50)
    weight = network.weights(truth, patients, temper=0.5)
    assert weight[truth].sum() == pytest.approx(weight[~truth].sum(), rel=1e-4)
    assert weight[patients == 1].sum() / weight[patients == 2].sum() == pytest.approx(10, rel=1e-4)


def test_the_s_head_is_kept_from_most_inputs() -> None:
    v, s = plans()
    assert (v.symbol, s.symbol) == ("V", "S")
    assert v.columns.all()
    assert 15 < s.columns.sum() < len(NAMES) / 2


def test_the_committed_card_is_what_its_facts_say_and_speaks_of_the_committed_model() -> None:
    facts = json.loads((shipped.folder() / "cards" / "beats.json").read_text())
    manifest = json.loads((shipped.folder() / "manifest.json").read_text())["models"]["beats"]
    assert (shipped.folder() / "cards" / "beats.md").read_text() == cards.beats(facts)
    assert facts["sha256"] == manifest["sha256"]
    assert facts["outputs_sha256"] == manifest["outputs_sha256"]


def test_the_committed_figures_add_up() -> None:
    facts = json.loads((shipped.folder() / "cards" / "beats.json").read_text())
    for name in ("veb", "sveb"):
        for key in ("tp", "fp", "fn"):
            assert facts["gross"][name][key] == sum(record[name][key] for record in facts["records"])


def test_a_card_of_other_facts_differs() -> None:
    facts = json.loads((shipped.folder() / "cards" / "beats.json").read_text())
    facts["gross"]["veb"]["f1"] = 0.5
    assert (shipped.folder() / "cards" / "beats.md").read_text() != cards.beats(facts)


def test_no_figures_of_nobody() -> None:
    with pytest.raises(ValueError):
        figures((), seed=1)


def test_training_without_data_says_what_to_do(tmp_path: Path) -> None:
    done = CliRunner().invoke(cli.train, ["beats", "--data", str(tmp_path / "none"), "--out", str(tmp_path)])
    assert isinstance(done.exception, SetupError)
    assert "folder with WFDB records" in done.exception.hint


def test_training_without_tensorflow_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    with pytest.raises(SetupError, match="TensorFlow") as caught:
        network.require()
    assert "bedside[train" in caught.value.hint
