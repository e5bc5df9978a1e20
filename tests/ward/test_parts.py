"""Parts that fall over are started again with back-off, and the ward is told."""

from __future__ import annotations

import asyncio
import contextlib

import pytest

from bedside.core.time import LoopClock, VirtualTimeLoop
from bedside.ward.parts import Parts, keep_running

pytestmark = pytest.mark.requirement("GWY-004")


def test_a_part_that_fails_is_started_again_and_is_well_when_it_stays_up() -> None:
    said: list[tuple[str, bool]] = []
    started_s: list[float] = []

    async def main() -> list[str]:
        loop = asyncio.get_running_loop()
        parts = Parts(lambda name, failed, _: said.append((name, failed)))

        async def run() -> None:
            started_s.append(loop.time())
            if len(started_s) < 4:
                raise ZeroDivisionError
            await asyncio.sleep(3600)

        task = asyncio.create_task(keep_running("network", run, parts, LoopClock(loop, 0)))
        await asyncio.sleep(120)
        states = [part["state"] for part in parts.views()]
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task
        return states

    with asyncio.Runner(loop_factory=VirtualTimeLoop) as runner:
        assert runner.run(main()) == ["ok"]
    assert [round(after) for after in started_s] == [0, 1, 3, 8]
    assert said == [("network", True), ("network", False)]


def test_parts_are_listed_in_the_order_an_engineer_looks_at_them() -> None:
    parts = Parts(lambda *_: None)
    for name in ("operator", "zebra", "gateway", "records"):
        parts.set(name, "ok", "")
    assert [part["name"] for part in parts.views()] == ["gateway", "records", "operator", "zebra"]
