"""Scenes for the tests of sessions: virtual wearables and sessions on one virtual radio, on virtual time."""

from __future__ import annotations

import asyncio
import gc
import random
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

from tests.ble.ble_bodies import ReplayedBody

from bedside.ble.air import SUPERVISION_S, Air
from bedside.ble.radio import BumbleRadio
from bedside.ble.session import WearableConfig, WearableSession
from bedside.ble.virtual import VirtualWearable
from bedside.core.codes import Code
from bedside.core.samples import Block, Gap, Item, LinkChange, Reading
from bedside.core.time import LoopClock, VirtualTimeLoop

T = TypeVar("T")
START_US = 1_780_000_000_000_000


@dataclass
class Strand:
    """One wearable, its session, and all that the session gave."""

    wearable: VirtualWearable
    session: WearableSession
    items: list[Item] = field(default_factory=list)
    task: asyncio.Task[None] | None = None

    @property
    def blocks(self) -> list[Block]:
        return [item for item in self.items if isinstance(item, Block)]

    @property
    def gaps(self) -> list[Gap]:
        return [item for item in self.items if isinstance(item, Gap)]

    @property
    def links(self) -> list[LinkChange]:
        return [item for item in self.items if isinstance(item, LinkChange)]

    def readings(self, code: Code) -> list[Reading]:
        return [item for item in self.items if isinstance(item, Reading) and item.code is code]


@dataclass
class Scene:
    """Everything of one run."""

    clock: LoopClock
    air: Air
    radio: BumbleRadio
    strands: list[Strand]

    def listen(self) -> None:
        """Take the items of every session into its strand."""

        async def take(strand: Strand) -> None:
            async for item in strand.session.items():
                strand.items.append(item)

        for strand in self.strands:
            strand.task = asyncio.create_task(take(strand))

    async def close(self) -> None:
        for strand in self.strands:
            await strand.session.close()
        await asyncio.gather(*(strand.task for strand in self.strands if strand.task is not None))
        for strand in self.strands:
            await strand.wearable.close()
        await self.radio.close()
        self.air.close()


def make_scene(bodies: Sequence[ReplayedBody], *, seed: int = 1, supervision_s: float = SUPERVISION_S) -> Scene:
    clock = LoopClock(asyncio.get_running_loop(), START_US)
    air = Air(supervision_s=supervision_s)
    radio = BumbleRadio(air)
    strands = []
    for number, body in enumerate(bodies):
        wearable = VirtualWearable(
            body, air, name=f"Strap {number}", address=f"C0:00:00:00:01:{number:02X}", seed=seed * 1000 + number
        )
        config = WearableConfig(
            id=f"wearable-{number}",
            patient=f"patient-{number}",
            name=f"Strap {number}",
            advertised_name=f"Strap {number}",
            ecg_stream=f"ecg-{number}",
        )
        strands.append(Strand(wearable, WearableSession(config, radio, clock, random.Random(seed + number))))
    return Scene(clock, air, radio, strands)


def on_virtual_time(work: Callable[[], Awaitable[T]]) -> T:
    """Run `work` on a virtual-time loop; fails when it leaves a task behind or a callback raises."""

    async def run() -> T:
        unhandled: list[dict[str, Any]] = []
        asyncio.get_running_loop().set_exception_handler(lambda _, context: unhandled.append(context))
        result = await work()
        await asyncio.sleep(0.01)
        left = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
        assert not left, f"tasks left behind: {left}"
        gc.collect()  # an exception that nobody retrieved is told when its task goes
        assert not unhandled, f"not handled: {unhandled}"
        return result

    with asyncio.Runner(loop_factory=VirtualTimeLoop) as runner:
        return runner.run(run())


def play(
    bodies: Sequence[ReplayedBody],
    script: Callable[[Scene], Awaitable[None]],
    *,
    seed: int = 1,
    supervision_s: float = SUPERVISION_S,
) -> Scene:
    """Switch the wearables on, listen, run `script`, close everything in order; the scene with all items."""

    async def run() -> Scene:
        scene = make_scene(bodies, seed=seed, supervision_s=supervision_s)
        for strand in scene.strands:
            await strand.wearable.start()
        scene.listen()
        try:
            await script(scene)
        finally:
            await scene.close()
        return scene

    return on_virtual_time(run)


def check_balance(strand: Strand, tail_s: float = 5.0) -> None:
    """Every sample is received once or declared missing once, and each is the body's own, at its own index.

    What the *wearable* counted: sent, and passed unsent while its stream did not run. The last frames may have been
    under way when the session closed, so the wearable's count may be ahead by what no later frame could declare.
    """
    stream = [item for item in strand.items if isinstance(item, (Block, Gap))]
    assert isinstance(stream[0], Block)
    body = strand.wearable.physiology
    first_s = (stream[0].start_us - START_US) / 1e6 - 1 / body.ecg_rate_hz  # sent one period after the last sample
    guess = round(first_s * body.ecg_rate_hz)
    near = sorted(range(-1500, 1500), key=abs)  # the first stamp may be late by the delay of its packet
    base = next(
        guess + shift
        for shift in near
        if guess + shift >= 0 and (body.ecg_uv(guess + shift, stream[0].counts.size) == stream[0].counts).all()
    )
    expected = stream[0].first_index
    received = missing = 0
    for item in stream:
        assert item.first_index == expected, f"index {item.first_index} follows {expected}"
        if isinstance(item, Gap):
            missing += item.n_samples
            expected += item.n_samples
        else:
            wanted = body.ecg_uv(base + item.first_index - stream[0].first_index, item.counts.size)
            assert (item.counts == wanted).all(), f"samples at {item.first_index} are not the body's"
            received += item.counts.size
            expected += item.counts.size
    ledger = strand.wearable.ledger
    assert received + missing <= ledger.ecg_samples_sent + ledger.ecg_samples_skipped
    assert received <= ledger.ecg_samples_sent - ledger.ecg_samples_lost
    tail = ledger.ecg_samples_sent + ledger.ecg_samples_skipped - received - missing
    assert 0 <= tail <= tail_s * body.ecg_rate_hz, f"{tail} samples neither received nor declared"
