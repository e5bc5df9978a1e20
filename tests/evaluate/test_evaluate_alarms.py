"""`bedside evaluate alarms`: the Challenge's score, from the live path and from nothing behind the alarm."""

from __future__ import annotations

import itertools
import json
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from tests.evaluate.evaluate_helpers import write_record

from bedside.core.errors import SetupError
from bedside.evaluate import alarms as verdicts
from bedside.evaluate import cli
from bedside.evaluate.alarm_table import as_table, evaluate_alarms, write_figures
from bedside.evaluate.alarms import Counts, Verdict, count, folds, interval
from bedside.evaluate.analyze import analyze
from bedside.simulation.bodies import SimulatedBody
from bedside.simulation.happenings import Happening, Timetable, What

pytestmark = pytest.mark.requirement("ALM-010")

CASES = ((True, True), (True, False), (False, True), (False, False))


def challenge(folder: Path, name: str, kind: str, truth: bool, seconds: float, *happenings: Happening) -> Path:
    """A record like the Challenge's: two leads of one simulated heart, and the judged alarm in the header."""
    body = SimulatedBody("simulated", 5, Timetable(happenings))
    one = body.ecg_uv(0, round(seconds * 130)) / 1000
    base = write_record(folder, name, np.stack([one, 0.7 * one], axis=1), 130.0, ["II", "V"])
    with base.with_suffix(".hea").open("a") as header:
        header.write(f"# {kind}\n# {'True' if truth else 'False'} alarm\n")
    return base


def verdict_of(record: str, truth: bool, alarmed: bool) -> Verdict:
    return Verdict(record, "Asystole", truth, alarmed, (), None, 0.0)


def test_a_suppressed_true_alarm_weighs_five() -> None:
    assert Counts(tp=3, fn=1, fp=1, tn=5).score == pytest.approx(100 * 8 / 14)
    assert Counts(tp=3, fn=0, fp=2, tn=5).score == pytest.approx(80.0)
    assert Counts().score is None


def test_the_counts_follow_truth_and_verdict() -> None:
    found = [verdict_of(f"a{k}", truth, alarmed) for k, (truth, alarmed) in enumerate(CASES)]
    assert count(found) == Counts(1, 1, 1, 1)


def test_folds_are_ranges_of_record_numbers_and_leave_none_out() -> None:
    found = [verdict_of(f"{'abtvf'[k % 5]}{k}l", True, True) for k in range(103)]
    parts = folds(found)
    numbers = [[verdicts.number_of(one.record) for one in part] for part in parts]
    assert sum(map(len, numbers)) == 103
    assert all(max(a) < min(b) for a, b in itertools.pairwise(numbers))


def test_the_interval_holds_the_score_and_narrows_with_more_records() -> None:
    some = [verdict_of(f"a{k}", True, k % 5 > 0) for k in range(50)]
    many = [verdict_of(f"a{k}", True, k % 5 > 0) for k in range(500)]
    narrow, wide = interval(many), interval(some)
    assert narrow is not None
    assert wide is not None
    score = count(many).score
    assert score is not None
    assert narrow[0] < score < narrow[1]
    assert narrow[1] - narrow[0] < wide[1] - wide[0]
    assert interval([]) is None


def test_a_true_asystole_at_the_end_is_confirmed_and_a_false_one_is_not(tmp_path: Path) -> None:
    true = challenge(tmp_path, "a101l", "Asystole", True, 60, Happening(52, 8, What.ASYSTOLE))
    false = challenge(tmp_path, "a102l", "Asystole", False, 60)
    assert verdicts.judge(true).alarmed
    assert not verdicts.judge(false).alarmed


def test_an_alarm_long_before_the_monitors_does_not_count(tmp_path: Path) -> None:
    record = challenge(tmp_path, "a103l", "Asystole", False, 60, Happening(20, 8, What.ASYSTOLE))
    assert not verdicts.judge(record).alarmed


def test_nothing_behind_the_alarm_is_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(verdicts, "ALARM_AT_S", 40.0)
    record = challenge(tmp_path, "a104l", "Asystole", False, 60, Happening(40, 12, What.ASYSTOLE))
    assert not verdicts.judge(record).alarmed
    assert analyze(record, all_channels=True, until_s=40.0).duration_s == 40.0
    monkeypatch.setattr(verdicts, "ALARM_AT_S", 52.0)  # the control: it is there, a little later
    assert verdicts.judge(record).alarmed


def test_the_command_prints_counts_scores_and_folds_and_keeps_them(tmp_path: Path) -> None:
    for k, truth in enumerate((True, False)):
        what = (Happening(32, 8, What.ASYSTOLE),) if truth else ()
        challenge(tmp_path / "records", f"a10{k}l", "Asystole", truth, 40, *what)
    result = CliRunner().invoke(cli.alarms, [str(tmp_path / "records"), "--processes", "1", "--json"])
    document = json.loads(result.output)
    row = document["challenge_2015"]["kinds"]["Asystole"]
    assert (row["tp"], row["fn"], row["fp"], row["tn"], row["score"]) == (1, 0, 0, 1, 100.0)
    assert document["challenge_2015"]["suppressed_true"]["Asystole"] == 0
    assert "| Asystole | 2 | 1 | 0 | 0 | 1 | 100.00 |" in as_table(document)
    write_figures(document, tmp_path / "figures")
    assert "100.00" in (tmp_path / "figures/alarms.md").read_text()


def test_a_folder_without_judged_or_annotated_records_is_refused_with_what_to_do(tmp_path: Path) -> None:
    write_record(tmp_path, "plain", np.zeros((1000, 1)), 130.0, ["II"])
    with pytest.raises(SetupError, match="none with a judged alarm"):
        evaluate_alarms(tmp_path)
    with pytest.raises(SetupError, match="no such folder"):
        evaluate_alarms(tmp_path / "nowhere")


def test_own_alarms_are_held_against_the_marks(tmp_path: Path) -> None:
    import wfdb

    body = SimulatedBody("simulated", 5, Timetable((Happening(30, 8, What.ASYSTOLE),)))
    write_record(tmp_path, "own", body.ecg_uv(0, 60 * 130) / 1000, 130.0, ["II"])
    marks = np.array([round(at * 130) for at in body.beats_s(0.0, 59.5)])
    for name, samples in (("true", marks), ("false", np.arange(100, 7700, 104))):  # the second has no pause
        wfdb.wrann("own", "atr", samples, symbol=["N"] * samples.size, write_dir=str(tmp_path))
        found = evaluate_alarms(tmp_path, processes=1)["own_alarms"]
        assert isinstance(found, dict)
        kinds = found["kinds"]
        assert isinstance(kinds, dict)
        row = kinds["asystole"]
        assert isinstance(row, dict)
        assert row[name] == 1
        assert row["false" if name == "true" else "true"] == 0
