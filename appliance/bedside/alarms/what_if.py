"""What other limits would have done: stored numbers and beats go through the engine again, with each table.

Only what limits govern is counted (`KINDS`); rhythms and technical alarms need signals that are not replayed. Cut into
steps, so that who runs it on a busy loop may breathe between. Pure.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from bedside.alarms.engine import AlarmEngine
from bedside.alarms.table import ConditionTable
from bedside.core.events import Alarm, AlarmState, Event
from bedside.core.ids import IdSource
from bedside.core.time import US_PER_S

KINDS = ("tachycardia", "bradycardia", "extreme_tachycardia", "extreme_bradycardia", "spo2_low", "desaturation")
TYPES = ("numeric", "beat")
STEP_EVENTS = 40
TICK_S = 1.0
HOLE_S = 60.0
"""A longer hole in the data is stepped over: nothing was measured, nothing would have alarmed."""
DELAY_S_MAX = 30.0


@dataclass(frozen=True, slots=True)
class WouldBe:
    """An alarm that would have been raised."""

    kind: str
    raised_us: int
    end_us: int | None
    text: str


def with_delay(table: ConditionTable, delay_s: Mapping[str, float]) -> ConditionTable:
    """The table with other delays of some conditions. Raises `ValueError` outside 0 to `DELAY_S_MAX`."""
    conditions = dict(table.conditions)
    for kind, seconds in delay_s.items():
        if kind not in KINDS or not 0 <= seconds <= DELAY_S_MAX:
            raise ValueError(f"delay of {kind[:40]}: expected one of {', '.join(KINDS)}, 0 to {DELAY_S_MAX:g} s")
        conditions[kind] = replace(conditions[kind], delay_s=float(seconds))
    return replace(table, conditions=conditions)


class Replay:
    """One run over `events` (in order of time, of one patient). Iterate `steps` to its end, then ask `found`."""

    def __init__(self, patient: str, events: Sequence[Event], table: ConditionTable) -> None:
        self._events = events
        self._now_us = events[0].start_us if events else 0
        ids = IdSource(lambda: self._now_us, random.Random(1))  # noqa: S311  ids that nobody keeps
        self._engine = AlarmEngine(patient, ids, table=table)
        self._newest: dict[str, Alarm] = {}

    def steps(self) -> Iterator[None]:
        """Do the work, a few milliseconds between two yields."""
        for number, event in enumerate(self._events, 1):
            self._pass_to(event.start_us)
            self._keep(self._engine.feed(event, max(event.start_us, self._now_us)))
            if number % STEP_EVENTS == 0:
                yield
        self._pass_to(self._now_us + round(30 * US_PER_S))

    def found(self) -> list[WouldBe]:
        """The alarms, oldest first."""
        alarms = [one for one in self._newest.values() if one.kind in KINDS]
        return sorted(
            (WouldBe(one.kind, one.raised_us, one.end_us, one.text) for one in alarms), key=lambda one: one.raised_us
        )

    def _pass_to(self, until_us: int) -> None:
        step_us = round(TICK_S * US_PER_S)
        if until_us - self._now_us > HOLE_S * US_PER_S:
            self._now_us = until_us - step_us
        while self._now_us + step_us <= until_us:
            self._now_us += step_us
            self._keep(self._engine.advance(self._now_us))

    def _keep(self, events: Sequence[Event]) -> None:
        for event in events:
            if isinstance(event, Alarm):
                self._newest[event.alarm] = event
                latched = event.state is AlarmState.LATCHED and event.end_us is not None
                if latched:  # somebody would have looked: the next episode is another alarm
                    self._keep(self._engine.acknowledge(event.alarm, "replay", self._now_us))
