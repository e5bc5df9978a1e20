"""One patient's breathing: what her streams say of it every ten seconds, fused; and apnoea, from a waveform alone.

Fed by `patient.py` with samples of ECG, pulse and respiration streams, with the beats, pulses and quality that their
own monitors said. Pure. The moments at which a rate is given follow from sample times (multiples of `EVERY_S`), each
judged once its stream is `MARGIN_S` further, when all beats and pulses before it are known.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise

import numpy as np

from bedside.core.codes import FACTS, Code, StreamKind
from bedside.core.events import Beat, Event, Evidence, Finding, Numeric, Quality
from bedside.core.ids import IdSource
from bedside.core.samples import Block, Floats, StreamInfo, Validity
from bedside.core.time import US_PER_S
from bedside.monitor.output import Outbox
from bedside.monitor.timeline import Timeline
from bedside.signal import respiration as breaths
from bedside.signal.respiration import ApnoeaWatch, Breathing, SlowSeries

EVERY_S = 10
MARGIN_S = 3
BEATS_KEPT = 300  # 35 s at the fastest rate that a heart has, twice over
BEATS_S = breaths.WINDOW_S + 5.0  # older beats say nothing of a window
SPANS_KEPT = 64
KINDS = {
    StreamKind.RESPIRATION: breaths.DIRECT,
    StreamKind.ECG: "ecg",
    StreamKind.PLETH: "pleth",
}
RANK = (breaths.DIRECT, "ecg", "pleth")
HOLE_S_MAX = 10.0
NEAR_US = 10_000  # times of a block and of its timeline differ by no more than this


@dataclass(slots=True)
class _Source:
    """One stream."""

    info: StreamInfo
    name: str
    series: SlowSeries
    state: breaths.SlowState
    expected: int | None = None
    base: int = 0
    windows: deque[tuple[int, Floats]] = field(default_factory=lambda: deque(maxlen=MARGIN_S + EVERY_S + 2))
    beats: deque[tuple[int, float]] = field(default_factory=lambda: deque(maxlen=BEATS_KEPT))
    bad: deque[tuple[int, int | None]] = field(default_factory=lambda: deque(maxlen=SPANS_KEPT))
    timeline: Timeline = field(default_factory=Timeline)
    on_skin: bool = True
    newest_us: int = 0


class RespirationMonitor:
    """All streams of one patient that breathing moves."""

    def __init__(self, patient: str, ids: IdSource, simulated: bool) -> None:
        self._patient, self._ids, self._simulated = patient, ids, simulated
        self._sources: dict[str, _Source] = {}
        self._watch = ApnoeaWatch()
        self._apnoea = self._watch.initial()
        self._open: tuple[str, int] | None = None  # the apnoea that is on: its newest event, its onset
        self._next_us: int | None = None
        self.own_us: int | None = None  # when a wearable last gave a rate of its own: ours is not said beside it

    def pieces(self, block: Block) -> list[Block]:
        """The block cut where a rate may become due, so that the order of events does not depend on other cuts.

        Every place at which `samples` says a rate is one of these; a few more do no harm.
        """
        source = self._source(block.stream)
        n = block.counts.size
        if source is None or n == 0:
            return [block]
        first, frame = block.first_index, source.series.frame
        base = first if self._anew(source, first) else source.base
        ends = np.arange(base + -(-(first - base + 1) // frame) * frame, first + n + 1, frame)
        if ends.size == 0:
            return [block]
        ends_us = block.start_us + (ends - first) * (US_PER_S / block.rate_hz) - MARGIN_S * US_PER_S
        before_us = ends_us - frame * US_PER_S / block.rate_hz
        every_us = EVERY_S * US_PER_S
        due = (ends_us + NEAR_US) // every_us > (before_us - NEAR_US) // every_us
        cuts = [int(end) - first for end in ends[due] if end < first + n]
        if not cuts:
            return [block]
        return [
            replace(
                block,
                first_index=first + begin,
                start_us=block.start_us + round(begin * US_PER_S / block.rate_hz),
                counts=block.counts[begin:end],
            )
            for begin, end in pairwise([0, *cuts, n])
        ]

    def samples(self, block: Block, out: Outbox) -> None:
        """The next samples of a stream; those that were seen before are dropped, a short hole is missing samples."""
        source = self._source(block.stream)
        if source is None or block.counts.size == 0:
            return
        if self._anew(source, block.first_index):  # its own beats were heard just now
            kept = [one for one in source.beats if one[0] >= block.start_us]
            source.beats.clear()
            source.beats.extend(kept)
        for part in self._ordered(source, block.first_index, block.values()):
            source.timeline.note(block.first_index, block.start_us, block.rate_hz)
            source.state, windows = source.series.step(source.state, part)
            for end, window in windows:
                end_us = source.timeline.at(source.base + end)
                source.windows.append((end_us, window))
                source.newest_us = end_us
                self._moment(source, end_us, out)
                if source.name == breaths.DIRECT:
                    self._second(source, window, end_us, out)

    def hear(self, events: Sequence[Event]) -> None:
        """What the streams' own monitors said: beats, beats taken back, quality."""
        for event in events:
            source = self._sources.get(event.stream or "")
            if source is None:
                continue
            match event:
                case Beat():
                    source.beats.append((event.start_us, event.amplitude_mv))
                case Finding(kind="beat_retracted"):
                    kept = [one for one in source.beats if one[0] != event.start_us]
                    source.beats.clear()
                    source.beats.extend(kept)
                case Quality(usable=False) if not source.bad or source.bad[-1][1] is not None:
                    source.bad.append((event.start_us, None))
                case Quality(usable=True) if source.bad and source.bad[-1][1] is None:
                    source.bad[-1] = (source.bad[-1][0], event.start_us)
                case _:
                    pass

    def pulses(self, stream: str, found: Sequence[tuple[int, float]]) -> None:
        """Believed pulses of a stream: foot (µs) and height."""
        if stream in self._sources:
            self._sources[stream].beats.extend(found)

    def contact(self, wearable: str, kind: StreamKind, on_skin: bool) -> None:
        """What a sensor says of itself."""
        for source in self._sources.values():
            if source.info.wearable == wearable and source.info.kind is kind:
                source.on_skin = on_skin

    # ------------------------------------------------------------------ samples

    def _source(self, info: StreamInfo) -> _Source | None:
        source = self._sources.get(info.id)
        if source is not None and source.info.rate_hz == info.rate_hz:
            return source
        name = KINDS.get(info.kind)
        if name is None or not breaths.INNER_HZ <= info.rate_hz <= 1000.0:
            return None
        series = SlowSeries.design(info.rate_hz)
        source = self._sources[info.id] = _Source(info, name, series, series.initial())
        return source

    def _ordered(self, source: _Source, first: int, values: Floats) -> list[Floats]:
        if source.expected is not None and first < source.expected:
            if first + values.size > source.expected:
                values, first = values[source.expected - first :], source.expected
            elif source.expected - first <= HOLE_S_MAX * source.info.rate_hz:
                return []
        hole = first - source.expected if source.expected is not None else 0
        parts = [values]
        if self._anew(source, first):
            source.state, source.base = source.series.initial(), first
            source.windows.clear()
            source.timeline = Timeline()
        elif hole:
            parts = [np.full(hole, np.nan), values]
        source.expected = first + values.size
        return parts

    def _anew(self, source: _Source, first: int) -> bool:
        """Does the series begin anew with sample `first`: the first ever, after a long hole, or of another count?"""
        hole = first - source.expected if source.expected is not None else -1
        long = HOLE_S_MAX * source.info.rate_hz
        return source.expected is None or hole > long or hole < -long

    # ------------------------------------------------------------------ rates

    def _moment(self, source: _Source, end_us: int, out: Outbox) -> None:
        """Is it time for a rate? The best stream that still comes beats the time."""
        every_us = EVERY_S * US_PER_S
        if self._next_us is None or end_us - self._next_us > 10 * every_us:
            self._next_us = (end_us // every_us + 1) * every_us
        newest_us = max(one.newest_us for one in self._sources.values())
        alive = [one for one in self._sources.values() if newest_us - one.newest_us <= EVERY_S * US_PER_S]
        if source is not min(alive, key=lambda one: (RANK.index(one.name), one.info.id)):
            return
        while end_us >= self._next_us + MARGIN_S * US_PER_S:
            self._say(self._next_us, end_us, out)
            self._next_us += every_us

    def _say(self, at_us: int, known_us: int, out: Outbox) -> None:
        found: dict[str, Breathing] = {}
        for source in self._sources.values():
            for name, one in self._of(source, at_us).items():
                before = found.get(name)
                if before is None or one.quality > before.quality:
                    found[name] = one
        if self.own_us is not None and known_us - self.own_us <= FACTS[Code.RESPIRATION_RATE].max_age_s * US_PER_S:
            return
        fused = breaths.fuse(found)
        direct = fused.sources == (breaths.DIRECT,)
        out.add(
            known_us,
            Numeric(
                id=self._ids.event(),
                patient=self._patient,
                start_us=at_us,
                simulated=self._simulated,
                code=Code.RESPIRATION_RATE,
                value=fused.rate_per_min,
                unit=FACTS[Code.RESPIRATION_RATE].unit,
                validity=(
                    Validity.REJECTED
                    if fused.rate_per_min is None
                    else Validity.GOOD
                    if direct
                    else Validity.QUESTIONABLE
                ),
                reason=fused.reason,
                source="+".join(fused.sources) or "respiration",
            ),
        )

    def _of(self, source: _Source, at_us: int) -> dict[str, Breathing]:
        """What one stream says of the 32 s before `at_us`."""
        window = next((one for end_us, one in reversed(source.windows) if end_us <= at_us), None)
        late = [end_us for end_us, _ in source.windows if end_us <= at_us]
        if window is None or at_us - late[-1] > 2 * US_PER_S:
            return {}
        window = self._seen(source, window, late[-1])
        if source.name == breaths.DIRECT:
            return {breaths.DIRECT: breaths.breathing(window, direct=True)}
        since_us = at_us - round(BEATS_S * US_PER_S)
        believed = [one for one in source.beats if since_us <= one[0] <= at_us and not self._is_bad(source, one[0])]
        times_s = [(time_us - at_us) / US_PER_S for time_us, _ in believed]
        found = breaths.sources_of_beats(source.name, times_s, [size for _, size in believed], 0.0)
        found[f"{source.name}_baseline"] = breaths.breathing(window, heart_per_min=breaths.heart_rate(times_s, 0.0))
        return found

    def _seen(self, source: _Source, window: Floats, end_us: int) -> Floats:
        """The window without the quarters of seconds that could not be believed."""
        if not source.bad:
            return window
        ends = end_us - (np.arange(window.size)[::-1] * (US_PER_S / breaths.INNER_HZ))
        hidden = np.zeros(window.size, np.bool_)
        for first_us, last_us in source.bad:
            hidden |= (ends > first_us) & (ends <= (last_us if last_us is not None else np.inf))
        return np.where(hidden, np.nan, window)

    def _is_bad(self, source: _Source, time_us: int) -> bool:
        return any(first <= time_us and (last is None or time_us < last) for first, last in source.bad)

    # ------------------------------------------------------------------ apnoea

    def _second(self, source: _Source, window: Floats, end_us: int, out: Outbox) -> None:
        """Each second of a waveform: have breaths ceased?"""
        counted = breaths.breathing(window, direct=True) if end_us // US_PER_S % EVERY_S == 0 else None
        self._apnoea = self._watch.step(self._apnoea, window, counted, source.on_skin)
        ceased = self._watch.apnoea(self._apnoea)
        if ceased is True and self._open is None:
            onset_us = end_us - round(self._apnoea.since_s * US_PER_S)
            self._say_apnoea(source, onset_us, None, end_us, out)
        elif ceased is False and self._open is not None:
            self._say_apnoea(source, self._open[1], end_us, end_us, out)

    def _say_apnoea(self, source: _Source, onset_us: int, end_us: int | None, known_us: int, out: Outbox) -> None:
        """Evidence that breaths ceased: sent after 20 s of silence, and again, superseding, when they return."""
        event_id = self._ids.event()
        silent_s = (known_us - onset_us) / US_PER_S
        evidence: Evidence = {
            "on": end_us is None, "silent_s": silent_s, "limit_s": breaths.APNOEA_S, "source": breaths.DIRECT,
        }  # fmt: skip
        out.add(
            known_us,
            Finding(
                id=event_id,
                patient=self._patient,
                stream=source.info.id,
                start_us=onset_us,
                end_us=end_us,
                supersedes=self._open[0] if self._open is not None else None,
                simulated=source.info.simulated or self._simulated,
                kind="apnea",
                evidence=evidence,
            ),
        )
        self._open = (event_id, onset_us) if end_us is None else None
