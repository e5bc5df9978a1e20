"""What a wearable kept: fetched once, at its true time, never live, and erased only when it is durable here."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable
from decimal import Decimal
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.ble.ble_scenes import START_US, on_virtual_time

from bedside.alarms.watch import PatientWatch
from bedside.ble import glucose, plx, racp, spot
from bedside.ble.air import Air
from bedside.ble.back_fill import BackFill, Fetched
from bedside.ble.glucose import CgmMeasurement, CgmRecord, Glucose
from bedside.ble.memory import MEMORIES, Memory
from bedside.ble.racp import RecordAccess
from bedside.ble.radio import BumbleRadio
from bedside.ble.session import WearableConfig, WearableSession
from bedside.ble.virtual.meter import VirtualMeter
from bedside.ble.virtual.record_memory import RecordMemory
from bedside.core.api import PatientView
from bedside.core.codes import Code
from bedside.core.events import Alarm, Event, Finding, Numeric
from bedside.core.ids import IdSource
from bedside.core.ports import Patient as StoredPatient
from bedside.core.samples import Item, Reading, Remark, Validity
from bedside.core.time import US_PER_S, InlineWorker, LoopClock
from bedside.models.beats import BeatClassifier
from bedside.records.store import open_store
from bedside.settings import Home
from bedside.ward.recorder import Recorder
from bedside.ward.view import PatientBoard

pytestmark = pytest.mark.requirement("BLE-005")

GLUCOSE = MEMORIES[glucose.MEASUREMENT]
SENSOR = MEMORIES[glucose.CGM_MEASUREMENT]
OXIMETER = MEMORIES[plx.SPOT_CHECK]


def sugar(number: int, at_us: int, mmol_l: str = "5.4") -> bytes:
    return Glucose(
        sequence=number,
        base_time=spot.current_time(at_us, 0.0).datetime,
        concentration=Decimal(mmol_l) / 1000,
        unit="mol/L",
        type=1,
        location=1,
    ).encode()


class Loopback:
    """A control point without a radio: what is asked is answered at once by a `RecordMemory`, with scripted faults."""

    def __init__(self, memory: Memory, packets: list[bytes]) -> None:
        self.records = RecordMemory(memory.number)
        for packet in packets:
            self.records.keep(packet)
        self.lose: list[set[int]] = []  # for each report: the places that are lost
        self.silent = False
        self.back_fill = BackFill(memory, self.write)

    async def write(self, request: bytes) -> None:
        answer = self.records.obey(request)
        lost = self.lose.pop(0) if answer.records and self.lose else set()
        for place, record in enumerate(answer.records):
            if place not in lost:
                self.back_fill.on_record(record)
        if answer.response is not None and not (self.silent and answer.records):
            self.back_fill.on_answer(answer.response.encode())


def fetch(loop: Loopback, after: int | None) -> Fetched:
    return on_virtual_time(lambda: loop.back_fill.fetch(after))


# ---------------------------------------------------------------- count, fetch, compare


@settings(max_examples=20, deadline=None)
@given(
    numbers=st.lists(st.integers(0, 60), max_size=30, unique=True).map(sorted),
    after=st.none() | st.integers(0, 60),
    lost=st.lists(st.sets(st.integers(0, 30)), max_size=4),
)
def test_a_fetch_is_whole_or_says_that_it_is_not(numbers: list[int], after: int | None, lost: list[set[int]]) -> None:
    packets = [sugar(number, START_US - 10_000_000_000 + number) for number in numbers]
    loop = Loopback(GLUCOSE, packets)
    loop.lose = [set(one) for one in lost]
    fetched = fetch(loop, after)
    wanted = [one for one, number in zip(packets, numbers, strict=True) if after is None or number > after]
    if not wanted and numbers and after is not None and fetched.restarted:
        assert numbers[-1] < after
        wanted = packets
    assert set(fetched.packets) <= set(wanted) and len(set(fetched.packets)) == len(fetched.packets)
    if fetched.whole:
        assert set(fetched.packets) == set(wanted)
    else:
        assert len(fetched.packets) < fetched.counted


def test_a_lost_record_is_asked_for_again() -> None:
    loop = Loopback(GLUCOSE, [sugar(number, START_US) for number in range(5)])
    loop.lose = [{1, 3}]
    fetched = fetch(loop, None)
    assert fetched.whole and len(fetched.packets) == 5 and fetched.last == 4


def test_a_report_that_falls_silent_is_ended_and_not_called_whole() -> None:
    loop = Loopback(GLUCOSE, [sugar(number, START_US) for number in range(5)])
    loop.silent = True
    fetched = fetch(loop, None)
    assert not fetched.whole and len(fetched.packets) == 5


def test_a_memory_that_began_anew_is_fetched_from_its_beginning() -> None:
    loop = Loopback(GLUCOSE, [sugar(number, START_US + number) for number in range(3)])
    fetched = fetch(loop, 250)
    assert fetched.restarted and fetched.whole and len(fetched.packets) == 3
    assert [one.hex() for one in fetched.packets] == [one.hex() for one in loop.records.packets]
    assert fetched.last == 2


def test_erasing_names_what_was_fetched_and_leaves_what_came_meanwhile() -> None:
    loop = Loopback(GLUCOSE, [sugar(number, START_US) for number in range(3)])

    async def run() -> bool:
        fetched = await loop.back_fill.fetch(None)
        loop.records.keep(sugar(3, START_US))
        return await loop.back_fill.erase(fetched)

    assert on_virtual_time(run)
    assert [glucose.decode_glucose(one).sequence for one in loop.records.packets] == [3]


def test_an_oximeter_that_measured_meanwhile_is_not_erased() -> None:
    def check(second: int) -> bytes:
        stamp = spot.current_time(START_US + second * US_PER_S, 0.0).datetime
        return plx.SpotCheck(spo2=Decimal(97), pulse_rate=Decimal(60), timestamp=stamp).encode()

    loop = Loopback(OXIMETER, [check(0), check(1)])

    async def run() -> tuple[bool, bool]:
        fetched = await loop.back_fill.fetch(None)
        loop.records.keep(check(2))
        refused = await loop.back_fill.erase(fetched)
        return refused, await loop.back_fill.erase(await loop.back_fill.fetch(None))

    assert on_virtual_time(run) == (False, True)
    assert len(loop.records.erased) == 3


# ---------------------------------------------------------------- over the air, into items


class Patient:
    """A session of one meter, what it gave, and a store that can be asked whether it is durable."""

    def __init__(self, memory: Memory, *, erase: bool = False, after: dict[str, int] | None = None) -> None:
        self.clock = LoopClock(asyncio.get_running_loop(), START_US)
        self.air = Air()
        self.radio = BumbleRadio(self.air)
        self.on_disk: int = 0
        self.disk_works = True
        self.items: list[Item] = []
        self.meter = VirtualMeter(
            self.air,
            memory,
            name="Meter",
            address="C0:00:00:00:03:01",
            clock=lambda: spot.current_time(self.clock.now_us(), 0.0),
            minute=(lambda: 600) if memory is SENSOR else None,
        )
        config = WearableConfig(
            id="meter", patient="p", name="Meter", advertised_name="Meter", spot=True, erase_stored=erase,
            stored_after=after or {}, durable=self.durable,
        )  # fmt: skip
        self.session = WearableSession(config, self.radio, self.clock, random.Random(4))
        self.task: asyncio.Task[None] | None = None

    async def durable(self) -> bool:
        if self.disk_works:
            self.on_disk = len(self.items)
        return self.disk_works

    async def listen(self) -> None:
        async for item in self.session.items():
            self.items.append(item)

    async def run(self, script: Callable[[Patient], Awaitable[None]]) -> Patient:
        await self.meter.start()
        self.task = asyncio.create_task(self.listen())
        try:
            await script(self)
        finally:
            await self.session.close()
            await self.task
            await self.meter.close()
            await self.radio.close()
            self.air.close()
        return self

    @property
    def numbers(self) -> list[Reading]:
        return [item for item in self.items if isinstance(item, Reading) and item.code is Code.GLUCOSE]

    @property
    def remarks(self) -> list[Remark]:
        return [item for item in self.items if isinstance(item, Remark) and item.kind == "back_fill"]


def play(
    script: Callable[[Patient], Awaitable[None]], memory: Memory = GLUCOSE, *, erase: bool = False,
    after: dict[str, int] | None = None,
) -> Patient:  # fmt: skip
    async def run() -> Patient:
        return await Patient(memory, erase=erase, after=after).run(script)

    return on_virtual_time(run)


def hours_ago(hours: float) -> int:
    return START_US - round(hours * 3600 * US_PER_S)


def test_a_meters_memory_is_fetched_at_its_true_time_and_marked_as_stored() -> None:
    async def script(patient: Patient) -> None:
        for number in range(6):
            patient.meter.measure(sugar(number, hours_ago(6 - number)))
        await asyncio.sleep(20)

    patient = play(script)
    assert [one.value for one in patient.numbers] == [5.4] * 6
    assert all(one.stored and one.validity is Validity.GOOD for one in patient.numbers)
    for number, one in enumerate(patient.numbers):
        assert abs(one.time_us - hours_ago(6 - number)) <= 2 * US_PER_S
    (remark,) = patient.remarks
    assert (remark.evidence["counted"], remark.evidence["fetched"], remark.evidence["last"]) == (6, 6, 5)
    assert remark.evidence["whole"] is True and remark.evidence["erased"] is False
    assert len(patient.meter.records.packets) == 6, "nobody said that it may be erased"


def test_links_that_break_give_each_record_once() -> None:
    async def script(patient: Patient) -> None:
        for number in range(150):
            patient.meter.measure(sugar(number, hours_ago(200 - number)))
        patient.meter.break_off_after = 70
        await asyncio.sleep(60)
        for number in range(150, 160):
            patient.meter.measure(sugar(number, hours_ago(200 - number)))
        await patient.meter.leave()
        await asyncio.sleep(30)
        await patient.meter.leave()
        await asyncio.sleep(30)

    patient = play(script)
    times = [one.time_us // (3600 * US_PER_S) for one in patient.numbers]
    assert len(times) == len(set(times)) == 160
    assert patient.meter.connections >= 3


def test_a_restart_of_the_box_goes_on_after_the_last_portion_that_is_on_disk() -> None:
    async def script(patient: Patient) -> None:
        for number in range(150):
            patient.meter.measure(sugar(number, hours_ago(200 - number)))
        await asyncio.sleep(30)

    first = play(script)
    # the batch that held the second remark is the last one on disk
    cut = [i for i, item in enumerate(first.items) if isinstance(item, Remark)][1]
    on_disk = first.items[: cut + 1]
    last = first.remarks[1].evidence["last"]
    assert isinstance(last, int)
    second = play(script, after={glucose.MEASUREMENT: last})
    kept = [item for item in [*on_disk, *second.items] if isinstance(item, Reading) and item.code is Code.GLUCOSE]
    assert len(kept) == 150 and len({one.time_us // (3600 * US_PER_S) for one in kept}) == 150


@pytest.mark.parametrize("disk_works", [True, False])
def test_erased_only_when_durable(disk_works: bool) -> None:
    async def script(patient: Patient) -> None:
        patient.disk_works = disk_works
        for number in range(5):
            patient.meter.measure(sugar(number, hours_ago(5 - number)))
        await asyncio.sleep(30)

    patient = play(script, erase=True)
    assert len(patient.meter.records.erased) == (5 if disk_works else 0)
    if disk_works:
        assert patient.on_disk >= 5
        assert patient.remarks[-1].evidence["erased"] is True


def test_records_that_nobody_can_date_are_withheld_and_never_erased() -> None:
    async def script(patient: Patient) -> None:
        packet = bytearray(sugar(1, hours_ago(3)))
        packet[3:5] = b"\0\0"  # the year is not known
        patient.meter.measure(bytes(packet))
        patient.meter.measure(sugar(2, hours_ago(2)))
        await asyncio.sleep(30)

    patient = play(script, erase=True)
    assert [one.value for one in patient.numbers] == [None, 5.4]
    assert not patient.meter.records.erased


def test_a_sensor_is_dated_by_its_minutes_and_what_comes_by_itself_is_not_fetched_again() -> None:
    def record(minute: int) -> bytes:
        return CgmMeasurement(records=(CgmRecord(glucose_mgdl=Decimal(120), time_offset_min=minute),)).encode()

    async def script(patient: Patient) -> None:
        for minute in (300, 305, 310):
            patient.meter.measure(record(minute))
        await asyncio.sleep(20)
        patient.meter.measure(record(600), tell=True)
        await asyncio.sleep(5)
        await patient.meter.leave()
        await asyncio.sleep(30)

    patient = play(script, SENSOR)
    assert len(patient.numbers) == 4
    assert [one.stored for one in patient.numbers] == [True, True, True, False]
    for one, ago_min in zip(patient.numbers, (300, 295, 290), strict=False):
        assert abs((START_US - one.time_us) / 60e6 - ago_min) < 1


def test_a_wearable_that_refuses_its_memory_keeps_its_live_numbers() -> None:
    async def script(patient: Patient) -> None:
        refusal = RecordAccess(op=racp.Op.RESPONSE, request_op=4, code=2)
        patient.meter.records.obey = lambda _: type("A", (), {"records": [], "response": refusal})()  # type: ignore
        await asyncio.sleep(20)
        patient.meter.measure(sugar(9, patient.clock.now_us()), tell=True)
        await asyncio.sleep(5)

    patient = play(script)
    assert [one.value for one in patient.numbers] == [5.4]
    assert "failed" in patient.remarks[0].evidence


# ---------------------------------------------------------------- to the records, the alarms and the screen


def through_the_ward(items: list[Item], home: Path) -> tuple[list[Event], list[Event], PatientView]:
    """All items through watch and recorder into a store: events that were given, events on disk, and the tile."""
    patient = StoredPatient(id="p", name="A. Person", bed="1", simulated=True, wearables=("meter",))
    store = open_store(Home(home), now_us=lambda: START_US)
    store.put_patient(patient)
    board = PatientBoard(patient, {"meter": "Meter"}, {})
    watch = PatientWatch("p", IdSource(lambda: START_US), BeatClassifier(None), simulated=True)
    recorder = Recorder(store, InlineWorker(), lambda _: None)
    given: list[Event] = []
    for item in items:
        output = watch.feed(item)
        given += output.events
        for event in output.events:
            recorder.keep(event)
            board.event(event)
    given += watch.advance(START_US + 30 * US_PER_S).events

    async def write() -> bool:
        return await recorder.flush() and await recorder.flush()

    assert asyncio.run(write())
    kept = store.events("p", 0, 2**62)
    view = board.view(watch.open(), START_US + 30 * US_PER_S, None)
    store.close()
    return given, kept, view


@pytest.mark.parametrize("live", [False, True])
def test_a_low_glucose_of_the_night_is_reviewed_and_not_alarmed_as_live(live: bool, tmp_path: Path) -> None:
    async def script(patient: Patient) -> None:
        for number, mmol_l in enumerate(("5.4", "2.4", "2.1", "5.0")):
            patient.meter.measure(sugar(number, START_US - 5_000_000 if live else hours_ago(4 - number), mmol_l))
        await asyncio.sleep(20)

    given, kept, view = through_the_ward(play(script).items, tmp_path)
    alarms = {event.kind: event for event in given if isinstance(event, Alarm)}
    if live:  # the negative control: the same numbers, just taken
        assert "glucose" in alarms and "stored_review" not in alarms
        return
    assert "glucose" not in alarms
    review = alarms["stored_review"]
    assert review.priority == "low" and abs(review.start_us - hours_ago(2)) <= 2 * US_PER_S
    assert "2.1 mmol/L" in review.text and "(2 outside the limits)" in review.text
    on_disk = [event for event in kept if isinstance(event, Numeric) and event.code is Code.GLUCOSE]
    assert [event.value for event in on_disk] == [5.4, 2.4, 2.1, 5.0] and all(event.stored for event in on_disk)
    (back_fill,) = [event for event in kept if isinstance(event, Finding) and event.kind == "back_fill"]
    assert back_fill.evidence["last"] == 3 and back_fill.evidence["whole"] is True
    shown = next(one for one in view["numerics"] if one["code"] == Code.GLUCOSE)
    assert shown["value"] == 5.0 and shown.get("stored") is True
    assert [alarm["kind"] for alarm in view["alarms"]] == ["stored_review"], "it stays until somebody has seen it"
