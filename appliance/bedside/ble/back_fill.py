"""Fetch what a wearable kept: count, fetch, compare; and erase there only what is durable here.

    count the records after the last one known -> none: done
      -> report them -> its answer "success" and as many different records as were counted: whole
                     -> anything else: asked again, `TRIES` times; then what came is taken, and said to be incomplete

The last number known belongs to a memory that may be emptied, or begin anew with a battery: where nothing is newer but
the newest record's number is smaller than ours, all is fetched.

Only a whole fetch may be followed by erasing, and erasing names the last number that was fetched: what was measured
meanwhile stays. Every request has a time-out. GLS 1.0, CGMS 1.0, PLXS 1.0: record access control point.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from bedside.ble import racp
from bedside.ble.memory import Memory
from bedside.ble.racp import Op, Operator, RecordAccess
from bedside.core.errors import DecodeError, WearableError

TRIES = 3
RECORDS_MAX = 20_000
"""More than a month of a sensor's minutes; a wearable that sends more is refused."""

ANSWER_S = 10.0
SILENT_S = 10.0
"""A report that brings no record for so long is over."""

NO_RECORDS = 6


@dataclass(frozen=True, slots=True, kw_only=True)
class Fetched:
    """What came. `counted`: as the wearable said; `last`: the largest number among `packets` and before."""

    packets: tuple[bytes, ...]
    counted: int
    whole: bool
    last: int | None
    restarted: bool = False  # the memory had begun anew: numbers from before mean nothing
    unreadable: int = 0


class BackFill:
    """One wearable's memory over one link.

    `write` sends bytes to its control point. The owner passes on what the wearable says: its answers to `on_answer`,
    its notifications of the measurement to `on_record`, which says whether it was a record that was asked for.
    """

    def __init__(self, memory: Memory, write: Callable[[bytes], Awaitable[None]]) -> None:
        self.memory = memory
        self._write = write
        self._answers: asyncio.Queue[bytes] = asyncio.Queue(8)
        self._records: dict[bytes, None] | None = None  # of the report that runs, in order, once each
        self._heard = asyncio.Event()  # a record or an answer

    def on_answer(self, payload: bytes) -> None:
        """The control point indicated."""
        if not self._answers.full():
            self._answers.put_nowait(bytes(payload))
            self._heard.set()

    def on_record(self, payload: bytes) -> bool:
        """The measurement was notified; False when nothing was asked for: then it is new, and the caller's."""
        if self._records is None:
            return False
        if len(self._records) < RECORDS_MAX:
            self._records[bytes(payload)] = None
        self._heard.set()
        return True

    async def fetch(self, after: int | None) -> Fetched:
        """The records after number `after`. Raises `WearableError`, `DecodeError` and what `write` raises."""
        counted = await self._count(after)
        restarted = False
        if counted == 0 and after is not None and self.memory.numbered:
            newest, _ = await self._report(RecordAccess(op=Op.REPORT_RECORDS, operator=Operator.LAST))
            restarted = any((self._number(packet) or 0) < after for packet in newest)
            if restarted:
                after = None
                counted = await self._count(None)
        kept: dict[bytes, None] = {}
        whole = counted == 0
        for _ in range(TRIES):
            if whole:
                break
            packets, success = await self._report(self.memory.since(Op.REPORT_RECORDS, after))
            kept.update(dict.fromkeys(packets))
            whole = success and len(kept) >= counted
        numbers = [self._number(packet) for packet in kept]
        known = [number for number in (after, *numbers) if number is not None]
        unreadable = sum(number is None for number in numbers) if self.memory.numbered else 0
        return Fetched(
            packets=tuple(kept),
            counted=counted,
            whole=whole and not unreadable,
            last=max(known, default=None),
            restarted=restarted,
            unreadable=unreadable,
        )

    async def erase(self, fetched: Fetched) -> bool:
        """Erase what was fetched; False when the wearable refuses, or when it has records that were not fetched."""
        if not fetched.whole or not fetched.packets:
            return False
        if not self.memory.numbered and await self._count(None) != len(fetched.packets):
            return False
        answer = await self._ask(self.memory.up_to(fetched.last))
        return answer.op is Op.RESPONSE and answer.code == racp.SUCCESS

    def _number(self, packet: bytes) -> int | None:
        try:
            return self.memory.number(packet)
        except DecodeError:
            return None

    async def _count(self, after: int | None) -> int:
        answer = await self._ask(self.memory.since(Op.REPORT_NUMBER_OF_RECORDS, after))
        if answer.op is Op.NUMBER_OF_RECORDS and answer.count is not None:
            return answer.count
        if answer.code == NO_RECORDS:
            return 0
        raise WearableError(f"the wearable does not tell how many records it has (code {answer.code})")

    async def _report(self, request: RecordAccess) -> tuple[tuple[bytes, ...], bool]:
        """Records and whether the wearable says that these were all. A report that falls silent is ended."""
        self._records = {}
        try:
            await self._send(request)
            while True:
                try:
                    async with asyncio.timeout(SILENT_S):
                        await self._heard.wait()
                except TimeoutError:
                    await self._send(RecordAccess(op=Op.ABORT, operator=Operator.NULL))
                    return tuple(self._records), False
                self._heard.clear()
                if not self._answers.empty():
                    return self._ended(request, self._answers.get_nowait())
        finally:
            self._records = None
            self._heard.clear()

    def _ended(self, request: RecordAccess, payload: bytes) -> tuple[tuple[bytes, ...], bool]:
        answer = racp.decode_record_access(payload)
        ours = answer.op is Op.RESPONSE and answer.request_op == request.op
        return tuple(self._records or ()), ours and answer.code in (racp.SUCCESS, NO_RECORDS)

    async def _ask(self, request: RecordAccess) -> RecordAccess:
        await self._send(request)
        async with asyncio.timeout(ANSWER_S):
            return racp.decode_record_access(await self._answers.get())

    async def _send(self, request: RecordAccess) -> None:
        self._heard.clear()
        while not self._answers.empty():
            self._answers.get_nowait()  # of a request that was given up
        async with asyncio.timeout(ANSWER_S):
            await self._write(request.encode())
