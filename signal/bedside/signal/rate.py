"""Heart rate from R peaks: the average that IEC 60601-2-27 asks a monitor to show, and why there is none.

Every QRS counts, whatever its class (IEC 60601-2-27, 201.7.9.2.9.101 b: the averaging is disclosed). The rate is
60 over the mean of the last 12 RR intervals; when the last 3 intervals are all longer than 1.2 s it is the mean of
the last 4. Twelve is even and the mean keeps sums, so that bigeminy and an ectopic beat with its compensatory pause
count as they should. Steps: 80 to 120/min is complete after 12 beats (6 s), 80 to 40/min after 4 beats (6 s).

Fed by R peaks in seconds of the stream; pure.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

RR_KEPT = 12
RR_KEPT_SLOW = 4
SLOW_RR_S = 1.2
RR_MIN = 3  # fewer intervals are no rate yet
RR_SHORTEST_S = 0.19  # 315/min: a nearer peak is no second beat
RR_AGE_S_MAX = 20.0
NO_BEAT_S = 4.0  # from here on it is asystole's to speak
HOLD_S = 3.0  # a noisy moment does not blank the number


@dataclass(frozen=True, slots=True)
class RateState:
    """`rr_s`: up to 12 newest intervals; `ends_s`: when each ended; `last_s`: the newest peak."""

    rr_s: tuple[float, ...] = ()
    ends_s: tuple[float, ...] = ()
    last_s: float | None = None
    blind: bool = False  # something between `last_s` and now could not be seen


@dataclass(frozen=True, slots=True)
class Rate:
    """`bpm` None: no rate can be given, `reason` says why: no_beats, too_few_beats, or the quality's own reason."""

    bpm: float | None
    reason: str | None
    held: bool = False  # from beats before a noisy moment that is still going on


class RateMeter:
    """The heart rate of one stream. Has no settings: the averaging above is disclosed and fixed."""

    def initial(self) -> RateState:
        """Before the first beat."""
        return RateState()

    def beat(self, state: RateState, at_s: float) -> RateState:
        """Take an R peak at `at_s` (seconds since the stream began); one that is not after the last is passed over.

        Raises `ValueError` when `at_s` is not finite.
        """
        _finite(at_s, "at_s")
        if state.last_s is None or state.blind:
            return replace(state, last_s=at_s, blind=False)
        rr_s = at_s - state.last_s
        if rr_s < RR_SHORTEST_S:
            return state
        if rr_s >= NO_BEAT_S:  # the heart stood still: its rate begins anew
            return RateState(last_s=at_s)
        return RateState((*state.rr_s, rr_s)[-RR_KEPT:], (*state.ends_s, at_s)[-RR_KEPT:], at_s, blind=False)

    def retract(self, state: RateState, at_s: float) -> RateState:
        """The newest peak, taken at `at_s`, was none. One that is not the newest taken changes nothing."""
        if state.last_s != at_s:
            return state
        if not state.ends_s or state.ends_s[-1] != at_s:  # it began the count
            return replace(state, last_s=None)
        return replace(state, rr_s=state.rr_s[:-1], ends_s=state.ends_s[:-1], last_s=at_s - state.rr_s[-1])

    def unseen(self, state: RateState) -> RateState:
        """A stretch could not be seen: the interval across it is no RR interval."""
        return replace(state, blind=True)

    def read(self, state: RateState, at_s: float, unusable_s: float = 0.0, reason: str | None = None) -> Rate:
        """The rate at `at_s`; `unusable_s`: for how long the lead could not be believed until now, and why.

        Raises `ValueError` when `at_s` is not finite, or `unusable_s` negative or no number.
        """
        _finite(at_s, "at_s")
        if not unusable_s >= 0.0:
            raise ValueError(f"unusable_s: expected 0 or more, got {unusable_s!r}")
        if unusable_s > HOLD_S or reason in ("lead_off", "missing"):
            return Rate(None, reason)
        if state.last_s is not None and at_s - state.last_s >= NO_BEAT_S and unusable_s == 0.0:
            return Rate(None, "no_beats")
        fresh = [rr for rr, end_s in zip(state.rr_s, state.ends_s, strict=True) if at_s - end_s <= RR_AGE_S_MAX]
        if len(fresh) < RR_MIN:
            return Rate(None, reason or ("too_few_beats" if state.last_s is not None else "no_beats"))
        if min(fresh[-RR_MIN:]) > SLOW_RR_S:
            fresh = fresh[-RR_KEPT_SLOW:]
        return Rate(60.0 * len(fresh) / sum(fresh), None, held=unusable_s > 0.0)


def _finite(seconds: float, name: str) -> None:
    if not math.isfinite(seconds):
        raise ValueError(f"{name}: expected finite seconds, got {seconds!r}")
