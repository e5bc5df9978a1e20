"""A virtual cuff, thermometer, scale, glucose meter or spot oximeter: it measures, calls, hands over and goes.

A real GATT server on a bumble device. It advertises when it has something to say, indicates its packets to whoever
subscribes, in the order in which they were measured, and leaves. What was not confirmed is kept for the next call.
Its clock may be wrong or unset, and may be written (Current Time). Time is the event loop's.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field

from bumble import att, core, hci
from bumble.device import Connection
from bumble.gatt import Characteristic, Service

from bedside.ble import battery, date_time
from bedside.ble.air import Air, make_device
from bedside.ble.date_time import CurrentTime, decode_current_time
from bedside.ble.virtual.gatt import advertising_data
from bedside.core.errors import DecodeError

KEPT_MAX = 90  # measurements that a meter keeps; the oldest goes first
STAY_S = 2.0  # after the last packet it leaves

Properties = Characteristic.Properties


@dataclass(slots=True)
class Visits:
    """What the wearable did, by its own count."""

    measured: int = 0
    confirmed: int = 0
    forgotten: int = 0  # pushed out of its memory before anybody heard them
    connections: int = 0
    clock_set: list[CurrentTime] = field(default_factory=list)


class VirtualVisitor:
    """One such wearable on `air`, serving `characteristic` of `service` (128-bit texts).

    `clock` gives its present Current Time, or None where it has none to read. `stays`: it does not leave by itself.
    """

    def __init__(
        self,
        air: Air,
        *,
        name: str,
        address: str,
        service: str,
        characteristic: str,
        battery_pct: int = 90,
        clock: Callable[[], CurrentTime] | None = None,
        on_clock_set: Callable[[CurrentTime], None] = lambda _: None,
        stays: bool = False,
    ) -> None:
        self.name = name
        self.visits = Visits()
        self._air = air
        self._stays = stays
        self._on_clock_set = on_clock_set
        self._kept: deque[bytes] = deque(maxlen=KEPT_MAX)
        self._jobs: set[asyncio.Task[None]] = set()
        self._on = False
        self.device, self.controller = make_device(air, name=name, address=address)
        permissions = Characteristic.Permissions
        self._measurement: Characteristic[bytes] = Characteristic(
            characteristic[4:8], Properties.INDICATE, permissions(0)
        )
        level = battery.BatteryLevel(battery_pct=battery_pct).encode()
        services = [
            Service(service[4:8], [self._measurement]),
            Service("180F", [Characteristic(battery.LEVEL[4:8], Properties.READ, permissions.READABLE, level)]),
        ]
        if clock is not None:
            value = att.AttributeValue(read=lambda _: clock().encode(), write=self._set_clock)
            both = permissions.READABLE | permissions.WRITEABLE
            time: Characteristic[bytes] = Characteristic(
                date_time.CURRENT_TIME[4:8], Properties.READ | Properties.WRITE, both, value
            )
            services.append(Service("1805", [time]))
        self.device.add_services(services)
        self.device.advertising_data = advertising_data(name, [service])
        self.device.on(self.device.EVENT_CONNECTION, self._on_connection)
        self._measurement.on(self._measurement.EVENT_SUBSCRIPTION, self._on_subscription)

    async def start(self) -> None:
        """Switch on; it is silent until it has measured."""
        await self.device.power_on()
        self._on = True

    async def close(self) -> None:
        """Switch off for good. Safe to call twice, and before `start`."""
        self._on = False
        jobs = tuple(self._jobs)
        for job in jobs:
            job.cancel()
        await asyncio.gather(*jobs, return_exceptions=True)
        if self.device.powered_on:
            with contextlib.suppress(core.BaseBumbleError, hci.HCI_Error):
                await self.device.stop_advertising()
            await self.device.power_off()
        self._air.remove_controller(self.controller)

    def measure(self, packet: bytes, *, call: bool = True) -> None:
        """It has measured; `call` False: nobody is called until the next measurement."""
        self.visits.measured += 1
        self.visits.forgotten += len(self._kept) == self._kept.maxlen
        self._kept.append(packet)
        if not call:
            return
        listener = next(iter(self.device.connections.values()), None)
        if listener is None:
            self._spawn(self._advertise())
        else:
            self._spawn(self._hand_over(listener))

    def _spawn(self, work: Coroutine[None, None, None]) -> None:
        job = asyncio.create_task(work)
        self._jobs.add(job)
        job.add_done_callback(self._jobs.discard)

    async def _advertise(self) -> None:
        with contextlib.suppress(core.BaseBumbleError, hci.HCI_Error):
            await self.device.start_advertising(auto_restart=False)

    def _on_connection(self, _: Connection) -> None:
        self.visits.connections += 1

    def _on_subscription(self, connection: Connection, _notify: bool, indicate: bool) -> None:
        if indicate and self._on:
            self._spawn(self._hand_over(connection))

    async def _hand_over(self, connection: Connection) -> None:
        while self._kept:
            packet = self._kept[0]
            try:
                await self.device.indicate_subscriber(connection, self._measurement, packet)
            except (TimeoutError, core.BaseBumbleError, KeyError):
                return  # kept for the next call
            if self._kept and self._kept[0] is packet:
                self._kept.popleft()
                self.visits.confirmed += 1
        if not self._stays:
            await asyncio.sleep(STAY_S)
            with contextlib.suppress(core.BaseBumbleError, hci.HCI_Error):
                await connection.disconnect()

    def _set_clock(self, _: Connection, payload: bytes) -> None:
        try:
            value = decode_current_time(payload)
        except DecodeError as error:
            raise att.ATT_Error(att.ErrorCode.VALUE_NOT_ALLOWED) from error
        self.visits.clock_set.append(value)
        self._on_clock_set(value)
