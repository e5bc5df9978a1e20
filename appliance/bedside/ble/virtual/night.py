"""A night of faults on virtual time, and the ledger of it: what the wearable sent is what is here, or declared missing.

The body's "ECG" counts its own samples, so every sample that arrives says which one it is: no sample may come twice,
in another's place or unnoticed. Between two blocks as many samples are declared missing as truly are, to the sample;
only where the wearable's clock restarted meanwhile nobody can know to the sample, and our own clock has to do.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

import numpy as np

from bedside.ble import pmd
from bedside.ble.air import Air
from bedside.ble.radio import BumbleRadio
from bedside.ble.session import WearableConfig, WearableSession
from bedside.ble.virtual.mischief import Mischief
from bedside.ble.virtual.wearable import VirtualWearable
from bedside.core.physiology import RadioState, ScriptLine
from bedside.core.samples import Block, Counts, Gap, Item, LinkChange, LinkState
from bedside.core.time import LoopClock

RATE_HZ = 130.0
START_US = 1_780_000_000_000_000
LAP = 1 << 24
"""So many samples have different values: what fits 24 bits. A day and a half."""

RESET_S = 1.5
"""How far a gap may be off across a restart of the wearable's clock: what packets were late before and after it."""


class CountingBody:
    """Its ECG says which sample each is; radio and battery are set from outside."""

    name = "Counting (simulated)"
    simulated = True
    lead = "I"
    ecg_rate_hz = RATE_HZ

    def __init__(self) -> None:
        self.radio_now = RadioState()
        self.battery_now = 90.0

    def ecg_uv(self, first_index: int, n_samples: int) -> Counts:
        count = np.arange(first_index, first_index + n_samples, dtype=np.int64)
        counts: Counts = ((count + LAP // 2) % LAP - LAP // 2).astype(np.int32)
        return counts

    def beats_s(self, start_s: float, end_s: float) -> tuple[float, ...]:
        first = int(np.ceil(start_s))
        return tuple(float(second) for second in range(first, int(np.ceil(end_s))))

    def contact(self, at_s: float) -> bool:
        return True

    def spo2_pct(self, at_s: float) -> float | None:
        return None

    def pulse_bpm(self, at_s: float) -> float | None:
        return None

    def pressure_mmhg(self, at_s: float) -> tuple[float, float] | None:
        return None

    def battery_pct(self, at_s: float) -> float:
        return self.battery_now

    def radio(self, at_s: float) -> RadioState:
        return self.radio_now

    def script(self) -> tuple[ScriptLine, ...]:
        return ()


@dataclass(slots=True)
class Ledger:
    """Samples, by cause where they are missing. `errors`: what does not balance, in words; at most `ERRORS_MAX`."""

    received: int = 0
    declared: dict[str, int] = field(default_factory=dict)
    truly_missing: int = 0
    resets_off: int = 0  # samples by which gaps across a restarted clock are off, all together
    first: int | None = None
    next_true: int = 0
    errors: list[str] = field(default_factory=list)
    _pending: int = 0
    _reset: bool = False

    def take(self, item: Item) -> None:
        """One more item, in the order in which a consumer has them."""
        if isinstance(item, Gap):
            self.declared[item.cause] = self.declared.get(item.cause, 0) + item.n_samples
            self._pending += item.n_samples
            self._reset |= item.cause == "clock_reset"
        elif isinstance(item, Block):
            self._block(item)

    def _block(self, block: Block) -> None:
        counts = block.counts
        if counts.size and (np.diff(counts.astype(np.int64)) % LAP != 1).any():
            self._wrong(f"samples at {block.first_index} are not consecutive")
        true = int(counts[0]) % LAP
        if self.first is None:
            self.first = self.next_true = true
        ahead = (true - self.next_true + LAP // 2) % LAP - LAP // 2
        if ahead < 0:
            self._wrong(f"samples at {block.first_index} came before: {-ahead} twice")
        self.truly_missing += max(ahead, 0)
        if self._reset and abs(ahead - self._pending) <= RESET_S * RATE_HZ:
            self.resets_off += abs(ahead - self._pending)
        elif ahead != self._pending:
            self._wrong(f"before {block.first_index} {ahead} samples are missing, {self._pending} declared")
        self._pending, self._reset = 0, False
        self.received += counts.size
        self.next_true += max(ahead, 0) + counts.size

    def _wrong(self, text: str) -> None:
        if len(self.errors) < 20:
            self.errors.append(text)


@dataclass(slots=True)
class Night:
    """How a night went. `sent` and `skipped` are the wearable's own count."""

    hours: float
    ledger: Ledger
    sent: int
    skipped: int
    faults: dict[str, int]
    links_lost: int
    recovered_s: list[float]  # from each loss to the next data

    @property
    def tail(self) -> int:
        """Samples that were under way when the night ended: no later frame could declare them."""
        return self.sent + self.skipped - self.ledger.received - self.ledger.truly_missing

    @property
    def errors(self) -> list[str]:
        """What does not balance; empty: all does."""
        found = list(self.ledger.errors)
        if not 0 <= self.tail <= 45 * RATE_HZ:
            found.append(f"{self.tail} samples neither received nor declared at the end")
        return found


Fault = Callable[["_Scene", random.Random], Awaitable[None]]


@dataclass(slots=True)
class _Scene:
    body: CountingBody
    wearable: VirtualWearable


async def _mischief(scene: _Scene, seconds: float, **share: float) -> None:
    for name, value in share.items():
        setattr(scene.wearable.mischief, name, value)
    await asyncio.sleep(seconds)
    for name in share:
        setattr(scene.wearable.mischief, name, 0.0)


async def _drop(scene: _Scene, dice: random.Random) -> None:
    scene.body.radio_now = RadioState(loss=dice.uniform(0.02, 0.3))
    await asyncio.sleep(dice.uniform(10, 90))
    scene.body.radio_now = RadioState()


async def _duplicate(scene: _Scene, dice: random.Random) -> None:
    await _mischief(scene, dice.uniform(10, 60), duplicate=0.3)


async def _reorder(scene: _Scene, dice: random.Random) -> None:
    await _mischief(scene, dice.uniform(10, 60), reorder=0.2)


async def _truncate(scene: _Scene, dice: random.Random) -> None:
    await _mischief(scene, dice.uniform(10, 60), truncate=0.2)


async def _delay(scene: _Scene, dice: random.Random) -> None:
    await _mischief(scene, dice.uniform(10, 60), delay_s=dice.uniform(0.2, 2.5))


async def _zombie(scene: _Scene, _: random.Random) -> None:
    scene.wearable.mute(pmd.DATA)
    await asyncio.sleep(10)


async def _clock_restart(scene: _Scene, _: random.Random) -> None:
    scene.wearable.restart_clock()
    await asyncio.sleep(10)


async def _out_of_range(scene: _Scene, dice: random.Random) -> None:
    scene.wearable.set_reachable(False)
    await asyncio.sleep(dice.uniform(3, 300))
    scene.wearable.set_reachable(True)


async def _off_the_strap(scene: _Scene, dice: random.Random) -> None:
    """An H10 loses its clock off the strap."""
    scene.wearable.set_reachable(False)
    await asyncio.sleep(dice.uniform(60, 200))
    scene.wearable.restart_clock()
    scene.wearable.set_reachable(True)


async def _bond_lost(scene: _Scene, dice: random.Random) -> None:
    scene.wearable.refuse(True)
    await asyncio.sleep(dice.uniform(30, 120))
    scene.wearable.refuse(False)


async def _battery_empty(scene: _Scene, dice: random.Random) -> None:
    scene.body.battery_now = 0.0
    await asyncio.sleep(dice.uniform(60, 900))
    scene.body.battery_now = 90.0


FAULTS: dict[str, Fault] = {
    "drop": _drop,
    "duplicate": _duplicate,
    "reorder": _reorder,
    "truncate": _truncate,
    "delay": _delay,
    "zombie": _zombie,
    "clock restart": _clock_restart,
    "out of range": _out_of_range,
    "off the strap": _off_the_strap,
    "bond lost": _bond_lost,
    "battery empty": _battery_empty,
}


async def run_night(hours: float, seed: int, quiet_s: tuple[float, float] = (60.0, 400.0)) -> Night:
    """One wearable, its session and every fault in turn. Needs a running virtual-time loop (`VirtualTimeLoop`).

    Between two faults all is well for a time drawn from `quiet_s`.
    """
    loop = asyncio.get_running_loop()
    dice = random.Random(seed)  # noqa: S311 - a scenario's dice, repeated by its seed
    body, air, clock = CountingBody(), Air(), LoopClock(loop, START_US)
    radio = BumbleRadio(air)
    wearable = VirtualWearable(body, air, name="Night", address="C0:00:00:00:05:01", seed=seed)
    config = WearableConfig(id="night", patient="night", name="Night", advertised_name="Night", ecg_stream="ecg")
    session = WearableSession(config, radio, clock, random.Random(seed + 1))  # noqa: S311
    ledger = Ledger()
    night = Night(
        hours=hours, ledger=ledger, sent=0, skipped=0, faults=dict.fromkeys(FAULTS, 0), links_lost=0, recovered_s=[]
    )
    lost_s: float | None = None

    async def listen() -> None:
        nonlocal lost_s
        async for item in session.items():
            ledger.take(item)
            if isinstance(item, LinkChange) and item.state is LinkState.LOST:
                night.links_lost += 1
                lost_s = lost_s if lost_s is not None else loop.time()
            elif isinstance(item, LinkChange) and item.state is LinkState.UP and lost_s is not None:
                night.recovered_s.append(loop.time() - lost_s)
                lost_s = None

    await wearable.start()
    listener = asyncio.create_task(listen())
    end_s, scene, order = loop.time() + hours * 3600, _Scene(body, wearable), list(FAULTS)
    try:
        while loop.time() < end_s:
            dice.shuffle(order)
            for name in order:
                await asyncio.sleep(dice.uniform(*quiet_s))
                if loop.time() >= end_s:
                    break
                night.faults[name] += 1
                await FAULTS[name](scene, dice)
        await asyncio.sleep(90.0)  # whole again, so that the last gap is declared
    finally:
        await session.close()
        await listener
        night.sent, night.skipped = wearable.ledger.ecg_samples_sent, wearable.ledger.ecg_samples_skipped
        await wearable.close()
        await radio.close()
        air.close()
    return night


__all__ = ["FAULTS", "CountingBody", "Ledger", "Mischief", "Night", "run_night"]
