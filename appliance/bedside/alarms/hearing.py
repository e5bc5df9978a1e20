"""What one patient's events say of her conditions: events in, signs out.

The rules live here (`beat_rules`, `rate_rules`, `vital_rules`, `signal_rules`, `spot_rules`), with what the leads and
the pulse say of each other; `engine` makes alarms of their signs, and `doubts` asks here what contradicts them.
Pure: the time is told by `EngineClock`.
"""

from __future__ import annotations

from bedside.alarms.beat_rules import BeatRules
from bedside.alarms.clock import EngineClock
from bedside.alarms.cross_checks import PulseHeard, Pulses
from bedside.alarms.leads import Leads
from bedside.alarms.news2 import INPUTS, NAMES
from bedside.alarms.rate_rules import RateRules
from bedside.alarms.signal_rules import SignalRules
from bedside.alarms.signs import Sign
from bedside.alarms.spot_rules import SPOT_FINDINGS, SpotRules
from bedside.alarms.stored_rules import StoredRules
from bedside.alarms.table import Condition, ConditionTable
from bedside.alarms.vital_rules import VitalRules
from bedside.core.codes import StreamKind
from bedside.core.events import (
    Beat,
    Event,
    Evidence,
    Finding,
    Json,
    Link,
    Numeric,
    PulseSecond,
    Quality,
    Rhythm,
    RhythmLabel,
)
from bedside.core.samples import StreamInfo
from bedside.core.time import US_PER_S

RHYTHM_KINDS = {
    RhythmLabel.ASYSTOLE: "asystole",
    RhythmLabel.VF: "ventricular_fibrillation",
    RhythmLabel.VT: "ventricular_tachycardia",
    RhythmLabel.AF: "atrial_fibrillation",
    RhythmLabel.SVT: "supraventricular_tachycardia",
}
RHYTHM = "rhythm "  # a lead's rhythm as the witness of a condition: with its stream
RATES_MAX = 32
LEADER_SILENT_S = 3.0  # beats are counted on one lead; another takes over when it has been silent so long


class Hearing:
    """All rules of one patient (`patient` None: of the box, which has none)."""

    def __init__(self, patient: str | None, table: ConditionTable, clock: EngineClock) -> None:
        self.table = table
        self._patient = patient
        self._clock = clock
        self._beats = BeatRules(table)
        self._vitals = VitalRules(table)
        self._spots = SpotRules(table)
        self._stored = StoredRules()
        self._rates: dict[str | None, RateRules] = {}
        self.signals = SignalRules(table)
        self.leads, self.pulses = Leads(table), Pulses()
        self.leader: tuple[str | None, int] | None = None  # stream whose beats count, engine time of its last
        self.beaten_us: dict[str | None, tuple[int, int]] = {}  # last beat of each stream: engine time, its own

    def stream(self, info: StreamInfo) -> None:
        """Make a stream known, for names in sentences and to know ECG from other streams."""
        self.signals.stream(info)
        if info.kind is StreamKind.ECG:
            self.leads.name(info.id, f"lead {info.label}")

    def change(self, table: ConditionTable) -> None:
        """Other limits from now on."""
        self.table = table
        self._vitals.change(table)
        for rates in self._rates.values():
            rates.change(table)

    def tick(self) -> list[Sign]:
        """Time passed."""
        if self._patient is None:
            return []
        now_us, elapsed_us = self._clock.now_us, self._clock.elapsed_us
        signs = self._beats.tick(elapsed_us) + self._vitals.tick(elapsed_us)
        signs += [sign for rates in self._rates.values() for sign in rates.tick(elapsed_us)]
        signs += self.leads.silent(now_us) + self._spots.tick(now_us, elapsed_us)
        return signs + self._stored.tick(elapsed_us) + self.signals.tick(now_us, elapsed_us)

    def early_warning(self) -> dict[str, Json]:
        """NEWS2 of what is fresh now, for a screen."""
        found = self._spots.score(self._clock.elapsed_us)
        return {
            "total": found.total,
            "scale": found.scale,
            "told": found.sentence(),
            "points": dict(found.points),
            "missing": list(found.missing),
            "inputs": [{"name": name, "label": NAMES[name], "points": found.points.get(name)} for name in INPUTS],
        }

    def hear(self, event: Event) -> list[Sign]:
        """What the rules make of one event."""
        elapsed_us = self._clock.elapsed_us
        match event:
            case Beat():
                return self._beat(event)
            case Numeric(stored=True):  # it was so then: no live condition
                self._stored.numeric(event, self.table, elapsed_us)
                return []
            case Numeric():
                signs = self._vitals.numeric(event, elapsed_us) + self.signals.numeric(event, elapsed_us)
                return signs + self._spots.numeric(event, elapsed_us)
            case Rhythm():
                return self._rhythm(event)
            case Quality():
                return self._quality(event)
            case PulseSecond():
                self.pulses.second(event.stream or "", _pulse_heard(event))
                return []
            case Link():
                return self.signals.link(event, elapsed_us)
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
        self.beaten_us[beat.stream] = (elapsed_us, beat.start_us)
        signs = self.leads.beat(beat)
        if beat.stream in self._rates or len(self._rates) < RATES_MAX:
            rates = self._rates.setdefault(beat.stream, RateRules(self.table, beat.stream or ""))
            signs += rates.beat(beat, elapsed_us)
        if self.leader is None or self.leader[0] != beat.stream:
            if self.leader is not None and elapsed_us - self.leader[1] <= LEADER_SILENT_S * US_PER_S:
                return signs
            signs += self._beats.give_up() if self.leader is not None else []
        self.leader = (beat.stream, elapsed_us)
        return signs + self._beats.beat(beat, elapsed_us) + self.signals.beat(beat)

    def _quality(self, quality: Quality) -> list[Sign]:
        signs = self.signals.quality(quality, self._clock.elapsed_us)
        if self.signals.is_ecg(quality.stream):
            self.leads.quality(quality)
        elif self.signals.is_respiration(quality.stream) and not quality.usable:
            signs += self._spots.unseen()
        if self.signals.all_leads_off:
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
        led = self.leader is None or self.leader[0] == finding.stream
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
