"""One ECG stream of a patient: its samples through the lead's analysis, its findings as events.

Holds what `lead.py` does not know: indices since the wearable began to count, time, identity, age, electrodes.
Pure; fed by `patient.py`.
"""

from __future__ import annotations

from collections import deque
from dataclasses import replace

import numpy as np

from bedside.core.codes import FACTS, Code, StreamKind
from bedside.core.events import Beat, BeatClass, Evidence, Finding, Numeric, Quality, Rhythm, RhythmLabel, StreamGap
from bedside.core.ids import IdSource
from bedside.core.samples import Block, Floats, Gap, StreamInfo, Validity
from bedside.core.time import US_PER_S
from bedside.monitor.delineation import WaveNumbers
from bedside.monitor.intake import HOLE_S_MAX, Action, Dropped, Hole, Intake, Restart, Samples
from bedside.monitor.lead import BeatJudge, Lead, LeadBeat, LeadFindings, Stage
from bedside.monitor.opinions import WindowJudge
from bedside.monitor.output import CleanWave, Outbox
from bedside.monitor.timeline import Timeline
from bedside.signal.character import Character
from bedside.signal.delineation import WaveSummary
from bedside.signal.lead import INTERNAL_HZ, QualitySecond
from bedside.signal.rate import Rate
from bedside.signal.rhythm import Episode

PACING_HZ = 1000.0
"""Below it pacing pulses leave no trace that could be told from noise (IEC 60601-2-27: 0.1 to 2 ms)."""
WAVE_EVERY = 2
WAVE_HZ = INTERNAL_HZ / WAVE_EVERY
STALE_S = 5.0
"""No sample for so long: the stream is missing. Straps send two blocks a second; half of the 10 s that numbers live."""
VENTRICULAR_EVERY_S = 10
VENTRICULAR_WINDOW_S = 60.0
DROPPED_SAY_S = 60.0


class EcgStream:
    """One stream. Raises `ValueError` when its rate cannot be analysed (100 to 1000 Hz can)."""

    def __init__(
        self,
        info: StreamInfo,
        patient: str,
        ids: IdSource,
        judge: BeatJudge,
        simulated: bool,
        stage: Stage,
        windows: WindowJudge | None = None,
    ) -> None:
        if info.kind is not StreamKind.ECG or info.unit != "mV":
            raise ValueError(f"stream unit {info.unit!r} of kind {info.kind}: expected an ECG in mV")
        self.info = info
        self._patient, self._ids, self._judge, self._stage = patient, ids, judge, stage
        self._windows = windows
        self._simulated = simulated or info.simulated
        self._model: str | None = judge.digest
        self._timeline = Timeline()
        self._intake = Intake(info.rate_hz)
        self._base = 0  # the stream's index of the analysis' first sample
        self._lead = Lead(info.rate_hz, judge, stage, windows)
        self._begun = False
        self._on_skin: bool | None = None
        self._quality: tuple[bool, str | None] | None = None
        self.unusable_since_us = 0
        self._open: dict[str, str] = {}  # rhythm label -> id of its newest event
        self._ventricular: deque[int] = deque(maxlen=1000)  # stream indices
        self._judged = False
        self._model_out = False  # the beat model failed, and no beat was judged since
        self._wave_numbers = WaveNumbers()
        self._stale_said_us: int | None = None
        self._newest_us: int | None = None
        self._pacing_said = False
        self._dropped = 0
        self._dropped_said_us: int | None = None

    @property
    def usable(self) -> bool:
        """Could the newest second be believed?"""
        return self._quality is not None and self._quality[0]

    def block(self, block: Block, leads: bool, out: Outbox) -> None:
        """Take a block; `leads`: do the patient's numbers come from this stream?"""
        actions = self._intake.block(block)
        self._act(actions, block, leads, out)

    def gap(self, gap: Gap, leads: bool, out: Outbox) -> None:
        """Take a declared gap."""
        if self._intake.expected is None and gap.n_samples > 0:  # before our first sample: told, nothing to analyse
            self._put_gap(gap.first_index, gap.n_samples, gap.cause, gap.start_us, gap.end_us, out)
        self._act(self._intake.gap(gap), None, leads, out)

    def contact(self, on_skin: bool | None, at_us: int, out: Outbox) -> None:
        """What the electrodes say of themselves; None: they say nothing."""
        self._on_skin = self._lead.on_skin = on_skin
        if on_skin is False:
            index = self._intake.expected if self._intake.expected is not None else 0
            self._say_quality(at_us, at_us, QualitySecond(index, 0, False, 0.0, "lead_off"), out)

    def advance(self, now_us: int, leads: bool, out: Outbox) -> None:
        """It is `now_us`: a stream without new samples is missing, and says so once a second."""
        if self._newest_us is None or now_us - self._newest_us <= STALE_S * US_PER_S:
            return
        if now_us - self._newest_us > HOLE_S_MAX * US_PER_S:  # nothing that was on is still known to be
            self.finish(False, out)
        index = self._intake.expected if self._intake.expected is not None else 0
        reason = "lead_off" if self._on_skin is False else "missing"
        self._say_quality(now_us, now_us, QualitySecond(index, 0, False, 0.0, reason), out)
        due = self._stale_said_us is None or now_us - self._stale_said_us >= US_PER_S
        if leads and due:
            self._stale_said_us = now_us
            self._say_number(Code.HEART_RATE, now_us, now_us, None, Validity.REJECTED, reason, out)

    def finish(self, leads: bool, out: Outbox) -> None:
        """The stream has ended."""
        if self._begun:
            found = self._lead.close()
            if self._quality == (False, "missing"):  # the last second seen was fine, and is long past
                found = replace(found, quality=())
            self._tell(found, leads, out)
            self._open.clear()
            self._lead, self._begun = self._new_lead(), False
            self._wave_numbers = WaveNumbers()

    # ------------------------------------------------------------------ samples

    def _act(self, actions: list[Action], block: Block | None, leads: bool, out: Outbox) -> None:
        for action in actions:
            match action:
                case Samples(first_index, values):
                    if block is not None and block.first_index <= first_index:
                        self._timeline.note(block.first_index, block.start_us, block.rate_hz)
                    self._samples(first_index, values, leads, out)
                case Hole(first_index, n_samples, cause):
                    if block is not None:
                        self._timeline.note(block.first_index, block.start_us, block.rate_hz)
                    self._say_gap(first_index, n_samples, cause, out)
                case Restart(first_index, ended_index, cause):
                    self._restart(first_index, ended_index, cause, block, leads, out)
                case Dropped(first_index, n_samples):
                    self._say_dropped(first_index, n_samples, out)
        if block is not None and block.counts.size:
            self._newest_us = block.end_us if self._newest_us is None else max(self._newest_us, block.end_us)
            self._stale_said_us = None

    def _samples(self, first_index: int, values: Floats, leads: bool, out: Outbox) -> None:
        if not self._begun:
            self._base, self._begun = first_index, True
            self._disclaim_pacing(first_index, out)
        for found in self._lead.feed(values):
            self._tell(found, leads, out)

    def _disclaim_pacing(self, first_index: int, out: Outbox) -> None:
        """Who looks for pacing must learn, once a stream, that nobody could see it."""
        if self.info.rate_hz >= PACING_HZ or self._pacing_said:
            return
        self._pacing_said = True
        why = "pulses of 0.1 to 2 ms cannot be resolved at this rate"
        at_us = self._timeline.at(first_index)
        self._say_finding("pacing_not_judged", at_us, {"rate_hz": self.info.rate_hz, "why": why}, out)

    def _new_lead(self) -> Lead:
        lead = Lead(self.info.rate_hz, self._judge, self._stage, self._windows)
        lead.on_skin = self._on_skin
        return lead

    def _restart(
        self, first_index: int, ended_index: int, cause: str, block: Block | None, leads: bool, out: Outbox
    ) -> None:
        self.finish(leads, out)
        if first_index < ended_index:  # another count: the old one's times mean nothing for it
            self._timeline = Timeline()
        if block is not None:
            self._timeline.note(block.first_index, block.start_us, block.rate_hz)
        if first_index < ended_index and block is None:
            return
        at_us = self._timeline.at(first_index)
        self._say_finding("analysis_restarted", at_us, {"index": first_index, "cause": cause}, out)

    # ------------------------------------------------------------------ findings to events

    def _at(self, lead_index: float) -> int:
        """Time of a source sample of the lead's own count."""
        return self._timeline.at(self._base + lead_index)

    def _tell(self, found: LeadFindings, leads: bool, out: Outbox) -> None:
        known_us = self._at(found.known)
        self._show(found, out)
        if found.model_failed is not None:
            self._judged, self._model_out = False, True
            failure: Evidence = {"on": True, "model": "beats", "error": found.model_failed}
            self._say_finding("model_failed", known_us, failure, out, known_us)
        for index in found.retracted:
            self._say_finding("beat_retracted", self._at(index), {"index": self._base + index}, out, known_us)
        for beat in found.beats:
            self._say_beat(beat, known_us, out)
        for second in found.quality:
            placed = replace(second, first_index=self._base + second.first_index)
            self._say_quality(known_us, self._at(second.first_index), placed, out)
        for episode in found.episodes:
            self._say_rhythm(episode, known_us, out)
        for pause in found.pauses:
            index = round(self._lead.to_source(pause.at))
            evidence: Evidence = {"rr_s": pause.rr_s, "index": self._base + index}
            self._say_finding("pause", self._at(index), evidence, out, known_us)
        for note in found.notes:
            index = round(self._lead.to_source(note.at))
            self._say_finding(note.kind, self._at(index), {**note.evidence, "index": self._base + index}, out, known_us)
        for index, rate in found.rates:
            self._say_rates(index, rate, known_us, leads, out)
        for character in found.characters:
            self._say_character(character, known_us, out)
        for summary in found.waves:
            self._say_waves(summary, known_us, leads, out)

    def _show(self, found: LeadFindings, out: Outbox) -> None:
        skip = -found.clean_first % WAVE_EVERY
        values = found.clean_mv[skip::WAVE_EVERY]
        if values.size == 0:
            return
        first = found.clean_first + skip
        before = self._base * WAVE_HZ / self.info.rate_hz
        out.wave(
            CleanWave(
                stream=self.info,
                first_index=round(before) + first // WAVE_EVERY,
                start_us=self._at(self._lead.to_source(first)),
                rate_hz=WAVE_HZ,
                values=np.ascontiguousarray(values),
            )
        )

    def _say_beat(self, beat: LeadBeat, known_us: int, out: Outbox) -> None:
        self._judged = beat.judged
        if beat.judged and self._model_out:
            self._model_out = False
            self._say_finding("model_failed", known_us, {"on": False, "model": "beats"}, out, known_us)
        if beat.symbol == "V":
            self._ventricular.append(self._base + beat.index)
        out.add(
            known_us,
            Beat(
                id=self._ids.event(),
                patient=self._patient,
                stream=self.info.id,
                start_us=self._at(beat.index),
                simulated=self._simulated,
                index=self._base + beat.index,
                beat_class=BeatClass(beat.symbol),
                judged=beat.judged,
                probability=beat.probability,
                rr_s=beat.rr_s,
                amplitude_mv=beat.amplitude_mv,
                model=self._model if beat.judged else None,
            ),
        )

    def _say_quality(self, known_us: int, at_us: int, second: QualitySecond, out: Outbox) -> None:
        """Quality is said when it changes."""
        now = (second.usable, second.reason)
        if self._quality == now:
            return
        if not second.usable and (self._quality is None or self._quality[0]):
            self.unusable_since_us = at_us
        self._quality = now
        out.add(
            known_us,
            Quality(
                id=self._ids.event(),
                patient=self._patient,
                stream=self.info.id,
                start_us=at_us,
                simulated=self._simulated,
                index=second.first_index,
                usable=second.usable,
                score=second.score,
                reason=second.reason,
            ),
        )

    def _say_rhythm(self, episode: Episode, known_us: int, out: Outbox) -> None:
        event_id = self._ids.event()
        index = round(self._lead.to_source(episode.onset))
        end_index = round(self._lead.to_source(episode.end)) if episode.end is not None else None
        out.add(
            known_us,
            Rhythm(
                id=event_id,
                patient=self._patient,
                stream=self.info.id,
                start_us=self._at(index),
                end_us=self._at(end_index) if end_index is not None else None,
                supersedes=self._open.get(episode.label),
                simulated=self._simulated,
                label=RhythmLabel(episode.label),
                index=self._base + index,
                end_index=self._base + end_index if end_index is not None else None,
                evidence=dict(episode.evidence),
            ),
        )
        if end_index is None:
            self._open[episode.label] = event_id
        else:
            self._open.pop(episode.label, None)

    def _say_rates(self, index: int, rate: Rate, known_us: int, leads: bool, out: Outbox) -> None:
        if not leads:
            return
        validity = Validity.REJECTED if rate.bpm is None else Validity.QUESTIONABLE if rate.held else Validity.GOOD
        at_us = self._at(index)
        self._say_number(Code.HEART_RATE, at_us, known_us, rate.bpm, validity, rate.reason, out)
        seconds = round(index / self.info.rate_hz)
        if seconds % VENTRICULAR_EVERY_S or seconds < VENTRICULAR_WINDOW_S:
            return
        oldest = self._base + index - VENTRICULAR_WINDOW_S * self.info.rate_hz
        while self._ventricular and self._ventricular[0] < oldest:
            self._ventricular.popleft()
        if rate.bpm is None or not self._judged:
            reason = rate.reason if rate.bpm is None else "model_missing"
            self._say_number(Code.VENTRICULAR_RATE, at_us, known_us, None, Validity.REJECTED, reason, out)
        else:
            count = float(len(self._ventricular))
            self._say_number(Code.VENTRICULAR_RATE, at_us, known_us, count, validity, None, out)

    def _say_character(self, character: Character, at_us: int, out: Outbox) -> None:
        """What kind of lead it is: for people who look at it; nothing is withheld for it."""
        evidence: Evidence = {
            "direction": character.direction,
            "size": character.size,
            "qrs_mv": round(character.qrs_mv, 3),
        }
        if character.mains_hz is not None:
            evidence |= {"mains_hz": character.mains_hz, "mains_mv": round(character.mains_mv, 3)}
        self._say_finding("lead_character", at_us, evidence, out)

    def _say_waves(self, summary: WaveSummary, known_us: int, leads: bool, out: Outbox) -> None:
        """Intervals and ST: said when they change, and again before they are too old."""
        if not leads:
            return
        at_us = self._at(self._lead.to_source(summary.at))
        for code, value, reason in self._wave_numbers.news(summary):
            validity = Validity.GOOD if value is not None else Validity.REJECTED
            self._say_number(code, at_us, known_us, value, validity, reason, out)

    def _say_number(
        self,
        code: Code,
        at_us: int,
        known_us: int,
        value: float | None,
        validity: Validity,
        reason: str | None,
        out: Outbox,
    ) -> None:
        out.add(
            known_us,
            Numeric(
                id=self._ids.event(),
                patient=self._patient,
                stream=self.info.id,
                start_us=at_us,
                simulated=self._simulated,
                code=code,
                value=value,
                unit=FACTS[code].unit,
                validity=validity,
                reason=reason,
                source=self.info.id,
            ),
        )

    def _say_gap(self, first_index: int, n_samples: int, cause: str, out: Outbox) -> None:
        start_us, end_us = self._timeline.at(first_index), self._timeline.at(first_index + n_samples)
        self._put_gap(first_index, n_samples, cause, start_us, end_us, out)

    def _put_gap(self, first_index: int, n_samples: int, cause: str, start_us: int, end_us: int, out: Outbox) -> None:
        out.add(
            end_us,
            StreamGap(
                id=self._ids.event(),
                patient=self._patient,
                stream=self.info.id,
                start_us=start_us,
                end_us=end_us,
                simulated=self._simulated,
                index=first_index,
                n_samples=n_samples,
                cause=cause,
            ),
        )

    def _say_dropped(self, first_index: int, n_samples: int, out: Outbox) -> None:
        """Samples that came twice: counted, and said at most once a minute."""
        self._dropped += n_samples
        now_us = self._newest_us if self._newest_us is not None else self._timeline.at(first_index)
        if self._dropped_said_us is None or now_us - self._dropped_said_us >= DROPPED_SAY_S * US_PER_S:
            self._dropped_said_us = now_us
            evidence: Evidence = {"first_index": first_index, "samples_dropped": self._dropped}
            self._say_finding("samples_dropped", now_us, evidence, out)

    def _say_finding(self, kind: str, at_us: int, evidence: Evidence, out: Outbox, known_us: int | None = None) -> None:
        out.add(
            known_us if known_us is not None else at_us,
            Finding(
                id=self._ids.event(),
                patient=self._patient,
                stream=self.info.id,
                start_us=at_us,
                simulated=self._simulated,
                kind=kind,
                evidence=evidence,
            ),
        )
