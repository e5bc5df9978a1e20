"""Which rows are packed together: goes through the log once, in bounded steps, and gathers the rows of each series.

Rows never change once they are on disk, so any of them may be packed at any time; nothing here needs a
clock but to give up waiting for a series that has ended. Pure: rows' clear columns in, positions out.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field

from bedside.records.schema import FORM_EVENTS, FORM_WAVE, SPAN_US_MAX

PACK_US = 300_000_000  # of one series; longer ones save little more
PACK_ENTRIES_MAX = 512
PACK_BYTES_MAX = 128 * 1024
PACK_ENTRIES_MIN = 8  # fewer stay as they are
PATIENCE_US = 900_000_000  # a series that goes on fills a pack sooner
SCAN_ROWS = 1024  # as in `SCAN`
SCAN = (
    "SELECT position, form, series, seq, start_us, span_us, schema, data_key, length(sealed) FROM entry"
    " WHERE position >= ? ORDER BY position LIMIT 1024"
)


@dataclass(slots=True)
class _Gathering:
    """Rows of one series and form, as far as they fit together."""

    since_us: int  # of the box's clock
    start_us: int
    kind: tuple[int, int]  # schema and data key
    last_seq: int
    last_start_us: int
    n_bytes: int
    positions: list[int] = field(default_factory=list)


class Compaction:
    """The plan: `feed` it rows in the order of the log, take `ready` groups of positions."""

    def __init__(self) -> None:
        self.cursor = 0  # rows before it have been seen
        self.ready: deque[list[int]] = deque()
        self._gathering: dict[tuple[int, int], _Gathering] = {}

    def feed(self, rows: Iterable[tuple[int, ...]], now_us: int) -> None:
        """Rows as `SCAN` gives them."""
        for row in rows:
            self.cursor = row[0] + 1
            if row[1] in (FORM_WAVE, FORM_EVENTS) and row[5] <= SPAN_US_MAX:
                self._take(row, now_us)

    def give_up_waiting(self, now_us: int) -> None:
        """Close what has waited for longer than a series that goes on would take."""
        for key, one in list(self._gathering.items()):
            if abs(now_us - one.since_us) > PATIENCE_US:
                self._close(key)

    def _take(self, row: tuple[int, ...], now_us: int) -> None:
        position, form, series, seq, start_us, span_us, schema, data_key, size = row
        key = (series, form)
        one = self._gathering.get(key)
        if one is not None and not (
            seq == one.last_seq + 1
            and (schema, data_key) == one.kind
            and one.last_start_us <= start_us
            and start_us + span_us - one.start_us <= PACK_US
            and one.n_bytes + size <= PACK_BYTES_MAX
            and len(one.positions) < PACK_ENTRIES_MAX
        ):
            self._close(key)
            one = None
        if one is None:
            one = self._gathering[key] = _Gathering(now_us, start_us, (schema, data_key), seq, start_us, 0)
        one.positions.append(position)
        one.last_seq, one.last_start_us = seq, start_us
        one.n_bytes += size

    def _close(self, key: tuple[int, int]) -> None:
        positions = self._gathering.pop(key).positions
        if len(positions) >= PACK_ENTRIES_MIN:
            self.ready.append(positions)
