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

from bedside.signal.pleth import Pulse, PulseAnalyser, PulseState

pytestmark = pytest.mark.requirement("SIG-006")


def wave(times_s: list[float], duration_s: float, fs_hz: float) -> Floats:
    """A pulse each: upstroke of 0.1 s, a dicrotic wave a third as high 0.3 s later. Peaks at `times_s`."""
    t_s = np.arange(round(duration_s * fs_hz)) / fs_hz
    out = np.zeros(t_s.size)
    for at in times_s:
        for late_s, width_s, height in ((0.0, 0.07, 1.0), (0.30, 0.08, 0.35)):
            out += height * np.exp(-0.5 * ((t_s - at - late_s) / width_s) ** 2)
    return out


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
    found = pulses(PulseAnalyser.design(fs_hz), [gain * wave(times_s, 40.0, fs_hz) + offset])
    missed, false = missed_and_false(times_s[:-1], [pulse.peak_index / fs_hz for pulse in found], 0.05 + 1 / fs_hz)
    assert missed <= 1
    assert false <= 1  # the last pulse, which is not asked for
    assert all(0.05 < (pulse.peak_index - pulse.onset_index) / fs_hz < 0.5 for pulse in found)


def test_the_rate_is_the_pulse_rate_and_falls_silent_with_the_pulse() -> None:
    design = PulseAnalyser.design(75.0)
    state, output = design.step(design.initial(), wave(steady(30.0, 90.0, 0.005), 30.0, 75.0))
    assert output.rate_bpm == pytest.approx(90, abs=2)
    state, output = design.step(state, np.full(75 * 5, 0.0))
    assert output.rate_bpm is None
    assert output.pulses == () or len(output.pulses) == 1  # the last pulse of the wave


def test_a_real_wave_has_the_rate_that_its_readers_found() -> None:
    # heartpy's example of a finger pulse, 100 Hz; the package itself cannot be imported without setuptools
    path = next(Path(str(file.locate())) for file in files("heartpy") or () if file.name == "data.csv")
    values = np.genfromtxt(path, delimiter=",", skip_header=1)
    design = PulseAnalyser.design(100.0)
    found = pulses(design, [values])
    seconds = (found[-1].peak_index - found[0].peak_index) / 100.0
    assert 60 * (len(found) - 1) / seconds == pytest.approx(60.5, abs=2.5)  # its spectrum peaks at 58 and 62.9


@settings(max_examples=20, deadline=None)
@given(cuts=st.lists(st.integers(0, 1500), max_size=15), at=st.integers(0, 1500))
def test_cuts_and_saved_states_change_nothing(cuts: list[int], at: int) -> None:
    values = wave(steady(20.0), 20.0, 75.0)
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
    values = wave(times_s, 30.0, 75.0)
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
