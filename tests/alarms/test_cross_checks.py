"""Leads and pulse of one patient against false alarms: what holds an alarm back, and what never does."""

from __future__ import annotations

import pytest
from tests.alarms.alarm_scene import SECOND_LEAD, S, Scene

from bedside.core.events import AlarmState, BeatClass, Priority, RhythmLabel

pytestmark = pytest.mark.requirement("ALM-009")

V, N = BeatClass.V, BeatClass.N
SURE_V, SURE_N = (V, 0.98), (N, 0.98)


def two_leads() -> Scene:
    scene = Scene()
    scene.second_lead()
    for _ in range(12):
        scene.both(SURE_N, SURE_N, 0.8)
    return scene


# ---------------------------------------------------------------------- VT on two leads


def test_vt_that_both_leads_show_is_raised_within_10_s() -> None:
    scene = two_leads()
    for _ in range(6):
        scene.both(SURE_V, SURE_V, 0.4)
    alarm = scene.alarms("ventricular_tachycardia")[0]
    assert alarm.priority is Priority.HIGH
    assert alarm.raised_us - alarm.start_us <= 10 * S


def test_vt_that_neither_lead_shows_surely_but_both_show_is_raised() -> None:
    scene = two_leads()
    for k in range(8):
        scene.both((V, 0.7), (V, 0.6) if k != 3 else (N, 0.6), 0.45)
    assert scene.alarms("ventricular_tachycardia")


def test_a_run_that_a_readable_second_lead_does_not_show_is_suppressed_with_its_reason() -> None:
    scene = two_leads()
    for _ in range(10):
        scene.both(SURE_V, SURE_N, 0.4)
    for _ in range(8):
        scene.both(SURE_N, SURE_N, 0.8)
    assert scene.alarms("ventricular_tachycardia") == []
    first = scene.suppressed("ventricular_tachycardia")[0]
    assert first.reason == "lead V does not show it: beats there are ventricular by 2 % (limit 20 %)"
    assert scene.suppressed("ventricular_tachycardia")[-1].end_us is not None


def test_the_same_run_is_raised_where_the_second_lead_is_off() -> None:
    scene = two_leads()
    scene.quality(False, "lead_off", stream=SECOND_LEAD)
    scene.beats(V, 8, 0.4)
    assert scene.alarms("ventricular_tachycardia")


def test_a_run_while_no_lead_can_be_read_is_held_back_and_one_on_a_readable_lead_is_not() -> None:
    for own_disturbed in (True, False):
        scene = two_leads()
        scene.quality(False, "motion", stream=SECOND_LEAD)
        if own_disturbed:
            scene.quality(False, "motion")
        for _ in range(8):
            scene.both((V, 0.9), (BeatClass.Q, 0.5), 0.4)
        assert bool(scene.alarms("ventricular_tachycardia")) is not own_disturbed
        assert bool(scene.suppressed("ventricular_tachycardia")) is own_disturbed


def test_no_pulse_wave_holds_back_vt_or_vf() -> None:
    scene = Scene()
    scene.pulse(8, 75.0)
    for _ in range(8):
        scene.beat(V, 0.4)
        scene.pulse(1, 75.0)
    scene.beats(V, 8, 0.4)
    scene.rhythm(RhythmLabel.VF, scene.t)
    scene.pulse(8, 75.0)
    assert scene.alarms("ventricular_tachycardia")
    assert scene.alarms("ventricular_fibrillation")


def test_vf_on_one_lead_is_held_back_by_regular_beats_on_another_and_raised_when_they_end() -> None:
    scene = two_leads()
    began_t = scene.t
    scene.rhythm(RhythmLabel.VF, began_t)
    assert scene.suppressed("ventricular_fibrillation")[0].reason == "lead V shows regular beats at 75/min"
    assert scene.alarms("ventricular_fibrillation") == []
    scene.wait(4.0)
    assert scene.alarms("ventricular_fibrillation")


# ---------------------------------------------------------------------- asystole


def test_asystole_with_a_pulse_that_goes_on_is_suppressed_and_raised_when_the_pulse_ends_too() -> None:
    scene = Scene()
    scene.pulse(8)
    began_t = scene.t
    scene.pulse(4)
    scene.rhythm(RhythmLabel.ASYSTOLE, began_t)
    scene.pulse(4)
    assert scene.suppressed("asystole")[0].reason == "the pulse goes on at 75/min"
    assert scene.alarms("asystole") == []
    scene.pulse(4, None)  # the wave is readable, and shows none
    assert scene.one("asystole").state is AlarmState.ACTIVE


@pytest.mark.parametrize("usable", [True, False])
def test_asystole_without_a_pulse_or_with_a_disturbed_wave_is_raised_within_10_s(usable: bool) -> None:
    scene = Scene()
    scene.pulse(8)
    began_t = scene.t
    scene.pulse(4, None, usable=usable)
    scene.rhythm(RhythmLabel.ASYSTOLE, began_t)
    scene.pulse(2, None, usable=usable)
    alarm = scene.one("asystole")
    assert alarm.raised_us - alarm.start_us <= 10 * S


def test_asystole_that_ends_while_the_pulse_was_waited_for_is_told() -> None:
    scene = Scene()
    scene.pulse(8, None)
    began_t = scene.t
    scene.wait(4.0)
    scene.rhythm(RhythmLabel.ASYSTOLE, began_t)
    assert scene.alarms("asystole") == []
    scene.wait(0.5)
    scene.rhythm(RhythmLabel.ASYSTOLE, began_t, end_t=scene.t)
    assert scene.states("asystole") == [AlarmState.ACTIVE, AlarmState.LATCHED]


def test_a_last_beat_that_another_lead_tells_late_is_no_beat_in_an_asystole() -> None:
    scene = two_leads()
    began_t = scene.t
    scene.wait(4.0)
    scene.rhythm(RhythmLabel.ASYSTOLE, began_t)
    assert scene.one("asystole").state is AlarmState.ACTIVE


# ---------------------------------------------------------------------- extreme rates


def fast_beside(every: int) -> Scene:
    """150/min on one lead, and on the other a beat of its own rate at every so manyth."""
    scene = two_leads()
    for k in range(40):
        scene.beat(N, 0.4)
        if k % every == 0:
            scene.lead_two((N, 0.98), 0.4 * every)
    return scene


def test_a_fast_rate_on_one_lead_is_held_back_where_the_other_lead_tells_a_usual_one() -> None:
    scene = two_leads()
    for k in range(60):
        scene.beat(N, 0.4)
        if k % 8 in (0, 2, 4, 5, 7):  # 94/min
            scene.lead_two((N, 0.98), 0.64)
    assert scene.alarms("extreme_tachycardia") == []
    assert scene.suppressed("extreme_tachycardia")[0].reason.startswith("lead V says ")


def test_half_the_rate_on_the_other_lead_is_one_that_misses_beats_and_holds_nothing_back() -> None:
    assert fast_beside(2).alarms("extreme_tachycardia")


def test_a_slow_rate_on_one_lead_is_held_back_by_a_quicker_pulse() -> None:
    for pulse_bpm, raised in ((80.0, False), (38.0, True)):
        scene = Scene()
        scene.pulse(4, pulse_bpm)
        for _ in range(8):
            scene.beat(N, 1.6)
            scene.pulse(1, pulse_bpm)
            scene.t -= 1.0
        assert bool(scene.alarms("extreme_bradycardia")) is raised
        assert bool(scene.suppressed("extreme_bradycardia")) is not raised


def test_a_reason_whose_number_alone_changes_is_said_once() -> None:
    scene = Scene()
    scene.pulse(8)
    began_t = scene.t
    scene.pulse(4, 75.0)
    scene.rhythm(RhythmLabel.ASYSTOLE, began_t)
    for rate_bpm in (76.0, 77.0, 78.0, 79.0):
        scene.pulse(1, rate_bpm)
    assert len(scene.suppressed("asystole")) == 1
