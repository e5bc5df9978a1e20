"""Beats that a strap tells only by their intervals have a time, and it is as sure as it is said to be."""

from __future__ import annotations

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bedside.ble import heart_rate
from bedside.ble.clock_model import DELAY_US
from bedside.ble.intake import Intake
from bedside.ble.rr_clock import Beats, RrClock
from bedside.core.samples import Item, Remark
from bedside.core.time import US_PER_S

pytestmark = pytest.mark.requirement("BLE-004")

T0_US = 1_780_000_000_000_000


def told(
    rate_bpm: float, seconds: int, seed: int, lost: frozenset[int] = frozenset(), delay_us: int = DELAY_US
) -> list[tuple[tuple[int, ...], int, list[int]]]:
    """Notifications once a second: intervals, arrival, and the true times of their beats; some are lost."""
    dice = random.Random(seed)
    beat_us, period_us, found = dice.uniform(0, 1e6), 60e6 / rate_bpm, []
    last_us = beat_us
    for second in range(1, seconds + 1):
        intervals, times = [], []
        while beat_us + (step_us := period_us * dice.uniform(0.9, 1.1)) <= second * 1e6:
            beat_us += step_us
            rr = round((beat_us - last_us) * 1024 / 1e6)
            last_us += rr * 1e6 / 1024  # what the strap's own rounding adds up to
            intervals.append(rr)
            times.append(T0_US + round(beat_us))
        if second not in lost:
            found.append((tuple(intervals), T0_US + second * US_PER_S + dice.randrange(delay_us), times))
    return found


@settings(max_examples=30, deadline=None)
@given(rate_bpm=st.floats(35, 190), seed=st.integers(0, 2**32), lost=st.frozensets(st.integers(2, 100), max_size=8))
def test_beats_are_where_they_are_said_to_be(rate_bpm: float, seed: int, lost: frozenset[int]) -> None:
    clock = RrClock()
    for intervals, arrived_us, times in told(rate_bpm, 100, seed, lost):
        beats = clock.take(intervals, arrived_us)
        if beats is None:
            assert not intervals
            continue
        for at_us, true_us in zip(beats.times_us, times, strict=True):
            assert abs(at_us - true_us) <= beats.uncertainty_us + 2_000  # the strap rounds to 1/1024 s


def test_after_a_minute_they_are_surer_than_a_period() -> None:
    clock = RrClock()
    found = [clock.take(intervals, arrived_us) for intervals, arrived_us, _ in told(73, 60, 1)]
    kept = [one for one in found if one is not None]
    assert kept[0].uncertainty_us > 600_000
    assert kept[-1].uncertainty_us < 350_000


def test_without_breaking_the_chain_a_lost_notification_would_shift_every_later_beat() -> None:
    """The negative control."""

    class Trusting(RrClock):
        def reset(self) -> None:
            return

        def _spread_us(self) -> float:
            return min(super()._spread_us(), 1e6)

    def worst(clock: RrClock) -> float:
        off = 0.0
        for intervals, arrived_us, times in told(73, 100, 3, frozenset({40, 41, 42})):
            beats = clock.take(intervals, arrived_us)
            if beats is not None and arrived_us > T0_US + 45 * US_PER_S:
                off = max(off, *(abs(a - b) - beats.uncertainty_us for a, b in zip(beats.times_us, times, strict=True)))
        return off

    assert worst(RrClock()) <= 2_000 < worst(Trusting())


def test_any_numbers_keep_it_bounded() -> None:
    clock, dice = RrClock(), random.Random(5)
    for number in range(3_000):
        rr = tuple(dice.randrange(0x10000) for _ in range(dice.randrange(9)))
        beats = clock.take(rr, T0_US + number * dice.randrange(2_000_000))
        assert beats is None or isinstance(beats, Beats)
    assert len(clock._waits) <= 3_000


def test_a_strap_without_ecg_has_its_beats_recorded_with_their_uncertainty() -> None:
    items: list[Item] = []
    intake = Intake(wearable="w", patient="p", put=items.append)
    intake.begin_link(0.0)
    for intervals, arrived_us, _ in told(60, 5, 2):
        packet = heart_rate.HeartRate(heart_rate=60, contact=True, rr_1024=intervals).encode()
        intake.take(heart_rate.MEASUREMENT, packet, now_us=arrived_us, now_s=(arrived_us - T0_US) / 1e6)
    remarks = [item for item in items if isinstance(item, Remark)]
    assert remarks and all(one.kind == "wearable_beats" for one in remarks)
    assert isinstance(remarks[0].evidence["last_us"], int) and remarks[0].evidence["uncertainty_us"]
    before = len(remarks)
    off = heart_rate.HeartRate(heart_rate=0, contact=False, rr_1024=(800,)).encode()
    intake.take(heart_rate.MEASUREMENT, off, now_us=T0_US + 6_000_000, now_s=6.0)
    assert len([item for item in items if isinstance(item, Remark)]) == before, "no contact: no beats"
