"""Pulse arrival time of one patient, every ten seconds, from the beats of an ECG and the feet of a pulse wave.

Fed by `patient.py` with the beats that an ECG stream said and the pulses that a wave believed. Pure. A moment is judged
once the wave is `MARGIN_S` further, when beats and pulses before it are known. Two wearables have two clocks: there
the number is questionable, and its changes over minutes may be theirs.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence

from bedside.core.codes import FACTS, Code
from bedside.core.events import Beat, Event, Finding, Numeric, Quality
from bedside.core.ids import IdSource
from bedside.core.samples import StreamInfo, Validity
from bedside.core.time import US_PER_S
from bedside.monitor.output import Outbox
from bedside.signal.arrival import WINDOW_S, arrival

EVERY_S = 10
MARGIN_S = 4
KEPT = 200  # beats or feet: 40 s at 300/min
STREAMS_MAX = 32


class ArrivalMonitor:
    """All ECG and pulse streams of one patient; the two that lead give the number."""

    def __init__(self, patient: str, ids: IdSource, simulated: bool) -> None:
        self._patient, self._ids, self._simulated = patient, ids, simulated
        self._beats: dict[str, deque[int]] = {}  # by stream, R peaks, µs
        self._feet: dict[str, deque[int]] = {}
        self._bad_us: dict[str, int | None] = {}  # since when an ECG cannot be believed
        self._next_us: int | None = None
        self._given = False  # was the last number one?

    def hear(self, events: Sequence[Event]) -> None:
        """What an ECG stream said."""
        for event in events:
            match event:
                case Beat(stream=str(stream)) if stream in self._beats or len(self._beats) < STREAMS_MAX:
                    self._beats.setdefault(stream, deque(maxlen=KEPT)).append(event.start_us)
                case Finding(kind="beat_retracted", stream=str(stream)) if stream in self._beats:
                    kept = [at_us for at_us in self._beats[stream] if at_us != event.start_us]
                    self._beats[stream] = deque(kept, maxlen=KEPT)
                case Quality(stream=str(stream)) if stream in self._beats:
                    self._bad_us[stream] = None if event.usable else event.start_us
                case _:
                    pass

    def pulses(self, stream: str, found: Sequence[tuple[int, float]]) -> None:
        """Believed pulses of a wave: foot (µs) and height."""
        if found and (stream in self._feet or len(self._feet) < STREAMS_MAX):
            self._feet.setdefault(stream, deque(maxlen=KEPT)).extend(foot_us for foot_us, _ in found)

    def moment(self, ecg: StreamInfo | None, wave: StreamInfo, end_us: int, out: Outbox) -> None:
        """The leading wave has come to `end_us`; say the number of each moment that is due."""
        if ecg is None or wave.id not in self._feet:
            return
        every_us = EVERY_S * US_PER_S
        if self._next_us is None or abs(end_us - self._next_us) > 10 * every_us:
            self._next_us = (end_us // every_us + 1) * every_us
        while end_us >= self._next_us + MARGIN_S * US_PER_S:
            self._say(ecg, wave, self._next_us, end_us, out)
            self._next_us += every_us

    def _say(self, ecg: StreamInfo, wave: StreamInfo, at_us: int, known_us: int, out: Outbox) -> None:
        bad_us = self._bad_us.get(ecg.id)
        last_us = bad_us if bad_us is not None else at_us
        beats_s = [(one - at_us) / US_PER_S for one in sorted(self._beats.get(ecg.id, ())) if one < last_us]
        feet_s = [(one - at_us) / US_PER_S for one in sorted(self._feet[wave.id])]
        found = arrival([one for one in beats_s if one > -WINDOW_S], feet_s, 0.0)
        if found.arrival_s is None and not self._given:  # never there, or gone and said so
            return
        self._given = found.arrival_s is not None
        one_clock = ecg.wearable == wave.wearable
        validity = Validity.GOOD if one_clock else Validity.QUESTIONABLE
        out.add(
            known_us,
            Numeric(
                id=self._ids.event(),
                patient=self._patient,
                start_us=at_us,
                simulated=self._simulated or ecg.simulated or wave.simulated,
                code=Code.PULSE_ARRIVAL,
                value=None if found.arrival_s is None else 1000.0 * found.arrival_s,
                unit=FACTS[Code.PULSE_ARRIVAL].unit,
                validity=Validity.REJECTED if found.arrival_s is None else validity,
                reason=found.reason if found.arrival_s is None else None if one_clock else "two_clocks",
                source=f"{ecg.id}+{wave.id}",
            ),
        )
