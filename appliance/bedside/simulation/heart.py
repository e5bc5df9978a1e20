"""When a simulated heart beats, and of what kind each beat is.

Beats are made chapter by chapter (see `Timetable.chapter_s`), each from its own seed. A chapter
begins with a beat exactly at its start and the intervals before its end are stretched by a per cent
or so to meet the next chapter's first beat: so any chapter can be made without the ones before it.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import IntEnum

import numpy as np
import numpy.typing as npt

from bedside.core.samples import Floats
from bedside.simulation.happenings import RHYTHMS, SILENT, Timetable, What

CHAPTERS_KEPT = 6


class Shape(IntEnum):
    """The form of one beat."""

    NORMAL = 0  # P, narrow QRS, T
    NO_P = 1  # narrow QRS without P: atrial fibrillation, SVT
    VENTRICULAR = 2  # wide and bizarre, no P


@dataclass(frozen=True, eq=False)
class Beats:
    """Beats in order: R peak `time_s`, float64 (n,); `shape`, int64 (n,); the interval before each, `rr_s`, (n,)."""

    time_s: Floats
    shape: npt.NDArray[np.int64]
    rr_s: Floats


@dataclass(frozen=True)
class _Passage:
    """One rhythm from `start_s` to `end_s`, clipped to its chapter."""

    start_s: float
    end_s: float
    what: What
    rate_bpm: float


@dataclass(frozen=True)
class Heart:
    """A heart at `rate_bpm` with `pvc_per_min` ventricular ectopics, and what its timetable brings."""

    seed: int
    timetable: Timetable
    rate_bpm: float
    pvc_per_min: float = 0.0
    _chapters: dict[int, Beats] = field(default_factory=dict, repr=False, compare=False)

    def beats(self, start_s: float, end_s: float) -> Beats:
        """The beats in `[start_s, end_s)`; none before time 0."""
        length_s = self.timetable.chapter_s
        first, last = max(int(start_s // length_s), 0), int(end_s // length_s)
        parts = [self._chapter(number) for number in range(first, last + 1)]
        if not parts:
            return Beats(np.empty(0), np.empty(0, np.int64), np.empty(0))
        time_s = np.concatenate([part.time_s for part in parts])
        low, high = np.searchsorted(time_s, (start_s, end_s))
        shape = np.concatenate([part.shape for part in parts])
        rr_s = np.concatenate([part.rr_s for part in parts])
        return Beats(time_s[low:high], shape[low:high], rr_s[low:high])

    def _chapter(self, number: int) -> Beats:
        if number not in self._chapters:
            while len(self._chapters) >= CHAPTERS_KEPT:
                self._chapters.pop(next(iter(self._chapters)))
            self._chapters[number] = self._make(number)
        return self._chapters[number]

    def _make(self, number: int) -> Beats:
        start_s = number * self.timetable.chapter_s
        end_s = start_s + self.timetable.chapter_s
        rng = np.random.default_rng([self.seed, number, 0xBEA7])
        times: list[float] = []
        shapes: list[int] = []
        passages = self._passages(start_s, end_s)
        for index, passage in enumerate(passages):
            if passage.what in SILENT:
                continue
            after_s = times[-1] if times else None
            made = _play(passage, after_s, self.pvc_per_min, rng)
            if index == len(passages) - 1 and made:
                made = _meet(made, passage, after_s)
            times += [time_s for time_s, _ in made]
            shapes += [shape for _, shape in made]
        time_s = np.array(times)
        before_s = 60.0 / self.rate_bpm
        rr_s = np.diff(time_s, prepend=time_s[0] - before_s) if time_s.size else time_s
        return Beats(time_s, np.array(shapes, dtype=np.int64), rr_s)

    def _passages(self, start_s: float, end_s: float) -> list[_Passage]:
        """The chapter's rhythms without holes: the timetable's, and the body's own between them."""
        passages: list[_Passage] = []
        at_s = start_s
        for one in self.timetable.between(start_s, end_s):
            if one.what not in RHYTHMS:
                continue
            if one.at_s > at_s:
                passages.append(_Passage(at_s, one.at_s, What.SINUS, self.rate_bpm))
            rate_bpm = one.rate_bpm if one.rate_bpm is not None else self.rate_bpm
            at_s = min(one.end_s, end_s)
            passages.append(_Passage(max(one.at_s, start_s), at_s, one.what, rate_bpm))
        if at_s < end_s:
            passages.append(_Passage(at_s, end_s, What.SINUS, self.rate_bpm))
        return passages


def _play(
    passage: _Passage, after_s: float | None, pvc_per_min: float, rng: np.random.Generator
) -> list[tuple[float, int]]:
    """Beats of one rhythm as (time, shape). `after_s`: the last beat before it; None begins with a beat."""
    rr_s = 60.0 / passage.rate_bpm
    if after_s is None:
        first_s = passage.start_s
    elif passage.what is What.VT:
        first_s = max(passage.start_s, after_s + 0.42)
    else:
        first_s = max(passage.start_s + 0.02, after_s + rr_s)
    made: list[tuple[float, int]] = []
    time_s = first_s
    ectopic = passage.what is What.SINUS and pvc_per_min > 0
    phases = rng.uniform(0, 2 * np.pi, 2)
    while time_s < passage.end_s:
        made.append((time_s, _SHAPES[passage.what]))
        interval_s = _interval_s(passage.what, rr_s, time_s, phases, rng)
        if ectopic and rng.random() < pvc_per_min / passage.rate_bpm and time_s + 2 * interval_s < passage.end_s:
            made.append((time_s + 0.6 * interval_s, int(Shape.VENTRICULAR)))
            interval_s *= 2  # the compensatory pause: the sinus node does not notice
        time_s += interval_s
    return made


_SHAPES = {
    What.SINUS: int(Shape.NORMAL),
    What.SVT: int(Shape.NO_P),
    What.AF: int(Shape.NO_P),
    What.VT: int(Shape.VENTRICULAR),
}


def _interval_s(what: What, rr_s: float, time_s: float, phases: Floats, rng: np.random.Generator) -> float:
    if what is What.AF:  # irregularly irregular: no interval tells of the next
        return float(np.clip(rr_s * rng.lognormal(-0.03, 0.24), 0.32, 2.2))
    if what in (What.VT, What.SVT):
        return float(rr_s * (1 + 0.01 * rng.standard_normal()))
    breath = 0.03 * np.sin(2 * np.pi * time_s / 4.3 + phases[0])  # respiratory sinus arrhythmia, 14/min
    mayer = 0.02 * np.sin(2 * np.pi * 0.1 * time_s + phases[1])  # blood-pressure waves, 0.1 Hz
    return float(rr_s * (1 + breath + mayer + 0.008 * rng.standard_normal()))


def _meet(made: list[tuple[float, int]], passage: _Passage, after_s: float | None) -> list[tuple[float, int]]:
    """Stretch the last passage of a chapter so that its next beat would fall exactly on the chapter's end."""
    anchor_s = after_s if after_s is not None else made[0][0]
    last_s = made[-1][0]
    next_s = last_s + 60.0 / passage.rate_bpm
    reach_s = passage.end_s - anchor_s
    if next_s - passage.end_s > 30.0 / passage.rate_bpm and len(made) > 1:  # nearer: the last beat itself
        made, next_s = made[:-1], last_s
    scale = reach_s / (next_s - anchor_s)
    return [(anchor_s + (time_s - anchor_s) * scale, shape) for time_s, shape in made]
