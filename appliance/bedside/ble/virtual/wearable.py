"""A chest strap with oximeter that measures a `Physiology` and serves it over GATT, as Polar's H10 and PLXS do.

It streams ECG only after the control point was told to, at its own rate and with its own clock, and counts what it
sends. Faults: out of range or off and lost notifications (the body's `radio`), a drained battery, packets that are
not what they should be, floods, a clock that restarts. Time is the event loop's; randomness is seeded.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import math
import random
from collections import deque
from collections.abc import Coroutine
from dataclasses import dataclass, field
from decimal import Decimal

from bumble import core, hci
from bumble.device import Connection

from bedside.ble import battery, device_information, heart_rate, plx, pmd
from bedside.ble.air import Air, make_device
from bedside.ble.ieee11073 import Special
from bedside.ble.virtual.gatt import GattTable, advertising_data
from bedside.ble.virtual.mischief import Carrier, Mischief
from bedside.core.errors import DecodeError
from bedside.core.physiology import Physiology

logger = logging.getLogger(__name__)

ADVERTISING_MS = 200.0
FRAME_S_MAX = 0.5616  # 73 samples at 130 Hz, as an H10 sends them
BEATS_KEPT = 8
BATTERY_NOTIFY_S = 60.0
RADIO_POLL_S = 0.25
CLOCK_2026_NS = 820_454_400_000_000_000
"""What the wearable's clock shows when its body begins: 2026-01-01, in ns since 2000."""


@dataclass(slots=True)
class Ledger:
    """What the wearable did, by its own count. ECG in samples, the rest in notifications."""

    ecg_samples_sent: int = 0  # handed to the radio, lost ones included
    ecg_samples_lost: int = 0  # of these: lost on purpose (`RadioState.loss`, or replaced by a malformed packet)
    ecg_samples_skipped: int = 0  # passed between two streams, while nobody was listening
    ecg_streams_started: int = 0
    ecg_streams_stopped: int = 0  # on command
    notifications_sent: dict[str, int] = field(default_factory=dict)
    notifications_lost: dict[str, int] = field(default_factory=dict)
    connections: int = 0


class VirtualWearable:
    """One wearable on `air`. Call `start` inside the running loop, `close` at the end.

    `address` is a random static Bluetooth address; with it, `seed` and a virtual-time loop a run repeats to the
    byte. The body begins at loop time `origin_s` (now, when None).
    """

    def __init__(
        self,
        physiology: Physiology,
        air: Air,
        *,
        name: str,
        address: str,
        seed: int = 0,
        origin_s: float | None = None,
        clock_ns_2000: int = CLOCK_2026_NS,
        frame_samples: int | None = None,
    ) -> None:
        self.physiology = physiology
        self.name = name
        self.address = address
        self.ledger = Ledger()
        self.rate_hz = physiology.ecg_rate_hz
        self._air = air
        self._random = random.Random(seed)  # noqa: S311 - a scenario's dice, repeated by its seed
        self._origin_s = origin_s
        self._clock_ns = clock_ns_2000
        self._clock_restarted_s = 0.0
        frame = frame_samples or max(1, min(pmd.ECG_SAMPLES_MAX, math.floor(FRAME_S_MAX * self.rate_hz)))
        self._full_frame = self._frame_samples = frame
        self._muted: set[str] = set()
        self._replacements: dict[str, deque[bytes]] = {}
        self._task: asyncio.Task[None] | None = None
        self._jobs: set[asyncio.Task[None]] = set()
        self._streaming = False
        self._next_index = 0  # of the body's ECG samples: the first of the next frame
        self._beats_s: deque[float] = deque(maxlen=BEATS_KEPT + 1)
        self._beats_until_s = 0.0
        self._told_battery: tuple[int, float] | None = None
        self._reachable = True
        has_oximeter = physiology.spo2_pct(0.0) is not None
        self.device, self.controller = make_device(air, name=name, address=address)
        self._table = GattTable(
            self.device,
            lead=physiology.lead,
            has_oximeter=has_oximeter,
            battery_level=lambda: battery.BatteryLevel(battery_pct=self._battery_pct()).encode(),
            features=lambda: pmd.Features(kinds=frozenset({pmd.Kind.ECG})).encode(),
            command=self._on_command,
            information={
                device_information.MANUFACTURER: "Bedside (virtual)",
                device_information.MODEL: "Virtual wearable",
                device_information.SERIAL: address.replace(":", ""),
                device_information.FIRMWARE: "1",
            },
        )
        self._carrier = Carrier(self._table.notify, self._random)
        self._refusing = False
        self._has_oximeter = has_oximeter
        services = [heart_rate.SERVICE] + ([plx.SERVICE] if has_oximeter else [])
        self.device.advertising_data = advertising_data(name, services)
        self.device.advertising_interval_min = self.device.advertising_interval_max = ADVERTISING_MS
        self.device.on(self.device.EVENT_CONNECTION, self._on_connection)
        for uuid, characteristic in self._table.by_uuid.items():
            characteristic.on(characteristic.EVENT_SUBSCRIPTION, lambda *_, uuid=uuid: self.mute(uuid, False))

    async def start(self) -> None:
        """Switch on: advertise, and measure."""
        if self._task is not None:
            return
        if self._origin_s is None:
            self._origin_s = self._loop_s()
        await self.device.power_on()
        await self.device.start_advertising()
        self._task = asyncio.create_task(self._measure(), name=f"virtual wearable {self.name}")
        self._task.add_done_callback(self._on_ended)

    def _on_ended(self, task: asyncio.Task[None]) -> None:
        if not task.cancelled() and (error := task.exception()) is not None:
            logger.error("virtual wearable failed", extra={"wearable": self.name}, exc_info=error)

    async def close(self) -> None:
        """Switch off for good. Safe to call twice, and before `start`."""
        tasks = [task for task in (self._task, *self._jobs) if task is not None]
        self._task = None
        self._carrier.lose()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        if self.device.powered_on:
            with contextlib.suppress(core.BaseBumbleError, hci.HCI_Error):
                await self.device.stop_advertising()
            await self.device.power_off()
        self._air.remove_controller(self.controller)

    @property
    def at_s(self) -> float:
        """Seconds since the body's beginning."""
        return self._loop_s() - (self._origin_s or 0.0)

    @property
    def streaming(self) -> bool:
        """Does the ECG stream run?"""
        return self._streaming

    def inject(self, uuid: str, payload: bytes) -> bool:
        """Fault: send these bytes as a notification of `uuid` now; False when nobody is subscribed."""
        return self._table.notify(uuid, payload)

    def replace_next(self, uuid: str, *payloads: bytes) -> None:
        """Fault: these bytes take the place of the next notifications of `uuid`."""
        self._replacements.setdefault(uuid, deque()).extend(payloads)

    def mute(self, uuid: str, muted: bool = True) -> None:
        """Fault: the wearable stops sending `uuid`, and says nothing of it, until the next subscription to it."""
        if muted:
            self._muted.add(uuid)
        else:
            self._muted.discard(uuid)

    def flood(self, uuid: str, payload: bytes, *, rate_hz: float, duration_s: float) -> None:
        """Fault: send `payload` `rate_hz` times a second for `duration_s`, beside all else."""

        async def run() -> None:
            every_s = 0.01
            sent, begin_s = 0, self._loop_s()
            while (elapsed_s := self._loop_s() - begin_s) < duration_s:
                while sent < elapsed_s * rate_hz:
                    self._table.notify(uuid, payload)
                    sent += 1
                await asyncio.sleep(every_s)

        self._spawn(run())

    def restart_clock(self) -> None:
        """Fault: the wearable's clock restarts at 2019-01-01, as an H10's does when it was off the strap."""
        self._clock_ns = pmd.CLOCK_UNSET_NS
        self._clock_restarted_s = self.at_s

    @property
    def mischief(self) -> Mischief:
        """Fault: what happens to notifications on their way; may be changed at any time."""
        return self._carrier.mischief

    def refuse(self, refusing: bool) -> None:
        """Fault: it ends every link at once, as a wearable does that has lost its bond."""
        self._refusing = refusing
        if refusing:
            for connection in tuple(self.device.connections.values()):
                self._spawn(self._turn_away(connection))

    async def _turn_away(self, connection: Connection) -> None:
        with contextlib.suppress(core.BaseBumbleError, hci.HCI_Error):
            await connection.disconnect()

    def set_reachable(self, reachable: bool) -> None:
        """Fault: out of range, or back; the body's own `radio` counts too."""
        self._reachable = reachable
        self._apply_radio()

    def _spawn(self, work: Coroutine[None, None, None]) -> None:
        job = asyncio.create_task(work)
        self._jobs.add(job)
        job.add_done_callback(self._jobs.discard)

    @staticmethod
    def _loop_s() -> float:
        return asyncio.get_running_loop().time()

    def _battery_pct(self) -> int:
        return max(0, min(100, math.floor(self.physiology.battery_pct(self.at_s))))

    def _apply_radio(self) -> None:
        on = self._reachable and self.physiology.radio(self.at_s).on and self.physiology.battery_pct(self.at_s) > 0
        if on != self._air.reachable(self.controller):
            self._air.set_reachable(self.controller, on)

    async def _measure(self) -> None:
        """The wearable's life: frames when they are full, the rest once a second, the radio four times a second."""
        second = math.floor(self.at_s) + 1
        poll_s = self.at_s
        while True:
            frame_s = (self._next_index + self._frame_samples) / self.rate_hz if self._streaming else math.inf
            due_s = min(frame_s, float(second), poll_s)
            delay_s = due_s - self.at_s
            if delay_s > 1e-9:
                await asyncio.sleep(delay_s)
            else:
                await asyncio.sleep(0)  # late: catch up, but let others run
            now_s = self.at_s
            if poll_s <= now_s + 1e-9:
                self._apply_radio()
                poll_s = max(poll_s + RADIO_POLL_S, now_s)
            if self._streaming and frame_s <= now_s + 1e-9:
                self._send_ecg()
            if second <= now_s + 1e-9:
                self._each_second(float(second))
                second = max(second + 1, math.floor(now_s))

    def _send_ecg(self) -> None:
        first, count = self._next_index, self._frame_samples
        self._next_index += count
        frame = pmd.EcgFrame(
            timestamp_ns_2000=self._device_ns((first + count - 1) / self.rate_hz),
            uv=self.physiology.ecg_uv(first, count),
        )
        self.ledger.ecg_samples_sent += count
        if not self._send(pmd.DATA, frame.encode()):
            self.ledger.ecg_samples_lost += count

    def _device_ns(self, at_s: float) -> int:
        return self._clock_ns + round((at_s - self._clock_restarted_s) * 1e9)

    def _each_second(self, at_s: float) -> None:
        self._send_heart_rate(at_s)
        if self._has_oximeter:
            self._send_oximetry(at_s)
        level = self._battery_pct()
        told = self._told_battery
        if (told is None or told[0] != level or at_s - told[1] >= BATTERY_NOTIFY_S) and self._send(
            battery.LEVEL, battery.BatteryLevel(battery_pct=level).encode()
        ):
            self._told_battery = (level, at_s)

    def _send_heart_rate(self, at_s: float) -> None:
        contact = self.physiology.contact(at_s)
        new = self.physiology.beats_s(self._beats_until_s, at_s) if contact else ()
        self._beats_until_s = at_s
        rr: list[int] = []
        if not contact:
            self._beats_s.clear()
        for beat_s in new:
            if self._beats_s:
                rr.append(min(0xFFFF, round((beat_s - self._beats_s[-1]) * 1024)))
            self._beats_s.append(beat_s)
        while self._beats_s and self._beats_s[0] < at_s - 10.0:
            self._beats_s.popleft()
        span_s = self._beats_s[-1] - self._beats_s[0] if len(self._beats_s) > 1 else 0.0
        rate = round(60.0 * (len(self._beats_s) - 1) / span_s) if span_s > 0 else 0
        value = heart_rate.HeartRate(heart_rate=min(rate, 0xFFFF), contact=contact, rr_1024=tuple(rr))
        self._send(heart_rate.MEASUREMENT, value.encode())

    def _send_oximetry(self, at_s: float) -> None:
        spo2, pulse = self.physiology.spo2_pct(at_s), self.physiology.pulse_bpm(at_s)
        found = spo2 is not None and pulse is not None
        status = plx.MeasurementStatus.MEASUREMENT_ONGOING
        value = plx.Continuous(
            spo2=Decimal(round(spo2)) if spo2 is not None and found else Special.NAN,
            pulse_rate=Decimal(round(pulse)) if pulse is not None and found else Special.NAN,
            measurement_status=int(status | (plx.MeasurementStatus.FULLY_QUALIFIED if found else 0)),
            device_sensor_status=0 if found else int(plx.SensorStatus.INADEQUATE_SIGNAL),
        )
        self._send(plx.CONTINUOUS, value.encode())

    def _send(self, uuid: str, payload: bytes) -> bool:
        """Notify, unless the dice or a fault say otherwise; True when `payload` itself went out to a subscriber."""
        if uuid in self._muted or not self._table.subscribers(uuid):
            return False
        counts = self.ledger
        loss = self.physiology.radio(self.at_s).loss
        counts.notifications_sent[uuid] = counts.notifications_sent.get(uuid, 0) + 1
        lost = loss > 0 and self._random.random() < loss
        if queue := self._replacements.get(uuid):
            lost = True
            self._table.notify(uuid, queue.popleft())
        elif not lost:
            lost = not self._carrier.carry(uuid, payload)
        if lost:
            counts.notifications_lost[uuid] = counts.notifications_lost.get(uuid, 0) + 1
        return not lost

    def _on_connection(self, connection: Connection) -> None:
        self.ledger.connections += 1
        self._told_battery = None
        connection.on(connection.EVENT_DISCONNECTION, self._on_disconnection)
        if self._refusing:
            self._spawn(self._turn_away(connection))

    def _on_disconnection(self, _reason: int) -> None:
        self._streaming = False
        self._carrier.lose()
        if self._task is not None:
            self._spawn(self._advertise())

    async def _advertise(self) -> None:
        with contextlib.suppress(core.BaseBumbleError, hci.HCI_Error):
            await self.device.start_advertising()

    def _on_command(self, connection: Connection, payload: bytes) -> None:
        try:
            response = self._obey(connection, pmd.decode_command(payload))
        except DecodeError:
            op, kind = (payload + b"\0\0")[:2]
            response = pmd.Response(op=op, kind=kind, status=pmd.Status.INVALID_LENGTH)
        control_point = self._table.by_uuid[pmd.CONTROL_POINT]

        async def answer() -> None:
            with contextlib.suppress(TimeoutError, core.BaseBumbleError, KeyError):
                await self.device.indicate_subscriber(connection, control_point, response.encode())

        self._spawn(answer())

    def _obey(self, connection: Connection, command: pmd.Command) -> pmd.Response:
        offered: pmd.Settings = {
            pmd.Setting.SAMPLE_RATE: (round(self.rate_hz),),
            pmd.Setting.RESOLUTION: (14,),
        }

        def answer(status: pmd.Status, settings: pmd.Settings | None = None) -> pmd.Response:
            return pmd.Response(op=command.op, kind=command.kind, status=status, settings=settings or {})

        if command.op not in tuple(pmd.Op):
            return answer(pmd.Status.INVALID_OP_CODE)
        if command.kind != pmd.Kind.ECG:
            return answer(pmd.Status.INVALID_MEASUREMENT_TYPE)
        if command.op == pmd.Op.GET_SETTINGS:
            return answer(pmd.Status.SUCCESS, offered)
        if command.op == pmd.Op.STOP:
            status = pmd.Status.SUCCESS if self._streaming else pmd.Status.ALREADY_IN_STATE
            self.ledger.ecg_streams_stopped += self._streaming
            self._streaming = False
            return answer(status)
        if self._streaming:
            return answer(pmd.Status.ALREADY_IN_STATE)
        if command.settings.get(pmd.Setting.SAMPLE_RATE) != offered[pmd.Setting.SAMPLE_RATE]:
            return answer(pmd.Status.INVALID_SAMPLE_RATE)
        self._start_stream(connection)
        return answer(pmd.Status.SUCCESS)

    def _start_stream(self, connection: Connection) -> None:
        room = (connection.att_mtu - 13) // 3  # ATT header 3, frame header 10, three bytes a sample
        self._frame_samples = max(1, min(self._full_frame, room))
        first = math.ceil(self.at_s * self.rate_hz - 1e-6)
        if self.ledger.ecg_streams_started:
            self.ledger.ecg_samples_skipped += first - self._next_index
        self._next_index = first
        self.ledger.ecg_streams_started += 1
        self._streaming = True
