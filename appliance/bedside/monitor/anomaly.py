"""Is this patient as this patient was? Minutes of vital signs and of the average beat against the patient's own past.

Hears every event of the patient in the order in which it became known, alarms too: a minute in which a physiological
alarm stood, a dangerous rhythm ran or the lead was noise is judged and not learned from. Says a `Finding` "anomaly" for
each quantity when a change begins and when it is over, with how much and since when in words. What is held usual can
be looked at and forgotten. It lives as long as the process: after a start nothing is judged for two hours of good
minutes. Pure; the statistics are `bedside.models.anomaly`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from statistics import median
from typing import Any, Final

from bedside.core.codes import Code
from bedside.core.events import Alarm, AlarmClass, AlarmState, Event, Evidence, Finding, Numeric, Rhythm, RhythmLabel
from bedside.core.ids import IdSource
from bedside.core.samples import Validity
from bedside.core.time import US_PER_S
from bedside.models import anomaly

KIND: Final = "anomaly"
SHAPE: Final = "qrs_shape"
MINUTE_US: Final = 60 * US_PER_S
VALUES_MAX: Final = 600  # of one quantity in a minute
QUANTITY_OF: Final[Mapping[Code, str]] = {
    Code.HEART_RATE: "heart_rate",
    Code.PULSE_RATE: "pulse_rate",
    Code.RESPIRATION_RATE: "respiration_rate",
    Code.SPO2: "spo2",
    Code.TEMPERATURE: "temperature",
    Code.VENTRICULAR_RATE: "ventricular_rate",
}
SHAPE_OF: Final[Mapping[str, str]] = {"qrs_width_ms": "qrs_width", "qrs_mv": "qrs_size"}
UNLEARNED: Final = frozenset({RhythmLabel.VT, RhythmLabel.VF, RhythmLabel.ASYSTOLE, RhythmLabel.NOISE})


@dataclass(slots=True)
class _Minute:
    """The values of one quantity in the minute that runs."""

    minute: int
    values: list[float] = field(default_factory=list)
    learn: bool = True


class AnomalyWatch:
    """Watches one patient. `hear` takes events in the order in which they became known."""

    def __init__(self, patient: str, ids: IdSource, simulated: bool) -> None:
        self._patient, self._ids, self._simulated = patient, ids, simulated
        self._usual = anomaly.Usual()
        self._minutes: dict[str, _Minute] = {}
        self._alarming: set[str] = set()
        self._rhythms: set[tuple[str | None, RhythmLabel]] = set()
        self._changes: dict[str, anomaly.Change] = {}
        self._newest_minute = 0

    def hear(self, event: Event) -> list[Event]:
        """Take one event; give the anomalies that began or ended by it."""
        match event:
            case Numeric(stored=False) if event.value is not None and event.validity is Validity.GOOD:
                quantity = QUANTITY_OF.get(event.code)
                return self._value(quantity, event.start_us, event.value) if quantity is not None else []
            case Finding(kind=kind) if kind == SHAPE:
                return [
                    said
                    for name, quantity in SHAPE_OF.items()
                    if isinstance(value := event.evidence.get(name), float)
                    for said in self._value(quantity, event.start_us, value)
                ]
            case Alarm():
                self._alarm(event)
            case Rhythm() if event.label in UNLEARNED:
                key = (event.stream, event.label)
                (self._rhythms.discard if event.end_us is not None else self._rhythms.add)(key)
                self._unlearn()
        return []

    def inspection(self) -> dict[str, Any]:
        """What is held usual, quantity by quantity: plain values, ready for JSON."""
        return {
            "quantities": anomaly.inspection(self._usual, self._newest_minute),
            "learning": not (self._alarming or self._rhythms),
            "changes": [change.words() for change in self._changes.values()],
        }

    def reset(self, quantity: str | None = None) -> list[Event]:
        """Forget what is usual (of one quantity, or all); changes that were said end. Raises `KeyError` for no such."""
        if quantity is not None and quantity not in anomaly.QUANTITIES:
            raise KeyError(quantity)
        self._usual = anomaly.reset(self._usual, quantity)
        ended = [name for name in self._changes if quantity in (None, name)]
        at_us = self._newest_minute * MINUTE_US
        return [self._finding(self._changes.pop(name), False, at_us, {"ended": "forgotten"}) for name in ended]

    # ------------------------------------------------------------------ parts

    def _alarm(self, alarm: Alarm) -> None:
        if alarm.alarm_class is not AlarmClass.PHYSIOLOGICAL or alarm.kind == KIND:
            return
        if alarm.condition and alarm.state is not AlarmState.ENDED:
            self._alarming.add(alarm.alarm)
        else:
            self._alarming.discard(alarm.alarm)
        self._unlearn()

    def _unlearn(self) -> None:
        """The minute in which something began or ended teaches nothing."""
        for one in self._minutes.values():
            one.learn = False

    def _value(self, quantity: str, at_us: int, value: float) -> list[Event]:
        minute = at_us // MINUTE_US
        self._newest_minute = max(self._newest_minute, minute)
        running = self._minutes.get(quantity)
        said: list[Event] = []
        if running is None or running.minute != minute:
            if running is not None:
                said = self._whole(quantity, running)
            running = self._minutes[quantity] = _Minute(minute)
        running.learn = running.learn and not self._alarming and not self._rhythms
        if len(running.values) < VALUES_MAX:
            running.values.append(value)
        return said

    def _whole(self, quantity: str, minute: _Minute) -> list[Event]:
        self._usual, change = anomaly.step(self._usual, quantity, minute.minute, median(minute.values), minute.learn)
        if change is None:
            return []
        if change.on:
            self._changes[quantity] = change
        else:
            self._changes.pop(quantity, None)
        at_us = change.since * MINUTE_US if change.on else minute.minute * MINUTE_US
        return [self._finding(change, change.on, at_us, {})]

    def _finding(self, change: anomaly.Change, on: bool, at_us: int, more: Evidence) -> Event:
        what = anomaly.QUANTITIES[change.quantity]
        since = datetime.fromtimestamp(change.since * 60, UTC).strftime("%H:%M UTC")
        evidence: Evidence = {
            "on": on,
            "key": change.quantity,
            "words": f"{change.words()} since {since}",
            "unit": what.unit,
            "now": round(change.now, 3),
            "usual": round(change.usual, 3),
            "by": round(change.by, 3),
            "spreads": round(change.by / change.spread, 2),
            "since_us": change.since * MINUTE_US,
            **more,
        }
        return Finding(
            id=self._ids.event(),
            patient=self._patient,
            start_us=at_us,
            simulated=self._simulated,
            kind=KIND,
            evidence=evidence,
        )
