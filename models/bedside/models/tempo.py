"""The intervals of one lead: how early a beat is against this patient's own slow references, and how calm the rhythm.

Pure and cheap: plain floats and short sorted lists. Fed by `features.py`, and by `intervals.py` for beat times
without a signal. What "early" is told against: the mean and upper percentiles of the last 300 intervals and the
upper percentile of the last 30. The percentiles lie among the long intervals on purpose: a patient most of whose
beats come early still has the few long ones to be measured by.
"""

from __future__ import annotations

import math
from bisect import bisect_left, insort
from itertools import pairwise
from typing import Final

RR_KEPT: Final = 300
RECENT: Final = 30
SCATTER_CALM: Final = 0.06
"""`rr_scatter30` below which an early beat is taken for early; at the next number no beat is."""
SCATTER_FIBRILLATION: Final = 0.12
LAGS: Final = 4
MIDDLE_SCALE: Final = 1.4  # two that vary alike lie so much further apart than each from the middle
EXPERIENCED: Final = 60  # beats
EARLY_LOG: Final = -0.12
UNKNOWN_S: Final = 0.8
PLAIN_MIN: Final = 10
"""Fewer plain intervals are no reference."""

RR_NAMES: Final = (
    "rr_s",
    "rr_log_mean300",
    "rr_log_p80_300",
    "rr_log_p80_30",
    "rr_log_p95_300",
    "rr_log_median9",
    "rr_log_previous",
    "rr_previous_log_median9",
    "rr_before_previous_log_median9",
    "rr_spread9",
    "rr_irregular30",
    "rr_turning30",
    "rr_early_share300",
    "rr_repeat",
    "rr_rank30",
    "rr_scatter30",
    "calm_log_mean300",
    "calm_log_p80_300",
    "calm_log_p80_30",
    "calm_log_p95_300",
    "experience",
)
EARLY_AT: Final = RR_NAMES.index("rr_log_median9")


class Tempo:
    """The last intervals of one lead. `copy()` forks it.

    An interval is plain when neither of its beats has an odd shape: what lies beside a ventricular beat, the pause
    behind it above all, would hide or feign early beats. While plain ones are rare all intervals are the reference.
    """

    __slots__ = (
        "apart", "beats", "early", "log_plain", "log_rr", "n_early", "odd", "ordered", "plain", "recent", "since_plain",
        "top",
    )  # fmt: skip

    def __init__(self) -> None:
        self.beats = 0
        self.recent: list[float] = []  # newest last, at most RECENT
        self.log_rr: list[float] = []  # of the same
        self.early: list[bool] = []  # at most RR_KEPT
        self.n_early = 0  # of these
        self.plain: list[float] = []  # newest last, at most RR_KEPT
        self.ordered: list[float] = []  # the same, ascending
        self.log_plain: list[float] = []  # of the newest RECENT
        self.top: list[float] = []  # the same, ascending
        self.apart: list[list[float]] = [[] for _ in range(LAGS)]  # their distances by lag, ascending
        self.odd = False  # was the last beat?
        self.since_plain = 0

    def copy(self) -> Tempo:
        """A tempo that goes its own way from here."""
        twin = Tempo.__new__(Tempo)
        twin.beats, twin.odd, twin.since_plain = self.beats, self.odd, self.since_plain
        twin.recent, twin.log_rr, twin.log_plain = self.recent, self.log_rr, self.log_plain  # replaced, never changed
        twin.early, twin.plain, twin.ordered = self.early.copy(), self.plain.copy(), self.ordered.copy()
        twin.n_early, twin.top, twin.apart = self.n_early, self.top.copy(), [one.copy() for one in self.apart]
        return twin

    def numbers(self, rr_s: float | None) -> list[float]:
        """The interval `rr_s` (more than 0; None: not known) against the past, in the order of `RR_NAMES`."""
        past = self.recent or [UNKNOWN_S if rr_s is None else rr_s]
        logs = self.log_rr or [math.log(past[0])]
        ordered, top, apart = self.ordered, self.top, self.apart
        if len(ordered) < PLAIN_MIN or self.since_plain > RECENT:
            ordered, top, apart = sorted(past), sorted(logs), _by_lag(logs)
        nine = sorted(past[-9:])
        half, n = len(nine) // 2, len(ordered)
        median9 = nine[half] if len(nine) % 2 else (nine[half - 1] + nine[half]) / 2
        rr = median9 if rr_s is None else rr_s
        log_rr, log9 = math.log(rr), math.log(median9)
        steps = [b - a for a, b in pairwise(past)]
        turning = irregular = 0.0
        if steps:
            irregular = sum(map(abs, steps)) / len(steps) * len(past) / sum(past)
        if len(steps) > 1:
            turning = sum([a * b < 0 for a, b in pairwise(steps)]) / (len(steps) - 1)
        last9 = logs[-9:]
        middle = sum(last9) / len(last9)
        scatter = _scatter(top, apart)
        calm = min(max((SCATTER_FIBRILLATION - scatter) / (SCATTER_FIBRILLATION - SCATTER_CALM), 0.0), 1.0)
        mean300 = log_rr - math.log(sum(ordered) / n)
        p80_300 = log_rr - math.log(ordered[n * 4 // 5])
        p80_30 = log_rr - top[len(top) * 4 // 5]
        p95_300 = log_rr - math.log(ordered[n * 19 // 20])
        return [
            rr,
            mean300,
            p80_300,
            p80_30,
            p95_300,
            log_rr - log9,
            log_rr - logs[-1],
            logs[-1] - log9,
            logs[-2] - log9 if len(logs) > 1 else 0.0,
            math.sqrt(sum([(one - middle) ** 2 for one in last9]) / len(last9)),
            irregular,
            turning,
            self.n_early / max(len(self.early), 1),
            min([abs(one - log_rr) for one in logs[-6:-1]]) if len(logs) > 2 else 0.0,
            bisect_left(top, log_rr) / len(top),
            scatter,
            calm * mean300,
            calm * p80_300,
            calm * p80_30,
            calm * p95_300,
            min(self.beats, EXPERIENCED) / EXPERIENCED,
        ]

    def learn(self, rr_s: float | None, early: float, odd: bool) -> None:
        """Make a beat part of the past. `early`: its `rr_log_median9`; `odd`: is its shape unusual?"""
        self.beats += 1
        beside, self.odd = odd or self.odd, odd
        self.since_plain += 1
        if rr_s is None:
            return
        log_rr = math.log(rr_s)
        self.recent = [*self.recent[1 - RECENT :], rr_s]
        self.log_rr = [*self.log_rr[1 - RECENT :], log_rr]
        if len(self.early) == RR_KEPT:
            self.n_early -= self.early.pop(0)
        self.early.append(early < EARLY_LOG)
        self.n_early += self.early[-1]
        if beside:
            return
        self.since_plain = 0
        if len(self.plain) == RR_KEPT:
            del self.ordered[bisect_left(self.ordered, self.plain[0])], self.plain[0]
        self.plain.append(rr_s)
        insort(self.ordered, rr_s)
        self._learn_plain(log_rr)

    def _learn_plain(self, log_rr: float) -> None:
        """The newest of `log_plain`, with what is kept in order of it: sorting anew costs more."""
        logs = self.log_plain
        if len(logs) == RECENT:
            oldest = logs[0]
            del self.top[bisect_left(self.top, oldest)]
            for lag, apart in enumerate(self.apart, 1):
                del apart[bisect_left(apart, abs(logs[lag] - oldest))]
        self.log_plain = logs = [*logs[1 - RECENT :], log_rr]
        insort(self.top, log_rr)
        for lag, apart in enumerate(self.apart[: len(logs) - 1], 1):
            insort(apart, abs(log_rr - logs[-1 - lag]))


def _by_lag(logs: list[float]) -> list[list[float]]:
    """Distances between intervals one to four apart, ascending."""
    return [sorted([abs(a - b) for a, b in zip(logs[lag:], logs, strict=False)]) for lag in range(1, LAGS + 1)]


def _scatter(ordered: list[float], by_lag: list[list[float]]) -> float:
    """How far an interval lies from those one to four before it, by the best of these four lags (median, log).

    Single early beats, bigeminy and trigeminy leave it small; in atrial fibrillation no lag fits.
    """
    least = 0.0
    if len(ordered) > LAGS:
        middle = ordered[len(ordered) // 2]
        beside = sorted([abs(one - middle) for one in ordered])
        least = MIDDLE_SCALE * beside[len(beside) // 2]
    for lag, apart in enumerate(by_lag, 1):
        if len(ordered) <= lag + 3:
            break
        half = len(apart) // 2
        least = min(least, apart[half] if len(apart) % 2 else (apart[half - 1] + apart[half]) / 2)
    return least
