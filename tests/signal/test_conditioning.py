"""Resampling and filtering: right in place and size, whatever the rate and the cut."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bedside.signal.filters import Baseline, FirBank, lowpass_kernel, quadrature_kernels
from bedside.signal.quality import fast_noise
from bedside.signal.resample import INTERNAL_HZ, Resampler

RATES_HZ = (100.0, 128.0, 129.87, 130.0, 200.0, 250.0, 256.0, 300.0, 333.3, 360.0, 500.0, 512.0, 977.0, 1000.0)


@pytest.mark.parametrize("fs_hz", RATES_HZ)
@pytest.mark.parametrize("tone_hz", [1.0, 11.0, 30.0])
def test_a_tone_keeps_its_phase_and_height(fs_hz: float, tone_hz: float) -> None:
    design = Resampler.design(fs_hz)
    t_s = np.arange(round(8 * fs_hz)) / fs_hz
    _, out = design.step(design.initial(), np.sin(2 * np.pi * tone_hz * t_s))
    expected = np.sin(2 * np.pi * tone_hz * np.arange(out.size) / INTERNAL_HZ)
    inside = slice(100, out.size - 10)
    np.testing.assert_allclose(out[inside], expected[inside], atol=0.02)


def test_what_lies_above_the_internal_band_does_not_fold_down() -> None:
    design = Resampler.design(1000.0)
    _, out = design.step(design.initial(), np.sin(2 * np.pi * 240.0 * np.arange(8000) / 1000))
    assert np.abs(out[200:]).max() < 0.01


@pytest.mark.parametrize("fs_hz", RATES_HZ)
def test_an_output_comes_exactly_when_its_input_is_complete(fs_hz: float) -> None:
    design = Resampler.design(fs_hz)
    for n_out in (1, 2, 3, 49, 50, 51, 12_345):
        end = design.input_end(n_out)
        _, early = design.step(design.initial(), np.zeros(end - 1))
        _, full = design.step(design.initial(), np.zeros(end))
        assert early.size < n_out <= full.size


@settings(max_examples=25, deadline=None)
@given(fs_hz=st.floats(100.0, 1000.0), cuts=st.lists(st.integers(0, 600), max_size=12))
def test_cuts_change_no_resampled_sample_at_any_rate(fs_hz: float, cuts: list[int]) -> None:
    values = np.random.default_rng(2).normal(size=600)
    design = Resampler.design(fs_hz)
    _, whole = design.step(design.initial(), values)
    state, parts = design.initial(), []
    for block in np.split(values, sorted(cuts)):
        state, part = design.step(state, block)
        parts.append(part)
    np.testing.assert_allclose(np.concatenate(parts), whole, rtol=0, atol=1e-12)


def test_indices_do_not_drift_over_a_year() -> None:
    design = Resampler.design(129.87)
    seconds = 365 * 86_400
    assert abs(design.source_index(int(seconds * INTERNAL_HZ)) - seconds * 129.87) <= 1


def test_the_baseline_filter_takes_drift_and_leaves_the_qrs() -> None:
    design = Baseline.design()
    t_s = np.arange(250 * 60) / INTERNAL_HZ
    drift = 2.0 * np.sin(2 * np.pi * 0.1 * t_s)
    quick = np.sin(2 * np.pi * 10 * t_s)
    _, out = design.step(design.initial(), drift + quick)
    np.testing.assert_allclose(out[2500:], quick[2500:], atol=0.2)


@pytest.mark.parametrize("cut_hz", [0.0, 6.0, float("nan")])
def test_a_baseline_cut_off_out_of_range_is_refused_by_name(cut_hz: float) -> None:
    with pytest.raises(ValueError, match="cut_hz"):
        Baseline.design(cut_hz)


def test_kernels_of_unlike_or_even_length_are_refused() -> None:
    with pytest.raises(ValueError, match="kernels"):
        FirBank.design(np.zeros(5), np.zeros(7))
    with pytest.raises(ValueError, match="kernels"):
        FirBank.design(np.zeros(4))


def test_the_envelope_is_blind_to_drift_and_sees_either_sign_alike() -> None:
    even, odd = quadrature_kernels(18, centre_hz=11.0, sigma_s=0.020)
    bank = FirBank.design(even, odd)
    t = np.arange(500)
    qrs = np.exp(-0.5 * ((t - 250) / 3.0) ** 2)
    heights = []
    for lead_mv in (qrs, -qrs):
        _, (real, imaginary) = bank.step(bank.initial(), lead_mv)
        envelope = np.hypot(real, imaginary)
        assert abs(int(envelope.argmax()) - 18 - 250) <= 3
        heights.append(envelope.max())
    assert heights[0] == pytest.approx(heights[1])
    _, (real, imaginary) = bank.step(bank.initial(), 0.01 * t)
    assert np.hypot(real, imaginary)[50:].max() < 0.02 * heights[0]


def test_the_low_pass_takes_mains_and_keeps_the_qrs_band() -> None:
    kernel = lowpass_kernel(18, 38.0)
    gains = [abs(np.exp(-2j * np.pi * hz * np.arange(37) / INTERNAL_HZ) @ kernel) for hz in (10, 25, 50, 60)]
    assert gains[0] == pytest.approx(1.0, abs=0.01)
    assert gains[1] > 0.9
    assert max(gains[2:]) < 0.06


@pytest.mark.parametrize("hum_hz", [50.0, 60.0])
def test_hum_and_muscle_are_told_apart(hum_hz: float) -> None:
    t_s = np.arange(250) / INTERNAL_HZ
    hum = 0.7 * np.sin(2 * np.pi * hum_hz * t_s + 0.4)
    muscle = np.random.default_rng(4).normal(0.0, 0.1, 250)
    noise = fast_noise(hum + muscle)
    assert noise.mains_hz == pytest.approx(hum_hz, abs=0.1)
    assert noise.mains_mv == pytest.approx(0.7, abs=0.03)
    assert noise.muscle_mv == pytest.approx(0.1, abs=0.03)
