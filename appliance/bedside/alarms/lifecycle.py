"""The life of one alarm: a state machine over one condition of one patient (or of the box).

    (nothing) --condition, delay over, not held--> ACTIVE
    ACTIVE --acknowledged by name--> ACKNOWLEDGED
    ACTIVE --condition over--> LATCHED (it latches, or its signals are to be seen) or ENDED
    ACKNOWLEDGED --still there after the reminder time, or escalated--> ACTIVE
    ACKNOWLEDGED --high, and seen anew after a restart--> ACTIVE (perhaps it is not the one that was acknowledged)
    ACKNOWLEDGED --condition over--> ENDED
    LATCHED --acknowledged by name--> ENDED
    LATCHED --condition again--> ACTIVE (the same alarm, another episode)
    LATCHED --its showing time is over (only kinds that do not latch)--> ENDED

Each arrow is one `Alarm` event that supersedes the one before; there is no other way to silence.
The vocabulary is that of IEC 60601-1-8 and BICEPS (IEEE 11073-10207). Pure: time is passed in.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from bedside.alarms.clock import EngineClock
from bedside.alarms.signs import Sign
from bedside.alarms.table import URGENCY, Condition, ConditionTable
from bedside.core.events import Alarm, AlarmState, Event, Evidence, Priority, Suppression
from bedside.core.ids import IdSource
from bedside.core.time import US_PER_S

DURATIONS = frozenset({"lasted_s", "silent_s"})
SETTLE_S = 4.0
"""A lead that is put on again is believed after so long: as long as it takes to see that no beat comes."""


@dataclass(slots=True)
class Track:
    """One condition of the table, followed: is it there, since when, and what alarm speaks of it."""

    condition: Condition
    key: str
    witnesses: set[str] = field(default_factory=set)  # rules that see it now
    on: bool = False  # what the rules say
    present: bool = False  # what is believed: the rule, less what is blocked
    onset_us: int = 0  # wall clock, of the present episode
    end_us: int | None = None
    since_us: int = 0  # engine time at which the delay began to run
    gone_us: int = 0  # engine time at which it was last seen to be gone
    stream: str | None = None
    wearable: str | None = None
    simulated: bool = False
    fields: Evidence = field(default_factory=dict)
    alarm: Alarm | None = None  # not ended
    signalled_us: int = 0  # engine time of the last step to ACTIVE or ACKNOWLEDGED
    suppression: Suppression | None = None  # of the present episode
    episodes: int = 0
    unconfirmed: bool = False  # restored after a restart, not seen again since
    unconfirmed_us: int = 0  # engine time of the restoration
    urgent: Priority | None = None  # what the newest sign asks for, beyond the table
    waited: bool = False  # nothing speaks against it, but another signal's word is waited for
    seen_by: set[str] = field(default_factory=set)  # all rules that saw the present episode
    seen_again: bool = False  # restored, and then begun anew: perhaps another episode than the acknowledged one

    def take(self, sign: Sign, clock: EngineClock) -> None:
        """Follow what a rule says."""
        self.seen_again = self.unconfirmed and sign.on
        self.unconfirmed = False
        self.witnesses.discard("restart")
        (self.witnesses.add if sign.on else self.witnesses.discard)(sign.witness)
        if sign.on and not self.on:
            self.seen_by = set()
            self.onset_us = sign.onset_us if sign.onset_us is not None else clock.now_us
            began_us = clock.elapsed_us - max(0, min(clock.now_us - self.onset_us, self._delay_us))
            self.since_us = began_us if self.condition.delay_s else clock.elapsed_us
        if sign.on:
            self.seen_by.add(sign.witness)
        if sign.on or self.on:
            self.fields = {**self.fields, **sign.fields} if self.on else dict(sign.fields)
        self.on = bool(self.witnesses)
        self.urgent = sign.priority if sign.on else self.urgent
        if sign.end_us is not None:
            self.end_us = sign.end_us
        self.stream = sign.stream or self.stream
        self.wearable = sign.wearable or self.wearable
        self.simulated = sign.simulated or self.simulated

    def believe(self, believed: bool, clock: EngineClock, *, anew: bool = False) -> None:
        """What the rules say counts where it is believed. `anew`: when it is believed again, it must last anew."""
        if anew and self.on:
            self.since_us = clock.elapsed_us + round(SETTLE_S * US_PER_S)
        present = self.on and believed
        if present and not self.present:
            self.end_us = None
        elif not present and self.present:
            self.gone_us = clock.elapsed_us
            if self.end_us is None or self.on:
                self.end_us = clock.now_us
        self.present = present

    def due(self, clock: EngineClock) -> bool:
        """Has the condition lasted for its delay?"""
        return clock.elapsed_us - self.since_us >= self._delay_us

    def cleared(self, clock: EngineClock) -> bool:
        """Has the condition been gone for its hysteresis?"""
        return clock.elapsed_us - self.gone_us >= self.condition.clear_s * US_PER_S

    def priority(self, clock: EngineClock) -> Priority:
        """The table's priority, raised by how long the condition lasts."""
        lasted_s = (clock.elapsed_us - self.since_us) / US_PER_S
        priority = self.condition.priority
        for step in self.condition.escalation:
            if lasted_s >= step.after_s:
                priority = step.priority
        return min(priority, self.urgent or priority, key=URGENCY.__getitem__)

    @property
    def _delay_us(self) -> int:
        return round(self.condition.delay_s * US_PER_S)


class Scribe:
    """Makes the events of tracks: each step of an alarm, and each suppression."""

    def __init__(self, patient: str | None, ids: IdSource, table: ConditionTable, simulated: bool) -> None:
        self._patient = patient
        self._ids = ids
        self._table = table
        self._simulated = simulated

    def raised(self, track: Track, priority: Priority, clock: EngineClock) -> Alarm:
        """A new alarm, active."""
        track.episodes = 1
        event_id = self._ids.event()
        alarm = Alarm(
            id=event_id,
            patient=self._patient,
            stream=track.stream,
            start_us=track.onset_us,
            simulated=track.simulated or self._simulated,
            alarm=event_id,
            kind=track.condition.kind,
            alarm_class=track.condition.alarm_class,
            priority=priority,
            state=AlarmState.ACTIVE,
            condition=True,
            latching=track.condition.latching,
            raised_us=clock.now_us,
            changed_us=clock.now_us,
            text=self._text(track, clock),
            evidence=self._evidence(track, clock),
        )
        track.alarm, track.signalled_us = alarm, clock.elapsed_us
        return alarm

    def changed(
        self,
        track: Track,
        clock: EngineClock,
        state: AlarmState,
        *,
        by: str | None = None,
        priority: Priority | None = None,
        why: str,
    ) -> Alarm:
        """The next step of the track's alarm. `why` is a word for the log."""
        before = track.alarm
        if before is None:
            raise ValueError(f"{track.condition.kind}: no alarm is open")
        condition = state in (AlarmState.ACTIVE, AlarmState.ACKNOWLEDGED)
        again = condition and not before.condition
        if again:
            track.episodes += 1
        alarm = replace(
            before,
            id=self._ids.event(),
            supersedes=before.id,
            start_us=track.onset_us if again else before.start_us,
            end_us=None if condition else (before.end_us if not before.condition else track.end_us),
            state=state,
            condition=condition,
            priority=priority if priority is not None else before.priority,
            changed_us=clock.now_us,
            text=self._text(track, clock) if track.fields else before.text,
            by=by if by is not None else (before.by if state is not AlarmState.ACTIVE else None),
            evidence={**(self._evidence(track, clock) if track.fields else before.evidence), "why": why},
        )
        track.alarm = None if state is AlarmState.ENDED else alarm
        track.signalled_us = clock.elapsed_us
        return alarm

    def suppressed(self, track: Track, reason: str, clock: EngineClock) -> list[Event]:
        """Say once in an episode, and again when the reason (not a number in it) changes, why no alarm is raised."""
        before = track.suppression
        if before is not None and _words(before.reason) == _words(reason) and before.end_us is None:
            return []
        track.suppression = Suppression(
            id=self._ids.event(),
            patient=self._patient,
            stream=track.stream,
            start_us=track.onset_us,
            supersedes=before.id if before is not None else None,
            simulated=track.simulated or self._simulated,
            kind=track.condition.kind,
            reason=reason,
            evidence=self._evidence(track, clock),
        )
        return [track.suppression]

    def suppression_over(self, track: Track, clock: EngineClock) -> list[Event]:
        """The suppressed episode ended, or became an alarm after all."""
        before = track.suppression
        if before is None:
            return []
        track.suppression = None
        end_us = track.end_us if track.end_us is not None else clock.now_us
        return [replace(before, id=self._ids.event(), supersedes=before.id, end_us=max(end_us, before.start_us))]

    def _text(self, track: Track, clock: EngineClock) -> str:
        return track.condition.sentence(self._fields(track, clock))

    def _evidence(self, track: Track, clock: EngineClock) -> Evidence:
        evidence = self._fields(track, clock) | {"rule": track.condition.kind, "table": self._table.version}
        if track.wearable is not None:
            evidence["wearable"] = track.wearable
        evidence |= opinions(track)
        if track.key:
            evidence["key"] = track.key
        if track.episodes > 1:
            evidence["episodes"] = track.episodes
        return evidence

    def _fields(self, track: Track, clock: EngineClock) -> Evidence:
        """The rule's numbers, with the durations as they are now."""
        until_us = clock.now_us if track.on or track.end_us is None else track.end_us
        lasted_s = max(0.0, round((until_us - track.onset_us) / US_PER_S, 3))
        return {name: lasted_s if name in DURATIONS else value for name, value in track.fields.items()}


def opinions(track: Track) -> Evidence:
    """Who saw a tachycardia, the beat model or the rule that knows the patient's own QRS; flagged where only one did.

    Kept as `seen_by`, and where they differ as `disagreement`, for whoever reviews the event.
    """
    if track.condition.kind != "ventricular_tachycardia" or not track.seen_by - {"restart"}:
        return {}
    by_rule = any(one.startswith("rhythm ") for one in track.seen_by)
    by_model = bool(track.seen_by & {"", "leads"})
    names = [name for name, seen in (("beat model", by_model), ("rhythm rule", by_rule)) if seen]
    evidence: Evidence = {"seen_by": ", ".join(names)}
    if by_rule != by_model:
        other = "beat model" if by_rule else "rhythm rule"
        evidence["disagreement"] = f"the {names[0]} sees it, the {other} does not"
    return evidence


def _words(reason: str) -> str:
    return "".join("#" if letter.isdigit() else letter for letter in reason)


def urgency(alarm: Alarm) -> tuple[int, int, int, int]:
    """Sorts alarms, most urgent first: priority, not yet acknowledged, physiological, newest."""
    return (
        URGENCY[alarm.priority],
        int(alarm.state is AlarmState.ACKNOWLEDGED),
        int(alarm.alarm_class == "technical"),
        -alarm.raised_us,
    )
