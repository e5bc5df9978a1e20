"""One pulse wave of a patient: its samples through the pulse analyser, what it finds as events.

Each second of the wave gives a `PulseSecond`; the wave that leads gives the pulse rate and the perfusion index too.
`PulseHistory` answers what a cross-check asks: how many pulses were there since? Pure; fed by `patient.py`.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

from bedside.core.codes import FACTS, Code, StreamKind
from bedside.core.events import Numeric, PulseSecond, Quality
from bedside.core.ids import IdSource
from bedside.core.samples import Floats, StreamInfo, Validity
from bedside.core.time import US_PER_S
from bedside.monitor.output import Outbox
from bedside.signal import pleth

WITH_LIGHT = frozenset({"{light}", "lx", "lm", "nA", "uA", "mA"})
"""Units that say that the values are light or a photodiode's current, constant part and all."""
STALE_S = 5.0
"""No sample for so long: the wave is missing (as for the ECG)."""
HISTORY_S = 60.0

At = Callable[[float], int]
"""Time of a sample of the stream's own count, µs UTC."""


@dataclass(frozen=True, slots=True)
class PulsesSeen:
    """What the seconds that end in `(from, until]` say together."""

    pulses: int
    usable_s: int
    seconds: int
    newest_pulse_us: int | None  # in that time


class PulseHistory:
    """The last minute of one wave's seconds. Fed with `PulseSecond` events in their order; bounded."""

    def __init__(self) -> None:
        self._seconds: deque[PulseSecond] = deque(maxlen=round(HISTORY_S) + 1)

    def take(self, second: PulseSecond) -> None:
        self._seconds.append(second)

    def seen(self, from_us: int, until_us: int) -> PulsesSeen:
        """Pulses between two times, as far as their seconds are known by now (1 to 2 s late)."""
        inside = [one for one in self._seconds if one.end_us is not None and from_us < one.end_us <= until_us]
        usable = [one for one in inside if one.usable]
        newest = [one.newest_pulse_us for one in usable if (one.newest_pulse_us or 0) > from_us]
        return PulsesSeen(
            pulses=sum(one.pulses for one in usable),
            usable_s=len(usable),
            seconds=len(inside),
            newest_pulse_us=max((one for one in newest if one is not None), default=None),
        )


class PulseWave:
    """One wave. Raises `ValueError` when its rate cannot be analysed (20 to 1000 Hz can)."""

    def __init__(self, info: StreamInfo, patient: str, ids: IdSource, simulated: bool, at: At) -> None:
        self.info = info
        self._patient, self._ids, self._at = patient, ids, at
        self._simulated = simulated or info.simulated
        self._analyser = pleth.PulseAnalyser.design(
            info.rate_hz,
            step_size=abs(info.unit_per_count),
            has_dc=info.kind is StreamKind.PLETH and info.unit in WITH_LIGHT,
        )
        self._state = self._analyser.initial()
        self._base: int | None = None  # the stream's index of the analysis' first sample
        self._end = 0  # the stream's index that comes next
        self.on_skin: bool | None = None
        self._quality: tuple[bool, str | None] | None = None
        self.unusable_since_us: int | None = None
        self._stale_said_us: int | None = None
        self.fresh: list[tuple[int, float]] = []  # believed pulses (foot µs, height) since whoever reads it emptied it

    @property
    def usable(self) -> bool:
        """Could the newest second be believed?"""
        return self._quality is not None and self._quality[0]

    def samples(self, first_index: int, values: Floats, leads: bool, out: Outbox) -> None:
        """The next samples, in order; `leads`: do the patient's numbers come from this wave?"""
        if self._base is None:
            self._base = first_index
        self._end = first_index + values.size
        self._state, output = self._analyser.step(self._state, values)
        self._stale_said_us = None
        base = self._base
        self.fresh += [(self._at(base + one.onset_index), one.height) for one in output.pulses if one.believed]
        self._tell(output.seconds, leads, out)

    def restart(self, leads: bool, out: Outbox) -> None:
        """The samples that follow are of another count, or come after a long hole. Call it with the old times."""
        if self._base is not None:
            self._tell(self._analyser.finish(self._state).seconds, leads, out)
        self._state, self._base = self._analyser.initial(), None

    def contact(self, on_skin: bool, at_us: int, leads: bool, out: Outbox) -> None:
        """What the sensor says of itself."""
        self.on_skin = on_skin
        if not on_skin:
            self._say_quality(at_us, at_us, self._end, False, 0.0, "lead_off", out)
            if leads:
                self._say_number(Code.PULSE_RATE, at_us, at_us, None, "lead_off", out)

    def advance(self, now_us: int, newest_us: int, leads: bool, out: Outbox) -> None:
        """It is `now_us`: a wave without new samples is missing, and says so once a second."""
        if now_us - newest_us <= STALE_S * US_PER_S:
            return
        reason = "lead_off" if self.on_skin is False else "missing"
        self._say_quality(now_us, now_us, self._end, False, 0.0, reason, out)
        if leads and (self._stale_said_us is None or now_us - self._stale_said_us >= US_PER_S):
            self._stale_said_us = now_us
            self._say_number(Code.PULSE_RATE, now_us, now_us, None, reason, out)

    def _tell(self, seconds: tuple[pleth.PulseSecond, ...], leads: bool, out: Outbox) -> None:
        for second in seconds:
            self._say_second(second, leads, out)

    def _say_second(self, second: pleth.PulseSecond, leads: bool, out: Outbox) -> None:
        base = self._base or 0
        start_us = self._at(base + second.first_index)
        end_us = self._at(base + second.first_index + second.n_samples)
        known_us = self._at(base + second.first_index + 2 * second.n_samples)
        off = self.on_skin is False
        usable, reason = second.usable and not off, "lead_off" if off else second.reason
        rate_bpm = second.rate_bpm if usable else None
        out.add(
            known_us,
            PulseSecond(
                id=self._ids.event(),
                patient=self._patient,
                stream=self.info.id,
                start_us=start_us,
                end_us=end_us,
                simulated=self._simulated,
                index=base + second.first_index,
                n_samples=second.n_samples,
                usable=usable,
                reason=reason,
                pulses=second.pulses if usable else 0,
                newest_pulse_us=self._at(base + second.newest_index) if second.newest_index is not None else None,
                rate_bpm=rate_bpm,
            ),
        )
        self._say_quality(known_us, start_us, base + second.first_index, usable, second.score, reason, out)
        if not leads:
            return
        self._say_number(Code.PULSE_RATE, end_us, known_us, rate_bpm, reason or "irregular", out)
        if self._analyser.has_dc:
            perfusion = second.perfusion_pct if usable else None
            self._say_number(Code.PERFUSION_INDEX, end_us, known_us, perfusion, reason or "no_pulse", out)

    def _say_quality(
        self, known_us: int, at_us: int, index: int, usable: bool, score: float, reason: str | None, out: Outbox
    ) -> None:
        """Quality is said when it changes."""
        if self._quality == (usable, reason):
            return
        if usable:
            self.unusable_since_us = None
        elif self.unusable_since_us is None:
            self.unusable_since_us = at_us
        self._quality = (usable, reason)
        out.add(
            known_us,
            Quality(
                id=self._ids.event(),
                patient=self._patient,
                stream=self.info.id,
                start_us=at_us,
                simulated=self._simulated,
                index=index,
                usable=usable,
                score=score if usable else min(score, 0.3),
                reason=reason,
            ),
        )

    def _say_number(self, code: Code, at_us: int, known_us: int, value: float | None, reason: str, out: Outbox) -> None:
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
                validity=Validity.REJECTED if value is None else Validity.GOOD,
                reason=reason if value is None else None,
                source=self.info.id,
            ),
        )
