"""Half minutes of one lead in, opinions out: sinus rhythm, fibrillation or flutter, another rhythm, noise, or silence.

Fed by a patient's monitor with the clean lead, the classified beats and the quality of each second; pure but for the
model that it is given. Every 10 s (every minute while nothing
asks to look closely) the last 30 s are judged, 1.2 s after their end. A window that is hardly seen or
has fewer than four beats gets no opinion (`abstains`), nor does any without a model: the rules decide alone then.
The result does not depend on how the stream was cut into blocks.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from bedside.core.errors import SetupError
from bedside.models.inference import Model
from bedside.models.rhythm_features import NAMES, QRS_SLOPES, WINDOW, RhythmWindow, describe
from bedside.models.rhythm_scale import quantised
from bedside.models.windows import FS_HZ, CleanBuffer, Floats

log = logging.getLogger(__name__)

LABELS: Final = ("N", "A", "O", "~")
"""Sinus rhythm, atrial fibrillation or flutter, another rhythm, noise (PhysioNet Challenge 2017)."""
HOP: Final = 10 * FS_HZ
_WIDTH_AT: Final = NAMES.index("qrs_width")
_SIZE_AT: Final = NAMES.index("qrs_size")
CALM_HOP: Final = 6 * HOP
WAIT: Final = 300
"""Clean samples after a window's end before it is judged: by then its last beats have their class (1.2 s)."""


@dataclass(frozen=True, slots=True)
class RhythmOpinion:
    """What a model says of the clean samples `[since, at)`. `label` one of `LABELS`, or None: it cannot judge.

    `probabilities`: of `LABELS`; `reason`: None, or why there is none: too_little_seen, model_missing, model_failed.
    """

    since: int
    at: int
    label: str | None
    probabilities: tuple[float, ...] | None
    reason: str | None = None
    qrs_width_ms: float | None = None  # of the average beat: where its slope is more than 15 % of the steepest
    qrs_mv: float | None = None  # of the average beat, peak to peak


@dataclass(frozen=True, slots=True)
class _Second:
    first: int
    end: int
    usable: bool


@dataclass(frozen=True, slots=True, eq=False)
class RhythmJudgeState:
    """One lead's memory: half a minute. Never changed: `step` gives a new one."""

    buffer: CleanBuffer
    beats: tuple[tuple[int, str], ...]
    seconds: tuple[_Second, ...]
    judged: int  # end of the newest window that was judged


class RhythmJudge:
    """Judges half minutes of any number of leads, each with a state of its own."""

    def __init__(self, model: Model | None) -> None:
        """Raises `SetupError` when the model does not take rows of `rhythm_features.NAMES` or give four logits."""
        if model is not None and (model.n_inputs, model.n_outputs) != (len(NAMES), len(LABELS)):
            raise SetupError(
                f"rhythm model takes {model.n_inputs} numbers and gives {model.n_outputs}: "
                f"expected {len(NAMES)} and {len(LABELS)}",
                hint="use the rhythm.tflite that this version of Bedside ships, or train one with "
                "`bedside train rhythm`",
            )
        self.model = model

    @property
    def digest(self) -> str | None:
        """SHA-256 of the model's bytes, hex; None without a model."""
        return self.model.digest if self.model is not None else None

    def initial(self) -> RhythmJudgeState:
        """State of a lead before its first sample."""
        return RhythmJudgeState(CleanBuffer.empty(), (), (), 0)

    def step(
        self,
        state: RhythmJudgeState,
        clean_mv: Floats,
        clean_first: int,
        beats: Sequence[tuple[int, str]],
        retracted: Sequence[int],
        seconds: Sequence[tuple[int, int, bool]],
        closely: bool = True,
    ) -> tuple[RhythmJudgeState, tuple[RhythmOpinion, ...]]:
        """Take new clean samples (mV, 250 Hz from `clean_first`), classified beats (clean index, class), beats taken
        back (clean index), judged seconds (first, n, usable); give the opinions that became due: every 10 s, or
        every minute while nobody asks to look `closely`.

        Raises `ValueError` when samples come twice.
        """
        buffer, known, judged = state.buffer.extended(clean_mv, clean_first), state.beats, state.seconds
        if beats or retracted:
            taken = set(retracted)
            known = tuple([one for one in (*known, *beats) if one[0] not in taken])
        if seconds:
            judged = (*judged, *(_Second(first, first + n, usable) for first, n, usable in seconds))
        begun = max(state.judged, buffer.first, WINDOW - HOP)
        due = range((begun // HOP + 1) * HOP, buffer.end - WAIT + 1, HOP)
        if not due:
            return RhythmJudgeState(buffer, known, judged, state.judged), ()
        whole = RhythmJudgeState(buffer, known, judged, state.judged)
        opinions = tuple(self._judge(window_of(whole, at), at) for at in due if closely or at % CALM_HOP == 0)
        keep = due[-1] + HOP - WINDOW
        return (
            RhythmJudgeState(
                buffer.from_index(keep),
                tuple(one for one in known if one[0] >= keep),
                tuple(one for one in judged if one.end > keep),
                due[-1],
            ),
            opinions,
        )

    def finish(self, state: RhythmJudgeState) -> RhythmOpinion | None:
        """The stream has ended: what its last half minute (or all of it, if shorter) says; None for an empty one."""
        at = min(state.buffer.end, max((one.end for one in state.seconds), default=0) + FS_HZ)
        return self._judge(window_of(state, at), at) if at > state.buffer.first else None

    def judge(self, window: RhythmWindow) -> tuple[float, ...] | None:
        """Probabilities of `LABELS` for one window; None where it cannot be judged. Raises `RuntimeError`."""
        numbers = describe(window)
        return None if numbers is None else self._weighed(numbers)

    def _weighed(self, numbers: Floats) -> tuple[float, ...] | None:
        if self.model is None:
            return None
        return probabilities(self.model.logits(quantised(numbers)[np.newaxis])[0])

    def _judge(self, window: RhythmWindow, at: int) -> RhythmOpinion:
        since = at - window.clean_mv.size
        if self.model is None:
            return RhythmOpinion(since, at, None, None, "model_missing")
        try:
            numbers = describe(window)
            shares = self._weighed(numbers) if numbers is not None else None
        except (RuntimeError, ValueError) as error:
            log.error("model_failed", extra={"model": self.model.digest, "error": type(error).__name__})
            return RhythmOpinion(since, at, None, None, "model_failed")
        if shares is None or numbers is None:
            return RhythmOpinion(since, at, None, None, "too_little_seen")
        width_ms = float(numbers[_WIDTH_AT]) * QRS_SLOPES * 1000.0 / FS_HZ
        label = LABELS[int(np.argmax(shares))]
        return RhythmOpinion(since, at, label, shares, None, width_ms, math.exp(float(numbers[_SIZE_AT])))


def window_of(state: RhythmJudgeState, at: int) -> RhythmWindow:
    """The window that ends at clean index `at`, with the beats in it and how much of it is usable."""
    since = max(at - WINDOW, 0)
    first, values = state.buffer.first, state.buffer.values
    clean_mv = np.full(at - since, np.nan)
    start = max(since, first)
    inside = values[start - first : at - first]
    clean_mv[start - since : start - since + inside.size] = inside
    beats = [one for one in state.beats if since <= one[0] < at]
    spans = [
        (min(one.end, at) - max(one.first, since), one.usable)
        for one in state.seconds
        if one.end > since and one.first < at
    ]
    usable = sum(n for n, good in spans if good) / (at - since)
    places = np.array([place - since for place, _ in beats], dtype=np.int64)
    return RhythmWindow(clean_mv, places, [symbol for _, symbol in beats], usable)


def probabilities(logits: Floats) -> tuple[float, ...]:
    """Shares of `LABELS`, summing to 1."""
    share = np.exp(logits - logits.max())
    return tuple((share / share.sum()).tolist())
