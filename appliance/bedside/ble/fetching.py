"""A wearable's memory over one link: fetched, merged once, and erased there only when it is durable here.

What comes is given out in portions of `PORTION` records, each in one go with a remark that says up to which number all
is there. Consumers write a portion and its remark in one batch, so a restart of the box goes on exactly after the
last portion that is on disk. Records that were taken twice in one session (a fetch that broke off) are given out once.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Protocol

from bleak import BleakClient
from bleak.backends.characteristic import BleakGATTCharacteristic
from bleak.exc import BleakError

from bedside.ble import cgm_session, racp
from bedside.ble.back_fill import RECORDS_MAX, BackFill, Fetched
from bedside.ble.memory import MEMORIES, Memory
from bedside.core.errors import DecodeError, WearableError

logger = logging.getLogger(__name__)

PORTION = 64
CALL_S = 5.0
DRAIN_S = 30.0


class Records(Protocol):
    """Where records go: the session."""

    def stored(self, measurement: str, packet: bytes) -> bool:
        """Take a record; False when it cannot be read, or nobody knows when it was taken."""
        ...

    def glucose_session(self, minute: int) -> None:
        """It is minute `minute` of a glucose sensor's session."""
        ...

    def fetched(self, measurement: str, evidence: dict[str, bool | int | float | str | None]) -> None:
        """A portion is complete."""
        ...

    async def drained(self) -> bool:
        """Wait until all that was given out has been taken; False when nobody takes it."""
        ...


class Known:
    """What of one wearable's memory was taken, kept across its links: numbers, and packets that have none."""

    def __init__(self, after: int | None = None) -> None:
        self.after = after
        self.taken: dict[bytes, None] = {}  # beyond `after`, or without a number; bounded


class Fetching:
    """One memory of one wearable, over one link."""

    def __init__(self, client: BleakClient, memory: Memory, known: Known, records: Records) -> None:
        self._client = client
        self._memory = memory
        self._known = known
        self._records = records
        service = client.services.get_service(memory.service)
        self._control = None if service is None else service.get_characteristic(racp.RECORD_ACCESS)
        self._back_fill = BackFill(memory, self._write)
        self._caught_up = False  # on this link: what comes by itself is the next record

    @property
    def possible(self) -> bool:
        """Has the service a record access control point?"""
        return self._control is not None

    def on_notification(self, payload: bytes) -> bool:
        """The measurement was notified; True when it was a record that had been asked for."""
        return self._back_fill.on_record(payload)

    def live(self, payload: bytes) -> None:
        """A new record came by itself and was taken: it need not be fetched later."""
        if not self._memory.numbered or not self._caught_up:
            self._known.taken[payload] = None
            return
        number = self._order(payload)
        if number > (self._known.after or -1):
            self._known.after = number
            self._records.fetched(
                self._memory.measurement, {"characteristic": self._memory.measurement, "last": number}
            )

    async def prepare(self) -> None:
        """Listen to the control point; ask a glucose sensor which minute it is. Raises `BleakError`, `TimeoutError`."""
        assert self._control is not None

        def answered(_: BleakGATTCharacteristic, payload: bytearray) -> None:
            self._back_fill.on_answer(bytes(payload))

        async with asyncio.timeout(CALL_S):
            await self._client.start_notify(self._control, answered)
        if self._client.services.get_characteristic(cgm_session.STATUS) is not None:
            async with asyncio.timeout(CALL_S):
                raw = await self._client.read_gatt_char(cgm_session.STATUS)
            self._records.glucose_session(cgm_session.decode_cgm_status(bytes(raw)).time_offset_min)

    async def run(self, durable: Callable[[], Awaitable[bool]] | None) -> None:
        """Fetch, merge and, where `durable` is given and says that all is on disk, erase. Tells how it went."""
        try:
            fetched = await self._back_fill.fetch(self._known.after)
            merged = await self._merge(fetched)
            if durable is not None and fetched.packets and merged and await self._records.drained() and await durable():
                erased = await self._back_fill.erase(fetched)
                self._tell(fetched, last=self._known.after, erased=erased)
        except (BleakError, WearableError, DecodeError, TimeoutError, OSError, EOFError) as error:
            logger.warning("memory not fetched", extra={"error": type(error).__name__})
            self._records.fetched(
                self._memory.measurement, {"characteristic": self._memory.measurement, "failed": type(error).__name__}
            )

    async def _merge(self, fetched: Fetched) -> bool:
        """Give out what is new; True when every record could be read and dated."""
        known, memory = self._known, self._memory
        if fetched.restarted:
            known.after, known.taken = None, {}
        new = sorted((one for one in fetched.packets if one not in known.taken), key=self._order)
        clean = True
        for start in range(0, len(new), PORTION):
            portion = new[start : start + PORTION]
            for packet in portion:
                clean &= self._records.stored(memory.measurement, packet)
            known.taken.update(dict.fromkeys(portion))
            if fetched.whole and memory.numbered:
                known.after = self._order(portion[-1])
            self._tell(fetched, last=known.after)
            if not await self._records.drained():
                return False
        if fetched.whole and memory.numbered:
            known.taken = {}
            known.after = fetched.last
            self._caught_up = True
        while len(known.taken) > RECORDS_MAX:
            del known.taken[next(iter(known.taken))]
        if not fetched.whole:
            self._tell(fetched, last=known.after)
        return clean

    def _order(self, packet: bytes) -> int:
        try:
            return self._memory.number(packet) or 0
        except DecodeError:
            return 0

    def _tell(self, fetched: Fetched, *, last: int | None, erased: bool = False) -> None:
        self._records.fetched(
            self._memory.measurement,
            {
                "characteristic": self._memory.measurement,
                "counted": fetched.counted,
                "fetched": len(fetched.packets),
                "whole": fetched.whole,
                "last": last,
                "restarted": fetched.restarted,
                "erased": erased,
            },
        )

    async def _write(self, request: bytes) -> None:
        assert self._control is not None
        await self._client.write_gatt_char(self._control, request, response=True)


def memories_of(client: BleakClient) -> list[Memory]:
    """The memories that the wearable's services have."""
    found = []
    for memory in MEMORIES.values():
        service = client.services.get_service(memory.service)
        if service is not None and service.get_characteristic(racp.RECORD_ACCESS) is not None:
            found.append(memory)
    return found
