"""A simulated body on a wire: its samples as items, straight into a patient's watch."""

from __future__ import annotations

import itertools
import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from bedside.alarms.watch import PatientWatch, WatchOutput
from bedside.core.codes import Code, StreamKind
from bedside.core.events import Alarm, AlarmState, Event, Suppression
from bedside.core.ids import IdSource
from bedside.core.samples import Block, Contact, Floats, Gap, Item, LinkChange, LinkState, Reading, StreamInfo
from bedside.signal.lead import RPeak
from bedside.simulation.bodies import SimulatedBody
from bedside.simulation.happenings import Happening, Timetable
from bedside.simulation.heart import Shape

START_US = 1_700_000_000_000_000
S = 1_000_000
PATIENT, STRAP, OXIMETER = "p" * 32, "a" * 32, "b" * 32
RATE_HZ = 130.0
ECG = StreamInfo(
    id="e" * 32, patient=PATIENT, wearable=STRAP, kind=StreamKind.ECG, label="I", rate_hz=RATE_HZ, unit="mV",
    unit_per_count=0.001, simulated=True,
)  # fmt: skip


@dataclass(frozen=True)
class TrueBeat:
    peak: RPeak
    rr_s: float | None
    symbol: str
    judged: bool = True
    probability: float | None = 1.0
    reason: str | None = None


class TruthJudge:
    """Classifies by what the body's script says: so these tests are of alarms, not of a model."""

    digest = "7" * 64

    def __init__(self, body: SimulatedBody) -> None:
        self._body = body

    def initial(self) -> Any:
        return None

    def step(
        self,
        state: Any,
        clean_mv: Floats,
        clean_first: int,
        peaks: Sequence[RPeak],
        settled_clean_index: int,
        retracted: Sequence[int] = (),
    ) -> tuple[Any, Sequence[TrueBeat]]:
        made = []
        for peak in peaks:
            at_s = peak.index / RATE_HZ
            beats = self._body.beats(max(at_s - 0.15, 0), at_s + 0.15)
            wide = bool(np.any(beats.shape == Shape.VENTRICULAR))
            rr_s = None if state is None else (peak.index - state) / RATE_HZ
            made.append(TrueBeat(peak, rr_s, "V" if wide else "N"))
            state = peak.index
        return state, made

    def finish(self, state: Any) -> tuple[Any, Sequence[TrueBeat]]:
        return state, ()


def body_with(*happenings: Happening, **options: Any) -> SimulatedBody:
    return SimulatedBody("Test (simulated)", 11, Timetable(happenings), **options)


def items(body: SimulatedBody, until_s: float, cut: Callable[[], int]) -> Iterator[Item]:
    """What the wearables of `body` say, in the order of time; ECG blocks of `cut()` samples."""
    yield LinkChange(wearable=STRAP, patient=PATIENT, time_us=START_US, state=LinkState.UP, reason="connected")
    contact, index, second, end = True, 0, 0, round(until_s * RATE_HZ)
    while index < end:
        n = min(cut(), end - index)
        at_s = index / RATE_HZ
        if body.contact(at_s) != contact:
            contact = not contact
            at_us = START_US + round(at_s * S)
            yield Contact(wearable=STRAP, patient=PATIENT, time_us=at_us, on_skin=contact)
        yield Block(
            stream=ECG, first_index=index, start_us=START_US + round(at_s * S), rate_hz=RATE_HZ,
            counts=body.ecg_uv(index, n),
        )  # fmt: skip
        index += n
        while body.oximeter and second < index / RATE_HZ:
            value = body.spo2_pct(float(second))
            yield Reading(
                wearable=OXIMETER, patient=PATIENT, code=Code.SPO2, time_us=START_US + second * S, value=value
            )
            second += 1


class Night:
    """A watch and everything that it said."""

    def __init__(self, body: SimulatedBody) -> None:
        self.t_us = START_US
        self.ids = IdSource(lambda: self.t_us, random.Random(5))
        self.body = body
        self.watch = self.new_watch()
        self.events: list[Event] = []

    def new_watch(self) -> PatientWatch:
        return PatientWatch(PATIENT, self.ids, TruthJudge(self.body), True)

    def run(
        self, until_s: float, *, from_s: float = 0.0, cut: Callable[[], int] = lambda: 73, advance: bool = True
    ) -> None:
        """Live: `advance` each second of data. Without: a recording, whose time is its data's."""
        for item in items(self.body, until_s, cut):
            end_us = item.end_us if isinstance(item, Block | Gap) else item.time_us
            if from_s and end_us <= START_US + from_s * S:
                continue
            before_us, self.t_us = self.t_us, max(self.t_us, end_us)
            self._keep(self.watch.feed(item))
            if advance and before_us // S != self.t_us // S:
                self._keep(self.watch.advance(self.t_us))

    def _keep(self, output: WatchOutput) -> None:
        self.events += output.events

    def alarms(self, kind: str | None = None) -> list[Alarm]:
        return [one for one in self.events if isinstance(one, Alarm) and (kind is None or one.kind == kind)]

    def states(self, kind: str) -> list[AlarmState]:
        return [one.state for one in self.alarms(kind)]

    def suppressed(self) -> set[str]:
        return {one.kind for one in self.events if isinstance(one, Suppression)}

    def story(self) -> list[tuple[object, ...]]:
        """The alarms without their ids: what a reader of the log would compare."""
        return [
            (one.kind, one.priority, one.state, one.start_us, one.end_us, one.raised_us, one.changed_us, one.text)
            for one in self.alarms()
        ]


def random_cuts(seed: int, longest: int) -> Callable[[], int]:
    source = random.Random(seed)
    return lambda: source.randint(1, longest)


def repeated(*sizes: int) -> Callable[[], int]:
    source = itertools.cycle(sizes)
    return lambda: next(source)
