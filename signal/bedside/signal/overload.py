"""Seconds in which an amplifier that was overloaded shows a line without beats: no standstill, but motion.

After a gross disturbance (`quality.py` has named it) a silent lead is not believed for `BLOCKED_S`. A smaller push
shows only in what the line does: it jumps to another level within a second, and then runs back, smooth, ever slower
and without a beat, as the amplifier's high-pass lets it. All of that must be seen: a jump alone may be a wide beat,
and a line that drifts may lie under a heart that stands still. A silence is not believed for `BLOCKED_S` at most, so
that asystole is still known within 10 s. Fed by `lead.py` with one second after the other; pure.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from bedside.signal.quality import Verdict
from bedside.signal.resample import Floats

BLOCKED_S = 5  # seconds after a disturbance in which a silent lead is not believed: amplifiers recover slowly
DISTURBANCES = frozenset({"motion", "saturated", "lead_off"})
JUMP_S = 2  # the line runs back within so long of its jump
JUMP_MV, BACK_MV = 0.4, 0.2
BACK_SHARE = 0.25  # of the jump, that a silent second must run back
ROUGH_SHARE = 0.05  # of what it runs back: how far from a bend it may be, root mean square
SCORE_MAX = 0.3
_PARTS = 25  # means of 40 ms: a QRS stands out of them
_BENT = np.linalg.qr(np.vander(np.linspace(-1.0, 1.0, _PARTS), 3, increasing=True))[0]  # level, slope and bend


class OverloadState(NamedTuple):
    """`blocked_s`: seconds for which silence is not believed; `last_mv`: the last second with a beat, while recent."""

    blocked_s: int = 0
    last_mv: Floats | None = None
    last_s: int = 0  # seconds for which that is recent


def judge(state: OverloadState, verdict: Verdict, source_mv: Floats, silent: bool) -> tuple[OverloadState, Verdict]:
    """The verdict on a second, given what came before it.

    `source_mv`: the second as it came, NaN where missing; `silent`: no beat was found in it.
    """
    if verdict.reason in DISTURBANCES:
        return OverloadState(BLOCKED_S), verdict
    if not silent:
        return OverloadState(0 if verdict.usable else state.blocked_s, source_mv, JUMP_S), verdict
    blocked_s, last_mv, last_s = state.blocked_s, state.last_mv, state.last_s - 1
    if last_mv is not None and _pushed(last_mv, source_mv):
        blocked_s, last_mv = BLOCKED_S, None
    if last_s <= 0:
        last_mv = None
    if not verdict.usable or not blocked_s:
        return OverloadState(blocked_s, last_mv, last_s), verdict
    motion = Verdict(False, min(verdict.score, SCORE_MAX), "motion", verdict.rest_mv)
    return OverloadState(blocked_s - 1, last_mv, last_s), motion


def _pushed(last_mv: Floats, source_mv: Floats) -> bool:
    """Did the line jump in the last second that had a beat, and does it run back in this one?"""
    before, parts = _parts(last_mv), _parts(source_mv)
    return before is not None and parts is not None and _runs_back(parts, _jump(before))


def _parts(source_mv: Floats) -> Floats | None:
    """Means of 25 parts of the second; None where a sample is missing."""
    n = source_mv.size // _PARTS
    means = np.add.reduce(source_mv[: _PARTS * n].reshape(_PARTS, n), 1) / max(n, 1)
    return means if n and math.isfinite(float(np.add.reduce(means))) else None


def _jump(parts: Floats) -> float:
    """From the lowest part of the second to the highest, mV; negative when the highest came first."""
    low, high = int(parts.argmin()), int(parts.argmax())
    return math.copysign(float(parts[high] - parts[low]), high - low)


def _runs_back(parts: Floats, jump_mv: float) -> bool:
    """Is the line a smooth bend that returns, ever slower, from where it jumped to?"""
    back = parts if jump_mv < 0 else -parts
    third = _PARTS // 3
    whole_mv = float(back[-1] - back[0])
    if abs(jump_mv) < JUMP_MV or whole_mv < max(BACK_MV, BACK_SHARE * abs(jump_mv)):
        return False
    if back[-1] - back[-third] > back[third] - back[0]:
        return False
    rough = parts - _BENT @ (_BENT.T @ parts)
    return float(rough @ rough) <= _PARTS * (ROUGH_SHARE * whole_mv) ** 2
