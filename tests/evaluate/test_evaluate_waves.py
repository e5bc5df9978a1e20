"""Scoring of pulses and of respiration counts what it says, on signals and records whose truth is known."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import wfdb
from click.testing import CliRunner

from bedside.core.errors import SetupError
from bedside.core.samples import Floats
from bedside.evaluate import pulse, pulse_table, respiration
from bedside.evaluate.cli import evaluate
from bedside.signal.pleth import PulseSecond
from bedside.signal.respiration import Breathing

pytestmark = pytest.mark.requirement("SIG-006")

FS_HZ = 250.0


def second(number: int, usable: bool = True) -> PulseSecond:
    rate = 75.0 if usable else None
    return PulseSecond(number * 250, 250, usable, 1.0, None if usable else "motion", int(usable), None, rate, None)


def test_pulses_at_one_delay_are_all_paired_and_extra_or_missing_ones_counted() -> None:
    beats = np.arange(0.5, 59.0, 0.8)
    usable = np.ones(60, np.bool_)
    seconds = [second(k) for k in range(60)]
    score = pulse.score_wave("r", "PLETH", beats, np.zeros(0), usable, beats + 0.26, seconds, FS_HZ)
    assert score.delay_s == pytest.approx(0.26, abs=0.02)
    assert (score.fn, score.fp) == (0, 0)
    assert score.chance == 0.0
    feet = np.sort(np.concatenate(((beats + 0.26)[np.arange(beats.size) != 30], [20.11])))
    score = pulse.score_wave("r", "PLETH", beats, np.zeros(0), usable, feet, seconds, FS_HZ)
    assert (score.fn, score.fp) == (1, 1)
    assert all(abs(one) < 1 for one in score.rate_errors_bpm)


def test_seconds_that_are_not_believed_and_beats_of_one_lead_are_left_out() -> None:
    beats = np.arange(0.5, 59.0, 0.8)
    seconds = [second(k, k < 30) for k in range(60)]
    half = pulse.score_wave("r", "PLETH", beats, np.zeros(0), np.ones(60, np.bool_), beats + 0.2, seconds, FS_HZ)
    assert half.tp == pytest.approx(37, abs=2)
    assert (half.accepted, half.seconds) == (30, 60)
    both, alone = pulse.agreed(beats, np.delete(beats, 10) + 0.02)
    assert both.size == beats.size - 1
    assert alone.tolist() == [beats[10]]


def test_the_pulse_goes_on_only_without_a_pause_and_in_believed_seconds() -> None:
    feet = np.arange(0.5, 60.0, 0.8)
    seconds = [second(k) for k in range(60)]
    assert pulse.goes_on(feet, seconds, 60.0, FS_HZ)
    assert not pulse.goes_on(feet[(feet < 52) | (feet > 55.5)], seconds, 60.0, FS_HZ)
    assert not pulse.goes_on(feet[feet < 56.5], seconds, 60.0, FS_HZ)
    assert not pulse.goes_on(feet, [second(k, not 50 <= k < 54) for k in range(60)], 60.0, FS_HZ)


def test_the_reference_counts_a_clean_waveform_and_refuses_noise() -> None:
    t_s = np.arange(8000) / FS_HZ
    rng = np.random.default_rng(1)
    wave = np.sin(2 * np.pi * 0.3 * t_s) + 0.1 * rng.standard_normal(8000)
    assert respiration.reference_rate(wave, FS_HZ) == pytest.approx(18, abs=0.5)
    assert respiration.reference_rate(np.zeros(8000), FS_HZ) is None
    assert respiration.reference_rate(np.full(8000, np.nan), FS_HZ) is None
    noise = [respiration.reference_rate(np.cumsum(rng.standard_normal(8000)), FS_HZ) for _ in range(20)]
    assert sum(one is None for one in noise) >= 15


def test_groups_hold_their_own_sources_alone() -> None:
    sources = {
        "ecg_baseline": Breathing(15.0, 0.8, None),
        "ecg_interval": Breathing(15.5, 0.8, None),
        "pleth_baseline": Breathing(None, 0.2, "weak"),
    }
    given = respiration.grouped(sources)
    assert given["ecg"] == pytest.approx(15.25)
    assert given["pleth"] is None


def made_record(folder: Path) -> None:
    """A minute of two leads, a pulse 0.25 s behind each beat, and breathing in all of them."""
    t_s = np.arange(15_000) / FS_HZ
    breath = np.sin(2 * np.pi * 0.25 * t_s)
    lead, wave = 0.08 * breath, 0.15 * breath
    at = 0.5
    while at < 60.0:
        deep = 1.0 + 0.12 * float(np.sin(2 * np.pi * 0.25 * at))
        for late_s, width_s, height in ((0.0, 0.012, deep), (0.28, 0.05, 0.25)):
            lead = lead + height * np.exp(-0.5 * ((t_s - at - late_s) / width_s) ** 2)
        wave = wave + deep * np.exp(-0.5 * ((t_s - at - 0.37) / 0.07) ** 2)
        at += 0.8 + 0.04 * float(np.sin(2 * np.pi * 0.25 * at))
    rng = np.random.default_rng(3)
    columns: list[Floats] = [lead, 0.8 * lead, wave, breath]
    signals = np.stack(columns, axis=1) + 0.004 * rng.standard_normal((15_000, 4))
    wfdb.wrsamp(
        "a101s",
        fs=FS_HZ,
        units=["mV", "mV", "NU", "NU"],
        sig_name=["II", "V", "PLETH", "RESP"],
        p_signal=signals,
        fmt=["16"] * 4,
        comments=["Asystole", "False alarm"],
        write_dir=str(folder),
    )


def test_both_commands_give_their_tables_of_a_folder(tmp_path: Path) -> None:
    made_record(tmp_path)
    found = CliRunner().invoke(evaluate, ["pulse", str(tmp_path), "--json"])
    assert found.exit_code == 0, found.output
    document = json.loads(found.output)
    assert document["waves"][0]["se"] > 97
    assert document["waves"][0]["ppv"] > 97
    (asystole,) = document["asystole"]
    assert (asystole["alarm"], asystole["records"], asystole["pulse_goes_on"]) == ("false", 1, 1)
    assert "| PLETH | all | 1 |" in pulse_table.as_table(document)
    found = CliRunner().invoke(evaluate, ["respiration", str(tmp_path)])
    assert found.exit_code == 0, found.output
    assert "| waveform | all | 1 | 8 | 100 |" in found.output
    assert "| ecg | all | 1 | 8 | 100 |" in found.output


def test_a_folder_without_such_records_is_refused_in_words(tmp_path: Path) -> None:
    with pytest.raises(SetupError, match="no such folder"):
        pulse_table.evaluate_pulses(tmp_path / "none")
    with pytest.raises(SetupError, match="none with an ECG"):
        pulse_table.evaluate_pulses(tmp_path)
