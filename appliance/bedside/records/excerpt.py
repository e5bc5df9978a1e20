"""What an export gives out: the samples of a patient and a time range on an even grid, and what was found in them.

A gap stays a gap: its places on the grid are `MISSING`. Where the clock was set back, or a stream changed
its rate or scale, a new segment begins. Pure: what was read in, arrays out.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np

from bedside.core.events import Event
from bedside.core.samples import MISSING, Block, Counts, StreamInfo

JITTER_S = 0.25  # blocks that come this much early or late follow one another all the same


@dataclass(slots=True)
class Segment:
    """A stretch of one stream. Sample k of `counts` (int32, `MISSING` allowed) is at start_us + k / rate_hz."""

    stream: StreamInfo
    start_us: int
    rate_hz: float
    counts: Counts
    places: list[tuple[int, int, int]] = field(default_factory=list)  # a block's first index, place, length

    @property
    def end_us(self) -> int:
        return self.start_us + round(self.counts.size * 1e6 / self.rate_hz)

    def place_of(self, index: int) -> int | None:
        """Where a sample of the stream's own index stands; None: not in this segment."""
        at = bisect_right(self.places, index, key=lambda one: one[0]) - 1
        if at < 0:
            return None
        first, place, n = self.places[at]
        return place + index - first if index < first + n else None

    def gaps(self) -> list[tuple[int, int]]:
        """Stretches without samples: place and length."""
        edges = np.flatnonzero(np.diff(np.concatenate(([0], (self.counts == MISSING).astype(np.int8), [0]))))
        return [(int(begin), int(end - begin)) for begin, end in zip(edges[::2], edges[1::2], strict=True)]


def segments_of(blocks: Sequence[Block], start_us: int, end_us: int) -> list[Segment]:
    """The samples of one stream within `[start_us, end_us)`. `blocks` in the order of the stream's index."""
    runs: list[list[tuple[int, Block]]] = []
    ordered = sorted(blocks, key=lambda one: one.first_index)
    for block in (cut for one in ordered for cut in _cut(one, start_us, end_us)):
        place = _place(runs[-1], block) if runs else None
        if place is None:
            runs.append([(0, block)])
        else:
            runs[-1].append((place, block))
    return [_segment(run) for run in runs]


def _place(run: list[tuple[int, Block]], block: Block) -> int | None:
    """Where the block stands in the run; None: it begins another."""
    last_place, last = run[-1]
    if last.stream != block.stream or last.rate_hz != block.rate_hz:
        return None
    expected = last_place + last.counts.size
    by_time = round((block.start_us - run[0][1].start_us) * block.rate_hz / 1e6)
    jitter = max(1, round(JITTER_S * block.rate_hz))
    if abs(by_time - expected) <= jitter and block.first_index == last.first_index + last.counts.size:
        return expected
    return by_time if by_time >= expected else None


def _segment(run: list[tuple[int, Block]]) -> Segment:
    last_place, last = run[-1]
    counts: Counts = np.full(last_place + last.counts.size, MISSING, np.int32)
    for place, block in run:
        counts[place : place + block.counts.size] = block.counts
    places = [(block.first_index, place, block.counts.size) for place, block in run]
    first = run[0][1]
    return Segment(first.stream, first.start_us, first.rate_hz, counts, places)


def _cut(block: Block, start_us: int, end_us: int) -> Iterable[Block]:
    """Those of its samples that lie in the range."""
    first = max(0, -((block.start_us - start_us) * block.rate_hz // 1e6))
    last = min(block.counts.size, -((block.start_us - end_us) * block.rate_hz // 1e6))
    first, last = int(first), int(last)
    if first < last:
        yield Block(
            stream=block.stream,
            first_index=block.first_index + first,
            start_us=block.start_us + round(first * 1e6 / block.rate_hz),
            rate_hz=block.rate_hz,
            counts=block.counts[first:last],
            uncertainty_us=block.uncertainty_us,
        )


def newest_words(events: Sequence[Event]) -> list[Event]:
    """Without those that a later event supersedes (a rhythm's onset, when its end is known)."""
    replaced = {event.supersedes for event in events if event.supersedes is not None}
    return [event for event in events if event.id not in replaced]


def names_of(segments: Sequence[Segment]) -> list[str]:
    """A file name for each, without a dot: kind, label, and a number where that is taken."""
    names: list[str] = []
    for one in segments:
        plain = "".join(letter if letter.isascii() and letter.isalnum() else "_" for letter in one.stream.label)
        name = stem = f"{one.stream.kind}-{plain or 'x'}"
        number = 1
        while name in names:
            number += 1
            name = f"{stem}-{number}"
        names.append(name)
    return names
