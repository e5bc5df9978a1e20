"""Samples that never came: how the filters are fed across them, and which results they touch.

Used by `lead.py`; pure.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from bedside.signal.resample import Floats

Marks = NDArray[np.bool_]
GUARD = 6  # internal samples (24 ms) beside a hole in which no beat is looked for


class FillState(NamedTuple):
    """How missing samples are bridged: the value held, the run of missing ones, the offset taken away."""

    held: float
    n_missing: int
    offset: float
    started: bool


def none_of(marks: Marks) -> Marks | None:
    """The marks, or None where no sample is marked: most of the time there is nothing to carry along."""
    return marks if marks.any() else None


def near(unseen: Marks) -> Marks:
    """Samples within `GUARD` of one that was not seen."""
    return np.convolve(unseen, np.ones(2 * GUARD + 1), "same") > 0.5


def bridge(fill: FillState, chunk: Floats, missing: Marks, long_gap: int) -> tuple[FillState, Floats, bool]:
    """Give the chunk finite: holes by a straight line where their end is in sight, held where it is not.

    The first sample ever, and the first after a long hole, sets the offset so that the line goes on level:
    a constant of any size leaves no transient. Also tells whether a long hole ended.
    """
    if not missing.any() and fill.started and fill.n_missing < long_gap:
        filled = chunk - fill.offset
        return FillState(float(filled[-1]), 0, fill.offset, True), filled, False
    seen = np.flatnonzero(~missing)
    if seen.size == 0:
        n_missing = fill.n_missing + chunk.size
        return fill._replace(n_missing=n_missing), np.full(chunk.size, fill.held), False
    filled, offset, held, ended = np.empty(chunk.size), fill.offset, fill.held, False
    previous, run = -1, fill.n_missing
    for at in seen.tolist():
        gap = run + at - previous - 1
        run = 0
        if gap >= long_gap or not fill.started:
            offset, ended = float(chunk[at]) - held, fill.started
            fill = fill._replace(started=True)
        value = float(chunk[at]) - offset
        if at - previous > 1:
            filled[previous + 1 : at] = np.linspace(held, value, at - previous + 1)[1:-1]
        filled[at] = held = value
        previous = at
    filled[previous + 1 :] = held
    return FillState(held, chunk.size - 1 - previous, offset, True), filled, ended
