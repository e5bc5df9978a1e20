"""Time as a value that is passed in: clocks, and the event loops that keep virtual time.

Wall-clock time is int64 microseconds UTC (`_us`); deadlines use the monotonic clock (`_s`).
Under virtual time the event loop's own clock is virtual, so that libraries that read it
(asyncio timers, bumble, bleak) live in the same time as Bedside.
"""

from __future__ import annotations

import asyncio
import selectors
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Protocol, TypeVar

US_PER_S = 1_000_000
T = TypeVar("T")


class Clock(Protocol):
    """What time it is. Both methods may be called from any thread."""

    def now_us(self) -> int:
        """Microseconds since 1970-01-01 UTC; may jump when the box's clock is set."""
        ...

    def monotonic_s(self) -> float:
        """Seconds that never go back; only differences mean something."""
        ...


class Worker(Protocol):
    """Carries work that blocks (disk, CPU) away from the event loop, in order, one at a time."""

    async def run(self, work: Callable[[], T]) -> T:
        """Run `work` and give its result; its exception passes through."""
        ...

    def close(self) -> None:
        """Finish what was given, then stop. Safe to call twice."""
        ...


class SystemClock:
    """The box's own clocks."""

    def now_us(self) -> int:
        return time.time_ns() // 1000

    def monotonic_s(self) -> float:
        return time.monotonic()


class LoopClock:
    """The clock of an event loop: wall time starts at `start_us` and advances with `loop.time()`.

    Source of truth under virtual or scaled time; see `VirtualTimeLoop` and `ScaledTimeLoop`.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, start_us: int) -> None:
        self._loop = loop
        self._start_us = start_us
        self._origin_s = loop.time()

    def now_us(self) -> int:
        return self._start_us + round((self._loop.time() - self._origin_s) * US_PER_S)

    def monotonic_s(self) -> float:
        return self._loop.time()


class ScaledClock:
    """A clock that runs `speed` times as fast as the box's since `origin_us` (UTC): the same in every process."""

    def __init__(self, origin_us: int, speed: float) -> None:
        self._origin_us = origin_us
        self._speed = speed

    def now_us(self) -> int:
        return self._origin_us + round((time.time_ns() // 1000 - self._origin_us) * self._speed)

    def monotonic_s(self) -> float:
        return time.monotonic() * self._speed


class _JumpingSelector(selectors.DefaultSelector):
    """A selector that never sleeps: where it would wait, it moves virtual time instead.

    Sockets inside the process are ready at once, so polling them before each jump keeps order.
    """

    def __init__(self) -> None:
        super().__init__()
        self.now_s = 0.0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        ready = super().select(0)
        if ready or timeout == 0:
            return ready
        if timeout is None:  # nothing is scheduled: only another thread or process can wake us
            return super().select(0.05)
        self.now_s += max(timeout, 0.0)
        return []


class VirtualTimeLoop(asyncio.SelectorEventLoop):
    """An event loop whose hours pass as fast as the work in them: `time()` jumps from timer to timer.

    For tests and simulation. Nothing in it may wait for another process or thread except by
    a socket of this loop; CPU and disk work goes through `InlineWorker`.
    """

    def __init__(self) -> None:
        self._jumping = _JumpingSelector()
        super().__init__(self._jumping)
        self._clock_resolution = 1e-9

    def time(self) -> float:
        return self._jumping.now_s


class ScaledTimeLoop(asyncio.SelectorEventLoop):
    """An event loop whose time runs `speed` times as fast as the wall clock (`bedside run --speed`)."""

    def __init__(self, speed: float) -> None:
        self._speed = speed
        self._origin_s = time.monotonic()
        super().__init__(_ScaledSelector(speed))
        if not 0 < speed < float("inf"):
            self.close()
            raise ValueError(f"speed: expected a number above 0, got {speed!r}")

    def time(self) -> float:
        return (time.monotonic() - self._origin_s) * self._speed


class _ScaledSelector(selectors.DefaultSelector):
    def __init__(self, speed: float) -> None:
        super().__init__()
        self._speed = speed

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        return super().select(None if timeout is None else timeout / self._speed)


class InlineWorker:
    """Runs work at once, on the loop: for virtual time, where threads would break the order."""

    async def run(self, work: Callable[[], T]) -> T:
        return work()

    def close(self) -> None:
        return


class ThreadWorker:
    """One thread of its own: work given to it runs in order and never on the event loop."""

    def __init__(self, name: str) -> None:
        from concurrent.futures import ThreadPoolExecutor

        self._pool = ThreadPoolExecutor(max_workers=1, thread_name_prefix=name)

    async def run(self, work: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._pool, work)

    def close(self) -> None:
        self._pool.shutdown(wait=True)


def iso_utc(time_us: int) -> str:
    """`2026-01-31T14:02:10.250Z` for a time in microseconds UTC."""
    moment = datetime.fromtimestamp(time_us / US_PER_S, tz=UTC)
    return moment.strftime("%Y-%m-%dT%H:%M:%S.") + f"{moment.microsecond // 1000:03d}Z"
