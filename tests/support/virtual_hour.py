"""A whole ward on the virtual clock: gateway, four virtual wearables, records, outbox and an operator in one loop."""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from bedside.core.ids import IdSource
from bedside.core.time import InlineWorker, LoopClock, VirtualTimeLoop
from bedside.gateway import Body, Edges, Gateway, open_gateway
from bedside.network.links import UnixLink
from bedside.operator.service import OperatorService
from bedside.settings import Home, Settings
from bedside.stage import bodies_for

T = TypeVar("T")
START_US = 1_772_323_200_000_000  # 2026-03-01T00:00:00Z: an hour's beginning


@dataclass(slots=True)
class VirtualBox:
    """A running gateway and its operator; `at_s` is the time since both started."""

    home: Home
    gateway: Gateway
    operator: OperatorService
    task: asyncio.Task[None]

    async def until(self, at_s: float) -> None:
        """Let time pass until `at_s` after the start; a gateway that ends before is an error."""
        loop = asyncio.get_running_loop()
        sleeper = asyncio.create_task(asyncio.sleep(at_s - loop.time()))
        await asyncio.wait((sleeper, self.task), return_when=asyncio.FIRST_COMPLETED)
        if self.task.done():
            sleeper.cancel()
            await self.task
            raise AssertionError("the gateway ended though nobody stopped it")


def edges(seed: int, start_s: float = 0.0) -> Edges:
    """Virtual time and seeded randomness; work that blocks is done at once."""
    clock = LoopClock(asyncio.get_running_loop(), START_US + round(start_s * 1e6))
    return Edges(
        clock=clock,
        ids=IdSource(clock.now_us, random.Random(seed)),
        randomness=random.Random(seed + 1),
        records_worker=InlineWorker(),
        network_worker=InlineWorker(),
    )


@asynccontextmanager
async def virtual_box(
    folder: Path,
    *,
    seed: int = 1,
    bodies: Sequence[Body] | None = None,
    epoch_s: int = 3600,
    start_s: float = 0.0,
    demonstration: bool = True,
) -> AsyncIterator[VirtualBox]:
    """The demonstration ward (or `bodies`) on the virtual clock, from its start to its clean end.

    `start_s`: how much later than the hour's beginning it starts, for a second start on the same folder.
    """
    home = Home(folder)
    home.make()
    at = edges(seed, start_s)
    operator = OperatorService(home.operator, clock=at.clock, worker=InlineWorker(), epoch_s=epoch_s)
    await operator.start()
    await operator.offer_token(home.operator_token)
    chosen = bodies_for(demo=True, replays=()) if bodies is None else list(bodies)
    gateway = await open_gateway(
        home,
        Settings(epoch_s=epoch_s),
        at,
        bodies=chosen,
        link=UnixLink(home.operator / "operator.sock"),
        demonstration=demonstration,
    )
    task = asyncio.create_task(gateway.run(), name="gateway")
    try:
        yield VirtualBox(home, gateway, operator, task)
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task
        await operator.close()


def run_virtually(main: Callable[[], Coroutine[object, object, T]]) -> T:
    """Run `main()` on a loop whose time is virtual."""
    with asyncio.Runner(loop_factory=VirtualTimeLoop) as runner:
        return runner.run(main())
