"""Virtual time: hours pass as fast as the work in them, in order, sockets included."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

import pytest

from bedside.core.time import LoopClock, ScaledTimeLoop, VirtualTimeLoop, iso_utc


def test_a_virtual_day_takes_no_time_and_keeps_the_order_of_timers() -> None:
    order: list[str] = []

    async def main() -> float:
        async def later(name: str, delay_s: float) -> None:
            await asyncio.sleep(delay_s)
            order.append(name)

        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(later("evening", 64_800))
            tasks.create_task(later("morning", 21_600))
            tasks.create_task(later("noon", 43_200))
        return asyncio.get_running_loop().time()

    began_s = time.monotonic()
    with asyncio.Runner(loop_factory=VirtualTimeLoop) as runner:
        ended_s = runner.run(main())
    assert order == ["morning", "noon", "evening"]
    assert ended_s == pytest.approx(64_800)
    assert time.monotonic() - began_s < 30


def test_a_socket_inside_the_virtual_loop_is_served_before_time_moves(tmp_path: Path) -> None:
    async def main() -> tuple[bytes, float]:
        async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            writer.write(await reader.readexactly(4))
            await writer.drain()
            writer.close()

        server = await asyncio.start_unix_server(echo, tmp_path / "echo")
        asyncio.get_running_loop().call_later(3600, lambda: None)  # a timer that must not be jumped to
        reader, writer = await asyncio.open_unix_connection(tmp_path / "echo")
        writer.write(b"beat")
        answer = await reader.readexactly(4)
        now_s = asyncio.get_running_loop().time()
        writer.close()
        server.close()
        return answer, now_s

    with asyncio.Runner(loop_factory=VirtualTimeLoop) as runner:
        answer, now_s = runner.run(main())
    assert answer == b"beat"
    assert now_s < 1.0


def test_a_loop_clock_tells_wall_time_from_its_loop() -> None:
    async def main() -> int:
        clock = LoopClock(asyncio.get_running_loop(), start_us=1_000_000)
        await asyncio.sleep(2.5)
        return clock.now_us()

    with asyncio.Runner(loop_factory=VirtualTimeLoop) as runner:
        assert runner.run(main()) == 3_500_000


def test_a_scaled_loop_refuses_a_speed_that_is_no_speed() -> None:
    for speed in (0.0, -1.0, float("nan")):
        with pytest.raises(ValueError, match="speed"):
            ScaledTimeLoop(speed)


def test_a_scaled_loop_sleeps_a_tenth_at_ten_times_the_speed() -> None:
    began_s = time.monotonic()
    with asyncio.Runner(loop_factory=lambda: ScaledTimeLoop(100.0)) as runner:
        runner.run(asyncio.sleep(20.0))
    assert 0.15 < time.monotonic() - began_s < 15


def test_times_are_written_as_iso_8601_utc() -> None:
    assert iso_utc(1_769_868_130_250_000) == "2026-01-31T14:02:10.250Z"
