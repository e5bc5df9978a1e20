"""What happens to a body and when: a timetable that may repeat, shifted a little each time.

Pure: no clock, no file; a timetable is a function of its seed.
"""

from __future__ import annotations

import itertools
import random
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from enum import StrEnum
from functools import lru_cache

CHAPTER_S = 600.0
"""Length of a chapter where the timetable does not repeat: bodies make their beats chapter by chapter."""


class What(StrEnum):
    """The kinds of happenings. The first group replaces the rhythm, the second befalls wearable or blood."""

    SINUS = "sinus"  # at another rate than the body's own
    SVT = "supraventricular_tachycardia"
    AF = "atrial_fibrillation"
    VT = "ventricular_tachycardia"
    VF = "ventricular_fibrillation"
    ASYSTOLE = "asystole"
    PAUSE = "pause"

    LEAD_OFF = "lead_off"
    DESATURATION = "desaturation"  # `level`: the lowest saturation in %
    NO_PULSE_FOUND = "no_pulse_found"  # the oximeter's finger is cold, or it fell off
    RADIO_OFF = "radio_off"
    RADIO_LOSS = "radio_loss"  # `level`: share of notifications lost, 0 to 1
    BATTERY = "battery"  # `level`: the charge in % while it lasts


RHYTHMS = frozenset({What.SINUS, What.SVT, What.AF, What.VT, What.VF, What.ASYSTOLE, What.PAUSE})
SILENT = frozenset({What.VF, What.ASYSTOLE, What.PAUSE})
"""Rhythms without a heart beat."""


@dataclass(frozen=True, slots=True)
class Happening:
    """Something that befalls a body from `at_s` for `for_s` seconds. `text` is its line of the timetable."""

    at_s: float
    for_s: float
    what: What
    rate_bpm: float | None = None  # of the rhythm that it brings
    level: float | None = None  # see `What`
    text: str = ""

    @property
    def end_s(self) -> float:
        return self.at_s + self.for_s

    def covers(self, at_s: float) -> bool:
        return self.at_s <= at_s < self.end_s


@dataclass(frozen=True)
class Timetable:
    """Happenings in order. With `repeat_s` they come again each `repeat_s`, up to `vary_s` later than the first time.

    Raises `ValueError` where rhythms overlap or a happening would not fit into its repetition.
    """

    happenings: tuple[Happening, ...] = ()
    repeat_s: float | None = None
    vary_s: float = 0.0
    seed: int = 0
    _memo: dict[int, tuple[Happening, ...]] = field(default_factory=dict, repr=False, compare=False)

    def __post_init__(self) -> None:
        if list(self.happenings) != sorted(self.happenings, key=lambda one: one.at_s):
            raise ValueError("timetable: happenings are not in order of time")
        rhythms = [one for one in self.happenings if one.what in RHYTHMS]
        for before, after in itertools.pairwise(rhythms):
            if after.at_s < before.end_s:
                raise ValueError(f"timetable: {after.what} at {after.at_s:g} s begins inside {before.what}")
        for one in self.happenings:
            if one.at_s < 0 or one.for_s <= 0:
                raise ValueError(f"timetable: {one.what} at {one.at_s:g} s for {one.for_s:g} s")
            if self.repeat_s is not None and one.end_s + self.vary_s > self.repeat_s:
                raise ValueError(f"timetable: {one.what} does not end within {self.repeat_s:g} s")

    @property
    def chapter_s(self) -> float:
        """The length of a chapter: one repetition, or a convenient length where nothing repeats."""
        return self.repeat_s if self.repeat_s is not None else CHAPTER_S

    def between(self, start_s: float, end_s: float) -> Iterator[Happening]:
        """Happenings that overlap `[start_s, end_s)`, in order, in the body's own time."""
        first, last = self._chapter(start_s), self._chapter(end_s)
        for chapter in range(max(first, 0), last + 1):
            for one in self._in(chapter):
                if one.at_s < end_s and one.end_s > start_s:
                    yield one

    def now(self, at_s: float, what: What) -> Happening | None:
        """The happening of this kind that covers `at_s`."""
        return next((one for one in self.between(at_s, at_s + 1e-9) if one.what is what and one.covers(at_s)), None)

    def _chapter(self, at_s: float) -> int:
        return int(at_s // self.repeat_s) if self.repeat_s is not None else 0

    def _in(self, chapter: int) -> tuple[Happening, ...]:
        if self.repeat_s is None or chapter == 0:
            return self.happenings
        if chapter not in self._memo:
            if len(self._memo) > 64:  # far more than anything asks for at a time
                self._memo.clear()
            shift_s = chapter * self.repeat_s + _variation(self.seed, chapter) * self.vary_s
            self._memo[chapter] = tuple(replace(one, at_s=one.at_s + shift_s) for one in self.happenings)
        return self._memo[chapter]


@lru_cache(maxsize=256)
def _variation(seed: int, chapter: int) -> float:
    return random.Random(f"{seed}/{chapter}").random()  # noqa: S311 (a simulation, not a secret)
