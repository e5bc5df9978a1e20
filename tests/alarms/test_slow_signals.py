"""From samples to the sentence: breath that ceases, a fall, ST that moves, through monitor and alarms together."""

from __future__ import annotations

import random
from collections.abc import Iterable
from dataclasses import replace

import numpy as np
import pytest
from tests.monitor.monitor_helpers import T0_US, blocks
from tests.monitor.test_monitor_motion import axes
from tests.monitor.test_monitor_respiration import chest, impedance
from tests.signal.test_motion import fall, still, walking

from bedside.alarms.engine import AlarmEngine
from bedside.alarms.watch import PatientWatch
from bedside.core.codes import FACTS, Code
from bedside.core.events import Alarm, AlarmState, Event, Numeric
from bedside.core.ids import IdSource
from bedside.core.samples import Block, Validity
from bedside.core.time import US_PER_S
from bedside.models.beats import BeatClassifier
from bedside.signal.motion import Posture

pytestmark = pytest.mark.requirement("ALM-009")


def alarms_of(items: Iterable[Block]) -> list[Alarm]:
    watch = PatientWatch("patient", IdSource(lambda: T0_US, random.Random(1)), BeatClassifier(None), False)
    events: list[Event] = []
    for item in items:
        events += watch.feed(item).events
        events += watch.advance(item.end_us).events
    return [event for event in events if isinstance(event, Alarm)]


def test_breath_that_ceases_is_a_high_alarm_after_20_s_and_latches_when_it_returns() -> None:
    found = [
        one for one in alarms_of(blocks(impedance(), chest((90, 18), (40, 0), (60, 18)), 25)) if one.kind == "apnea"
    ]
    active = next(one for one in found if one.state is AlarmState.ACTIVE)
    assert (active.raised_us or 0) == pytest.approx(T0_US + 110 * US_PER_S, abs=5 * US_PER_S)
    assert active.text.startswith("Apnoea: no breath for 2")
    assert found[-1].state is AlarmState.LATCHED
    calm = alarms_of(blocks(impedance(), chest((190, 18)), 25))
    assert not [one for one in calm if one.kind == "apnea"]


def test_a_fall_is_told_with_what_was_seen_and_walking_is_none() -> None:
    walk = np.concatenate((walking(30.0), still(Posture.UPRIGHT, 5.0)))
    found = [one for one in alarms_of(axes(np.concatenate((walk, fall(lies_s=20.0))))) if one.kind == "fall"]
    assert found[-1].state is AlarmState.LATCHED
    assert "lying still for" in found[-1].text
    assert not [one for one in alarms_of(axes(walk)) if one.kind == "fall"]


def st_story(changes_mv: Iterable[float | None], every_s: float = 10.0) -> list[Alarm]:
    """ST against the patient's own, told every ten seconds."""
    ids = IdSource(lambda: T0_US, random.Random(1))
    engine = AlarmEngine("patient", ids)
    told, now_us = [], T0_US
    for value in changes_mv:
        now_us += round(every_s * US_PER_S)
        number = Numeric(
            id=ids.event(), patient="patient", stream="ecg", start_us=now_us, code=Code.ST_CHANGE, value=value,
            unit=FACTS[Code.ST_CHANGE].unit, validity=Validity.GOOD if value is not None else Validity.REJECTED,
            source="ecg",
        )  # fmt: skip
        told += engine.feed(number, now_us)
        told += engine.advance(now_us)
    return [one for one in told if isinstance(one, Alarm) and one.kind == "st_change"]


def test_st_that_moves_for_a_minute_alarms_and_ends_when_it_is_back_or_no_longer_seen() -> None:
    (first, *_) = [one for one in st_story([0.02, *[-0.16] * 9]) if one.state is AlarmState.ACTIVE]
    assert first.text.startswith("ST change: ECG -0.16 mV")
    assert not [one for one in st_story([0.02, *[-0.16] * 5, *[0.03] * 5]) if one.state is AlarmState.ACTIVE]
    assert not [one for one in st_story([0.09] * 20) if one.state is AlarmState.ACTIVE]
    assert st_story([*[-0.16] * 9, *[0.0] * 6])[-1].state is AlarmState.ENDED
    assert st_story([*[-0.16] * 9, *[None] * 12])[-1].state is AlarmState.ENDED


def test_a_stored_st_is_no_live_condition() -> None:
    ids = IdSource(lambda: T0_US, random.Random(1))
    engine = AlarmEngine("patient", ids)
    number = Numeric(
        id=ids.event(), patient="patient", stream="ecg", start_us=T0_US, code=Code.ST_CHANGE, value=-0.3, unit="mV",
        validity=Validity.GOOD, source="ecg",
    )  # fmt: skip
    for second in range(120):
        now_us = T0_US + second * US_PER_S
        assert not engine.feed(replace(number, start_us=now_us, stored=True), now_us)
        assert not [one for one in engine.advance(now_us) if isinstance(one, Alarm) and one.kind == "st_change"]
