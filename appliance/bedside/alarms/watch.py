"""A patient's watch: her monitor and her alarms together, as the gateway and `bedside analyze` run them.

Pure: items and times in; events (the monitor's and the alarms' in order) and display waves out.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from bedside.alarms.engine import AlarmEngine
from bedside.alarms.table import ConditionTable
from bedside.core.events import Alarm, Event
from bedside.core.ids import IdSource
from bedside.core.samples import Block, Contact, Gap, Item, LinkChange, Reading
from bedside.core.time import US_PER_S
from bedside.models.beats import BeatClassifier
from bedside.monitor.patient import CleanWave, MonitorOutput, PatientMonitor

CELL_S = 0.25
"""Blocks are cut where the sample index passes a multiple of this; the alarms' time moves in the same steps.
So which alarms come, and when, does not depend on how the stream was cut."""

TRUST_S = 30.0
"""Times of items further than this from the last `advance` mean a clock that was set: the alarms' time stays."""


@dataclass(frozen=True, slots=True)
class WatchOutput:
    """What a step gave, in the order in which it happened."""

    events: tuple[Event, ...] = ()
    waves: tuple[CleanWave, ...] = ()


class PatientWatch:
    """Watches one patient. `advance` is called at least once a second, data or not."""

    def __init__(
        self,
        patient: str,
        ids: IdSource,
        classifier: BeatClassifier,
        simulated: bool,
        *,
        table: ConditionTable | None = None,
    ) -> None:
        self.patient = patient
        self._monitor = PatientMonitor(patient, ids, classifier, simulated)
        self._alarms = AlarmEngine(patient, ids, simulated=simulated, table=table)
        self._now_us: int | None = None
        self._advanced_us: int | None = None
        self._streams: set[str] = set()

    def feed(self, item: Item) -> WatchOutput:
        """One item of this patient's wearables."""
        if not isinstance(item, Block):
            return self._step(self._monitor.feed(item), self._time_us(item))
        if item.stream.id not in self._streams:
            self._streams.add(item.stream.id)
            self._alarms.stream(item.stream)
        events: list[Event] = []
        waves: list[CleanWave] = []
        for part, until_us in _cells(item):
            output = self._step(self._monitor.feed(part), until_us)
            events += output.events
            waves += output.waves
        return WatchOutput(tuple(events), tuple(waves))

    def advance(self, now_us: int) -> WatchOutput:
        """It is `now_us`: time runs also when no data come."""
        self._advanced_us = now_us
        output = self._monitor.advance(now_us)
        events: list[Event] = []
        for event in output.events:
            events += [event, *self._alarms.feed(event, now_us)]
        events += self._alarms.advance(now_us)
        self._now_us = now_us
        return WatchOutput(tuple(events), output.waves)

    def acknowledge(self, alarm: str, by: str, now_us: int) -> list[Event]:
        """Acknowledge in the name of `by`. Raises `KeyError` when no such alarm is open."""
        return self._alarms.acknowledge(alarm, by, now_us)

    def open(self) -> list[Alarm]:
        """Alarms that are not ended, most urgent first."""
        return self._alarms.open()

    def restore(self, alarms: Sequence[Alarm], now_us: int) -> list[Event]:
        """Take over alarms that were open before a restart; nothing that was on is muted by it."""
        self._advanced_us = self._now_us = now_us
        return self._alarms.restore(alarms, now_us)

    def _step(self, output: MonitorOutput, item_us: int) -> WatchOutput:
        now_us = self._believed_us(item_us)
        events: list[Event] = []
        for event in output.events:
            events += [event, *self._alarms.feed(event, now_us)]
        events += self._alarms.advance(now_us)
        self._now_us = now_us
        return WatchOutput(tuple(events), output.waves)

    def _believed_us(self, item_us: int) -> int:
        """The alarms' time when an item of `item_us` arrives: never behind what was said already."""
        newest_us = self._now_us if self._now_us is not None else item_us
        if self._advanced_us is not None and abs(item_us - self._advanced_us) > TRUST_S * US_PER_S:
            return newest_us
        return max(item_us, newest_us)

    @staticmethod
    def _time_us(item: Reading | Contact | LinkChange | Gap) -> int:
        return item.end_us if isinstance(item, Gap) else item.time_us


def _cells(block: Block) -> Iterator[tuple[Block, int]]:
    """The block in parts that do not cross a cell's edge, each with the time of its cell's end."""
    cell = max(round(CELL_S * block.rate_hz), 1)
    first, end = block.first_index, block.first_index + block.counts.size
    at = first
    while at < end or at == first:
        edge = (at // cell + 1) * cell
        stop = min(edge, end)

        def time_us(index: int) -> int:
            return block.start_us + round((index - first) * US_PER_S / block.rate_hz)

        part = replace(block, first_index=at, start_us=time_us(at), counts=block.counts[at - first : stop - first])
        yield part, round(time_us(edge), -3)  # whole milliseconds: rounding of block times does not show
        if stop == end:
            return
        at = stop
