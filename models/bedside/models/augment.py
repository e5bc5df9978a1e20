"""What training shows a head beside the recordings as they are. Pure; deterministic for a given generator.

Two lessons that few patients teach: a ventricular beat need not be early (an escape or accelerated rhythm), so V
rows are shown again with the intervals of another beat of the same lead; and most of a patient's beats may be
early, so the leads and beat times with many S beats are shown again with the calm stretches between cut out.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from bedside.models.corpus import Labels
from bedside.models.features import NAMES, ODD_CORRELATION, Int8s, quantised, real
from bedside.models.tempo import EARLY_AT, EXPERIENCED, RR_NAMES, Tempo
from bedside.models.windows import Floats

Bools = npt.NDArray[np.bool_]

S_BEATS_MIN: Final = 40
"""A recording with fewer S beats is not thinned: little would be left."""
INTERVAL_COLUMNS: Final = np.array(
    [
        at
        for at, name in enumerate(NAMES)
        if name in RR_NAMES or name in {"own_early", "main_early", "early_correlation", "rr_log_median9_moved"}
    ]
)
"""Inputs that speak of the interval."""


def unhurried(
    rows: Int8s, v: Bools, lead: npt.NDArray[np.int64], share: float, rng: np.random.Generator
) -> tuple[Int8s, npt.NDArray[np.int64]]:
    """`share` of the rows in `v`, each with the interval columns of another beat of its lead that is not in `v`.

    Gives the rows and where each comes from.
    """
    parts, places = [rows[:0]], [np.zeros(0, dtype=np.int64)]
    for one in np.unique(lead[v]):
        mine, others = np.flatnonzero(v & (lead == one)), np.flatnonzero(~v & (lead == one))
        mine = mine[rng.random(mine.size) < share]
        if others.size == 0:
            continue
        changed = rows[mine].copy()
        donors = rows[rng.choice(others, mine.size)]
        changed[:, INTERVAL_COLUMNS] = donors[:, INTERVAL_COLUMNS]
        parts.append(changed)
        places.append(mine)
    return np.concatenate(parts), np.concatenate(places)


@dataclass(frozen=True, slots=True, eq=False)
class Thinned:
    """Beats of a recording whose calm stretches were cut out. `at`: which beats; `rows`: int8 (n, len(RR_NAMES))."""

    at: npt.NDArray[np.int64]
    rows: Int8s


def thinned(rr_s: Floats, labels: Labels, odd: Bools) -> Thinned | None:
    """Only the S beats and those right before and after each, with their own intervals and the references of these.

    None when there are too few S beats.
    """
    s = labels == "S"
    if int(s.sum()) < S_BEATS_MIN:
        return None
    keep = s.copy()
    keep[1:] |= s[:-1]
    keep[:-1] |= s[1:]
    tempo, at, rows = Tempo(), [], []
    tempo.beats = EXPERIENCED  # not the first minute of a stranger: or the first minute would be what is learned
    for beat in np.flatnonzero(keep).tolist():
        rr = float(rr_s[beat])
        if not rr > 0:  # NaN too
            tempo.learn(None, 0.0, odd=True)
            continue
        numbers = tempo.numbers(rr)
        tempo.learn(rr, numbers[EARLY_AT], bool(odd[beat]))
        at.append(beat)
        rows.append(numbers)
    whole = np.zeros((len(rows), len(NAMES)))
    if rows:
        whole[:, : len(RR_NAMES)] = rows
    return Thinned(np.array(at, dtype=np.int64), quantised(whole)[:, : len(RR_NAMES)])


def odd_shapes(rows: Int8s) -> Bools:
    """Which rows tell of a beat of an odd shape, as `features.Memory` took it."""
    at = NAMES.index("qrs_correlation")
    odd: Bools = real(rows)[:, at] < ODD_CORRELATION
    return odd
