"""Pulses are found in a pulse wave, at its rate, whatever the unit, the cut and the holes."""

from __future__ import annotations

import pickle
from importlib.metadata import files
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.signal.heart_signals import Floats, missed_and_false, steady
from tests.signal.pulse_waves import pulse_wave

from bedside.signal import pulse_shape
from bedside.signal.pleth import Pulse, PulseAnalyser, PulseSecond, PulseState

pytestmark = pytest.mark.requirement("SIG-006")


def pulses(design: PulseAnalyser, blocks: list[Floats], state: PulseState | None = None) -> list[Pulse]:
    state, out = state or design.initial(), list[Pulse]()
    for block in blocks:
        state, output = design.step(state, block)
        out += output.pulses
    return out


@pytest.mark.parametrize("fs_hz", [25.0, 75.0, 125.0, 250.0])
@pytest.mark.parametrize(("gain", "offset"), [(1.0, 0.0), (4000.0, 60_000.0), (0.001, -3.0)])
@pytest.mark.parametrize("rate_bpm", [45.0, 72.0, 130.0])
def test_every_pulse_is_found_at_its_peak(fs_hz: float, gain: float, offset: float, rate_bpm: float) -> None:
    times_s = steady(40.0, rate_bpm)
    found = pulses(PulseAnalyser.design(fs_hz), [gain * pulse_wave(times_s, 40.0, fs_hz) + offset])
    missed, false = missed_and_false(times_s[:-1], [pulse.peak_index / fs_hz for pulse in found], 0.05 + 1 / fs_hz)
    assert missed <= 1
    assert false <= 1  # the last pulse, which is not asked for
    assert all(0.05 < (pulse.peak_index - pulse.onset_index) / fs_hz < 0.5 for pulse in found)


def test_the_rate_is_the_pulse_rate_and_falls_silent_with_the_pulse() -> None:
    design = PulseAnalyser.design(75.0)
    state, output = design.step(design.initial(), pulse_wave(steady(30.0, 90.0, 0.005), 30.0, 75.0))
    assert output.rate_bpm == pytest.approx(90, abs=2)
    state, output = design.step(state, np.full(75 * 5, 0.0))
    assert output.rate_bpm is None
    assert output.pulses == () or len(output.pulses) == 1  # the last pulse of the wave


def test_a_real_wave_has_the_rate_that_its_readers_found() -> None:
    # heartpy's example of a finger pulse, 100 Hz; the package itself cannot be imported without setuptools
    path = next(Path(str(file.locate())) for file in files("heartpy") or () if file.name == "data.csv")
    values = np.genfromtxt(path, delimiter=",", skip_header=1)
    rates = [one.rate_bpm for one in seconds_of(PulseAnalyser.design(100.0), values) if one.rate_bpm is not None]
    assert len(rates) >= 8
    assert np.mean(rates) == pytest.approx(60.5, abs=2.5)  # its spectrum peaks at 58 and 62.9


@settings(max_examples=20, deadline=None)
@given(cuts=st.lists(st.integers(0, 1500), max_size=15), at=st.integers(0, 1500))
def test_cuts_and_saved_states_change_nothing(cuts: list[int], at: int) -> None:
    values = pulse_wave(steady(20.0), 20.0, 75.0)
    values[400:404] = np.nan
    values[700:800] = np.nan
    design = PulseAnalyser.design(75.0)
    whole = pulses(design, [values])
    assert pulses(design, np.split(values, sorted(cuts))) == whole
    state, before = design.step(design.initial(), values[:at])
    again = pickle.loads(pickle.dumps(state))
    assert [*before.pulses, *pulses(design, [values[at:]], again)] == whole
    assert len(whole) > 15


def test_a_hole_hides_its_pulses_and_no_more() -> None:
    times_s = steady(30.0)
    values = pulse_wave(times_s, 30.0, 75.0)
    values[750:1050] = np.nan  # 10 to 14 s
    found_s = [pulse.peak_index / 75.0 for pulse in pulses(PulseAnalyser.design(75.0), [values])]
    assert not any(10.1 < at < 13.9 for at in found_s)
    outside = [at for at in times_s if at < 9.5 or 14.8 < at < 29]
    assert missed_and_false(outside, [at for at in found_s if at < 9.7 or 14.6 < at < 29.2], 0.06)[0] == 0


@pytest.mark.parametrize("fs_hz", [0.0, 19.0, 2000.0, float("nan")])
def test_an_absurd_rate_is_refused_by_name(fs_hz: float) -> None:
    with pytest.raises(ValueError, match="fs_hz"):
        PulseAnalyser.design(fs_hz)


def test_bad_blocks_are_refused_and_wild_ones_survived() -> None:
    design = PulseAnalyser.design(75.0)
    with pytest.raises(ValueError, match="block"):
        design.step(design.initial(), np.zeros((2, 2)))
    state, output = design.step(design.initial(), np.zeros(0))
    assert output.pulses == ()
    wild = np.array([np.inf, -np.inf, 1e300, np.nan] * 200)
    state, output = design.step(state, wild)
    assert output.rate_bpm is None or np.isfinite(output.rate_bpm)
    assert pulses(design, [np.full(1000, 7.0)]) == []
    assert pulses(design, [np.full(1000, np.nan)]) == []


# What may be believed


def seconds_of(design: PulseAnalyser, values: Floats) -> list[PulseSecond]:
    state, output = design.step(design.initial(), values)
    return [*output.seconds, *design.finish(state).seconds]


def reasons(seconds: list[PulseSecond], first: int, end: int) -> set[str | None]:
    return {one.reason for one in seconds[first:end]}


@pytest.mark.parametrize("fs_hz", [25.0, 130.0, 250.0, 512.3])
def test_a_clean_wave_is_usable_once_its_form_is_known_and_gives_its_rate(fs_hz: float) -> None:
    seconds = seconds_of(PulseAnalyser.design(fs_hz), pulse_wave(steady(40.0, 80.0, 0.01), 40.0, fs_hz))
    assert all(one.usable for one in seconds[6:38])
    assert all(one.rate_bpm == pytest.approx(80, abs=3) for one in seconds[8:38])
    assert sum(one.pulses for one in seconds[6:36]) == pytest.approx(40, abs=2)


def test_a_heart_that_stops_ends_the_pulses_within_seconds() -> None:
    values = np.concatenate((pulse_wave(steady(30.0, 75.0), 30.0, 100.0), np.zeros(1000)))
    values += 0.003 * np.sin(np.arange(values.size) * 0.9)
    seconds = seconds_of(PulseAnalyser.design(100.0), values)
    assert sum(one.pulses for one in seconds[31:]) == 0
    assert all(not one.usable and one.rate_bpm is None for one in seconds[33:])
    assert reasons(seconds, 33, 40) <= {"flat", "no_pulse", "motion"}


def test_movement_after_the_heart_stopped_is_no_pulse() -> None:
    rng = np.random.default_rng(5)
    shaking = np.convolve(rng.standard_normal(2020), np.hanning(21), "valid")  # below 10 Hz, as tall as the pulses
    shaking *= 0.5 / shaking.std()
    values = np.concatenate((pulse_wave(steady(30.0, 75.0), 30.0, 100.0), shaking))
    seconds = seconds_of(PulseAnalyser.design(100.0), values)
    assert sum(one.pulses for one in seconds[32:]) <= 2
    assert "motion" in reasons(seconds, 32, 50)


def test_without_the_form_the_movement_would_pass_for_pulses(monkeypatch: pytest.MonkeyPatch) -> None:
    """The negative control of the test before it."""
    monkeypatch.setattr(pulse_shape, "LIKE_MIN", -1.0)
    monkeypatch.setattr(pulse_shape, "HEIGHT_RANGE", (0.0, 1e9))
    with pytest.raises(AssertionError):
        test_movement_after_the_heart_stopped_is_no_pulse()


def test_each_second_that_cannot_be_judged_says_why() -> None:
    clean = pulse_wave(steady(60.0, 75.0), 60.0, 100.0)
    values = clean.copy()
    values[2000:2300] = np.nan
    values[3000:3300] = values[3000]
    values[4000:4300] = np.clip(5.0 * values[4000:4300], 0.1, 0.6)
    seconds = seconds_of(PulseAnalyser.design(100.0), values)
    assert reasons(seconds, 0, 2) == {"learning"}
    assert reasons(seconds, 20, 23) == {"missing"}
    assert reasons(seconds, 30, 33) == {"flat"}
    assert reasons(seconds, 41, 43) == {"saturated"}
    assert all(one.pulses == 0 and one.rate_bpm is None for one in seconds if not one.usable)


def test_a_pulse_of_a_few_converter_steps_is_low_perfusion() -> None:
    values = np.round(4.0 * pulse_wave(steady(30.0, 75.0), 30.0, 100.0))
    assert reasons(seconds_of(PulseAnalyser.design(100.0, step_size=1.0), values), 10, 28) <= {
        "low_perfusion",
        "flat",
    }


def test_the_perfusion_index_is_the_pulse_over_the_constant_light_where_that_is_known() -> None:
    values = 2000.0 * pulse_wave(steady(30.0, 75.0), 30.0, 100.0) + 100_000.0
    lit = seconds_of(PulseAnalyser.design(100.0, step_size=1.0, has_dc=True), values)
    assert lit[20].perfusion_pct == pytest.approx(2.0, abs=0.15)
    assert seconds_of(PulseAnalyser.design(100.0), values)[20].perfusion_pct is None


def test_weak_beats_of_fibrillation_are_found_beside_strong_ones() -> None:
    rng = np.random.default_rng(2)
    times_s = np.cumsum(rng.uniform(0.45, 1.1, 60)).tolist()
    heights = rng.uniform(0.35, 1.0, 60).tolist()
    duration_s = times_s[-1] + 1.0
    found = pulses(PulseAnalyser.design(100.0), [pulse_wave(times_s, duration_s, 100.0, heights)])
    missed, false = missed_and_false(times_s, [one.peak_index / 100.0 for one in found], 0.06)
    assert missed <= 6
    assert false <= 6


def test_most_of_a_real_wave_is_believed() -> None:
    path = next(Path(str(file.locate())) for file in files("heartpy") or () if file.name == "data.csv")
    seconds = seconds_of(PulseAnalyser.design(100.0), np.genfromtxt(path, delimiter=",", skip_header=1))
    assert sum(one.usable for one in seconds[5:]) >= 15  # of 18; until then its form is learnt


@settings(max_examples=15, deadline=None)
@given(cuts=st.lists(st.integers(0, 3000), max_size=12))
def test_seconds_do_not_depend_on_the_cut(cuts: list[int]) -> None:
    values = pulse_wave(steady(30.0), 30.0, 100.0) + 0.02 * np.sin(np.arange(3000) * 1.3)
    values[1200:1210], values[2000:2150] = np.nan, np.nan
    design = PulseAnalyser.design(100.0)
    state, got = design.initial(), list[PulseSecond]()
    for block in np.split(values, sorted(cuts)):
        state, output = design.step(state, block)
        got += output.seconds
    assert [*got, *design.finish(state).seconds] == seconds_of(design, values)


def test_memory_does_not_grow() -> None:
    design = PulseAnalyser.design(100.0)
    state, _ = design.step(design.initial(), pulse_wave(steady(60.0), 60.0, 100.0))
    minute = len(pickle.dumps(state))
    for _ in range(10):
        state, _ = design.step(state, pulse_wave(steady(60.0), 60.0, 100.0))
    assert len(pickle.dumps(state)) < 1.2 * minute
