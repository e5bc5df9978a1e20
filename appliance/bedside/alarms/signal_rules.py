"""Rules over streams and links: lead off, poor signal, a blind analysis, a lost link, a patient without a signal.

Also knows which signals were valid when, for the engine's arming, cross-checks and restarts.
Pure: `elapsed_us` is the engine's own time.
"""

from __future__ import annotations

from dataclasses import dataclass

from bedside.alarms.signs import Sign
from bedside.alarms.table import ConditionTable
from bedside.alarms.vital_rules import VITALS
from bedside.core.codes import StreamKind
from bedside.core.events import Beat, Link, Numeric, Quality
from bedside.core.samples import LinkState, StreamInfo, Validity
from bedside.core.time import US_PER_S

LEAD_OFF = "lead_off"
CUFF_S = 60.0
"""A cuff that inflates takes the pulse below it for so long at most (Philips: INOP suppressed for 60 s)."""
UNJUDGED_BEATS = 3  # so many beats in a row that no model judged: the classifier abstains


@dataclass(slots=True)
class _Stream:
    info: StreamInfo | None = None
    quality: Quality | None = None

    @property
    def is_ecg(self) -> bool:  # a stream that nobody described is taken for the one that matters most
        return self.info is None or self.info.kind is StreamKind.ECG

    @property
    def label(self) -> str:
        """As it stands in a sentence."""
        if self.info is None:
            return "the ECG"
        return f"lead {self.info.label}" if self.is_ecg else self.info.label

    @property
    def wearable(self) -> str | None:
        return self.info.wearable if self.info is not None else None

    @property
    def usable(self) -> bool:
        return self.quality is not None and self.quality.usable

    @property
    def off(self) -> bool:
        return self.quality is not None and self.quality.reason == LEAD_OFF


class SignalRules:
    """What is known of one patient's signals."""

    def __init__(self, table: ConditionTable) -> None:
        self._waiting_us = round(table["waiting_for_signal"].trigger["limit_s"] * US_PER_S)
        self._streams: dict[str, _Stream] = {}
        self._seen = False  # anything valid since the beginning
        self._waiting = False
        self._was_up: set[str] = set()
        self._rested: set[str] = set()  # wearables that rest between measurements: cuffs and the like
        self._cuff_us: int | None = None  # engine time at which one of them last woke
        self._unjudged = 0
        self.ecg_armed = False
        self.ecg_valid_since_us: int | None = None  # engine time
        self.spo2_valid_since_us: int | None = None

    @property
    def all_leads_off(self) -> bool:
        """Does no ECG electrode touch skin, as far as is known?"""
        leads = [one for one in self._streams.values() if one.is_ecg and one.quality is not None]
        return bool(leads) and all(one.off for one in leads)

    @property
    def leads_usable(self) -> bool:
        """Can at least one ECG stream be analysed?"""
        return any(one.usable for one in self._streams.values() if one.is_ecg)

    def is_ecg(self, stream: str | None) -> bool:
        """Is the stream an ECG, as far as is known? One that nobody described is taken for one."""
        return self._streams.get(stream or "", _Stream()).is_ecg

    def is_respiration(self, stream: str | None) -> bool:
        """Is breathing measured by the stream?"""
        info = self._streams.get(stream or "", _Stream()).info
        return info is not None and info.kind is StreamKind.RESPIRATION

    def under_cuff(self, stream: str | None, elapsed_us: int) -> bool:
        """Is this a pulse wave whose limb a cuff may be pressing on now?"""
        info = self._streams.get(stream or "", _Stream()).info
        at_work = self._cuff_us is not None and elapsed_us - self._cuff_us <= CUFF_S * US_PER_S
        return at_work and info is not None and info.kind is StreamKind.PLETH

    def stream(self, info: StreamInfo) -> None:
        """Make a stream known: its name for the sentences, and which wearable it belongs to."""
        self._streams.setdefault(info.id, _Stream()).info = info

    def quality(self, quality: Quality, elapsed_us: int) -> list[Sign]:
        """The quality of a stream changed."""
        stream = self._streams.setdefault(quality.stream or "", _Stream())
        stream.quality = quality
        signs = [self._stream_sign(quality, stream, LEAD_OFF, stream.off)]
        poor = not quality.usable and not stream.off
        signs.append(self._stream_sign(quality, stream, "poor_signal", poor and self._begun(stream)))
        if quality.usable:
            signs += self._valid(quality.start_us)
            if stream.is_ecg:
                self.ecg_armed = True
        if self.leads_usable:
            self.ecg_valid_since_us = elapsed_us if self.ecg_valid_since_us is None else self.ecg_valid_since_us
        else:
            self.ecg_valid_since_us = None
        return signs + self._blind(quality.start_us, quality.simulated, stream)

    def numeric(self, numeric: Numeric, elapsed_us: int) -> list[Sign]:
        """A vital sign with a value is a valid signal."""
        valid = numeric.value is not None and numeric.validity is not Validity.REJECTED
        if numeric.code.name == "SPO2":
            if not valid:
                self.spo2_valid_since_us = None
            elif self.spo2_valid_since_us is None:
                self.spo2_valid_since_us = elapsed_us
        return self._valid(numeric.start_us) if valid and numeric.code in VITALS else []

    def beat(self, beat: Beat) -> list[Sign]:
        """A model that abstains beat after beat makes the analysis blind."""
        self.ecg_armed = True
        was_abstaining = self._unjudged >= UNJUDGED_BEATS
        self._unjudged = 0 if beat.judged else self._unjudged + 1
        abstains = self._unjudged >= UNJUDGED_BEATS
        if abstains == was_abstaining:
            return []
        return self._blind(beat.start_us, beat.simulated, self._streams.get(beat.stream or "", _Stream()))

    def link(self, link: Link, elapsed_us: int = 0) -> list[Sign]:
        """A wearable's link changed. Searching for one that was never there is no loss."""
        if link.state is LinkState.RESTING:
            self._rested.add(link.wearable)
        elif link.wearable in self._rested and link.state in (LinkState.CONNECTING, LinkState.UP):
            self._cuff_us = elapsed_us if self._cuff_us is None else self._cuff_us
        if link.state is LinkState.RESTING:
            self._cuff_us = None
        if link.state is LinkState.UP:
            self._was_up.add(link.wearable)
        up_or_stopped = link.state in (LinkState.UP, LinkState.STOPPED, LinkState.RESTING)
        if not up_or_stopped and link.wearable not in self._was_up and link.state is not LinkState.LOST:
            return []
        return [
            Sign(
                kind="link_lost",
                on=not up_or_stopped,
                key=link.wearable,
                onset_us=link.start_us,
                end_us=link.start_us if up_or_stopped else None,
                wearable=link.wearable,
                simulated=link.simulated,
                fields={} if up_or_stopped else {"reason": (link.reason or str(link.state)).replace("_", " ")},
            )
        ]

    def tick(self, now_us: int, elapsed_us: int) -> list[Sign]:
        """Time passed: a patient who never gave a signal."""
        if self._seen or self._waiting or elapsed_us < self._waiting_us:
            return []
        self._waiting = True
        return [
            Sign(
                kind="waiting_for_signal",
                on=True,
                onset_us=now_us - elapsed_us,
                fields={"limit_s": self._waiting_us / US_PER_S},
            )
        ]

    # ------------------------------------------------------------------ parts

    def _begun(self, stream: _Stream) -> bool:
        """Before the first valid ECG, waiting is not poor quality."""
        return self.ecg_armed or not stream.is_ecg

    def _valid(self, at_us: int) -> list[Sign]:
        if self._seen:
            return []
        self._seen = True
        return [Sign(kind="waiting_for_signal", on=False, end_us=at_us)]

    def _blind(self, at_us: int, simulated: bool, stream: _Stream) -> list[Sign]:
        reason = None
        if not self.leads_usable:
            worst = stream.quality.reason if stream.quality is not None else None
            reason = "no usable ECG" + (f" ({worst.replace('_', ' ')})" if worst else "")
        elif self._unjudged >= UNJUDGED_BEATS:
            reason = "no model judges the beats"
        if not stream.is_ecg or not self.ecg_armed:
            return []
        return [
            Sign(
                kind="cannot_analyze",
                on=reason is not None,
                onset_us=at_us,
                end_us=at_us if reason is None else None,
                wearable=stream.wearable,
                simulated=simulated,
                fields={"reason": reason} if reason is not None else {},
            )
        ]

    def _stream_sign(self, quality: Quality, stream: _Stream, kind: str, on: bool) -> Sign:
        reason = (quality.reason or "unknown").replace("_", " ")
        return Sign(
            kind=kind,
            on=on,
            key=quality.stream or "",
            onset_us=quality.start_us,
            end_us=None if on else quality.start_us,
            stream=quality.stream,
            wearable=stream.wearable,
            simulated=quality.simulated,
            fields={"label": stream.label, "reason": reason, "score": quality.score} if on else {},
        )
