"""One patient's monitor: items in, events and display waves out; the same for a strap and for a recording.

Fed by wearables' decoders or by a recording; knows no clock (time comes with the items and with `advance`), no file,
no socket. Everything about an ECG stream follows from its samples and their index alone, so it does not depend on how
the stream was cut into blocks. Ages follow from `advance`: where nothing comes, numbers are withdrawn, for silence must
never look like health.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field

import numpy as np

from bedside.core.codes import FACTS, Code, StreamKind
from bedside.core.events import Event, Finding, Link, Numeric, StreamGap
from bedside.core.ids import IdSource
from bedside.core.samples import (
    Block,
    Contact,
    Floats,
    Gap,
    Item,
    LinkChange,
    Reading,
    Remark,
    StreamInfo,
    Validity,
)
from bedside.core.time import US_PER_S
from bedside.monitor.arrival import ArrivalMonitor
from bedside.monitor.ecg import EcgStream
from bedside.monitor.intake import Dropped, Hole, Intake, Restart, Samples
from bedside.monitor.lead import BeatJudge, Stage
from bedside.monitor.motion import MotionMonitor
from bedside.monitor.opinions import WindowJudge
from bedside.monitor.output import CleanWave, MonitorOutput, Outbox
from bedside.monitor.pleth import PulseWave
from bedside.monitor.respiration import RespirationMonitor
from bedside.monitor.timeline import Timeline

__all__ = ["CleanWave", "MonitorOutput", "PatientMonitor"]

STREAMS_MAX = 32  # a wearable has a handful: more is a fault, and memory stays bounded
READINGS_MAX = 64
OTHER_LEAD_AFTER_S = 10.0
"""The numbers come from another lead when the present one could not be used for so long."""


PULSE_KINDS = frozenset({StreamKind.PLETH, StreamKind.PRESSURE})


@dataclass(slots=True)
class _OtherStream:
    """A stream that is no ECG: a pulse wave is analysed, the others are shown and stored."""

    info: StreamInfo
    intake: Intake
    timeline: Timeline = field(default_factory=Timeline)
    pulse: PulseWave | None = None


class PatientMonitor:
    """Follows one patient. Not thread-safe; `feed` and `advance` return at once.

    `classifier` is shared by all streams (a frozen design, its memory is kept per stream). `stage(name)` gives a
    context manager around each stage's work, for measuring; the default measures nothing. `windows`: the model of half
    minutes, shared too; without it the rhythm rules decide alone.
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
    ) -> None:
        self.patient = patient
        self._ids = ids
        self._classifier = classifier
        self._simulated = simulated
        self._windows = windows
        self._stage: Stage = stage if stage is not None else _unmeasured
        self._ecg: dict[str, EcgStream] = {}
        self._other: dict[str, _OtherStream] = {}
        self._contacts: dict[str, bool] = {}  # by wearable
        self._readings: dict[tuple[str, Code], tuple[int, bool]] = {}  # newest time, and whether it is withdrawn
        self._leading: str | None = None
        self._leading_wave: str | None = None
        self._pulse_read_us: int | None = None  # when an oximeter last gave a pulse rate of its own
        self._breathing = RespirationMonitor(patient, ids, simulated)
        self._arrival = ArrivalMonitor(patient, ids, simulated)
        self._motion: dict[str, MotionMonitor] = {}  # by wearable
        self._now_us: int | None = None
        self._refused = 0

    def feed(self, item: Item) -> MonitorOutput:
        """Take one item. Items of a wearable come in the order of its link; unknown kinds of stream are passed over."""
        out = self._outbox()
        match item:
            case Block():
                self._block(item, out)
            case Gap():
                self._gap(item, out)
            case Reading():
                self._reading(item, out)
            case Contact():
                self._contact(item, out)
            case Remark():
                told = {"wearable": item.wearable, **item.evidence}
                out.add(item.time_us, self._finding(item.kind, item.stream, item.time_us, told))
            case LinkChange():
                out.add(
                    item.time_us,
                    Link(
                        id=self._ids.event(),
                        patient=self.patient,
                        start_us=item.time_us,
                        simulated=self._simulated,
                        wearable=item.wearable,
                        state=item.state,
                        reason=item.reason,
                    ),
                )
        return out.done()

    def advance(self, now_us: int) -> MonitorOutput:
        """It is `now_us`: withdraw what is too old. Call it at least once a second, above all when nothing comes."""
        out = self._outbox()
        self._now_us = now_us if self._now_us is None else max(now_us, self._now_us)
        for stream in self._ecg.values():
            stream.advance(now_us, stream.info.id == self._leading, out)
        self._elect(now_us, out)
        for other in self._other.values():
            if other.pulse is not None and other.intake.end_us is not None:
                other.pulse.advance(now_us, other.intake.end_us, self._wave_leads(other.info.id, now_us), out)
        self._elect_wave(now_us)
        self._withdraw(now_us, out)
        return out.done()

    def finish(self) -> MonitorOutput:
        """The streams have ended (a recording's end): beats still waiting for a class and open episodes are closed."""
        out = self._outbox()
        for stream in self._ecg.values():
            stream.finish(stream.info.id == self._leading, out)
        for other in self._other.values():
            if other.pulse is not None and other.intake.end_us is not None:
                other.pulse.restart(self._wave_leads(other.info.id, other.intake.end_us), out)
        return out.done()

    # ------------------------------------------------------------------ streams

    def _outbox(self) -> Outbox:
        return Outbox()

    def _block(self, whole: Block, out: Outbox) -> None:
        for piece in self._breathing.pieces(whole):
            self._piece(piece, out)

    def _piece(self, block: Block, out: Outbox) -> None:
        info = block.stream
        if info.kind is StreamKind.ECG:
            stream = self._ecg_stream(info, block.start_us, out)
            if stream is not None:
                n_before = len(out)
                stream.block(block, info.id == self._leading, out)
                self._elect(block.end_us, out)
                self._breathe(block, n_before, out)
        else:
            self._other_block(block, out)

    def _breathe(self, block: Block, n_before: int, out: Outbox) -> None:
        """A block's beats, pulses and samples to the breathing; `n_before`: how many events there were before it."""
        with self._stage("respiration"):
            self._breathing.hear(out.since(n_before))
            self._arrival.hear(out.since(n_before))
            other = self._other.get(block.stream.id)
            if other is not None and other.pulse is not None:
                self._breathing.pulses(block.stream.id, other.pulse.fresh)
                self._arrival.pulses(block.stream.id, other.pulse.fresh)
                other.pulse.fresh = []
            self._breathing.samples(block, out)
            if block.stream.id == self._leading_wave:
                leading = self._ecg.get(self._leading or "")
                self._arrival.moment(leading.info if leading is not None else None, block.stream, block.end_us, out)

    def _ecg_stream(self, info: StreamInfo, at_us: int, out: Outbox) -> EcgStream | None:
        stream = self._ecg.get(info.id)
        if stream is not None and stream.info.rate_hz == info.rate_hz:
            return stream
        if stream is not None:
            stream.finish(info.id == self._leading, out)
        elif len(self._ecg) + len(self._other) >= STREAMS_MAX:
            self._refuse(info, at_us, "too many streams", out)
            return None
        try:
            stream = EcgStream(
                info, self.patient, self._ids, self._classifier, self._simulated, self._stage, self._windows
            )
        except ValueError as error:
            self._refuse(info, at_us, str(error), out)
            return None
        stream.contact(self._contacts.get(info.wearable), at_us, out)
        self._ecg[info.id] = stream
        if self._leading is None:
            self._leading = info.id
        return stream

    def _refuse(self, info: StreamInfo, at_us: int, why: str, out: Outbox) -> None:
        """A stream that cannot be analysed: said once in a while, not with each of its blocks."""
        self._refused += 1
        if self._refused & (self._refused - 1) == 0:  # 1, 2, 4, 8, ...
            out.add(at_us, self._finding("stream_refused", info.id, at_us, {"why": why, "blocks": self._refused}))

    def _other_block(self, block: Block, out: Outbox) -> None:
        info = block.stream
        other = self._other.get(info.id)
        if other is None:
            if len(self._ecg) + len(self._other) >= STREAMS_MAX:
                self._refuse(info, block.start_us, "too many streams", out)
                return
            other = self._other[info.id] = self._other_stream(info, block.start_us, out)
        leads, n_before = self._wave_leads(info.id, block.end_us), len(out)
        for action in other.intake.block(block):
            match action:
                case Samples(first_index, values):
                    if block.first_index <= first_index:
                        other.timeline.note(block.first_index, block.start_us, block.rate_hz)
                    self._show(other, first_index, values, out)
                    if other.pulse is not None:
                        with self._stage("pulse"):
                            other.pulse.samples(first_index, values, leads, out)
                case Hole(first_index, n_samples, cause):
                    other.timeline.note(block.first_index, block.start_us, block.rate_hz)
                    self._other_hole(other, first_index, n_samples, cause, out)
                case Restart(first_index, ended_index, _):
                    if other.pulse is not None:
                        other.pulse.restart(leads, out)
                    if first_index < ended_index:  # another count: the old one's times mean nothing for it
                        other.timeline = Timeline()
                case Dropped():
                    pass
        if info.kind is StreamKind.ACCELERATION and info.wearable in self._motion:
            with self._stage("motion"):
                self._motion[info.wearable].block(block, out)
        self._elect_wave(block.end_us)
        self._breathe(block, n_before, out)

    def _other_stream(self, info: StreamInfo, at_us: int, out: Outbox) -> _OtherStream:
        other = _OtherStream(info, Intake(info.rate_hz))
        if info.kind is StreamKind.ACCELERATION and info.wearable not in self._motion:
            try:
                self._motion[info.wearable] = MotionMonitor(info, self.patient, self._ids, self._simulated)
            except ValueError as error:
                self._refuse(info, at_us, str(error), out)
        if info.kind in PULSE_KINDS:
            try:
                other.pulse = PulseWave(
                    info, self.patient, self._ids, self._simulated, lambda index: other.timeline.at(index)
                )
            except ValueError as error:
                self._refuse(info, at_us, str(error), out)
            else:
                self._leading_wave = self._leading_wave or info.id
        return other

    def _wave_leads(self, stream: str, now_us: int) -> bool:
        """Do the pulse numbers come from this wave? An oximeter's own, where fresh, are shown before ours."""
        read_us = self._pulse_read_us
        fresh = read_us is not None and now_us - read_us <= FACTS[Code.PULSE_RATE].max_age_s * US_PER_S
        return stream == self._leading_wave and not fresh

    def _elect_wave(self, now_us: int) -> None:
        """Another wave leads when the present one could not be used for as long as a lead may."""
        leading = self._other.get(self._leading_wave or "")
        if leading is None or leading.pulse is None or leading.pulse.unusable_since_us is None:
            return
        if now_us - leading.pulse.unusable_since_us >= OTHER_LEAD_AFTER_S * US_PER_S:
            better = (one.info.id for one in self._other.values() if one.pulse is not None and one.pulse.usable)
            self._leading_wave = next(better, self._leading_wave)

    def _other_hole(self, other: _OtherStream, first_index: int, n_samples: int, cause: str, out: Outbox) -> None:
        other_at = other.timeline.at
        out.add(
            other_at(first_index + n_samples),
            StreamGap(
                id=self._ids.event(),
                patient=self.patient,
                stream=other.info.id,
                start_us=other_at(first_index),
                end_us=other_at(first_index + n_samples),
                simulated=other.info.simulated or self._simulated,
                index=first_index,
                n_samples=n_samples,
                cause=cause,
            ),
        )

    def _show(self, other: _OtherStream, first_index: int, values: Floats, out: Outbox) -> None:
        """A pulse wave is shown as it came, thinned to at most 125 a second."""
        if other.info.kind not in (StreamKind.PLETH, StreamKind.RESPIRATION, StreamKind.PRESSURE):
            return
        every = max(int(np.ceil(other.info.rate_hz / 125.0)), 1)
        skip = -first_index % every
        if values.size > skip:
            start = first_index + skip
            wave = CleanWave(
                stream=other.info,
                first_index=start // every,
                start_us=other.timeline.at(start),
                rate_hz=other.info.rate_hz / every,
                values=values[skip::every].copy(),
            )
            out.wave(wave)

    def _gap(self, gap: Gap, out: Outbox) -> None:
        if gap.stream.kind is StreamKind.ECG:
            stream = self._ecg_stream(gap.stream, gap.start_us, out)
            if stream is not None:
                stream.gap(gap, gap.stream.id == self._leading, out)
            return
        other = self._other.get(gap.stream.id)
        if other is None:
            return
        leads = self._wave_leads(gap.stream.id, gap.end_us)
        for action in other.intake.gap(gap):
            match action:
                case Hole(first_index, n_samples, cause):
                    self._other_hole(other, first_index, n_samples, cause, out)
                case Samples(first_index, values) if other.pulse is not None:
                    other.pulse.samples(first_index, values, leads, out)
                case Restart() if other.pulse is not None:
                    other.pulse.restart(leads, out)
                case _:
                    pass

    def _elect(self, now_us: int, out: Outbox) -> None:
        """Which lead do the numbers come from? The one that always did, while it can be used."""
        leading = self._ecg.get(self._leading or "")
        if leading is None or leading.usable:
            return
        unusable_us = now_us - leading.unusable_since_us
        if unusable_us < OTHER_LEAD_AFTER_S * US_PER_S:
            return
        better = next((one for one in self._ecg.values() if one.usable), None)
        if better is not None:
            evidence = {"from": leading.info.label, "to": better.info.label}
            out.add(now_us, self._finding("lead_switched", better.info.id, now_us, dict(evidence)))
            self._leading = better.info.id

    # ------------------------------------------------------------------ what the wearable says

    def _reading(self, reading: Reading, out: Outbox) -> None:
        key = (reading.wearable, reading.code)
        newest_us = self._readings[key][0] if key in self._readings else None
        older = newest_us is not None and reading.time_us < newest_us
        if older and not reading.stored:
            return  # an older number never takes a newer one's place
        if key not in self._readings and len(self._readings) >= READINGS_MAX:
            return
        if not older:
            self._readings[key] = (reading.time_us, False)
            if reading.code is Code.PULSE_RATE and reading.value is not None:
                self._pulse_read_us = max(reading.time_us, self._pulse_read_us or 0)
            if reading.code is Code.RESPIRATION_RATE and reading.value is not None:
                self._breathing.own_us = max(reading.time_us, self._breathing.own_us or 0)
        out.add(
            reading.time_us,
            self._numeric(
                reading.code,
                reading.time_us,
                reading.value,
                reading.validity,
                reading.reason,
                reading.wearable,
                stored=reading.stored,
            ),
        )

    def _withdraw(self, now_us: int, out: Outbox) -> None:
        """A number of the wearable that is past its age is withdrawn, once."""
        for (wearable, code), (time_us, withdrawn) in list(self._readings.items()):
            if not withdrawn and now_us - time_us > FACTS[code].max_age_s * US_PER_S:
                self._readings[wearable, code] = (time_us, True)
                out.add(now_us, self._numeric(code, now_us, None, Validity.REJECTED, "stale", wearable))

    def _contact(self, contact: Contact, out: Outbox) -> None:
        self._breathing.contact(contact.wearable, contact.kind, contact.on_skin)
        if contact.kind is StreamKind.PLETH:
            for other in self._other.values():
                if other.pulse is not None and other.info.wearable == contact.wearable:
                    leads = self._wave_leads(other.info.id, contact.time_us)
                    other.pulse.contact(contact.on_skin, contact.time_us, leads, out)
        if contact.kind is not StreamKind.ECG:
            return
        self._contacts[contact.wearable] = contact.on_skin
        for stream in self._ecg.values():
            if stream.info.wearable == contact.wearable:
                stream.contact(contact.on_skin, contact.time_us, out)

    def _numeric(
        self,
        code: Code,
        at_us: int,
        value: float | None,
        validity: Validity,
        reason: str | None,
        source: str,
        *,
        stored: bool = False,
    ) -> Event:
        return Numeric(
            id=self._ids.event(),
            patient=self.patient,
            start_us=at_us,
            simulated=self._simulated,
            code=code,
            value=value,
            unit=FACTS[code].unit,
            validity=validity,
            reason=reason,
            source=source,
            stored=stored,
        )

    def _finding(
        self, kind: str, stream: str | None, at_us: int, evidence: Mapping[str, bool | int | float | str | None]
    ) -> Event:
        return Finding(
            id=self._ids.event(),
            patient=self.patient,
            stream=stream,
            start_us=at_us,
            simulated=self._simulated,
            kind=kind,
            evidence=dict(evidence),
        )


def _unmeasured(_name: str) -> AbstractContextManager[object]:
    return nullcontext()
