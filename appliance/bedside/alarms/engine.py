"""The alarm engine of one patient, or of the box: events in, alarm changes and suppressions out.

What it hears goes to rules (`hearing`), which give signs; each sign moves the track of its condition (`lifecycle`),
by the numbers of the table. The engine decides what is signalled: what is believed and what other signals say against
it is asked of `doubts`, what a person has switched off of `quiet`. Before the first valid ECG a lead that is off is of
low priority and poor quality is no alarm; that nothing comes at all is one alarm, after a minute.

Everything held back is a `Suppression` with its reason. Pure: no clock, file or socket; the same input gives the
same alarms. Delays run on `EngineClock`, so a box whose clock is set neither loses nor repeats an alarm.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from bedside.alarms.clock import EngineClock
from bedside.alarms.doubts import Doubts
from bedside.alarms.hearing import Hearing
from bedside.alarms.lifecycle import Scribe, Track, urgency
from bedside.alarms.limits import PatientLimits
from bedside.alarms.quiet import Quiet
from bedside.alarms.restoring import disbelieve, take_over
from bedside.alarms.signs import Sign
from bedside.alarms.table import URGENCY, ConditionTable, default_table
from bedside.core.events import Alarm, AlarmState, Event, Evidence, Json, Priority
from bedside.core.ids import IdSource
from bedside.core.samples import StreamInfo
from bedside.core.time import US_PER_S

__all__ = ["AlarmEngine", "urgency"]

FORGET_S = 300.0  # longer than anything that asks what has been


class AlarmEngine:
    """Follows the conditions of one patient (`patient` None: of the box itself).

    `feed` and `advance` are given the time; `advance` is called at least once a second, data or not.
    """

    def __init__(
        self,
        patient: str | None,
        ids: IdSource,
        *,
        simulated: bool = False,
        table: ConditionTable | None = None,
    ) -> None:
        self.patient = patient
        self.table = table if table is not None else default_table()
        self._base = self.table
        self._clock = EngineClock()
        self._scribe = Scribe(patient, ids, self.table, simulated)
        self._tracks: dict[tuple[str, str], Track] = {}
        self._hearing = Hearing(patient, self.table, self._clock)
        self._doubts = Doubts(self._hearing, self._clock)
        self._quiet = Quiet()

    # ------------------------------------------------------------------ what goes in

    def stream(self, info: StreamInfo) -> None:
        """Make a stream known, for names in sentences and to know ECG from other streams."""
        self._hearing.stream(info)

    def feed(self, event: Event, now_us: int) -> list[Event]:
        """One event of this patient; alarms and suppressions that follow, in order.

        Raises `ValueError` for an event of another patient.
        """
        self._ours(event)
        self._clock.tell(now_us)
        return self._apply(self._hearing.hear(event))

    def advance(self, now_us: int) -> list[Event]:
        """Time passed."""
        self._clock.tell(now_us)
        events = self._apply(self._hearing.tick())
        self._forget()
        return events

    def set_condition(
        self,
        kind: str,
        on: bool,
        now_us: int,
        *,
        key: str = "",
        start_us: int | None = None,
        evidence: Mapping[str, object] | None = None,
    ) -> list[Event]:
        """Begin or end a condition that somebody else watches (the gateway: disk, parts, records ...).

        `key` tells several of one kind apart. `evidence` fills the sentence of the table and is kept. Saying the
        same twice is no change; a momentary kind is over at once and stays until seen. Raises `KeyError` for a
        kind that the table does not know.
        """
        if kind not in self.table:
            raise KeyError(f"alarm kind {kind!r} is not in the table")
        self._clock.tell(now_us)
        onset_us = start_us if start_us is not None else self._clock.now_us
        momentary = self.table[kind].momentary
        end_us = self._clock.now_us if momentary or not on else None
        fields: Evidence = {name: _plain(value) for name, value in (evidence or {}).items()}
        return self._apply([Sign(kind=kind, on=on, key=key, onset_us=onset_us, end_us=end_us, fields=fields)])

    def set_limits(self, limits: PatientLimits) -> None:
        """This patient's limits from now on; what already alarms is held against them with its next value."""
        self.table = limits.table(self._base)
        self._hearing.change(self.table)

    def set_quiet(self, quiet: Quiet, now_us: int) -> list[Event]:
        """What somebody has switched off from now on; open alarms of it end in that name, the lethal never."""
        self._clock.tell(now_us)
        self._quiet = quiet
        return self._apply([])

    def acknowledge(self, alarm: str, by: str, now_us: int) -> list[Event]:
        """`by` has seen the alarm: silent while its condition lasts (until the reminder), gone when it is over.

        Raises `KeyError` when no such alarm is open, `ValueError` when nobody is named.
        """
        if not by.strip():
            raise ValueError("acknowledge: nobody is named")
        self._clock.tell(now_us)
        track = next((one for one in self._tracks.values() if one.alarm is not None and one.alarm.alarm == alarm), None)
        if track is None or track.alarm is None:
            raise KeyError(f"alarm {alarm} is not open")
        if track.alarm.state is AlarmState.ACKNOWLEDGED:
            return []
        state = AlarmState.ACKNOWLEDGED if track.alarm.condition else AlarmState.ENDED
        return [self._scribe.changed(track, self._clock, state, by=by, why="acknowledged")]

    def restore(self, alarms: Sequence[Alarm], now_us: int) -> list[Event]:
        """Take over alarms that were open before a restart; each is said again, in its state.

        A condition that was on counts as on until its signal was valid for a while without it. Raises `ValueError`
        for an alarm of another patient, and takes over none.
        """
        for alarm in alarms:
            self._ours(alarm)
        self._clock.tell(now_us)
        events: list[Event] = []
        for alarm in sorted(alarms, key=urgency):
            if alarm.state is AlarmState.ENDED or alarm.kind not in self.table:
                continue
            key = str(alarm.evidence.get("key", ""))
            track = self._track(alarm.kind, key)
            if track.alarm is not None:
                continue
            take_over(track, alarm, self._clock)
            events.append(self._scribe.changed(track, self._clock, alarm.state, by=alarm.by, why="restart"))
            if (
                alarm.state is AlarmState.ACKNOWLEDGED
            ):  # the reminder's time runs on, as far as the clock is to be believed
                waited_us = min(max(now_us - alarm.changed_us, 0), round(self.table.reminder_s * US_PER_S))
                track.signalled_us -= waited_us
        return events

    # ------------------------------------------------------------------ what is there

    def open(self) -> list[Alarm]:
        """Alarms that are not ended, most urgent first."""
        return sorted((one.alarm for one in self._tracks.values() if one.alarm is not None), key=urgency)

    def early_warning(self) -> dict[str, Json]:
        """NEWS2 now: total, points by input, what is missing."""
        return self._hearing.early_warning()

    def _ours(self, event: Event) -> None:
        if event.patient != self.patient:
            raise ValueError("alarms: an event of another patient")

    # ------------------------------------------------------------------ signs to alarms

    def _apply(self, signs: Iterable[Sign]) -> list[Event]:
        events: list[Event] = []
        for sign in signs:
            condition = self.table[sign.kind]
            known = (sign.kind, sign.key) in self._tracks
            if not sign.on and not known:
                continue
            track = self._track(sign.kind, sign.key)
            if condition.momentary:
                events += self._moment(track, sign)
            else:
                track.take(sign, self._clock)
        tracks = sorted(self._tracks.values(), key=lambda one: (one.condition.chain or "", one.condition.rank))
        for track in tracks:  # the worst of a chain first, so that it is there to hold back the lesser
            events += self._settle(track)
        return events

    def _forget(self) -> None:
        """Tracks of which nothing is left go: memory does not grow with parts and wearables that come and go."""
        for place, track in list(self._tracks.items()):
            idle = track.alarm is None and not track.on and track.suppression is None
            if idle and self._clock.elapsed_us - max(track.gone_us, track.since_us) > FORGET_S * US_PER_S:
                del self._tracks[place]

    def _track(self, kind: str, key: str) -> Track:
        return self._tracks.setdefault((kind, key), Track(self.table[kind], key))

    def _settle(self, track: Track) -> list[Event]:
        if track.condition.momentary:
            return self._shown(track)
        disbelieve(track, self._hearing.signals, self._clock, of_the_box=self.patient is None)
        blocked = self._doubts.blocked(track)
        doubt = blocked or self._doubts.contradicted(track)
        track.believe(doubt is None, self._clock, anew=blocked is not None)
        if track.alarm is None:
            return self._perhaps_raise(track, doubt)
        if track.present:
            return self._still_there(track)
        return self._perhaps_over(track)

    def _perhaps_raise(self, track: Track, doubt: str | None) -> list[Event]:
        if not track.on:
            over = self._scribe.suppression_over(track, self._clock)
            return [*over, *self._late(track)] if track.waited else over
        if doubt is None and not track.due(self._clock):
            return []
        track.waited = doubt is None and self._doubts.waits(track)
        if track.waited:
            return []
        held = doubt or self._held(track)
        if held is not None:
            return self._scribe.suppressed(track, held, self._clock)
        over = self._scribe.suppression_over(track, self._clock)
        return [*over, self._scribe.raised(track, self._priority(track), self._clock)]

    def _late(self, track: Track) -> list[Event]:
        """Over while another signal's word was waited for that never came: it was there, and is told."""
        track.waited = False
        raised = self._scribe.raised(track, self._priority(track), self._clock)
        return [raised, self._change(track, AlarmState.LATCHED, raised.priority, "condition over")]

    def _still_there(self, track: Track) -> list[Event]:
        alarm = track.alarm
        if alarm is None:
            return []
        if self._quiet.holder(track.condition) is not None:
            # a latched one was signalled before and waits for a name of its own
            return [] if alarm.state is AlarmState.LATCHED else [self._switched_off(track, alarm)]
        priority = self._priority(track)
        worse = URGENCY[priority] < URGENCY[alarm.priority]
        if alarm.state is AlarmState.LATCHED:
            return [self._change(track, AlarmState.ACTIVE, priority if worse else alarm.priority, "condition again")]
        if worse:
            return [self._change(track, AlarmState.ACTIVE, priority, "escalated")]
        if alarm.state is not AlarmState.ACKNOWLEDGED:
            return []
        if track.seen_again and alarm.priority is Priority.HIGH:
            return [self._change(track, AlarmState.ACTIVE, alarm.priority, "seen again after a restart")]
        waited_us = self._clock.elapsed_us - track.signalled_us
        if waited_us >= self.table.reminder_s * US_PER_S:
            return [self._change(track, AlarmState.ACTIVE, alarm.priority, "reminder")]
        return []

    def _switched_off(self, track: Track, alarm: Alarm) -> Alarm:
        """The condition lasts, but somebody has answered for it: the alarm ends in that name."""
        held = self._quiet.holder(track.condition)
        assert held is not None
        track.end_us = self._clock.now_us
        ended = self._scribe.changed(
            track, self._clock, AlarmState.ENDED, by=held.by, priority=alarm.priority, why="switched off"
        )
        track.end_us = None
        return ended

    def _perhaps_over(self, track: Track) -> list[Event]:
        alarm = track.alarm
        if alarm is None:
            return []
        if not alarm.condition:
            return self._shown(track)
        if not track.cleared(self._clock):
            return []
        if alarm.state is AlarmState.ACTIVE and (track.condition.latching or track.condition.show_s > 0):
            return [self._change(track, AlarmState.LATCHED, alarm.priority, "condition over")]
        return [self._change(track, AlarmState.ENDED, alarm.priority, "condition over")]

    def _shown(self, track: Track) -> list[Event]:
        """Alarms that do not latch go when they were shown long enough after their condition."""
        alarm = track.alarm
        if alarm is None or alarm.state is not AlarmState.LATCHED or track.condition.latching:
            return []
        if self._clock.elapsed_us - track.signalled_us < track.condition.show_s * US_PER_S:
            return []
        return [self._change(track, AlarmState.ENDED, alarm.priority, "shown")]

    def _moment(self, track: Track, sign: Sign) -> list[Event]:
        """A condition that is over as it is seen: signalled, then shown (or latched) in one breath."""
        if not sign.on:
            return []
        track.take(sign, self._clock)
        track.witnesses.clear()
        track.on, track.gone_us = False, self._clock.elapsed_us
        held = self._doubts.blocked(track) or self._held(track)
        if held is not None and track.alarm is None:
            said = self._scribe.suppressed(track, held, self._clock)
            return said + self._scribe.suppression_over(track, self._clock)
        events: list[Event] = []
        if track.alarm is None:
            events.append(self._scribe.raised(track, track.condition.priority, self._clock))
        else:
            events.append(self._change(track, AlarmState.ACTIVE, track.alarm.priority, "condition again"))
        events.append(self._change(track, AlarmState.LATCHED, track.condition.priority, "condition over"))
        return events

    def _change(self, track: Track, state: AlarmState, priority: Priority, why: str) -> Alarm:
        return self._scribe.changed(track, self._clock, state, priority=priority, why=why)

    def _held(self, track: Track) -> str | None:
        """Who or what keeps it from being signalled."""
        return self._quiet.reason(track.condition) or self._doubts.held(track, self._tracks.values())

    def _priority(self, track: Track) -> Priority:
        if track.condition.kind == "lead_off" and not self._hearing.signals.ecg_armed:
            return Priority.LOW  # not yet connected: nothing was lost
        return track.priority(self._clock)


def _plain(value: object) -> bool | int | float | str | None:
    return value if isinstance(value, bool | int | float | str) or value is None else str(value)
