"""Whether a sign is believed, and what holds an alarm back: each answer is None, or a reason in words.

- a lead without skin contact is flat: asystole, pauses and slow rates are not believed then, VF and VT are;
- other leads and the pulse may contradict (`cross_checks`); where their word is still to come it is waited for;
- in a chain (arrhythmia, oxygen) a high condition, while its alarm is open, holds back lesser ones that begin
  beside it or just after. Nothing holds back asystole, VF, VT, apnoea and desaturation;
- technical conditions that say the same of one wearable are said once.
"""

from __future__ import annotations

from collections.abc import Iterable

from bedside.alarms import cross_checks
from bedside.alarms.clock import EngineClock
from bedside.alarms.hearing import RHYTHM, Hearing
from bedside.alarms.lifecycle import Track
from bedside.alarms.table import Condition
from bedside.core.events import Priority
from bedside.core.time import US_PER_S

GRACE_S = 10.0  # a signal needs so long to come back after its link or lead did
SAME_BEAT_S = 0.3  # beats of two leads this near may be one
ANSWER_S = 1.5  # so long another signal is waited for, where it can tell whether an alarm is true


class Doubts:
    """Asks the other signals of one patient. `hearing` and `clock` are the engine's."""

    def __init__(self, hearing: Hearing, clock: EngineClock) -> None:
        self._hearing = hearing
        self._clock = clock

    def blocked(self, track: Track) -> str | None:
        """Why its signal cannot show it now."""
        if track.condition.lead_off_blocks and self._hearing.signals.all_leads_off:
            return "lead off: a lead without contact is flat"
        return None

    def contradicted(self, track: Track) -> str | None:
        """What another signal says against it: see `cross_checks`."""
        if not track.on or "restart" in track.witnesses:
            return None
        streams, now_us = self._witnesses(track), self._clock.now_us
        match track.condition.kind:
            case "asystole":
                return self._beating(track) or cross_checks.against_asystole(
                    self._hearing.pulses, track.onset_us, now_us
                )
            case "ventricular_tachycardia" if "leads" not in track.witnesses:
                return cross_checks.against_tachycardia(self._hearing.leads, streams)
            case "ventricular_fibrillation":
                return cross_checks.against_fibrillation(self._hearing.leads, streams, now_us)
            case "extreme_tachycardia" | "extreme_bradycardia" as kind:
                trigger, above = self._hearing.table[kind].trigger, kind == "extreme_tachycardia"
                return cross_checks.against_rate(
                    self._hearing.leads, self._hearing.pulses, streams, trigger, now_us, above=above
                )
            case _:
                return None

    def _witnesses(self, track: Track) -> list[str | None]:
        """The streams whose rules see the condition now."""
        found: list[str | None] = []
        for witness in sorted(track.witnesses):
            if witness == "":
                found.append(self._hearing.leader[0] if self._hearing.leader is not None else track.stream)
            else:
                found.append(witness.removeprefix(RHYTHM) or None)
        return found

    def _beating(self, track: Track) -> str | None:
        """Asystole on one lead while another shows beats is that lead's trouble, until that one is silent as long."""
        if track.stream is None:
            return None
        limit_us = track.condition.trigger["limit_s"] * US_PER_S
        for stream, (heard_us, at_us) in self._hearing.beaten_us.items():
            recent = max(self._clock.elapsed_us - heard_us, self._clock.now_us - at_us) < limit_us
            since = at_us - track.onset_us > SAME_BEAT_S * US_PER_S
            if stream != track.stream and since and recent:
                return "another lead shows beats"
        return None

    def waits(self, track: Track) -> bool:
        """Is a word of another signal still to come that may show it to be wrong? Then for a moment."""
        if self._clock.elapsed_us - track.since_us >= ANSWER_S * US_PER_S or "restart" in track.witnesses:
            return False
        if track.condition.kind == "ventricular_tachycardia" and "leads" not in track.witnesses:
            return not all(self._hearing.leads.answered(stream) for stream in self._witnesses(track))
        return track.condition.kind == "asystole" and self._hearing.pulses.expected(self._clock.now_us)

    def held(self, track: Track, tracks: Iterable[Track]) -> str | None:
        """Which other condition already speaks for it."""
        condition = track.condition
        if condition.kind == "poor_signal" and self._hearing.signals.under_cuff(track.stream, self._clock.elapsed_us):
            return "a cuff measures: the pulse below it is lost for a minute at most"
        for other in tracks:
            if self._outranks(other.condition, condition) and self._holds(other, condition):
                return f"{other.condition.kind.replace('_', ' ')} outranks it"
            if other.condition.kind in condition.held_by and self._says_it(other, track):
                return f"{other.condition.kind.replace('_', ' ')} already says so"
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
        after_s = (
            self._hearing.table.refractory_high_s
            if lesser.priority is Priority.HIGH
            else self._hearing.table.refractory_s
        )
        return higher.episodes > 0 and self._clock.elapsed_us - higher.gone_us <= after_s * US_PER_S
