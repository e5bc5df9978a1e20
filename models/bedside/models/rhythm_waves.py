"""What the waves of half a minute's average beat say of its rhythm: is there a P wave, on every beat, and how far off.

The network of `bedside.signal.waves`, learned from cardiologists' marks, reads the average beat; each beat is then held
against the P wave that was found. Fed by `rhythm_features.py` with 250 Hz clean signal and the beats' places; pure.
"""

from __future__ import annotations

import math
from functools import cache
from typing import Final, cast

import numpy as np
import numpy.typing as npt

from bedside.models.windows import FS_HZ, Floats
from bedside.signal.marks import NOTHING, Reading, read
from bedside.signal.waves import AFTER, BEFORE, MARGIN, STEP, Network, P, Singles, T

LEFT: Final = BEFORE + MARGIN  # 0.61 s before the R peak
RIGHT: Final = AFTER + MARGIN  # 0.85 s after it
BEATS_MAX: Final = 64
BEATS_MIN: Final = 3
P_MISSED: Final = 0.3  # of the usual P wave: less is none
USUAL_S: Final = (0.16, 0.09, 0.38)  # PR, QRS and QT that say nothing, where they cannot be judged
_P_CELLS: Final = slice((BEFORE - 100) // STEP, (BEFORE - 10) // STEP)  # 0.40 to 0.04 s before the R peak
_T_CELLS: Final = slice(BEFORE // STEP, None)
_TINY: Final = 1e-6

NAMES: Final = (
    "p_votes", "p_votes_sum", "t_votes", "p_seen", "pr", "qrs", "qtc", "st", "p_height", "p_alike", "p_alike_spread",
    "p_missing",
)  # fmt: skip
UNKNOWN: Final = (0.0, 0.0, 0.0, 0.5, *USUAL_S, 0.0, 0.0, 0.5, 0.0, 0.0)
"""What stands for a window whose beats cannot be averaged."""

_network = cache(Network.shipped)


class _Heard:
    """The network, with an ear for what it said: `read` keeps the votes to itself, and asking twice costs as much."""

    said: Floats | None = None

    def votes(self, seen: Singles) -> Floats:
        self.said = _network().votes(seen)
        return self.said


def describe(clean_mv: Floats, at: npt.NDArray[np.int64], own: npt.NDArray[np.bool_], rr_s: float) -> list[float]:
    """The numbers of `NAMES`. `clean_mv`: no NaN; `at`: R peaks; `own`: which are not ventricular; `rr_s`: median."""
    inside = (at >= LEFT) & (at + RIGHT <= clean_mv.size)
    chosen = at[inside & own][:BEATS_MAX]
    if chosen.size < BEATS_MIN:
        chosen = at[inside][:BEATS_MAX]
    if chosen.size < BEATS_MIN:
        return list(UNKNOWN)
    beats = clean_mv[chosen[:, np.newaxis] + np.arange(-LEFT, RIGHT)]
    average = np.median(beats, axis=0)
    rr = round(rr_s * FS_HZ)
    before, after = (-rr if rr < BEFORE else None), (rr if rr < AFTER else None)
    near = average[LEFT - 25 : LEFT + 26]
    size_mv = float(near.max() - near.min()) + _TINY
    heard = _Heard()
    reading = read(average, before, after, 0.0, cast(Network, heard))
    if heard.said is None:  # a QRS too low to see waves beside it
        return list(UNKNOWN)
    votes = heard.said
    p_votes = votes[_P_CELLS, P]
    return [
        float(p_votes.max()),
        float(p_votes.sum()) / 10,
        float(votes[_T_CELLS, T].max()),
        {True: 1.0, False: 0.0, None: 0.5}[reading.p_seen],
        *_intervals(reading, rr_s),
        (reading.measures.st80_mv or 0.0) / size_mv,
        *_p_waves(beats, average, reading, size_mv),
    ]


def _intervals(reading: Reading, rr_s: float) -> list[float]:
    """PR, QRS, and QT by Fridericia; what cannot be judged is as usual."""
    measures = reading.measures
    found = (measures.pr_s, measures.qrs_s, measures.qt_s)
    pr_s, qrs_s, qt_s = (usual if one is None else one for one, usual in zip(found, USUAL_S, strict=True))
    return [pr_s, qrs_s, qt_s / math.cbrt(rr_s)]


def _p_waves(beats: Floats, average: Floats, reading: Reading, size_mv: float) -> list[float]:
    """Height of the average P wave; how much of it the beats have, how unevenly, and how many have none."""
    if reading is NOTHING or reading.p is None:
        return [0.0, 0.5, 0.0, 0.0]
    first = max(round(reading.p.on) + LEFT - 2, 0)
    part = slice(first, round(reading.p.off) + LEFT + 3)
    p_wave = _unbent(average[np.newaxis, part])[0]
    shares = np.clip(_unbent(beats[:, part]) @ p_wave / (float(p_wave @ p_wave) + 1e-12), -0.5, 1.5)
    return [
        float(np.ptp(average[part])) / size_mv,
        float(shares.mean()),
        float(shares.std()),
        float(np.mean(shares < P_MISSED)),
    ]


def _unbent(rows: Floats) -> Floats:
    """Each row against the line between its ends, each the mean of three samples."""
    first, last = rows[:, :3].mean(axis=1), rows[:, -3:].mean(axis=1)
    rise = np.linspace(0.0, 1.0, rows.shape[1])
    straight: Floats = rows - (first[:, np.newaxis] + (last - first)[:, np.newaxis] * rise)
    return straight
