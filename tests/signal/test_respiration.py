"""Breaths are counted where they are, sources that disagree give no number, and silence is told from a hole."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bedside.signal import respiration
from bedside.signal.resample import Floats
from bedside.signal.respiration import (
    INNER_HZ,
    WINDOW,
    ApnoeaWatch,
    Breathing,
    SlowSeries,
    beat_series,
    breathing,
    fuse,
    sources_of_beats,
)

pytestmark = pytest.mark.requirement("SIG-011")

T_S = np.arange(WINDOW) / INNER_HZ


def noisy(rate_per_min: float, seed: int, noise: float = 0.3) -> Floats:
    rng = np.random.default_rng(seed)
    return np.asarray(np.sin(2 * np.pi * rate_per_min / 60.0 * T_S + seed) + noise * rng.standard_normal(WINDOW))


@pytest.mark.parametrize("rate_per_min", [9.0, 12.0, 18.0, 25.0, 38.0])
@pytest.mark.parametrize(("gain", "offset"), [(1.0, 0.0), (1e-6, 3.0), (5e4, -1e6)])
def test_a_rate_is_found_whatever_the_unit_and_the_offset(rate_per_min: float, gain: float, offset: float) -> None:
    for seed in range(5):
        found = breathing(gain * noisy(rate_per_min, seed) + offset + gain * 0.05 * T_S)
        assert found.rate_per_min == pytest.approx(rate_per_min, abs=1.0)


def test_noise_has_no_rate() -> None:
    rng = np.random.default_rng(1)
    given_rates = [breathing(rng.standard_normal(WINDOW)).rate_per_min for _ in range(300)]
    wandering = [breathing(np.cumsum(rng.standard_normal(WINDOW))).rate_per_min for _ in range(300)]
    assert sum(one is not None for one in given_rates) <= 30
    assert sum(one is not None for one in wandering) <= 120  # one source alone is not believed: see `fuse`


def test_noise_of_many_sources_seldom_agrees() -> None:
    rng = np.random.default_rng(2)
    said = 0
    for _ in range(200):
        found = {f"{k}_baseline": breathing(np.cumsum(rng.standard_normal(WINDOW))) for k in range(3)}
        said += fuse(found).rate_per_min is not None
    assert said <= 24


def test_without_agreement_noise_would_give_rates(monkeypatch: pytest.MonkeyPatch) -> None:
    """The negative control of the test before it."""
    monkeypatch.setattr(respiration, "DERIVED_MIN", 1)
    monkeypatch.setattr(respiration, "QUALITY_MIN", 0.2)
    with pytest.raises(AssertionError):
        test_noise_of_many_sources_seldom_agrees()


def test_a_waveform_counts_alone_and_derived_sources_only_together() -> None:
    good = Breathing(15.0, 0.8, None)
    assert fuse({"waveform": good, "ecg_interval": Breathing(30.0, 0.9, None)}).rate_per_min == 15.0
    assert fuse({"ecg_interval": good}).rate_per_min is None
    assert fuse({"ecg_interval": good, "ecg_baseline": Breathing(16.0, 0.8, None)}).rate_per_min == pytest.approx(15.5)
    assert fuse({"ecg_interval": good, "pleth_interval": good}).rate_per_min is None  # they alias alike
    torn = {"ecg_interval": good, "ecg_baseline": Breathing(25.0, 0.8, None)}
    assert fuse(torn) == (None, 0.0, (), "disagreement")
    against = {
        "a": good,
        "b_baseline": Breathing(15.5, 0.8, None),
        "c": Breathing(30.0, 0.9, None),
        "d": Breathing(30.0, 0.6, None),
    }
    assert fuse(against).rate_per_min is None
    assert fuse({}).reason == "missing"
    assert fuse({"ecg_interval": Breathing(None, 0.1, "weak")}).reason == "weak"


def test_two_sources_that_agree_are_not_believed_against_the_spectrum_of_the_others() -> None:
    """Slow waves of blood pressure move two sources alike; the others, too faint for a rate, hold the breaths."""
    slow = {"ecg_amplitude": breathing(noisy(10, 1)), "ecg_baseline": breathing(noisy(10, 2))}
    assert fuse(slow).rate_per_min == pytest.approx(10, abs=1)
    faint = [noisy(27, seed, 0.9) for seed in (3, 4, 5)]
    others = {
        f"pleth_{name}": breathing(window)
        for name, window in zip(("baseline", "interval", "height"), faint, strict=True)
    }
    silent = {name: one._replace(rate_per_min=None, reason="weak") for name, one in others.items()}
    assert fuse({**slow, **silent}).rate_per_min is None
    unseen = {name: one._replace(spectrum=()) for name, one in silent.items()}  # negative control
    assert fuse({**slow, **unseen}).rate_per_min == pytest.approx(10, abs=1)


def test_a_baseline_that_moves_with_a_slow_heart_has_no_breaths() -> None:
    heart = noisy(43, 6, 0.1)
    assert breathing(heart).rate_per_min == pytest.approx(43, abs=1)
    other = breathing(heart, heart_per_min=43.0).rate_per_min  # noise may have one by chance, but not the heart's
    assert other is None or other < respiration.BESIDE_HEART * 43.0
    assert respiration.heart_rate([60.0 / 43.0 * k for k in range(30)], 41.0) == pytest.approx(43.0)
    assert respiration.heart_rate([1.0, 2.0], 3.0) is None


def test_holes_and_flat_lines_say_why() -> None:
    window = noisy(15, 1)
    window[40:60] = np.nan
    assert breathing(window)[:3] == (None, 0.0, "missing")
    window = noisy(15, 1)
    window[40:45] = np.nan
    assert breathing(window).rate_per_min == pytest.approx(15, abs=1)
    assert breathing(np.full(WINDOW, 7.0)).reason == "weak"
    with pytest.raises(ValueError, match="window"):
        breathing(np.zeros(5))


def test_beats_carry_breaths_by_size_and_distance_but_not_faster_than_half_their_own_rate() -> None:
    def beats(breaths_per_min: float) -> tuple[list[float], list[float]]:
        times_s, at = [], 0.0
        while at < 60.0:
            times_s.append(at)
            at += 0.8 + 0.06 * np.sin(2 * np.pi * breaths_per_min / 60.0 * at)
        sizes = [1.0 + 0.1 * np.sin(2 * np.pi * breaths_per_min / 60.0 * one) for one in times_s]
        return times_s, sizes

    slow = sources_of_beats("ecg", *beats(14.0), 60.0)
    assert slow["ecg_amplitude"].rate_per_min == pytest.approx(14, abs=0.7)
    assert slow["ecg_interval"].rate_per_min == pytest.approx(14, abs=1.0)
    fast = sources_of_beats("ecg", *beats(50.0), 60.0)
    assert fuse(fast).rate_per_min is None or fast["ecg_amplitude"].rate_per_min != pytest.approx(50, abs=2)
    assert sources_of_beats("ecg", [1.0], [1.0], 60.0)["ecg_interval"].reason == "missing"
    assert np.isnan(beat_series(np.array([0.0, 1.0, 20.0, 21.0]), np.ones(4), 32.0)[40])


@settings(max_examples=25, deadline=None)
@given(cuts=st.lists(st.integers(0, 2600), max_size=12), fs_hz=st.sampled_from([4.0, 25.0, 51.2, 130.0]))
def test_slow_series_do_not_depend_on_the_cut(cuts: list[int], fs_hz: float) -> None:
    values = np.sin(np.arange(2600) * 0.05)
    values[300:420] = np.nan
    design = SlowSeries.design(fs_hz)
    _, whole = design.step(design.initial(), values)
    state, parts = design.initial(), []
    for block in np.split(values, sorted(cuts)):
        state, some = design.step(state, block)
        parts += some
    assert [end for end, _ in parts] == [end for end, _ in whole]
    for (_, one), (_, other) in zip(parts, whole, strict=True):
        np.testing.assert_array_equal(one, other)


def watched(values: Floats, contact: Floats | None = None) -> list[bool | None]:
    """Seconds of a waveform at 25 Hz through the watch."""
    design, watch = SlowSeries.design(25.0), ApnoeaWatch()
    _, windows = design.step(design.initial(), values)
    state, said = watch.initial(), []
    for number, (_, window) in enumerate(windows):
        counted = breathing(window, direct=True) if number % 10 == 9 else None
        state = watch.step(state, window, counted, contact is None or bool(contact[number]))
        said.append(watch.apnoea(state))
    return said


def waveform(seconds: int, rate_per_min: float = 15.0) -> Floats:
    return np.asarray(np.sin(2 * np.pi * rate_per_min / 60.0 * np.arange(25 * seconds) / 25.0))


def test_twenty_seconds_without_a_breath_are_apnoea_and_less_is_not() -> None:
    rng = np.random.default_rng(3)
    for silent_s, wanted in ((17, False), (26, True)):
        hold = np.full(25 * silent_s, 0.0) + 0.02 * rng.standard_normal(25 * silent_s)
        said = watched(np.concatenate((waveform(80), hold, waveform(40))))
        assert (True in said) is wanted
        assert said[-1] is False


def test_apnoea_is_not_claimed_through_holes_before_breaths_or_without_contact() -> None:
    assert set(watched(np.zeros(25 * 90))) == {None}  # never a breath: nothing is known
    hole = np.concatenate((waveform(80), np.full(25 * 40, np.nan), waveform(20)))
    assert True not in watched(hole)
    off = np.ones(140)
    off[80:] = 0
    still = np.concatenate((waveform(80), np.zeros(25 * 60)))
    assert True not in watched(still, off)
    assert True in watched(still)


@pytest.mark.parametrize("fs_hz", [0.0, 3.0, 2000.0, float("nan")])
def test_an_absurd_rate_is_refused_by_name(fs_hz: float) -> None:
    with pytest.raises(ValueError, match="fs_hz"):
        SlowSeries.design(fs_hz)
