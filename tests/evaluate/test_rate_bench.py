"""The heart rate bench through the live path: what is asked is met, and the bench can fail."""

from __future__ import annotations

import numpy as np
import pytest

from bedside.evaluate import bench_signals as rate_bench
from bedside.evaluate.analyze import load_classifier
from bedside.evaluate.bench_signals import RATE_HZ, Row, Shown, show
from bedside.simulation import bench_signals as bench

pytestmark = pytest.mark.requirement("SIG-005")


def shown(lead_mv: object) -> Shown:
    judge, _ = load_classifier()
    return show(np.asarray(lead_mv, dtype=np.float64), judge)


@pytest.mark.parametrize("to_bpm", [120.0, 40.0])
def test_a_step_of_the_rate_is_shown_within_ten_seconds(to_bpm: float) -> None:
    result = shown(bench.ecg_mv(bench.step(80.0, to_bpm, 20.0, 40.0), 40.0, RATE_HZ))
    assert result.rate_at(20.0) == pytest.approx(80.0, abs=1.0)
    assert result.rate_at(31.0) == pytest.approx(to_bpm, rel=0.05)


@pytest.mark.parametrize("amplitude_mv", [0.5, 5.0, -1.0])
def test_small_large_and_inverted_qrs_are_counted(amplitude_mv: float) -> None:
    result = shown(bench.ecg_mv(bench.regular(80.0, 25.0, qrs_mv=amplitude_mv), 25.0, RATE_HZ))
    assert result.between(15.0, 24.0) == [pytest.approx(80.0, abs=1.0)] * len(result.between(15.0, 24.0))


def test_bigeminy_counts_every_qrs() -> None:
    assert shown(bench.ecg_mv(bench.bigeminy(25.0), 25.0, RATE_HZ)).rate_at(24.0) == pytest.approx(80.0, abs=4.0)


def test_a_tachycardia_sounds_within_ten_seconds_and_a_quiet_rhythm_does_not() -> None:
    beats = bench.tachycardia(206.0, 1.0, 20.0, 35.0)
    heard = shown(bench.ecg_mv(beats, 35.0, RATE_HZ)).alarm_after(20.0, rate_bench.TACHYCARDIA_ALARMS)
    assert heard is not None and heard[0] <= 10.0
    assert shown(bench.ecg_mv(bench.regular(80.0, 30.0), 30.0, RATE_HZ)).alarms == ()  # negative control


def test_the_table_says_what_was_not_met() -> None:
    rows = [Row("a", "one", "x", "y", True), Row("b", "two", "x", "z", False), Row("c", "three", "", "w", None)]
    table = rate_bench.as_table(rows)
    assert "**not met**" in table
    assert "1 of 2 met" in table
