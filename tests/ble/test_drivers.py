"""Drivers: one contract for every wearable, those of others beside ours, and a second real protocol through it."""

from __future__ import annotations

import asyncio
import random
from importlib.metadata import EntryPoint

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.ble.ble_scenes import START_US, on_virtual_time
from tests.ble.movesense_sensor import MovesenseSensor

from bedside.ble.air import Air
from bedside.ble.drivers import movesense, polar, registry
from bedside.ble.drivers.api import API, Driver, Stream
from bedside.ble.radio import BumbleRadio
from bedside.ble.session import WearableConfig, WearableSession
from bedside.ble.virtual.night import Ledger
from bedside.core.errors import DecodeError
from bedside.core.samples import Block, Item, LinkChange, LinkState
from bedside.core.time import LoopClock

pytestmark = pytest.mark.requirement("BLE-012")

STREAM = Stream(rate_hz=250.0, mv_per_count=movesense.MV_PER_COUNT)
OTHER = Driver(
    api=API, name="Another", data="x", late_s=3.0, match=lambda _: False, prepare=polar.DRIVER.prepare,
    start=polar.DRIVER.start, stop=polar.DRIVER.stop, decode=polar.DRIVER.decode,
)  # fmt: skip
NEWER = Driver(
    api=API + 1, name="Newer", data="x", late_s=3.0, match=lambda _: True, prepare=polar.DRIVER.prepare,
    start=polar.DRIVER.start, stop=polar.DRIVER.stop, decode=polar.DRIVER.decode,
)  # fmt: skip
NO_DRIVER = "not a driver"


def entry(name: str, value: str) -> EntryPoint:
    return EntryPoint(name=name, value=value, group=registry.GROUP)


def test_drivers_of_others_come_beside_ours_and_a_bad_one_takes_nothing_from_them(
    caplog: pytest.LogCaptureFixture,
) -> None:
    found = registry.with_others(
        [
            entry("good", f"{__name__}:OTHER"),
            entry("newer", f"{__name__}:NEWER"),
            entry("word", f"{__name__}:NO_DRIVER"),
            entry("gone", "no.such.module:DRIVER"),
            entry("again", "bedside.ble.drivers.polar:DRIVER"),
        ]
    )
    assert [driver.name for driver in found] == ["Polar PMD", "Movesense GSP", "Another"]
    said = [record.message for record in caplog.records]
    assert said.count("driver refused") == 2 and said.count("driver not loaded") == 1


@given(
    counts=st.lists(st.integers(-(2**31), 2**31 - 1), min_size=1, max_size=32), timestamp_ms=st.integers(0, 2**32 - 1)
)
def test_movesense_samples_come_back_with_the_time_of_the_last_one(counts: list[int], timestamp_ms: int) -> None:
    packet = movesense.encode_frame(timestamp_ms, tuple(counts))
    frame = movesense.decode(packet, STREAM)
    assert frame is not None and frame.counts.dtype == np.int32 and frame.counts.tolist() == counts
    assert frame.last_ns == timestamp_ms * 1_000_000 + (len(counts) - 1) * 4_000_000
    for size in range(len(packet)):
        if size < 2 or (size - 6) % 4 or size <= 6:
            with pytest.raises(DecodeError):
                movesense.decode(packet[:size], STREAM)


@given(st.binary(max_size=80))
def test_any_bytes_give_a_frame_nothing_or_a_decode_error(payload: bytes) -> None:
    for driver in registry.OURS:
        try:
            frame = driver.decode(payload, STREAM)
        except DecodeError:
            continue
        assert frame is None or frame.counts.size > 0


class Run:
    """One Movesense sensor and its session."""

    def __init__(self, status: int = movesense.OK) -> None:
        self.clock = LoopClock(asyncio.get_running_loop(), START_US)
        self.air = Air()
        self.radio = BumbleRadio(self.air)
        self.sensor = MovesenseSensor(self.air, name="Movesense", address="C0:00:00:00:06:01", status=status)
        config = WearableConfig(
            id="w", patient="p", name="Movesense", advertised_name="Movesense", ecg_stream="ecg", ecg_lead="I"
        )
        self.session = WearableSession(config, self.radio, self.clock, random.Random(1))
        self.items: list[Item] = []
        self.ledger = Ledger()

    async def listen(self) -> None:
        async for item in self.session.items():
            self.items.append(item)
            self.ledger.take(item)

    async def play(self, seconds: float, out_s: tuple[float, float] | None = None) -> Run:
        await self.sensor.start()
        task = asyncio.create_task(self.listen())
        if out_s is not None:
            await asyncio.sleep(out_s[0])
            self.air.set_reachable(self.sensor.controller, False)
            await asyncio.sleep(out_s[1])
            self.air.set_reachable(self.sensor.controller, True)
        await asyncio.sleep(seconds)
        await self.session.close()
        await task
        await self.sensor.close()
        await self.radio.close()
        self.air.close()
        return self


def test_a_movesense_streams_through_the_same_session_and_its_gaps_balance() -> None:
    async def work() -> Run:
        run = Run()
        run.sensor.lose_every = 23
        return await run.play(60, out_s=(30, 20))

    run = on_virtual_time(work)
    assert not run.ledger.errors, run.ledger.errors
    assert run.ledger.declared.keys() == {"packets_lost", "link_lost"}
    assert run.ledger.received > 250 * 70
    block = next(item for item in run.items if isinstance(item, Block))
    assert block.stream.rate_hz == 250.0 and block.stream.label == "I"
    assert block.stream.unit_per_count == pytest.approx(0.000381469726563)
    assert run.sensor.commands[1] == b"\x01\x45/Meas/ECG/250"
    assert run.sensor.commands[-1] == b"\x02\x45", "a sensor left streaming drains its battery"
    ups = [item for item in run.items if isinstance(item, LinkChange) and item.state is LinkState.UP]
    assert len(ups) == 2


def test_a_refused_subscription_is_said_with_its_status() -> None:
    async def work() -> Run:
        return await Run(status=503).play(10)

    run = on_virtual_time(work)
    lost = [item.reason for item in run.items if isinstance(item, LinkChange) and item.state is LinkState.LOST]
    assert lost and "refused to start its ECG: status 503" in lost[0]
    assert not [item for item in run.items if isinstance(item, Block)]
