"""Ventricular fibrillation and flutter from the shape of the clean lead: an oscillation where beats should be.

A normal lead rests between its QRS complexes, so its slope is small most of the time; fibrillation and flutter
never rest. Every second the last 4 s are judged:

- share of samples with a small slope (against the steep ones of the same window): below `QUIET_MAX`;
- share of samples further from zero than a fifth of the largest: above `TALL_MIN`;
- phase space filled at a delay of 0.5 s on a 40 x 40 grid (Amann, Tratnig, Unterkofler 2007,
  doi:10.1109/TBME.2006.880909): above `FILLED_MIN`;
- dominant frequency 1.9-9 Hz, and little power from 12 to 30 Hz (muscle is not fibrillation);
- size: at least 0.2 mV peak to peak (less is asystole's to judge).

Three of four such seconds make an episode: about 7 s from its onset. Specificity comes first.
Fed by the clean lead at 250 Hz; pure.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]

FS_HZ = 250
WINDOW = 4 * FS_HZ
HOP = FS_HZ
QUIET_MAX = 0.45
TALL_MIN = 0.42
FILLED_MIN = 0.21
FREQUENCY_HZ = (1.9, 9.0)
HIGH_SHARE_MAX = 0.07
SIZE_MV_MIN = 0.2
VOTES = 4
VOTES_ON = 3
VOTES_OFF = 1
_DELAY = FS_HZ // 2
_GRID = 40
_STEEP = round(0.98 * (WINDOW - 1))
_FFT = 2048
_HANN = np.hanning(WINDOW)
_HZ = np.fft.rfftfreq(_FFT, 1 / FS_HZ)
_ALL = (_HZ >= 0.7) & (_HZ <= 30.0)
_HIGH = (_HZ >= 12.0) & (_HZ <= 30.0)
_RHYTHM = (_HZ >= 1.5) & (_HZ <= 9.0)


@dataclass(frozen=True, slots=True)
class Oscillation:
    """What one 4 s window looks like. Shares from 0 to 1."""

    quiet: float
    tall: float
    filled: float
    frequency_hz: float
    high_share: float
    size_mv: float

    @property
    def fibrillates(self) -> bool:
        return (
            self.filled > FILLED_MIN
            and FREQUENCY_HZ[0] <= self.frequency_hz <= FREQUENCY_HZ[1]
            and self.high_share < HIGH_SHARE_MAX
        )


def measure(window_mv: Floats) -> Oscillation | None:
    """Measure 4 s of clean lead, float64 (1000,), mV, that never rests; None for a lead that does, or was not seen."""
    if window_mv.size != WINDOW:
        return None
    low_mv, high_mv = float(window_mv.min()), float(window_mv.max())
    size_mv = high_mv - low_mv
    if not size_mv >= SIZE_MV_MIN:  # NaN too
        return None
    far_mv = 0.2 * max(high_mv, -low_mv)
    tall = (np.count_nonzero(window_mv > far_mv) + np.count_nonzero(window_mv < -far_mv)) / WINDOW
    if tall <= TALL_MIN:
        return None
    slope = np.abs(np.diff(window_mv))
    steep = float(np.partition(slope, _STEEP)[_STEEP])
    quiet = float(np.count_nonzero(slope < 0.15 * steep)) / slope.size
    if quiet >= QUIET_MAX:
        return None
    cell = np.minimum(((window_mv - low_mv) / size_mv * _GRID).astype(np.int64), _GRID - 1)
    visited = np.bincount(cell[:-_DELAY] * _GRID + cell[_DELAY:], minlength=_GRID**2)
    filled = float(np.count_nonzero(visited)) / _GRID**2
    power = np.abs(np.fft.rfft((window_mv - window_mv.mean()) * _HANN, _FFT)) ** 2
    total = float(power[_ALL].sum())
    frequency_hz = float(_HZ[np.argmax(np.where(_RHYTHM, power, 0.0))])
    return Oscillation(quiet, tall, filled, frequency_hz, float(power[_HIGH].sum()) / total, size_mv)


class FibrillationState(NamedTuple):
    """The last samples, the votes of the last seconds, and the episode that is on. Arrays are never written to."""

    tail_mv: tuple[Floats, ...]  # as they came, at least the last 4 s
    size: int  # samples in the tail
    end: int  # clean index just after the tail
    votes: tuple[bool, ...] = ()
    onset: int | None = None
    last_seen: int = 0  # clean index just after the newest window that fibrillated
    evidence: Oscillation | None = None


def initial() -> FibrillationState:
    """Before the first sample."""
    return FibrillationState((), 0, 0)


def step(state: FibrillationState, clean_mv: Floats, clean_first: int) -> FibrillationState:
    """Take the next clean samples, mV; `onset` of the next state is set while an episode is on."""
    if clean_mv.size == 0:
        return state
    follows, end = clean_first == state.end, clean_first + clean_mv.size
    tail_mv = (*state.tail_mv, clean_mv) if follows else (clean_mv,)
    size = (state.size if follows else 0) + clean_mv.size
    first_stop = (clean_first // HOP + 1) * HOP
    if end < first_stop:  # a second is judged when it is whole
        return FibrillationState(tail_mv, size, end, state.votes, state.onset, state.last_seen, state.evidence)
    samples = np.concatenate(tail_mv) if len(tail_mv) > 1 else tail_mv[0]
    first = end - size
    kept_mv = samples[-(WINDOW + HOP) :].copy()
    state = state._replace(tail_mv=(kept_mv,), size=kept_mv.size, end=end)
    for stop in range(first_stop, end + 1, HOP):
        state = _vote(state, measure(samples[max(stop - WINDOW - first, 0) : stop - first]), stop)
    return state


def suspected(state: FibrillationState) -> bool:
    """Did one of the last two windows fibrillate? Then there may be an episode whose votes are not yet in."""
    return True in state.votes[-2:]


def _vote(state: FibrillationState, seen: Oscillation | None, stop: int) -> FibrillationState:
    fibrillates = seen is not None and seen.fibrillates
    votes = (*state.votes, fibrillates)[-VOTES:]
    state = state._replace(votes=votes)
    if fibrillates:
        state = state._replace(last_seen=stop, evidence=seen)
    if state.onset is None and sum(votes) >= VOTES_ON:
        first_seen = stop - (len(votes) - 1 - votes.index(True)) * HOP
        # a window turns positive when about three of its four seconds fibrillate
        return state._replace(onset=max(first_seen - 3 * WINDOW // 4, 0))
    if state.onset is not None and sum(votes) <= VOTES_OFF:
        return state._replace(onset=None)
    return state
