"""One scan of the adapter for all who listen: BlueZ lets one program discover once, and refuses a second scanner.

Sessions that search, and the pairing desk, each ask for a scanner of their own. They get a listener on this scan, which
runs while anybody listens. It is begun anew when somebody comes and nothing was heard for `DEAF_S`: adapters go deaf,
and a bluetoothd that was restarted has forgotten it.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from typing import Protocol

from bleak.backends.device import BLEDevice
from bleak.backends.scanner import AdvertisementData
from bleak.exc import BleakError

from bedside.core.time import Clock, SystemClock

OnAdvertisement = Callable[[BLEDevice, AdvertisementData], None]

DEAF_S = 10.0
STOP_S = 5.0


class Scanner(Protocol):
    """What listens for advertisements between `start` and `stop`, as bleak's scanner does."""

    async def start(self) -> None: ...

    async def stop(self) -> None: ...


class SharedScan:
    """The scan and its listeners. `make` gives a scanner of the adapter, not started."""

    def __init__(self, make: Callable[[OnAdvertisement], Scanner], clock: Clock | None = None) -> None:
        self._make = make
        self._clock: Clock = clock if clock is not None else SystemClock()
        self._listeners: dict[int, OnAdvertisement] = {}
        self._next = 0
        self._running: Scanner | None = None
        self._heard_s = 0.0
        self._lock = asyncio.Lock()

    def listener(self, heard: OnAdvertisement) -> Scanner:
        """A scanner, not started, that shares this scan."""
        return _Listener(self, heard)

    async def add(self, heard: OnAdvertisement) -> int:
        """Listen; the number to stop with. Raises what the adapter's scanner raises."""
        async with self._lock:
            if self._running is not None and self._clock.monotonic_s() - self._heard_s > DEAF_S:
                await self._end()
            if self._running is None:
                scanner = self._make(self._on_heard)
                try:
                    await scanner.start()
                except BaseException:  # also cut short: what may have begun is ended
                    await self._quietly(scanner)
                    raise
                self._running, self._heard_s = scanner, self._clock.monotonic_s()
            self._next += 1
            self._listeners[self._next] = heard
            return self._next

    async def remove(self, number: int) -> None:
        """Listen no more; the scan ends with its last listener."""
        self._listeners.pop(number, None)
        async with self._lock:
            if not self._listeners:
                await self._end()

    async def _end(self) -> None:
        scanner, self._running = self._running, None
        if scanner is not None:
            await self._quietly(scanner)

    @staticmethod
    async def _quietly(scanner: Scanner) -> None:
        with contextlib.suppress(BleakError, TimeoutError, OSError, EOFError):  # it is gone either way
            async with asyncio.timeout(STOP_S):
                await scanner.stop()

    def _on_heard(self, device: BLEDevice, advertisement: AdvertisementData) -> None:
        self._heard_s = self._clock.monotonic_s()
        for heard in tuple(self._listeners.values()):
            heard(device, advertisement)


class _Listener:
    def __init__(self, scan: SharedScan, heard: OnAdvertisement) -> None:
        self._scan = scan
        self._heard = heard
        self._number: int | None = None

    async def start(self) -> None:
        if self._number is None:
            self._number = await self._scan.add(self._heard)

    async def stop(self) -> None:
        number, self._number = self._number, None
        if number is not None:
            await self._scan.remove(number)
