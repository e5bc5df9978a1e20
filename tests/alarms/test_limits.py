"""A patient's limits: within safe bounds, in order, and in force with the next value."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.alarms.alarm_scene import Scene

from bedside.alarms.limits import PatientLimits, bounds, checked, preset, read_back, view
from bedside.alarms.table import default_table, limits
from bedside.core.codes import Code
from bedside.core.events import AlarmState, BeatClass, Json

pytestmark = pytest.mark.requirement("ALM-008")

HR, SPO2 = Code.HEART_RATE, Code.SPO2


def test_the_adult_preset_is_the_table_and_no_other_is_enabled() -> None:
    assert preset().table(default_table()).conditions == default_table().conditions
    for name in ("child", "neonate"):
        with pytest.raises(ValueError, match="intended use"):
            preset(name)


@pytest.mark.parametrize(
    ("code", "low", "high", "severe", "complaint"),
    [
        (HR, 90, 85, None, "rate_low 90 is not below rate_high 85"),
        (HR, 34, 120, None, "34 is not in 35 to 100"),
        (HR, 50, 181, None, "181 is not in 80 to 180"),
        (HR, None, 120, None, "rate_low: expected a whole number, got None"),
        (HR, 50.5, 120, None, "expected a whole number"),
        (HR, True, 120, None, "expected a whole number"),
        (HR, "50", 120, None, "expected a whole number"),
        (HR, 50, 120, 30, "has no such limit"),
        (SPO2, 90, 100, None, "has no such limit"),
        (SPO2, 88, None, 89, "desaturation 89 is above spo2_low 88"),
        (SPO2, 79, None, None, "79 is not in 80 to 98"),
        (SPO2, 90, None, 0, "0 is not in 70 to 95"),
        (Code.PULSE_RATE, 50, 120, None, "has no limit that can be changed"),
        (Code.BATTERY, 5, None, None, "has no limit that can be changed"),
    ],
)
def test_an_unsafe_limit_is_refused_with_the_reason(
    code: Code, low: Json, high: Json, severe: Json, complaint: str
) -> None:
    with pytest.raises(ValueError, match=complaint):
        preset().changed(code, low, high, severe)


NUMBER = st.one_of(st.none(), st.booleans(), st.integers(-10, 300), st.floats(0, 300), st.text(max_size=3))


@given(code=st.sampled_from([HR, SPO2]), low=NUMBER, high=NUMBER, severe=NUMBER)
def test_no_request_leads_to_limits_out_of_order_or_out_of_bounds(
    code: Code, low: Json, high: Json, severe: Json
) -> None:
    try:
        now = preset().changed(code, low, high, severe)
    except ValueError:
        return
    table = now.table(default_table())
    slow, fast = (table[kind].trigger["rate_bpm"] for kind in ("extreme_bradycardia", "extreme_tachycardia"))
    assert 30 <= slow < now.rate_low < now.rate_high < fast <= 185
    assert 70 <= now.desaturation <= now.spo2_low <= 98
    assert slow <= 40 and fast >= 140, "an extreme rate is never called normal"
    assert read_back(now.plain()) == now


def test_extreme_rates_stay_where_they_are_until_a_limit_comes_near() -> None:
    def extremes(low: int, high: int) -> tuple[float, float]:
        table = preset().changed(HR, low, high).table(default_table())
        return table["extreme_bradycardia"].trigger["rate_bpm"], table["extreme_tachycardia"].trigger["rate_bpm"]

    assert extremes(50, 120) == (40, 140)
    assert extremes(45, 135) == (40, 140)
    assert extremes(38, 150) == (33, 155)
    assert extremes(35, 180) == (30, 185)


@pytest.mark.parametrize("broken", [None, {}, {"rate_low": 50}, {**preset().plain(), "rate_low": 150}, "text"])
def test_what_is_read_back_is_checked_again(broken: object) -> None:
    with pytest.raises(ValueError):
        read_back(broken)


def test_the_check_finds_limits_that_cross() -> None:
    crossed = PatientLimits(rate_low=100, rate_high=80, spo2_low=90, desaturation=80)
    with pytest.raises(ValueError):
        checked(crossed)
    assert crossed.plain().keys() == bounds().keys()


def test_a_changed_limit_is_in_force_with_the_next_value_on_screen_and_in_the_sentence() -> None:
    scene = Scene()
    scene.seconds(HR, 125.0, 6)
    assert scene.open() == ["tachycardia"]
    now = preset().changed(HR, 50, 140)
    scene.engine.set_limits(now)
    scene.seconds(HR, 125.0, 6)
    assert scene.states("tachycardia")[-1] is AlarmState.ENDED
    scene.seconds(HR, 141.0, 6)
    assert scene.one("tachycardia").text == "HR 141 > 140/min"
    assert limits(scene.engine.table)[HR] == (50.0, 140.0)
    assert (view(now, HR)["high"], view(now, HR)["preset_high"], view(now, HR)["changed"]) == (140, 120, True)
    assert view(now, SPO2)["changed"] is False


def test_a_lower_saturation_limit_and_its_desaturation_alarm_at_their_own_numbers() -> None:
    scene = Scene()
    scene.engine.set_limits(preset().changed(SPO2, 86, None, 75))
    scene.seconds(SPO2, 87.0, 20)
    scene.numeric(SPO2, 79.0)
    assert scene.open() == []
    scene.numeric(SPO2, 74.0)
    assert scene.open() == ["desaturation"]


def test_wider_limits_move_the_extreme_rate_and_never_asystole_or_vt() -> None:
    scene = Scene()
    scene.engine.set_limits(preset().changed(HR, 35, 150))
    scene.beats(BeatClass.N, 40, 60 / 150)
    assert "extreme_tachycardia" not in scene.open()
    scene.beats(BeatClass.V, 6, 0.4)
    assert "ventricular_tachycardia" in scene.open()
    for kind in ("asystole", "ventricular_fibrillation", "ventricular_tachycardia"):
        assert scene.engine.table[kind] == default_table()[kind]
