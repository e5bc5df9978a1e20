"""Extreme rates over the newest beats of one lead: below 40/min over five, above 140/min over seventeen.

Each lead has its own; the engine asks the other leads and the pulse before it believes one. Pure.
"""

from __future__ import annotations

from collections import deque

from bedside.alarms.signs import Sign
from bedside.alarms.table import ConditionTable
from bedside.core.events import Beat
from bedside.core.time import US_PER_S

SILENCE_S = 5.0
"""Without a beat for so long rates of past beats say nothing of now."""
SLOW_SHARE = 0.9  # all intervals but one must be about as long as a slow rate's
KINDS = ("extreme_tachycardia", "extreme_bradycardia")


class RateRules:
    """The rates of one lead; `witness` names it among others."""

    def __init__(self, table: ConditionTable, witness: str) -> None:
        self._witness = witness
        self.change(table)
        self._beats: deque[tuple[int, float | None]] = deque(maxlen=64)
        self._on: set[str] = set()
        self._heard_us: int | None = None
        self._last: Beat | None = None

    def change(self, table: ConditionTable) -> None:
        """Other extreme rates from now on: the next beat is held against them."""
        self._triggers = {kind: table[kind].trigger for kind in KINDS}

    def beat(self, beat: Beat, elapsed_us: int) -> list[Sign]:
        """One more beat."""
        self._heard_us, self._last = elapsed_us, beat
        if beat.rr_s is None:  # a gap lies before it
            self._beats.clear()
        self._beats.append((beat.start_us, beat.rr_s))
        return self._sign("extreme_tachycardia", above=True) + self._sign("extreme_bradycardia", above=False)

    def tick(self, elapsed_us: int) -> list[Sign]:
        """Time passed: in silence no rate lasts."""
        if self._heard_us is None or elapsed_us - self._heard_us <= SILENCE_S * US_PER_S:
            return []
        return self.give_up()

    def give_up(self) -> list[Sign]:
        """No more is known of the heart now (silence, lead off): nothing of before lasts on."""
        end_us = self._last.start_us if self._last is not None else None
        signs = [Sign(kind=kind, on=False, witness=self._witness, end_us=end_us) for kind in KINDS if kind in self._on]
        self._on.clear()
        self._beats.clear()
        self._heard_us = None
        return signs

    def _sign(self, kind: str, *, above: bool) -> list[Sign]:
        trigger = self._triggers[kind]
        beats = int(trigger["beats"])
        newest = list(self._beats)[-beats:]
        intervals_s = [rr_s for _, rr_s in newest[1:] if rr_s is not None]
        if len(intervals_s) < beats - 1 or self._last is None:
            return []
        rate_bpm = 60.0 * len(intervals_s) / sum(intervals_s)
        bound_bpm = trigger["rate_bpm"]
        if kind in self._on:
            slack_bpm = trigger["hysteresis_bpm"]
            on = rate_bpm > bound_bpm - slack_bpm if above else rate_bpm < bound_bpm + slack_bpm
        elif above:
            on = rate_bpm > bound_bpm
        else:  # one long pause among normal beats is no bradycardia, though their mean is slow
            slow = sum(rr_s > SLOW_SHARE * 60.0 / bound_bpm for rr_s in intervals_s)
            on = rate_bpm < bound_bpm and slow >= len(intervals_s) - 1
        if not on and kind not in self._on:
            return []
        (self._on.add if on else self._on.discard)(kind)
        beyond = (
            rate_bpm > bound_bpm if above else rate_bpm < bound_bpm
        )  # within the hysteresis it stays as it was told
        fields = {"rate_bpm": rate_bpm, "beats": beats, "limit_bpm": bound_bpm} if on and beyond else {}
        return [
            Sign(
                kind=kind, on=on, witness=self._witness, onset_us=newest[0][0], end_us=None if on else newest[-1][0],
                stream=self._last.stream, simulated=self._last.simulated, fields={**fields},
            )
        ]  # fmt: skip
