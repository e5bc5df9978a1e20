"""From a beat's wave and the network's votes to its marks: P, QRS and T with on- and offset, peak and shape.

Fed by `delineation.py`; positions are internal samples (250 Hz) after R, not whole. Pure.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Literal, NamedTuple

import numpy as np

from bedside.signal.intervals import PR_S, QRS_S, QT_S, Measures, seconds, st_levels, within
from bedside.signal.resample import Floats
from bedside.signal.waves import AFTER, BEFORE, MARGIN, QRS, Network, P, Run, T, features, lowpassed, runs

Shape = Literal["up", "down", "biphasic"]

R_WITHIN = 20  # internal samples (80 ms) that R may lie outside of its QRS as the network sees it
P_MIN, T_MIN = 5, 8  # internal samples (20 and 32 ms) that a wave lasts
APART = 15  # internal samples (60 ms) after the R before in which no P begins
P_SHARES = (0.5, 0.2)  # of the votes that make a P wave, and that do where nothing has so many
P_HEIGHT_MIN_MV = 0.010  # of a P wave that can be told from nothing
P_DOUBTED = 0.10  # share of the votes from which a P wave cannot be ruled out
BIPHASIC = 0.35  # the smaller half's height against the larger one's
HEIGHT_MIN_MV = 0.08  # peak to peak of a QRS beside which waves can be told from noise
NOISE_P_MV = 0.025  # rms of what is left of noise; above it no P wave can be denied


class Wave(NamedTuple):
    """P or T. `share`: mean share of the votes between on and off, 0.5 to 1."""

    on: float
    peak: float
    off: float
    share: float
    shape: Shape

    def moved(self, by: float) -> Wave:
        """The same wave, counted from elsewhere."""
        return self._replace(on=self.on + by, peak=self.peak + by, off=self.off + by)


class Complex(NamedTuple):
    """QRS: onset and J point."""

    on: float
    off: float
    share: float

    def moved(self, by: float) -> Complex:
        """The same complex, counted from elsewhere."""
        return self._replace(on=self.on + by, off=self.off + by)


@dataclass(frozen=True, slots=True)
class Reading:
    """The marks of one beat, or of the mean of many. `p_seen` False: looked for and not there; None: cannot judge."""

    qrs: Complex | None
    p: Wave | None
    p_seen: bool | None
    t: Wave | None
    measures: Measures

    def moved(self, by: float) -> Reading:
        """The same marks, counted from elsewhere."""
        return replace(
            self,
            qrs=self.qrs.moved(by) if self.qrs else None,
            p=self.p.moved(by) if self.p else None,
            t=self.t.moved(by) if self.t else None,
        )


NOTHING = Reading(None, None, None, None, Measures())


def read(window_mv: Floats, before: int | None, after: int | None, noise_mv: float, network: Network) -> Reading:
    """Mark one window, shape (WINDOW + 2 * MARGIN,), finite mV, R at BEFORE + MARGIN.

    `before`, `after`: the neighbouring R peaks, internal samples from this one, where they are known and near.
    `noise_mv`: rms of the noise that is left in the window. A QRS that is too low gives no mark at all.
    """
    wave = lowpassed(window_mv)
    near = wave[BEFORE - 25 : BEFORE + 26]
    if float(near.max() - near.min()) < HEIGHT_MIN_MV:
        return NOTHING
    votes = network.votes(features(wave, [at for at in (before, after) if at is not None]))
    candidates = [one for one in runs(votes, QRS) if one.on < R_WITHIN and one.off > -R_WITHIN]
    if not candidates:
        return NOTHING
    qrs = Complex(*max(candidates, key=_mass))
    first = max(-BEFORE, before + APART) if before is not None else -BEFORE
    last = min(AFTER, after) if after is not None else AFTER
    p = _p_run(wave, votes, first, qrs.on)
    ts = [one for one in runs(votes, T) if one.on > qrs.off - P_MIN and one.off < last - P_MIN]
    t = max((one for one in ts if one.off - one.on >= T_MIN), key=_mass, default=None)
    p_wave = _wave(wave, p) if p else None
    p_seen: bool | None = p is not None
    if p is None and (_doubted(votes, first, qrs.on) or noise_mv > NOISE_P_MV):
        p_seen = None
    t_wave = _wave(wave, t) if t else None
    return Reading(qrs, p_wave, p_seen, t_wave, _measures(window_mv[MARGIN:-MARGIN], qrs, p_wave, t_wave))


def _mass(run: Run) -> float:
    return (run.off - run.on) * run.share


def _p_run(wave: Floats, votes: Floats, first: int, qrs_on: float) -> Run | None:
    """The last P wave before the QRS; with fewer votes where none has half of them."""
    for share in P_SHARES:
        for run in reversed(runs(votes, P, share)):
            inside = run.on > first and run.off <= qrs_on + P_MIN and run.off - run.on >= P_MIN
            if inside and max(_deflections(wave, run)[1:]) >= P_HEIGHT_MIN_MV:
                return run
    return None


def _deflections(wave: Floats, run: Run) -> tuple[Floats, float, float]:
    """A wave against the line from its onset to its offset, and how far it goes up and down."""
    first, last = max(math.ceil(run.on) + BEFORE, 0), min(math.floor(run.off) + BEFORE, wave.size - 1)
    part = wave[first : last + 1]
    above = part - np.linspace(part[0], part[-1], part.size)
    return above, float(above.max()), -float(above.min())


def _doubted(votes: Floats, first: int, qrs_on: float) -> bool:
    """Is there something between the beats that might be a P wave?"""
    part = votes[(first + BEFORE) // 2 : max((math.floor(qrs_on) + BEFORE) // 2, 0), P]
    return part.size > 0 and float(part.max()) >= P_DOUBTED


def _wave(wave: Floats, run: Run) -> Wave:
    """Peak and shape against the line from onset to offset."""
    above, high, low = _deflections(wave, run)
    at = int(above.argmax() if high >= low else above.argmin())
    shape: Shape = "up" if high >= low else "down"
    if min(high, low) > BIPHASIC * max(high, low):
        shape = "biphasic"
    return Wave(run.on, float(max(math.ceil(run.on), -BEFORE) + at), run.off, run.share, shape)


def _measures(wave: Floats, qrs: Complex, p: Wave | None, t: Wave | None) -> Measures:
    on, j = round(qrs.on) + BEFORE, round(qrs.off) + BEFORE
    st60_mv, st80_mv = st_levels(wave, round(p.off) + BEFORE if p else None, on, j)
    qrs_s = within(seconds(qrs.off - qrs.on), QRS_S)
    return Measures(
        pr_s=within(seconds(qrs.on - p.on), PR_S) if p else None,
        qrs_s=qrs_s,
        qt_s=within(seconds(t.off - qrs.on), QT_S) if t else None,
        st60_mv=st60_mv if qrs_s is not None else None,
        st80_mv=st80_mv if qrs_s is not None else None,
    )
