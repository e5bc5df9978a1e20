"""What a wearable's driver is: one frozen `Driver` in one module, found through the entry points `bedside.wearables`.

    [project.entry-points."bedside.wearables"]
    my-strap = "my_package.my_strap:DRIVER"

The session finds the wearable, connects, calls `prepare` and `start` on every new link, hands each notification of
`data` to `decode`, watches that data come (`late_s`), and calls `stop` at its end. Gaps, clocks, records and alarms are
the session's: a driver says when the last sample of a packet was taken *by the wearable's own clock*, and nothing else
about time. `decode` is total: a frame, None (an answer, no data), or `DecodeError`; it is called with untrusted bytes.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Protocol

from bedside.core.samples import Counts

API = 1
"""The number of this contract. A driver made for another one is refused by name."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class EcgFrame:
    """Consecutive samples: int32 counts, shape (n,), n >= 1; `last_ns`: when the last one was taken, device clock."""

    last_ns: int
    counts: Counts


@dataclass(frozen=True, slots=True, kw_only=True)
class Stream:
    """What `prepare` settled: the rate, millivolts per count, and the lead's name where the wearable knows it."""

    rate_hz: float
    mv_per_count: float
    lead: str | None = None


class Device(Protocol):
    """A connected wearable. Every call has a time-out; they raise `BleakError` or `TimeoutError`."""

    def has(self, uuid: str) -> bool:
        """Has it this characteristic?"""
        ...

    async def read(self, uuid: str) -> bytes: ...

    async def write(self, uuid: str, payload: bytes) -> None: ...

    async def listen(self, uuid: str) -> None:
        """Ask for its notifications (or indications): they go to `answer`, those of the driver's `data` to `decode`."""
        ...

    async def answer(self, uuid: str) -> bytes:
        """The next notification of `uuid` since the last `write`."""
        ...

    async def describe(self, uuid: str) -> str | None:
        """The characteristic's user description; None where it has none."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Driver:
    """One kind of wearable. `running_hz` of `prepare`: the rate that the stream has had so far, which must go on.

    `prepare` and `start` raise `WearableError` with a sentence for the screen. `sources`: where the protocol is
    published.
    """

    api: int
    name: str
    data: str
    late_s: float
    match: Callable[[Device], bool]
    prepare: Callable[[Device, float | None], Awaitable[Stream]]
    start: Callable[[Device, Stream], Awaitable[None]]
    stop: Callable[[Device], Awaitable[None]]
    decode: Callable[[bytes, Stream], EcgFrame | None]
    sources: tuple[str, ...] = ()
