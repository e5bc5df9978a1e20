"""The monitor on breathing: a rate from a lead, from a waveform, none where it cannot tell; apnoea from a waveform."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from tests.monitor.monitor_helpers import T0_US, blocks, monitor, plain, run, stream

from bedside.core.codes import Code, StreamKind
from bedside.core.events import Event, Finding, Numeric
from bedside.core.samples import Contact, Counts, Reading, StreamInfo, Validity
from bedside.core.time import US_PER_S

pytestmark = pytest.mark.requirement("SIG-011")

RATE_HZ = 130.0
BREATHS_HZ = 0.25


def lead(seconds: float, breathing: float = 1.0) -> Counts:
    """An ECG whose baseline, R size and intervals follow 15 breaths a minute, in microvolts."""
    t_s = np.arange(round(seconds * RATE_HZ)) / RATE_HZ
    mv = 0.1 * breathing * np.sin(2 * np.pi * BREATHS_HZ * t_s)
    at = 0.5
    while at < seconds:
        size = 1.1 + 0.12 * breathing * np.sin(2 * np.pi * BREATHS_HZ * at)
        for late_s, width_s, height in ((0.0, 0.012, size), (0.03, 0.012, -0.25), (0.28, 0.05, 0.25)):
            mv += height * np.exp(-0.5 * ((t_s - at - late_s) / width_s) ** 2)
        at += 0.85 + 0.05 * breathing * np.sin(2 * np.pi * BREATHS_HZ * at)
    mv += 0.01 * np.random.default_rng(4).standard_normal(t_s.size)
    counts: Counts = np.round(1000 * mv).astype(np.int32)
    return counts


def impedance(**more: Any) -> StreamInfo:
    fields: dict[str, Any] = {"id": "resp", "wearable": "belt", "unit": "1", "unit_per_count": 1.0, "label": "RESP"}
    return stream(25.0, StreamKind.RESPIRATION, **{**fields, **more})


def chest(*parts: tuple[float, float]) -> Counts:
    """(seconds, breaths a minute or 0) one after the other, at 25 Hz."""
    waves = [np.sin(2 * np.pi * rate / 60.0 * np.arange(round(25 * s)) / 25.0) * (rate > 0) for s, rate in parts]
    counts: Counts = np.round(1000 * np.concatenate(waves)).astype(np.int32)
    return counts


def rates(events: Sequence[Event]) -> list[Numeric]:
    return [event for event in events if isinstance(event, Numeric) and event.code is Code.RESPIRATION_RATE]


def apnoeas(events: Sequence[Event]) -> list[Finding]:
    return [event for event in events if isinstance(event, Finding) and event.kind == "apnea"]


def test_a_lead_gives_a_marked_rate_every_ten_seconds_and_none_before_it_can() -> None:
    output = run(monitor(), blocks(stream(RATE_HZ), lead(90.0), 65))
    said = rates(output.events)
    assert [one.start_us % (10 * US_PER_S) for one in said] == [0] * len(said)
    assert said[0].value is None
    assert said[0].reason == "missing"
    late = [one for one in said if one.start_us > T0_US + 45 * US_PER_S]
    assert len(late) >= 3
    assert all(one.value == pytest.approx(15, abs=1) for one in late)
    assert {one.validity for one in late} == {Validity.QUESTIONABLE}


def test_a_lead_without_breathing_in_it_gives_none_and_says_so() -> None:
    said = rates(run(monitor(), blocks(stream(RATE_HZ), lead(90.0, 0.0), 65)).events)
    assert said
    assert all(one.value is None and one.reason for one in said)


def test_cuts_change_no_event() -> None:
    counts = lead(60.0)
    whole = run(monitor(), blocks(stream(RATE_HZ), counts, counts.size))
    small = run(monitor(), blocks(stream(RATE_HZ), counts, 65))

    def told(events: Sequence[Event]) -> list[dict[str, Any]]:
        return [{**one, "id": ""} for one in plain(rates(events))]

    assert told(small.events) == told(whole.events)
    assert any(one["value"] for one in told(whole.events))


def test_a_waveform_gives_a_good_rate_and_apnoea_begins_and_ends() -> None:
    output = run(monitor(), blocks(impedance(), chest((90, 18), (40, 0), (60, 18)), 25))
    good = [one for one in rates(output.events) if one.value is not None]
    assert good[0].validity is Validity.GOOD
    assert good[0].value == pytest.approx(18, abs=0.7)
    begun, ended = apnoeas(output.events)
    assert begun.end_us is None
    assert begun.start_us == pytest.approx(T0_US + 90 * US_PER_S, abs=3 * US_PER_S)
    assert ended.supersedes == begun.id
    assert ended.start_us == begun.start_us
    assert ended.end_us == pytest.approx(T0_US + 130 * US_PER_S, abs=3 * US_PER_S)


def test_a_lead_alone_never_gives_apnoea() -> None:
    counts = np.concatenate((lead(60.0), lead(60.0, 0.0)))
    assert not apnoeas(run(monitor(), blocks(stream(RATE_HZ), counts, 65)).events)


def test_a_belt_without_contact_gives_no_apnoea() -> None:
    watched = monitor()
    items = blocks(impedance(), chest((90, 18), (60, 0)), 25)
    run(watched, items[:89])
    watched.feed(
        Contact(
            wearable="belt",
            patient="patient",
            time_us=T0_US + 89 * US_PER_S,
            on_skin=False,
            kind=StreamKind.RESPIRATION,
        )
    )
    assert not apnoeas(run(watched, items[89:]).events)


def test_a_wearables_own_fresh_rate_is_the_one_that_is_shown() -> None:
    watched = monitor()
    said: list[Numeric] = []
    for item in blocks(impedance(), chest((90, 18)), 25):
        if item.first_index % 250 == 0:
            code = Code.RESPIRATION_RATE
            own = Reading(wearable="belt", patient="patient", code=code, time_us=item.start_us, value=17.0)
            said += rates(watched.feed(own).events)
        said += rates(watched.feed(item).events)
    assert {one.source for one in said} == {"belt"}
