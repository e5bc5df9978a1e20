"""One scan for all who listen: a second scanner is never made beside the first, and a deaf one is made anew."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from tests.ble.ble_scenes import START_US, on_virtual_time

from bedside.ble.shared_scan import OnAdvertisement, SharedScan
from bedside.core.time import LoopClock

pytestmark = pytest.mark.requirement("BLE-003")


class OneAtATime:
    """An adapter as BlueZ shows it: who starts a second discovery is refused."""

    def __init__(self) -> None:
        self.running: list[Any] = []
        self.started = 0

    def make(self, heard: OnAdvertisement) -> Any:
        adapter = self

        class Scanner:
            async def start(self) -> None:
                await asyncio.sleep(0.2)
                if adapter.running:
                    raise RuntimeError("org.bluez.Error.InProgress")
                adapter.running.append(heard)
                adapter.started += 1

            async def stop(self) -> None:
                await asyncio.sleep(0.2)
                adapter.running.clear()

        return Scanner()

    def advertise(self) -> None:
        for heard in self.running:
            heard(None, None)


def test_many_listeners_share_one_scan_that_ends_with_the_last() -> None:
    async def work() -> None:
        adapter = OneAtATime()
        scan = SharedScan(adapter.make, LoopClock(asyncio.get_running_loop(), START_US))
        counts = [0, 0, 0]

        def count(number: int) -> OnAdvertisement:
            def heard(*_: Any) -> None:
                counts[number] += 1

            return heard

        listeners = [scan.listener(count(number)) for number in range(3)]
        await asyncio.gather(*(one.start() for one in listeners))
        adapter.advertise()
        assert (adapter.started, counts) == (1, [1, 1, 1])
        await listeners[0].stop()
        adapter.advertise()
        assert counts == [1, 2, 2]
        await asyncio.gather(listeners[1].stop(), listeners[2].stop(), listeners[2].stop())
        assert adapter.running == []
        with pytest.raises(RuntimeError, match="InProgress"):  # the control: two scans of their own
            await asyncio.gather(*(adapter.make(count(number)).start() for number in range(2)))

    on_virtual_time(work)


def test_a_deaf_scan_is_begun_anew_when_somebody_comes() -> None:
    async def work() -> None:
        adapter = OneAtATime()
        scan = SharedScan(adapter.make, LoopClock(asyncio.get_running_loop(), START_US))
        heard = []
        first, second = scan.listener(lambda *_: heard.append(1)), scan.listener(lambda *_: heard.append(2))
        await first.start()
        await asyncio.sleep(5)
        adapter.advertise()
        await asyncio.sleep(8)
        await second.start()
        assert adapter.started == 1, "it was heard a moment ago"
        await second.stop()
        await asyncio.sleep(30)
        await second.start()
        assert adapter.started == 2
        adapter.advertise()
        assert heard == [1, 1, 2]
        await first.stop()
        await second.stop()

    on_virtual_time(work)
