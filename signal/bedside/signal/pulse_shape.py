"""Is this upstroke a pulse like those before it? The running form of a pulse wave's pulses.

Fed by `pleth.py` with the wave at the inner rate; pure arithmetic on some twenty samples a pulse.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import Enum
from typing import Self

import numpy as np

from bedside.signal.resample import Floats

BEFORE_S, AFTER_S = 0.06, 0.5  # the part of a pulse that is compared: foot, upstroke, peak and the fall after it
LIKE_MIN = 0.9  # correlation with the usual form (Orphanidou: 0.86; here a false pulse may silence a true alarm)
LEARN = 0.08  # weight of a new pulse in the usual form: a memory of some twelve pulses
HEIGHT_RANGE = (0.4, 2.2)  # of the usual height
HEIGHT_LEARN = 0.15
FIRST = 4  # so many pulses in a row that are like one another make a form
STEADY = 0.55  # heights of those: the lowest is at least so much of the highest
ANEW = 12  # so many strangers in a row that are like one another replace the usual form


class Form(Enum):
    """What a pulse is, by its form."""

    USUAL = "usual"
    LEARNING = "learning"  # no form is known yet
    STRANGE = "strange"


@dataclass
class FormState:
    """Memory: the usual form (zero mean, unit length) and height, and a run of strangers that may become it."""

    form: Floats  # empty: none is known
    height: float
    likeness: float  # of the newest pulse
    other: Floats
    others: tuple[float, ...]  # heights of the run of strangers


@dataclass(frozen=True, eq=False)
class Forms:
    """A frozen design; `judge` gives the next state."""

    before: int
    size: int

    @classmethod
    def design(cls, inner_hz: float) -> Self:
        before = max(1, round(BEFORE_S * inner_hz))
        return cls(before, before + max(4, round(AFTER_S * inner_hz)))

    def initial(self) -> FormState:
        return FormState(np.zeros(0), 0.0, 0.0, np.zeros(0), ())

    def judge(self, state: FormState, wave: Floats, foot: float, height: float) -> tuple[FormState, Form]:
        """A pulse of `height` whose foot lies at `foot` (a position in `wave`). The given state stays valid."""
        shape = self._shape(wave, foot)
        if shape is None:
            return replace(state, likeness=0.0), Form.STRANGE
        if state.form.size == 0:
            return self._learn(state, shape, height, FIRST)
        likeness = float(state.form @ shape)
        low, high = HEIGHT_RANGE
        if likeness >= LIKE_MIN and low * state.height <= height <= high * state.height:
            form = state.form + LEARN * (shape - state.form)
            form /= max(float(np.sqrt(form @ form)), 1e-12)
            usual = state.height + HEIGHT_LEARN * (height - state.height)
            return FormState(form, usual, likeness, state.other[:0], ()), Form.USUAL
        learnt, _ = self._learn(replace(state, likeness=likeness), shape, height, ANEW)
        return learnt, Form.STRANGE

    def _learn(self, state: FormState, shape: Floats, height: float, wanted: int) -> tuple[FormState, Form]:
        """Strangers that are like one another become the usual form after `wanted` of them."""
        alike = state.other.size and float(state.other @ shape) >= LIKE_MIN
        heights = (*state.others, height) if alike else (height,)
        if min(heights) < STEADY * max(heights):
            heights = (height,)
        other = shape
        if len(heights) > 1:
            other = state.other + (shape - state.other) / len(heights)
            other = other / max(float(np.sqrt(other @ other)), 1e-12)
        if len(heights) < wanted:
            return FormState(state.form, state.height, state.likeness, other, heights), Form.LEARNING
        usual = sorted(heights)[len(heights) // 2]
        return FormState(other, usual, 1.0, other[:0], ()), Form.USUAL

    def _shape(self, wave: Floats, foot: float) -> Floats | None:
        """The pulse around its foot, between samples by a straight line: zero mean, unit length."""
        first = foot - self.before
        whole = int(np.floor(first))
        if whole < 0 or whole + self.size + 1 > wave.size:
            return None
        part = wave[whole : whole + self.size + 1]
        rest = first - whole
        shape = part[:-1] * (1.0 - rest) + part[1:] * rest
        shape = shape - shape.mean()
        length = float(np.sqrt(shape @ shape))
        return shape / length if length > 0.0 else None
