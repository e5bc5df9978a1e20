"""What speaks for and against a hump of the QRS envelope being a beat, weighed by a learned line.

Fed by `beats.py` with one hump and what was usual lately; pure arithmetic on plain floats.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise
from operator import mul
from typing import NamedTuple

USUAL_RR = 200  # internal samples, 0.8 s: taken until intervals are known
CLOSE = 50  # internal samples, 0.2 s: no two beats of a human heart lie closer
BEATS_KEPT = 9
OTHERS_KEPT = 8


class Hump(NamedTuple):
    """A local maximum of the envelope. Indices count internal samples (4 ms)."""

    at: int
    height: float  # of the envelope, mV
    r_at: int  # its R peak
    amplitude_mv: float  # of the R peak, signed
    steepness: float  # largest change over 8 ms, mV
    slow: float  # height of the slow envelope as a share of `height`
    swing: float  # peak to peak, mV
    width: float  # samples of the envelope above half of `height`
    since: int  # samples since the last beat; USUAL_SINCE where none is known
    logit: float = 0.0  # filled by the judgement: ln(odds) of being a beat

    @property
    def confidence(self) -> float:
        """The logit as a probability."""
        return 1.0 / (1.0 + math.exp(-max(-30.0, self.logit)))


class Other(NamedTuple):
    """A hump that was judged to be no beat."""

    at: int
    height: float
    since: int


class Usual(NamedTuple):
    """What the last nine beats were like: medians, and a few extremes."""

    rr: float
    low: float  # the lowest height
    steepness: float
    slow: float
    swing: float
    width: float
    last_gap: float  # the last interval, in usual ones
    spread: float  # of the middle half of the intervals, in usual ones


class Scene(NamedTuple):
    """All that is known when a hump is judged."""

    beats: Sequence[Hump]
    others: Sequence[Other]
    usual: Usual | None
    level: float  # median height of the last beats; 0 before the first
    noise: float  # running height of other humps
    floor: float  # mean of the envelope over the last 1.5 s
    alike: float  # best correlation with the shapes of the last beats
    others_alike: Sequence[float]  # correlation with the shapes of `others`
    rest: Sequence[tuple[int, float]]  # humps that follow, as far as seen: index, height


USUAL_SINCE = 250  # internal samples, 1 s: taken where no beat is known
OVERDUE_SHARE = 0.3  # humps of this share of the usual height cannot stay unexplained for long:
OVERDUE_LOGIT = 3.0  # each second that a beat is overdue adds so much to their odds


def usual_of(beats: Sequence[Hump]) -> Usual | None:
    """Summarise the last beats; None without any."""
    if not beats:
        return None
    in_order = [b.at - a.at for a, b in pairwise(beats)]
    gaps = sorted(in_order)
    rr = float(min(max(gaps[len(gaps) // 2], 75), 400)) if gaps else float(USUAL_RR)
    spread = (gaps[-1 - len(gaps) // 4] - gaps[len(gaps) // 4]) / rr if len(gaps) > 3 else 0.2
    middle = len(beats) // 2
    return Usual(
        rr=rr,
        low=min(beat.height for beat in beats),
        steepness=sorted(beat.steepness for beat in beats)[middle],
        slow=sorted(beat.slow for beat in beats)[middle],
        swing=sorted(beat.swing for beat in beats)[middle],
        width=sorted(beat.width for beat in beats)[middle],
        last_gap=in_order[-1] / rr if in_order else 1.0,
        spread=spread,
    )


def _ln(ratio: float, low: float, high: float) -> float:
    return min(max(math.log(max(ratio, 1e-9)), low), high)


def evidence(hump: Hump, scene: Scene) -> tuple[float, ...]:
    """The measures that `WEIGHTS` weighs, in its order. Ratios are logarithms, clipped; all are finite."""
    usual = scene.usual or Usual(
        USUAL_RR, scene.level or hump.height, hump.steepness, hump.slow, hump.swing, hump.width, 1.0, 0.2
    )
    height, since = hump.height, hump.since
    # The longer a beat is overdue, the less is asked: expected heights halve every 2 s.
    fade = 0.5 ** (max(0.0, since - max(1.5 * usual.rr, USUAL_SINCE)) / 500)
    level, low = fade * (scene.level or height), fade * usual.low
    last = scene.beats[-1] if scene.beats else hump
    phase = min(since / usual.rr, 3.0)
    two = (hump.at - scene.beats[-2].at) / usual.rr if len(scene.beats) > 1 else 2.0
    early = max(0.0, 0.9 - phase)
    tall = _ln(height / level, -3.0, 1.5)
    other = max(scene.others_alike)
    return (
        1.0,
        tall,
        max(0.0, -0.7 - tall),
        _ln(height / max(low, 1e-9), -3.0, 1.5),
        _ln(height / (scene.noise or 0.1 * height), -1.0, 3.0),
        _ln(height / max((o.height for o in scene.others), default=0.1 * height), -2.0, 2.0),
        scene.alike,
        other,
        early,
        max(0.0, 0.6 - phase),
        min(1.0, max(0.0, phase - 1.1)),
        max(0.0, 100 - since) / 25,
        max((_ln(h / height, -2.0, 2.0) for at, h in scene.rest if at - hump.at < CLOSE), default=-2.0),
        max((_ln(o.height / height, -2.0, 2.0) for o in scene.others[-3:] if hump.at - o.at < CLOSE), default=-2.0),
        _ln(hump.steepness / max(usual.steepness, 1e-9), -2.0, 2.0),
        _ln(hump.slow / max(usual.slow, 1e-9), -2.0, 2.0),
        tall * early,
        scene.alike * tall,
        max(0.0, scene.alike - 0.8) * 5,
        max(0.0, other - 0.8) * 5,
        hump.slow - 1.0,
        _same_place(scene, since),
        _ln(hump.swing / max(usual.swing, 1e-9), -2.0, 2.0),
        _ln(hump.width / max(usual.width, 1e-9), -1.5, 1.5),
        _ln(height / last.height, -2.0, 2.0),
        min(last.logit, 6.0) / 3,
        min(max(usual.last_gap, 0.3), 2.0) - 1.0,
        min(two, 3.0) - 2.0,
        min(usual.spread, 1.0),
        min(usual.spread, 1.0) * early,
        _ln(scene.floor / level, -4.0, 0.0) + 2.0,
        _ln(height / max(scene.floor, 1e-9), -1.0, 3.0),
        max(0.0, 75 - since) / 25,
        min(height / 0.3, 1.0),
    )


def _same_place(scene: Scene, since: int) -> float:
    """Likeness to another hump that stood as long after its beat (within 48 ms): most T waves do."""
    pairs = zip(scene.others_alike[OTHERS_KEPT - len(scene.others) :], scene.others, strict=True)
    return max((like * math.exp(-(((since - o.since) / 12.0) ** 2)) for like, o in pairs), default=0.0)


def overdue_logit(hump: Hump, scene: Scene) -> float:
    """What silence adds: a new rhythm (ventricular, say) may look like no beat before it, yet is there."""
    if scene.usual is None or hump.height < OVERDUE_SHARE * scene.level:
        return 0.0
    return OVERDUE_LOGIT * max(0.0, hump.since - max(1.5 * scene.usual.rr, USUAL_SINCE)) / 250


def logit(measures: Sequence[float], weights: Sequence[float]) -> float:
    """ln(odds) that the hump is a beat."""
    return float(sum(map(mul, weights, measures)))


# Fitted by `signal/fit_beats.py` (logistic regression, ridge 1) to 26 records of the MIT-BIH Arrhythmia
# Database; README.md has the figures with each record left out of the fit.
WEIGHTS: tuple[float, ...] = (
    -3.7497,
    1.6795,
    -0.3697,
    1.0862,
    0.2396,
    0.1451,
    1.2479,
    0.8905,
    2.0518,
    2.7885,
    -0.3620,
    -2.8411,
    -1.5644,
    -0.0675,
    -1.1393,
    1.3291,
    3.2275,
    0.8914,
    1.9307,
    -1.6332,
    -1.3899,
    -1.7614,
    -0.0736,
    0.5664,
    1.1876,
    -0.0134,
    1.0994,
    -0.1539,
    1.1752,
    3.7102,
    -3.3926,
    0.1438,
    -0.1797,
    6.3345,
)
