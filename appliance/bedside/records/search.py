"""Finding the entries of one series by time, in rows and in packs, and proving that none was taken out between them.

What is found is a list of runs: entries whose seqs follow one another. Between two runs there must be
as many entries as their seqs say, and none of them of the time that was asked for.
"""

from __future__ import annotations

import heapq
import itertools
import sqlite3
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from bedside.core.errors import StoreError
from bedside.records.entries import COLUMNS, INT64_END, Entry
from bedside.records.packs import PACK_BOUNDS, PACK_COLUMNS, Pack, Wanted
from bedside.records.schema import FORM_EVENTS, FORM_WAVE, SPAN_US_MAX
from bedside.records.state import Series

PACK_SPAN_US_MAX = 900_000_000  # a pack is found by its start; none encloses more
_RECENT = {  # our own words
    form: f"SELECT {COLUMNS} FROM entry INDEXED BY {index} WHERE form = {form} AND start_us >= :low AND start_us < :end"  # noqa: S608
    " AND start_us + span_us >= :start AND series = :series ORDER BY start_us DESC"
    for form, index in ((FORM_WAVE, "entry_waves"), (FORM_EVENTS, "entry_events"))
}
_LONG = (
    f"SELECT {COLUMNS} FROM entry INDEXED BY entry_long WHERE span_us > {SPAN_US_MAX} AND start_us < :low"  # noqa: S608
    " AND start_us + span_us >= :start AND series = :series AND form = :form"
)
_OF_TIME = "form = :form AND start_us + span_us >= :start AND start_us < :end"
_SOUGHT = f"{_OF_TIME} AND start_us > :floor"
_BETWEEN = (
    f"SELECT count(*), total({_SOUGHT}) FROM entry NOT INDEXED"  # noqa: S608
    " WHERE position > :after AND position < :before AND series = :series"
)
_BESIDE = (
    f"SELECT {_SOUGHT} FROM entry NOT INDEXED WHERE position BETWEEN :after AND :before AND series = :series"  # noqa: S608
    " ORDER BY position"
)
_PREDECESSOR, _SUCCESSOR = f"{_BESIDE} DESC LIMIT 1", f"{_BESIDE} LIMIT 1"
_NEIGHBOURHOOD = 4096  # entries; a neighbour farther off is not looked for
_PACKS = (
    f"SELECT {PACK_BOUNDS} FROM pack INDEXED BY pack_time WHERE series = :series AND {_OF_TIME}"  # noqa: S608
    " AND start_us >= :pack_low"
)
_PACK = f"SELECT {PACK_COLUMNS} FROM pack WHERE position = ?"  # noqa: S608
_PACK_RUN = "SELECT seq, count, position, last_position FROM pack"
_PACKS_BETWEEN = (
    f"SELECT total(count), total({_OF_TIME} AND start_us + span_us > :floor) FROM pack INDEXED BY pack_seq"  # noqa: S608
    " WHERE series = :series AND seq > :low_seq AND seq < :high_seq"
)
_PACK_BEFORE = f"{_PACK_RUN} INDEXED BY pack_seq WHERE series = :series AND seq < :seq ORDER BY seq DESC LIMIT 1"
_PACK_AFTER = f"{_PACK_RUN} INDEXED BY pack_seq WHERE series = :series AND seq > :seq ORDER BY seq LIMIT 1"
_PACK_EARLIER = (
    f"{_PACK_RUN} INDEXED BY pack_time WHERE series = :series AND form = :form AND start_us < :start"
    " ORDER BY start_us DESC LIMIT 1"
)
_PACK_LATER = (
    f"{_PACK_RUN} INDEXED BY pack_time WHERE series = :series AND form = :form AND start_us >= :end"
    " ORDER BY start_us LIMIT 1"
)
_ROW_AFTER = "SELECT seq, 1, position, position FROM entry NOT INDEXED WHERE position > :after AND series = :series"


@dataclass(frozen=True, slots=True, order=True)
class _Run:
    """Entries seq to seq + count - 1, between two positions."""

    seq: int
    count: int
    position: int
    last_position: int

    @property
    def next_seq(self) -> int:
        return self.seq + self.count


class Search:
    """One search: take `entries`, as far as wanted, then `check_unbroken`.

    `types`: a `packing.type_mask` of events; entries in packs that hold none of them are passed over.
    """

    def __init__(
        self,
        connection: sqlite3.Connection,
        open_pack: Callable[[Pack, Wanted], list[Entry]],
        series: Series,
        form: int,
        start_us: int,
        end_us: int,
        types: int = 0,
    ) -> None:
        self._connection = connection
        self._open_pack = open_pack
        self._series = series
        self._wanted = Wanted(start_us, end_us, types)
        self._runs: list[_Run] = []
        self._where = {
            "low": max(start_us - SPAN_US_MAX, -INT64_END),
            "pack_low": max(start_us - PACK_SPAN_US_MAX, -INT64_END),
            "start": start_us,
            "end": end_us,
            "floor": -INT64_END,
            "series": series.number,
            "form": form,
        }

    def entries(self) -> Iterator[Entry]:
        """Newest first (by start), entries of long spans last."""
        if self._where["start"] >= self._where["end"]:
            return
        recent = self._rows(_RECENT[self._where["form"]])
        for entry in heapq.merge(recent, self._packed(), key=lambda one: -one.start_us):
            if entry.plain is None:
                self._saw(entry)
            yield entry
        for entry in self._rows(_LONG):
            self._saw(entry)
            yield entry

    def stop_at(self, entry: Entry) -> None:
        """The search ends with this entry: what begins no later is not missed."""
        self._where["floor"] = entry.start_us
        if entry.plain is None:
            self._runs.pop()

    def check_unbroken(self) -> None:
        """That of what was found none was taken out or overlooked between. Raises `StoreError`.

        Entries of another time may stand between (the clock was set), or of the time at which the search
        stopped and before.
        """
        if self._where["start"] >= self._where["end"]:
            return
        runs = sorted(self._runs)
        if runs:
            self._check_neighbours(runs[0], runs[-1])
            around = self._one(_PACK_BEFORE, {"seq": runs[0].seq}), self._one(_PACK_AFTER, {"seq": runs[-1].seq})
        else:
            around = self._one(_PACK_EARLIER, {}), self._one(_PACK_LATER, {})
            if around == (None, None):
                return  # no pack: rows are not so long that a hole could be asked for whole
            before, after = around
            before = before or _Run(-1, 1, -1, -1)
            after = after or self._one(f"{_ROW_AFTER} ORDER BY position LIMIT 1", {"after": before.last_position})
            around = before, after
        before, after = around
        self._check_between([*([before] if before else []), *runs, *([after] if after else [])])

    def _check_between(self, runs: list[_Run]) -> None:
        for before, after in itertools.pairwise(sorted(set(runs))):
            expected = after.seq - before.next_seq
            if not expected:
                continue
            bounds = {"after": before.last_position, "before": after.position}
            seqs = {"low_seq": before.seq, "high_seq": after.seq}
            rows, overlooked = self._connection.execute(_BETWEEN, self._where | bounds).fetchone()
            packed, packs_overlooked = self._connection.execute(_PACKS_BETWEEN, self._where | seqs).fetchone()
            if rows + packed != expected or overlooked or packs_overlooked:
                raise StoreError(f"entries of series {self._series.number} after {before.last_position} are missing")

    def _check_neighbours(self, first: _Run, last: _Run) -> None:
        """That the rows beside what was found are of another time: else the index is damaged."""
        beside = [(_PREDECESSOR, first.position - _NEIGHBOURHOOD, first.position - 1)]
        if last.next_seq < self._series.next_seq:
            beside.append((_SUCCESSOR, last.last_position + 1, last.last_position + _NEIGHBOURHOOD))
        for query, low, high in beside:
            row = self._connection.execute(query, self._where | {"after": low, "before": high}).fetchone()
            if row is not None and row[0]:
                raise StoreError(f"the index overlooks entries of series {self._series.number}: it is damaged")

    def _packed(self) -> Iterator[Entry]:
        """Entries from packs, newest first; packs may lie across each other where the clock was set."""
        bounds = [pack_from(row) for row in self._connection.execute(_PACKS, self._where).fetchall()]
        waiting: list[tuple[int, int, Entry]] = []
        for bare in sorted(bounds, key=lambda pack: -pack.end_us):
            while waiting and -waiting[0][0] >= bare.end_us:
                yield heapq.heappop(waiting)[2]
            row = self._connection.execute(_PACK, (bare.position,)).fetchone()
            pack = pack_from(row)
            self._runs.append(_Run(pack.seq, pack.count, pack.position, pack.last_position))
            for entry in self._open_pack(pack, self._wanted):
                heapq.heappush(waiting, (-entry.start_us, -entry.position, entry))
        while waiting:
            yield heapq.heappop(waiting)[2]

    def _rows(self, query: str) -> Iterator[Entry]:
        return map(entry_from, self._connection.execute(query, self._where))

    def _saw(self, entry: Entry) -> None:
        self._runs.append(_Run(entry.seq, 1, entry.position, entry.position))

    def _one(self, query: str, where: dict[str, int]) -> _Run | None:
        row = self._connection.execute(query, self._where | where).fetchone()
        return None if row is None else _Run(*row)


def entry_from(row: tuple[Any, ...]) -> Entry:
    """Raises `StoreError` for a row whose columns are not what they are declared to be."""
    _check_types(row)
    return Entry(*row)


def pack_from(row: tuple[Any, ...]) -> Pack:
    """Raises `StoreError`, as `entry_from`."""
    _check_types(row)
    return Pack(*row)


def _check_types(row: tuple[Any, ...]) -> None:
    if type(row[-1]) is not bytes or set(map(type, row[:-1])) != {int}:
        raise StoreError("a row is damaged: its columns have other types than they were declared with")
