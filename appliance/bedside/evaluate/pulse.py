"""Pulses against the ECG beside them: does each beat give a pulse, and does the pulse stop when the heart does?

Reference beats are those that two ECG leads of the record agree on (within 100 ms); stretches in which they disagree
or cannot be believed are left out. Monitors delay the pulse wave, each by its own time: the delay from R to foot is
learnt per record as the one (50 to 700 ms) at which most beats have a foot within `WINDOW_S`; a share of pairs falls
together by chance, which the figures give too (beats shifted by half an interval). Pure.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from bedside.evaluate.beats import match
from bedside.signal.arrival import WINDOW_S as ARRIVAL_S
from bedside.signal.arrival import arrival
from bedside.signal.pulse_quality import PulseSecond

Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]

AGREE_S = 0.1
BESIDE_S = 0.5  # beside a beat that only one lead has, nothing is judged
WINDOW_S = 0.1
DELAY_S = (0.05, 0.7)
DELAY_STEP_S = 0.02
SPLIT = 400
"""Records numbered below it were looked at when thresholds were chosen; those from it on were not."""


@dataclass(frozen=True, eq=False)
class PulseScore:
    """One wave of one record. Counts are of beats and pulses in seconds that both sides believe."""

    record: str
    wave: str
    tp: int
    fn: int
    fp: int
    chance: float  # share of beats, moved by half an interval, that still have a pulse
    delay_s: float | None
    spread_ms: float | None  # between the middle halves of the delays' distribution
    seconds: int
    accepted: int
    rate_errors_bpm: tuple[float, ...]  # pulse rate minus heart rate, one a second
    arrivals: int = 0  # moments, one in 10 s, at which the pulse arrival time was asked for
    arrival_errors_ms: tuple[float, ...] = ()  # where it was given: less the record's own delay


def agreed(one: Floats, other: Floats) -> tuple[Floats, Floats]:
    """Beats that both leads have (their mean time, s), and those that only one has."""
    pairs = match(_ticks(one), _ticks(other), AGREE_S * 1e4)
    both = [0.5 * (one[i] + other[j]) for i, j in pairs if i is not None and j is not None]
    alone = [one[i] for i, j in pairs if i is not None and j is None]
    alone += [other[j] for i, j in pairs if i is None and j is not None]
    return np.array(both), np.array(sorted(alone))


def judged(times: Floats, alone: Floats, usable: Bools) -> Bools:
    """Which moments (s) lie in usable seconds and away from beats that only one lead has."""
    second = np.clip(times.astype(np.int64), 0, max(usable.size - 1, 0))
    fine = usable[second] if usable.size else np.zeros(times.size, np.bool_)
    if alone.size:
        at = np.searchsorted(alone, times)
        before = np.abs(times - alone[np.clip(at - 1, 0, alone.size - 1)])
        after = np.abs(times - alone[np.clip(at, 0, alone.size - 1)])
        fine = fine & (np.minimum(before, after) > BESIDE_S)
    return np.asarray(fine & (times < usable.size), np.bool_)


def delay_of(beats: Floats, feet: Floats) -> float | None:
    """The delay at which most beats have a foot; the shortest of those within one beat of the best."""
    if beats.size < 3 or feet.size < 3:
        return None
    delays = np.arange(DELAY_S[0], DELAY_S[1] + 1e-9, DELAY_STEP_S)
    found = np.array([_paired(beats + delay, feet) for delay in delays])
    best = int(found.max())
    if best == 0:
        return None
    near = np.flatnonzero(found >= best - max(1, round(0.01 * best)))
    last = near[np.flatnonzero(np.diff(near, append=near[-1] + 2) > 1)[0]]  # of the first run of equals
    chosen = float(delays[(near[0] + last) // 2])
    apart = _nearest(beats + chosen, feet)
    close = apart[np.abs(apart) <= WINDOW_S]
    return chosen + (float(np.median(close)) if close.size else 0.0)


def _nearest(times: Floats, feet: Floats) -> Floats:
    """From each time to its nearest foot."""
    at = np.searchsorted(feet, times)
    before, after = feet[np.clip(at - 1, 0, feet.size - 1)], feet[np.clip(at, 0, feet.size - 1)]
    nearer = np.where(np.abs(before - times) <= np.abs(after - times), before, after)
    return np.asarray(nearer - times, np.float64)


def _paired(times: Floats, feet: Floats) -> int:
    return int(np.count_nonzero(np.abs(_nearest(times, feet)) <= WINDOW_S))


def score_wave(
    record: str,
    wave: str,
    beats: Floats,
    alone: Floats,
    ecg_usable: Bools,
    feet: Floats,
    seconds: Sequence[PulseSecond],
    fs_hz: float,
) -> PulseScore:
    """Hold the pulses' feet (s) against the agreed beats (s)."""
    usable = np.array([one.usable for one in seconds], np.bool_)
    n = min(usable.size, ecg_usable.size)
    both = ecg_usable[:n] & usable[:n]
    delay_s = delay_of(beats[judged(beats, alone, both)], feet)
    rates = _rate_errors(beats, alone, ecg_usable, seconds, fs_hz)
    counts = PulseScore(record, wave, 0, 0, 0, 0.0, None, None, usable.size, int(usable.sum()), rates)
    if delay_s is None:
        return counts
    moved = beats + delay_s
    kept = moved[judged(beats, alone, both) & judged(moved, alone + delay_s, both)]
    seen = feet[judged(feet, alone + delay_s, both) & judged(feet - delay_s, alone, both)]
    pairs = match(_ticks(kept), _ticks(seen), WINDOW_S * 1e4)
    tp = [(i, j) for i, j in pairs if i is not None and j is not None]
    apart_ms = [1000 * (seen[j] - kept[i]) for i, j in tp]
    quartiles = np.percentile(apart_ms, (25, 75)) if apart_ms else None
    half = 0.5 * float(np.median(np.diff(beats))) if beats.size > 1 else 0.5
    return PulseScore(
        record,
        wave,
        tp=len(tp),
        fn=kept.size - len(tp),
        fp=seen.size - len(tp),
        chance=_paired(kept + half, feet) / kept.size if kept.size and feet.size else 0.0,
        delay_s=delay_s,
        spread_ms=float(quartiles[1] - quartiles[0]) if quartiles is not None else None,
        seconds=usable.size,
        accepted=int(usable.sum()),
        rate_errors_bpm=rates,
        arrivals=len(_moments(usable.size)),
        arrival_errors_ms=tuple(
            1000.0 * (found.arrival_s - delay_s)
            for at_s in _moments(usable.size)
            if (found := arrival(list(beats), list(feet), float(at_s))).arrival_s is not None
        ),
    )


def _moments(seconds: int) -> range:
    return range(round(ARRIVAL_S), seconds + 1, 10)


def _ticks(times: Floats) -> npt.NDArray[np.int64]:
    ticks: npt.NDArray[np.int64] = np.rint(times * 1e4).astype(np.int64)
    return ticks


RATE_S = 8.0


def _rate_errors(
    beats: Floats, alone: Floats, ecg_usable: Bools, seconds: Sequence[PulseSecond], fs_hz: float
) -> tuple[float, ...]:
    """Pulse rate minus the rate of the agreed beats of the last `RATE_S`, where neither lead disagreed in them."""
    errors = []
    for one in seconds:
        end = (one.first_index + one.n_samples) / fs_hz
        begin = end - RATE_S
        if one.rate_bpm is None or begin < 0 or np.any((alone > begin) & (alone <= end)):
            continue
        if not ecg_usable[int(begin) : math.ceil(end)].all():
            continue
        inside = beats[(beats > begin) & (beats <= end)]
        if inside.size >= 4:
            errors.append(one.rate_bpm - 60.0 * (inside.size - 1) / float(inside[-1] - inside[0]))
    return tuple(errors)


def pulses_seen(seconds: Sequence[PulseSecond], first_s: float, end_s: float, fs_hz: float) -> int:
    """Believed pulses in the seconds that end in `(first_s, end_s]`."""
    return sum(one.pulses for one in seconds if first_s < (one.first_index + one.n_samples) / fs_hz <= end_s)


ASYSTOLE_S = 14.0  # an alarm stands within 10 s of its event, and the pause itself lasts 4 s
PAUSE_S = 3.0


def goes_on(feet: Floats, seconds: Sequence[PulseSecond], end_s: float, fs_hz: float) -> bool:
    """Would the wave be taken as proof that the heart beat on in the last `ASYSTOLE_S`?

    Only if believed pulses in usable seconds lie nowhere more than `PAUSE_S` apart, from its beginning to its end.
    """
    usable = {int(one.first_index / fs_hz + 0.5) for one in seconds if one.usable}
    begin_s = end_s - ASYSTOLE_S
    seen = [float(foot) for foot in feet if begin_s <= foot < end_s and int(foot) in usable]
    marks = [begin_s, *seen, end_s]
    return max(after - before for before, after in pairwise(marks)) <= PAUSE_S
