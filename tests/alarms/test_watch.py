"""From samples to alarms: a patient's watch over simulated bodies, as the gateway and `analyze` run it."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest
from tests.alarms.watch_scene import START_US, Night, S, body_with, random_cuts, repeated

from bedside.alarms.episodes import episodes
from bedside.core.events import (
    Alarm,
    AlarmState,
    Beat,
    Numeric,
    Priority,
    Suppression,
    from_cbor,
    from_dict,
    to_cbor,
    to_dict,
)
from bedside.simulation.bodies import SimulatedBody
from bedside.simulation.happenings import Happening, What

pytestmark = pytest.mark.requirement("ALM-005")

ACTIVE, LATCHED, ENDED = AlarmState.ACTIVE, AlarmState.LATCHED, AlarmState.ENDED


def eventful() -> SimulatedBody:
    return body_with(
        Happening(20, 6, What.VT, rate_bpm=160),
        Happening(40, 12, What.LEAD_OFF),
        Happening(70, 8, What.ASYSTOLE),
        rate_bpm=75,
    )


@pytest.fixture(scope="module")
def night() -> Night:
    night = Night(eventful())
    night.run(110)
    return night


def test_vt_of_the_wire_is_raised_within_its_time_and_latches(night: Night) -> None:
    first, second = night.alarms("ventricular_tachycardia")
    assert (first.state, second.state) == (ACTIVE, LATCHED)
    onset_s, raised_s = (first.start_us - START_US) / S, (first.raised_us - START_US) / S
    assert onset_s == pytest.approx(20.2, abs=0.4)
    assert raised_s < onset_s + 4.1 * 60 / 160 + 2.0  # the fifth beat, and what it takes to know its class
    assert second.end_us is not None
    assert (second.end_us - START_US) / S == pytest.approx(26, abs=1.0)
    assert first.evidence["model"] == "7" * 64
    assert first.simulated


def test_asystole_of_the_wire_is_raised_within_10_s_of_the_last_beat_and_a_lead_off_is_none(night: Night) -> None:
    first, second = night.alarms("asystole")
    assert (first.state, second.state) == (ACTIVE, LATCHED)
    assert (first.start_us - START_US) / S == pytest.approx(70, abs=1.5)
    assert first.raised_us - first.start_us <= 10 * S
    assert [one.state for one in night.alarms("lead_off")] == [ACTIVE, ENDED]
    assert 40 <= (night.alarms("lead_off")[0].raised_us - START_US) / S < 43


def test_alarms_and_suppressions_survive_their_way_to_the_disk(night: Night) -> None:
    said = [one for one in night.events if isinstance(one, Alarm | Suppression)]
    assert len(said) > 5
    for event in said:
        assert from_cbor(to_cbor(event)) == event
        assert from_dict(json.loads(json.dumps(to_dict(event)))) == event


def test_nothing_else_is_alarmed_in_that_night(night: Night) -> None:
    assert {one.kind for one in night.alarms()} == {"ventricular_tachycardia", "asystole", "lead_off"}


def test_a_quiet_night_has_no_alarm() -> None:
    night = Night(body_with(rate_bpm=70, pvc_per_min=3.0))
    night.run(300)
    assert night.alarms() == []
    assert sum(isinstance(one, Beat) for one in night.events) > 300
    assert any(isinstance(one, Numeric) and one.value for one in night.events)


@pytest.mark.parametrize("cut", [repeated(13), repeated(130), random_cuts(3, 300), repeated(110 * 130)])
def test_which_alarms_come_and_when_does_not_depend_on_how_the_stream_was_cut(cut: Callable[[], int]) -> None:
    reference, other = Night(eventful()), Night(eventful())
    for one, cuts in ((reference, repeated(65)), (other, cut)):
        one.body = body_with(  # the ECG alone: what a second source says meanwhile is an order of its own
            Happening(20, 6, What.VT, rate_bpm=160),
            Happening(70, 8, What.ASYSTOLE),
            rate_bpm=75,
            oximeter=False,
        )
        one.watch = one.new_watch()
        one.run(110, cut=cuts, advance=False)
    assert reference.story()
    assert other.story() == reference.story()


def test_a_watch_that_is_replaced_in_the_middle_of_an_alarm_mutes_nothing() -> None:
    night = Night(body_with(Happening(20, 20, What.VT, rate_bpm=160), rate_bpm=75))
    night.run(30)
    before = night.watch.open()
    assert [one.state for one in before] == [ACTIVE]
    night.watch = night.new_watch()
    night.events += night.watch.restore(before, night.t_us)
    assert [(one.alarm, one.state) for one in night.watch.open()] == [(one.alarm, ACTIVE) for one in before]
    night.run(80, from_s=30)
    (alarm,) = [one for one in night.watch.open() if one.kind == "ventricular_tachycardia"]
    assert (alarm.alarm, alarm.state, alarm.condition) == (before[0].alarm, LATCHED, False)


def test_a_strap_that_falls_silent_is_not_taken_for_health() -> None:
    night = Night(body_with(rate_bpm=70))
    night.run(20)
    for _ in range(60):
        night.t_us += S
        night.events += night.watch.advance(night.t_us).events
    kinds = {one.kind for one in night.watch.open()}
    assert "cannot_analyze" in kinds
    values = [one for one in night.events if isinstance(one, Numeric) and one.code == "MDC_ECG_HEART_RATE"]
    assert values[-1].value is None


def test_a_patient_who_never_gives_a_signal_is_not_forgotten() -> None:
    night = Night(body_with())
    for _ in range(70):
        night.t_us += S
        night.events += night.watch.advance(night.t_us).events
    assert [one.kind for one in night.watch.open()] == ["waiting_for_signal"]


def test_episodes_of_a_log_are_its_conditions_and_not_its_latches(night: Night) -> None:
    found = episodes(night.events)
    assert [one.kind for one in found] == ["ventricular_tachycardia", "lead_off", "asystole"]
    vt, _, asystole = found
    assert (vt.priority, vt.latched) == (Priority.HIGH, True)
    for one in (vt, asystole):
        assert one.end_us is not None
        assert one.start_us < one.raised_us
        assert one.end_us - one.start_us < 10 * S


def test_a_second_episode_in_a_latched_alarm_is_an_episode_of_its_own() -> None:
    night = Night(body_with(Happening(20, 5, What.VT, rate_bpm=160), Happening(50, 5, What.VT, rate_bpm=160)))
    night.run(80, advance=False)
    found = [one for one in episodes(night.events) if one.kind == "ventricular_tachycardia"]
    assert len(found) == 2
    assert found[0].end_us is not None
    assert found[1].start_us > found[0].end_us
    assert found[1].raised_us > found[1].start_us
    assert len({one.alarm for one in night.alarms("ventricular_tachycardia")}) == 1
