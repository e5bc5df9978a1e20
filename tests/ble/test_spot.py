"""Spot measurements: the right number, at the time when it was true, and never an old one as live."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.ble.ble_scenes import START_US, on_virtual_time

from bedside.alarms.watch import PatientWatch
from bedside.ble import blood_pressure, glucose, plx, spot, thermometer, weight
from bedside.ble.air import Air
from bedside.ble.blood_pressure import BloodPressure
from bedside.ble.date_time import CurrentTime, Timestamp
from bedside.ble.glucose import CgmMeasurement, CgmRecord, Glucose
from bedside.ble.ieee11073 import Special
from bedside.ble.plx import SpotCheck
from bedside.ble.radio import BumbleRadio
from bedside.ble.session import WearableConfig, WearableSession
from bedside.ble.spot import Heard, Spot
from bedside.ble.thermometer import Temperature
from bedside.ble.virtual.visitor import VirtualVisitor
from bedside.ble.weight import NoMeasurement, Weight
from bedside.core.codes import FACTS, Code
from bedside.core.errors import DecodeError
from bedside.core.events import Alarm, Numeric
from bedside.core.ids import IdSource
from bedside.core.samples import Item, LinkChange, LinkState, Reading, Validity
from bedside.core.time import US_PER_S, LoopClock
from bedside.models.beats import BeatClassifier

pytestmark = pytest.mark.requirement("BLE-001", "BLE-003")

NOW_US = START_US
ZONE_S = 7200.0


def stamp(seconds_ago: float, zone_s: float = ZONE_S) -> Timestamp:
    now = spot.current_time(NOW_US - round(seconds_ago * US_PER_S), zone_s)
    return now.datetime


def heard(**changes: float | None) -> Heard:
    facts: dict[str, float | None] = {"since_subscribed_s": 1.0, "zone_s": ZONE_S, **changes}
    return Heard(now_us=NOW_US, **facts)  # type: ignore[arg-type]


def cuff(
    systolic: str = "128", diastolic: str = "79", *, unit: str = "mmHg", status: int | None = None,
    taken: Timestamp | None = None,
) -> bytes:  # fmt: skip
    return BloodPressure(
        systolic=Decimal(systolic), diastolic=Decimal(diastolic), map=Special.NAN, unit=unit,
        timestamp=stamp(10) if taken is None else taken, pulse_rate=Decimal(71), status=status,
    ).encode()  # fmt: skip


def one(found: tuple[Spot, ...], code: Code) -> Spot:
    return next(spot for spot in found if spot.code is code)


# ---------------------------------------------------------------- numbers


def test_a_cuff_gives_pressures_in_mmhg_and_the_pulse() -> None:
    found = spot.decode(blood_pressure.MEASUREMENT, cuff(), heard())
    assert [(s.code, s.value) for s in found] == [
        (Code.NIBP_SYSTOLIC, 128.0),
        (Code.NIBP_DIASTOLIC, 79.0),
        (Code.PULSE_RATE, 71.0),
    ]
    assert all(s.validity is Validity.GOOD and not s.stored and s.taken_us == NOW_US - 10 * US_PER_S for s in found)
    kpa = spot.decode(blood_pressure.MEASUREMENT, cuff("17.1", "10.5", unit="kPa"), heard())
    assert one(kpa, Code.NIBP_SYSTOLIC).value == pytest.approx(128.26, abs=0.01)


def test_a_pressure_taken_while_the_arm_moved_is_marked() -> None:
    found = spot.decode(blood_pressure.MEASUREMENT, cuff(status=0x0001), heard())
    assert {(s.validity, s.reason) for s in found} == {(Validity.QUESTIONABLE, "movement during the measurement")}


@pytest.mark.parametrize(("systolic", "diastolic"), [("79", "128"), ("80", "80")])
def test_a_systolic_below_the_diastolic_withholds_the_whole_measurement(systolic: str, diastolic: str) -> None:
    found = spot.decode(blood_pressure.MEASUREMENT, cuff(systolic, diastolic), heard())
    assert found and all(s.value is None and s.validity is Validity.REJECTED for s in found)


def test_thermometer_scale_meter_and_oximeter_in_our_units() -> None:
    warm = Temperature(temperature=Decimal("101.3"), unit="F", timestamp=stamp(5), type=6).encode()
    assert spot.decode(thermometer.TEMPERATURE, warm, heard())[0].value == pytest.approx(38.5)
    finger = Temperature(temperature=Decimal("31.0"), unit="C", timestamp=stamp(5), type=4).encode()
    assert spot.decode(thermometer.TEMPERATURE, finger, heard())[0].validity is Validity.QUESTIONABLE
    pounds = Weight(weight=Decimal("154.32"), unit="lb", timestamp=stamp(5)).encode()
    assert spot.decode(weight.WEIGHT, pounds, heard())[0].value == pytest.approx(70.0, abs=0.01)
    failed = Weight(weight=NoMeasurement.UNSUCCESSFUL, unit="kg", timestamp=stamp(5)).encode()
    assert spot.decode(weight.WEIGHT, failed, heard())[0].value is None
    sugar = Glucose(sequence=1, base_time=stamp(65), time_offset_min=1, concentration=Decimal("0.0054"), unit="mol/L")
    (found,) = spot.decode(glucose.MEASUREMENT, sugar.encode(), heard())
    assert found.value == pytest.approx(5.4) and found.taken_us == NOW_US - 5 * US_PER_S
    mass = Glucose(sequence=1, base_time=stamp(5), concentration=Decimal("0.00099"), unit="kg/L")
    assert spot.decode(glucose.MEASUREMENT, mass.encode(), heard())[0].value == pytest.approx(5.494, abs=0.01)
    pulse = SpotCheck(spo2=Decimal(97), pulse_rate=Decimal(64), timestamp=stamp(5)).encode()
    assert [s.value for s in spot.decode(plx.SPOT_CHECK, pulse, heard())] == [97.0, 64.0]
    cgm = CgmMeasurement(records=(CgmRecord(glucose_mgdl=Decimal(180), time_offset_min=600),)).encode()
    (found,) = spot.decode(glucose.CGM_MEASUREMENT, cgm, heard(since_subscribed_s=60.0))
    assert found.value == pytest.approx(9.99, abs=0.001)


@pytest.mark.parametrize(
    ("status", "reason"),
    [(0x0004, "not enough blood on the strip"), (0x0020, "above what the meter can measure"), (0x0400, "meter fault")],
)
def test_a_meter_in_trouble_gives_no_glucose(status: int, reason: str) -> None:
    packet = Glucose(
        sequence=1, base_time=stamp(5), concentration=Decimal("0.0333"), unit="mol/L", type=1, location=1, status=status
    )
    (found,) = spot.decode(glucose.MEASUREMENT, packet.encode(), heard())
    assert (found.value, found.reason) == (None, reason)


def test_control_solution_is_nobodys_glucose() -> None:
    packet = Glucose(sequence=1, base_time=stamp(5), concentration=Decimal("0.0054"), unit="mol/L", type=10, location=4)
    assert spot.decode(glucose.MEASUREMENT, packet.encode(), heard())[0].value is None


@given(st.sampled_from(spot.UUIDS), st.binary(max_size=40), st.floats(0, 1e4))
def test_any_bytes_give_numbers_that_a_body_can_have_or_a_decode_error(uuid: str, payload: bytes, since: float) -> None:
    try:
        found = spot.decode(uuid, payload, heard(since_subscribed_s=since))
    except DecodeError:
        return
    for s in found:
        assert s.code in FACTS and s.taken_us <= NOW_US
        assert (s.value is None) == (s.validity is Validity.REJECTED)
        assert s.validity is Validity.GOOD or s.reason
        assert s.value is None or 0.5 <= s.value <= 400


# ---------------------------------------------------------------- time


def test_an_old_measurement_keeps_its_true_time_and_is_stored() -> None:
    yesterday = 20 * 3600.0
    offset_s = -ZONE_S  # its clock shows the right local time
    (found, *_) = spot.decode(blood_pressure.MEASUREMENT, cuff(taken=stamp(yesterday)), heard(clock_offset_s=offset_s))
    assert found.stored and found.taken_us == NOW_US - round(yesterday * US_PER_S) and found.value == 128.0


def test_without_a_believable_clock_a_number_handed_over_at_once_is_withheld() -> None:
    for unbelievable in (stamp(3 * 3600), Timestamp(year=0, month=0, day=0, hour=1, minute=2, second=3)):
        found = spot.decode(blood_pressure.MEASUREMENT, cuff(taken=unbelievable), heard())
        assert all(s.value is None and s.reason == "time of the measurement not known" for s in found)
        later = spot.decode(blood_pressure.MEASUREMENT, cuff(taken=unbelievable), heard(since_subscribed_s=30.0))
        assert later[0].value == 128.0 and later[0].taken_us == NOW_US


def test_a_clock_that_this_link_set_is_believed_for_new_and_old_stamps() -> None:
    three_years = 3 * 365 * 86400.0
    clocks = heard(clock_offset_s=-ZONE_S, earlier_offset_s=three_years - ZONE_S, since_subscribed_s=2.0)
    new = spot.decode(blood_pressure.MEASUREMENT, cuff(taken=stamp(20)), clocks)
    assert new[0].taken_us == NOW_US - 20 * US_PER_S
    kept = spot.decode(blood_pressure.MEASUREMENT, cuff(taken=stamp(three_years + 3600)), clocks)
    assert kept[0].taken_us == NOW_US - 3600 * US_PER_S and kept[0].stored


@given(st.floats(-1e8, 1e8), st.floats(-50_000, 50_000))
def test_the_clock_offset_brings_any_clock_to_ours(ago_s: float, zone_s: float) -> None:
    shown = spot.current_time(NOW_US - round(ago_s * US_PER_S), zone_s)
    offset_s = spot.clock_offset_s(shown, NOW_US)
    assert offset_s is not None and abs(offset_s - (ago_s - round(zone_s))) < 0.01


# ---------------------------------------------------------------- over the air


def visited(
    script: Callable[[VirtualVisitor], Awaitable[None]], *, clock_ahead_s: float | None = 0.0, stays: bool = False
) -> tuple[VirtualVisitor, list[Item]]:
    """A cuff and a session of its own; what the session gave."""

    async def run() -> tuple[VirtualVisitor, list[Item]]:
        clock, air = LoopClock(asyncio.get_running_loop(), START_US), Air()
        radio = BumbleRadio(air)
        shown: Callable[[], CurrentTime] | None = None
        if clock_ahead_s is not None:
            ahead_s = clock_ahead_s

            def shown() -> CurrentTime:
                told = visitor.visits.clock_set
                error_s = 0.0 if told else ahead_s
                return spot.current_time(clock.now_us() + round(error_s * US_PER_S), ZONE_S)

        visitor = VirtualVisitor(
            air, name="Cuff", address="C0:00:00:00:02:01", service=blood_pressure.SERVICE,
            characteristic=blood_pressure.MEASUREMENT, clock=shown, stays=stays,
        )  # fmt: skip
        config = WearableConfig(
            id="cuff", patient="patient", name="Cuff", address="C0:00:00:00:02:01", spot=True, zone_s=lambda: ZONE_S
        )
        session = WearableSession(config, radio, clock, random.Random(3))
        items: list[Item] = []

        async def take() -> None:
            async for item in session.items():
                items.append(item)

        task = asyncio.create_task(take())
        await visitor.start()
        try:
            await script(visitor)
        finally:
            await session.close()
            await task
            await visitor.close()
            await radio.close()
            air.close()
        return visitor, items

    return on_virtual_time(run)


def taken_at(ago_s: float) -> bytes:
    now_us = START_US + round(asyncio.get_running_loop().time() * US_PER_S)
    shown = spot.current_time(now_us - round(ago_s * US_PER_S), ZONE_S).datetime
    return cuff(taken=shown)


def test_a_cuff_calls_hands_over_leaves_and_its_silence_is_no_loss() -> None:
    async def script(visitor: VirtualVisitor) -> None:
        for _ in range(3):
            await asyncio.sleep(1800)
            visitor.measure(taken_at(5))
        await asyncio.sleep(120)

    visitor, items = visited(script)
    assert visitor.visits.confirmed == visitor.visits.measured == visitor.visits.connections == 3
    pressures = [i for i in items if isinstance(i, Reading) and i.code is Code.NIBP_SYSTOLIC]
    assert [(p.value, p.validity, p.stored) for p in pressures] == [(128.0, Validity.GOOD, False)] * 3
    states = {i.state for i in items if isinstance(i, LinkChange)}
    assert LinkState.RESTING in states and LinkState.LOST not in states
    assert any(i.code is Code.BATTERY for i in items if isinstance(i, Reading))


def test_what_a_cuff_kept_while_the_box_was_away_comes_with_its_true_time() -> None:
    async def script(visitor: VirtualVisitor) -> None:
        for ago_s in (9 * 3600.0, 5 * 3600.0):
            visitor.measure(taken_at(ago_s), call=False)
        await asyncio.sleep(60)
        visitor.measure(taken_at(3))
        await asyncio.sleep(60)

    _, items = visited(script)
    pressures = [i for i in items if isinstance(i, Reading) and i.code is Code.NIBP_SYSTOLIC]
    ages_h = [round((START_US - p.time_us) / US_PER_S / 3600) for p in pressures]
    assert ages_h == [9, 5, 0] and [p.stored for p in pressures] == [True, True, False]


def test_a_wrong_clock_is_set_and_a_right_one_left_alone() -> None:
    async def script(visitor: VirtualVisitor) -> None:
        visitor.measure(taken_at(5))
        await asyncio.sleep(60)

    right, _ = visited(script)
    assert right.visits.clock_set == []
    wrong, items = visited(script, clock_ahead_s=-86400.0 * 400)
    assert len(wrong.visits.clock_set) == 1
    shown_s = spot.clock_offset_s(wrong.visits.clock_set[0], START_US)
    assert shown_s is not None and abs(shown_s + ZONE_S) < 60
    assert any(i.value == 128.0 for i in items if isinstance(i, Reading))


def test_a_measurement_during_a_long_stay_comes_at_once() -> None:
    async def script(visitor: VirtualVisitor) -> None:
        visitor.measure(taken_at(1))
        await asyncio.sleep(100)
        visitor.measure(taken_at(1))
        await asyncio.sleep(5)

    visitor, items = visited(script, stays=True)
    assert visitor.visits.connections == 1
    assert sum(isinstance(i, Reading) and i.code is Code.NIBP_SYSTOLIC for i in items) == 2


# ---------------------------------------------------------------- in the watch


def numerics_of(readings: list[Reading]) -> tuple[list[Numeric], list[Alarm]]:
    ids = IdSource(lambda: NOW_US, random.Random(1))
    watch = PatientWatch("patient", ids, BeatClassifier(None), False)
    events = [event for reading in readings for event in watch.feed(reading).events]
    events += watch.advance(NOW_US).events
    return [e for e in events if isinstance(e, Numeric)], [e for e in events if isinstance(e, Alarm)]


def saturation(value: float, ago_s: float, *, stored: bool) -> Reading:
    return Reading(
        wearable="oximeter", patient="patient", code=Code.SPO2, time_us=NOW_US - round(ago_s * US_PER_S),
        value=value, stored=stored,
    )  # fmt: skip


def test_a_stored_number_is_kept_but_raises_no_alarm_while_the_same_live_does() -> None:
    low = [saturation(70, 20 - second, stored=False) for second in range(20)]
    numerics, alarms = numerics_of(low)
    assert len(numerics) == 20 and any(alarm.kind == "desaturation" for alarm in alarms)
    kept = [saturation(70, 20 - second, stored=True) for second in range(20)]
    numerics, alarms = numerics_of(kept)
    assert len(numerics) == 20 and all(n.stored for n in numerics)
    assert {alarm.kind for alarm in alarms} <= {"stored_review"}


def test_a_stored_number_never_takes_the_place_of_a_newer_one() -> None:
    numerics, _ = numerics_of([saturation(97, 5, stored=False), saturation(88, 3600, stored=True)])
    assert [(n.value, n.stored) for n in numerics] == [(97.0, False), (88.0, True)]
    numerics, _ = numerics_of([saturation(97, 5, stored=False), saturation(88, 3600, stored=False)])
    assert [n.value for n in numerics] == [97.0]
