"""Heart rate variability of five minutes, in time and frequency, or why it cannot be judged.

Measures and their bands as the Task Force defines them (Task Force of the ESC and NASPE 1996,
doi:10.1161/01.CIR.93.5.1043): SDNN, RMSSD and pNN50 of normal-to-normal intervals; power of 0.04 to 0.15 Hz (LF) and
0.15 to 0.4 Hz (HF). Only intervals between two beats that the classifier calls normal, on a lead that could be believed
from one to the other, count; where they cover less than `COVERED_MIN` of the five minutes nothing is given.
An R peak is known to 4 ms, which alone makes an RMSSD of about 2 to 3 ms: figures near that mean none.
Fed by `rhythm.py` with one interval at a time; pure, memory bounded by the window.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from scipy.interpolate import CubicSpline

from bedside.signal.resample import Floats

FS_HZ = 250
WINDOW_S = 300.0
NN_S = (0.3, 2.0)  # 30 to 200/min
JUMP = 0.2  # an interval that differs by more than this share from the median of the last NN is no NN interval
JUDGED_OVER = 5
COVERED_MIN = 0.8  # of the window, by NN intervals
NN_MAX = 1000
TACHOGRAM_HZ = 4.0
LF_HZ = (0.04, 0.15)
HF_HZ = (0.15, 0.40)


@dataclass(frozen=True, slots=True)
class Variability:
    """The five minutes that end at clean index `end`. Measures None: `reason` says why.

    `covered`: share of the window that accepted NN intervals cover; `accepted`: their share of all intervals.
    """

    end: int
    nn: int
    covered: float
    accepted: float
    reason: str | None = None
    sdnn_ms: float | None = None
    rmssd_ms: float | None = None
    pnn50: float | None = None  # share, 0..1
    lf_ms2: float | None = None
    hf_ms2: float | None = None

    @property
    def lf_hf(self) -> float | None:
        """LF/HF; None where there is no HF power."""
        return self.lf_ms2 / self.hf_ms2 if self.lf_ms2 is not None and self.hf_ms2 else None

    def evidence(self) -> dict[str, float | int | str]:
        """For a finding: the measures, or `cannot_judge` and why."""
        share: dict[str, float | int | str] = {"nn": self.nn, "covered": self.covered, "accepted": self.accepted}
        named = {
            "sdnn_ms": self.sdnn_ms,
            "rmssd_ms": self.rmssd_ms,
            "pnn50": self.pnn50,
            "lf_ms2": self.lf_ms2,
            "hf_ms2": self.hf_ms2,
            "lf_hf": self.lf_hf,
        }
        if self.reason is not None:
            return {**share, "cannot_judge": self.reason}
        return {**share, **{name: value for name, value in named.items() if value is not None}}


class HrvState(NamedTuple):
    """The running window: which one, accepted intervals, where each ended, whether it follows the one before."""

    window: int = 0
    nn_s: tuple[float, ...] = ()
    ends_s: tuple[float, ...] = ()
    joined: tuple[bool, ...] = ()
    intervals: int = 0
    recent: tuple[float, ...] = ()  # newest intervals between normal beats, accepted or not
    last_accepted: bool = False


def step(state: HrvState, at: int, rr_s: float | None, normal: bool) -> tuple[HrvState, Variability | None]:
    """Take the interval that ends at clean index `at`; give the measures of a window that it closes.

    `rr_s` None: no interval (the lead was not seen); `normal`: between two normal beats. A window is closed by the
    first beat after it; one in which there was no beat at all is passed over without a word.
    """
    window = int(at / (WINDOW_S * FS_HZ))
    closed = None
    if window != state.window:
        if state.intervals:
            closed = measure(state, round((state.window + 1) * WINDOW_S * FS_HZ))
        state = HrvState(window, recent=state.recent)
    if rr_s is None or len(state.nn_s) >= NN_MAX:
        return state._replace(last_accepted=False, intervals=state.intervals + (rr_s is not None)), closed
    recent = (*state.recent, rr_s)[-JUDGED_OVER:] if normal else state.recent
    usual = sorted(state.recent)[len(state.recent) // 2] if state.recent else rr_s
    accepted = normal and NN_S[0] <= rr_s <= NN_S[1] and abs(rr_s - usual) <= JUMP * usual
    joined = state.last_accepted
    state = state._replace(intervals=state.intervals + 1, recent=recent, last_accepted=accepted)
    if accepted:
        state = state._replace(
            nn_s=(*state.nn_s, rr_s), ends_s=(*state.ends_s, at / FS_HZ), joined=(*state.joined, joined)
        )
    return state, closed


def measure(state: HrvState, end: int) -> Variability:
    """The measures of a window, from its accepted intervals."""
    nn_ms = 1000.0 * np.array(state.nn_s)
    covered = float(sum(state.nn_s)) / WINDOW_S
    accepted = len(state.nn_s) / max(state.intervals, 1)
    if covered < COVERED_MIN or nn_ms.size < 3:
        return Variability(end, nn_ms.size, covered, accepted, "too few normal intervals")
    steps_ms = np.diff(nn_ms)[np.array(state.joined[1:], dtype=np.bool_)]
    if steps_ms.size < 2:
        return Variability(end, nn_ms.size, covered, accepted, "too few normal intervals")
    lf_ms2, hf_ms2 = band_powers_ms2(np.array(state.ends_s), nn_ms)
    return Variability(
        end,
        nn_ms.size,
        covered,
        accepted,
        sdnn_ms=float(np.std(nn_ms, ddof=1)),
        rmssd_ms=math.sqrt(float(steps_ms @ steps_ms) / steps_ms.size),
        pnn50=float(np.count_nonzero(np.abs(steps_ms) > 50.0)) / steps_ms.size,
        lf_ms2=lf_ms2,
        hf_ms2=hf_ms2,
    )


def band_powers_ms2(ends_s: Floats, nn_ms: Floats) -> tuple[float, float]:
    """LF and HF power of the tachogram, ms²: cubic spline at 4 Hz, straight line taken away, Hann window, periodogram.

    `ends_s` (n,) rising, `nn_ms` (n,), n >= 3.
    """
    at_s = np.arange(ends_s[0], ends_s[-1], 1.0 / TACHOGRAM_HZ)
    tachogram = CubicSpline(ends_s, nn_ms)(at_s)
    place = np.linspace(-1.0, 1.0, at_s.size)
    slope = float(place @ tachogram) / float(place @ place)
    tachogram = tachogram - tachogram.mean() - slope * place
    window = np.hanning(at_s.size)
    power = np.abs(np.fft.rfft(tachogram * window)) ** 2 * 2.0 / (TACHOGRAM_HZ * float(window @ window))
    hz = np.fft.rfftfreq(at_s.size, 1.0 / TACHOGRAM_HZ)
    step_hz = TACHOGRAM_HZ / at_s.size
    lf, hf = (float(power[(hz >= low) & (hz < high)].sum()) * step_hz for low, high in (LF_HZ, HF_HZ))
    return lf, hf
