"""`bedside evaluate noise`: noise at the ratio that was asked, in its periods alone, scored there alone."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import wfdb
from click.testing import CliRunner
from tests.evaluate.evaluate_helpers import write_record

from bedside.core.errors import SetupError
from bedside.core.samples import Floats
from bedside.evaluate import cli, noise
from bedside.evaluate.beats import Marks
from bedside.simulation.bodies import SimulatedBody

pytestmark = pytest.mark.requirement("EVL-002")

RATE_HZ = 130.0


def strip(minutes: float = 8.0, seed: int = 1) -> noise.Strip:
    """A generated body and its true beats."""
    body, n = SimulatedBody("simulated", seed), round(60 * minutes * RATE_HZ)
    lead_mv = np.asarray(body.ecg_uv(0, n) / 1000, dtype=np.float64)
    samples = np.rint(np.array(body.beats_s(0.0, 60 * minutes - 0.1)) * RATE_HZ).astype(np.int64)
    return noise.Strip(f"body{seed}", RATE_HZ, lead_mv, Marks(samples, ("N",) * samples.size))


def hiss(fs_hz: float = 360.0, seconds: float = 60.0) -> Floats:
    return np.random.default_rng(3).normal(0.0, 0.7, round(seconds * fs_hz))


def test_noise_stands_in_two_minutes_of_four_after_five_clean_ones() -> None:
    assert noise.noisy_periods(15 * 60 * 100, 100.0) == ((30000, 42000), (54000, 66000), (78000, 90000))
    one = strip()
    noisy = noise.with_noise(one, hiss(), 360.0, 6.0)
    start, end = 300 * 130, 420 * 130
    changed = np.flatnonzero(noisy != one.lead_mv)
    assert changed[0] >= start
    assert changed[-1] < end
    assert changed.size > 0.99 * (end - start)


@pytest.mark.parametrize("snr_db", [24.0, 6.0, -6.0])
def test_the_noise_has_the_power_that_the_ratio_says(snr_db: float) -> None:
    one = strip()
    added = (noise.with_noise(one, hiss(360.0, 200.0), 360.0, snr_db) - one.lead_mv)[300 * 130 : 420 * 130]
    qrs_mv = np.sqrt(8 * noise.signal_power(one))
    assert 0.3 < qrs_mv < 3.0
    # Interpolating white noise takes a third of its power at most.
    ratio_db = 10 * np.log10(noise.signal_power(one) / added.var())
    assert snr_db - 0.1 <= ratio_db <= snr_db + 2.0


def test_beats_count_in_noisy_periods_alone() -> None:
    one = strip()
    inside = (one.truth.samples >= 300 * 130) & (one.truth.samples < 420 * 130)
    assert noise.count(one, one.truth.samples) == (int(inside.sum()), 0, 0)
    assert noise.count(one, one.truth.samples[~inside]) == (0, int(inside.sum()), 0)
    assert noise.count(one, np.sort(np.r_[one.truth.samples, [305 * 130, 10]]))[2] == 1  # control: a false one there


def test_flutter_counts_for_nobody() -> None:
    one = strip()
    marks = Marks(one.truth.samples, one.truth.classes, ((300 * 130, 420 * 130),))
    assert noise.count(noise.Strip("body", RATE_HZ, one.lead_mv, marks), one.truth.samples) == (0, 0, 0)


def test_the_interval_holds_the_gross_figure_and_narrows_with_like_records() -> None:
    same = [(100, 1, 1)] * 8
    assert list(noise.interval(same)) == pytest.approx([99.0099, 99.0099], abs=1e-3)
    low, high = noise.interval([(100, 0, 0), (60, 40, 40), (90, 5, 5)])
    assert low < 100 * 250 / 295 < high
    lead_low, lead_high = noise.interval([(100, 0, 0)] * 4, [(90, 10, 10)] * 4)
    assert lead_low == lead_high == pytest.approx(10.0)


def folder_of(path: Path) -> Path:
    for seed in (1, 2):
        one = strip(7.2, seed)
        write_record(path, one.name, one.lead_mv, RATE_HZ, ["II"])
        wfdb.wrann(
            one.name, "atr", one.truth.samples, symbol=["N"] * one.truth.samples.size, fs=RATE_HZ, write_dir=str(path)
        )
    write_record(path / "noises", "em", hiss(seconds=260), 360.0, ["noise1"])
    return path


def run(*arguments: str) -> Any:
    result = CliRunner().invoke(cli.evaluate, ["noise", *arguments])
    if result.exception is not None:
        raise result.exception
    return result.output


def test_the_command_scores_all_three_programs_and_more_noise_is_worse(tmp_path: Path) -> None:
    folder = folder_of(tmp_path)
    arguments = ("--noise", str(folder / "noises"), "--kinds", "em", "--minutes", "7.1", "--processes", "1")
    document = json.loads(run(str(folder), *arguments, "--snr", "24,-12", "--json"))
    assert document["records"] == ["body1", "body2"]
    by = {(row["program"], row["snr_db"]): row for row in document["rows"]}
    for program in noise.PROGRAMS:
        assert by[program, None]["f1"] > 99
        assert by[program, -12.0]["f1"] < by[program, 24.0]["f1"]
    assert by["bedside", 24.0]["f1"] > 99
    assert by["xqrs", 24.0]["bedside_leads_by"] is not None
    table = noise.as_table(document)
    assert "| em | 24 | bedside |" in table
    assert "Records (2): body1, body2" in table


def test_a_record_that_some_program_cannot_read_without_noise_is_left_out_and_named() -> None:
    one = strip(7.2)
    noisy = noise.Strip(
        "poor", RATE_HZ, one.lead_mv + np.random.default_rng(1).normal(0, 2.0, one.lead_mv.size), one.truth
    )
    results = noise.stress([noisy], {"em": (hiss(), 360.0)}, (24.0,))
    assert {result.kind for result in results} == {None}
    document: dict[str, Any] = dict(noise.summary(results))
    assert document["records"] == []
    assert document["left_out"] == ["poor"]
    assert {row["noise"] for row in document["rows"]} == {None}  # its figures without noise tell why


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("--snr", "loud"), "--snr loud"),
        (("--records", "nobody"), "none of the named records"),
        (("--kinds", "xx"), "no such record"),
    ],
)
def test_what_cannot_be_run_is_said(tmp_path: Path, arguments: tuple[str, ...], says: str) -> None:
    folder = folder_of(tmp_path)
    with pytest.raises(SetupError, match=says):
        run(str(folder), "--noise", str(folder / "noises"), *arguments)
