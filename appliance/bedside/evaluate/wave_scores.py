"""P, QRS and T against a cardiologist's marks: pairs, sensitivity, positive predictivity, and how far apart they lie.

As the delineation literature does it (Martinez et al. 2004, doi:10.1109/TBME.2003.821031; Kalyakulina et al. 2020,
doi:10.1109/ACCESS.2020.3029211): each fiducial on its own, one to one, at most 150 ms apart, only between the first
and the last mark of a record, because beyond them nobody looked. Pure.

The split is fixed here, before anything was tuned: thresholds and weights are chosen on people with an odd number and
judged on those with an even one.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

import numpy as np

from bedside.evaluate.beats import Figures, Indices, figures, match

WINDOW_S = 0.150
Half = Literal["development", "judgement"]
FIDUCIALS = (
    "P onset",
    "P peak",
    "P offset",
    "QRS onset",
    "QRS offset",
    "T onset",
    "T peak",
    "T offset",
)
CSE_MS = {"P onset": 10.2, "P offset": 12.7, "QRS onset": 6.5, "QRS offset": 11.6, "T offset": 30.6}
"""Twice the SD among the referees of the CSE study, the customary tolerance (doi:10.1016/0010-4809(85)90048-7)."""

Fiducials = Mapping[str, Indices]


def half_of(record: str) -> Half:
    """Which half of the split a record belongs to, by the last digit of its number."""
    digits = [one for one in record if one.isdigit()]
    return "development" if digits and int(digits[-1]) % 2 else "judgement"


@dataclass(frozen=True, slots=True)
class WaveTally:
    """Counts of one fiducial and, for each pair, test minus reference."""

    tp: int = 0
    fn: int = 0
    fp: int = 0
    apart_ms: tuple[float, ...] = field(default=(), repr=False)

    def __add__(self, other: WaveTally) -> WaveTally:
        return WaveTally(self.tp + other.tp, self.fn + other.fn, self.fp + other.fp, (*self.apart_ms, *other.apart_ms))

    @property
    def figures(self) -> Figures:
        return figures(self.tp, self.fn, self.fp)

    @property
    def mean_ms(self) -> float | None:
        return float(np.mean(self.apart_ms)) if self.apart_ms else None

    @property
    def sd_ms(self) -> float | None:
        return float(np.std(self.apart_ms, ddof=1)) if len(self.apart_ms) > 1 else None


def score_waves(reference: Fiducials, test: Fiducials, span: tuple[int, int], fs_hz: float) -> dict[str, WaveTally]:
    """Count one lead. `span`: the first and the last mark of any kind; test marks outside of it count neither way.

    A test mark within 150 ms outside the span may still be the partner of a mark inside it.
    """
    window = WINDOW_S * fs_hz
    out = {}
    for name in FIDUCIALS:
        expected, given = np.sort(reference[name]), np.sort(test[name])
        given = given[(given >= span[0] - window) & (given <= span[1] + window)]
        pairs = match(expected, given, window)
        apart = [1000.0 * float(given[j] - expected[i]) / fs_hz for i, j in pairs if i is not None and j is not None]
        false = [j for i, j in pairs if i is None and j is not None and span[0] <= given[j] <= span[1]]
        out[name] = WaveTally(len(apart), expected.size - len(apart), len(false), tuple(apart))
    return out
