"""The bench signals have the rates, sizes and widths that they say."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from bedside.simulation import bench_signals as bench
from bedside.simulation.bench_signals import BenchBeat

pytestmark = pytest.mark.requirement("SIM-001")


@pytest.mark.parametrize("bpm", [30.0, 80.0, 250.0])
def test_regular_beats_have_their_rate(bpm: float) -> None:
    at_s = np.array([beat.at_s for beat in bench.regular(bpm, 60.0)])
    np.testing.assert_allclose(np.diff(at_s), 60.0 / bpm)
    assert at_s.size == round(bpm)


def test_a_qrs_has_its_height_and_width_and_the_t_wave_ends_at_qt() -> None:
    fs_hz = 1000.0
    lead_mv = bench.ecg_mv([BenchBeat(0.5, 1.5, 0.1, 0.4)], 2.0, fs_hz)
    assert lead_mv.max() == pytest.approx(1.5, abs=0.01)
    seen_s = np.flatnonzero(lead_mv > 1e-9) / fs_hz
    assert (seen_s[0], seen_s[-1]) == (pytest.approx(0.5, abs=0.002), pytest.approx(0.5 + bench.QT_S, abs=0.002))
    assert np.count_nonzero(lead_mv[500:620] > 1e-9) == pytest.approx(100, abs=2)


def test_a_step_changes_the_interval_once() -> None:
    beats = bench.step(80.0, 40.0, 20.0, 60.0)
    rr_s = [round(b.at_s - a.at_s, 6) for a, b in itertools.pairwise(beats)]
    assert [rr for rr, _ in itertools.groupby(rr_s)] == [0.75, 1.5]


@pytest.mark.parametrize(
    ("make", "bpm"),
    [(bench.bigeminy, 80), (bench.slow_alternating, 60), (bench.rapid_alternating, 120), (bench.bidirectional, 90)],
)
def test_irregular_rhythms_count_to_their_rate(make: object, bpm: int) -> None:
    assert len(make(60.0)) == bpm  # type: ignore[operator]


def test_a_pacing_pulse_shorter_than_a_sample_leaves_its_area() -> None:
    lead_mv = bench.pacing_mv([0.5], 1.0, 130.0, 2.0, 0.0005)
    assert lead_mv.sum() == pytest.approx(2.0 * 0.0005 * 130.0)
    assert np.count_nonzero(lead_mv) == 1


def test_the_same_arguments_give_the_same_samples() -> None:
    for fs_hz in (130.0, 250.0):
        one, other = (bench.ecg_mv(bench.tachycardia(206.0, 1.0, 10.0, 20.0), 20.0, fs_hz) for _ in range(2))
        np.testing.assert_array_equal(one, other)
        assert one.size == round(20.0 * fs_hz)
