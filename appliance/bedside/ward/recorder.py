"""The recorder: everything that happened goes to the store in durable batches, about one a second.

Whatever is offered waits in memory until a batch is on disk: at most `BATCH_S` plus one write is at
risk. A store that fails (disk full, damaged) is tried again with the same batch; meanwhile memory is
bounded, and what has to be dropped is counted, declared and alarmed. Monitoring never waits for it.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

from bedside.core.errors import RejectedError, StoreError
from bedside.core.events import Event
from bedside.core.ports import Batch, Store
from bedside.core.samples import Block
from bedside.core.time import Worker

log = logging.getLogger(__name__)

BATCH_S = 1.0
PENDING_MAX = 200_000  # items: about an hour of a ward of 16, some 100 MB
RETRY_S = (1.0, 2.0, 5.0, 10.0)


@dataclass(slots=True)
class RecorderHealth:
    """How the recorder does. `error` is the sentence of the last failure, None when the last write was durable."""

    error: str | None = None
    dropped: int = 0  # for want of memory while the disk refused
    rejected: int = 0  # could never be stored: a bug of ours
    pending: int = 0
    stored_us: dict[str, int] = field(default_factory=dict)  # patient: everything up to here is on disk


class Recorder:
    """Takes blocks and events from all sessions, in order, and makes them durable.

    `changed` is called (on the loop) when writing starts to fail or works again.
    """

    def __init__(self, store: Store, worker: Worker, changed: Callable[[RecorderHealth], None]) -> None:
        self.health = RecorderHealth()
        self._store = store
        self._worker = worker
        self._changed = changed
        self._pending: deque[Block | Event] = deque()
        self._in_flight: list[Block | Event] = []  # the batch being written, or refused and to be tried again
        self._writing = asyncio.Lock()  # two that flush at once would write a batch twice

    def keep(self, item: Block | Event) -> None:
        """Keep a block of samples or an event; it is on disk within about `BATCH_S`."""
        if len(self._pending) >= PENDING_MAX:
            self._pending.popleft()  # the oldest: the newest hours matter most to whoever reacts now
            self.health.dropped += 1
        self._pending.append(item)

    async def run(self) -> None:
        """Write batches until cancelled; `flush` writes the rest."""
        failures = 0
        while True:
            await asyncio.sleep(BATCH_S if failures == 0 else RETRY_S[min(failures, len(RETRY_S)) - 1])
            failures = 0 if await self.flush() else failures + 1

    async def flush(self) -> bool:
        """Write everything that waits. False when the store refused: the batch is kept for the next try."""
        async with self._writing:
            return await self._flush()

    async def _flush(self) -> bool:
        while self._in_flight or self._pending:
            if not self._in_flight:
                self._in_flight = list(self._pending)
                self._pending.clear()
            if not await self._write(list(self._in_flight)):
                return False
        self.health.pending = 0
        return True

    async def _write(self, items: list[Block | Event]) -> bool:
        batch = Batch(
            blocks=[item for item in items if isinstance(item, Block)],
            events=[item for item in items if isinstance(item, Event)],
        )
        try:
            await self._worker.run(lambda: self._store.write(batch))
        except RejectedError as error:
            return await self._without_the_rejected(items, error)
        except StoreError as error:
            self._failed(str(error))
            return False
        del self._in_flight[: len(items)]  # always its front: halves are written in order
        self._stored(batch)
        return True

    async def _without_the_rejected(self, items: list[Block | Event], error: RejectedError) -> bool:
        """One item that can never be stored must not hold back the others: halve the batch until it is alone."""
        if len(items) > 1:
            middle = len(items) // 2
            return await self._write(items[:middle]) and await self._write(items[middle:])
        del self._in_flight[:1]
        self.health.rejected += 1
        log.error("an item can never be stored", extra={"item": type(items[0]).__name__, "reason": str(error)})
        return True

    def _failed(self, sentence: str) -> None:
        first = self.health.error is None
        self.health.error = sentence
        self.health.pending = len(self._in_flight) + len(self._pending)
        if first:
            log.error("records cannot be written", extra={"reason": sentence})
            self._changed(self.health)

    def _stored(self, batch: Batch) -> None:
        stored = self.health.stored_us
        for block in batch.blocks:
            patient = block.stream.patient
            stored[patient] = max(stored.get(patient, 0), block.end_us)
        for event in batch.events:
            if event.patient is not None:
                stored[event.patient] = max(stored.get(event.patient, 0), event.end_us or event.start_us)
        if self.health.error is not None:
            log.info("records are written again", extra={"dropped": self.health.dropped})
            self.health.error = None
            self._changed(self.health)
