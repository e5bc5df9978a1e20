"""What is shown of one patient: the newest numbers with their age, the signals with their reasons, the alarms.

A number older than its limit (`core.codes.FACTS`) is never shown: its place says `---` and why.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from bedside.core.api import AlarmView, NumericView, PatientView, SignalView, WearableView
from bedside.core.codes import FACTS, Code, StreamKind
from bedside.core.events import Alarm, Event, Evidence, Finding, Link, Numeric, Quality, Rhythm, RhythmLabel, StreamGap
from bedside.core.ports import Patient
from bedside.core.samples import Block, LinkState, StreamInfo, Validity
from bedside.core.time import US_PER_S
from bedside.ward.completeness import Completeness

Limits = Mapping[Code, tuple[float | None, float | None]]

SHOWN = (Code.HEART_RATE, Code.SPO2, Code.PULSE_RATE)  # always have a place on the tile, value or not

BY_DANGER = (
    RhythmLabel.ASYSTOLE,
    RhythmLabel.VF,
    RhythmLabel.VT,
    RhythmLabel.SVT,
    RhythmLabel.AF,
    RhythmLabel.BIGEMINY,
    RhythmLabel.TRIGEMINY,
    RhythmLabel.PACED,
    RhythmLabel.SINUS,
)

REASONS = {
    "no_sensor": "No sensor for this value",
    "lead_off": "Lead off: an electrode does not touch the skin",
    "link_lost": "Link lost: the wearable cannot be reached",
    "waiting_for_signal": "Waiting for the first signal",
    "missing": "No samples arrive",
    "flat": "Flat line: no signal from the electrodes",
    "saturated": "Signal too large: the amplifier is saturated",
    "motion": "Poor signal: motion",
    "muscle": "Poor signal: muscle noise",
    "mains": "Poor signal: mains interference",
    "stale": "No new value",
    "no_pulse": "No pulse found in the pulse wave",
    "low_perfusion": "Pulse too weak: warm the finger or move the sensor",
    "learning": "Learning this patient's pulse",
    "weak": "Breathing too faint to count",
    "disagreement": "Sources disagree: no rate can be given",
    "fast": "Breathing faster than can be counted from this signal",
    "session_failed": "Monitoring of this patient is being restarted",
}


def reason_text(reason: str | None) -> str | None:
    """The sentence a screen shows for a reason; an unknown reason is shown as it is."""
    return None if reason is None else REASONS.get(reason, reason.replace("_", " ").capitalize())


@dataclass(slots=True)
class _Signal:
    info: StreamInfo
    usable: bool = False
    reason: str | None = "waiting_for_signal"
    since_us: int | None = None
    newest_us: int | None = None
    note: str | None = None


@dataclass(slots=True)
class _Wearable:
    id: str
    name: str
    link: LinkState = LinkState.SEARCHING
    reason: str | None = None
    battery_pct: float | None = None


class PatientBoard:
    """Follows one patient's events and gives her `PatientView` at any moment.

    `admitted_us`: when monitoring began. Pure: time is passed in.
    """

    def __init__(self, patient: Patient, wearable_names: Mapping[str, str], limits: Limits) -> None:
        self.patient = patient
        self.failed = False
        self._limits = limits
        self._numerics: dict[Code, Numeric] = {}
        self._signals: dict[str, _Signal] = {}
        self._wearables = {wearable: _Wearable(wearable, name) for wearable, name in wearable_names.items()}
        self._rhythms: dict[RhythmLabel, Rhythm] = {}  # open episodes
        self._completeness = Completeness()

    def add_wearable(self, wearable: str, name: str) -> None:
        """A wearable was paired while she is watched."""
        self._wearables[wearable] = _Wearable(wearable, name)

    def remove_wearable(self, wearable: str) -> None:
        """It is not hers any more; what its streams said last is not shown on."""
        self._wearables.pop(wearable, None)
        for stream in [one for one, signal in self._signals.items() if signal.info.wearable == wearable]:
            del self._signals[stream]

    def set_limits(self, limits: Limits) -> None:
        """Other limits stand beside the numbers from now on."""
        self._limits = limits

    def stream(self, info: StreamInfo, newest_us: int) -> None:
        """Samples of a stream arrived, the newest at `newest_us`."""
        signal = self._signals.setdefault(info.id, _Signal(info))
        signal.newest_us = max(newest_us, signal.newest_us or 0)

    def samples(self, block: Block) -> None:
        """Samples arrived: they are there for the count of what did not."""
        self.stream(block.stream, block.end_us)
        if block.stream.kind is StreamKind.ECG:
            self._completeness.block(block)

    def event(self, event: Event) -> None:
        """Take in what the monitor said."""
        match event:
            case Numeric(code=Code.BATTERY):
                wearable = self._wearables.get(event.source)
                if wearable is not None:
                    wearable.battery_pct = event.value
            case Numeric():
                newest = self._numerics.get(event.code)
                if newest is None or not event.stored or event.start_us >= newest.start_us:
                    self._numerics[event.code] = event
            case Quality() if event.stream in self._signals:
                signal = self._signals[event.stream]
                if (signal.usable, signal.reason) != (event.usable, event.reason):
                    signal.since_us = event.start_us
                signal.usable, signal.reason = event.usable, event.reason
            case Finding(kind="lead_character") if event.stream in self._signals:
                self._signals[event.stream].note = lead_note(event.evidence)
            case Rhythm():
                if event.end_us is None:
                    self._rhythms[event.label] = event
                else:
                    self._rhythms.pop(event.label, None)
            case StreamGap():
                signal_of = self._signals.get(event.stream or "")
                if event.end_us is not None and signal_of is not None and signal_of.info.kind is StreamKind.ECG:
                    self._completeness.gap(event.cause, event.start_us, event.end_us)
            case Link() if event.wearable in self._wearables:
                wearable = self._wearables[event.wearable]
                wearable.link, wearable.reason = event.state, event.reason
            case _:
                pass

    def links(self) -> list[LinkState]:
        """The state of each wearable's link."""
        return [wearable.link for wearable in self._wearables.values()]

    def newest_us(self) -> int | None:
        """When the newest sample of any stream was taken."""
        return max((s.newest_us for s in self._signals.values() if s.newest_us is not None), default=None)

    def view(self, alarms: Sequence[Alarm], now_us: int, stored_us: int | None) -> PatientView:
        """The patient as a tile shows her at `now_us`."""
        codes = [*SHOWN, *(code for code in self._numerics if code not in SHOWN)]
        waiting = not any(signal.newest_us for signal in self._signals.values())
        ecg_usable = any(s.usable for s in self._signals.values() if s.info.kind is StreamKind.ECG)
        view = PatientView(
            id=self.patient.id,
            name=self.patient.name,
            bed=self.patient.bed,
            simulated=self.patient.simulated,
            state="failed" if self.failed else "waiting_for_signal" if waiting else "monitored",
            numerics=[self._numeric(code, now_us) for code in codes],
            signals=[self._signal(signal, now_us) for signal in self._signals.values()],
            rhythm=self._rhythm() if ecg_usable else None,
            alarms=[alarm_view(alarm) for alarm in alarms],
            wearables=[
                WearableView(id=w.id, name=w.name, link=str(w.link), battery_pct=w.battery_pct, reason=w.reason)
                for w in self._wearables.values()
            ],
            newest_sample_us=self.newest_us(),
            stored_us=stored_us,
        )
        completeness = self._completeness.view(now_us)
        if self._completeness.measured:
            view["completeness"] = completeness
        return view

    def _rhythm(self) -> str | None:
        """The label of the open episode that matters most: a dangerous one runs beside the base rhythm."""
        return next((str(label) for label in BY_DANGER if label in self._rhythms), None)

    def _numeric(self, code: Code, now_us: int) -> NumericView:
        facts, newest = FACTS[code], self._numerics.get(code)
        low, high = self._limits.get(code, (None, None))
        waiting = not any(signal.newest_us for signal in self._signals.values())
        value, validity = None, str(Validity.REJECTED)
        reason = "waiting_for_signal" if waiting or code is Code.HEART_RATE else "no_sensor"
        age_s = None
        if newest is not None:
            age_s = max(0.0, (now_us - newest.start_us) / US_PER_S)
            value, validity = newest.value, str(newest.validity)
            reason = newest.reason or ""
            if age_s > facts.max_age_s:
                value, validity, reason = None, str(Validity.REJECTED), reason or "stale"
            elif newest.validity is Validity.REJECTED:
                value = None
        view = NumericView(
            code=str(code), label=facts.label, unit=facts.unit, value=value, decimals=facts.decimals,
            time_us=newest.start_us if newest is not None else None, age_s=age_s, validity=validity,
            reason=reason_text(reason or None), limit_low=low, limit_high=high,
        )  # fmt: skip
        if newest is not None and newest.stored:
            view["stored"] = True
        return view

    def _signal(self, signal: _Signal, now_us: int) -> SignalView:
        usable, reason = signal.usable, signal.reason
        link = self._wearables.get(signal.info.wearable)
        if link is not None and link.link is not LinkState.UP:
            usable, reason = False, "link_lost"
        elif signal.newest_us is None or now_us - signal.newest_us > 3 * US_PER_S:
            usable, reason = False, reason if reason == "lead_off" else "missing"
        if self.failed:
            usable, reason = False, "session_failed"
        return SignalView(
            stream=signal.info.id, kind=str(signal.info.kind), label=signal.info.label,
            rate_hz=signal.info.rate_hz, unit=signal.info.unit, usable=usable,
            reason=None if usable else reason, reason_text=None if usable else reason_text(reason),
            since_us=signal.since_us, newest_us=signal.newest_us, note=signal.note if usable else None,
        )  # fmt: skip


def lead_note(evidence: Evidence) -> str | None:
    """What a screen says of a lead that can be believed and yet is unusual; None where nothing is."""
    odd = []
    if evidence.get("direction") == "down":
        odd.append("QRS points down: strap upside down or leads swapped?")
    if evidence.get("size") == "small":
        odd.append(f"small QRS, {evidence.get('qrs_mv')} mV")
    elif evidence.get("size") == "large":
        odd.append(f"large QRS, {evidence.get('qrs_mv')} mV")
    if (mains_hz := evidence.get("mains_hz")) is not None:
        odd.append(f"mains {mains_hz} Hz, filtered out")
    return " · ".join(odd) or None


def alarm_view(alarm: Alarm) -> AlarmView:
    """An open alarm as the screens show it."""
    return AlarmView(
        alarm=alarm.alarm, kind=alarm.kind, alarm_class=str(alarm.alarm_class), priority=str(alarm.priority),
        state=str(alarm.state), condition=alarm.condition, latching=alarm.latching, start_us=alarm.start_us,
        raised_us=alarm.raised_us, text=alarm.text, by=alarm.by, evidence=alarm.evidence,
    )  # fmt: skip
