"""A virtual glucose meter, glucose sensor or oximeter with a memory that has to be asked for it.

A real GATT server on a bumble device: it keeps what it measures and says nothing by itself; whoever connects asks its
record access control point. Faults: records lost on the way, a report that breaks off, a memory that begins anew.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Coroutine

from bumble import att, core, hci
from bumble.device import Connection
from bumble.gatt import Characteristic, Service

from bedside.ble import cgm_session, date_time, racp
from bedside.ble.air import Air, make_device
from bedside.ble.date_time import CurrentTime, decode_current_time
from bedside.ble.memory import Memory
from bedside.ble.virtual.gatt import advertising_data
from bedside.ble.virtual.record_memory import RecordMemory
from bedside.core.errors import DecodeError

Properties = Characteristic.Properties
GAP_S = 0.02  # between two records of a report


class VirtualMeter:
    """One such wearable on `air`, with the memory of `memory`'s service. Its clock may be read and set.

    `minute`: of a glucose sensor's session, now; None: no status characteristic.
    """

    def __init__(
        self,
        air: Air,
        memory: Memory,
        *,
        name: str,
        address: str,
        clock: Callable[[], CurrentTime] | None = None,
        minute: Callable[[], int] | None = None,
        kept_max: int = 500,
    ) -> None:
        self.records = RecordMemory(memory.number, kept_max)
        self.lose: set[int] = set()  # fault: of the next report, the records at these places are lost on the way
        self.break_off_after: int | None = None  # fault: the link ends after so many records of the next report
        self.connections = 0
        self.clock_set: list[CurrentTime] = []
        self._air = air
        self._jobs: set[asyncio.Task[None]] = set()
        self._on = False
        self.device, self.controller = make_device(air, name=name, address=address)
        permissions = Characteristic.Permissions
        self._measurement: Characteristic[bytes] = Characteristic(
            memory.measurement[4:8], Properties.NOTIFY | Properties.INDICATE, permissions(0)
        )
        self._control: Characteristic[bytes] = Characteristic(
            racp.RECORD_ACCESS[4:8],
            Properties.WRITE | Properties.INDICATE,
            permissions.WRITEABLE,
            att.AttributeValue(write=self._asked),
        )
        inside = [self._measurement, self._control]
        if minute is not None:
            value = att.AttributeValue(
                read=lambda _: cgm_session.CgmStatus(
                    time_offset_min=minute(), status_octet=0, caltemp_octet=0, warning_octet=0
                ).encode()
            )
            inside.append(Characteristic(cgm_session.STATUS[4:8], Properties.READ, permissions.READABLE, value))
        services = [Service(memory.service[4:8], inside)]
        if clock is not None:
            both = permissions.READABLE | permissions.WRITEABLE
            time_value = att.AttributeValue(read=lambda _: clock().encode(), write=self._set_clock)
            time: Characteristic[bytes] = Characteristic(
                date_time.CURRENT_TIME[4:8], Properties.READ | Properties.WRITE, both, time_value
            )
            services.append(Service("1805", [time]))
        self.device.add_services(services)
        self.device.advertising_data = advertising_data(name, [memory.service])
        self.device.on(self.device.EVENT_CONNECTION, self._on_connection)

    async def start(self) -> None:
        """Switch on: it can be connected to."""
        await self.device.power_on()
        self._on = True
        await self.device.start_advertising(auto_restart=False)

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

    def measure(self, packet: bytes, *, tell: bool = False) -> None:
        """It has measured and keeps it; `tell`: it also notifies it to whoever listens, as a glucose sensor does."""
        self.records.keep(packet)
        if tell:
            self._spawn(self._notify_all(packet))

    async def leave(self) -> None:
        """End the link, as if carried away; it can be connected to again."""
        for connection in tuple(self.device.connections.values()):
            with contextlib.suppress(core.BaseBumbleError, hci.HCI_Error):
                await connection.disconnect()

    def _spawn(self, work: Coroutine[None, None, None]) -> None:
        job = asyncio.create_task(work)
        self._jobs.add(job)
        job.add_done_callback(self._jobs.discard)

    def _on_connection(self, connection: Connection) -> None:
        self.connections += 1
        connection.on(connection.EVENT_DISCONNECTION, self._on_disconnection)

    def _on_disconnection(self, _reason: int) -> None:
        if self._on:
            self._spawn(self._advertise())

    async def _advertise(self) -> None:
        with contextlib.suppress(core.BaseBumbleError, hci.HCI_Error):
            await self.device.start_advertising(auto_restart=False)

    async def _notify_all(self, packet: bytes) -> None:
        for connection in tuple(self.device.connections.values()):
            with contextlib.suppress(core.BaseBumbleError, KeyError):
                await self.device.notify_subscriber(connection, self._measurement, packet)

    def _asked(self, connection: Connection, payload: bytes) -> None:
        answer = self.records.obey(payload)

        async def reply() -> None:
            for place, record in enumerate(answer.records):
                if self.break_off_after == place:
                    self.break_off_after = None
                    await connection.disconnect()
                    return
                if place not in self.lose:
                    await self.device.notify_subscriber(connection, self._measurement, record)
                await asyncio.sleep(GAP_S)
            if answer.records:
                self.lose = set()
            if answer.response is not None:
                await self.device.indicate_subscriber(connection, self._control, answer.response.encode())

        async def guarded() -> None:
            with contextlib.suppress(TimeoutError, core.BaseBumbleError, hci.HCI_Error, KeyError):
                await reply()

        self._spawn(guarded())

    def _set_clock(self, _: Connection, payload: bytes) -> None:
        try:
            self.clock_set.append(decode_current_time(payload))
        except DecodeError as error:
            raise att.ATT_Error(att.ErrorCode.VALUE_NOT_ALLOWED) from error
