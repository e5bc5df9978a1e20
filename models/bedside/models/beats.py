"""Beats in, classes out: one lead's R peaks and clean wave become N, S, V or an explicit "cannot judge".

Fed by a patient's monitor with what `bedside.signal.lead` gives; pure but for the model that it is given,
which reads arrays only. A beat is judged once 0.44 s of signal after its R peak are settled, so at most
0.44 s plus the beat finder's delay (0.6 s) after it; it does not wait for the next beat. The result does
not depend on how the stream was cut into blocks.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

import numpy as np

from bedside.core.errors import SetupError
from bedside.models.features import NAMES, Int8s, Memory, quantised
from bedside.models.inference import Calibration, Model
from bedside.models.opinion import Opinions
from bedside.models.windows import BEFORE, RR_MAX, SETTLED, SLACK, CleanBuffer, Floats
from bedside.models.windows import FS_HZ as CLEAN_HZ
from bedside.signal.lead import RPeak

log = logging.getLogger(__name__)

HEADS: Final = 2  # logits: V against all others; S against N
FLAT_MV: Final = 0.02
SATURATED_MV: Final = 25.0


@dataclass(frozen=True, slots=True)
class ClassifiedBeat:
    """A beat and its class. `symbol` Q with `judged` False: nobody could judge it, and `reason` says why.

    `probabilities`: of N, S, V, in this order. `probability`: of `symbol`. `rr_s`: since the beat before.
    `reason`: None or one of model_missing, model_failed, missing_samples, flat, saturated, late.
    """

    peak: RPeak
    rr_s: float | None
    symbol: str
    judged: bool
    probability: float | None
    probabilities: tuple[float, ...] | None
    reason: str | None = None


@dataclass(frozen=True, slots=True)
class DescribedBeat:
    """A beat before a model saw it: its int8 row (shape (len(NAMES),)) and variant, or why there is none."""

    peak: RPeak
    rr_s: float | None
    row: Int8s | None
    reason: str | None
    variant: int = -1


@dataclass(frozen=True, slots=True, eq=False)
class BeatState:
    """One lead's memory between blocks. Never changed: `step` gives a new one."""

    buffer: CleanBuffer
    waiting: tuple[RPeak, ...]
    last: int | None  # clean index of the newest described beat
    memory: Memory
    opinions: Opinions = field(default_factory=Opinions)  # of the network, on the variants in `memory`


class BeatDescriber:
    """Turns beats into rows for a model; training uses it too, so that a model learns what it will see."""

    def initial(self) -> BeatState:
        """State before the first sample."""
        return BeatState(CleanBuffer.empty(), (), None, Memory())

    def step(
        self,
        state: BeatState,
        clean_mv: Floats,
        clean_first: int,
        peaks: Sequence[RPeak],
        settled_clean_index: int,
        retracted: Sequence[int] = (),
    ) -> tuple[BeatState, tuple[DescribedBeat, ...]]:
        """Take new clean samples, new peaks and withdrawn ones (source indices); give the beats that are ready.

        `settled_clean_index`: no new peak will appear before it. Raises `ValueError` when samples come twice.
        """
        buffer = state.buffer.extended(clean_mv, clean_first)
        waiting = (*state.waiting, *peaks) if peaks else state.waiting
        if retracted:
            waiting = _without(waiting, retracted)
        end = min(settled_clean_index, buffer.end) - SETTLED
        n_ready = sum([peak.clean_index <= end for peak in waiting]) if waiting else 0
        return _describe(BeatState(buffer, waiting, state.last, state.memory, state.opinions), n_ready)

    def finish(self, state: BeatState) -> tuple[BeatState, tuple[DescribedBeat, ...]]:
        """The stream has ended: give the beats that still wait, those with half a window as not to be judged."""
        return _describe(state, len(state.waiting))


def _without(peaks: tuple[RPeak, ...], retracted: Sequence[int]) -> tuple[RPeak, ...]:
    """Peaks less the withdrawn ones; one withdrawal takes one peak, the oldest at that index."""
    kept = list(peaks)
    for index in retracted:
        at = next((i for i, peak in enumerate(kept) if peak.index == index), None)
        if at is not None:
            del kept[at]
    return tuple(kept)


def _describe(state: BeatState, n_ready: int) -> tuple[BeatState, tuple[DescribedBeat, ...]]:
    buffer, last, memory = state.buffer, state.last, state.memory
    if n_ready:
        memory = memory.copy()
    beats = []
    for peak in state.waiting[:n_ready]:
        if last is not None and peak.clean_index <= last:
            beats.append(DescribedBeat(peak, None, None, "late"))
            continue
        rr_s = _interval_s(buffer, last, peak.clean_index)
        window = buffer.around(peak.clean_index)
        reason = _unfit(window)
        if reason is None:
            row = quantised(memory.take(window, rr_s))
            beats.append(DescribedBeat(peak, rr_s, row, None, memory.variant))
        else:
            memory.skip(rr_s)
            beats.append(DescribedBeat(peak, rr_s, None, reason))
        last = peak.clean_index
    # Needed again: windows of beats to come (a peak is reported with delay) and the way back to the last beat.
    oldest = state.waiting[n_ready].clean_index if len(state.waiting) > n_ready else buffer.end - 2 * CLEAN_HZ
    keep = min(oldest - BEFORE - SLACK, max(last if last is not None else 0, buffer.end - RR_MAX - 2 * CLEAN_HZ))
    waiting = state.waiting[n_ready:]
    return BeatState(buffer.from_index(keep), waiting, last, memory, state.opinions), tuple(beats)


def _interval_s(buffer: CleanBuffer, last: int | None, peak: int) -> float | None:
    """Seconds since the last beat, or None: no last beat, too long ago, or the lead was not seen in between."""
    if last is None or not 0 < peak - last <= RR_MAX or last < buffer.first:
        return None
    between = buffer.values[last - buffer.first : peak - buffer.first]
    return None if between.size and math.isnan(np.maximum.reduce(between)) else (peak - last) / CLEAN_HZ


def _unfit(window_mv: Floats) -> str | None:
    top_mv = float(np.maximum.reduce(window_mv))  # NaN where there is one
    if math.isnan(top_mv):
        return "missing_samples"
    size_mv = top_mv - float(np.minimum.reduce(window_mv))
    return "flat" if size_mv < FLAT_MV else "saturated" if size_mv > SATURATED_MV else None


class BeatClassifier:
    """Classifies beats of any number of patients, each with a state of its own.

    Without a model every beat is Q, not judged. A model that fails at run time does the same to the beats
    of that call (`reason` model_failed): the monitor goes on by its rules.
    """

    def __init__(self, model: Model | None) -> None:
        """Raises `SetupError` when the model does not take rows of `features.NAMES` or give two logits."""
        if model is not None and (model.n_inputs, model.n_outputs) != (len(NAMES), HEADS):
            raise SetupError(
                f"beat model takes {model.n_inputs} numbers and gives {model.n_outputs}: "
                f"expected {len(NAMES)} and {HEADS}",
                hint="use the beats.tflite that this version of Bedside ships, or train one with `bedside train beats`",
            )
        self.model = model
        self._describer = BeatDescriber()

    @property
    def digest(self) -> str | None:
        """SHA-256 of the model's bytes, hex; None without a model."""
        return self.model.digest if self.model is not None else None

    def initial(self) -> BeatState:
        """State of a lead before its first sample."""
        return self._describer.initial()

    def step(
        self,
        state: BeatState,
        clean_mv: Floats,
        clean_first: int,
        peaks: Sequence[RPeak],
        settled_clean_index: int,
        retracted: Sequence[int] = (),
    ) -> tuple[BeatState, tuple[ClassifiedBeat, ...]]:
        """Take what a block brought; give each beat that became ready, in order, once.

        `clean_mv` float64 (m,), NaN where not seen, from 250 Hz index `clean_first` on; `peaks` in order;
        `settled_clean_index`: no new peak before it; `retracted`: source indices of peaks taken back.
        A peak that comes after a later one was judged is Q with `reason` late. Raises `ValueError` when samples
        come twice.
        """
        state, described = self._describer.step(state, clean_mv, clean_first, peaks, settled_clean_index, retracted)
        return self._judged(state, described)

    def finish(self, state: BeatState) -> tuple[BeatState, tuple[ClassifiedBeat, ...]]:
        """The stream has ended: classify what still waits."""
        state, described = self._describer.finish(state)
        return self._judged(state, described)

    def _judged(
        self, state: BeatState, described: Sequence[DescribedBeat]
    ) -> tuple[BeatState, tuple[ClassifiedBeat, ...]]:
        if not described:
            return state, ()
        if self.model is None:
            return state, tuple(_unjudged(beat, "model_missing") for beat in described)
        rows = [beat.row for beat in described if beat.row is not None]
        try:
            logits = iter(self.model.logits(np.stack(rows)).tolist() if rows else ())
        except (RuntimeError, ValueError) as error:
            log.error("model_failed", extra={"model": self.model.digest, "error": type(error).__name__})
            return state, tuple(_unjudged(beat, "model_failed") for beat in described)
        alive = set(state.memory.variants.number) | {beat.variant for beat in described}
        opinions, beats = state.opinions.copy(alive), []
        for beat in described:
            if beat.row is None:
                beats.append(_unjudged(beat, beat.reason))
                continue
            v_logit, s_logit = next(logits)
            v_logit = opinions.heard(beat.variant, v_logit)
            beats.append(_classified(beat, v_logit, s_logit, self.model.calibration))
        return BeatState(state.buffer, state.waiting, state.last, state.memory, opinions), tuple(beats)


def _unjudged(beat: DescribedBeat, reason: str | None) -> ClassifiedBeat:
    return ClassifiedBeat(beat.peak, beat.rr_s, "Q", False, None, None, reason)


def _classified(beat: DescribedBeat, v_logit: float, s_logit: float, calibration: Calibration) -> ClassifiedBeat:
    """The decision lies at logit 0 of each head: training moves its thresholds into the model's last bias.

    The probabilities come after it, by the manifest's calibration: how often beats with such logits were V, and S
    among the others, in patients that the judging model had not seen.
    """
    v, s = calibration.probability(0, v_logit), calibration.probability(1, s_logit)
    probabilities = ((1 - v) * (1 - s), (1 - v) * s, v)
    symbol = "V" if v_logit > 0 else "S" if s_logit > 0 else "N"
    return ClassifiedBeat(beat.peak, beat.rr_s, symbol, True, probabilities["NSV".index(symbol)], probabilities)
