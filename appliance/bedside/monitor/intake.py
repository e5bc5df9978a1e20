"""One stream's blocks put in order: what to analyse next, what will never come, what came twice.

States: nothing seen yet; or `expected`, the index that comes next. A block at `expected` is analysed. One beyond it
leaves a hole: a short one is analysed as missing samples, a long one begins the analysis anew. One before it was seen
already and is dropped; but if its time is later than all that was seen, the wearable counts from the beginning again.
Pure.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

import numpy as np

from bedside.core.samples import Block, Floats, Gap
from bedside.core.time import US_PER_S

HOLE_S_MAX = 10.0
"""A longer hole begins the analysis anew: templates and averages are of another time."""
ANEW_US = US_PER_S
"""A block of an old index that is dated more than a second later than that index was: the wearable counts anew."""


@dataclass(frozen=True, slots=True, eq=False)
class Samples:
    """Analyse these: `values` in the stream's unit, NaN where missing, from `first_index`."""

    first_index: int
    values: Floats


@dataclass(frozen=True, slots=True)
class Hole:
    """`n_samples` from `first_index` will not come."""

    first_index: int
    n_samples: int
    cause: str


@dataclass(frozen=True, slots=True)
class Restart:
    """Begin the analysis anew at `first_index`; what was open ends at `ended_index` of the old count."""

    first_index: int
    ended_index: int
    cause: str


@dataclass(frozen=True, slots=True)
class Dropped:
    """`n_samples` came that had been seen, or declared lost, before."""

    first_index: int
    n_samples: int


Action: TypeAlias = Samples | Hole | Restart | Dropped


class Intake:
    """Orders one stream of `rate_hz`."""

    def __init__(self, rate_hz: float) -> None:
        self.expected: int | None = None
        self.end_us: int | None = None
        self._hole_max = round(HOLE_S_MAX * rate_hz)

    def block(self, block: Block) -> list[Action]:
        """What the block means."""
        if block.counts.size == 0:
            return []
        actions: list[Action] = []
        first, values = block.first_index, block.values()
        if self.expected is not None and first < self.expected:
            if self._counts_anew(block):
                actions.append(Restart(first, self.expected, "index_restarted"))
                self.expected = first
            else:
                twice = min(self.expected - first, values.size)
                actions.append(Dropped(first, twice))
                first, values = first + twice, values[twice:]
        if values.size == 0:
            return actions
        if self.expected is not None and first > self.expected:
            actions.append(Hole(self.expected, first - self.expected, "packets_lost"))
            actions += self._skip_to(first)
        actions.append(Samples(first, values))
        self.expected = first + values.size
        self.end_us = block.end_us if self.end_us is None else max(self.end_us, block.end_us)
        return actions

    def gap(self, gap: Gap) -> list[Action]:
        """What a declared gap means. One of samples that were seen means nothing."""
        end = gap.first_index + gap.n_samples
        if self.expected is None or gap.n_samples <= 0:
            return []
        actions: list[Action] = []
        if gap.cause in ("clock_reset", "restart") and gap.first_index < self.expected:
            actions.append(Restart(end, self.expected, gap.cause))
            self.expected = end
            return actions
        if end <= self.expected:
            return []
        actions.append(Hole(self.expected, end - self.expected, gap.cause))
        return actions + self._skip_to(end)

    def _counts_anew(self, block: Block) -> bool:
        """Is a block of an index that was seen already of a later time than that index had?"""
        if self.expected is None or self.end_us is None:
            return False
        then_us = self.end_us - (self.expected - block.first_index) * US_PER_S / block.rate_hz
        return block.start_us - then_us > ANEW_US and block.start_us >= self.end_us - ANEW_US // 2

    def _skip_to(self, index: int) -> list[Action]:
        before = self.expected if self.expected is not None else index
        self.expected = index
        if index - before > self._hole_max:
            return [Restart(index, before, "long_gap")]
        return [Samples(before, np.full(index - before, np.nan))]
