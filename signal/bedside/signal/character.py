"""What kind of lead this is: which way its QRS points, how large it is, and whether the mains hum in it.

The analysis needs none of it: beats are found whatever their size and direction, and the low-pass takes the mains away.
It is said for people: a lead that points down may be put on upside down, a small one is harder to read by eye, and
mains in the signal tell of a dry electrode. Fed by `lead.py` with one second after the other; pure, memory constant.

Each is said when it has become so for a while, and again when it changes: the direction follows the last beats with a
half-life of seven usable seconds, and between clear cases (four beats of five) the last word stands.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from bedside.signal.quality import FastNoise

SETTLED_S = 10  # usable seconds before anything is said
FOLLOW = 0.1  # of what one second brings
CLEAR = 0.8  # of the beats point one way
BEATS_MIN = 5  # newest beats that must be known
SMALL_MV, LARGE_MV = 0.3, 6.0  # peak to peak; IEC 60601-2-27 asks monitors to count from 0.5 mV and up to 5 mV
BESIDE = 0.1  # further than this share from the limit before the word changes
HUM_MV = 0.05  # amplitude of the mains from which it is said; it goes below half of it ...
HUM_SHARE = 0.02  # ... or this share of the usual QRS where that is more: steep QRS reach above the pass band too
UP, DOWN, MIXED = "up", "down", "mixed"
SMALL, USUAL, LARGE = "small", "usual", "large"


@dataclass(frozen=True, slots=True)
class Character:
    """`mains_hz` is None where no hum is seen, else 50 or 60; `qrs_mv` is the size when this was said."""

    direction: str  # up, down, mixed
    size: str  # small, usual, large
    qrs_mv: float  # peak to peak
    mains_hz: int | None
    mains_mv: float  # amplitude


class CharacterState(NamedTuple):
    """Running means of usable seconds, and what was said last."""

    seconds: int = 0
    down: float = 0.5  # share of beats that point down
    qrs_mv: float = 0.0
    mains_mv: tuple[float, float] = (0.0, 0.0)  # near 50 and near 60 Hz
    said: Character | None = None


def step(
    state: CharacterState, amplitudes_mv: Sequence[float], qrs_mv: float, noise: FastNoise | None
) -> tuple[CharacterState, Character | None]:
    """Take a usable second; give what has changed, None when nothing has.

    `amplitudes_mv`: of the newest R peaks, signed; `qrs_mv`: the usual QRS, peak to peak; `noise`: what lies above the
    pass band, None where that is next to nothing.
    """
    if len(amplitudes_mv) < BEATS_MIN:
        return state, None
    seconds = min(state.seconds + 1, SETTLED_S)
    share = max(FOLLOW, 1.0 / seconds)
    down = state.down + share * (sum(one < 0.0 for one in amplitudes_mv) / len(amplitudes_mv) - state.down)
    size_mv = state.qrs_mv + share * (qrs_mv - state.qrs_mv)
    near = (0.0, 0.0) if noise is None else (noise.mains_mv, 0.0) if noise.mains_hz < 55.0 else (0.0, noise.mains_mv)
    mains_mv = (
        state.mains_mv[0] + share * (near[0] - state.mains_mv[0]),
        state.mains_mv[1] + share * (near[1] - state.mains_mv[1]),
    )
    state = CharacterState(seconds, down, size_mv, mains_mv, state.said)
    if seconds < SETTLED_S:
        return state, None
    now, before = _now(state), state.said
    if before is not None and _words(now) == _words(before):
        return state, None
    return state._replace(said=now), now


def _words(one: Character) -> tuple[str, str, int | None]:
    return one.direction, one.size, one.mains_hz


def _now(state: CharacterState) -> Character:
    said = state.said
    direction = DOWN if state.down >= CLEAR else UP if state.down <= 1.0 - CLEAR else said.direction if said else MIXED
    hum_hz, hum_mv = max(((50, state.mains_mv[0]), (60, state.mains_mv[1])), key=lambda one: one[1])
    limit_mv = max(HUM_MV, HUM_SHARE * state.qrs_mv)
    still = said is not None and said.mains_hz == hum_hz and hum_mv >= 0.5 * limit_mv
    mains_hz = hum_hz if hum_mv >= limit_mv or still else None
    size = _size(state.qrs_mv, said.size if said else None)
    return Character(direction, size, state.qrs_mv, mains_hz, hum_mv if mains_hz is not None else 0.0)


def _size(qrs_mv: float, before: str | None) -> str:
    """Small, usual or large; near a limit the word before stands."""
    small_mv = SMALL_MV * (1.0 + BESIDE if before == SMALL else 1.0 - BESIDE if before is not None else 1.0)
    large_mv = LARGE_MV * (1.0 - BESIDE if before == LARGE else 1.0 + BESIDE if before is not None else 1.0)
    return SMALL if qrs_mv < small_mv else LARGE if qrs_mv > large_mv else USUAL
