"""The alarm engine of one patient, or of the box: events in, alarm changes and suppressions out.

What it hears goes to rules (`beat_rules`, `vital_rules`, `signal_rules`), which give signs; each sign moves the
track of its condition (`lifecycle`), by the numbers of the table. The engine decides what is believed and what
is held back:

- arming: before the first valid ECG a lead that is off is of low priority and poor quality is no alarm; that
  nothing comes at all is one alarm, after a minute. (The monitor sees no rhythm on a lead it does not believe.)
- a lead without skin contact is flat: asystole, pauses and slow rates are not believed then, VF and VT are;
- in a chain (arrhythmia, oxygen) a high condition, while its alarm is open, holds back lesser ones that begin
  beside it or just after: VT is not also told as an extreme tachycardia. Nothing holds back asystole, VF, VT
  and desaturation;
- technical conditions that say the same of one wearable are said once.

Everything held back is a `Suppression` with its reason. Pure: no clock, file or socket; the same input gives the
same alarms. Delays run on `EngineClock`, so a box whose clock is set neither loses nor repeats an alarm.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from bedside.alarms import cross_checks
from bedside.alarms.beat_rules import BeatRules
from bedside.alarms.clock import EngineClock
from bedside.alarms.cross_checks import PulseHeard, Pulses
from bedside.alarms.leads import Leads
from bedside.alarms.lifecycle import Scribe, Track, urgency
from bedside.alarms.limits import PatientLimits
from bedside.alarms.rate_rules import RateRules
from bedside.alarms.signal_rules import SignalRules
from bedside.alarms.signs import Sign
from bedside.alarms.spot_rules import SPOT_FINDINGS, SpotRules
from bedside.alarms.table import URGENCY, Condition, ConditionTable, default_table
from bedside.alarms.vital_rules import VitalRules
from bedside.core.codes import StreamKind
from bedside.core.events import (
    Alarm,
    AlarmState,
    Beat,
    Event,
    Evidence,
    Finding,
    Link,
    Numeric,
    Priority,
    PulseSecond,
    Quality,
    Rhythm,
    RhythmLabel,
)
from bedside.core.ids import IdSource
from bedside.core.samples import StreamInfo
from bedside.core.time import US_PER_S

__all__ = ["AlarmEngine", "urgency"]

RHYTHM_KINDS = {
    RhythmLabel.ASYSTOLE: "asystole",
    RhythmLabel.VF: "ventricular_fibrillation",
    RhythmLabel.VT: "ventricular_tachycardia",
    RhythmLabel.AF: "atrial_fibrillation",
    RhythmLabel.SVT: "supraventricular_tachycardia",
}
TECHNICAL_CONFIRM_S = 60.0  # the box's own conditions are said anew by the gateway within so long of a start
FORGET_S = 300.0  # longer than anything that asks what has been
GRACE_S = 10.0  # a signal needs so long to come back after its link or lead did
RHYTHM = "rhythm "  # a lead's rhythm as the witness of a condition: with its stream
RATES_MAX = 32
SAME_BEAT_S = 0.3  # beats of two leads this near may be one
ANSWER_S = 1.5  # so long another signal is waited for, where it can tell whether an alarm is true
LEADER_SILENT_S = 3.0  # beats are counted on one lead; another takes over when it has been silent so long


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
        self._beats = BeatRules(self.table)
        self._vitals = VitalRules(self.table)
        self._signals = SignalRules(self.table)
        self._rates: dict[str | None, RateRules] = {}
        self._spots = SpotRules(self.table)
        self._leads, self._pulses = Leads(self.table), Pulses()
        self._leader: tuple[str | None, int] | None = None  # stream whose beats count, engine time of its last
        self._beaten_us: dict[str | None, tuple[int, int]] = {}  # last beat of each stream: engine time, its own

    # ------------------------------------------------------------------ what goes in

    def stream(self, info: StreamInfo) -> None:
        """Make a stream known, for names in sentences and to know ECG from other streams."""
        self._signals.stream(info)
        if info.kind is StreamKind.ECG:
            self._leads.name(info.id, f"lead {info.label}")

    def feed(self, event: Event, now_us: int) -> list[Event]:
        """One event of this patient; alarms and suppressions that follow, in order.

        Raises `ValueError` for an event of another patient.
        """
        self._ours(event)
        self._clock.tell(now_us)
        return self._apply(self._signs(event))

    def advance(self, now_us: int) -> list[Event]:
        """Time passed."""
        self._clock.tell(now_us)
        elapsed_us = self._clock.elapsed_us
        signs: list[Sign] = []
        if self.patient is not None:
            signs += self._beats.tick(elapsed_us) + self._vitals.tick(elapsed_us)
            signs += [sign for rates in self._rates.values() for sign in rates.tick(elapsed_us)]
            signs += self._leads.silent(self._clock.now_us) + self._spots.tick(self._clock.now_us, elapsed_us)
            signs += self._signals.tick(self._clock.now_us, elapsed_us)
        events = self._apply(signs)
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
        self._vitals.change(self.table)
        for rates in self._rates.values():
            rates.change(self.table)

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
            self._take_over(track, alarm)
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

    def _ours(self, event: Event) -> None:
        if event.patient != self.patient:
            raise ValueError("alarms: an event of another patient")

    # ------------------------------------------------------------------ events to signs

    def _signs(self, event: Event) -> list[Sign]:
        elapsed_us = self._clock.elapsed_us
        match event:
            case Beat():
                return self._beat(event)
            case Numeric(stored=True):
                return []  # it was so then: no live condition
            case Numeric():
                signs = self._vitals.numeric(event, elapsed_us) + self._signals.numeric(event, elapsed_us)
                return signs + self._spots.numeric(event, elapsed_us)
            case Rhythm():
                return self._rhythm(event)
            case Quality():
                return self._quality(event)
            case PulseSecond():
                self._pulses.second(event.stream or "", _pulse_heard(event))
                return []
            case Link():
                return self._signals.link(event)
            case Finding() if event.kind in SPOT_FINDINGS:
                return self._spots.finding(event, elapsed_us)
            case Finding(kind="pause"):
                return self._pause(event)
            case Finding() if event.kind in self.table and isinstance(event.evidence.get("on"), bool):
                return [_finding_sign(event, self.table[event.kind])]
            case _:
                return []

    def _beat(self, beat: Beat) -> list[Sign]:
        elapsed_us = self._clock.elapsed_us
        self._beaten_us[beat.stream] = (elapsed_us, beat.start_us)
        signs = self._leads.beat(beat)
        if beat.stream in self._rates or len(self._rates) < RATES_MAX:
            rates = self._rates.setdefault(beat.stream, RateRules(self.table, beat.stream or ""))
            signs += rates.beat(beat, elapsed_us)
        if self._leader is None or self._leader[0] != beat.stream:
            if self._leader is not None and elapsed_us - self._leader[1] <= LEADER_SILENT_S * US_PER_S:
                return signs
            signs += self._beats.give_up() if self._leader is not None else []
        self._leader = (beat.stream, elapsed_us)
        return signs + self._beats.beat(beat, elapsed_us) + self._signals.beat(beat)

    def _quality(self, quality: Quality) -> list[Sign]:
        signs = self._signals.quality(quality, self._clock.elapsed_us)
        if self._signals.is_ecg(quality.stream):
            self._leads.quality(quality)
        elif self._signals.is_respiration(quality.stream) and not quality.usable:
            signs += self._spots.unseen()
        if self._signals.all_leads_off:
            signs += self._beats.give_up() + [sign for rates in self._rates.values() for sign in rates.give_up()]
        return signs

    def _rhythm(self, rhythm: Rhythm) -> list[Sign]:
        kind = RHYTHM_KINDS.get(rhythm.label)
        if kind is None:
            return []
        on = rhythm.end_us is None
        if kind == "ventricular_tachycardia" and on and not self._is_vt(rhythm.evidence):
            return []
        limit_s = self.table[kind].trigger.get("limit_s")
        fields: Evidence = {"lasted_s": 0.0, "silent_s": 0.0, "limit_s": limit_s, **rhythm.evidence}
        if kind == "ventricular_tachycardia":  # told in the words of the beats' own rule
            trigger = self.table[kind].trigger
            fields |= {"limit_beats": int(trigger["beats"]), "limit_bpm": trigger["rate_bpm"]}
            fields["rate_bpm"] = fields.get("fastest_bpm", fields.get("rate_bpm"))
        return [
            Sign(
                kind=kind, on=on, witness=f"{RHYTHM}{rhythm.stream or ''}", onset_us=rhythm.start_us,
                end_us=rhythm.end_us, stream=rhythm.stream, simulated=rhythm.simulated, fields=fields,
            )
        ]  # fmt: skip

    def _pause(self, finding: Finding) -> list[Sign]:
        """The monitor tells of intervals that it saw whole; another lead's beats may have filled it."""
        rr_s, limit_s = finding.evidence.get("rr_s"), self.table["pause"].trigger["limit_s"]
        led = self._leader is None or self._leader[0] == finding.stream
        if not led or not isinstance(rr_s, int | float) or rr_s < limit_s:
            return []
        return [
            Sign(
                kind="pause", on=True, onset_us=finding.start_us - round(rr_s * US_PER_S), end_us=finding.start_us,
                stream=finding.stream, simulated=finding.simulated, fields={"rr_s": rr_s, "limit_s": limit_s},
            )
        ]  # fmt: skip

    def _is_vt(self, evidence: Evidence) -> bool:
        """Beats tell VT best; a rhythm is a second witness, by the same numbers where it counts beats."""
        trigger = self.table["ventricular_tachycardia"].trigger
        beats, rate_bpm = evidence.get("beats"), evidence.get("rate_bpm")
        if not isinstance(beats, int | float) or not isinstance(rate_bpm, int | float):
            return True
        return beats >= trigger["beats"] and rate_bpm >= trigger["rate_bpm"]

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
        self._disbelieve_restored(track)
        blocked = self._blocked(track)
        doubt = blocked or self._contradicted(track)
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
        track.waited = doubt is None and self._waits(track)
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
        held = self._blocked(track) or self._held(track)
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

    def _priority(self, track: Track) -> Priority:
        if track.condition.kind == "lead_off" and not self._signals.ecg_armed:
            return Priority.LOW  # not yet connected: nothing was lost
        return track.priority(self._clock)

    # ------------------------------------------------------------------ what is believed, what is held back

    def _blocked(self, track: Track) -> str | None:
        if track.condition.lead_off_blocks and self._signals.all_leads_off:
            return "lead off: a lead without contact is flat"
        return None

    def _contradicted(self, track: Track) -> str | None:
        """What another signal says against it: see `cross_checks`."""
        if not track.on or "restart" in track.witnesses:
            return None
        streams, now_us = self._witnesses(track), self._clock.now_us
        match track.condition.kind:
            case "asystole":
                return self._beating(track) or cross_checks.against_asystole(self._pulses, track.onset_us, now_us)
            case "ventricular_tachycardia" if "leads" not in track.witnesses:
                return cross_checks.against_tachycardia(self._leads, streams)
            case "ventricular_fibrillation":
                return cross_checks.against_fibrillation(self._leads, streams, now_us)
            case "extreme_tachycardia" | "extreme_bradycardia" as kind:
                trigger, above = self.table[kind].trigger, kind == "extreme_tachycardia"
                return cross_checks.against_rate(self._leads, self._pulses, streams, trigger, now_us, above=above)
            case _:
                return None

    def _witnesses(self, track: Track) -> list[str | None]:
        """The streams whose rules see the condition now."""
        found: list[str | None] = []
        for witness in sorted(track.witnesses):
            if witness == "":
                found.append(self._leader[0] if self._leader is not None else track.stream)
            else:
                found.append(witness.removeprefix(RHYTHM) or None)
        return found

    def _beating(self, track: Track) -> str | None:
        """Asystole on one lead while another shows beats is that lead's trouble, until that one is silent as long."""
        if track.stream is None:
            return None
        limit_us = track.condition.trigger["limit_s"] * US_PER_S
        for stream, (heard_us, at_us) in self._beaten_us.items():
            recent = max(self._clock.elapsed_us - heard_us, self._clock.now_us - at_us) < limit_us
            since = at_us - track.onset_us > SAME_BEAT_S * US_PER_S
            if stream != track.stream and since and recent:
                return "another lead shows beats"
        return None

    def _waits(self, track: Track) -> bool:
        """Is a word of another signal still to come that may show it to be wrong? Then for a moment."""
        if self._clock.elapsed_us - track.since_us >= ANSWER_S * US_PER_S or "restart" in track.witnesses:
            return False
        if track.condition.kind == "ventricular_tachycardia" and "leads" not in track.witnesses:
            return not all(self._leads.answered(stream) for stream in self._witnesses(track))
        return track.condition.kind == "asystole" and self._pulses.expected(self._clock.now_us)

    def _held(self, track: Track) -> str | None:
        condition = track.condition
        for other in self._tracks.values():
            if self._outranks(other.condition, condition) and self._holds(other, condition):
                return f"{other.condition.kind} outranks it"
            if other.condition.kind in condition.held_by and self._says_it(other, track):
                return f"{other.condition.kind} already says so"
        return None

    def _says_it(self, cause: Track, track: Track) -> bool:
        """Does this technical condition of the same wearable explain the other, or did until a moment ago?"""
        recently = cause.episodes > 0 and self._clock.elapsed_us - cause.gone_us <= GRACE_S * US_PER_S
        return cause.wearable == track.wearable and (cause.present or recently)

    def _outranks(self, higher: Condition, lesser: Condition) -> bool:
        same = higher.chain is not None and higher.chain == lesser.chain
        lethal = not lesser.can_be_off  # asystole, VF, VT, desaturation: nothing holds them back
        return same and higher.rank < lesser.rank and higher.priority is Priority.HIGH and not lethal

    def _holds(self, higher: Track, lesser: Condition) -> bool:
        """Is the higher condition there with its alarm, or only just over?"""
        if higher.present:
            return higher.alarm is not None
        after_s = self.table.refractory_high_s if lesser.priority is Priority.HIGH else self.table.refractory_s
        return higher.episodes > 0 and self._clock.elapsed_us - higher.gone_us <= after_s * US_PER_S

    # ------------------------------------------------------------------ after a restart

    def _take_over(self, track: Track, alarm: Alarm) -> None:
        elapsed_us = self._clock.elapsed_us
        track.alarm = alarm
        track.on = track.present = alarm.condition
        track.witnesses = {"restart"} if alarm.condition else set()
        track.onset_us, track.end_us = alarm.start_us, alarm.end_us
        track.since_us = track.gone_us = elapsed_us
        if alarm.condition:  # an escalation does not begin again
            lasted_us = max(0, self._clock.now_us - alarm.start_us)
            longest_us = round(max((step.after_s for step in track.condition.escalation), default=0.0) * US_PER_S)
            track.since_us = elapsed_us - min(lasted_us, longest_us)
        track.stream, track.simulated = alarm.stream, alarm.simulated
        wearable = alarm.evidence.get("wearable")
        track.wearable = wearable if isinstance(wearable, str) else None
        track.episodes = max(1, int(str(alarm.evidence.get("episodes", 1))))
        track.unconfirmed, track.unconfirmed_us = alarm.condition, elapsed_us

    def _disbelieve_restored(self, track: Track) -> None:
        """A restored condition is over when its signal has been valid long enough without it."""
        if not (track.unconfirmed and track.on):
            return
        condition = track.condition
        if condition.chain == "arrhythmia":
            valid_us = self._signals.ecg_valid_since_us
        elif condition.chain == "oxygen":
            valid_us = self._signals.spo2_valid_since_us
        elif self.patient is None:
            valid_us = track.unconfirmed_us
        else:
            return  # a stream, link or battery says itself when it is well again
        needed_s = TECHNICAL_CONFIRM_S if self.patient is None else condition.confirm_s
        if valid_us is None:
            return
        if self._clock.elapsed_us - max(valid_us, track.unconfirmed_us) >= needed_s * US_PER_S:
            track.on, track.unconfirmed = False, False
            track.witnesses.clear()


def _finding_sign(finding: Finding, condition: Condition) -> Sign:
    on = finding.evidence["on"] is True
    ended = not on or condition.momentary or finding.end_us is not None
    end_us = finding.end_us if finding.end_us is not None else finding.start_us
    return Sign(
        kind=finding.kind,
        on=on,
        key=str(finding.evidence.get("key", "")),
        onset_us=finding.start_us,
        end_us=end_us if ended else None,
        stream=finding.stream,
        simulated=finding.simulated,
        fields={name: value for name, value in finding.evidence.items() if name not in ("on", "key")},
    )


def _pulse_heard(second: PulseSecond) -> PulseHeard:
    end_us = second.end_us if second.end_us is not None else second.start_us
    return PulseHeard(end_us, second.usable, second.pulses, second.rate_bpm)


def _plain(value: object) -> bool | int | float | str | None:
    return value if isinstance(value, bool | int | float | str) or value is None else str(value)
