"""Runs the demonstration ward for a scripted hour on the virtual clock and says what came of it, as plain values."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from virtual_hour import START_US, run_virtually, virtual_box

from bedside.core.codes import StreamKind
from bedside.core.events import Alarm, AlarmState, Event, to_cbor
from bedside.core.samples import MISSING
from bedside.core.time import US_PER_S
from bedside.operator.report import report
from bedside.records.store import RecordStore, open_store
from bedside.settings import Home
from bedside.simulation.bodies import SimulatedBody
from bedside.stage import bodies_for


@dataclass(frozen=True, slots=True)
class Happened:
    """Something of the script, in seconds since the start."""

    patient: str
    what: str
    start_s: float
    end_s: float


@dataclass(frozen=True, slots=True)
class Raised:
    """An alarm that began to signal."""

    patient: str
    kind: str
    priority: str
    at_s: float


@dataclass(frozen=True, slots=True)
class Hour:
    """What came of it."""

    happened: tuple[Happened, ...]
    raised: tuple[Raised, ...]
    digest: str  # of all events and samples on disk
    samples: dict[str, tuple[int, int, int]]  # patient: sent by the wearable, stored, declared missing
    simulated: dict[str, tuple[bool, bool]]  # patient: what she is, and whether all her events say so
    statements_verified: int
    statements_refused: int
    envelopes: int
    envelopes_missing: int


def play(folder: Path, seconds: float, seed: int) -> Hour:
    """Run the hour in `folder` and read from the disks what is there."""
    home = Home(folder)

    async def main() -> tuple[dict[str, object], dict[str, int]]:
        async with virtual_box(folder, seed=seed) as box:
            await box.until(seconds)
            operator = report(box.operator.sink, START_US + round(seconds * US_PER_S))
            virtual = box.gateway.virtual
            assert virtual is not None
            sent = {one.physiology.name: one.ledger.ecg_samples_sent for one in virtual.wearables}
            return operator, sent

    operator, sent = run_virtually(main)
    store = open_store(home)
    try:
        return _read(store, seconds, operator, sent)
    finally:
        store.close()


def _read(store: RecordStore, seconds: float, operator: dict[str, object], sent: dict[str, int]) -> Hour:
    raised: list[Raised] = []
    samples: dict[str, tuple[int, int, int]] = {}
    simulated: dict[str, tuple[bool, bool]] = {}
    digest = hashlib.sha256()
    for patient in store.patients():
        events = store.events(patient.id, 0, 2**62, limit=10_000_000)
        simulated[patient.name] = (patient.simulated, all(event.simulated == patient.simulated for event in events))
        raised += [one for one in (_raised(patient.name, event) for event in events) if one is not None]
        for event in events:
            digest.update(to_cbor(event))
        stored, missing = 0, 0
        for info in store.streams(patient.id):
            if info.kind is not StreamKind.ECG:
                continue
            index = 0
            for block in store.blocks(info.id, 0, 2**62):
                assert block.first_index >= index, "samples are stored twice"
                missing += block.first_index - index + int(np.count_nonzero(block.counts == MISSING))
                stored += int(np.count_nonzero(block.counts != MISSING))
                index = block.first_index + block.counts.size
                digest.update(block.counts.tobytes())
        samples[patient.name] = (sent[patient.name], stored, missing)
    gateway = operator["gateways"][0]  # type: ignore[index]
    return Hour(
        happened=tuple(_happened(seconds)),
        raised=tuple(sorted(raised, key=lambda one: one.at_s)),
        digest=digest.hexdigest(),
        samples=samples,
        simulated=simulated,
        statements_verified=gateway["statements"]["verified"],
        statements_refused=gateway["statements"]["refused"],
        envelopes=gateway["envelopes"]["slots"],
        envelopes_missing=gateway["envelopes"]["missing"],
    )


def _raised(patient: str, event: Event) -> Raised | None:
    if isinstance(event, Alarm) and event.state is AlarmState.ACTIVE and event.evidence.get("why") != "escalated":
        return Raised(patient, event.kind, str(event.priority), (event.changed_us - START_US) / US_PER_S)
    return None


def _happened(seconds: float) -> list[Happened]:
    found = []
    for body in bodies_for(demo=True, replays=()):
        if isinstance(body.physiology, SimulatedBody):
            for one in body.physiology.timetable.between(0.0, seconds):
                found.append(Happened(body.physiology.name, str(one.what), one.at_s, one.end_s))
    return found
