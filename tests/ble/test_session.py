"""Sessions: nothing is lost in silence, no number is wrong, and a wearable's faults stay its own."""

from __future__ import annotations

import asyncio
import hashlib
import logging
import time
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.ble.ble_bodies import ReplayedBody
from tests.ble.ble_scenes import START_US, Scene, Strand, check_balance, make_scene, on_virtual_time, play

from bedside.ble import battery, heart_rate, intake, plx, pmd, timeline
from bedside.ble.drivers import polar
from bedside.ble.drivers.api import Stream
from bedside.ble.outbox import Outbox
from bedside.core.codes import Code, StreamKind
from bedside.core.physiology import RadioState
from bedside.core.samples import Block, Contact, Gap, Item, LinkState, Reading, StreamInfo, Validity
from bedside.core.time import ScaledTimeLoop

pytestmark = pytest.mark.requirement("BLE-002", "BLE-003")


def for_s(seconds: float) -> Any:
    async def script(_: Scene) -> None:
        await asyncio.sleep(seconds)

    return script


def ecg_contacts(strand: Strand) -> list[bool]:
    return [item.on_skin for item in strand.items if isinstance(item, Contact) and item.kind is StreamKind.ECG]


@pytest.mark.parametrize("rate_hz", [130.0, 360.0])
def test_a_session_carries_every_sample_with_its_time_and_lead(rate_hz: float) -> None:
    (strand,) = play([ReplayedBody(rate_hz=rate_hz)], for_s(60)).strands
    check_balance(strand)
    assert not strand.gaps
    info = strand.blocks[0].stream
    assert (info.id, info.label, info.rate_hz, info.unit, info.unit_per_count) == (
        "ecg-0",
        "MLII",
        rate_hz,
        "mV",
        0.001,
    )
    assert info.kind is StreamKind.ECG and not info.simulated
    for block in strand.blocks:
        assert block.counts.size / rate_hz < 0.6  # an alarm must not wait for a frame to fill
        assert abs(block.start_us - START_US - block.first_index / rate_hz * 1e6) < 5e6
    assert strand.blocks[0].values().dtype == float
    assert strand.wearable.ledger.ecg_streams_stopped == 1, "a strap left streaming drains its battery"
    assert [change.state for change in strand.links] == [
        LinkState.SEARCHING,
        LinkState.CONNECTING,
        LinkState.UP,
        LinkState.STOPPED,
    ]


def test_readings_of_a_healthy_body_come_each_second() -> None:
    (strand,) = play([ReplayedBody()], for_s(60)).strands
    assert {reading.value for reading in strand.readings(Code.SPO2)} == {97.0}
    assert {reading.value for reading in strand.readings(Code.PULSE_RATE)} == {72.0}
    assert {reading.value for reading in strand.readings(Code.BATTERY)} == {88.0}
    rates = [reading.value for reading in strand.readings(Code.HEART_RATE_DEVICE) if reading.value is not None]
    assert len(rates) > 50 and all(60 < rate < 160 for rate in rates)  # record 208 goes at about 105
    assert [item.on_skin for item in strand.items if isinstance(item, Contact) and item.kind is StreamKind.ECG] == [
        True
    ]


@pytest.mark.parametrize("seed", range(4))
def test_the_ledger_balances_to_the_sample_through_loss_and_silence(seed: int) -> None:
    def radio(at_s: float) -> RadioState:
        return RadioState(on=not (60 < at_s < 75 or 140 < at_s < 141), loss=0.05)

    scene = play([ReplayedBody(rate_hz=130.0, radio_at=radio), ReplayedBody(radio_at=radio)], for_s(240), seed=seed)
    for strand in scene.strands:
        check_balance(strand)
        assert {gap.cause for gap in strand.gaps} == {"packets_lost", "link_lost"}
        assert strand.wearable.ledger.ecg_samples_lost > 0
        assert strand.session.connections >= 2


def test_without_gap_detection_the_ledger_does_not_balance(monkeypatch: pytest.MonkeyPatch) -> None:
    """Negative control: the check above fails on a session that closes up over lost frames."""
    place = timeline.Timeline.place

    def blind(self: timeline.Timeline, **facts: Any) -> timeline.Placement | None:
        first = self.next_index
        placed = place(self, **facts)
        if placed is not None:
            self.next_index = first + facts["n_samples"]
            placed = timeline.Placement(first, placed.start_us, placed.uncertainty_us, None)
        return placed

    monkeypatch.setattr(timeline.Timeline, "place", blind)
    (strand,) = play([ReplayedBody(radio_at=lambda _: RadioState(loss=0.05))], for_s(60)).strands
    with pytest.raises(AssertionError):
        check_balance(strand)


def test_a_lost_link_is_told_found_again_and_its_gap_is_exact() -> None:
    async def script(scene: Scene) -> None:
        (strand,) = scene.strands
        await asyncio.sleep(20)
        strand.wearable.set_reachable(False)
        await asyncio.sleep(15)
        strand.wearable.set_reachable(True)
        await asyncio.sleep(20)

    (strand,) = play([ReplayedBody()], script).strands
    check_balance(strand)
    lost = next(change for change in strand.links if change.state is LinkState.LOST)
    up_again = [change for change in strand.links if change.state is LinkState.UP][1]
    assert (lost.time_us - START_US) / 1e6 < 20 + 3.5
    assert (up_again.time_us - START_US) / 1e6 < 35 + 3
    (gap,) = strand.gaps
    assert gap.cause == "link_lost"
    assert 14.5 * 360 < gap.n_samples < 20 * 360
    assert abs((gap.end_us - gap.start_us) - gap.n_samples / 360 * 1e6) < 100_000
    while_gone = [item for item in strand.items if isinstance(item, (Block, Reading)) and _inside(item, lost, up_again)]
    assert not while_gone


def _inside(item: Block | Reading, lost: Any, up: Any) -> bool:
    at_us = item.end_us if isinstance(item, Block) else item.time_us
    return bool(lost.time_us + 100_000 < at_us < up.time_us - 100_000)


def test_a_link_that_claims_to_be_up_without_data_is_ended_and_made_anew() -> None:
    """A zombie link: the radio does not notice for an hour; the data do."""

    async def script(scene: Scene) -> None:
        (strand,) = scene.strands
        await asyncio.sleep(20)
        strand.wearable.set_reachable(False)
        await asyncio.sleep(10)
        strand.wearable.set_reachable(True)
        strand.wearable.controller.le_connections.clear()  # the wearable itself has given the link up
        await strand.wearable.device.start_advertising()
        await asyncio.sleep(20)

    (strand,) = play([ReplayedBody()], script, supervision_s=3600.0).strands
    lost = next(change for change in strand.links if change.state is LinkState.LOST)
    assert lost.reason == "no ECG for 3 s although the link is up"
    assert 20 < (lost.time_us - START_US) / 1e6 < 24
    assert [change.state for change in strand.links].count(LinkState.UP) == 2
    assert strand.blocks[-1].end_us > START_US + 48_000_000


def test_an_ecg_stream_that_stops_is_restarted() -> None:
    async def script(scene: Scene) -> None:
        await asyncio.sleep(20)
        scene.strands[0].wearable.mute(pmd.DATA)
        await asyncio.sleep(20)

    (strand,) = play([ReplayedBody()], script).strands
    assert [change.state for change in strand.links].count(LinkState.UP) == 2
    assert strand.wearable.ledger.ecg_streams_started == 2
    check_balance(strand)


def test_oximetry_that_stops_is_withdrawn_and_asked_for_again_while_the_ecg_goes_on() -> None:
    async def script(scene: Scene) -> None:
        await asyncio.sleep(20)
        scene.strands[0].wearable.mute(plx.CONTINUOUS)
        await asyncio.sleep(20)

    (strand,) = play([ReplayedBody()], script).strands
    assert not strand.gaps
    assert [change.state for change in strand.links].count(LinkState.LOST) == 0
    values = [(reading.value, reading.reason) for reading in strand.readings(Code.SPO2)]
    assert values.count((None, "no oximetry from the wearable")) == 1
    assert values[-1] == (97.0, None)


def test_a_wearable_that_is_never_heard_is_told_once_and_found_when_it_comes() -> None:
    async def run() -> Scene:
        scene = make_scene([ReplayedBody()])
        scene.listen()
        await asyncio.sleep(120)
        await scene.strands[0].wearable.start()
        await asyncio.sleep(10)
        await scene.close()
        return scene

    (strand,) = on_virtual_time(run).strands
    states = [change.state for change in strand.links]
    assert states == ["searching", "lost", "connecting", "up", "stopped"]
    assert "not found within 20 s" in strand.links[1].reason
    assert len(strand.blocks) > 10


def test_a_drained_battery_is_told_before_the_link_goes() -> None:
    (strand,) = play([ReplayedBody(battery_at=lambda at_s: 3.0 - at_s / 20)], for_s(80)).strands
    levels = [reading.value for reading in strand.readings(Code.BATTERY)]
    assert levels == sorted(levels, key=lambda level: -(level or 0)) and levels[-1] == 0
    assert strand.links[-2].state in (LinkState.LOST, LinkState.SEARCHING)


def test_lead_off_is_contact_and_no_rate_and_never_zero_beats() -> None:
    (strand,) = play([ReplayedBody(contact_at=lambda at_s: not 20 < at_s < 40)], for_s(60)).strands
    assert ecg_contacts(strand) == [True, False, True]
    off = [reading for reading in strand.readings(Code.HEART_RATE_DEVICE) if reading.reason == "lead off"]
    assert len(off) >= 19 and {reading.value for reading in off} == {None}
    assert all(reading.value != 0 for reading in strand.readings(Code.HEART_RATE_DEVICE))


def test_an_oximeter_without_a_pulse_gives_no_number() -> None:
    (strand,) = play([ReplayedBody(spo2_at=lambda at_s: None if 20 < at_s < 40 else 95.0)], for_s(60)).strands
    values = {reading.value for reading in strand.readings(Code.SPO2)}
    assert values == {95.0, None}
    assert all(reading.validity is Validity.REJECTED for reading in strand.readings(Code.SPO2) if reading.value is None)


MALFORMED = {
    pmd.DATA: [
        b"",
        b"\x00",
        bytes(10),
        bytes(12),
        b"\x00" * 9 + b"\x80" + bytes(9),
        b"\x07" + bytes(20),
        b"\xff" * 500,
    ],
    heart_rate.MEASUREMENT: [b"", b"\x00", b"\x01\x48", b"\xe0\x48", b"\x00\x48\x00", b"\x10\x48\x01", b"\x10\x48"],
    plx.CONTINUOUS: [b"", bytes(4), bytes(6), b"\xe0" + bytes(4), b"\x1f" + bytes(10)],
    battery.LEVEL: [b"", b"\x65", b"\x50\x00"],
}


def test_malformed_packets_are_counted_refused_and_never_become_numbers(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)

    async def script(scene: Scene) -> None:
        wearable = scene.strands[0].wearable
        await asyncio.sleep(10)
        for uuid, payloads in MALFORMED.items():
            for payload in payloads:
                assert wearable.inject(uuid, payload)
                await asyncio.sleep(0.5)
        await asyncio.sleep(10)

    (strand,) = play([ReplayedBody()], script).strands
    assert not strand.gaps, "a malformed packet beside a whole stream costs no sample"
    check_balance(strand)
    assert strand.session.intake.counts.malformed == {uuid: len(payloads) for uuid, payloads in MALFORMED.items()}
    assert [change.state for change in strand.links].count(LinkState.UP) == 1
    assert {reading.value for reading in strand.readings(Code.SPO2)} == {97.0}
    assert {reading.value for reading in strand.readings(Code.BATTERY)} == {88.0}
    rates = {reading.value for reading in strand.readings(Code.HEART_RATE_DEVICE)} - {None}
    assert all(60 < rate < 160 for rate in rates if rate is not None)
    texts = " ".join(f"{record.getMessage()} {record.__dict__}" for record in caplog.records)
    assert "malformed packet" in texts
    assert "fffffffffffff" not in texts and "\\xff" not in texts


def test_a_frame_that_comes_malformed_is_a_gap_of_its_length_with_that_cause() -> None:
    async def script(scene: Scene) -> None:
        await asyncio.sleep(10)
        scene.strands[0].wearable.replace_next(pmd.DATA, bytes(11), b"\x00" * 9 + b"\x7f\x01\x02\x03")
        await asyncio.sleep(10)

    (strand,) = play([ReplayedBody(rate_hz=130.0)], script).strands
    check_balance(strand)
    assert [(gap.n_samples, gap.cause) for gap in strand.gaps] == [(146, "malformed_packet")]


def test_a_flood_ends_its_own_link_and_touches_nobody_else() -> None:
    sizes: list[int] = []

    async def script(scene: Scene) -> None:
        await asyncio.sleep(10)
        packet = heart_rate.HeartRate(heart_rate=200, contact=True).encode()
        scene.strands[0].wearable.flood(heart_rate.MEASUREMENT, packet, rate_hz=4000.0, duration_s=3.0)
        for _ in range(30):
            await asyncio.sleep(0.1)
            sizes.append(scene.strands[0].session.queue_length)
        await asyncio.sleep(20)

    flooding, neighbour = play([ReplayedBody(), ReplayedBody()], script).strands
    assert flooding.session.intake.counts.flooded > 1000
    assert max(sizes) < 600
    lost = next(change for change in flooding.links if change.state is LinkState.LOST)
    assert "sends too much" in lost.reason
    assert flooding.links[-2].state is LinkState.UP, "when the flood is over the wearable is back"
    check_balance(flooding)
    check_balance(neighbour)
    assert not neighbour.gaps
    assert [change.state for change in neighbour.links].count(LinkState.UP) == 1


def test_a_wearable_whose_clock_restarts_keeps_our_time_and_says_so() -> None:
    async def script(scene: Scene) -> None:
        await asyncio.sleep(20)
        scene.strands[0].wearable.restart_clock()
        await asyncio.sleep(20)

    (strand,) = play([ReplayedBody()], script).strands
    assert not strand.gaps, "no sample was lost: our own time says how long it was"
    times = [block.start_us for block in strand.blocks]
    assert times == sorted(times)
    assert abs(strand.blocks[-1].end_us - START_US - 40e6) < 1.5e6


def test_two_runs_with_one_seed_are_alike_to_the_byte() -> None:
    def once(seed: int) -> str:
        def radio(at_s: float) -> RadioState:
            return RadioState(on=not 30 < at_s < 40, loss=0.1)

        scene = play([ReplayedBody(radio_at=radio), ReplayedBody(rate_hz=130.0, radio_at=radio)], for_s(90), seed=seed)
        digest = hashlib.sha256()
        for strand in scene.strands:
            for item in strand.items:
                digest.update(repr(item).encode())
                if isinstance(item, Block):
                    digest.update(item.counts.tobytes())
        return digest.hexdigest()

    assert once(5) == once(5)
    assert once(5) != once(6)


@pytest.mark.parametrize("moment", [0.0, 0.001, 0.05, 0.2, 0.31, 0.33, 0.34, 0.4, 0.65, 0.7, 1.0, 5.0, 8.1, 9.0, 10.1])
def test_close_ends_cleanly_in_every_state_and_the_radio_stays_usable(moment: float) -> None:
    async def run() -> None:
        scene = make_scene([ReplayedBody(radio_at=lambda at_s: RadioState(on=not 6 < at_s < 10)), ReplayedBody()])
        first, second = scene.strands
        for strand in scene.strands:
            await strand.wearable.start()
        scene.strands = [first]
        scene.listen()
        await asyncio.sleep(moment)
        begun_s = asyncio.get_running_loop().time()
        await first.session.close()
        await first.session.close()
        assert asyncio.get_running_loop().time() - begun_s < 6.0
        assert first.task is not None
        await first.task
        assert not first.items or first.links[-1].state is LinkState.STOPPED
        scene.strands = [second]
        scene.listen()
        await asyncio.sleep(5)
        assert second.blocks, "another session cannot use the radio after a close"
        scene.strands = [first, second]
        await scene.close()

    on_virtual_time(run)


def test_a_session_may_be_closed_before_it_is_used() -> None:
    async def run() -> None:
        scene = make_scene([ReplayedBody()])
        await scene.strands[0].session.close()
        assert [item async for item in scene.strands[0].session.items()] == []
        await scene.close()

    on_virtual_time(run)


def test_leaving_the_items_early_closes_the_session() -> None:
    async def run() -> None:
        scene = make_scene([ReplayedBody()])
        await scene.strands[0].wearable.start()
        items = scene.strands[0].session.items()
        async for item in items:
            if isinstance(item, Block):
                break
        await items.aclose()
        assert scene.strands[0].session.state is LinkState.STOPPED
        await scene.close()

    on_virtual_time(run)


def test_a_stalled_consumer_costs_declared_samples_and_bounded_memory() -> None:
    async def run() -> None:
        scene = make_scene([ReplayedBody()])
        (strand,) = scene.strands
        await strand.wearable.start()
        items = strand.session.items()
        strand.items.append(await anext(items))
        await asyncio.sleep(600)
        assert strand.session.queue_length < 600

        async def rest() -> None:
            async for item in items:
                strand.items.append(item)

        strand.task = asyncio.create_task(rest())
        await asyncio.sleep(10)
        await scene.close()
        check_balance(strand)
        assert [gap.cause for gap in strand.gaps] == ["overflow"]
        assert strand.blocks[-1].end_us > START_US + 600_000_000

    on_virtual_time(run)


STREAM = StreamInfo(
    id="s", patient="p", wearable="w", kind=StreamKind.ECG, label="I", rate_hz=130.0, unit="mV", unit_per_count=0.001,
    simulated=True,
)  # fmt: skip


@settings(max_examples=200)
@given(
    packets=st.lists(
        st.tuples(
            st.sampled_from([pmd.DATA, heart_rate.MEASUREMENT, plx.CONTINUOUS, battery.LEVEL]),
            st.binary(max_size=40) | st.binary(max_size=20).map(lambda tail: bytes(10) + tail),
        ),
        max_size=40,
    )
)
def test_an_intake_takes_any_bytes_and_its_indices_never_go_back(packets: list[tuple[str, bytes]]) -> None:
    items: list[Item] = []
    taken = intake.Intake(wearable="w", patient="p", put=items.append)
    taken.open_stream(STREAM, 0, None)
    taken.follow(polar.DRIVER, Stream(rate_hz=STREAM.rate_hz, mv_per_count=0.001))
    taken.begin_link(0.0)
    for number, (uuid, payload) in enumerate(packets):
        taken.take(uuid, payload, now_us=number * 500_000, now_s=number / 2)
    expected = 0
    for item in items:
        if isinstance(item, (Block, Gap)):
            assert item.first_index == expected
            expected += item.n_samples if isinstance(item, Gap) else item.counts.size
        elif isinstance(item, Reading) and item.value is not None:
            limit = {Code.SPO2: 100, Code.BATTERY: 100, Code.PULSE_RATE: 350}.get(item.code, 0xFFFF)
            assert 0 <= item.value <= limit


def test_an_outbox_that_is_full_keeps_the_newest_state_and_one_gap() -> None:
    async def run() -> None:
        box = Outbox(items_max=2)
        for index in range(6):
            box.put(Gap(stream=STREAM, first_index=index, n_samples=1, start_us=index, end_us=index + 1, cause="x"))
        for on_skin in (True, False):
            box.put(Contact(wearable="w", patient="p", time_us=1, on_skin=on_skin))
        box.close()
        items = []
        while (item := await box.get()) is not None:
            items.append(item)
        gaps = [(item.first_index, item.n_samples) for item in items if isinstance(item, Gap)]
        assert gaps == [(0, 1), (1, 1), (2, 4)]
        assert [item.on_skin for item in items if isinstance(item, Contact)] == [False]

    on_virtual_time(run)


def test_a_box_that_stood_still_for_ten_seconds_declares_no_loss() -> None:
    async def run() -> Scene:
        scene = make_scene([ReplayedBody()])
        await scene.strands[0].wearable.start()
        scene.listen()
        await asyncio.sleep(10)
        time.sleep(0.5)  # noqa: ASYNC251 - the loop itself stands still: ten seconds of its time
        await asyncio.sleep(20)
        await scene.close()
        return scene

    with asyncio.Runner(loop_factory=lambda: ScaledTimeLoop(20.0)) as runner:
        (strand,) = runner.run(run()).strands
    assert not strand.gaps
    assert [change.state for change in strand.links].count(LinkState.LOST) == 0
    check_balance(strand, tail_s=30.0)
