"""The bounded way from a wearable's callbacks to whoever consumes its items.

A consumer that falls behind costs samples, never memory and never silence: what does not fit becomes a `Gap` with
the exact samples, told before the stream goes on. Of link and contact changes the newest is kept.
"""

from __future__ import annotations

import asyncio
import dataclasses
from collections import deque

from bedside.core.samples import Block, Gap, Item, Reading

ITEMS_MAX = 512
"""About a minute of one wearable at eight items a second."""


class Outbox:
    """Put never waits; get waits for the next item, and gives None when the outbox was closed and is empty."""

    def __init__(self, items_max: int = ITEMS_MAX) -> None:
        self._items_max = items_max
        self._items: deque[Item] = deque()
        self._held: dict[tuple[str, str], Item] = {}  # what came when all was full, newest of its kind
        self._ready = asyncio.Event()
        self._closed = False
        self.readings_dropped = 0
        self.samples_dropped = 0

    def __len__(self) -> int:
        return len(self._items) + len(self._held)

    def put(self, item: Item) -> None:
        """Take an item; after `close` it is ignored."""
        if self._closed:
            return
        if len(self._items) < self._items_max:
            if self._held:
                self._items.extend(self._held.values())
                self._held.clear()
            self._items.append(item)
        elif isinstance(item, Reading):
            self.readings_dropped += 1  # the next one comes in a second and says more
        elif isinstance(item, Block):
            self.samples_dropped += item.counts.size
            self._hold_gap(
                Gap(
                    stream=item.stream,
                    first_index=item.first_index,
                    n_samples=item.counts.size,
                    start_us=item.start_us,
                    end_us=item.end_us,
                    cause="overflow",
                )
            )
        elif isinstance(item, Gap):
            self._hold_gap(item)
        else:
            self._held[(type(item).__name__, str(getattr(item, "kind", "")))] = item
        self._ready.set()

    def _hold_gap(self, gap: Gap) -> None:
        held = self._held.get(("Gap", gap.stream.id))
        if isinstance(held, Gap):  # one stream's indices are consecutive, so its gaps here are one
            end = gap.first_index + gap.n_samples
            gap = dataclasses.replace(held, n_samples=end - held.first_index, end_us=gap.end_us)
        self._held[("Gap", gap.stream.id)] = gap

    async def get(self) -> Item | None:
        """The next item in order, or None at the end."""
        while True:
            if self._items:
                return self._items.popleft()
            if self._held:
                return self._held.pop(next(iter(self._held)))
            if self._closed:
                return None
            self._ready.clear()
            await self._ready.wait()

    def close(self) -> None:
        """No more items; `get` gives what is left, then None. Safe to call twice."""
        self._closed = True
        self._ready.set()
