"""`bedside bench --ble`: what the wearables' room can carry on this machine, and how fast a loss is told and mended.

- load: virtual straps at 130 Hz in real time, each with its own session; their real ATT packets through one virtual
  radio, decoded and handed over, each lead filtered and its beats found. Packets sent and not handed over are lost.
- loss: on virtual time, so machine and load do not matter: from the last sample to the word "lost", and from the
  wearable's return to its next sample, out of range and with a link that stays up but is silent.
- ledger: an hour of every fault on virtual time (`ble.virtual.night`).
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any, TypeVar

import numpy as np

from bedside.ble import pmd
from bedside.ble.air import Air
from bedside.ble.radio import BumbleRadio
from bedside.ble.session import WearableConfig, WearableSession
from bedside.ble.virtual.night import CountingBody, Ledger, run_night
from bedside.ble.virtual.wearable import VirtualWearable
from bedside.core.samples import Block, LinkChange, LinkState
from bedside.core.time import Clock, LoopClock, SystemClock, VirtualTimeLoop
from bedside.signal.lead import LeadAnalyser

CONNECT_S_MAX = 600.0
TRIALS = 20
OUT_OF_RANGE, SILENT = "out of range", "silent though the link is up"
T = TypeVar("T")


@dataclass(slots=True)
class _Strap:
    wearable: VirtualWearable
    session: WearableSession
    ledger: Ledger = field(default_factory=Ledger)
    up: bool = False
    last_s: float = 0.0  # loop time of the newest sample
    told: list[tuple[float, LinkState]] = field(default_factory=list)


def _straps(wearables: int, air: Air, radio: BumbleRadio, clock: Clock, seed: int) -> list[_Strap]:
    found = []
    for number in range(wearables):
        address = f"C0:00:00:01:{number >> 8:02X}:{number & 0xFF:02X}"
        name = f"Strap {number}"
        wearable = VirtualWearable(CountingBody(), air, name=name, address=address, seed=seed + number)
        config = WearableConfig(id=name, patient=name, name=name, address=address, ecg_stream=f"ecg {number}")
        dice = random.Random(seed + number)  # noqa: S311 - jitter
        found.append(_Strap(wearable, WearableSession(config, radio, clock, dice)))
    return found


async def _load(wearables: int, seconds: float, seed: int) -> dict[str, Any]:
    """`wearables` straps for `seconds` of real time after all of them are up."""
    loop, air = asyncio.get_running_loop(), Air()
    radio = BumbleRadio(air)
    straps = _straps(wearables, air, radio, SystemClock(), seed)
    taken_us: list[float] = []
    filtered_ms: list[float] = []
    design = LeadAnalyser.design(130.0)
    measuring, all_up = False, asyncio.Event()

    async def follow(strap: _Strap) -> None:
        state = design.initial()
        async for item in strap.session.items():
            strap.ledger.take(item)
            if isinstance(item, LinkChange):
                strap.up = item.state is LinkState.UP
                if all(one.up for one in straps):
                    all_up.set()
            elif isinstance(item, Block):
                state, _ = design.step(state, item.counts * 0.001)
                if measuring:
                    filtered_ms.append((loop.time() - strap.last_s) * 1e3)

    def timed(strap: _Strap) -> None:
        take = strap.session.intake.take

        def measured(uuid: str, payload: bytes, *, now_us: int, now_s: float) -> bool:
            if uuid == pmd.DATA:
                strap.last_s = loop.time()
            began = time.perf_counter()
            result = take(uuid, payload, now_us=now_us, now_s=now_s)
            if measuring:
                taken_us.append((time.perf_counter() - began) * 1e6)
            return result

        strap.session.intake.take = measured  # type: ignore[method-assign]

    for strap in straps:
        timed(strap)
        await strap.wearable.start()
    tasks = [asyncio.create_task(follow(strap)) for strap in straps]
    began_s = loop.time()
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(CONNECT_S_MAX):
            await all_up.wait()
    connected_s, up = loop.time() - began_s, sum(strap.up for strap in straps)
    before, cpu_s = _notified(straps), time.process_time()
    measuring, began_s = True, loop.time()
    await asyncio.sleep(seconds)
    measuring, lasted_s = False, loop.time() - began_s
    cpu_s = time.process_time() - cpu_s
    sent, lost = _notified(straps)[0] - before[0], 0
    lag_s = max(strap.wearable.at_s - (strap.wearable.ledger.ecg_samples_sent) / 130.0 for strap in straps) if up else 0
    for strap in straps:
        await strap.session.close()
    await asyncio.gather(*tasks)
    for strap in straps:
        lost += sum(strap.ledger.declared.values())
        await strap.wearable.close()
    await radio.close()
    air.close()
    return {
        "wearables": wearables,
        "up": up,
        "connected_within_s": round(connected_s, 1),
        "seconds": round(lasted_s, 1),
        "packets": sent,
        "ecg_samples_missing": lost,
        "ledger_errors": sum(len(strap.ledger.errors) for strap in straps),
        "cpu_share_of_one_core": round(cpu_s / lasted_s, 3),
        "decode_and_hand_over_us": _spread(taken_us),
        "notification_to_filtered_ms": _spread(filtered_ms),
        "longest_lag_s": round(lag_s, 2),
    }


def _notified(straps: list[_Strap]) -> tuple[int, int]:
    """Notifications that the wearables sent, and that the sessions took."""
    sent = sum(sum(strap.wearable.ledger.notifications_sent.values()) for strap in straps)
    taken = sum(sum(strap.session.intake.counts.notifications.values()) for strap in straps)
    return sent, taken


def _spread(values: list[float]) -> dict[str, float | int | None]:
    if not values:
        return {"n": 0, "median": None, "p99": None, "largest": None}
    array = np.array(values)
    return {
        "n": len(values),
        "median": round(float(np.median(array)), 2),
        "p99": round(float(np.percentile(array, 99)), 2),
        "largest": round(float(array.max()), 2),
    }


async def _losses(fault: str, seed: int) -> dict[str, list[float]]:
    """`TRIALS` losses of one strap: seconds from the last sample to "lost", and to the next sample.

    The latter from the wearable's return into range, or from when it fell silent.
    """
    loop, air = asyncio.get_running_loop(), Air()
    radio = BumbleRadio(air)
    clock = LoopClock(loop, 1_780_000_000_000_000)
    (strap,) = _straps(1, air, radio, clock, seed)
    dice = random.Random(seed)  # noqa: S311 - a scenario's dice
    told_s: list[float] = []
    mended_s: list[float] = []
    back_s: float | None = None

    async def follow() -> None:
        nonlocal back_s
        async for item in strap.session.items():
            if isinstance(item, Block):
                if back_s is not None and loop.time() - strap.last_s > 1.0:
                    mended_s.append(loop.time() - back_s)
                    back_s = None
                strap.last_s = loop.time()
            elif isinstance(item, LinkChange) and item.state is LinkState.LOST:
                told_s.append(loop.time() - strap.last_s)

    await strap.wearable.start()
    task = asyncio.create_task(follow())
    for _ in range(TRIALS):
        await asyncio.sleep(dice.uniform(40, 60))
        if fault == OUT_OF_RANGE:
            strap.wearable.set_reachable(False)
            await asyncio.sleep(dice.uniform(10, 20))
            strap.wearable.set_reachable(True)
        else:
            strap.wearable.mute(pmd.DATA)  # until it is subscribed to again
        back_s = loop.time()
    await asyncio.sleep(60)
    await strap.session.close()
    await task
    await strap.wearable.close()
    await radio.close()
    air.close()
    return {"told_s": told_s, "mended_s": mended_s}


def _virtually(work: Callable[[], Awaitable[T]]) -> T:
    async def run() -> T:
        return await work()

    with asyncio.Runner(loop_factory=VirtualTimeLoop) as runner:
        return runner.run(run())


def _loss_figures(fault: str, seed: int) -> dict[str, Any]:
    return {name: _spread(values) for name, values in _virtually(lambda: _losses(fault, seed)).items()}


def measure_ble(wearables: int, seconds: float, seed: int = 1) -> dict[str, Any]:
    """All figures of the wearables' room, as plain JSON values."""
    was = logging.root.manager.disable
    logging.disable(logging.ERROR)
    try:
        losses = {fault: _loss_figures(fault, seed) for fault in (OUT_OF_RANGE, SILENT)}
        night = _virtually(lambda: run_night(1.0, seed, (20.0, 60.0)))
        load = asyncio.run(_load(wearables, seconds, seed)) if wearables else None
    finally:
        logging.disable(was)
    ledger = {
        "passed": night.sent + night.skipped,
        "received": night.ledger.received,
        "declared": dict(sorted(night.ledger.declared.items())),
        "neither": night.tail,
        "errors": night.errors,
        "faults": night.faults,
    }
    return {"load": load, "loss": losses, "hour": ledger}


def ble_text(figures: dict[str, Any]) -> str:
    """The figures for people."""
    lines: list[str] = []
    load = figures["load"]
    if load is not None:
        took, filtered = load["decode_and_hand_over_us"], load["notification_to_filtered_ms"]
        lines += [
            f"{load['up']} of {load['wearables']} virtual straps at 130 Hz for {load['seconds']:g} s in real time, "
            f"all connected within {load['connected_within_s']:g} s",
            f"  packets {load['packets']}, ECG samples missing {load['ecg_samples_missing']}, "
            f"ledgers that do not balance {load['ledger_errors']}, "
            f"{100 * load['cpu_share_of_one_core']:.0f} % of one core",
            f"  decode and hand over a packet     median {took['median']} µs, p99 {took['p99']} µs  (n = {took['n']})",
            f"  notification to filtered sample   median {filtered['median']} ms, p99 {filtered['p99']} ms  "
            f"(n = {filtered['n']})",
        ]
    for fault, found in figures["loss"].items():
        told, mended = found["told_s"], found["mended_s"]
        lines.append(
            f"  {fault:<30} told after {told['median']} s (longest {told['largest']}), "
            f"samples again {mended['median']} s after {'it is back' if fault == OUT_OF_RANGE else 'it fell silent'} "
            f"(longest {mended['largest']}); n = {told['n']}"
        )
    hour = figures["hour"]
    missing = ", ".join(f"{cause} {count}" for cause, count in hour["declared"].items())
    lines.append(
        f"  an hour of every fault: {hour['passed']} samples, {hour['received']} here, declared missing: {missing}; "
        f"neither: {hour['neither']}; {'balances' if not hour['errors'] else 'DOES NOT BALANCE'}"
    )
    return "\n".join(lines)
