"""Rhythm episodes scored against hand counts, and `bedside evaluate rhythm` over generated records."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import wfdb
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st
from tests.evaluate.evaluate_helpers import write_record

from bedside.core.errors import SetupError
from bedside.evaluate import cli, rhythm, rhythm_intervals, rhythm_synthetic, rhythm_table
from bedside.evaluate.rhythm import RhythmSpan, Said
from bedside.models.rhythm_cards import confusion, f1_scores
from bedside.simulation.bodies import SimulatedBody

pytestmark = pytest.mark.requirement("EVL-002")

RATE_HZ = 130.0


def span(label: str, start_s: float, end_s: float) -> RhythmSpan:
    return RhythmSpan(label, start_s, end_s)


# Durations


def test_annotated_rhythms_last_until_the_next_and_the_last_until_the_end() -> None:
    spans = rhythm.spans_of([0, 360, 400, 720], ["(N\x00", "(AFIB\x00", "", "(VT"], 1440, 360.0)
    assert spans == (span("N", 0, 1), span("AFIB", 1, 2), span("VT", 2, 4))


def test_fibrillation_is_counted_by_duration_and_by_episode() -> None:
    truth = [
        span("N", 0, 100),
        span("AFIB", 100, 200),
        span("N", 200, 300),
        span("AFIB", 300, 310),
        span("N", 310, 400),
    ]
    ours = [span("N", 0, 110), span("AFIB", 110, 220), span("N", 220, 400)]
    tally = rhythm.fibrillation(truth, ours, 400.0)
    assert (tally.truth_s, tally.said_s, tally.both_s) == (110, 110, 90)
    assert tally.sensitivity == pytest.approx(90 / 110)
    assert tally.precision == pytest.approx(90 / 110)
    assert tally.specificity == pytest.approx(270 / 290)
    assert tally.episodes == (1, 2)
    assert tally.sustained == (1, 1)
    assert tally.said == (1, 1)
    assert (tally.onset_late_s, tally.end_late_s) == ((10,), (20,))


@pytest.mark.parametrize("label", ["AFL", "J", "P"])
def test_flutter_junctional_and_paced_rhythm_count_neither_way(label: str) -> None:
    truth = [span("N", 0, 100), span(label, 100, 200)]
    tally = rhythm.fibrillation(truth, [span("AFIB", 90, 200)], 200.0)
    assert (tally.said_s, tally.judged_s) == (10, 100)
    control = rhythm.fibrillation([span("N", 0, 200)], [span("AFIB", 90, 200)], 200.0)
    assert control.said_s == 110


spans_of_time = st.lists(st.tuples(st.integers(0, 500), st.integers(1, 80)), max_size=12).map(
    lambda pairs: [(float(at), float(at + long)) for at, long in pairs]
)


@given(one=spans_of_time, other=spans_of_time)
def test_overlap_union_and_difference_agree_with_counting_seconds(
    one: list[tuple[float, float]], other: list[tuple[float, float]]
) -> None:
    def seconds(spans: list[tuple[float, float]]) -> set[int]:
        return {k for start, end in spans for k in range(int(start), int(end))}

    a, b = seconds(one), seconds(other)
    assert rhythm.total_s(one) == len(a)
    assert rhythm.overlap_s(one, other) == len(a & b)
    assert rhythm.total_s(rhythm.without(one, other)) == len(a - b)


# Dangerous rhythms


def test_a_tachycardia_within_a_run_of_the_experts_is_no_false_alarm_and_one_elsewhere_is() -> None:
    truth = [span("N", 0, 50), span("VT", 50, 65), span("N", 65, 100)]
    ours = [span("VT", 52, 60), span("VT", 80, 84), span("VT", 90, 92), span("ASYS", 95, 100)]
    runs = rhythm.ventricular_runs([7920, 8000, 8080, 8200], ["V", "V", "V", "N"], 100.0)
    assert runs == ((79.2, 80.8),)
    tally = rhythm.danger(truth, runs, ours, [Said("VT", 52, 57)], 100.0)
    assert tally.found == (1, 1)
    assert tally.long_found == (1, 1)
    assert (tally.false, tally.false_vf, tally.false_asystole) == (1, 0, 1)
    assert tally.seen_after_s == (7,)


def test_a_tachycardia_that_nobody_said_is_missed() -> None:
    tally = rhythm.danger([span("VT", 50, 65)], [], [], [], 100.0)
    assert (tally.found, tally.long_found, tally.seen_after_s) == ((0, 1), (0, 1), ())


# Scores


def test_the_challenge_measure_is_the_mean_f1_of_normal_fibrillation_and_other() -> None:
    labels, said = np.array([0, 0, 1, 1, 2, 3]), np.array([0, 1, 1, 1, 0, 3])
    scores = f1_scores(confusion(labels, said))
    assert scores["N"] == pytest.approx(0.5)
    assert scores["A"] == pytest.approx(0.8)
    assert scores["O"] == 0.0
    assert scores["mean"] == pytest.approx(1.3 / 3)


@given(
    positives=st.lists(st.integers(0, 9), min_size=1, max_size=20),
    negatives=st.lists(st.integers(0, 9), min_size=1, max_size=20),
)
def test_the_area_under_the_curve_is_the_share_of_pairs_in_order(positives: list[int], negatives: list[int]) -> None:
    scores = np.array([*positives, *negatives], dtype=np.float64)
    truth = np.array([True] * len(positives) + [False] * len(negatives))
    pairs = [1.0 if p > n else 0.5 if p == n else 0.0 for p in positives for n in negatives]
    assert rhythm.area_under_curve(scores, truth) == pytest.approx(sum(pairs) / len(pairs))
    assert rhythm.area_under_curve(scores, np.ones(scores.size, dtype=np.bool_)) is None


def test_the_interval_holds_the_figure_and_grows_with_fewer_patients() -> None:
    many = rhythm.bootstrap([(90, 100), (80, 100)] * 50)
    few = rhythm.bootstrap([(90, 100), (80, 100)])
    assert many is not None
    assert few is not None
    assert many[0] < 0.85 < many[1]
    assert few[1] - few[0] > many[1] - many[0]
    assert rhythm.bootstrap([]) is None


# The command


def run(*arguments: str) -> Any:
    result = CliRunner().invoke(cli.evaluate, ["rhythm", *arguments])
    if result.exception is not None:
        raise result.exception
    return result.stdout


def fibrillating_record(folder: Path, name: str, label: str) -> None:
    """90 s of a generated lead with irregular beats and no P wave, which an expert called `label`."""
    rng = np.random.default_rng(3)
    at_s = 0.5 + np.cumsum(np.clip(0.65 * rng.lognormal(0, 0.24, 200), 0.35, 1.5))
    at_s = at_s[at_s < 89]
    t_s = np.arange(round(90 * RATE_HZ)) / RATE_HZ
    lead_mv = 0.01 * rng.standard_normal(t_s.size)
    for peak_s in at_s:
        lead_mv += np.exp(-0.5 * ((t_s - peak_s) / 0.014) ** 2)
        lead_mv += 0.25 * np.exp(-0.5 * ((t_s - peak_s - 0.27) / 0.045) ** 2)
    write_record(folder, name, lead_mv, RATE_HZ, ["II"])
    samples = np.rint(np.concatenate([[0.1], at_s]) * RATE_HZ).astype(np.int64)
    wfdb.wrann(
        name,
        "atr",
        samples,
        symbol=["+"] + ["N"] * at_s.size,
        aux_note=[f"({label}"] + [""] * at_s.size,
        fs=RATE_HZ,
        write_dir=str(folder),
    )


def test_generated_fibrillation_is_found_and_its_record_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "data"
    fibrillating_record(folder, "af", "AFIB")
    body = SimulatedBody("simulated", 1)
    write_record(folder, "calm", body.ecg_uv(0, round(60 * RATE_HZ)) / 1000, RATE_HZ, ["II"])
    wfdb.wrann("calm", "atr", np.array([10]), symbol=["+"], aux_note=["(N"], fs=RATE_HZ, write_dir=str(folder))
    document = json.loads(run(str(folder), "--processes", "1", "--simulated", "0", "--json", "--write"))
    part = document["records"]
    assert part["records_with_af"]["records"] == 1
    assert part["gross"]["sensitivity"] > 0.8
    assert part["records_without_af"]["said_s"] == 0
    assert "| af |" in (tmp_path / "compliance" / "figures" / "rhythm.md").read_text()
    assert json.loads((tmp_path / "compliance" / "figures" / "rhythm.json").read_text())["records"] == part


def test_a_true_alarm_of_asystole_is_told_from_a_false_one(tmp_path: Path) -> None:
    body = SimulatedBody("simulated", 1)
    beating = body.ecg_uv(0, round(40 * RATE_HZ)) / 1000
    still = np.concatenate([beating, 0.005 * np.random.default_rng(1).standard_normal(round(10 * RATE_HZ))])
    for name, lead_mv, words in (("a1s", still, "True alarm"), ("a2s", beating, "False alarm")):
        write_record(tmp_path, name, lead_mv, RATE_HZ, ["II"])
        header = tmp_path / f"{name}.hea"
        header.write_text(header.read_text() + f"#Asystole\n#{words}\n")
    scores = [rhythm_table.alarm_record(tmp_path / name) for name in ("a1s", "a2s")]
    summary: Any = rhythm_table.alarms_summary([one for one in scores if one is not None])
    assert summary["ASYS"]["true"] == [1, 1]
    assert summary["ASYS"]["false"] == [0, 1]


def test_a_damaged_record_is_left_out_by_name_and_counted(tmp_path: Path) -> None:
    for name in ("cut", "whole"):
        fibrillating_record(tmp_path, name, "AFIB")
    (tmp_path / "cut.dat").write_bytes((tmp_path / "cut.dat").read_bytes()[:2000])
    table = run(str(tmp_path), "--processes", "1", "--simulated", "0")
    assert "Left out, damaged: 1: cut (" in table
    assert "| whole |" in table
    assert "| cut |" not in table
    (tmp_path / "whole.atr").write_bytes(b"\x01")
    with pytest.raises(SetupError, match="none of 2 records can be scored"):
        run(str(tmp_path), "--processes", "1", "--simulated", "0")


def test_figures_stand_without_the_record_that_fibrillates_longest_too(tmp_path: Path) -> None:
    for name in ("first", "second"):
        fibrillating_record(tmp_path, name, "AFIB")
    part = json.loads(run(str(tmp_path), "--processes", "1", "--simulated", "0", "--json"))["records"]
    assert part["without_dominant"]["record"] in ("first", "second")
    assert part["without_dominant"]["truth_s"] == pytest.approx(part["gross"]["truth_s"] / 2, rel=0.01)


def test_simulated_hearts_are_marked_and_found_and_calm_ones_raise_nothing() -> None:
    part: Any = rhythm_synthetic.evaluate(2)
    assert part["simulated"] is True
    assert [row["found_within_10_s"] for row in part["rhythms"]] == [2, 2, 2]
    assert part["control"]["false"] == 0
    assert "SIMULATED" in rhythm_synthetic.as_table(part)


def test_healthy_beat_times_raise_little_and_shuffled_ones_much(tmp_path: Path) -> None:
    """The control: the same intervals in a random order of a fibrillating spread are suspected."""
    rng = np.random.default_rng(1)
    rr_s = {"calm": 0.8 + 0.02 * rng.standard_normal(4000), "wild": 0.7 * rng.lognormal(0, 0.24, 4000)}
    arrays = {f"t_{name}": np.rint(rr * 128).astype(np.int64) for name, rr in rr_s.items()}
    arrays |= {f"s_{name}": np.full(4000, ord("N"), dtype=np.uint8) for name in rr_s}
    np.savez(tmp_path / "nsrdb.npz", **arrays)
    scores = {one.record: one.fibrillation for one in rhythm_intervals.normal_records(tmp_path / "nsrdb.npz")}
    assert scores["calm"].said_s == 0
    assert scores["wild"].said_s > 0.8 * scores["wild"].judged_s
    part: Any = json.loads(run(str(tmp_path), "--simulated", "0", "--json"))["normal"]
    assert part["people"] == 2
    assert part["worst"][0] == "wild"


def test_a_folder_without_anything_to_score_is_named(tmp_path: Path) -> None:
    with pytest.raises(SetupError, match="no records with rhythm annotations"):
        rhythm_table.evaluate_folder(tmp_path, 1, lambda _line: None)
    with pytest.raises(SetupError, match="no such folder"):
        rhythm_table.evaluate_folder(tmp_path / "nowhere", 1, lambda _line: None)
