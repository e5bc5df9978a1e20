"""The boundary checks of a day-one assessor that an alarm engine in software reaches."""

from __future__ import annotations

import pytest
from tests.alarms.alarm_scene import ECG, OXIMETER, PATIENT, START_US, STRAP, S, Scene

from bedside.alarms.engine import AlarmEngine
from bedside.core.codes import Code
from bedside.core.events import AlarmState, BeatClass, Finding, Priority, RhythmLabel
from bedside.core.samples import LinkState

pytestmark = pytest.mark.requirement("ALM-001", "ALM-003", "GWY-003")

ACTIVE, ACKNOWLEDGED, LATCHED, ENDED = (
    AlarmState.ACTIVE,
    AlarmState.ACKNOWLEDGED,
    AlarmState.LATCHED,
    AlarmState.ENDED,
)
RR_OF = {99: 60 / 99, 100: 0.6, 101: 60 / 101}


# ---------------------------------------------------------------------- asystole, VF


def test_asystole_is_high_latches_after_the_rhythm_returns_and_goes_only_by_a_named_acknowledgement() -> None:
    scene = Scene()
    last_qrs_t = scene.t
    scene.wait(4.0)
    scene.rhythm(RhythmLabel.ASYSTOLE, last_qrs_t)
    alarm = scene.one("asystole")
    assert (alarm.priority, alarm.state, alarm.latching) == (Priority.HIGH, ACTIVE, True)
    assert alarm.raised_us - alarm.start_us <= 10 * S
    assert "4 s" in alarm.text
    scene.wait(3.0)
    scene.rhythm(RhythmLabel.ASYSTOLE, last_qrs_t, end_t=scene.t)
    scene.beats(BeatClass.N, 300, 0.8)
    assert scene.one("asystole").state is LATCHED
    assert scene.one("asystole").end_us == START_US + round((last_qrs_t + 7.0) * S)  # the latch does not prolong it
    with pytest.raises(ValueError, match="nobody is named"):
        scene.engine.acknowledge(alarm.alarm, "  ", scene.now_us())
    assert scene.one("asystole").state is LATCHED
    (ended,) = scene.engine.acknowledge(alarm.alarm, "nurse Ito", scene.now_us())
    assert (ended.state, ended.by) == (ENDED, "nurse Ito")  # type: ignore[attr-defined]
    assert scene.open() == []


def test_vf_is_raised_at_once_even_while_a_lead_is_said_to_be_off() -> None:
    scene = Scene()
    scene.quality(False, "lead_off")
    scene.rhythm(RhythmLabel.VF, scene.t)
    assert scene.one("ventricular_fibrillation").priority is Priority.HIGH


# ---------------------------------------------------------------------- VT


@pytest.mark.parametrize("bpm", [99, 100, 101])
@pytest.mark.parametrize("beats", [4, 5, 6])
def test_vt_of_4_5_6_beats_at_99_100_101_falls_on_the_right_side(beats: int, bpm: int) -> None:
    scene = Scene()
    scene.beat(BeatClass.V, 0.6)
    scene.beats(BeatClass.V, beats - 1, RR_OF[bpm])
    raised_before_its_end = "ventricular_tachycardia" in scene.open()
    scene.beats(BeatClass.N, 3, 0.8)
    is_vt = beats >= 5 and bpm >= 100
    is_run = beats == 4 and bpm >= 100
    assert raised_before_its_end == is_vt
    assert bool(scene.alarms("ventricular_tachycardia")) == is_vt
    assert bool(scene.alarms("ventricular_run")) == is_run


def test_vt_is_raised_with_its_fifth_beat_and_explains_itself_with_numbers_and_model() -> None:
    scene = Scene()
    scene.beats(BeatClass.V, 4, 60 / 168)
    assert scene.open() == []
    scene.beat(BeatClass.V, 60 / 168)
    alarm = scene.one("ventricular_tachycardia")
    assert alarm.raised_us == scene.now_us()
    scene.beats(BeatClass.V, 3, 60 / 168)
    scene.beats(BeatClass.N, 2, 0.8)
    over = scene.one("ventricular_tachycardia")
    assert over.state is LATCHED
    assert over.text == "VT: 8 ventricular beats at 168/min (limit 5 at 100)"
    assert over.evidence["beats"] == 8
    assert over.evidence["model"] == "0" * 64
    assert over.evidence["table"] == scene.engine.table.version
    assert over.end_us is not None
    assert over.end_us - over.start_us == pytest.approx(7 * 60 / 168 * S, abs=5)


def test_a_single_narrow_beat_does_not_end_vt_and_unjudged_beats_do_not_break_a_run() -> None:
    scene = Scene()
    scene.beats(BeatClass.V, 3, 0.4)
    scene.beat(BeatClass.Q, 0.4, judged=False)
    scene.beats(BeatClass.V, 2, 0.4)
    assert scene.states("ventricular_tachycardia") == [ACTIVE]
    scene.beat(BeatClass.N, 0.5)
    scene.beats(BeatClass.V, 4, 0.4)
    assert scene.states("ventricular_tachycardia") == [ACTIVE]


def test_a_gap_in_the_data_breaks_a_run() -> None:
    scene = Scene()
    scene.beats(BeatClass.V, 4, 0.4)
    scene.beat(BeatClass.V, None)
    scene.beats(BeatClass.V, 3, 0.4)
    assert not scene.alarms("ventricular_tachycardia")


def test_a_second_vt_in_a_latched_alarm_is_another_episode_of_it() -> None:
    scene = Scene()
    for _ in range(2):
        scene.beats(BeatClass.V, 6, 0.35)
        scene.beats(BeatClass.N, 20, 0.8)
    changes = scene.alarms("ventricular_tachycardia")
    assert [one.state for one in changes] == [ACTIVE, LATCHED, ACTIVE, LATCHED]
    assert len({one.alarm for one in changes}) == 1
    assert changes[2].start_us > (changes[1].end_us or 0)
    assert changes[2].end_us is None
    assert [one.supersedes for one in changes[1:]] == [one.id for one in changes[:-1]]


def test_fast_vt_is_not_also_told_as_an_extreme_tachycardia_and_says_so() -> None:
    scene = Scene()
    scene.beats(BeatClass.V, 30, 60 / 170)
    scene.beats(BeatClass.N, 40, 0.8)
    assert scene.one("ventricular_tachycardia").state is LATCHED
    assert scene.alarms("extreme_tachycardia") == []
    assert "ventricular tachycardia outranks it" in {one.reason for one in scene.suppressed("extreme_tachycardia")}
    assert scene.suppressed("extreme_tachycardia")[-1].end_us is not None


# ---------------------------------------------------------------------- rates


def test_extreme_rates_need_their_number_of_beats() -> None:
    scene = Scene()
    scene.beats(BeatClass.N, 14, 60 / 150)  # 14 fast intervals and 2 slow ones between 17 beats
    fast_before = scene.open()
    scene.beats(BeatClass.N, 3, 60 / 150)
    assert (fast_before, scene.open()) == ([], ["extreme_tachycardia"])
    slow = Scene()
    slow.beats(BeatClass.N, 3, 60 / 38)
    assert slow.open() == []
    slow.beats(BeatClass.N, 2, 60 / 38)
    assert slow.open() == ["extreme_bradycardia"]
    assert slow.one("extreme_bradycardia").text == "Extreme bradycardia: 38/min over 5 beats (limit 40)"


def test_bradycardia_that_wanders_round_its_limit_alarms_by_its_mean() -> None:
    scene = Scene()
    for rr_s in (2.28, 1.51, 1.5, 1.45):
        scene.beat(BeatClass.N, rr_s)
    assert scene.open() == ["extreme_bradycardia"]


@pytest.mark.parametrize(("bpm", "kind"), [(139, None), (142, "extreme_tachycardia"), (41, None)])
def test_rates_inside_the_extremes_raise_nothing_of_them(bpm: int, kind: str | None) -> None:
    scene = Scene()
    scene.beats(BeatClass.N, 25, 60 / bpm)
    assert scene.open() == ([kind] if kind else [])


def test_one_long_pause_is_a_pause_and_no_bradycardia() -> None:
    scene = Scene()
    scene.pause(3.4)
    scene.beats(BeatClass.N, 6, 0.8)
    assert scene.states("pause") == [ACTIVE, LATCHED]
    assert not scene.alarms("extreme_bradycardia")
    assert scene.one("pause").text == "Pause: 3.4 s between two beats (limit 3.0 s)"
    scene.wait(30.0)
    assert scene.states("pause") == [ACTIVE, LATCHED, ENDED]  # shown for its time, then gone
    assert not Scene().pause(2.9)


@pytest.mark.parametrize(("bpm", "alarms"), [(119, 0), (120, 0), (121, 1), (50, 0), (49, 1)])
def test_a_sustained_rate_alarms_only_beyond_its_limit(bpm: int, alarms: int) -> None:
    scene = Scene()
    scene.seconds(Code.HEART_RATE, bpm, 30)
    kind = "tachycardia" if bpm > 100 else "bradycardia"
    assert scene.states(kind) == [ACTIVE] * alarms
    if alarms:
        (alarm,) = scene.alarms(kind)
        assert alarm.raised_us - alarm.start_us <= 10 * S
        assert alarm.text == ("HR 121 > 120/min" if kind == "tachycardia" else "HR 49 < 50/min")


def test_a_rate_that_spikes_for_a_moment_or_swings_round_its_limit_does_not_chatter() -> None:
    scene = Scene()
    scene.seconds(Code.HEART_RATE, 90, 10)
    scene.seconds(Code.HEART_RATE, 160, 2)
    scene.seconds(Code.HEART_RATE, 90, 10)
    assert scene.alarms() == []
    for k in range(120):
        scene.seconds(Code.HEART_RATE, 121 if k % 2 else 119, 1)
    scene.seconds(Code.HEART_RATE, 121, 10)
    for k in range(120):
        scene.seconds(Code.HEART_RATE, 122 if k % 3 else 118.5, 1)
    assert scene.states("tachycardia") == [ACTIVE]
    scene.seconds(Code.HEART_RATE, 110, 10)
    assert scene.states("tachycardia") == [ACTIVE, ENDED]


def test_the_pulse_stands_in_for_the_ecg_rate_and_the_sentence_says_so() -> None:
    scene = Scene()
    scene.seconds(Code.HEART_RATE, 80, 3)
    for _ in range(30):
        scene.numeric(Code.HEART_RATE, None)
        scene.seconds(Code.PULSE_RATE, 133, 1)
    assert scene.one("tachycardia").text == "Pulse rate 133 > 120/min"
    assert scene.one("tachycardia").evidence["code"] == Code.PULSE_RATE


# ---------------------------------------------------------------------- saturation


@pytest.mark.parametrize(("seconds", "alarms"), [(9, 0), (16, 1)])
def test_spo2_of_89_alarms_after_its_delay_and_not_before(seconds: int, alarms: int) -> None:
    scene = Scene()
    scene.seconds(Code.SPO2, 96, 5)
    scene.seconds(Code.SPO2, 89, seconds)
    scene.seconds(Code.SPO2, 96, 10)
    assert len([one for one in scene.alarms("spo2_low") if one.state is ACTIVE]) == alarms


def test_spo2_of_79_once_is_a_desaturation_without_delay_and_latches() -> None:
    scene = Scene()
    scene.seconds(Code.SPO2, 96, 5)
    said = scene.numeric(Code.SPO2, 79)
    assert [one.kind for one in said] == ["desaturation"]  # type: ignore[attr-defined]
    scene.wait(1.0)
    scene.seconds(Code.SPO2, 96, 60)
    assert scene.states("desaturation") == [ACTIVE, LATCHED]
    assert scene.one("desaturation").text == "Desaturation: SpO₂ 79 < 80 %"


def test_a_delay_does_not_run_out_on_values_that_nobody_saw() -> None:
    scene = Scene()
    scene.seconds(Code.SPO2, 96, 5)
    scene.seconds(Code.SPO2, 89, 2)
    scene.seconds(Code.SPO2, None, 60)
    assert scene.alarms("spo2_low") == []
    assert scene.one("poor_signal").text == "Poor signal: SpO₂ cannot be read (no pulse)"
    scene.seconds(Code.SPO2, 96, 10)
    assert scene.open() == []


# ---------------------------------------------------------------------- leads, links, arming


def test_a_lead_that_falls_off_in_vt_leaves_it_latched_raises_the_technical_alarm_and_is_no_asystole() -> None:
    scene = Scene()
    scene.beats(BeatClass.V, 7, 0.35)
    off_t = scene.t
    scene.quality(False, "lead_off")
    scene.wait(4.0)
    scene.rhythm(RhythmLabel.ASYSTOLE, off_t)  # a flat line, as seen by a rule that knows nothing of contact
    scene.wait(60.0)
    assert scene.states("ventricular_tachycardia") == [ACTIVE, LATCHED]
    assert scene.one("lead_off").priority is Priority.MEDIUM
    assert scene.alarms("asystole") == []
    assert scene.suppressed("asystole")[0].reason == "lead off: a lead without contact is flat"
    assert "cannot_analyze" not in scene.open()  # the lead says it already ...
    assert scene.suppressed("cannot_analyze")  # ... and that is on record


def test_asystole_that_outlasts_the_return_of_the_lead_is_raised() -> None:
    scene = Scene()
    scene.quality(False, "lead_off")
    scene.rhythm(RhythmLabel.ASYSTOLE, scene.t)
    scene.wait(20.0)
    scene.quality(True)
    scene.wait(3.0)
    assert scene.alarms("asystole") == []
    scene.wait(2.0)
    assert scene.states("asystole") == [ACTIVE]


def test_a_sensor_that_is_off_from_the_start_makes_no_flood() -> None:
    scene = Scene(signal=False)
    scene.quality(False, "lead_off")
    for _ in range(120):
        scene.numeric(Code.HEART_RATE, None)
        scene.numeric(Code.SPO2, None)
        scene.wait(1.0)
    scene.rhythm(RhythmLabel.ASYSTOLE, 0.0)
    scene.wait(10.0)
    assert sorted(scene.open()) == ["lead_off", "waiting_for_signal"]
    assert scene.one("lead_off").priority is Priority.LOW
    scene.rhythm(RhythmLabel.ASYSTOLE, 0.0, end_t=scene.t)
    scene.quality(True)
    scene.beats(BeatClass.N, 10, 0.8)
    assert scene.open() == []


def test_no_signal_for_60_s_after_admission_is_said_once_and_ends_with_the_first_signal() -> None:
    scene = Scene(signal=False)
    scene.wait(59.0)
    assert scene.open() == []
    scene.wait(30.0)
    assert scene.states("waiting_for_signal") == [ACTIVE]
    scene.numeric(Code.SPO2, 97)
    assert scene.states("waiting_for_signal") == [ACTIVE, ENDED]


@pytest.mark.parametrize(
    ("lost_s", "priorities"), [(5, ["low"]), (61, ["low", "medium"]), (301, ["low", "medium", "high"])]
)
def test_a_lost_link_is_low_at_once_medium_at_60_s_and_high_at_5_min(lost_s: int, priorities: list[str]) -> None:
    scene = Scene()
    scene.link(LinkState.UP)
    said = scene.link(LinkState.LOST)
    assert [one.kind for one in said] == ["link_lost"]  # type: ignore[attr-defined]
    scene.link(LinkState.SEARCHING)
    scene.wait(lost_s)
    assert [one.priority for one in scene.alarms("link_lost")] == priorities
    scene.link(LinkState.UP)
    scene.wait(3.0)
    assert scene.states("link_lost")[-1] is ENDED


def test_an_acknowledged_link_loss_speaks_again_when_it_becomes_worse() -> None:
    scene = Scene()
    scene.link(LinkState.UP)
    scene.link(LinkState.LOST)
    scene.tell(scene.engine.acknowledge(scene.one("link_lost").alarm, "nurse", scene.now_us()))
    scene.wait(61.0)
    assert scene.states("link_lost") == [ACTIVE, ACKNOWLEDGED, ACTIVE]


def test_searching_for_a_wearable_that_was_never_there_is_no_loss() -> None:
    scene = Scene(signal=False)
    scene.link(LinkState.SEARCHING)
    scene.wait(30.0)
    assert scene.open() == []


def test_an_analysis_that_is_blind_for_30_s_says_so_for_noise_and_for_a_model_that_abstains() -> None:
    noisy = Scene()
    noisy.quality(False, "motion")
    noisy.wait(29.0)
    assert "cannot_analyze" not in noisy.open()
    noisy.wait(2.0)
    assert "no usable ECG (motion)" in noisy.one("cannot_analyze").text
    noisy.quality(True)
    noisy.wait(5.0)
    assert noisy.open() == []

    mute = Scene()
    for _ in range(50):
        mute.beat(BeatClass.Q, 0.8, judged=False)
    assert "no model judges the beats" in mute.one("cannot_analyze").text


def test_a_low_battery_is_said_once_for_each_wearable_with_hysteresis() -> None:
    scene = Scene()
    for value in (12, 11, 9, 10, 9, 11, 14):
        scene.numeric(Code.BATTERY, value, source=STRAP)
        scene.wait(1.0)
    scene.numeric(Code.BATTERY, 5, source=OXIMETER)
    assert scene.open() == ["battery_low", "battery_low"]
    scene.numeric(Code.BATTERY, 80, source=STRAP)
    assert scene.open() == ["battery_low"]


# ---------------------------------------------------------------------- AF, ectopics


def test_af_alarms_when_it_has_lasted_30_s_and_ends_with_its_timer() -> None:
    scene = Scene()
    scene.wait(20.0)
    scene.rhythm(RhythmLabel.AF, scene.t - 18.0)
    scene.wait(11.0)
    assert scene.alarms("atrial_fibrillation") == []
    scene.wait(2.0)
    assert scene.one("atrial_fibrillation").text == "Atrial fibrillation: irregular for 30 s (limit 30 s)"
    scene.rhythm(RhythmLabel.AF, 0.0, end_t=scene.t)
    scene.wait(31.0)
    assert scene.states("atrial_fibrillation") == [ACTIVE, ENDED]


def test_ten_ventricular_beats_in_a_minute_are_frequent_and_nine_are_not() -> None:
    scene = Scene()
    for _ in range(9):
        scene.beat(BeatClass.V, 0.6)
        scene.beats(BeatClass.N, 4, 0.9)
    assert scene.open() == []
    scene.beat(BeatClass.V, 0.6)
    assert scene.one("frequent_ventricular_beats").priority is Priority.LOW


# ---------------------------------------------------------------------- acknowledgement, reminder


def test_an_acknowledged_condition_that_stays_for_3_min_signals_again() -> None:
    scene = Scene()
    scene.seconds(Code.SPO2, 96, 3)
    scene.seconds(Code.SPO2, 75, 5)
    scene.tell(scene.engine.acknowledge(scene.one("desaturation").alarm, "nurse", scene.now_us()))
    scene.seconds(Code.SPO2, 75, 179)
    assert scene.one("desaturation").state is ACKNOWLEDGED
    scene.seconds(Code.SPO2, 75, 2)
    assert scene.one("desaturation").state is ACTIVE
    assert scene.one("desaturation").evidence["why"] == "reminder"


def test_acknowledging_twice_is_no_change_and_an_unknown_alarm_is_refused() -> None:
    scene = Scene()
    scene.numeric(Code.SPO2, 75)
    alarm = scene.one("desaturation").alarm
    assert scene.engine.acknowledge(alarm, "nurse", scene.now_us())
    assert scene.engine.acknowledge(alarm, "nurse", scene.now_us()) == []
    with pytest.raises(KeyError):
        scene.engine.acknowledge("no such alarm", "nurse", scene.now_us())


# ---------------------------------------------------------------------- restart, clocks


@pytest.mark.parametrize("state", [ACTIVE, ACKNOWLEDGED, LATCHED])
def test_a_restart_keeps_every_alarm_in_its_state_and_mutes_none(state: AlarmState) -> None:
    scene = Scene()
    scene.rhythm(RhythmLabel.VF, scene.t)
    if state is ACKNOWLEDGED:
        scene.engine.acknowledge(scene.one("ventricular_fibrillation").alarm, "nurse", scene.now_us())
    if state is LATCHED:
        scene.rhythm(RhythmLabel.VF, scene.t, end_t=scene.t + 1)
    before = scene.engine.open()
    after = Scene(AlarmEngine(PATIENT, scene.ids), signal=False)
    after.t = scene.t + 5
    said = after.tell(after.engine.restore(before, after.now_us()))
    assert [(one.alarm, one.state, one.text, one.by) for one in after.engine.open()] == [
        (one.alarm, one.state, one.text, one.by) for one in before
    ]
    assert len(said) == 1
    after.wait(60.0)  # no signal yet: nothing is known, nothing is muted
    assert after.one("ventricular_fibrillation").state in (state, ACTIVE)
    after.quality(True)
    after.beats(BeatClass.N, 30, 0.8)  # well again: the condition is over, the latch is not
    assert [one.state for one in after.engine.open() if one.kind == "ventricular_fibrillation"] == (
        [] if state is ACKNOWLEDGED else [LATCHED]
    )


def test_a_condition_that_is_still_there_after_a_restart_stays_the_same_alarm() -> None:
    scene = Scene()
    scene.seconds(Code.SPO2, 70, 5)
    after = Scene(AlarmEngine(PATIENT, scene.ids), signal=False)
    after.t = scene.t + 5
    after.engine.restore(scene.engine.open(), after.now_us())
    after.seconds(Code.SPO2, 72, 60)
    assert after.one("desaturation").alarm == scene.one("desaturation").alarm
    assert [one.state for one in after.alarms("desaturation")] == []  # nothing changed: nothing more was said


@pytest.mark.parametrize("jump_us", [-3600 * S, 24 * 3600 * S, 3600 * S])
def test_a_clock_that_is_set_neither_loses_nor_repeats_an_alarm(jump_us: int) -> None:
    scene = Scene()
    scene.link(LinkState.UP)
    scene.seconds(Code.SPO2, 96, 5)
    scene.link(LinkState.LOST, STRAP)
    scene.seconds(Code.SPO2, 85, 15)
    acknowledged = scene.one("spo2_low").alarm
    scene.tell(scene.engine.acknowledge(acknowledged, "nurse", scene.now_us()))
    scene.shift_us += jump_us
    scene.seconds(Code.SPO2, 85, 30)
    assert scene.states("spo2_low") == [ACTIVE, ACKNOWLEDGED]
    assert [one.priority for one in scene.alarms("link_lost")] in (["low"], ["low", "medium"])
    scene.seconds(Code.SPO2, 85, 160)
    assert scene.states("spo2_low") == [ACTIVE, ACKNOWLEDGED, ACTIVE]  # the reminder came, once
    assert [one.priority for one in scene.alarms("link_lost")] == ["low", "medium"]


# ---------------------------------------------------------------------- the box's own conditions


def box() -> Scene:
    scene = Scene(signal=False)
    scene.engine = AlarmEngine(None, scene.ids)
    scene.out.clear()
    return scene


def test_the_gateway_raises_and_ends_conditions_of_the_box_by_kind_and_key() -> None:
    scene = box()
    engine = scene.engine
    for part in ("dashboard", "network"):
        scene.tell(
            engine.set_condition(
                "part_failed", True, scene.now_us(), key=part, evidence={"part": part, "detail": "exit 1"}
            )
        )
        scene.tell(
            engine.set_condition(
                "part_failed", True, scene.now_us(), key=part, evidence={"part": part, "detail": "exit 1"}
            )
        )
    assert len(scene.alarms("part_failed")) == 2
    assert "dashboard (exit 1)" in scene.alarms("part_failed")[0].text
    scene.tell(engine.set_condition("part_failed", False, scene.now_us(), key="network"))
    assert sorted(one.state for one in engine.open()) == [ACTIVE, LATCHED]  # seen for a while, though it is over
    scene.wait(61.0)
    assert [one.evidence["key"] for one in engine.open()] == ["dashboard"]
    with pytest.raises(KeyError):
        engine.set_condition("no_such_kind", True, scene.now_us())


def test_an_interruption_is_over_when_it_is_seen_and_stays_until_somebody_has_seen_it() -> None:
    scene = box()
    scene.tell(
        scene.engine.set_condition(
            "monitoring_interrupted", True, scene.now_us(), evidence={"since": "14:02", "until": "14:09"}
        )
    )
    scene.wait(600.0)
    alarm = scene.one("monitoring_interrupted")
    assert (alarm.state, alarm.condition) == (LATCHED, False)
    assert alarm.text == "Monitoring was interrupted: nobody was watched from 14:02 to 14:09"
    scene.tell(scene.engine.acknowledge(alarm.alarm, "nurse", scene.now_us()))
    assert scene.open() == []


def test_a_box_condition_that_nobody_says_anew_after_a_restart_is_over() -> None:
    scene = box()
    scene.tell(scene.engine.set_condition("records", True, scene.now_us(), evidence={"detail": "disk full"}))
    after = box()
    after.tell(after.engine.restore(scene.engine.open(), after.now_us()))
    after.wait(59.0)
    assert after.open() == ["records"]
    after.wait(2.0)
    assert after.open() == []


def test_an_engine_forgets_conditions_that_came_and_went() -> None:
    scene = box()
    for part in range(500):
        for on in (True, False):
            scene.engine.set_condition("network", on, scene.now_us(), key=str(part), evidence={"detail": "down"})
        scene.wait(1.0, step_s=1.0)
    scene.wait(400.0)
    assert scene.open() == []
    assert len(scene.engine._tracks) == 0


def test_a_finding_of_a_known_kind_raises_its_condition() -> None:
    scene = Scene()
    finding = Finding(
        id="f",
        patient=PATIENT,
        start_us=scene.now_us(),
        kind="model_missing",
        evidence={"on": True, "detail": "no file"},
    )
    scene.feed(finding)
    assert scene.open() == ["model_missing"]
    scene.feed(Finding(id="g", patient=PATIENT, start_us=scene.now_us(), kind="an unknown kind", evidence={"on": True}))
    assert scene.open() == ["model_missing"]


def test_open_alarms_are_sorted_by_urgency() -> None:
    scene = Scene()
    scene.link(LinkState.UP)
    scene.link(LinkState.LOST)
    scene.seconds(Code.HEART_RATE, 130, 6)
    scene.numeric(Code.SPO2, 70)
    assert scene.open() == ["desaturation", "tachycardia", "link_lost"]
    assert ECG.label == "I"
