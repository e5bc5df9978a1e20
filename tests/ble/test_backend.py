"""The bleak backend: bleak's own client and scanner over a whole Bluetooth stack, on real and on virtual time."""

from __future__ import annotations

import asyncio
import functools
import gc
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

import pytest
from bleak import BleakClient, BleakScanner
from bleak.backends.characteristic import BleakGATTCharacteristic
from bleak.backends.device import BLEDevice
from bleak.exc import BleakError, BleakGATTProtocolError, BleakGATTProtocolErrorCode
from bumble import att
from bumble.core import UUID
from bumble.gatt import Characteristic
from tests.ble.ble_bodies import ReplayedBody

from bedside.ble import battery, device_information, heart_rate, pmd
from bedside.ble.air import Air
from bedside.ble.bumble_backend import BumbleClient, BumbleScanner, Central
from bedside.ble.virtual import VirtualWearable
from bedside.core.time import ScaledTimeLoop, VirtualTimeLoop

pytestmark = pytest.mark.requirement("BLE-003")

LOOPS: dict[str, Callable[[], asyncio.AbstractEventLoop]] = {
    "real": asyncio.SelectorEventLoop,
    "scaled": lambda: ScaledTimeLoop(20.0),
    "virtual": VirtualTimeLoop,
}


@dataclass
class Stage:
    """Two wearables and the gateway's radio."""

    central: Central
    air: Air
    wearables: list[VirtualWearable]

    def scan(self) -> dict[str, Any]:
        """What bleak's scanner hands on to the backend; its types know only its own backends' arguments."""
        return {"backend": BumbleScanner, "central": self.central}

    async def find(self, name: str, timeout_s: float = 10.0) -> BLEDevice:
        device = await BleakScanner.find_device_by_name(name, timeout=timeout_s, **self.scan())
        assert device is not None
        return device

    def client(self, device: BLEDevice, lost: list[float] | None = None, timeout_s: float = 5.0) -> BleakClient:
        def on_lost(_: BleakClient) -> None:
            if lost is not None:
                lost.append(asyncio.get_running_loop().time())

        return BleakClient(device, on_lost, timeout=timeout_s, backend=BumbleClient)


def act(work: Callable[[Stage], Awaitable[None]], loop: str = "virtual") -> None:
    async def run() -> None:
        unhandled: list[dict[str, Any]] = []
        asyncio.get_running_loop().set_exception_handler(lambda _, context: unhandled.append(context))
        air = Air(supervision_s=0.5)
        central = Central(air)
        wearables = [
            VirtualWearable(ReplayedBody(), air, name=f"Strap {number}", address=f"C0:00:00:00:02:{number:02X}")
            for number in range(2)
        ]
        for wearable in wearables:
            await wearable.start()
        try:
            await work(Stage(central, air, wearables))
        finally:
            for wearable in wearables:
                await wearable.close()
            await central.close()
            air.close()
        await asyncio.sleep(0.01)
        left = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
        assert not left, f"tasks left behind: {left}"
        gc.collect()
        assert not unhandled, f"not handled: {unhandled}"

    with asyncio.Runner(loop_factory=LOOPS[loop]) as runner:
        runner.run(run())


@pytest.mark.parametrize("loop", sorted(LOOPS))
def test_discover_connect_read_write_notify_and_disconnect(loop: str) -> None:
    async def work(stage: Stage) -> None:
        client = stage.client(await stage.find("Strap 0"))
        await client.connect()
        assert client.is_connected and client.mtu_size == 517
        services = {service.uuid for service in client.services}
        assert {heart_rate.SERVICE, pmd.SERVICE, battery.SERVICE, device_information.SERVICE} <= services
        assert await client.read_gatt_char(battery.LEVEL) == b"\x58"
        assert await client.read_gatt_char(device_information.SERIAL) == b"C00000000200"
        answers: asyncio.Queue[bytes] = asyncio.Queue()
        frames: asyncio.Queue[bytes] = asyncio.Queue()
        await client.start_notify(pmd.CONTROL_POINT, lambda _, data: answers.put_nowait(bytes(data)))
        await client.start_notify(pmd.DATA, lambda _, data: frames.put_nowait(bytes(data)))
        start = pmd.Command(op=pmd.Op.START, kind=pmd.Kind.ECG, settings={pmd.Setting.SAMPLE_RATE: (360,)})
        await client.write_gatt_char(pmd.CONTROL_POINT, start.encode(), response=True)
        assert pmd.decode_response(await asyncio.wait_for(answers.get(), 5)).status == pmd.Status.SUCCESS
        first = pmd.decode_ecg_frame(await asyncio.wait_for(frames.get(), 5))
        second = pmd.decode_ecg_frame(await asyncio.wait_for(frames.get(), 5))
        assert abs(second.timestamp_ns_2000 - first.timestamp_ns_2000 - second.uv.size * 1e9 / 360) < 1000
        await client.stop_notify(pmd.DATA)
        await client.disconnect()
        with pytest.raises(BleakError):
            await client.read_gatt_char(battery.LEVEL)

    act(work, loop)


def test_a_stream_runs_only_after_it_was_started_and_not_after_it_was_stopped() -> None:
    async def work(stage: Stage) -> None:
        client = stage.client(await stage.find("Strap 0"))
        await client.connect()
        frames: list[bytes] = []
        await client.start_notify(pmd.DATA, lambda _, data: frames.append(bytes(data)))
        await asyncio.sleep(5)
        assert not frames
        for op in (pmd.Op.START, pmd.Op.STOP):
            settings: pmd.Settings = {pmd.Setting.SAMPLE_RATE: (360,)} if op is pmd.Op.START else {}
            command = pmd.Command(op=op, kind=pmd.Kind.ECG, settings=settings)
            await client.write_gatt_char(pmd.CONTROL_POINT, command.encode(), response=True)
            count = len(frames)
            await asyncio.sleep(5)
            assert (len(frames) - count > 5) == (op is pmd.Op.START)
        await client.disconnect()

    act(work)


@pytest.mark.parametrize(
    ("command", "status"),
    [
        (b"\x09\x00", pmd.Status.INVALID_OP_CODE),
        (b"\x02\x01", pmd.Status.INVALID_MEASUREMENT_TYPE),
        (b"\x02\x00", pmd.Status.INVALID_SAMPLE_RATE),
        (b"\x02\x00\x00\x01\x82\x00", pmd.Status.INVALID_SAMPLE_RATE),
        (b"\x03\x00", pmd.Status.ALREADY_IN_STATE),
        (b"\x02", pmd.Status.INVALID_LENGTH),
        (b"\x02\x00\x00\x01\x68", pmd.Status.INVALID_LENGTH),
    ],
)
def test_a_virtual_wearable_refuses_what_a_strap_refuses(command: bytes, status: pmd.Status) -> None:
    async def work(stage: Stage) -> None:
        client = stage.client(await stage.find("Strap 0"))
        await client.connect()
        answers: asyncio.Queue[bytes] = asyncio.Queue()
        await client.start_notify(pmd.CONTROL_POINT, lambda _, data: answers.put_nowait(bytes(data)))
        await client.write_gatt_char(pmd.CONTROL_POINT, command, response=True)
        assert pmd.decode_response(await asyncio.wait_for(answers.get(), 5)).status == status
        assert not stage.wearables[0].streaming
        await client.disconnect()

    act(work)


def test_what_the_wearable_refuses_is_a_protocol_error() -> None:
    async def work(stage: Stage) -> None:
        def refuse(_: object) -> bytes:
            raise att.ATT_Error(att.ATT_INSUFFICIENT_ENCRYPTION_ERROR)

        for attribute in stage.wearables[0].device.gatt_server.attributes:
            if isinstance(attribute, Characteristic) and attribute.uuid == UUID("2A19"):
                attribute.value = att.AttributeValue(read=refuse)
        client = stage.client(await stage.find("Strap 0"))
        await client.connect()
        with pytest.raises(BleakGATTProtocolError) as refused:
            await client.read_gatt_char(battery.LEVEL)
        assert refused.value.code == BleakGATTProtocolErrorCode.INSUFFICIENT_ENCRYPTION
        with pytest.raises(BleakError):
            await client.start_notify(heart_rate.LOCATION, lambda *_: None)
        await client.disconnect()

    act(work)


def test_a_link_lost_under_a_request_is_a_bleak_error_and_told_once() -> None:
    """bumble cancels the future of such a request; taken for a cancellation, it would end the whole session."""

    async def work(stage: Stage) -> None:
        lost: list[float] = []
        client = stage.client(await stage.find("Strap 0"), lost)
        await client.connect()
        gone_s = asyncio.get_running_loop().time()
        stage.wearables[0].set_reachable(False)
        with pytest.raises(BleakError):
            await client.read_gatt_char(battery.LEVEL)
        assert not client.is_connected
        assert len(lost) == 1 and 0.4 < lost[0] - gone_s < 0.6
        stage.wearables[0].set_reachable(True)
        again = stage.client(await stage.find("Strap 0"))
        await again.connect()
        await again.disconnect()

    act(work)


@pytest.mark.parametrize("steps", range(8))
def test_an_abandoned_request_does_not_give_its_answer_to_the_next(steps: int) -> None:
    async def work(stage: Stage) -> None:
        client = stage.client(await stage.find("Strap 0"))
        await client.connect()
        abandoned = asyncio.create_task(client.read_gatt_char(battery.LEVEL))
        for _ in range(steps):
            await asyncio.sleep(0)
        abandoned.cancel()
        await asyncio.gather(abandoned, return_exceptions=True)
        assert await client.read_gatt_char(device_information.SERIAL) == b"C00000000200"
        await client.disconnect()

    act(work)


def test_a_disconnection_that_we_asked_for_is_not_told_as_lost() -> None:
    async def work(stage: Stage) -> None:
        lost: list[float] = []
        client = stage.client(await stage.find("Strap 0"), lost)
        await client.connect()
        await client.disconnect()
        await client.disconnect()
        await asyncio.sleep(2)
        assert not lost
        await stage.find("Strap 0")  # it advertises again

    act(work)


def test_connecting_to_a_wearable_that_went_away_ends_in_time_and_leaves_the_radio_usable() -> None:
    async def work(stage: Stage) -> None:
        gone = await stage.find("Strap 0")
        stage.wearables[0].set_reachable(False)
        begun_s = asyncio.get_running_loop().time()
        with pytest.raises(BleakError, match="did not answer"):
            await stage.client(gone, timeout_s=3.0).connect()
        assert 2.9 < asyncio.get_running_loop().time() - begun_s < 3.5
        other = stage.client(await stage.find("Strap 1"))
        await other.connect()
        await other.disconnect()

    act(work)


@pytest.mark.parametrize("delay_s", [0.0, 0.001, 0.1, 0.32, 0.33, 0.35])
def test_a_cancelled_connection_leaves_the_radio_usable(delay_s: float) -> None:
    async def work(stage: Stage) -> None:
        device = await stage.find("Strap 0")
        first = stage.client(device)
        attempt = asyncio.create_task(first.connect())
        await asyncio.sleep(delay_s)
        attempt.cancel()
        await asyncio.gather(attempt, return_exceptions=True)
        await first.disconnect()
        for name in ("Strap 0", "Strap 1"):
            client = stage.client(await stage.find(name))
            await client.connect()
            assert await client.read_gatt_char(battery.LEVEL) == b"\x58"
            await client.disconnect()

    act(work)


def test_two_clients_connect_at_once_and_hear_only_their_own_wearable() -> None:
    async def work(stage: Stage) -> None:
        devices = [await stage.find(f"Strap {number}") for number in range(2)]
        clients = [stage.client(device) for device in devices]
        await asyncio.gather(*(client.connect() for client in clients))
        serials = [bytes(await client.read_gatt_char(device_information.SERIAL)) for client in clients]
        assert serials == [b"C00000000200", b"C00000000201"]
        heard: list[list[bytearray]] = [[], []]
        for client, into in zip(clients, heard, strict=True):
            await client.start_notify(heart_rate.MEASUREMENT, functools.partial(_keep, into))
        stage.wearables[0].inject(heart_rate.MEASUREMENT, b"\x00\x11")
        await asyncio.sleep(0.5)
        assert b"\x00\x11" in heard[0] and b"\x00\x11" not in heard[1]
        for client in clients:
            await client.disconnect()

    act(work)


def _keep(into: list[bytearray], _: BleakGATTCharacteristic, data: bytearray) -> None:
    into.append(data)


def test_a_scanner_gives_only_the_services_it_was_asked_for() -> None:
    async def work(stage: Stage) -> None:
        for wanted, expected in ((heart_rate.SERVICE, 2), (battery.SERVICE, 0)):
            found = await BleakScanner.discover(2.0, service_uuids=[wanted], **stage.scan())
            assert len(found) == expected

    act(work)


def test_a_notification_longer_than_the_mtu_is_refused_and_not_cut() -> None:
    async def work(stage: Stage) -> None:
        client = stage.client(await stage.find("Strap 0"))
        await client.connect()
        await client.start_notify(pmd.DATA, lambda *_: None)
        with pytest.raises(ValueError, match="MTU"):
            stage.wearables[0].inject(pmd.DATA, bytes(515))
        await client.disconnect()

    act(work)
