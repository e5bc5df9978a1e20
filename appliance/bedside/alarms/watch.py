"""A patient's watch: her monitor and her alarms together, as the gateway and `bedside analyze` run them.

The alarms hear of each event at the time at which it could first be known, and of time passing in steps of
`STEP_S` between: which alarms come, and when, does not depend on how a stream was cut into blocks.
Pure: items and times in; events (the monitor's and the alarms' in order) and display waves out.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from bedside.alarms.clock import BACK_MAX_S, STEP_MAX_S
from bedside.alarms.engine import AlarmEngine
from bedside.alarms.limits import PatientLimits
from bedside.alarms.quiet import Quiet
from bedside.alarms.table import ConditionTable
from bedside.core.events import Alarm, Event, Json
from bedside.core.ids import IdSource
from bedside.core.samples import Block, Gap, Item
from bedside.core.time import US_PER_S
from bedside.monitor.anomaly import AnomalyWatch
from bedside.monitor.lead import BeatJudge, Stage
from bedside.monitor.opinions import WindowJudge
from bedside.monitor.patient import CleanWave, MonitorOutput, PatientMonitor

STEP_S = 0.5
"""The alarms' time moves at least this finely while data come."""
TRUST_S = BACK_MAX_S
"""Items so far from the time of the last `advance` mean a clock that was set: the alarms' time stays."""
CATCH_UP_S = 3600.0
"""A hole in a recording longer than this is stepped over at once."""


@dataclass(frozen=True, slots=True)
class WatchOutput:
    """What a step gave, in the order in which it became known."""

    events: tuple[Event, ...] = ()
    waves: tuple[CleanWave, ...] = ()


class PatientWatch:
    """Watches one patient. `advance` is called at least once a second, data or not.

    `classifier`, `stage` and `windows` are the monitor's.
    """

    def __init__(
        self,
        patient: str,
        ids: IdSource,
        classifier: BeatJudge,
        simulated: bool,
        *,
        stage: Stage | None = None,
        windows: WindowJudge | None = None,
        table: ConditionTable | None = None,
    ) -> None:
        self.patient = patient
        self._monitor = PatientMonitor(patient, ids, classifier, simulated, stage=stage, windows=windows)
        self._alarms = AlarmEngine(patient, ids, simulated=simulated, table=table)
        self._anomalies = AnomalyWatch(patient, ids, simulated)
        self._now_us: int | None = None
        self._advanced = False
        self._streams: set[str] = set()

    def feed(self, item: Item) -> WatchOutput:
        """One item of this patient's wearables. Raises `ValueError` for one of another patient's."""
        whose = item.stream.patient if isinstance(item, Block | Gap) else item.patient
        if whose != self.patient:
            raise ValueError("watch: an item of another patient")
        if isinstance(item, Block | Gap) and item.stream.id not in self._streams:
            self._streams.add(item.stream.id)
            self._alarms.stream(item.stream)
        output = self._monitor.feed(item)
        return self._hear(output, item.end_us if isinstance(item, Block | Gap) else item.time_us)

    def advance(self, now_us: int) -> WatchOutput:
        """It is `now_us`: time runs also when no data come, and goes where the clock was set to."""
        self._advanced = True
        output = self._monitor.advance(now_us)
        events: list[Event] = []
        if self._now_us is None or not -TRUST_S * US_PER_S <= now_us - self._now_us <= STEP_MAX_S * US_PER_S:
            self._now_us = now_us  # the first time, or the clock was set
            events += self._heard(self._alarms.advance(now_us), now_us)
        for event in output.events:
            events += self._told(event, max(now_us, self._now_us))
        events += self._pass_to(now_us)
        return WatchOutput(tuple(events), output.waves)

    def finish(self) -> WatchOutput:
        """The streams have ended (a recording's end): what was still waiting is decided."""
        return self._hear(self._monitor.finish(), None)

    def acknowledge(self, alarm: str, by: str, now_us: int) -> list[Event]:
        """Acknowledge in the name of `by`. Raises `KeyError` when no such alarm is open, `ValueError` for no name."""
        return self._alarms.acknowledge(alarm, by, now_us)

    def set_limits(self, limits: PatientLimits) -> None:
        """This patient's limits from now on."""
        self._alarms.set_limits(limits)

    def set_quiet(self, quiet: Quiet, now_us: int) -> list[Event]:
        """What somebody has switched off from now on."""
        return self._alarms.set_quiet(quiet, now_us)

    def set_condition(self, kind: str, now_us: int, fields: Mapping[str, object]) -> list[Event]:
        """A condition of this patient that somebody else saw begins (a momentary one is over at once)."""
        return self._alarms.set_condition(kind, True, now_us, evidence=fields)

    def hear(self, event: Event, now_us: int) -> WatchOutput:
        """An event that no wearable gave: what a nurse entered."""
        return WatchOutput(tuple(self._told(event, now_us)))

    def early_warning(self) -> dict[str, Json]:
        """NEWS2 now: total, points by input, what is missing."""
        return self._alarms.early_warning()

    def open(self) -> list[Alarm]:
        """Alarms that are not ended, most urgent first."""
        return self._alarms.open()

    def usual(self) -> dict[str, Any]:
        """What is held usual of this patient, ready for JSON."""
        return self._anomalies.inspection()

    def forget_usual(self, quantity: str | None, now_us: int) -> list[Event]:
        """Learn anew what is usual (of one quantity, or all). Raises `KeyError` for an unknown quantity."""
        events: list[Event] = []
        for finding in self._anomalies.reset(quantity):
            events += [finding, *self._alarms.feed(finding, now_us)]
        return events

    def restore(self, alarms: Sequence[Alarm], now_us: int) -> list[Event]:
        """Take over alarms that were open before a restart; nothing that was on is muted by it."""
        self._now_us = now_us
        return self._alarms.restore(alarms, now_us)

    # ------------------------------------------------------------------ time

    def _hear(self, output: MonitorOutput, end_us: int | None) -> WatchOutput:
        events: list[Event] = []
        for event, known_us in zip(output.events, output.known_us, strict=True):
            now_us = self._believed_us(known_us)
            events += self._pass_to(now_us - 1)
            events += self._told(event, now_us)
            self._now_us = now_us
        if end_us is not None:
            events += self._pass_to(self._believed_us(end_us))
        return WatchOutput(tuple(events), output.waves)

    def _told(self, event: Event, now_us: int) -> list[Event]:
        """An event of the monitor, what the alarms make of it, and what is unusual by it."""
        return self._heard([event, *self._alarms.feed(event, now_us)], now_us)

    def _heard(self, events: Sequence[Event], now_us: int) -> list[Event]:
        """`events`, each followed by the anomalies that it shows and their alarms."""
        heard: list[Event] = []
        for event in events:
            heard.append(event)
            for finding in self._anomalies.hear(event):
                heard += [finding, *self._alarms.feed(finding, now_us)]
        return heard

    def _pass_to(self, until_us: int) -> list[Event]:
        """Let time pass, step by step on a fixed grid, up to and with `until_us`."""
        if self._now_us is None:
            self._now_us = until_us
        step_us = round(STEP_S * US_PER_S)
        if until_us - self._now_us > CATCH_UP_S * US_PER_S:
            self._now_us = until_us - step_us
        events: list[Event] = []
        while (at_us := (self._now_us // step_us + 1) * step_us) <= until_us:
            events += self._heard(self._alarms.advance(at_us), at_us)
            self._now_us = at_us
        return events

    def _believed_us(self, at_us: int) -> int:
        """The alarms' time for something of `at_us`: never behind what was said, never far from `advance`."""
        newest_us = self._now_us if self._now_us is not None else at_us
        if self._advanced and at_us - newest_us > TRUST_S * US_PER_S:
            return newest_us
        return max(at_us, newest_us)
