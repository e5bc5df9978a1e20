"""The ports at the edge: what the gateway needs of a source, a store and a link. Each has a simulator behind it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from bedside.core.events import Event
from bedside.core.samples import Block, Item, StreamInfo


@dataclass(frozen=True, slots=True, kw_only=True)
class Patient:
    """Who is monitored. `id` is the site's surrogate; name and bed are identity and kept under their own key."""

    id: str
    name: str
    bed: str
    simulated: bool
    wearables: tuple[str, ...] = ()


class SampleSource(Protocol):
    """One wearable's items in time order: a strap, a recording or a virtual wearable."""

    def items(self) -> AsyncIterator[Item]:
        """Items until `close`; lost links are items, not exceptions. Raises `WearableError` only when it gives up."""
        ...

    async def close(self) -> None:
        """Make `items` end. Safe to call twice, and before the first item."""
        ...


@dataclass(slots=True)
class Batch:
    """What one durable write holds, in the order in which it happened."""

    blocks: list[Block] = field(default_factory=list)
    events: list[Event] = field(default_factory=list)


class TrendPart(Protocol):
    """What a number was in a part of a range; None and 0 where there was none."""

    @property
    def start_us(self) -> int: ...
    @property
    def low(self) -> float | None: ...
    @property
    def mean(self) -> float | None: ...
    @property
    def high(self) -> float | None: ...
    @property
    def count(self) -> int: ...


class Store(Protocol):
    """The encrypted records. Every method blocks: call it through the one `Worker` that owns the store."""

    def put_patient(self, patient: Patient) -> None:
        """Create or change a patient; makes her data key. Durable on return."""
        ...

    def patients(self) -> Sequence[Patient]:
        """All patients, in the order of admission."""
        ...

    def put_stream(self, info: StreamInfo) -> None:
        """Make a stream known; the same info twice is no change. Durable on return."""
        ...

    def streams(self, patient: str) -> Sequence[StreamInfo]:
        """The streams that a patient ever had."""
        ...

    def write(self, batch: Batch) -> None:
        """Durable on return, whole or not at all. Raises `StoreError` (disk full, damaged), and `RejectedError` for
        content that can never be stored: nothing was written."""
        ...

    def blocks(self, stream: str, start_us: int, end_us: int) -> Iterable[Block]:
        """The blocks of one stream that overlap `[start_us, end_us)`, in order."""
        ...

    def events(
        self,
        patient: str | None,
        start_us: int,
        end_us: int,
        types: Sequence[str] = (),
        limit: int = 10_000,
    ) -> list[Event]:
        """The newest `limit` events with `start_us <= event.start_us < end_us`, oldest first. None: of the box."""
        ...

    def trend(self, patient: str, code: str, start_us: int, end_us: int, buckets: int) -> Sequence[TrendPart]:
        """Least, mean, greatest and count of a number in equal parts of a range."""
        ...

    def newest_us(self, patient: str) -> int | None:
        """The end of the newest sample or event that is on disk for a patient."""
        ...

    def next_index(self, stream: str) -> int:
        """The sample index with which a stream goes on; 0 for one that is not known."""
        ...

    def close(self) -> None:
        """Flush and release the lock. Safe to call twice."""
        ...


class Link(Protocol):
    """The way to the operator. Every message is acknowledged or raises `LinkError`."""

    async def send(self, subject: str, message: bytes, message_id: str) -> bytes:
        """Deliver one message exactly once by its id; the operator's reply. Raises `LinkError`."""
        ...

    async def close(self) -> None:
        """Release the link. Safe to call twice."""
        ...
