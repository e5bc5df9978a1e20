"""Respiration, temperature, pressure, glucose, findings and NEWS2: the right side of each number, and of its age."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.alarms.alarm_scene import Scene

from bedside.alarms import news2
from bedside.core.codes import FACTS, Code
from bedside.core.events import AlarmState, Evidence, Finding, Priority

pytestmark = pytest.mark.requirement("ALM-011")

ACTIVE, LATCHED = AlarmState.ACTIVE, AlarmState.LATCHED


def say(scene: Scene, kind: str, evidence: Evidence) -> None:
    scene.feed(Finding(**scene._base(), kind=kind, evidence=evidence))  # type: ignore[arg-type]


def breathe(scene: Scene, n: int, every_s: float = 4.0) -> None:
    for _ in range(n):
        scene.wait(every_s)
        say(scene, "breath", {})


# ---------------------------------------------------------------------- breathing


@pytest.mark.parametrize(("silent_s", "raised"), [(19.5, False), (20.5, True)])
def test_apnoea_is_on_the_right_side_of_20_s(silent_s: float, raised: bool) -> None:
    scene = Scene()
    breathe(scene, 4)
    scene.wait(silent_s)
    say(scene, "breath", {})
    assert bool(scene.alarms("apnea")) is raised
    if raised:
        assert scene.states("apnea") == [ACTIVE, LATCHED]
        assert scene.alarms("apnea")[0].priority is Priority.HIGH
        assert scene.one("apnea").text.startswith("Apnoea: no breath for 20 s")


def test_apnoea_is_not_armed_by_less_than_three_breaths_in_a_minute() -> None:
    scene = Scene()
    breathe(scene, 2)
    scene.wait(60.0)
    assert scene.alarms("apnea") == []


@pytest.mark.parametrize(("rate", "kind"), [(31, "respiration_high"), (7, "respiration_low"), (30, None), (8, None)])
def test_respiration_limits(rate: int, kind: str | None) -> None:
    scene = Scene()
    scene.seconds(Code.RESPIRATION_RATE, rate, 12)
    open_kinds = {one for one in scene.open() if one.startswith("respiration")}
    assert open_kinds == ({kind} if kind else set())


# ---------------------------------------------------------------------- spot measurements


@pytest.mark.parametrize(
    ("code", "value", "kind", "text"),
    [
        (Code.TEMPERATURE, 39.1, "temperature", "Temperature: 39.1 > 39.0 °C"),
        (Code.TEMPERATURE, 35.9, "temperature", "Temperature: 35.9 < 36.0 °C"),
        (Code.NIBP_SYSTOLIC, 90, "blood_pressure", "Blood pressure: systolic 90 < 91 mmHg"),
        (Code.NIBP_SYSTOLIC, 181, "blood_pressure", "Blood pressure: systolic 181 > 180 mmHg"),
        (Code.GLUCOSE, 3.8, "glucose", "Glucose: 3.8 < 3.9 mmol/L"),
        (Code.GLUCOSE, 14.0, "glucose", "Glucose: 14.0 > 13.9 mmol/L"),
    ],
)
def test_a_spot_measurement_beyond_its_limit_alarms_until_it_is_too_old(
    code: Code, value: float, kind: str, text: str
) -> None:
    scene = Scene()
    scene.numeric(code, value)
    assert scene.one(kind).text == text
    scene.wait(FACTS[code].max_age_s - 60.0, step_s=10.0)
    assert kind in scene.open()
    scene.wait(120.0, step_s=10.0)
    assert kind not in scene.open()


@pytest.mark.parametrize(
    ("code", "value"),
    [(Code.TEMPERATURE, 39.0), (Code.TEMPERATURE, 36.0), (Code.NIBP_SYSTOLIC, 91), (Code.GLUCOSE, 3.9)],
)
def test_a_spot_measurement_at_its_limit_does_not(code: Code, value: float) -> None:
    scene = Scene()
    scene.numeric(code, value)
    assert {"temperature", "blood_pressure", "glucose"} & set(scene.open()) == set()


def test_a_temperature_that_swings_round_its_limit_does_not_chatter() -> None:
    scene = Scene()
    for k in range(20):
        scene.numeric(Code.TEMPERATURE, 39.1 if k % 2 == 0 else 38.9)
        scene.wait(60.0, step_s=10.0)
    assert scene.states("temperature") == [ACTIVE]
    assert scene.one("temperature").text == "Temperature: 39.1 > 39.0 °C"


# ---------------------------------------------------------------------- findings of others


def test_a_fall_latches_and_is_told_at_once() -> None:
    scene = Scene()
    say(scene, "fall", {"on": True, "detail": "2.6 g, then still"})
    assert scene.one("fall").state is LATCHED
    assert "2.6 g" in scene.one("fall").text


def test_st_change_must_last_a_minute() -> None:
    scene = Scene()
    say(scene, "st_change", {"on": True, "label": "lead II", "st_mv": -0.15, "limit_mv": 0.1})
    scene.wait(59.0)
    assert scene.alarms("st_change") == []
    scene.wait(2.0)
    assert scene.one("st_change").text.startswith("ST change: lead II -0.15 mV")


# ---------------------------------------------------------------------- a latched sentence


def test_a_latched_alarm_shows_the_value_that_triggered_it() -> None:
    scene = Scene()
    scene.beats("N", 8, 60 / 36)  # type: ignore[arg-type]
    scene.beats("N", 5, 60 / 41)  # type: ignore[arg-type]  # within the hysteresis of 40
    scene.beats("N", 8, 60 / 70)  # type: ignore[arg-type]
    alarm = scene.one("extreme_bradycardia")
    assert alarm.state is LATCHED
    rate_bpm = alarm.evidence["rate_bpm"]
    assert isinstance(rate_bpm, float)
    assert rate_bpm < 40.0


# ---------------------------------------------------------------------- NEWS2

CHART = [
    ("respiration", [(8, 3), (9, 1), (11, 1), (12, 0), (20, 0), (21, 2), (24, 2), (25, 3)]),
    ("saturation", [(91, 3), (92, 2), (93, 2), (94, 1), (95, 1), (96, 0), (100, 0)]),
    ("pressure", [(90, 3), (91, 2), (100, 2), (101, 1), (110, 1), (111, 0), (219, 0), (220, 3)]),
    ("pulse", [(40, 3), (41, 1), (50, 1), (51, 0), (90, 0), (91, 1), (110, 1), (111, 2), (130, 2), (131, 3)]),
    ("temperature", [(35.0, 3), (35.1, 1), (36.0, 1), (36.1, 0), (38.0, 0), (38.1, 1), (39.0, 1), (39.1, 2)]),
]


@pytest.mark.parametrize(("name", "rows"), CHART)
def test_points_are_those_of_the_chart(name: str, rows: list[tuple[float, int]]) -> None:
    assert [news2.score({name: value}).points[name] for value, _ in rows] == [points for _, points in rows]


def test_the_second_saturation_scale_depends_on_the_oxygen() -> None:
    air = [(83, 3), (84, 2), (86, 1), (88, 0), (92, 0), (93, 0), (99, 0)]
    given_ = [(83, 3), (85, 2), (87, 1), (92, 0), (93, 1), (94, 1), (95, 2), (97, 3)]
    for oxygen, rows in ((False, air), (True, given_)):
        found = [news2.score({"saturation": v}, oxygen=oxygen, scale=2).points["saturation"] for v, _ in rows]
        assert found == [points for _, points in rows]
    assert "saturation" not in news2.score({"saturation": 95}, scale=2).points


@given(
    values=st.dictionaries(st.sampled_from(sorted(news2.BANDS)), st.floats(0, 300)),
    oxygen=st.one_of(st.none(), st.booleans()),
    alert=st.one_of(st.none(), st.booleans()),
    scale=st.sampled_from([1, 2]),
)
def test_a_score_is_never_told_as_whole_unless_it_is(
    values: dict[str, float | None], oxygen: bool | None, alert: bool | None, scale: int
) -> None:
    found = news2.score(values, oxygen=oxygen, alert=alert, scale=scale)
    whole = len(found.points) == 7
    assert ("partial" in found.sentence()) is not whole
    assert len(found.missing) + len(found.points) == 7
    assert 0 <= found.total <= 20


def hold(scene: Scene, values: dict[Code, float], seconds: int) -> None:
    """The values for so long, each every five seconds."""
    for _ in range(seconds // 5):
        for code, value in values.items():
            scene.numeric(code, value)
        scene.wait(5.0)


def test_a_partial_score_alarms_says_what_is_missing_and_grows_to_high() -> None:
    scene = Scene()
    hold(scene, {Code.RESPIRATION_RATE: 25}, 55)
    assert scene.alarms("early_warning_score") == []
    hold(scene, {Code.RESPIRATION_RATE: 25}, 10)
    alarm = scene.one("early_warning_score")
    assert alarm.priority is Priority.MEDIUM
    assert "at least 3 (scale 1; partial, 1 of 7 inputs), respiration alone 3" in alarm.text
    assert "Missing: SpO₂, oxygen given, systolic pressure, pulse, consciousness, temperature" in alarm.text
    hold(scene, {Code.RESPIRATION_RATE: 25, Code.SPO2: 92, Code.TEMPERATURE: 39.5}, 10)
    assert scene.one("early_warning_score").priority is Priority.HIGH


def test_a_spike_is_no_early_warning_and_an_input_that_grew_old_no_longer_counts() -> None:
    scene = Scene()
    scene.numeric(Code.HEART_RATE, 150)
    scene.numeric(Code.HEART_RATE, 80)
    scene.numeric(Code.RESPIRATION_RATE, 25)  # and no more of it: too old after 30 s
    hold(scene, {Code.HEART_RATE: 80}, 90)
    assert scene.alarms("early_warning_score") == []


def test_a_nurse_completes_it_and_it_stays_until_it_is_reviewed() -> None:
    scene = Scene()
    say(scene, "nurse_observation", {"oxygen": False, "alert": True})
    ill = {Code.TEMPERATURE: 37.0, Code.NIBP_SYSTOLIC: 105, Code.HEART_RATE: 95, Code.RESPIRATION_RATE: 22}
    hold(scene, {**ill, Code.SPO2: 94}, 70)
    text = scene.one("early_warning_score").text
    assert "NEWS2 5 (scale 1)" in text
    assert "Missing: nothing" in text
    hold(scene, {**ill, Code.RESPIRATION_RATE: 16, Code.SPO2: 98}, 60)
    alarm = scene.one("early_warning_score")
    assert alarm.state is LATCHED
    scene.tell(scene.engine.acknowledge(alarm.alarm, "nurse Ito", scene.now_us()))
    assert "early_warning_score" not in scene.open()


def test_a_rising_score_says_so() -> None:
    scene = Scene()
    hold(scene, {Code.SPO2: 98}, 120)
    hold(scene, {Code.SPO2: 98, Code.RESPIRATION_RATE: 25}, 70)
    assert "rising by 3 in the last hour" in scene.one("early_warning_score").text
