"""What other signals of the patient say against an alarm that one of them gives: other leads, and the pulse.

Reasons in words for the screen, or None. What may hold back what:

- asystole: beats on another lead, or a pulse that goes on;
- VT and VF: another readable lead alone, never the pulse wave;
- extreme rates: every other signal that can tell a rate; a pulse alone only slow ones, for a weak pulse is slow itself.

Pure; memory is bounded.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from bedside.alarms.leads import Leads
from bedside.core.time import US_PER_S

PULSE_STREAMS_MAX = 8
SECONDS_KEPT = 30
PULSES_NEEDED = 2
STEADY = 0.6
"""At least this share of the pulses that the rate promises."""
NEAR = 0.2
"""A rate contradicts an extreme one when it is off the limit by more than this share."""
PULSE_AGE_US = 5 * US_PER_S
PULSE_BPM = (30.0, 200.0)


@dataclass(frozen=True, slots=True)
class PulseHeard:
    """A second of a pulse wave that ended at `end_us`."""

    end_us: int
    usable: bool
    pulses: int
    rate_bpm: float | None


class Pulses:
    """The newest seconds of each pulse wave of one patient."""

    def __init__(self) -> None:
        self._waves: dict[str, deque[PulseHeard]] = {}

    def second(self, stream: str, heard: PulseHeard) -> None:
        """One more second."""
        if stream in self._waves or len(self._waves) < PULSE_STREAMS_MAX:
            self._waves.setdefault(stream, deque(maxlen=SECONDS_KEPT)).append(heard)

    def goes_on(self, since_us: int, now_us: int) -> float | None:
        """The rate of a wave that pulses without a pause after `since_us`; None where none is known to."""
        for wave in self._waves.values():
            after = [one for one in wave if one.end_us >= since_us + 1.5 * US_PER_S]
            if not after or not _new(after[-1], now_us):
                continue
            believed = all(one.usable for one in after)
            rate_bpm = after[-1].rate_bpm
            pulses = sum(one.pulses for one in after)
            if not believed or rate_bpm is None or not _human(rate_bpm):
                continue
            if pulses >= max(PULSES_NEEDED, STEADY * len(after) * rate_bpm / 60.0):
                return rate_bpm
        return None

    def expected(self, now_us: int) -> bool:
        """Is there a wave that could be believed lately, so that its word is worth a moment's waiting?"""
        return any(
            wave and wave[-1].usable and now_us - wave[-1].end_us < PULSE_AGE_US for wave in self._waves.values()
        )

    def rate_bpm(self, now_us: int) -> float | None:
        """The newest rate of a wave that can be believed."""
        for wave in self._waves.values():
            newest = wave[-1]
            if newest.usable and newest.rate_bpm is not None and _new(newest, now_us):
                return newest.rate_bpm
        return None


def against_asystole(pulses: Pulses, onset_us: int, now_us: int) -> str | None:
    """The pulse goes on: the heart does."""
    rate_bpm = pulses.goes_on(onset_us, now_us)
    return f"the pulse goes on at {rate_bpm:.0f}/min" if rate_bpm is not None else None


def against_tachycardia(leads: Leads, streams: Sequence[str | None]) -> str | None:
    """Every lead that shows it is contradicted by the others, or by its own doubts beside a disturbed one."""
    if len(set(streams)) > 1:
        return None
    doubts = [leads.doubt(stream) for stream in streams]
    return doubts[0] if doubts and all(doubt is not None for doubt in doubts) else None


def against_fibrillation(leads: Leads, streams: Sequence[str | None], now_us: int) -> str | None:
    """Another lead that can be read shows the patient's own beats, regularly."""
    if len(set(streams)) != 1:
        return None
    return leads.beating(streams[0], now_us)


def against_rate(
    leads: Leads,
    pulses: Pulses,
    streams: Sequence[str | None],
    trigger: Mapping[str, float],
    now_us: int,
    *,
    above: bool,
) -> str | None:
    """Nothing else that tells a rate tells one near the limit.

    About half of a fast rate is a lead that misses every other beat, the double of a slow one a lead that counts
    T waves: neither says anything.
    """
    if len(set(streams)) != 1:
        return None
    limit_bpm, beats = trigger["rate_bpm"], int(trigger["beats"])
    factor = 0.5 if above else 2.0
    others = {
        who: rate
        for who, rate in leads.rates(streams[0], beats, now_us).items()
        if abs(rate / (factor * limit_bpm) - 1.0) >= NEAR / 2
    }
    pulse_bpm = pulses.rate_bpm(now_us)
    told = dict(others) if pulse_bpm is None or (above and not others) else {**others, "the pulse": pulse_bpm}
    if not above and pulse_bpm is None and len(told) < 2:
        return None  # a slow heart's T waves are counted by a lead more easily than beats are missed by two
    near_bpm = (1.0 - NEAR) * limit_bpm if above else (1.0 + NEAR) * limit_bpm
    if not told or any(rate > near_bpm if above else rate < near_bpm for rate in told.values()):
        return None
    return " and ".join(f"{who} says {rate:.0f}/min" for who, rate in told.items())


def _new(heard: PulseHeard, now_us: int) -> bool:
    """Of just now, on a clock that may have been set."""
    return abs(now_us - heard.end_us) <= PULSE_AGE_US


def _human(rate_bpm: float) -> bool:
    return PULSE_BPM[0] <= rate_bpm <= PULSE_BPM[1]
