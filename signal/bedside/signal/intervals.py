"""What is read from the marks of a beat: PR, QRS, QT, QTc and the ST level. Pure arithmetic.

Levels come from the raw lead (no high-pass): a causal 0.5 Hz filter bends an ST segment by tenths of a millivolt.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from bedside.signal.resample import INTERNAL_HZ, Floats

ST_AFTER_J = (15, 20)  # internal samples: 60 and 80 ms
AVERAGED = 2  # internal samples to each side of a level: 20 ms in all, one period of 50 Hz
BEFORE_QRS = 4  # internal samples before the QRS that hold the PR level when the P wave does not leave more
PR_S = (0.07, 0.48)
QRS_S = (0.04, 0.24)
QT_S = (0.20, 0.70)


@dataclass(frozen=True, slots=True)
class Corrected:
    """A QT interval at the rate it was seen at, and as four formulas correct it to 60 beats a minute; seconds."""

    rr_s: float  # the RR interval used
    bazett_s: float
    fridericia_s: float
    framingham_s: float
    hodges_s: float


def corrected(qt_s: float, rr_s: float) -> Corrected:
    """QTc by Bazett 1920, Fridericia 1920, Sagie 1992 (Framingham) and Hodges 1983.

    As collected in AHA/ACCF/HRS 2009, part IV (doi:10.1161/CIRCULATIONAHA.108.191096). Raises `ValueError` when
    either is not positive and finite.
    """
    for name, value in (("qt_s", qt_s), ("rr_s", rr_s)):
        if not (value > 0 and math.isfinite(value)):
            raise ValueError(f"{name}: expected a positive number of seconds, got {value!r}")
    return Corrected(
        rr_s=rr_s,
        bazett_s=qt_s / math.sqrt(rr_s),
        fridericia_s=qt_s / math.cbrt(rr_s),
        framingham_s=qt_s + 0.154 * (1.0 - rr_s),
        hodges_s=qt_s + 0.00175 * (60.0 / rr_s - 60.0),
    )


@dataclass(frozen=True, slots=True)
class Measures:
    """Intervals in seconds and levels in mV against the PR level; None: cannot be judged, or there is no such wave."""

    pr_s: float | None = None
    qrs_s: float | None = None
    qt_s: float | None = None
    st60_mv: float | None = None
    st80_mv: float | None = None


def within(value_s: float, limits_s: tuple[float, float]) -> float | None:
    """The value, or None where no heart gives such a one: a wrong mark is likelier."""
    return value_s if limits_s[0] <= value_s <= limits_s[1] else None


def level_mv(wave_mv: Floats, at: int) -> float:
    """Mean of the 20 ms around sample `at`."""
    return float(wave_mv[at - AVERAGED : at + AVERAGED + 1].mean())


def st_levels(wave_mv: Floats, p_off: int | None, qrs_on: int, j: int) -> tuple[float, float]:
    """ST level 60 and 80 ms after J, mV against the PR segment; positions count in `wave_mv`.

    The PR level is the mean of the last 20 ms before the QRS, or of as much as the P wave leaves, at least 8 ms.
    """
    first = qrs_on - 1 - BEFORE_QRS
    if p_off is not None:
        first = max(first, min(p_off + 1, qrs_on - 3))
    rest_mv = float(wave_mv[first : qrs_on - 1].mean())
    return level_mv(wave_mv, j + ST_AFTER_J[0]) - rest_mv, level_mv(wave_mv, j + ST_AFTER_J[1]) - rest_mv


def seconds(samples: float) -> float:
    """Internal samples as seconds."""
    return samples / INTERNAL_HZ
