"""What a chest's acceleration says: still or moving, how much, lying which way or upright, steps, a fall.

Fed with three axes in mg at 25 to 200 Hz, once a second inside; pure. The physics: at rest the three axes measure the
reaction to gravity, 1000 mg away from the earth, so their mean direction is the body's tilt; what changes within a
second is movement; a body in free fall measures nothing, and its landing a multiple of gravity. Which axis points to
the head and which out of the breast is the mounting: stated, or learnt while the person walks upright (walking turns
the mean direction to the head's; front and back stay unknown then, and so do the four ways of lying).
Sources: Van Hees et al. 2013, doi:10.1371/journal.pone.0061691 (mean amplitude deviation is near to Vähä-Ypyä et al.
2015, doi:10.1371/journal.pone.0134813: still below 22.5 mg); Bourke et al. 2007, doi:10.1016/j.gaitpost.2006.09.012
(a fall: below 0.41 g, then above 3.52 g at the chest or 2.74 g at the thigh).
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from bedside.signal.resample import Floats

FS_HZ_MIN, FS_HZ_MAX = 25.0, 200.0
LIMIT_MG = 64_000.0
GRAVITY_RANGE_MG = (800.0, 1200.0)  # a still body measures gravity; a sensor that does not is broken or unscaled
STILL_MG = 22.5  # mean amplitude deviation below it: sitting, lying, standing
WALKING_MG = 91.0  # above it: walking or more
UPRIGHT_DEG = 35.0  # the head's axis lies within so much of upwards
LYING_DEG = 60.0  # and farther than this when lying; between: reclined
SETTLE_S = 3  # a posture is told when it has lasted so long
STEP_HZ = (1.0, 3.0)
STEP_MG = 60.0  # a step rises so much above the second's mean
STEP_APART_S = 0.28
STEPS_REGULAR = 4  # so many steps at a walker's distance count; fewer are gestures
STEP_GAP_S = 1.2
FREE_FALL_MG, FREE_FALL_S = 410.0, 0.08
IMPACT_MG, IMPACT_AFTER_S = 2740.0, 1.0
STILL_AFTER_S = 8  # seconds of lying still that make a fall of an impact,
STILL_WITHIN_S = 20  # within so many after it
LEARN_S = 10  # seconds of walking that teach the mounting


class Posture(StrEnum):
    """How a body lies or stands."""

    UPRIGHT = "upright"
    RECLINED = "reclined"
    SUPINE = "supine"
    PRONE = "prone"
    LEFT = "left"  # on the left side
    RIGHT = "right"
    LYING = "lying"  # which way is not known: the mounting's front is not
    UNKNOWN = "unknown"


class Mounting(NamedTuple):
    """Unit vectors in the sensor's axes: towards the head, and out of the breast (None: not known)."""

    head: tuple[float, float, float]
    front: tuple[float, float, float] | None


class MotionSecond(NamedTuple):
    """One second. `activity_mg` None: not enough samples. `fell`: evidence of a fall became complete in this second."""

    first_index: int
    n_samples: int
    activity_mg: float | None
    moving: bool | None
    posture: Posture
    steps: int  # that were found to be steps in this second
    fell: bool
    impact_index: int | None  # of the fall
    reason: str | None  # missing, or no_gravity


@dataclass
class MotionState:
    """Memory. Arrays are never written to, so a shallow copy is a fork."""

    pending: Floats  # (n, 3)
    n: int
    size_tail: Floats  # the last second's magnitudes, mg
    mounting: Mounting | None
    walked: tuple[Floats, ...]  # mean directions of seconds of walking
    candidate: tuple[Posture, int]
    posture: Posture
    last_steps: tuple[int, ...]  # source samples of a run of steps
    counted: int  # of that run
    free_until: int  # source sample until which an impact counts as after a free fall; -1: none
    impact: int  # source sample of an impact after free fall; -1: none
    still_s: int  # seconds of lying still since


@dataclass(frozen=True, eq=False)
class MotionAnalyser:
    """Streaming; a second's verdict is known at its end, whatever the blocks."""

    fs_hz: float
    frame: int
    mounting: Mounting | None

    @classmethod
    def design(cls, fs_hz: float, mounting: Mounting | None = None) -> Self:
        """Raises `ValueError` when `fs_hz` is not within 25..200 Hz or the mounting's axes are not at right angles."""
        if not FS_HZ_MIN <= fs_hz <= FS_HZ_MAX:
            raise ValueError(f"fs_hz: expected {FS_HZ_MIN:g} to {FS_HZ_MAX:g} Hz, got {fs_hz!r}")
        if mounting is not None:
            head = _unit(np.array(mounting.head, np.float64), "mounting.head")
            front = None
            if mounting.front is not None:
                front = _unit(np.array(mounting.front, np.float64), "mounting.front")
                if abs(float(head @ front)) > 0.2:
                    raise ValueError("mounting: expected head and front at right angles")
            mounting = Mounting(_triple(head), _triple(front) if front is not None else None)
        return cls(float(fs_hz), round(fs_hz), mounting)

    def initial(self) -> MotionState:
        """State before the first sample."""
        return MotionState(
            pending=np.zeros((0, 3)),
            n=0,
            size_tail=np.zeros(0),
            mounting=self.mounting,
            walked=(),
            candidate=(Posture.UNKNOWN, 0),
            posture=Posture.UNKNOWN,
            last_steps=(),
            counted=0,
            free_until=-1,
            impact=-1,
            still_s=0,
        )

    def step(self, state: MotionState, block_mg: NDArray[np.generic]) -> tuple[MotionState, list[MotionSecond]]:
        """Take `n` >= 0 samples, shape (n, 3), mg, NaN where missing. The given state stays valid.

        Raises `ValueError` naming `block_mg` when its shape is another or it holds no real numbers.
        """
        values = np.asarray(block_mg)
        if values.ndim != 2 or values.shape[1] != 3 or values.dtype.kind not in "fiu":
            raise ValueError(f"block_mg: expected real numbers of shape (n, 3), got {values.dtype} of {values.shape}")
        pending = np.concatenate((state.pending, np.clip(values.astype(np.float64), -LIMIT_MG, LIMIT_MG)))
        state = copy.copy(state)  # arrays are never written to
        whole = len(pending) // self.frame * self.frame
        starts = range(0, whole, self.frame)
        seconds = [self._second(state, pending[start : start + self.frame]) for start in starts]
        state.pending = pending[whole:].copy()
        return state, seconds

    def _second(self, state: MotionState, part: Floats) -> MotionSecond:
        first = state.n
        state.n += self.frame
        seen = part[~np.isnan(part).any(axis=1)]
        if len(seen) < 0.8 * self.frame:
            self._unknown(state)
            return MotionSecond(first, self.frame, None, None, Posture.UNKNOWN, 0, False, None, "missing")
        if len(seen) < self.frame:
            seen = np.where(np.isnan(part), seen.mean(axis=0), part)
        size = np.sqrt(np.einsum("ij,ij->i", seen, seen))
        mean = seen.mean(axis=0)
        activity = float(np.abs(size - size.mean()).mean())
        gravity = float(np.sqrt(mean @ mean))
        still = activity < STILL_MG
        steps = self._steps(state, size, first)
        if still and not GRAVITY_RANGE_MG[0] <= gravity <= GRAVITY_RANGE_MG[1]:
            self._unknown(state)
            return MotionSecond(first, self.frame, activity, False, Posture.UNKNOWN, steps, False, None, "no_gravity")
        self._learn(state, mean / max(gravity, 1e-9), activity, steps)
        now = _posture(state.mounting, mean / max(gravity, 1e-9))
        name, lasted = state.candidate
        state.candidate = (now, lasted + 1 if now is name else 1)
        if state.candidate[1] >= SETTLE_S:
            state.posture = now
        impact = self._fall(state, size, first, still, now)
        return MotionSecond(
            first, self.frame, activity, not still, state.posture, steps, impact is not None, impact, None
        )

    def _unknown(self, state: MotionState) -> None:
        state.size_tail = np.zeros(0)
        state.candidate, state.posture = (Posture.UNKNOWN, 0), Posture.UNKNOWN
        state.last_steps, state.counted = (), 0
        state.free_until = state.impact = -1

    # ------------------------------------------------------------------ posture

    def _learn(self, state: MotionState, direction: Floats, activity: float, steps: int) -> None:
        """Walking is upright: its mean direction is the head's. Only where nobody stated the mounting."""
        if self.mounting is not None or activity < WALKING_MG or steps == 0:
            return
        state.walked = (*state.walked[1 - LEARN_S :], direction)
        if len(state.walked) < LEARN_S:
            return
        mean = np.mean(state.walked, axis=0)
        length = float(np.sqrt(mean @ mean))
        if length > 0.9:  # the seconds agree
            state.mounting = Mounting(_triple(mean / length), None)

    # ------------------------------------------------------------------ steps

    def _steps(self, state: MotionState, size: Floats, first: int) -> int:
        """Rises of the magnitude, once a step; counted when four have come at a walker's distance."""
        smooth = max(1, round(0.08 * self.fs_hz))
        joined = np.concatenate((state.size_tail, size))
        before = state.size_tail.size
        state.size_tail = size
        wave = np.convolve(joined, np.full(smooth, 1.0 / smooth), "same")
        level = float(np.median(joined))
        # the newest samples wait for their neighbours in the next second
        low, high = max(before - smooth, 1), joined.size - smooth
        middle = wave[low:high]
        tops = np.flatnonzero(
            (middle > wave[low - 1 : high - 1]) & (middle >= wave[low + 1 : high + 1]) & (middle > level + STEP_MG)
        )
        found, run, apart = 0, list(state.last_steps), STEP_APART_S * self.fs_hz
        for top in tops.tolist():
            at = first - before + low + top
            if run and at - run[-1] < apart:
                continue
            if run and at - run[-1] > STEP_GAP_S * self.fs_hz:
                run, state.counted = [], 0
            run.append(at)
            if len(run) >= STEPS_REGULAR:
                found += len(run) - state.counted
                state.counted = len(run)
                if len(run) > 2 * STEPS_REGULAR:
                    run = run[-STEPS_REGULAR:]
                    state.counted = len(run)
        state.last_steps = tuple(run)
        return found

    # ------------------------------------------------------------------ falls

    def _fall(self, state: MotionState, size: Floats, first: int, still: bool, posture: Posture) -> int | None:
        """Free fall, then an impact, then lying still: evidence of a fall, told once."""
        self._impact(state, size, first)
        if state.impact < 0:
            return None
        if first <= state.impact:
            return None  # the second of the impact itself
        lying = posture not in (Posture.UPRIGHT, Posture.RECLINED)
        state.still_s = state.still_s + 1 if still and lying else 0
        if state.still_s >= STILL_AFTER_S:
            impact, state.impact, state.still_s = state.impact, -1, 0
            return impact
        if first - state.impact > STILL_WITHIN_S * self.fs_hz:
            state.impact = -1
        return None

    def _impact(self, state: MotionState, size: Floats, first: int) -> None:
        run = max(2, round(FREE_FALL_S * self.fs_hz))
        light = np.convolve(size < FREE_FALL_MG, np.ones(run), "valid") > run - 0.5
        for at in np.flatnonzero(size > IMPACT_MG).tolist():
            began = np.flatnonzero(light[: max(0, at - run + 1)])
            recent = began.size and at - (int(began[-1]) + run) <= IMPACT_AFTER_S * self.fs_hz
            if recent or first + at <= state.free_until:
                state.impact, state.still_s = first + at, 0
                break
        if light.any():
            state.free_until = first + int(np.flatnonzero(light)[-1]) + run + round(IMPACT_AFTER_S * self.fs_hz)


def _posture(mounting: Mounting | None, up: Floats) -> Posture:
    """`up`: unit vector away from the earth, in the sensor's axes."""
    if mounting is None:
        return Posture.UNKNOWN
    head = np.array(mounting.head)
    tilt_deg = float(np.degrees(np.arccos(np.clip(head @ up, -1.0, 1.0))))
    if tilt_deg <= UPRIGHT_DEG:
        return Posture.UPRIGHT
    if tilt_deg < LYING_DEG:
        return Posture.RECLINED
    if mounting.front is None:
        return Posture.LYING
    front = np.array(mounting.front)
    left = np.cross(head, front)  # towards the wearer's left: head up, breast out, right-handed
    ways: Sequence[tuple[float, Posture]] = (
        (float(front @ up), Posture.SUPINE),
        (-float(front @ up), Posture.PRONE),
        (-float(left @ up), Posture.LEFT),
        (float(left @ up), Posture.RIGHT),
    )
    return max(ways)[1]


def _unit(vector: Floats, name: str) -> Floats:
    length = float(np.sqrt(vector @ vector)) if vector.shape == (3,) else 0.0
    if not 1e-9 < length < np.inf:
        raise ValueError(f"{name}: expected a direction of three numbers, got {vector!r}")
    return vector / length


def _triple(vector: Floats) -> tuple[float, float, float]:
    return float(vector[0]), float(vector[1]), float(vector[2])
