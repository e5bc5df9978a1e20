"""What speaks for and against a hump of the QRS envelope being a beat, weighed by a small fitted net.

Fed by `beats.py` with one hump and what was usual lately; pure arithmetic on floats and small arrays.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple

import numpy as np

from bedside.signal.resample import Floats

USUAL_RR = 200  # internal samples, 0.8 s: taken until intervals are known
USUAL_SINCE = 250  # internal samples, 1 s: taken where no beat is known
CLOSE = 50  # internal samples, 0.2 s: no two beats of a human heart lie closer
NEAR = 90  # internal samples, 0.36 s: a hump within this before a beat may be its P wave
BEATS_KEPT = 9
OTHERS_KEPT = 8
SHAPE = 25  # values of a hump's shape: 192 ms at 125 Hz, without their mean
SLOPES = 24  # values of a hump's slopes: changes of its shape over 8 ms; slow noise leaves them alone
CONTEXT = 29  # values of a hump's surroundings: 280 ms before to 168 ms after it at 62.5 Hz, without their mean
VIEW = CONTEXT  # the longest of the three
Other = tuple[float, float, float, float, float]
Row = tuple[float, float, float, float, float, float]
FADE = 500  # internal samples in which expected heights halve once a beat is overdue
OVERDUE_SHARE = 0.3  # humps of this share of the usual height cannot stay unexplained for long:
OVERDUE_LOGIT = 3.0  # each second that a beat is overdue adds so much to their odds


class Hump(NamedTuple):
    """A local maximum of the envelope. Indices count internal samples (4 ms)."""

    at: int
    height: float  # of the envelope, mV
    r_at: int  # its R peak
    amplitude_mv: float  # of the R peak, signed
    steepness: float  # largest change over 8 ms, mV
    sharpness: float  # largest bend over 24 ms, mV
    slow: float  # height of the slow envelope as a share of `height`
    swing: float  # peak to peak, mV
    width: float  # samples of the envelope above half of `height`
    logit: float = 0.0  # filled by the judgement: ln(odds) of being a beat
    alike: float = 0.0  # filled by the judgement: best correlation with the shapes of the beats before; 0: none yet

    @property
    def confidence(self) -> float:
        """The logit as a probability."""
        return 1.0 / (1.0 + math.exp(-max(-30.0, self.logit)))


class Sight(NamedTuple):
    """A hump and all around it that does not depend on what earlier humps were taken for."""

    hump: Hump
    view: Floats  # (3, VIEW): its shape, its surroundings and its slopes, each of length 1, ends filled with zeros
    floor: float  # mean of the envelope over the last 1.5 s
    slow_floor: float  # of the slow one
    rough_floor: float  # mean change over 8 ms in that time, mV
    next_height: float  # the tallest hump that follows within CLOSE, as far as seen; 0: none
    next_after: int  # how long after


class Usual(NamedTuple):
    """What the last nine beats were like: medians, and a few extremes."""

    rr: float
    low: float  # the lowest height
    steepness: float
    sharpness: float
    slow: float
    swing: float
    width: float
    last_gap: float  # the last interval, in usual ones
    spread: float  # of the middle half of the intervals, in usual ones


class Memory(NamedTuple):
    """What earlier humps were taken for. Arrays are never written to."""

    beats: tuple[Hump, ...]
    rows: tuple[Row, ...]  # up to BEATS_KEPT: height, steepness, sharpness, slow, swing, width of the beats
    others: tuple[Other, ...]  # OTHERS_KEPT humps that were no beats, newest last: index, height, samples since its
    # beat, until the next (0: none near), steepness
    views: Floats  # (3, BEATS_KEPT + OTHERS_KEPT, VIEW), newest last
    usual: Usual | None
    level: float  # median height of the last beats, mV; 0 before the first
    noise: float  # running height of other humps, mV
    polarity: float  # running sign of the R peaks, -1..1
    agreement: float  # running likeness of beats to those before
    doubt: float  # running uncertainty of all judgements, 0..1

    @classmethod
    def empty(cls) -> Memory:
        """Before the first hump."""
        others = ((-1e6, 0.0, -1e6, 0.0, 0.0),) * OTHERS_KEPT
        return cls((), (), others, np.zeros((3, BEATS_KEPT + OTHERS_KEPT, VIEW)), None, 0.0, 0.0, 0.0, 0.5, 0.5)


def accepted(memory: Memory, sight: Sight, logit: float) -> Memory:
    """The memory after the hump was taken for a beat."""
    alike = float(np.maximum.reduce(memory.views[0, :BEATS_KEPT] @ sight.view[0]))
    one = sight.hump
    at, height, r_at, amplitude_mv, steepness, sharpness, slow, swing, width, _, _ = one
    hump = Hump(at, height, r_at, amplitude_mv, steepness, sharpness, slow, swing, width, logit, alike)
    beats = (*memory.beats[1 - BEATS_KEPT :], hump)
    rows = (*memory.rows[1 - BEATS_KEPT :], (height, steepness, sharpness, slow, swing, width))
    usual, level = _usual_of(beats, rows)
    if len(beats) < 3 and memory.level:
        level = 0.5 * (memory.level + level)
    others = memory.others
    if at - others[-1][0] < NEAR:
        others = tuple(
            (*other[:3], at - other[0], other[4]) if other[3] == 0.0 and at - other[0] < NEAR else other
            for other in others
        )
    views = memory.views
    return Memory(
        beats=beats,
        rows=rows,
        others=others,
        views=np.concatenate((views[:, 1:BEATS_KEPT], sight.view[:, None], views[:, BEATS_KEPT:]), 1),
        usual=usual,
        level=level,
        noise=memory.noise,
        polarity=memory.polarity + 0.2 * (math.copysign(1.0, amplitude_mv) - memory.polarity),
        agreement=memory.agreement + 0.1 * (alike - memory.agreement),
        doubt=memory.doubt + 0.05 * (math.exp(-min(abs(logit), 30.0)) - memory.doubt),
    )


def rejected(memory: Memory, sight: Sight, logit: float) -> Memory:
    """The memory after the hump was taken for no beat."""
    beats, rows, others, views, usual, level, noise, polarity, agreement, doubt = memory
    at, height = sight.hump.at, sight.hump.height
    since = at - beats[-1].at if beats else USUAL_SINCE
    return Memory(
        beats,
        rows,
        (*others[1:], (at, height, since, 0.0, sight.hump.steepness)),
        np.concatenate((views[:, :BEATS_KEPT], views[:, BEATS_KEPT + 1 :], sight.view[:, None]), 1),
        usual,
        level,
        noise + 0.15 * (min(height, level or height) - noise),
        polarity,
        agreement,
        doubt + 0.05 * (math.exp(-min(abs(logit), 30.0)) - doubt),
    )


def _usual_of(beats: Sequence[Hump], rows: Sequence[Row]) -> tuple[Usual, float]:
    """Summarise the last beats, at least one; and their usual height."""
    in_order = [b.at - a.at for a, b in pairwise(beats)]
    gaps = sorted(in_order)
    rr = float(min(max(gaps[len(gaps) // 2], 75), 400)) if gaps else float(USUAL_RR)
    spread = (gaps[-1 - len(gaps) // 4] - gaps[len(gaps) // 4]) / rr if len(gaps) > 3 else 0.2
    middle = len(rows) // 2
    heights, *others = map(sorted, zip(*rows, strict=True))
    steepness, sharpness, slow, swing, width = (one[middle] for one in others)
    last_gap = in_order[-1] / rr if in_order else 1.0
    return Usual(rr, heights[0], steepness, sharpness, slow, swing, width, last_gap, spread), heights[middle]


def evidence(sight: Sight, memory: Memory) -> Floats:
    """The measures that the net weighs, (MEASURES,): logarithms of ratios first, all clipped and finite."""
    hump, (beats, _, others, views, usual, level, noise, polarity, agreement, doubt) = sight.hump, memory
    at, height = hump.at, hump.height
    if usual is None:
        usual = Usual(
            USUAL_RR, level or height, hump.steepness, hump.sharpness, hump.slow, hump.swing, hump.width, 1.0, 0.2
        )
    last = beats[-1] if beats else None
    since = min(at - last.at, 1000) if last else USUAL_SINCE
    fade = _fade(since, usual.rr)
    level, low = fade * (level or height), fade * usual.low
    likeness = np.matmul(views, sight.view[:, :, None])[:, :, 0]  # with each hump remembered, in three respects
    (best_shape, other_shape), (best_around, other_around), (best_slopes, other_slopes) = np.maximum.reduceat(
        likeness, _BEATS_OTHERS, 1
    ).tolist()
    sum_shape, sum_slopes = np.add.reduce(likeness[::2, :BEATS_KEPT], 1).tolist()
    place, before_a_beat, tallest, steepest = -1.0, -1.0, 0.0, 0.0
    for like, (_, tall, after, until, steep) in zip(likeness[0, BEATS_KEPT:].tolist(), others, strict=True):
        apart = (since - after) / 12.0
        if -6.0 < apart < 6.0:  # further apart than that there is nothing to add
            place = max(place, like * math.exp(-(apart * apart)))
        else:
            place = max(place, 0.0)
        before_a_beat = max(before_a_beat, like if until else 0.0)
        tallest, steepest = max(tallest, tall), max(steepest, steep)
    tallest, steepest = tallest or 0.1 * height, steepest or 0.1 * hump.steepness
    other_at, other_height, _, _, _ = others[-1]
    ago = at - other_at
    announced = _announced(memory, ago) if ago < NEAR else 0.0
    phase = since / usual.rr
    early, spread = max(0.0, 0.9 - phase), min(usual.spread, 1.0)
    two = (at - beats[-2].at) / usual.rr if len(beats) > 1 else 2.0
    measures = np.array(
        (
            height / level,
            height / low,
            height / (noise or 0.1 * height),
            height / tallest,
            height / last.height if last else 1.0,
            sight.next_height / height,
            other_height / height if ago < CLOSE else 0.0,
            hump.steepness / usual.steepness,
            hump.sharpness / usual.sharpness,
            hump.slow / usual.slow,
            hump.swing / usual.swing,
            hump.width / usual.width,
            sight.floor / level,
            height / sight.floor,
            (noise or 0.1 * height) / level,
            tallest / level,
            (at - others[0][0]) / (OTHERS_KEPT * usual.rr),
            height / 0.3,
            sight.slow_floor / sight.floor,
            hump.steepness / height,
            hump.sharpness / height,
            phase,
            hump.slow,
            hump.width / 12.0,
            hump.steepness / steepest,
            steepest / usual.steepness,
            sight.rough_floor / usual.steepness,
            # from here on no logarithms
            best_shape,
            sum_shape / max(len(beats), 1),
            other_shape,
            best_around,
            other_around,
            place,
            before_a_beat,
            announced,
            early,
            max(0.0, 0.6 - phase),
            min(1.0, max(0.0, phase - 1.1)),
            max(0.0, 100 - since) / 25,
            max(0.0, 75 - since) / 25,
            early * spread,
            spread,
            min(last.logit, 6.0) / 3 if last else 0.0,
            min(max(usual.last_gap, 0.3), 2.0) - 1.0,
            min(two, 3.0) - 2.0,
            sight.next_after / 25,
            ago / 25 if ago < NEAR else 4.0,
            math.copysign(1.0, hump.amplitude_mv) * polarity,
            agreement,
            doubt,
            len(beats) / BEATS_KEPT,
            best_slopes,
            sum_slopes / max(len(beats), 1),
            other_slopes,
        )
    )
    ratios = measures[:LOGARITHMS]
    np.log(np.maximum(ratios, 1e-9), out=ratios)
    np.maximum(ratios, -3.0, out=ratios)
    np.minimum(ratios, 3.0, out=ratios)
    return measures


def _announced(memory: Memory, ago: float) -> float:
    """How far the hump before, so long ago, looked like one that lay as long before a beat."""
    of_others = memory.views[0, BEATS_KEPT:]
    same: list[float] = (of_others[:-1] @ of_others[-1]).tolist()
    return max(
        like * math.exp(-(((ago - other[3]) / 8.0) ** 2)) for like, other in zip(same, memory.others[:-1], strict=True)
    )


_BEATS_OTHERS = np.array((0, BEATS_KEPT))  # where each begins among the humps remembered
LOGARITHMS = 27
MEASURES = 54


def _fade(since: int, rr: float) -> float:
    """The longer a beat is overdue, the less is asked."""
    late = since - max(1.5 * rr, USUAL_SINCE)
    return 0.5 ** (late / FADE) if late > 0 else 1.0


def asked_level(at: int, memory: Memory) -> float:
    """The usual height of beats, mV, less the longer one is overdue; 0 before the first."""
    if memory.usual is None:
        return memory.level
    return memory.level * _fade(at - memory.beats[-1].at, memory.usual.rr)


def overdue_logit(sight: Sight, memory: Memory) -> float:
    """What silence adds: a new rhythm (ventricular, say) may look like no beat before it, yet is there."""
    usual = memory.usual
    if usual is None or sight.hump.height < OVERDUE_SHARE * memory.level:
        return 0.0
    late = sight.hump.at - memory.beats[-1].at - max(1.5 * usual.rr, USUAL_SINCE)
    return OVERDUE_LOGIT * min(late, 1000) / 250 if late > 0 else 0.0


class Net(NamedTuple):
    """Two layers: `out @ max(0, inner @ measures + bias) + base` is ln(odds) of being a beat."""

    inner: Floats  # (hidden, MEASURES)
    bias: Floats  # (hidden,)
    out: Floats  # (hidden,)
    base: float

    def logit(self, measures: Floats) -> float:
        """ln(odds) that the hump is a beat."""
        return float(np.maximum(self.inner @ measures + self.bias, 0.0) @ self.out) + self.base
