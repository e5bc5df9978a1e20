"""A connected wearable as its driver sees it (`drivers.api.Device`), over bleak's client: every call has a time-out."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

from bleak import BleakClient
from bleak.backends.characteristic import BleakGATTCharacteristic

USER_DESCRIPTION = "00002901-0000-1000-8000-00805f9b34fb"
CALL_S = 5.0
ANSWERS_MAX = 8  # more than it was asked: not answers to us
T = TypeVar("T")


class LinkedDevice:
    """One link. `take` gets every notification that a driver listens to."""

    def __init__(self, client: BleakClient, take: Callable[[str, bytes], None]) -> None:
        self._client = client
        self._take = take
        self._answers: dict[str, asyncio.Queue[bytes]] = {}

    def has(self, uuid: str) -> bool:
        return self._client.services.get_characteristic(uuid) is not None

    async def read(self, uuid: str) -> bytes:
        return bytes(await within(CALL_S, self._client.read_gatt_char(uuid)))

    async def write(self, uuid: str, payload: bytes) -> None:
        for queue in self._answers.values():
            while not queue.empty():
                queue.get_nowait()  # of what was asked before
        await within(CALL_S, self._client.write_gatt_char(uuid, payload, response=True))

    async def listen(self, uuid: str) -> None:
        queue: asyncio.Queue[bytes] = asyncio.Queue(ANSWERS_MAX)
        self._answers[uuid] = queue

        def notified(_: BleakGATTCharacteristic, payload: bytearray) -> None:
            if not queue.full():
                queue.put_nowait(bytes(payload))
            self._take(uuid, bytes(payload))

        await within(CALL_S, self._client.start_notify(uuid, notified))

    async def answer(self, uuid: str) -> bytes:
        return await within(CALL_S, self._answers[uuid].get())

    async def describe(self, uuid: str) -> str | None:
        characteristic = self._client.services.get_characteristic(uuid)
        descriptor = None if characteristic is None else characteristic.get_descriptor(USER_DESCRIPTION)
        if descriptor is None:
            return None
        raw = await within(CALL_S, self._client.read_gatt_descriptor(descriptor.handle))
        return bytes(raw).decode("utf-8", "replace")


async def within(limit_s: float, work: Awaitable[T]) -> T:
    """Await `work` for at most `limit_s`. Raises `TimeoutError`."""
    async with asyncio.timeout(limit_s):
        return await work
