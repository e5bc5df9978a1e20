"""The monitor on pulse waves: a second's verdict, the pulse rate, whose rate it is, and silence."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.monitor.monitor_helpers import T0_US, block, blocks, monitor, plain, run, stream
from tests.signal.pulse_waves import pulse_wave

from bedside.core.codes import Code, StreamKind
from bedside.core.events import Event, Numeric, PulseSecond, Quality
from bedside.core.samples import MISSING, Contact, Counts, Gap, Reading, StreamInfo
from bedside.core.time import US_PER_S
from bedside.monitor.output import MonitorOutput
from bedside.monitor.pleth import PulseHistory

pytestmark = pytest.mark.requirement("SIG-006")

RATE_HZ = 100.0


def wave_stream(**more: Any) -> StreamInfo:
    fields: dict[str, Any] = {
        "id": "wave",
        "wearable": "oximeter",
        "unit": "1",
        "unit_per_count": 1.0,
        "label": "PLETH",
    }
    return stream(RATE_HZ, StreamKind.PLETH, **{**fields, **more})


def counts(seconds: float, rate_bpm: float = 75.0) -> Counts:
    times_s = np.arange(0.5, seconds, 60.0 / rate_bpm)
    values: Counts = np.round(2000.0 * pulse_wave(list(times_s), seconds, RATE_HZ)).astype(np.int32)
    return values


def seconds_in(events: Sequence[Event]) -> list[PulseSecond]:
    return [event for event in events if isinstance(event, PulseSecond)]


def numbers(events: Sequence[Event], code: Code) -> list[Numeric]:
    return [event for event in events if isinstance(event, Numeric) and event.code is code]


def described(output: MonitorOutput) -> tuple[Any, ...]:
    return plain(output.events), output.known_us


def test_each_second_says_its_pulses_and_the_rate_follows() -> None:
    output = run(monitor(), blocks(wave_stream(), counts(40.0), 50))
    seconds = seconds_in(output.events)
    assert [one.start_us for one in seconds] == [T0_US + k * US_PER_S for k in range(len(seconds))]
    assert all(one.usable for one in seconds[6:])
    rates = numbers(output.events, Code.PULSE_RATE)
    assert rates[0].value is None
    assert rates[0].reason == "learning"
    assert all(one.value == pytest.approx(75, abs=2) for one in rates[8:])
    for event, known_us in zip(output.events, output.known_us, strict=True):
        if isinstance(event, PulseSecond):
            assert event.end_us is not None
            assert known_us - event.end_us <= US_PER_S


def test_the_history_tells_a_pulse_that_goes_on_from_one_that_stopped() -> None:
    values = np.concatenate((counts(30.0), np.zeros(1000, np.int32)))
    history = PulseHistory()
    for second in seconds_in(run(monitor(), blocks(wave_stream(), values, 50)).events):
        history.take(second)
    before = history.seen(T0_US + 20 * US_PER_S, T0_US + 30 * US_PER_S)
    after = history.seen(T0_US + 31 * US_PER_S, T0_US + 40 * US_PER_S)
    assert before.pulses in (12, 13)
    assert before.usable_s == 10
    assert before.newest_pulse_us is not None
    assert after.pulses == 0
    assert after.newest_pulse_us is None


@settings(max_examples=10, deadline=None)
@given(size=st.integers(1, 4000))
def test_cuts_change_no_event(size: int) -> None:
    values = counts(20.0)
    values[700:720] = MISSING
    whole = described(run(monitor(), blocks(wave_stream(), values, values.size)))
    assert described(run(monitor(), blocks(wave_stream(), values, max(size, 40)))) == whole


def test_an_oximeters_own_fresh_rate_is_shown_before_ours() -> None:
    watched = monitor()
    outputs = []
    for number, one in enumerate(blocks(wave_stream(), counts(60.0), 100)):
        if number < 20:
            watched.feed(
                Reading(wearable="oximeter", patient="patient", code=Code.PULSE_RATE, time_us=one.start_us, value=74.0)
            )
        outputs.append(watched.feed(one))
    ours = [event for output in outputs for event in numbers(output.events, Code.PULSE_RATE)]
    assert ours
    assert all(event.start_us >= T0_US + 27 * US_PER_S for event in ours)  # 20 s, and the age a number may have


def test_a_finger_out_of_the_clip_gives_no_pulses_and_no_rate() -> None:
    watched = monitor()
    items = blocks(wave_stream(), counts(40.0), 100)
    run(watched, items[:20])
    off = watched.feed(
        Contact(
            wearable="oximeter", patient="patient", time_us=T0_US + 20 * US_PER_S, on_skin=False, kind=StreamKind.PLETH
        )
    )
    assert [event.reason for event in off.events if isinstance(event, Quality)] == ["lead_off"]
    later = run(watched, items[20:])
    assert all(not one.usable and one.pulses == 0 and one.rate_bpm is None for one in seconds_in(later.events))
    assert all(one.value is None for one in numbers(later.events, Code.PULSE_RATE))


def test_a_wave_that_stops_coming_withdraws_its_rate() -> None:
    watched = monitor()
    run(watched, blocks(wave_stream(), counts(20.0), 100))
    said = [event for k in range(21, 32) for event in watched.advance(T0_US + k * US_PER_S).events]
    assert {(one.value, one.reason) for one in numbers(said, Code.PULSE_RATE)} == {(None, "missing")}
    assert [event.reason for event in said if isinstance(event, Quality)] == ["missing"]


def test_a_hole_and_a_new_count_begin_anew_and_keep_time() -> None:
    watched, info = monitor(), wave_stream()
    first = run(watched, blocks(info, counts(20.0), 100))
    gap = Gap(
        stream=info, first_index=2000, n_samples=500, start_us=T0_US + 20 * US_PER_S, end_us=T0_US + 25 * US_PER_S,
        cause="link_lost",
    )  # fmt: skip
    short = watched.feed(gap)
    assert {one.reason for one in seconds_in(short.events)[1:]} == {"missing"}
    anew = [block(info, counts(20.0)[at : at + 100], at, T0_US + 60 * US_PER_S) for at in range(0, 2000, 100)]
    second = run(watched, anew)
    assert seconds_in(first.events)[0].start_us == T0_US
    assert seconds_in(second.events)[-1].start_us == T0_US + 78 * US_PER_S
    assert seconds_in(second.events)[-1].usable


def test_the_perfusion_index_comes_only_from_light() -> None:
    lit = run(monitor(), blocks(wave_stream(unit="{light}"), (counts(30.0) + 100_000).astype(np.int32), 100))
    assert numbers(lit.events, Code.PERFUSION_INDEX)[-1].value == pytest.approx(2.0, abs=0.2)
    assert not numbers(run(monitor(), blocks(wave_stream(), counts(30.0), 100)).events, Code.PERFUSION_INDEX)


def test_a_wave_that_cannot_be_analysed_is_refused_aloud_and_still_shown() -> None:
    slow = stream(5.0, StreamKind.PLETH, id="slow", unit="1")
    output = run(monitor(), blocks(slow, counts(4.0)[::20].copy(), 10))
    assert [getattr(event, "kind", None) for event in output.events] == ["stream_refused"]
    assert output.waves
