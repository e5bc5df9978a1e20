"""The one writer of records: every write is one transaction, on disk when it returns, whole or not at all.

`open_store` takes the data folder for this process, checks it, and gives a `RecordStore`; `open_reader`
looks at the same files without writing, also while a gateway runs.
"""

from __future__ import annotations

import contextlib
import logging
import os
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, replace
from pathlib import Path

from bedside.core.errors import SetupError, StoreError
from bedside.core.ids import IdSource
from bedside.core.ports import Batch, Patient
from bedside.core.samples import StreamInfo
from bedside.core.tables import Database
from bedside.core.time import SystemClock, iso_utc
from bedside.records.boxkey import Argon2Cost
from bedside.records.budget import keep_reserve
from bedside.records.compaction import SCAN, SCAN_ROWS, Compaction
from bedside.records.database import DamagedError, check, connect, guarded, transaction
from bedside.records.draft import Draft
from bedside.records.entries import COLUMNS, INSERT, INT64_END, Entry, binding, checkpoint_binding
from bedside.records.erasure import Certificate
from bedside.records.files import FolderLock, write_atomically
from bedside.records.keys import RECORDS_KEY, KeyRing, passphrase_from
from bedside.records.life import LivingRecords
from bedside.records.log import SEAL_PURPOSE, head_seal
from bedside.records.packs import INSERT_PACK, pack_binding, pack_entries, pack_of, unpack_entries
from bedside.records.reader import Records
from bedside.records.retention import FORGET_US, POLICY_FILE, Policy, load_policy
from bedside.records.schema import LAYOUT_VERSION, migrate
from bedside.records.sealing import Sealer
from bedside.records.search import entry_from
from bedside.records.state import CHECKPOINT_SCHEMA, pack_checkpoint
from bedside.records.trend import TREND_SCHEMA, by_hour, minutes_of, pack_hour, put, trend_binding
from bedside.settings import Home

log = logging.getLogger(__name__)

CHECKPOINT_BATCHES = 64  # about a minute: what a crash leaves to be rolled forward
CHECKPOINT_ENTRIES = 8192
_DAMAGED_FOLDER = "damaged"


@dataclass(frozen=True, slots=True)
class OpeningReport:
    """What was found when the store was opened. Sentences name surrogate ids only."""

    created: bool
    previous_shutdown_clean: bool
    checked: bool  # False: SQLite's check did not end in its time (a big store); nothing was found so far
    rolled_forward: int  # entries behind the last checkpoint
    damage: tuple[str, ...]  # what can no longer be read
    set_aside: Path | None  # a damaged store that was put there, and a new one begun
    protection: str  # who can read the records


class _Seals:
    """The sealers of one opening: each data key has its own, with its own salt."""

    def __init__(self, keys: KeyRing, ids: dict[int, str]) -> None:
        self._keys = keys
        self._sealers: dict[str, Sealer] = {}
        self._numbers: dict[str, int] = {}
        self.fresh: dict[int, str] = {}  # numbers that the next transaction must make known
        self.known(ids)

    def known(self, ids: dict[int, str]) -> None:
        """The database knows these numbers, and no others."""
        self._numbers = {key_id: number for number, key_id in ids.items()}
        self.fresh.clear()

    def number(self, owner: str, purpose: str) -> int:
        key = self._keys.data_key(owner, purpose)
        if key.id not in self._numbers:
            self._numbers[key.id] = number = max(self._numbers.values(), default=0) + 1
            self.fresh[number] = key.id
        return self._numbers[key.id]

    def seal(self, owner: str, purpose: str, plaintext: bytes, bound: bytes) -> bytes:
        key = self._keys.data_key(owner, purpose)
        if key.id not in self._sealers:
            self._sealers[key.id] = Sealer(key.raw)
        return self._sealers[key.id].seal(plaintext, bound)


class RecordStore(LivingRecords):
    """The encrypted records (`core.ports.Store`). Methods block; any thread may call, one at a time."""

    opening_report: OpeningReport

    def __init__(
        self,
        path: Path,
        connection: sqlite3.Connection,
        keys: KeyRing,
        lock: FolderLock,
        now_us: Callable[[], int],
    ) -> None:
        super().__init__(path, connection, keys)
        self._folder_lock = lock
        self._now_us = now_us
        self._seals = _Seals(keys, self._key_ids)
        self._batches = 0  # since the last checkpoint
        self._checkpointed = self._state.frontier.size
        self._unsure = False  # a write failed: what is on disk is looked up before the next one
        self._closed = False
        self._compaction = Compaction()
        self.policy = Policy()
        self._forget_us = -INT64_END

    @property
    def previous_shutdown_clean(self) -> bool:
        """Whether the last process that wrote here ended by `close` (True for a new store)."""
        return self.opening_report.previous_shutdown_clean

    def put_patient(self, patient: Patient) -> None:
        """Create or change a patient; makes her data keys. The same again is no change. Durable on return."""
        with self._lock:
            draft = self._draft()
            draft.add_patient(patient)
            self._commit(draft)

    def put_stream(self, info: StreamInfo) -> None:
        """Make a stream known; the same info twice is no change. Durable on return.

        A changed description holds from here on; older samples keep theirs.
        """
        with self._lock:
            draft = self._draft()
            draft.add_stream(info)
            self._commit(draft)

    def write(self, batch: Batch) -> None:
        """Durable on return, whole or not at all. A stream that is new in a block is made known with it.

        Raises `StoreError` (disk full, read-only, damaged, unknown patient): nothing was written, and the
        same batch can be tried again.
        """
        with self._lock:
            draft = self._draft()
            draft.add_blocks(batch.blocks)
            draft.add_events(batch.events)
            self._commit(draft)

    def compact_step(self) -> bool:
        """Do a little of packing old rows together; True: there is more to do now. Call it about each second.

        One call looks at up to `SCAN_ROWS` rows or packs one group (5 minutes of a stream), in one
        transaction. What is read is the same before and after. Raises `StoreError` (disk full): nothing was
        changed, and the next call tries again.
        """
        with self._lock:
            self._settle()
            plan = self._compaction
            if not plan.ready:
                with guarded(self.path, "looking for rows to pack"):
                    rows = self._connection.execute(SCAN, (plan.cursor,)).fetchall()
                plan.feed(rows, self._now_us())
                plan.give_up_waiting(self._now_us())
                return bool(plan.ready) or len(rows) == SCAN_ROWS or self._forget_some()
            try:
                self._pack(plan.ready[0])
            except DamagedError:
                raise
            except StoreError as error:
                if isinstance(error.__cause__, sqlite3.Error):
                    raise
                log.warning("rows stay as they are", extra={"position": plan.ready[0][0], "reason": str(error)})
            plan.ready.popleft()
            return True

    def _forget_some(self) -> bool:
        """Every few minutes, what is past its time is deleted, a little a call, and each deletion is an audited act."""
        now_us = self._now_us()
        if now_us < self._forget_us or self.policy.empty:
            return False
        forgotten = self.retention_step(self.policy) or self.make_room_step(self.policy)
        if forgotten is None:
            self._forget_us = now_us + FORGET_US
            return False
        draft = self._draft()
        draft.add_events([forgotten.audit(IdSource(self._now_us).event(), now_us)])
        self._commit(draft)
        return True

    def rotate_box_key(self) -> None:
        """A new box key, while records are written. Raises `StoreError`, as `KeyRing.rotate`."""
        with self._lock:
            self.keys.rotate()

    def erase_patient(self, patient: str, *, actor: str, reason: str) -> Certificate:
        """As `LivingRecords.erase_patient`; a patient who is monitored must be discharged first."""
        with self._lock:
            self._settle()
            self._checkpoint()
            return super().erase_patient(patient, actor=actor, reason=reason)

    def close(self) -> None:
        """Write the last checkpoint, mark the shutdown clean, release the folder. Safe to call twice.

        Does not raise: whatever a write called stored is on disk already.
        """
        with self._lock:
            if self._closed:
                return
            self._closed = True
            try:
                with guarded(self.path, "closing"):
                    with transaction(self._connection):
                        if not self._unsure:  # else the next start works the state out
                            self._write_checkpoint()
                            self._connection.execute("UPDATE flag SET value = 1 WHERE name = 'clean'")
                    self._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
            except StoreError as error:
                log.warning("store closed without its last checkpoint", extra={"reason": str(error)})
            finally:
                self._connection.close()
                self._folder_lock.release()

    def begin(self) -> bool:
        """Mark the store as in use; whether it was closed cleanly before. `open_store` calls it once."""
        with self._lock, guarded(self.path, "beginning"):
            (clean,) = self._connection.execute("SELECT value FROM flag WHERE name = 'clean'").fetchone()
            with transaction(self._connection):
                self._connection.execute("UPDATE flag SET value = 0 WHERE name = 'clean'")
        if self._trends_anew and any(kept.minutes for kept in self._state.owners.values()):
            with self._lock:
                self._checkpoint()  # what was worked out from all entries need not wait in memory
        return bool(clean)

    def _pack(self, positions: list[int]) -> None:
        """Put one pack in the place of its rows, all or nothing. Raises `StoreError` for a row that does not open."""
        with guarded(self.path, "packing rows"):
            marks = ",".join("?" * len(positions))
            query = f"SELECT {COLUMNS} FROM entry WHERE position IN ({marks}) ORDER BY position"  # noqa: S608
            entries = [entry_from(row) for row in self._connection.execute(query, positions)]
        if len(entries) != len(positions):
            raise StoreError("a row of the group is not there")
        names = self._state.names(entries[0].series)
        opener = self._opener(entries[0].data_key, names[0], RECORDS_KEY)
        plains = [opener.open(entry.sealed, binding(entry, *names)) for entry in entries]
        bare = pack_of(entries, self._seals.number(names[0], RECORDS_KEY))
        held = pack_entries(entries, plains)
        if not all(map(_same, unpack_entries(held, bare), entries, plains)):
            raise StoreError("the pack does not give back its rows")
        pack = replace(bare, sealed=self._seals.seal(names[0], RECORDS_KEY, held, pack_binding(bare, *names)))
        with guarded(self.path, "packing rows"), transaction(self._connection):
            self._insert_keys()
            self._connection.executemany("DELETE FROM entry WHERE position = ?", [(at,) for at in positions])
            self._connection.execute(INSERT_PACK, pack.row())  # into the space that they leave
        self._adopt_keys()

    def _write_trends(self) -> None:
        """The minutes since the last checkpoint go into the rows of their hours, in the checkpoint's transaction."""
        if self._trends_anew:
            self._connection.execute("DELETE FROM trend")
        for owner, kept in self._state.owners.items():
            name, _ = self._state.names(owner)
            for hour, minutes in by_hour(kept.minutes).items():
                try:
                    merged = minutes_of({} if self._trends_anew else self._trend_hour(owner, hour))
                except StoreError as error:  # it stays, and tells whoever reads it
                    log.error("an hour of trends is damaged", extra={"hour": hour, "reason": str(error)})
                    continue
                for key, one in minutes.items():
                    put(merged, key, one)
                bound = trend_binding(name, hour, TREND_SCHEMA)
                number = self._seals.number(name, RECORDS_KEY)
                sealed = self._seals.seal(name, RECORDS_KEY, pack_hour(merged), bound)
                self._connection.execute(
                    "INSERT OR REPLACE INTO trend VALUES (?, ?, ?, ?, ?)", (owner, hour, TREND_SCHEMA, number, sealed)
                )

    def _fresh_view(self) -> AbstractContextManager[object]:
        return nullcontext()  # the one writer knows all

    def _draft(self) -> Draft:
        self._settle()
        return Draft(self._state, self._seals, self._now_us())

    def _settle(self) -> None:
        if self._closed:
            raise StoreError("the store is closed")
        if self._unsure:
            with guarded(self.path, "looking up what is stored"):
                self._load()
                self._seals.known(self._key_ids)
            self._unsure = False

    def _commit(self, draft: Draft) -> None:
        if not draft.entries:
            return
        try:
            with guarded(self.path, "writing"), transaction(self._connection):
                self._insert(draft)
        except StoreError:
            self._unsure = True
            raise
        self._adopt_keys()
        self._behind |= draft.touched()
        draft.commit()
        self._batches += 1
        if self._batches >= CHECKPOINT_BATCHES or draft.frontier.size - self._checkpointed >= CHECKPOINT_ENTRIES:
            self._checkpoint()

    def _insert(self, draft: Draft) -> None:
        self._insert_keys()
        run = self._connection.executemany
        run("INSERT INTO series VALUES (?, ?, ?, ?)", [(s.number, s.form, s.id, s.owner) for s in draft.new_series])
        run(INSERT, [entry.row() for entry in draft.entries])

    def _insert_keys(self) -> None:
        self._connection.executemany("INSERT INTO data_key VALUES (?, ?)", list(self._seals.fresh.items()))

    def _adopt_keys(self) -> None:
        self._key_ids.update(self._seals.fresh)
        self._seals.fresh.clear()

    def _checkpoint(self) -> None:
        """A checkpoint that fails costs only time at the next start: the batch before it is on disk."""
        try:
            with guarded(self.path, "writing a checkpoint"), transaction(self._connection):
                self._write_checkpoint()
        except StoreError as error:
            log.warning("checkpoint not written", extra={"reason": str(error)})
            self._unsure = True
        else:
            self._adopt_keys()
            self._behind.clear()
            self._trends_anew = False
            for kept in self._state.owners.values():
                kept.minutes.clear()
        self._batches, self._checkpointed = 0, self._state.frontier.size

    def _write_checkpoint(self) -> None:
        frontier = self._state.frontier
        for owner in sorted(self._behind):
            name, _ = self._state.names(owner)
            bound = checkpoint_binding(name, frontier.size, CHECKPOINT_SCHEMA)
            number = self._seals.number(name, RECORDS_KEY)
            sealed = self._seals.seal(name, RECORDS_KEY, pack_checkpoint(self._state, owner), bound)
            self._connection.execute(
                "INSERT OR REPLACE INTO checkpoint VALUES (?, ?, ?, ?, ?)",
                (owner, frontier.size, CHECKPOINT_SCHEMA, number, sealed),
            )
        self._write_trends()
        self._insert_keys()
        root = frontier.root()
        seal = head_seal(self.keys.derive(SEAL_PURPOSE), frontier.size, root)
        self._connection.execute("INSERT OR REPLACE INTO head VALUES (?, ?, ?)", (frontier.size, root, seal))


def _same(packed: Entry, entry: Entry, plain: bytes) -> bool:
    return packed[:10] == entry[:10] and packed.plain == plain and entry.sealed.startswith(packed.sealed)


def open_store(
    home: Home,
    *,
    passphrase: str | None = None,
    now_us: Callable[[], int] | None = None,
    set_aside_damaged: bool = False,
    cost: Argon2Cost | None = None,
) -> RecordStore:
    """The store of a data folder, for this process alone; made when it is not there.

    `passphrase`: else `BEDSIDE_PASSPHRASE_FILE`, else systemd's credential, else none.
    `set_aside_damaged`: a database that SQLite finds damaged is moved to `damaged/`, with nothing
    removed, and a new one begun, so that monitoring has its records; `opening_report.set_aside` tells.
    Raises `SetupError` (folder, lock, passphrase, newer version) and `StoreError` (disk, damage).
    """
    clock = now_us or SystemClock().now_us
    phrase = passphrase_from(passphrase)
    home.make()
    lock = FolderLock(home.run / "store.lock", home.path)
    try:
        _check_version(home)
        created = not _holds_records(home)
        keys = KeyRing.open(home.keys, passphrase=phrase, may_create=lambda: created, cost=cost)
        set_aside: Path | None = None
        try:
            store, checked = _open(home, keys, lock, clock)
        except DamagedError as error:
            if not set_aside_damaged:
                raise
            set_aside = _set_aside(home, clock())
            log.error("damaged records set aside", extra={"folder": str(set_aside), "reason": str(error)})
            store, checked = _open(home, keys, lock, clock)
    except BaseException:
        lock.release()
        raise
    try:
        store.policy = load_policy(home.path / POLICY_FILE, keys)
    except StoreError as error:
        store.damage.append(f"{error}: nothing is deleted after its time")
    with contextlib.suppress(OSError):
        keep_reserve(home.reserve)
    clean = store.begin() and set_aside is None
    store.damage += store.finish_erasures()
    store.opening_report = OpeningReport(
        created=created,
        previous_shutdown_clean=clean,
        checked=checked,
        rolled_forward=store.rolled_forward,
        damage=tuple(store.damage),
        set_aside=set_aside,
        protection=keys.describe(),
    )
    return store


@contextmanager
def open_keys(home: Home, *, passphrase: str | None, codes: Sequence[str] = ()) -> Iterator[KeyRing]:
    """The keys of a data folder that no gateway uses meanwhile. Raises `SetupError`."""
    lock = FolderLock(home.run / "store.lock", home.path)
    try:
        yield KeyRing.open(home.keys, passphrase=passphrase, may_create=lambda: False, codes=codes)
    finally:
        lock.release()


def open_reader(home: Home, *, passphrase: str | None = None) -> Records:
    """The same records without writing, also beside a running gateway. Raises `SetupError`, `StoreError`."""
    phrase = passphrase_from(passphrase)
    if not _holds_records(home):
        raise SetupError(f"no records in {home.path}", hint="name the data folder with --home DIR or BEDSIDE_HOME")
    if home.version_file.exists():
        _check_version(home)
    keys = KeyRing.open(home.keys, passphrase=phrase, may_create=lambda: False, may_protect=False)
    connection = connect(home.store_db, writing=False)
    try:
        with guarded(home.store_db, "reading its layout"):
            if not connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'erased'").fetchone():
                raise SetupError(
                    "the records were written by an older Bedside",
                    hint="start this one once on the folder: it brings them to its layout",
                )
        return Records(home.store_db, connection, keys)
    except BaseException:
        connection.close()
        raise


def _open(home: Home, keys: KeyRing, lock: FolderLock, now_us: Callable[[], int]) -> tuple[RecordStore, bool]:
    connection = connect(home.store_db, writing=True)
    try:
        checked = check(connection, home.store_db)
        with guarded(home.store_db, "preparing"):
            migrate(Database(connection, execute_plugins=False))
        return RecordStore(home.store_db, connection, keys, lock, now_us), checked
    except BaseException:
        connection.close()
        raise


def _holds_records(home: Home) -> bool:
    try:
        return home.store_db.stat().st_size > 0
    except OSError:
        return False


def _check_version(home: Home) -> None:
    """Raises `SetupError` for a folder that a newer Bedside laid out. A new folder gets its version."""
    path = home.version_file
    try:
        text = path.read_text(encoding="ascii").strip()
    except FileNotFoundError:
        write_atomically(path, f"{LAYOUT_VERSION}\n".encode())
        return
    except (OSError, UnicodeDecodeError) as error:
        raise SetupError(
            f"{path} cannot be read", hint="check the folder's owner, or name another with --home"
        ) from error
    if not text.isdigit():
        raise SetupError(f"{path} holds no version number", hint=f"this Bedside would write {LAYOUT_VERSION} there")
    if int(text) > LAYOUT_VERSION:
        raise SetupError(
            f"{home.path} was laid out by a newer Bedside (version {text}; this one knows {LAYOUT_VERSION})",
            hint="run that version or a later one; nothing was changed",
        )


def _set_aside(home: Home, now_us: int) -> Path:
    """Move a damaged database and its side files away, all kept. Raises `StoreError`."""
    stamp = iso_utc(now_us).replace(":", "").replace(".", "")
    folder = home.path / _DAMAGED_FOLDER / f"{stamp}-{os.urandom(2).hex()}"
    try:
        folder.mkdir(mode=0o700, parents=True)
        for suffix in ("-shm", "-wal", ""):  # the database last: until then the next start finds it damaged again
            part = home.store_db.with_name(home.store_db.name + suffix)
            if part.exists():
                part.rename(folder / part.name)
    except OSError as error:
        raise StoreError(f"cannot set the damaged {home.store_db} aside: {error.strerror or error}") from error
    return folder
