"""Reading records: entries found by time, opened with their key, and given back as what was written."""

from __future__ import annotations

import heapq
import sqlite3
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

from bedside.core.errors import StoreError
from bedside.core.events import Alarm, Event, Numeric
from bedside.core.ports import Patient
from bedside.core.samples import Block, StreamInfo
from bedside.records import packing
from bedside.records.database import DamagedError, guarded
from bedside.records.deletion import (
    DELETED_SCHEMA,
    DELETION_PURPOSE,
    Deletion,
    is_deleted,
    places_of,
    unpack_deletion,
)
from bedside.records.entries import COLUMNS, INT64_END, Entry, binding, checkpoint_binding, leaf_of
from bedside.records.keys import IDENTITY_KEY, RECORDS_KEY, KeyRing
from bedside.records.packs import PACK_COLUMNS, Pack, Wanted, pack_binding, unpack_entries
from bedside.records.schema import BOX_SERIES, FORM_EVENTS, FORM_PATIENT, FORM_STREAM, FORM_WAVE, SPAN_US_MAX
from bedside.records.sealing import Opener
from bedside.records.search import Search, entry_from, pack_from
from bedside.records.state import CHECKPOINT_SCHEMA, OwnerState, Series, State, unpack_checkpoint
from bedside.records.trend import (
    BUCKETS_MAX,
    MINUTE_US,
    MINUTES,
    Table,
    TrendBucket,
    bucketed,
    table_of,
    table_of_numbers,
    trend_binding,
    unpack_hour,
)
from bedside.records.witness import SignedHead, signed_head

NAME_LOST = "(name cannot be read)"
_PAGE_ROWS = 256
_DAMAGE_MAX = 20


class Records:
    """The readable side of a store. All methods may be called from any thread, one at a time (a lock sees to it)."""

    def __init__(self, path: Path, connection: sqlite3.Connection, keys: KeyRing) -> None:
        self.path = path
        self.keys = keys
        self.damage: list[str] = []  # sentences, with surrogate ids only
        self.rolled_forward = 0
        self._connection = connection
        self._lock = threading.RLock()
        self._trends_anew = False  # the state's minutes are all there are, whatever rows of trends there may be
        self._behind: set[int] = set()  # owners whose checkpoint is older than their entries
        self._key_ids: dict[int, str] = {}  # by the number that rows name it by
        self._openers: dict[tuple[int, str, str], Opener] = {}
        self._erased: dict[int, str] = {}  # a patient's series: the certificate
        self._state = State()
        with guarded(path, "reading the store's state"), self._one_view():
            self._load()

    # What the store holds.

    def patients(self) -> Sequence[Patient]:
        """All patients that are not erased, in the order of admission; unreadable ones are named `NAME_LOST`."""
        with self._lock:
            return [
                one.patient or Patient(id=one.id, name=NAME_LOST, bed="", simulated=False)
                for one in map(self._state.series.__getitem__, self._state.patients.values())
                if one.number not in self._erased
            ]

    def erased(self) -> dict[str, str]:
        """Patients whose records are erased: the surrogate id, and the certificate as JSON."""
        with self._lock:
            return {self._state.names(number)[0]: text for number, text in self._erased.items()}

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
        with self._lock, guarded(self.path, "reading samples"), self._one_view():
            found: list[tuple[int, int, int, Block]] = []
            for series in map(self._state.series.__getitem__, self._state.streams.get(stream, ())):
                search = Search(self._connection, self.open_pack, series, FORM_WAVE, start_us, end_us)
                entries = list(search.entries())
                search.check_unbroken()
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
        with self._lock, guarded(self.path, "reading events"), self._one_view():
            wanted = packing.type_mask(types)
            series = self._state.series[number]
            search = Search(self._connection, self.open_pack, series, FORM_EVENTS, start_us, end_us, wanted)
            newest: list[tuple[int, int, int, dict[str, Any]]] = []  # a heap: the oldest that is kept stands first
            for entry in search.entries():
                if len(newest) >= limit and entry.start_us + SPAN_US_MAX < newest[0][0]:
                    search.stop_at(entry)
                    break  # entries come newest first, and none spans more
                for ordinal, values in enumerate(packing.unpack_events(self.open_entry(entry), entry.n, wanted)):
                    if not start_us <= values["start_us"] < end_us or (types and values["type"] not in types):
                        continue
                    item = (values["start_us"], entry.position, ordinal, values)
                    if len(newest) < limit:
                        heapq.heappush(newest, item)
                    elif item[:3] > newest[0][:3]:
                        heapq.heapreplace(newest, item)
            search.check_unbroken()
            restored = (packing.restore_event(values) for *_, values in sorted(newest, key=lambda item: item[:3]))
            return [event for event in restored if event is not None]

    def trend(self, patient: str, code: str, start_us: int, end_us: int, buckets: int) -> list[TrendBucket]:
        """Least, greatest, mean and count of a number (`core.codes.Code`) in `buckets` equal parts of a range.

        Where a part is a minute or longer, whole minutes are counted, each where it begins. Raises
        `ValueError` for a range or number of parts that is none, `StoreError` as `events` does.
        """
        if not 0 < buckets <= BUCKETS_MAX or not start_us < end_us:
            raise ValueError("a trend needs a start before its end, and at least one bucket")
        if end_us - start_us < buckets * MINUTE_US:
            found = self.events(patient, start_us, end_us, ("numeric",), 100 * BUCKETS_MAX)
            numbers = (one for one in found if isinstance(one, Numeric) and one.code == code)
            return bucketed([table_of_numbers(numbers)], start_us, end_us, buckets)
        with self._lock, guarded(self.path, "reading trends"), self._fresh_view():
            tables: list[Table] = []
            number = self._state.patients.get(patient)
            if number is not None:
                first, last = (time_us // MINUTE_US // MINUTES for time_us in (start_us, end_us))
                hours = (self._trend_hour(number, hour) for hour in self._trend_hours(number, first, last))
                tables += [codes[code] for codes in hours if code in codes]
                kept = self._state.owners.get(number)
                tables.append(table_of(kept.minutes if kept else {}, code))
            return bucketed(tables, start_us, end_us, buckets)

    def _trend_hours(self, owner: int, first: int, last: int) -> list[int]:
        if self._trends_anew:
            return []
        query = "SELECT hour FROM trend WHERE series = ? AND hour BETWEEN ? AND ? ORDER BY hour"
        return [hour for (hour,) in self._connection.execute(query, (owner, first, last))]

    def _trend_hour(self, owner: int, hour: int) -> dict[str, Table]:
        """Raises `StoreError` for a row that does not open."""
        query = "SELECT schema, data_key, sealed FROM trend WHERE series = ? AND hour = ?"
        row = self._connection.execute(query, (owner, hour)).fetchone()
        if row is None:
            return {}
        schema, key, sealed = row
        patient, _ = self._state.names(owner)
        return unpack_hour(self._opener(key, patient, RECORDS_KEY).open(sealed, trend_binding(patient, hour, schema)))

    def _fresh_view(self) -> AbstractContextManager[object]:
        """The state and the database at one moment: a reader looks both up anew."""
        return self.snapshot()

    def head(self) -> tuple[int, bytes]:
        """The log's size and root as this reader knows it."""
        with self._lock:
            return self._state.frontier.size, self._state.frontier.root()

    def signed_head(self, time_us: int) -> SignedHead:
        """The log's head for a witness."""
        size, root = self.head()
        return signed_head(self.keys, size, root, time_us)

    def close(self) -> None:
        """Release the database. Safe to call twice."""
        with self._lock:
            self._connection.close()

    # Entries.

    def entries(
        self, first_position: int = 0, lost: Callable[[Pack, StoreError], None] | None = None
    ) -> Iterator[Entry]:
        """All entries from a position on, in order; packed ones with their plaintext, others still sealed.

        A pack that does not open raises `StoreError`, or is told to `lost` and passed over.
        """
        packed = self._packed_entries(first_position, lost)
        return heapq.merge(self._live_entries(first_position), packed, key=lambda entry: entry.position)

    def _live_entries(self, first_position: int) -> Iterator[Entry]:
        while True:
            with self._lock, guarded(self.path, "reading"):
                page = self._connection.execute(
                    f"SELECT {COLUMNS} FROM entry WHERE position >= ? ORDER BY position LIMIT {_PAGE_ROWS}",  # noqa: S608
                    (first_position,),
                ).fetchall()
            yield from map(entry_from, page)
            if len(page) < _PAGE_ROWS:
                return
            first_position = page[-1][0] + 1

    def _packed_entries(self, first_position: int, lost: Callable[[Pack, StoreError], None] | None) -> Iterator[Entry]:
        """In order of position: packs of several series lie across each other."""
        waiting: list[tuple[int, Entry]] = []
        for pack in self._packs(first_position):
            while waiting and waiting[0][0] < pack.position:
                yield heapq.heappop(waiting)[1]
            try:
                held = self.open_pack(pack)
            except StoreError as error:
                if lost is None:
                    raise
                lost(pack, error)
                continue
            for entry in held:
                if entry.position >= first_position:
                    heapq.heappush(waiting, (entry.position, entry))
        while waiting:
            yield heapq.heappop(waiting)[1]

    def _packs(self, first_position: int) -> Iterator[Pack]:
        """Those that reach to a position or beyond it, in order."""
        with self._lock, guarded(self.path, "reading"):
            rows = self._connection.execute(
                "SELECT position FROM pack WHERE last_position >= ? ORDER BY position", (first_position,)
            ).fetchall()
        for (position,) in rows:
            with self._lock, guarded(self.path, "reading"):
                row = self._connection.execute(
                    f"SELECT {PACK_COLUMNS} FROM pack WHERE position = ?",  # noqa: S608
                    (position,),
                ).fetchone()
            if row is not None:
                yield pack_from(row)

    def open_pack(self, pack: Pack, wanted: Wanted | None = None) -> list[Entry]:
        """The entries of a pack, all or those wanted. Raises `StoreError`, as `open_entry` does."""
        if pack.schema == DELETED_SCHEMA:
            deletion = self.deletion(pack)  # whoever reads learns of a forged one
            return places_of(pack, deletion) if wanted is None else []
        patient, stream = self._state.names(pack.series)
        try:
            opener = self._opener(pack.data_key, patient, RECORDS_KEY)
            return unpack_entries(opener.open(pack.sealed, pack_binding(pack, patient, stream)), pack, wanted)
        except StoreError as error:
            raise StoreError(f"pack of entries {pack.position} on (series {pack.series}): {error}") from error

    def deletion(self, pack: Pack) -> Deletion:
        """What stands in the place of deleted entries. Raises `StoreError` when this box has not deleted them."""
        try:
            return unpack_deletion(pack, self._state.names(pack.series), self.keys.derive_all(DELETION_PURPOSE))
        except StoreError as error:
            raise StoreError(f"entries {pack.position} to {pack.last_position}: {error}") from error

    def open_entry(self, entry: Entry) -> bytes:
        """An entry's plaintext. Raises `StoreError`: altered, moved, deleted, or its key is lost."""
        if is_deleted(entry):
            raise StoreError(f"entry {entry.position} (series {entry.series}) was deleted")
        if entry.plain is not None:
            return entry.plain
        patient, stream = self._state.names(entry.series)
        try:
            purpose = IDENTITY_KEY if entry.form == FORM_PATIENT else RECORDS_KEY
            return self._opener(entry.data_key, patient, purpose).open(entry.sealed, binding(entry, patient, stream))
        except StoreError as error:
            raise StoreError(f"entry {entry.position} (series {entry.series}): {error}") from error

    def leaf(self, entry: Entry) -> bytes:
        """An entry's leaf in the log. Raises `StoreError` when its series stands for nobody."""
        if is_deleted(entry):
            return entry.sealed
        names = self._state.names(entry.series)
        if entry.plain is not None:
            opener = self._opener(entry.data_key, names[0], RECORDS_KEY)
            entry = entry._replace(sealed=opener.sealed_again(entry.sealed, entry.plain, binding(entry, *names)))
        return leaf_of(entry, *names)

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

    @contextmanager
    def _one_view(self) -> Iterator[None]:
        """All statements within see one state of the database, also while another process packs entries."""
        if self._connection.in_transaction:
            yield
            return
        self._connection.execute("BEGIN")
        try:
            yield
        finally:
            self._connection.rollback()

    # State, from checkpoints and the entries behind them.

    def _load(self) -> None:
        self._key_ids = dict(self._connection.execute("SELECT number, id FROM data_key").fetchall())
        self.damage.clear()
        self.rolled_forward = 0
        self._state = self._bare_state()
        self._erased = dict(self._connection.execute("SELECT series, certificate FROM erased").fetchall())
        try:
            self._load_checkpoints()
        except StoreError as error:
            self._note(f"{error}; the state was worked out again from all entries")
            self._state = self._bare_state()
        self._state.erased = set(self._erased)
        self._trends_anew = self._state.frontier.size == 0
        self._load_definitions()
        self._roll_forward()
        (last,) = self._connection.execute(
            "SELECT max(last) FROM (SELECT max(position) AS last FROM entry"
            " UNION ALL SELECT max(last_position) FROM pack)"
        ).fetchone()
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
            entry = entry_from(row)
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
            if is_deleted(entry):
                series.saw_index(entry.first_index)
            elif entry.form == FORM_WAVE:
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
