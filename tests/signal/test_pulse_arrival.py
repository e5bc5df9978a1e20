"""Pulse arrival time: the delay that was put in comes out, and nothing comes where it cannot be known."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bedside.signal.arrival import LONGEST_S, SHORTEST_S, WINDOW_S, arrival

pytestmark = pytest.mark.requirement("SIG-006")


def beats(rr_s: float) -> list[float]:
    return [float(at) for at in np.arange(-WINDOW_S, 0.0, rr_s)]


@given(delay_s=st.floats(SHORTEST_S + 0.01, 0.5), rr_s=st.floats(0.6, 1.8))
def test_a_steady_delay_comes_out(delay_s: float, rr_s: float) -> None:
    found = arrival(beats(rr_s), [at + delay_s for at in beats(rr_s)], 0.0)
    assert found.arrival_s == pytest.approx(delay_s, abs=1e-6)
    assert found.reason is None


@given(delay_s=st.floats(0.1, 0.5), missing=st.integers(1, 9))
def test_pulses_that_are_missing_or_come_twice_do_not_move_it(delay_s: float, missing: int) -> None:
    at = beats(0.8)
    feet = [one + delay_s for k, one in enumerate(at) if k % 10 != missing]
    feet += [feet[3] + 0.02, feet[9] + 0.02]
    found = arrival(at, sorted(feet), 0.0)
    assert found.arrival_s == pytest.approx(delay_s, abs=1e-6)


@pytest.mark.parametrize("rr_s", [0.3, 0.45, 0.54])
def test_a_fast_heart_has_none_since_a_foot_might_be_of_the_beat_before(rr_s: float) -> None:
    assert arrival(beats(rr_s), [at + 0.2 for at in beats(rr_s)], 0.0).reason == "fast"


def test_feet_that_know_nothing_of_the_beats_have_none() -> None:
    said = 0
    for seed in range(40):
        rng = np.random.default_rng(seed)
        feet = np.cumsum(rng.uniform(0.6, 1.1, 30)) - WINDOW_S
        said += arrival(beats(0.85), [float(one) for one in feet], 0.0).arrival_s is not None
    assert said <= 1


@given(
    st.lists(st.floats(-40, 5), max_size=60).map(sorted),
    st.lists(st.floats(-40, 5), max_size=60).map(sorted),
)
def test_whatever_comes_a_number_has_enough_pairs_and_lies_within_the_limits(
    beats_s: list[float], feet_s: list[float]
) -> None:
    found = arrival(beats_s, feet_s, 0.0)
    assert (found.arrival_s is None) == (found.reason is not None)
    if found.arrival_s is not None:
        assert SHORTEST_S <= found.arrival_s <= LONGEST_S
        assert found.pairs >= 8


def test_no_pulse_is_said_where_few_beats_have_one() -> None:
    at = beats(0.8)
    assert arrival(at, [one + 0.2 for one in at[::2]], 0.0).reason == "no_pulse"
    assert arrival(at[:5], [], 0.0).reason == "too_few_beats"
