"""A wearable's clock beside ours: offset and drift from late packets, resets, and honest uncertainty."""

from __future__ import annotations

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bedside.ble import pmd
from bedside.ble.clock_model import DELAY_US, DRIFT_MAX, RECENT_US, ClockModel, drift
from bedside.ble.drivers import polar
from bedside.ble.drivers.api import Stream
from bedside.ble.intake import Intake
from bedside.ble.timeline import Timeline
from bedside.core.codes import StreamKind
from bedside.core.samples import Block, Gap, Item, Remark, StreamInfo

pytestmark = pytest.mark.requirement("BLE-004")

T0_US = 1_780_000_000_000_000
D0_US = 820_454_400_000_000


def packets(
    ppm: float, jitter_us: int, minutes: float, seed: int, every_us: int = 561_538, fast_every: int = 20
) -> list[tuple[int, int, int]]:
    """Device stamp, arrival and the true time of the stamp; at least every `fast_every`-th packet is fast."""
    dice = random.Random(seed)
    found = []
    for number in range(round(minutes * 60e6 / every_us)):
        true_us = number * every_us
        delay_us = dice.randrange(0, DELAY_US) + (dice.randrange(jitter_us + 1) if number % fast_every else 0)
        found.append((D0_US + round(true_us * (1 + ppm * 1e-6)), T0_US + true_us + delay_us, T0_US + true_us))
    return found


@settings(max_examples=12, deadline=None)
@given(ppm=st.floats(-200, 200), jitter_us=st.integers(0, 2_000_000), seed=st.integers(0, 2**32))
def test_our_time_of_a_stamp_is_within_the_stated_uncertainty(ppm: float, jitter_us: int, seed: int) -> None:
    model = ClockModel()
    for device_us, arrived_us, true_us in packets(ppm, jitter_us, 25, seed):
        fit = model.observe(device_us, arrived_us)
        assert abs(device_us + fit.offset_us - true_us) <= fit.uncertainty_us


@settings(max_examples=6, deadline=None)
@given(ppm=st.floats(-200, 200), jitter_us=st.integers(0, 2_000_000), seed=st.integers(0, 2**32))
def test_the_drift_is_found_to_within_what_the_delays_allow(ppm: float, jitter_us: int, seed: int) -> None:
    model = ClockModel()
    fits = [model.observe(device_us, arrived_us) for device_us, arrived_us, _ in packets(ppm, jitter_us, 40, seed)]
    assert fits[100].drift_ppm is None, "a minute of packets says nothing of a drift"
    last = fits[-1]
    assert last.drift_ppm is not None and abs(last.drift_ppm - -ppm) <= 60
    assert last.uncertainty_us <= DELAY_US + 60e-6 * RECENT_US


def test_at_200_ppm_the_fitted_clock_is_better_than_the_smallest_delay_of_five_minutes() -> None:
    """The negative control: what was done before the drift was fitted."""
    seen = packets(200, 300_000, 40, 7, fast_every=100)
    model, worst_us, plain_worst_us = ClockModel(), 0, 0
    for number, (device_us, arrived_us, true_us) in enumerate(seen):
        fit = model.observe(device_us, arrived_us)
        if arrived_us - T0_US < 20 * 60e6 or number % 25:
            continue
        recent = [one for one in seen[: number + 1] if arrived_us - one[1] <= RECENT_US]
        plain_us = device_us + min(arrived - device for device, arrived, _ in recent)
        worst_us = max(worst_us, abs(device_us + fit.offset_us - true_us))
        plain_worst_us = max(plain_worst_us, abs(plain_us - true_us))
    assert worst_us < plain_worst_us


@given(st.lists(st.tuples(st.integers(1, 10**8), st.integers(-(10**9), 10**9)), min_size=3, max_size=60))
def test_the_fitted_line_lies_below_every_point_and_is_believable(steps: list[tuple[int, int]]) -> None:
    points, at_us = [], 0
    for step_us, offset_us in steps:
        at_us += step_us
        points.append((at_us, offset_us))
    slope = drift(points)
    assert slope is None or -DRIFT_MAX <= slope <= DRIFT_MAX


def test_memory_is_bounded_and_a_reset_forgets_all() -> None:
    model = ClockModel()
    for device_us, arrived_us, _ in packets(50, 100_000, 120, 3, every_us=5_000_000):
        model.observe(device_us, arrived_us)
    assert len(model._points) <= 180
    assert model.lateness_us(device_us, arrived_us + 1_000_000) >= 1_000_000
    model.reset()
    assert model.empty and model.lateness_us(0, 10**15) == 0
    assert model.observe(5, 10**15).drift_ppm is None


@settings(max_examples=12, deadline=None)
@given(
    restarts=st.lists(st.integers(1, 20), min_size=1, max_size=4, unique=True),
    ppm=st.floats(-200, 200),
    seed=st.integers(0, 2**32),
)
def test_samples_keep_their_time_across_resets_of_a_drifting_clock(restarts: list[int], ppm: float, seed: int) -> None:
    dice = random.Random(seed)
    line, n_samples, zero_ns, began = Timeline(130.0), 73, D0_US * 1000, 0
    expected = 0
    for number in range(420):
        if number % 20 == 0 and number // 20 in restarts:
            zero_ns, began = pmd.CLOCK_UNSET_NS, number
        true_us = round(((number + 1) * n_samples - 1) / 130.0 * 1e6)
        own_us = round(((number + 1 - began) * n_samples - 1) / 130.0 * 1e6)
        placed = line.place(
            last_ns=zero_ns + round(own_us * 1000 * (1 + ppm * 1e-6)),
            n_samples=n_samples,
            arrived_us=T0_US + true_us + dice.randrange(0, 200_000),
            cause="packets_lost",
        )
        assert placed is not None
        assert placed.hole is None, "nothing was lost"
        assert placed.first_index == expected
        expected += n_samples
        start_us = T0_US + round(number * n_samples / 130.0 * 1e6)
        assert abs(placed.start_us - start_us) <= placed.uncertainty_us + 200_000
    assert line.clock_resets == len(restarts)


def test_a_lost_hour_of_a_strap_that_samples_a_little_fast_is_counted_by_its_real_rate() -> None:
    true_hz = 130.26  # a part in five hundred: 936 samples an hour
    line = Timeline(130.0)

    def frame(last: int) -> tuple[int, int]:
        return D0_US * 1000 + round(last / true_hz * 1e9), T0_US + round(last / true_hz * 1e6)

    index = 0
    for _ in range(4000):
        index += 73
        last_ns, arrived_us = frame(index - 1)
        assert line.place(last_ns=last_ns, n_samples=73, arrived_us=arrived_us, cause="x") is not None
    lost = 468_937
    last_ns, arrived_us = frame(index + lost + 72)
    placed = line.place(last_ns=last_ns, n_samples=73, arrived_us=arrived_us, cause="link_lost")
    assert placed is not None and placed.hole is not None
    assert abs(line.measured_rate_hz - true_hz) < 0.02
    assert abs(placed.hole.n_samples - lost) <= 60
    assert abs(round(lost * 130.0 / true_hz) - lost) > 900, "by the nominal rate it would be far off"


def ecg_intake(put: list[Item]) -> Intake:
    intake = Intake(wearable="w", patient="p", put=put.append)
    intake.open_stream(
        StreamInfo(
            id="s", patient="p", wearable="w", kind=StreamKind.ECG, label="I", rate_hz=130.0, unit="mV",
            unit_per_count=0.001, simulated=True,
        ),
        0,
        None,
    )  # fmt: skip
    intake.follow(polar.DRIVER, Stream(rate_hz=130.0, mv_per_count=0.001))
    intake.begin_link(0.0)
    return intake


def test_both_clocks_are_recorded_at_the_start_every_ten_minutes_and_at_a_jump() -> None:
    import numpy as np

    items: list[Item] = []
    intake = ecg_intake(items)
    zero_ns = D0_US * 1000
    for number in range(2400):
        at_s = (number + 1) * 73 / 130.0
        if number == 1200:
            zero_ns = pmd.CLOCK_UNSET_NS - round(at_s * 1e9)
        frame = pmd.EcgFrame(timestamp_ns_2000=zero_ns + round(at_s * 1e9), uv=np.zeros(73, dtype=np.int32))
        intake.take(pmd.DATA, frame.encode(), now_us=T0_US + round(at_s * 1e6), now_s=at_s)
    told = [item for item in items if isinstance(item, Remark)]
    assert [one.evidence["resets"] for one in told] == [0, 0, 1, 1]
    assert [one.evidence["date_set"] for one in told] == [True, True, False, False]
    assert all(one.kind == "wearable_clock" and one.stream == "s" for one in told)
    assert isinstance(told[1].evidence["drift_ppm"], float) and abs(told[1].evidence["drift_ppm"]) < 1
    assert not [item for item in items if isinstance(item, Gap)]
    assert sum(item.counts.size for item in items if isinstance(item, Block)) == 2400 * 73
