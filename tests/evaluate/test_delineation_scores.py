"""Waves are scored as the literature does it, and the command scores what the live path says."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import wfdb
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st
from tests.evaluate.evaluate_helpers import write_record

from bedside.core.errors import SetupError
from bedside.core.samples import Floats
from bedside.evaluate.beats import Indices
from bedside.evaluate.cli import evaluate
from bedside.evaluate.delineation import as_table, delineate, our_marks, read_waves, score_folder, summary
from bedside.evaluate.wave_scores import FIDUCIALS, half_of, score_waves

pytestmark = pytest.mark.requirement("SIG-007")

FS_HZ = 500.0
BEATS_S = tuple(0.8 + 0.9 * k for k in range(10))


def marks(*samples: int) -> dict[str, Indices]:
    return dict.fromkeys(FIDUCIALS, np.array(samples, dtype=np.int64))


@given(shift=st.integers(-75, 75))
def test_marks_that_are_all_off_by_the_same_have_that_mean_and_no_spread(shift: int) -> None:
    at = np.arange(500, 4500, 400)
    tally = score_waves(marks(*at), marks(*(at + shift)), (500, 4100), FS_HZ)["T offset"]
    assert (tally.tp, tally.fn, tally.fp) == (10, 0, 0)
    assert tally.mean_ms == pytest.approx(2.0 * shift)
    assert tally.sd_ms == pytest.approx(0.0)


def test_a_mark_beyond_the_window_is_missed_and_false() -> None:
    tally = score_waves(marks(1000), marks(1076), (500, 4100), FS_HZ)["P peak"]
    assert (tally.tp, tally.fn, tally.fp) == (0, 1, 1)


def test_marks_outside_of_what_was_annotated_count_neither_way() -> None:
    tally = score_waves(marks(1000, 2000), marks(100, 1000, 2000, 4000), (1000, 2000), FS_HZ)["QRS onset"]
    assert (tally.tp, tally.fn, tally.fp) == (2, 0, 0)
    inside = score_waves(marks(1000, 2000), marks(1000, 1500, 2000), (1000, 2000), FS_HZ)["QRS onset"]
    assert inside.fp == 1  # the control


def test_the_split_is_by_the_record_number() -> None:
    assert [half_of(name) for name in ("1", "12", "rec003", "200", "x")] == [
        "development",
        "judgement",
        "development",
        "judgement",
        "judgement",
    ]


def heart(wave_mv: tuple[float, float, float] = (0.15, 1.0, 0.3)) -> Floats:
    t_s = np.arange(round(10 * FS_HZ)) / FS_HZ
    out = np.zeros(t_s.size)
    for at_s in BEATS_S:
        for centre_s, width_s, height_mv in zip((-0.16, 0.0, 0.27), (0.02, 0.012, 0.045), wave_mv, strict=True):
            out += height_mv * np.exp(-0.5 * ((t_s - at_s - centre_s) / width_s) ** 2)
    return np.asarray(out + np.random.default_rng(1).normal(0, 0.005, t_s.size), dtype=np.float64)


def annotated(folder: Path, name: str) -> Path:
    """A record with the marks that a cardiologist would set, one lead."""
    path = write_record(folder, name, heart(), FS_HZ, ["ii"])
    rows = []
    for at_s in BEATS_S:
        for symbol, on_s, peak_s, off_s in (("p", -0.21, -0.16, -0.11), ("N", -0.03, 0, 0.03), ("t", 0.16, 0.27, 0.38)):
            rows += [(at_s + on_s, "("), (at_s + peak_s, symbol), (at_s + off_s, ")")]
    wfdb.wrann(
        name,
        "ii",
        np.array([round(at_s * FS_HZ) for at_s, _ in rows]),
        symbol=[symbol for _, symbol in rows],
        write_dir=str(folder),
    )
    return path


def test_a_record_with_plain_waves_is_marked_whole_by_the_live_path(tmp_path: Path) -> None:
    annotated(tmp_path, "2")
    (score,) = score_folder(tmp_path, peer=False)
    assert (score.record, score.lead, score.peer) == ("2", "ii", None)
    for name in FIDUCIALS:
        assert score.ours[name].fn == 0, name
        assert score.ours[name].fp == 0, name
        sd_ms = score.ours[name].sd_ms
        assert sd_ms is not None and sd_ms < 12.0, name


def test_marks_of_blocks_of_any_length_are_the_same() -> None:
    whole, _ = delineate(heart(), FS_HZ, block_s=10.0)
    small, _ = delineate(heart(), FS_HZ, block_s=0.05)
    assert our_marks(small, FS_HZ).keys() == our_marks(whole, FS_HZ).keys()
    assert small == whole


def test_the_command_writes_both_halves_and_the_table(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    annotated(tmp_path / "data", "1")
    annotated(tmp_path / "data", "2")
    monkeypatch.chdir(tmp_path)
    done = CliRunner().invoke(evaluate, ["delineation", "data", "--no-peer", "--write"], catch_exceptions=False)
    assert done.exit_code == 0
    document = json.loads((tmp_path / "compliance/figures/delineation.json").read_text())
    for half in ("development", "judgement"):
        assert document["halves"][half]["records"] == 1
        assert document["halves"][half]["all"]["T offset"]["bedside"]["se"] == 100.0
    assert "| T offset | 10 | 100.00 |" in done.output
    assert done.output.strip() in (tmp_path / "compliance/figures/delineation.md").read_text()


def test_a_folder_without_marks_is_refused_with_a_hint(tmp_path: Path) -> None:
    with pytest.raises(SetupError, match="no record with marks"):
        score_folder(tmp_path)
    write_record(tmp_path, "7", heart(), FS_HZ, ["ii"])
    with pytest.raises(SetupError, match="no record with marks"):
        score_folder(tmp_path)


def test_a_wave_without_a_bracket_has_a_peak_and_no_onset(tmp_path: Path) -> None:
    path = write_record(tmp_path, "9", heart(), FS_HZ, ["ii"])
    wfdb.wrann("9", "ii", np.array([400, 420, 1000, 1010]), symbol=["N", ")", "(", "t"], write_dir=str(tmp_path))
    found, span = read_waves(path, "ii")
    assert span == (400, 1010)
    assert (found["QRS peak"].tolist(), found["QRS onset"].tolist(), found["QRS offset"].tolist()) == ([400], [], [420])
    assert (found["T onset"].tolist(), found["T offset"].tolist()) == ([1000], [])


def test_a_table_of_nothing_scored_says_so() -> None:
    table = as_table(summary([]))
    assert "0 people" in table
    assert "| P onset | 0 | – | – | – | 10.2 |" in table
