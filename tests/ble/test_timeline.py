"""The time line: exact gaps from stamps, our time from the wearable's, and clocks that jump."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bedside.ble.timeline import Placement, Timeline

pytestmark = pytest.mark.requirement("BLE-002")

T0_US = 1_780_000_000_000_000
CLOCK_NS = 820_454_400_000_000_000


def stamp(index: int, rate_hz: float, ppm: float = 0.0) -> int:
    return CLOCK_NS + round(index / rate_hz * 1e9 * (1 + ppm * 1e-6))


def arrival(index: int, rate_hz: float, delay_us: int = 0) -> int:
    return T0_US + round(index / rate_hz * 1e6) + delay_us


def place(line: Timeline, last: int, n_samples: int, delay_us: int = 0, ppm: float = 0.0) -> Placement | None:
    return line.place(
        last_ns=stamp(last, line.rate_hz, ppm),
        n_samples=n_samples,
        arrived_us=arrival(last, line.rate_hz, delay_us),
        cause="packets_lost",
    )


@given(
    rate_hz=st.sampled_from([130.0, 250.0, 360.0]),
    arrived=st.lists(st.booleans(), min_size=2, max_size=120),
    n_samples=st.sampled_from([36, 73, 168]),
    delays=st.lists(st.integers(0, 400_000), min_size=120, max_size=120),
    ppm=st.floats(-60, 60),
)
def test_lost_frames_are_gaps_of_their_exact_length(
    rate_hz: float, arrived: list[bool], n_samples: int, delays: list[int], ppm: float
) -> None:
    line = Timeline(rate_hz)
    first: int | None = None
    for number, came in enumerate(arrived):
        if not came:
            continue
        placed = place(line, (number + 1) * n_samples - 1, n_samples, delays[number], ppm)
        assert placed is not None
        first = number if first is None else first
        assert placed.first_index == (number - first) * n_samples
        if placed.hole is not None:
            assert placed.hole.first_index + placed.hole.n_samples == placed.first_index
            assert placed.hole.start_us <= placed.hole.end_us


@given(delays=st.lists(st.integers(0, 400_000), min_size=5, max_size=60))
def test_our_time_is_within_the_stated_uncertainty_once_a_fast_packet_came(delays: list[int]) -> None:
    line = Timeline(130.0)
    for number, delay_us in enumerate([0, *delays]):
        placed = place(line, (number + 1) * 73 - 1, 73, delay_us)
        assert placed is not None
        true_us = arrival(number * 73, 130.0)
        assert abs(placed.start_us - true_us) <= placed.uncertainty_us


@given(repeats=st.lists(st.integers(0, 3), min_size=1, max_size=40))
def test_repeated_and_late_frames_are_placed_once(repeats: list[int]) -> None:
    line = Timeline(130.0)
    samples = 0
    for number, count in enumerate(repeats):
        placed = place(line, (number + 1) * 73 - 1, 73)
        assert placed is not None and placed.hole is None
        samples += 73
        for _ in range(count):
            assert place(line, (number + 1) * 73 - 1, 73) is None
    assert line.next_index == samples
    assert line.late_frames == sum(repeats)


def test_a_straggler_after_its_gap_is_not_placed_twice() -> None:
    line = Timeline(130.0)
    place(line, 72, 73)
    after = place(line, 72 + 2 * 73, 73)
    assert after is not None and after.hole is not None and after.hole.n_samples == 73
    assert place(line, 72 + 73, 73) is None
    third = place(line, 72 + 3 * 73, 73)
    assert third is not None and third.hole is None and third.first_index == 3 * 73


def test_a_clock_that_goes_back_a_little_for_good_is_followed() -> None:
    line = Timeline(130.0)
    for number in range(4):
        place(line, (number + 1) * 73 - 1, 73)
    placed = [
        line.place(
            last_ns=stamp((number + 1) * 73 - 1, 130.0) - 3_000_000_000,
            n_samples=73,
            arrived_us=arrival((number + 1) * 73 - 1, 130.0),
            cause="packets_lost",
        )
        for number in range(4, 16)
    ]
    found = [one for one in placed if one is not None]
    assert len(found) >= 6, "its frames are taken again after a few"
    assert found[-1].first_index + 73 == line.next_index
    ends_us = arrival(16 * 73, 130.0)
    assert abs(found[-1].start_us + round(73 / 130 * 1e6) - ends_us) < 100_000


def test_after_a_restart_of_the_box_the_time_between_is_a_gap() -> None:
    line = Timeline(130.0, first_index=1000, resumed_us=T0_US - 10_000_000)
    placed = place(line, 72, 73)
    assert placed is not None and placed.hole is not None
    assert placed.hole.cause == "restart"
    assert placed.hole.first_index == 1000
    assert abs(placed.hole.n_samples - 1300) <= 1
    assert placed.first_index == 1000 + placed.hole.n_samples


def test_frames_held_back_by_a_box_that_stood_still_are_no_gap() -> None:
    line = Timeline(130.0)
    for number in range(4):
        place(line, (number + 1) * 73 - 1, 73)
    held_us = arrival(40 * 73, 130.0)  # all that came in twenty seconds arrives at once
    for number in range(4, 40):
        placed = line.place(
            last_ns=stamp((number + 1) * 73 - 1, 130.0), n_samples=73, arrived_us=held_us, cause="packets_lost"
        )
        assert placed is not None and placed.hole is None
        assert abs(placed.start_us - arrival(number * 73, 130.0)) < 100_000
    after = place(line, 42 * 73 - 1, 73)
    assert after is not None and after.hole is not None and after.hole.n_samples == 73


def test_a_clock_set_forward_makes_no_gap_of_years() -> None:
    line = Timeline(130.0)
    for number in range(4):
        place(line, (number + 1) * 73 - 1, 73)
    placed = line.place(
        last_ns=stamp(5 * 73 - 1, 130.0) + 10**17, n_samples=73, arrived_us=arrival(5 * 73 - 1, 130.0), cause="x"
    )
    assert placed is not None and placed.hole is None and placed.first_index == 4 * 73
    assert abs(placed.start_us - arrival(4 * 73, 130.0)) < 100_000
