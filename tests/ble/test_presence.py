"""Why a wearable is silent, in words; and whether its battery lasts the night."""

from __future__ import annotations

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.ble.ble_bodies import ReplayedBody
from tests.ble.ble_scenes import Scene, play

from bedside.alarms.watch import PatientWatch
from bedside.ble import battery
from bedside.ble.battery_trend import BatteryTrend, clock_text
from bedside.ble.intake import Intake
from bedside.ble.presence import UNKNOWN, Presence
from bedside.core.events import Alarm, AlarmState
from bedside.core.ids import IdSource
from bedside.core.physiology import RadioState
from bedside.core.samples import Item, LinkState, Remark
from bedside.core.time import US_PER_S
from bedside.models.beats import BeatClassifier

pytestmark = pytest.mark.requirement("BLE-006")

MIDNIGHT_US = 1_780_012_800 * US_PER_S - 1_780_012_800 % 86_400 * US_PER_S
ZONE_S = 7200.0


def at(hours: float) -> int:
    """UTC of a local time of day."""
    return MIDNIGHT_US + round((hours * 3600 - ZONE_S) * US_PER_S)


def falling(from_h: float, to_h: float, start_pct: float, pct_per_h: float) -> BatteryTrend:
    trend = BatteryTrend()
    for minute in range(round(from_h * 60), round(to_h * 60) + 1):
        trend.level(float(int(start_pct - pct_per_h * (minute / 60 - from_h))), at(minute / 60))
    return trend


def test_at_nine_in_the_evening_it_is_said_that_a_battery_will_not_last() -> None:
    assert falling(12, 20.9, 70, 5).forecast(at(20.9), ZONE_S) is None, "by day nobody asks"
    forecast = falling(12, 21.1, 70, 5).forecast(at(21.1), ZONE_S)  # 24 % left, 5 an hour: empty at two
    assert forecast is not None and not forecast.lasts
    assert abs(forecast.empty_us - at(26)) < 15 * 60 * US_PER_S
    assert clock_text(forecast.empty_us, ZONE_S).startswith(("01:", "02:"))


def test_one_that_lasts_and_one_that_nobody_knows_raise_nothing() -> None:
    lasting = falling(12, 22, 90, 2).forecast(at(22), ZONE_S)
    assert lasting is not None and lasting.lasts
    assert falling(20.5, 22, 30, 1).forecast(at(22), ZONE_S) is None, "one percent says nothing"


@given(start=st.floats(30, 100), fall=st.floats(1.5, 12), from_h=st.floats(9, 17), now_h=st.floats(21, 23.9))
def test_the_forecast_is_right_within_what_whole_percents_allow(
    start: float, fall: float, from_h: float, now_h: float
) -> None:
    left = start - fall * (now_h - from_h)
    forecast = falling(from_h, now_h, start, fall).forecast(at(now_h), ZONE_S)
    if left < 1 or forecast is None:
        return
    empty_h = from_h + start / fall
    assert abs(forecast.empty_us - at(empty_h)) / 3.6e9 <= 0.25 * (empty_h - now_h) + 1.5 / fall + 0.2


def test_charging_it_ends_what_was_known() -> None:
    trend = falling(12, 21.5, 70, 5)
    trend.level(80, at(21.6))
    assert trend.forecast(at(21.6), ZONE_S) is None


def test_the_alarm_comes_in_the_evening_with_the_hour_and_goes_when_it_is_charged() -> None:
    items: list[Item] = []
    intake = Intake(wearable="w", patient="p", put=items.append, zone_s=lambda: ZONE_S)
    intake.begin_link(0.0)
    for minute in range(12 * 60, 23 * 60):
        pct = int(70 - 5 * (minute / 60 - 12)) if minute < 22 * 60 else 95
        intake.take(
            battery.LEVEL, battery.BatteryLevel(battery_pct=pct).encode(), now_us=at(minute / 60), now_s=minute * 60.0
        )
    night = [item for item in items if isinstance(item, Remark) and item.kind == "battery_night"]
    assert [one.evidence["on"] for one in night] == [True, False]
    assert at(21) <= night[0].time_us < at(21.02)
    watch = PatientWatch("p", IdSource(lambda: at(21)), BeatClassifier(None), simulated=True)
    alarms = [
        event for item in items for event in watch.feed(item).events
        if isinstance(event, Alarm) and event.kind == "battery_night"
    ]  # fmt: skip
    assert alarms[0].state is AlarmState.ACTIVE and alarms[-1].state is AlarmState.ENDED
    assert "will not last until 07:00" in alarms[0].text and "%" in alarms[0].text


# ---------------------------------------------------------------- words


def test_each_cause_has_its_own_words_and_none_is_claimed_without_a_sign_of_it() -> None:
    plain = Presence()
    plain.heard(-60)
    plain.battery(80)
    plain.searching(100)
    plain.other(101)
    assert plain.words(125, 100) == UNKNOWN
    empty = Presence()
    empty.battery(2)
    assert "nearly empty (2 %)" in empty.words(125, 100)
    off = Presence()
    off.contact(False, 60)
    assert "taken off" in off.words(125, 100)
    off.contact(True, 90)
    assert off.words(125, 100) == UNKNOWN
    far = Presence()
    far.heard(-93)
    assert "out of range" in far.words(125, 100)
    deaf = Presence()
    deaf.other(95)
    deaf.searching(100)
    assert deaf.words(110, 100) == UNKNOWN, "too early to say"
    assert "hears no device at all" in deaf.words(125, 100)
    deaf.other(126)
    assert deaf.words(130, 100) == UNKNOWN


def test_a_flat_battery_is_named_where_the_link_is_told_lost() -> None:
    body = ReplayedBody(battery_at=lambda at_s: 2.0 if at_s < 30 else 0.0)

    async def script(_: Scene) -> None:
        await asyncio.sleep(90)

    (strand,) = play([body], script).strands
    assert any("nearly empty (2 %)" in change.reason for change in strand.links if change.state is LinkState.LOST)


def test_taken_off_is_told_from_out_of_range() -> None:
    def script_of(contact: bool) -> list[str]:
        body = ReplayedBody(
            contact_at=lambda at_s: at_s < 30 or contact,
            radio_at=lambda at_s: RadioState(on=at_s < 70),
        )

        async def script(_: Scene) -> None:
            await asyncio.sleep(130)

        (strand,) = play([body], script).strands
        return [change.reason for change in strand.links if change.state is LinkState.LOST]

    assert any("taken off" in reason for reason in script_of(False))
    assert not any("taken off" in reason for reason in script_of(True))
