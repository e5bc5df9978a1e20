"""A Movesense sensor as its published protocol describes it: a GATT server on the virtual radio."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Coroutine
from typing import Any

from bumble import att, core, hci
from bumble.core import UUID, AdvertisingData
from bumble.device import Connection
from bumble.gatt import Characteristic, Service

from bedside.ble.air import Air, make_device
from bedside.ble.drivers import movesense
from bedside.ble.virtual.night import CountingBody

SAMPLES = 16


class MovesenseSensor:
    """It counts its own samples, as `CountingBody` does; `status` is what it answers to a subscription."""

    def __init__(self, air: Air, *, name: str, address: str, status: int = movesense.OK) -> None:
        self.body, self.status, self.lost = CountingBody(), status, 0
        self.commands: list[bytes] = []
        self.lose_every: int | None = None  # fault: every so-many-th packet never arrives
        self._air = air
        self._stream: asyncio.Task[None] | None = None
        self._jobs: set[asyncio.Task[None]] = set()
        self._next = 0
        self._on = False
        self.device, self.controller = make_device(air, name=name, address=address)
        permissions = Characteristic.Permissions
        self._data: Characteristic[bytes] = Characteristic(
            movesense.DATA, Characteristic.Properties.NOTIFY, permissions(0)
        )
        command: Characteristic[bytes] = Characteristic(
            movesense.COMMAND,
            Characteristic.Properties.WRITE,
            permissions.WRITEABLE,
            att.AttributeValue(write=self._commanded),
        )
        self.device.add_services([Service(UUID(movesense.SERVICE), [command, self._data])])
        self.device.advertising_data = bytes(
            AdvertisingData([(AdvertisingData.COMPLETE_LOCAL_NAME, name.encode("utf-8"))])
        )
        self.device.on(self.device.EVENT_CONNECTION, self._on_connection)

    async def start(self) -> None:
        await self.device.power_on()
        self._on = True
        await self._advertise()

    async def close(self) -> None:
        self._on = False
        self._end_stream()
        for job in tuple(self._jobs):
            job.cancel()
        await asyncio.gather(*self._jobs, return_exceptions=True)
        if self.device.powered_on:
            with contextlib.suppress(core.BaseBumbleError, hci.HCI_Error):
                await self.device.stop_advertising()
            await self.device.power_off()
        self._air.remove_controller(self.controller)

    async def _advertise(self) -> None:
        with contextlib.suppress(core.BaseBumbleError, hci.HCI_Error):
            await self.device.start_advertising(auto_restart=False)

    def _on_connection(self, connection: Connection) -> None:
        def ended(_: int) -> None:
            self._end_stream()
            if self._on:
                self._spawn(self._advertise())

        connection.on(connection.EVENT_DISCONNECTION, ended)

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        job = asyncio.create_task(work)
        self._jobs.add(job)
        job.add_done_callback(self._jobs.discard)

    def _end_stream(self) -> None:
        if self._stream is not None:
            self._stream.cancel()
            self._jobs.add(self._stream)
            self._stream.add_done_callback(self._jobs.discard)
        self._stream = None

    def _commanded(self, connection: Connection, payload: bytes) -> None:
        self.commands.append(payload)
        code, reference, path = payload[0], payload[1], payload[2:].decode("ascii")
        status = self.status if code == movesense.SUBSCRIBE else movesense.OK
        self._spawn(self._notify(connection, bytes([1, reference]) + status.to_bytes(2, "little")))
        if code == movesense.SUBSCRIBE and status == movesense.OK:
            self._end_stream()
            self._stream = asyncio.create_task(self._measure(connection, int(path.rsplit("/", 1)[1])))
        elif code == movesense.UNSUBSCRIBE:
            self._end_stream()

    async def _notify(self, connection: Connection, payload: bytes) -> None:
        with contextlib.suppress(core.BaseBumbleError, hci.HCI_Error, KeyError, ValueError):
            await self.device.notify_subscriber(connection, self._data, payload)

    async def _measure(self, connection: Connection, rate_hz: int) -> None:
        loop = asyncio.get_running_loop()
        self._next = int(loop.time() * rate_hz) + 1
        number = 0
        while True:
            await asyncio.sleep(max(0.0, (self._next + SAMPLES) / rate_hz - loop.time()))
            counts = tuple(int(one) for one in self.body.ecg_uv(self._next, SAMPLES))
            packet = movesense.encode_frame(round(self._next / rate_hz * 1000), counts)
            self._next += SAMPLES
            number += 1
            if self.lose_every is not None and number % self.lose_every == 0:
                self.lost += SAMPLES
            else:
                await self._notify(connection, packet)
