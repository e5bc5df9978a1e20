"""Pulse arrival time: from an R peak to the foot of the pulse that it sends, as the median of the last seconds.

It holds the heart's own pre-ejection time, so it is no transit time and no blood pressure; and it holds whatever delay
the two sensors have, so that its changes say more than its size. Where ECG and pulse wave come from different
wearables their clocks may drift against each other, which only the caller can know.

A foot belongs to the last R peak that is at least `SHORTEST_S` before it, and counts only when that R peak has no
other foot. Nothing is given for a fast heart, where a foot might belong to the beat before, nor where the pairs
disagree. Fed with times of beats and believed feet, both of one clock; pure. Source: Mukkamala et al. 2015,
doi:10.1109/TBME.2015.2441951 (what arrival and transit times hold).
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple

WINDOW_S = 20.0
SHORTEST_S = 0.06
LONGEST_S = 0.55
PAIRS_MIN = 8
PAIRED_MIN = 0.6  # of the beats of the window have their foot
SPREAD_S_MAX = 0.04  # half the range of the middle half of the pairs


class Arrival(NamedTuple):
    """`arrival_s` None: it cannot be said, `reason` why. `spread_s`: half the range of the middle half; 0: unknown."""

    arrival_s: float | None
    spread_s: float
    pairs: int
    reason: str | None  # too_few_beats no_pulse fast irregular


def arrival(beats_s: Sequence[float], feet_s: Sequence[float], end_s: float) -> Arrival:
    """Over the `WINDOW_S` before `end_s`. `beats_s`, `feet_s`: seconds of one clock, each in order."""
    beats = [at for at in beats_s if end_s - WINDOW_S < at <= end_s]
    feet = [at for at in feet_s if end_s - WINDOW_S < at <= end_s + LONGEST_S]
    if len(beats) < PAIRS_MIN:
        return Arrival(None, 0.0, 0, "too_few_beats")
    apart = sorted(after - before for before, after in pairwise(beats))
    if apart[len(apart) // 2] < LONGEST_S:
        return Arrival(None, 0.0, 0, "fast")
    found: dict[int, list[float]] = {}
    for foot in feet:
        beat = bisect_right(beats, foot - SHORTEST_S) - 1
        if beat >= 0 and foot - beats[beat] <= LONGEST_S:
            found.setdefault(beat, []).append(foot - beats[beat])
    delays = sorted(one[0] for one in found.values() if len(one) == 1)
    if len(delays) < max(PAIRS_MIN, PAIRED_MIN * (len(beats) - 1)):
        return Arrival(None, 0.0, len(delays), "no_pulse")
    spread_s = 0.5 * (delays[3 * len(delays) // 4] - delays[len(delays) // 4])
    if spread_s > SPREAD_S_MAX:
        return Arrival(None, spread_s, len(delays), "irregular")
    return Arrival(delays[len(delays) // 2], spread_s, len(delays), None)
