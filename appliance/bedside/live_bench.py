"""The live part of `bedside bench`: virtual wearables in real time, through the gateway to a viewer.

Latency is taken against the truth of the simulated bodies, on this box's clock:

- beat to screen: from the R peak to the arrival, at a viewer of the local socket, of the batch that holds its sample;
- beat to judgement: from the R peak to the beat's event (its class waits for the next beat);
- beat to alarm: from the R peak of the beat that completes a ventricular tachycardia (the fifth) to the alarm.

What the wearable itself takes to fill a frame (up to 0.56 s at 130 Hz) is in all three.
"""

from __future__ import annotations

import asyncio
import contextlib
import resource
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from bedside.core import wire
from bedside.core.events import Alarm, AlarmState, Beat, Event
from bedside.core.time import US_PER_S, SystemClock
from bedside.gateway import Body, Edges, Gateway, open_gateway
from bedside.settings import Home, Settings
from bedside.simulation.bodies import SimulatedBody
from bedside.simulation.happenings import Happening, Timetable, What
from bedside.simulation.heart import Shape

WARM_UP_S = 8.0
VT_AT_S = 30.0  # the classifier has learnt the patient by then
VT_FOR_S = 6.0
VT_BEATS = 5
MEANINGS = {
    "beat_to_screen_s": "beat to screen",
    "beat_to_judgement_s": "beat to its class",
    "beat_to_alarm_s": "fifth beat of a VT to its alarm",
}
VT_KIND = "ventricular_tachycardia"


@dataclass(slots=True)
class Latencies:
    """Seconds, one for each beat or alarm."""

    beat_to_screen_s: list[float] = field(default_factory=list)
    beat_to_judgement_s: list[float] = field(default_factory=list)
    beat_to_alarm_s: list[float] = field(default_factory=list)


@dataclass(slots=True)
class _Seen:
    """What came out, with the clock's time at which it did."""

    beats: list[tuple[str, int, int]] = field(default_factory=list)  # patient, R peak, now
    alarms: list[tuple[str, str, int]] = field(default_factory=list)  # patient, kind, now
    covered: list[tuple[str, int, int, int]] = field(default_factory=list)  # patient, from, to, now


def measure_live(wearables: int, seconds: float) -> dict[str, Any]:
    """Run `wearables` virtual straps for `seconds` of real time; figures as plain JSON values."""
    bodies = [_body(number) for number in range(wearables)]
    with tempfile.TemporaryDirectory(prefix="bedside-bench-") as folder:
        return asyncio.run(_measure(Home(Path(folder)), bodies, seconds))


def _body(number: int) -> SimulatedBody:
    vt = Timetable((Happening(VT_AT_S + (number % 8) * 0.5, VT_FOR_S, What.VT, rate_bpm=170, text="VT"),), seed=number)
    return SimulatedBody(f"Bench {number + 1} (simulated)", number + 1, vt, rate_bpm=62.0 + number % 30)


async def _measure(home: Home, bodies: Sequence[SimulatedBody], seconds: float) -> dict[str, Any]:
    clock, seen = SystemClock(), _Seen()

    def observe(event: Event) -> None:
        if isinstance(event, Beat) and event.patient is not None:
            seen.beats.append((event.patient, event.start_us, clock.now_us()))
        elif isinstance(event, Alarm) and event.state is AlarmState.ACTIVE and event.patient is not None:
            seen.alarms.append((event.patient, event.kind, clock.now_us()))

    gateway = await open_gateway(
        home,
        Settings(),
        Edges.of_the_box(clock),
        bodies=[Body(physiology=body, bed=str(number)) for number, body in enumerate(bodies, 1)],
        demonstration=True,
        observer=observe,
    )
    task = asyncio.create_task(gateway.run(), name="gateway")
    viewer: asyncio.Task[None] | None = None
    try:
        await asyncio.sleep(WARM_UP_S)
        viewer = asyncio.create_task(_watch(home, clock, seen), name="viewer")
        cpu_s, began_s = time.process_time(), time.monotonic()
        await asyncio.wait((task, viewer), timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
        if task.done():
            await task
        cpu_s, lasted_s = time.process_time() - cpu_s, time.monotonic() - began_s
        truth = _truth(gateway, bodies)
    finally:
        for one in (viewer, task):
            if one is not None:
                one.cancel()
                with contextlib.suppress(asyncio.CancelledError):
                    await one
    return {
        "wearables": len(bodies),
        "seconds": round(lasted_s, 1),
        "cpu_share_of_one_core": round(cpu_s / lasted_s, 4),
        "resident_mb_max": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, 1),
        **_summary(_latencies(truth, seen)),
    }


async def _watch(home: Home, clock: SystemClock, seen: _Seen) -> None:
    reader, writer = await asyncio.open_unix_connection(home.gateway_socket, limit=2**22)
    writer.write(wire.frame({"v": wire.VERSION, "id": 1, "op": "subscribe", "after": None}))
    try:
        while (batch := await wire.read_frame(reader)) is not None:
            now_us = clock.now_us()
            for wave in batch.get("waves", ()):
                samples = len(wave["data"]) * 3 // 4 // 2
                end_us = wave["start_us"] + round(samples * US_PER_S / wave["rate_hz"])
                seen.covered.append((wave["patient"], wave["start_us"], end_us, now_us))
    finally:
        writer.close()


def _truth(gateway: Gateway, bodies: Sequence[SimulatedBody]) -> dict[str, tuple[list[int], int | None]]:
    """By patient: the true times of her R peaks, and of the beat that completes her VT, in microseconds UTC."""
    clock = SystemClock()
    found: dict[str, tuple[list[int], int | None]] = {}
    virtual = gateway.virtual
    assert virtual is not None
    for body, wearable, patient in zip(bodies, virtual.wearables, gateway.ward.patients(), strict=True):
        origin_us = clock.now_us() - round(wearable.at_s * US_PER_S)
        beats = body.beats(0.0, wearable.at_s)
        peaks = [origin_us + round(at_s * US_PER_S) for at_s in beats.time_s]
        wide = [peak for peak, shape in zip(peaks, beats.shape, strict=True) if shape == Shape.VENTRICULAR]
        found[patient] = (peaks, wide[VT_BEATS - 1] if len(wide) >= VT_BEATS else None)
    return found


def _latencies(truth: dict[str, tuple[list[int], int | None]], seen: _Seen) -> Latencies:
    found = Latencies()
    for patient, (peaks, fifth_us) in truth.items():
        covered = [(start, end, now) for who, start, end, now in seen.covered if who == patient]
        for peak in peaks:
            arrived = next((now for start, end, now in covered if start <= peak < end), None)
            if arrived is not None:
                found.beat_to_screen_s.append((arrived - peak) / US_PER_S)
        found.beat_to_judgement_s += [(now - peak) / US_PER_S for who, peak, now in seen.beats if who == patient]
        raised = next((now for who, kind, now in seen.alarms if who == patient and kind == VT_KIND), None)
        if fifth_us is not None and raised is not None:
            found.beat_to_alarm_s.append((raised - fifth_us) / US_PER_S)
    return found


def _summary(found: Latencies) -> dict[str, object]:
    summary: dict[str, object] = {}
    for name in MEANINGS:
        values = getattr(found, name)
        summary[name] = {
            "n": len(values),
            "median": round(float(np.median(values)), 3) if values else None,
            "p99": round(float(np.percentile(values, 99)), 3) if values else None,
        }
    return summary


def live_text(figures: dict[str, Any]) -> str:
    """The measurement for people."""
    lines = [
        f"{figures['wearables']} virtual wearables for {figures['seconds']:g} s in real time: "
        f"{100 * figures['cpu_share_of_one_core']:.1f} % of one core, {figures['resident_mb_max']:g} MB resident"
    ]
    for name, meaning in MEANINGS.items():
        one = figures[name]
        shown = "none seen" if one["median"] is None else f"median {one['median']:.2f} s, p99 {one['p99']:.2f} s"
        lines.append(f"  {meaning:<42}{shown}  (n = {one['n']})")
    return "\n".join(lines)
