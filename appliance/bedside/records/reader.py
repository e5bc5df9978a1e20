"""Reading records: entries found by time, opened with their key, and given back as what was written."""

from __future__ import annotations

import heapq
import itertools
import sqlite3
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from bedside.core.errors import StoreError
from bedside.core.events import Alarm, Event
from bedside.core.ports import Patient
from bedside.core.samples import Block, StreamInfo
from bedside.records import packing
from bedside.records.database import DamagedError, guarded
from bedside.records.entries import COLUMNS, INT64_END, Entry, binding, checkpoint_binding, leaf_of
from bedside.records.keys import IDENTITY_KEY, RECORDS_KEY, KeyRing
from bedside.records.schema import BOX_SERIES, FORM_EVENTS, FORM_PATIENT, FORM_STREAM, FORM_WAVE, SPAN_US_MAX
from bedside.records.sealing import Opener
from bedside.records.state import CHECKPOINT_SCHEMA, OwnerState, Series, State, unpack_checkpoint

NAME_LOST = "(name cannot be read)"
_PAGE_ROWS = 256
_DAMAGE_MAX = 20
_RECENT = {  # our own words
    form: f"SELECT {COLUMNS} FROM entry INDEXED BY {index} WHERE form = {form} AND start_us >= :low AND start_us < :end"  # noqa: S608
    " AND start_us + span_us >= :start AND series = :series ORDER BY start_us DESC"
    for form, index in ((FORM_WAVE, "entry_waves"), (FORM_EVENTS, "entry_events"))
}
_SOUGHT = "form = :form AND start_us + span_us >= :start AND start_us > :floor AND start_us < :end"
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
_LONG = (
    f"SELECT {COLUMNS} FROM entry INDEXED BY entry_long WHERE span_us > {SPAN_US_MAX} AND start_us < :low"  # noqa: S608
    " AND start_us + span_us >= :start AND series = :series AND form = :form"
)


class Records:
    """The readable side of a store. All methods may be called from any thread, one at a time (a lock sees to it)."""

    def __init__(self, path: Path, connection: sqlite3.Connection, keys: KeyRing) -> None:
        self.path = path
        self.keys = keys
        self.damage: list[str] = []  # sentences, with surrogate ids only
        self.rolled_forward = 0
        self._connection = connection
        self._lock = threading.RLock()
        self._behind: set[int] = set()  # owners whose checkpoint is older than their entries
        self._key_ids: dict[int, str] = {}  # by the number that rows name it by
        self._openers: dict[tuple[int, str, str], Opener] = {}
        self._state = State()
        with guarded(path, "reading the store's state"):
            self._load()

    # What the store holds.

    def patients(self) -> Sequence[Patient]:
        """All patients, in the order of admission. One whose identity cannot be read is named `NAME_LOST`."""
        with self._lock:
            return [
                one.patient or Patient(id=one.id, name=NAME_LOST, bed="", simulated=False)
                for one in map(self._state.series.__getitem__, self._state.patients.values())
            ]

    def streams(self, patient: str) -> Sequence[StreamInfo]:
        """The streams that a patient ever had, in the order in which they came; of each its newest description."""
        with self._lock:
            owner = self._state.patients.get(patient)
            infos = [one.info for one in self._state.series.values() if one.form == FORM_STREAM and one.owner == owner]
            return list({info.id: info for info in infos if info is not None}.values())

    def newest_us(self, patient: str) -> int | None:
        """The end of the newest sample or event that is on disk for a patient; None: nothing is."""
        with self._lock:
            kept = self._state.owner_state(patient)
            return kept.newest_us if kept else None

    def next_index(self, stream: str) -> int:
        """The index after a stream's last stored sample: where it goes on after a restart. 0: none is stored."""
        with self._lock:
            numbers = self._state.streams.get(stream, ())
            return max((self._state.series[number].next_index for number in numbers), default=0)

    def open_alarms(self, patient: str | None) -> list[Alarm]:
        """The last state of each alarm that has not ended, in the order of their last change. None: of the box."""
        with self._lock:
            kept = self._state.owner_state(patient)
            return list(kept.open_alarms.values()) if kept else []

    def blocks(self, stream: str, start_us: int, end_us: int) -> list[Block]:
        """The blocks of one stream that overlap `[start_us, end_us)`, as they were written, in order of time.

        Raises `StoreError` when a row in the range is damaged or missing; never gives a wrong sample.
        """
        start_us, end_us = _in_int64(start_us), _in_int64(end_us)
        with self._lock, guarded(self.path, "reading samples"):
            found: list[tuple[int, int, int, Block]] = []
            for series in map(self._state.series.__getitem__, self._state.streams.get(stream, ())):
                entries = list(self._overlapping(series, FORM_WAVE, start_us, end_us))
                self._check_unbroken(series, entries, start_us, end_us)
                for entry in entries:
                    if series.info is None:
                        raise StoreError(f"stream {stream}: its description cannot be read, nor can its samples")
                    blocks = packing.unpack_wave(
                        self.open_entry(entry), series.info, entry.n, entry.first_index, entry.start_us
                    )
                    found.extend(
                        (block.start_us, entry.position, ordinal, block)
                        for ordinal, block in enumerate(blocks)
                        if block.start_us < end_us and block.end_us > start_us
                    )
            found.sort(key=lambda item: item[:3])
            return [block for *_, block in found]

    def events(
        self,
        patient: str | None,
        start_us: int,
        end_us: int,
        types: Sequence[str] = (),
        limit: int = 10_000,
    ) -> list[Event]:
        """The newest `limit` events with `start_us <= event.start_us < end_us`, oldest first. None: of the box.

        Events of types that this version does not know are passed over. Raises `StoreError`, as `blocks` does.
        """
        number = BOX_SERIES if patient is None else self._state.patients.get(patient)
        if number is None or limit <= 0:
            return []
        start_us, end_us = _in_int64(start_us), _in_int64(end_us)
        with self._lock, guarded(self.path, "reading events"):
            series = self._state.series[number]
            newest: list[tuple[int, int, int, dict[str, Any]]] = []  # a heap: the oldest that is kept stands first
            entries: list[Entry] = []
            wanted = packing.type_mask(types)
            floor_us = -INT64_END
            for entry in self._overlapping(series, FORM_EVENTS, start_us, end_us):
                if len(newest) >= limit and entry.start_us + SPAN_US_MAX < newest[0][0]:
                    floor_us = entry.start_us
                    break  # entries come newest first, and none spans more
                entries.append(entry)
                for ordinal, values in enumerate(packing.unpack_events(self.open_entry(entry), entry.n, wanted)):
                    if not start_us <= values["start_us"] < end_us or (types and values["type"] not in types):
                        continue
                    item = (values["start_us"], entry.position, ordinal, values)
                    if len(newest) < limit:
                        heapq.heappush(newest, item)
                    elif item[:3] > newest[0][:3]:
                        heapq.heapreplace(newest, item)
            self._check_unbroken(series, entries, start_us, end_us, floor_us)
            restored = (packing.restore_event(values) for *_, values in sorted(newest, key=lambda item: item[:3]))
            return [event for event in restored if event is not None]

    def close(self) -> None:
        """Release the database. Safe to call twice."""
        with self._lock:
            self._connection.close()

    # Entries.

    def entries(self, first_position: int = 0) -> Iterator[Entry]:
        """All entries from a position on, in order, still sealed."""
        while True:
            with self._lock, guarded(self.path, "reading"):
                page = self._connection.execute(
                    f"SELECT {COLUMNS} FROM entry WHERE position >= ? ORDER BY position LIMIT {_PAGE_ROWS}",  # noqa: S608
                    (first_position,),
                ).fetchall()
            yield from map(_entry, page)
            if len(page) < _PAGE_ROWS:
                return
            first_position = page[-1][0] + 1

    def open_entry(self, entry: Entry) -> bytes:
        """An entry's plaintext. Raises `StoreError`: altered, moved, or its key is lost."""
        patient, stream = self._state.names(entry.series)
        try:
            purpose = IDENTITY_KEY if entry.form == FORM_PATIENT else RECORDS_KEY
            return self._opener(entry.data_key, patient, purpose).open(entry.sealed, binding(entry, patient, stream))
        except StoreError as error:
            raise StoreError(f"entry {entry.position} (series {entry.series}): {error}") from error

    def leaf(self, entry: Entry) -> bytes:
        """An entry's leaf in the log. Raises `StoreError` when its series stands for nobody."""
        return leaf_of(entry, *self._state.names(entry.series))

    def owner_id(self, series: int) -> str:
        """The patient's id, or "box", behind a series' number. Raises `StoreError`."""
        return self._state.names(series)[0]

    def stream_info(self, series: int) -> StreamInfo | None:
        """The description that a stream's entries of this series were written under; None: it cannot be read."""
        known = self._state.series.get(series)
        return known.info if known else None

    @contextmanager
    def snapshot(self) -> Iterator[sqlite3.Connection]:
        """The connection, seeing one state of the store while the block lasts. For a reader that does not write."""
        with self._lock, guarded(self.path, "reading"):
            self._connection.execute("BEGIN")
            try:
                self._load()  # what was written since this reader was opened
                yield self._connection
            finally:
                self._connection.execute("ROLLBACK")

    def _opener(self, number: int, owner: str, purpose: str) -> Opener:
        known = self._openers.get((number, owner, purpose))
        if known is not None:
            return known
        if number not in self._key_ids:
            raise StoreError(f"its key {number} is not known")
        opener = Opener(self.keys.find(owner, purpose, self._key_ids[number]).raw)
        self._openers[number, owner, purpose] = opener
        return opener

    def _overlapping(self, series: Series, form: int, start_us: int, end_us: int) -> Iterator[Entry]:
        """Newest first (by start), entries of long spans last."""
        if start_us >= end_us:
            return
        low = max(start_us - SPAN_US_MAX, -INT64_END)
        where = {"low": low, "start": start_us, "end": end_us, "series": series.number, "form": form}
        for query in (_RECENT[form], _LONG):
            for row in self._connection.execute(query, where):
                yield _entry(row)

    def _check_unbroken(
        self, series: Series, entries: Sequence[Entry], start_us: int, end_us: int, floor_us: int = -INT64_END
    ) -> None:
        """That between the entries that the index found none was taken out or overlooked. Raises `StoreError`.

        Entries of another time may stand between them (the clock was set), or of `floor_us` and before, where
        the search stopped early.
        """
        if not entries:
            return
        ordered = sorted(entries, key=lambda entry: entry.seq)
        where = {"start": start_us, "end": end_us, "floor": floor_us, "series": series.number, "form": ordered[0].form}
        for before, after in itertools.pairwise(ordered):
            expected = after.seq - before.seq - 1
            if expected:
                bounds = {"after": before.position, "before": after.position}
                between, overlooked = self._connection.execute(_BETWEEN, where | bounds).fetchone()
                if between != expected or overlooked:
                    raise StoreError(f"entries of series {series.number} after {before.position} are missing")
        first, last = ordered[0], ordered[-1]
        beside = [(_PREDECESSOR, first.position - _NEIGHBOURHOOD, first.position - 1)]
        if last.seq + 1 < series.next_seq:
            beside.append((_SUCCESSOR, last.position + 1, last.position + _NEIGHBOURHOOD))
        for query, low, high in beside:
            row = self._connection.execute(query, where | {"after": low, "before": high}).fetchone()
            if row is not None and row[0]:
                raise StoreError(f"the index overlooks entries of series {series.number}: it is damaged")

    # State, from checkpoints and the entries behind them.

    def _load(self) -> None:
        self._key_ids = dict(self._connection.execute("SELECT number, id FROM data_key").fetchall())
        self.damage.clear()
        self.rolled_forward = 0
        self._state = self._bare_state()
        try:
            self._load_checkpoints()
        except StoreError as error:
            self._note(f"{error}; the state was worked out again from all entries")
            self._state = self._bare_state()
        self._load_definitions()
        self._roll_forward()
        (last,) = self._connection.execute("SELECT max(position) FROM entry").fetchone()
        if (last if last is not None else -1) + 1 != self._state.frontier.size:
            raise DamagedError(f"{self.path}: entries are missing at the end, {self._state.frontier.size} were written")

    def _bare_state(self) -> State:
        state = State()
        rows = self._connection.execute("SELECT number, form, id, owner FROM series ORDER BY number").fetchall()
        for number, form, name, owner in rows:
            if number != BOX_SERIES:
                state.add(Series(number, form, name, owner))
        return state

    def _load_checkpoints(self) -> None:
        query = "SELECT series, position, schema, data_key, sealed FROM checkpoint"
        rows = self._connection.execute(query).fetchall()
        if any(schema != CHECKPOINT_SCHEMA for _, _, schema, _, _ in rows):
            return  # of another version: what they spare is read instead
        for owner, position, schema, key, sealed in rows:
            patient, _ = self._state.names(owner)
            try:
                plain = self._opener(key, patient, RECORDS_KEY).open(
                    sealed, checkpoint_binding(patient, position, schema)
                )
            except StoreError as error:
                raise StoreError(f"checkpoint of series {owner}: {error}") from error
            unpack_checkpoint(plain, self._state, owner)

    def _load_definitions(self) -> None:
        query = f"SELECT {COLUMNS} FROM entry WHERE form <= {FORM_STREAM} ORDER BY position"  # noqa: S608
        for row in self._connection.execute(query).fetchall():
            entry = _entry(row)
            try:
                self._define(entry)
            except StoreError as error:
                self._note(f"description of a patient or stream: {error}")

    def _define(self, entry: Entry) -> None:
        patient, stream = self._state.names(entry.series)
        series = self._state.series[entry.series]
        if entry.form == FORM_PATIENT:
            series.patient = None  # an older name is not shown as if it were the newest
            series.patient = packing.unpack_patient(self.open_entry(entry), patient)
        else:
            series.info = packing.unpack_stream(self.open_entry(entry), stream, patient)

    def _roll_forward(self) -> None:
        frontier = self._state.frontier
        for entry in self.entries(frontier.size):
            if entry.position != frontier.size:
                raise DamagedError(f"{self.path}: entries {frontier.size} to {entry.position - 1} are missing")
            frontier.append(self.leaf(entry))
            series = self._state.series[entry.series]
            series.next_seq = max(series.next_seq, entry.seq + 1)
            owner = self._state.owners.setdefault(series.owner, OwnerState())
            self.rolled_forward += 1
            self._behind |= {series.owner, BOX_SERIES}
            if entry.form == FORM_WAVE:
                owner.saw(entry.end_us)
                series.saw_index(entry.first_index + entry.n)
            elif entry.form == FORM_EVENTS:
                self._roll_events(entry, owner)

    def _note(self, sentence: str) -> None:
        """Report damage, but not without end."""
        if len(self.damage) < _DAMAGE_MAX:
            self.damage.append(sentence)
        elif len(self.damage) == _DAMAGE_MAX:
            self.damage.append("and more: `bedside records verify` names all")

    def _roll_events(self, entry: Entry, owner: OwnerState) -> None:
        try:
            for values in packing.unpack_events(self.open_entry(entry), entry.n):
                event = packing.restore_event(values)
                if event is not None:
                    owner.take(event)
        except StoreError as error:
            owner.saw(entry.end_us)
            self._note(f"events from {entry.start_us} to {entry.end_us} µs UTC: {error}")


def _in_int64(time_us: int) -> int:
    return min(max(time_us, -INT64_END), INT64_END - 1)


def _entry(row: tuple[Any, ...]) -> Entry:
    """Raises `StoreError` for a row whose columns are not what they are declared to be."""
    if type(row[-1]) is not bytes or not all(type(value) is int for value in row[:-1]):
        raise StoreError("a row is damaged: its columns have other types than they were declared with")
    return Entry(*row)
