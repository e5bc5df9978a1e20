"""Heart rate: the bench of IEC 60601-2-27 in intervals."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bedside.signal.rate import NO_BEAT_S, Rate, RateMeter, RateState

pytestmark = pytest.mark.requirement("SIG-001", "SIG-005")


def after(rr_s: Iterable[float], state: RateState | None = None) -> tuple[RateState, float]:
    """The state after beats at these intervals, and the time of the last."""
    meter = RateMeter()
    if state is None:
        state = meter.beat(meter.initial(), 0.0)
    at_s = state.last_s or 0.0
    for interval_s in rr_s:
        at_s += interval_s
        state = meter.beat(state, at_s)
    return state, at_s


@given(st.lists(st.floats(0.25, 3.9), min_size=0, max_size=30), st.floats(0.2, 3.9))
def test_a_retracted_peak_leaves_no_trace_in_the_rate(rr_s: list[float], wrong_s: float) -> None:
    meter = RateMeter()
    before, at_s = after(rr_s)
    wrong = meter.beat(before, at_s + wrong_s)
    taken_back = meter.retract(wrong, at_s + wrong_s)
    true_s = at_s + wrong_s + 0.1
    with_it, without = meter.beat(taken_back, true_s), meter.beat(before, true_s)
    assert with_it.rr_s[-11:] == pytest.approx(without.rr_s[-11:])  # of 12, the oldest had gone
    assert meter.retract(before, at_s + wrong_s) == before
    left = meter.beat(wrong, true_s)  # negative control: too near to be taken itself, it would have been lost
    assert left.rr_s == wrong.rr_s


def rates_each_second(rr_s: Sequence[float]) -> list[Rate]:
    """What is shown each second while beats at these intervals go by."""
    meter = RateMeter()
    state = meter.beat(meter.initial(), 0.0)
    times_s = list(itertools.accumulate(rr_s))
    shown, second = [], 1
    for at_s in times_s:
        while second <= at_s:
            shown.append(meter.read(state, float(second)))
            second += 1
        state = meter.beat(state, at_s)
    return shown


@pytest.mark.parametrize("bpm", [30, 40, 60, 80, 120, 200, 300])
def test_a_steady_rhythm_shows_its_rate(bpm: float) -> None:
    state, at_s = after([60.0 / bpm] * 20)
    rate = RateMeter().read(state, at_s)
    assert rate.bpm == pytest.approx(bpm, rel=0.01)
    assert not rate.held


@pytest.mark.parametrize("to_bpm", [120.0, 40.0])
def test_a_step_from_80_shows_within_ten_seconds(to_bpm: float) -> None:
    state, at_s = after([0.75] * 40)
    stepped_s = at_s
    meter = RateMeter()
    while True:
        at_s += 60.0 / to_bpm
        state = meter.beat(state, at_s)
        bpm = meter.read(state, at_s).bpm
        if bpm is not None and abs(bpm - to_bpm) <= 0.1 * abs(to_bpm - 80.0):
            break
    assert at_s - stepped_s <= 10.0


@pytest.mark.parametrize(
    ("name", "rr_s", "bpm"),
    [
        ("ventricular bigeminy", [0.55, 0.95], 80.0),
        ("slow alternating bigeminy", [0.6, 1.4], 60.0),
        ("rapid alternating bigeminy", [0.38, 0.62], 120.0),
        ("bidirectional systoles", [0.5, 0.8333], 90.0),
    ],
)
def test_irregular_bench_rhythms_show_their_mean_rate(name: str, rr_s: list[float], bpm: float) -> None:
    state, at_s = after(rr_s * 15)
    assert RateMeter().read(state, at_s).bpm == pytest.approx(bpm, rel=0.02), name


def test_one_ectopic_beat_with_its_pause_does_not_move_the_rate() -> None:
    state, at_s = after([0.8] * 20 + [0.48, 1.12] + [0.8] * 3)
    assert RateMeter().read(state, at_s).bpm == pytest.approx(75.0, rel=0.01)


def test_no_rate_is_shown_of_a_heart_that_does_not_beat() -> None:
    state, at_s = after([0.8] * 20)
    meter = RateMeter()
    assert meter.read(state, at_s + NO_BEAT_S - 0.1).bpm is not None
    assert meter.read(state, at_s + NO_BEAT_S).bpm is None
    assert meter.read(state, at_s + NO_BEAT_S).reason == "no_beats"


def test_a_standstill_is_not_averaged_into_the_rate_after_it() -> None:
    state, at_s = after([0.8] * 20 + [12.0] + [0.8] * 3)
    assert RateMeter().read(state, at_s).bpm == pytest.approx(75.0, rel=0.01)


def test_a_noisy_moment_holds_the_rate_and_a_long_one_withdraws_it() -> None:
    state, at_s = after([0.8] * 20)
    meter = RateMeter()
    held = meter.read(state, at_s + 1, unusable_s=1.0, reason="motion")
    assert held.held
    assert held.bpm == pytest.approx(75.0, rel=0.01)
    assert meter.read(state, at_s + 4, unusable_s=4.0, reason="motion") == Rate(None, "motion")


def test_a_lead_that_is_off_gives_no_rate_at_once() -> None:
    state, at_s = after([0.8] * 20)
    assert RateMeter().read(state, at_s, unusable_s=0.1, reason="lead_off") == Rate(None, "lead_off")


def test_the_interval_across_what_was_not_seen_is_no_interval() -> None:
    state, _ = after([0.8] * 20)
    state, at_s = after([2.4], RateMeter().unseen(state))
    assert RateMeter().read(state, at_s).bpm == pytest.approx(75.0, rel=0.01)
    blind_less, at_s = after([0.8] * 20 + [2.4])  # negative control: the same interval, seen, counts
    bpm = RateMeter().read(blind_less, at_s).bpm
    assert bpm is not None
    assert bpm < 70.0


@given(st.lists(st.floats(0.05, 6.0), max_size=60))
def test_any_intervals_give_a_rate_a_heart_can_have_or_a_reason(rr_s: list[float]) -> None:
    for rate in rates_each_second(rr_s):
        assert (rate.bpm is None) == (rate.reason is not None)
        assert rate.bpm is None or 60.0 / NO_BEAT_S <= rate.bpm <= 316.0
