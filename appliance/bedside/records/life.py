"""The life of records: what is deleted after its time, and patients who are erased for good.

Deleting goes in bounded steps. Each puts, in one transaction, rows of deletions (`deletion.py`) where packs or
rows stood: the log keeps every place and every leaf. Erasing writes the signed certificate first; whoever opens the
store after a crash goes on, and the keys are destroyed at the end. A certificate beside the keys erases
the patient again from whatever older copy is put back.
"""

from __future__ import annotations

import logging
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from itertools import groupby
from pathlib import Path

from bedside.core.errors import RejectedError, StoreError
from bedside.records.budget import Budget, Level, look
from bedside.records.compaction import PACK_ENTRIES_MAX, PACK_US
from bedside.records.database import guarded, transaction
from bedside.records.deletion import DELETED_SCHEMA, DELETION_PURPOSE, deletion_of, pack_deletion
from bedside.records.entries import COLUMNS, Entry
from bedside.records.erasure import (
    FOLDER,
    Certificate,
    certificate_from,
    certificates_in,
    keep_certificate,
    public_keys,
)
from bedside.records.packs import INSERT_PACK, PACK_COLUMNS, Pack
from bedside.records.reader import Records
from bedside.records.retention import ALL as ALL_PATIENTS
from bedside.records.retention import DAY_US, EVENTS, MAKE_ROOM, Forgotten, Policy
from bedside.records.schema import FORM_WAVE
from bedside.records.search import entry_from, pack_from
from bedside.records.trend import MINUTE_US, MINUTES

log = logging.getLogger(__name__)

STEP_PACKS = 16  # of one transaction: some 100 ms
STEP_ROWS = 2048
ALL_US = 1 << 62
HOUR_US = 3_600_000_000


class LivingRecords(Records):
    """The part of the one writer that deletes. Its methods are called with the store settled."""

    _now_us: Callable[[], int]

    def erase_patient(self, patient: str, *, actor: str, reason: str) -> Certificate:
        """Make a patient's records unreadable for good, and free their space; the signed certificate.

        Raises `RejectedError` when she is not known, `StoreError` (disk): then the next opening goes on with it.
        """
        with self._lock:
            number = self._state.patients.get(patient)
            if number is None or number in self._erased:
                raise RejectedError("no such patient, or she is erased already")
            size, root = self.head()
            certificate = Certificate(
                v=1,
                box=self.keys.box_id,
                patient=patient,
                erased_us=self._now_us(),
                actor=actor,
                reason=reason,
                entries=self._count(number),
                keys=tuple(self.keys.ids_of(patient)),
                log_size=size,
                log_root=root.hex(),
            ).signed(self.keys)
            self.erase_as_certified(certificate)
            return certificate

    def erase_as_certified(self, certificate: Certificate) -> None:
        """Do what a certificate of this box says was done: for a copy that is older than it, and after a crash."""
        with self._lock:
            certificate.check(public_keys(self.keys))
            number = self._state.patients.get(certificate.patient)
            if number is not None:
                self._mark_erased(number, certificate)
                while self._delete_some(self._owned(number), ALL_US, "erased"):
                    pass
                with guarded(self.path, "erasing"):
                    with transaction(self._connection):
                        for table in ("checkpoint", "trend"):
                            self._connection.execute(f"DELETE FROM {table} WHERE series = ?", (number,))  # noqa: S608
                    self._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")  # nothing of her in the log of writes
            keep_certificate(self.keys, certificate)
            self.keys.destroy(certificate.patient)
            self._openers = {
                known: opener for known, opener in self._openers.items() if known[1] != certificate.patient
            }

    def finish_erasures(self) -> list[str]:
        """What was begun is ended, and what certificates beside the keys say holds: sentences on what was done."""
        done: list[str] = []
        with self._lock:
            certified = {one.patient: one for one in self._certificates()}
            for text in self._erased.values():
                known = certificate_from(text)
                certified.setdefault(known.patient, known)
            for certificate in certified.values():
                number = self._state.patients.get(certificate.patient)
                left = number is not None and (number not in self._erased or self._remains(number))
                if left or self.keys.ids_of(certificate.patient) or not self._kept(certificate):
                    self.erase_as_certified(certificate)
                    done.append(
                        f"patient {certificate.patient} is erased, as certified; an older copy held her records"
                    )
        return done

    def delete_before(self, series: Sequence[int], before_us: int, why: str) -> int:
        """One bounded step: how many samples' or events' entries that ended before `before_us` were deleted.

        0: none is left. Descriptions of patients and streams stay.
        """
        with self._lock:
            return self._delete_some(series, before_us, why, FORM_WAVE)

    def retention_step(self, policy: Policy) -> Forgotten | None:
        """Delete a little of what is past its time; None: nothing is."""
        with self._lock:
            for patient, owner in self._state.patients.items():
                if owner in self._erased:
                    continue
                for number in self._owned(owner):
                    info = self._state.series[number].info
                    if number != owner and info is None:
                        continue  # what kind it is cannot be read: it stays
                    kind = EVENTS if info is None else str(info.kind)
                    days = policy.days(patient, kind)
                    if days is None:
                        continue
                    before_us = self._now_us() - days * DAY_US
                    entries = self._delete_some([number], before_us, "retention", FORM_WAVE)
                    if kind == EVENTS and entries:
                        self._forget_trends(owner, before_us)
                    if entries:
                        return Forgotten(patient, kind, before_us, entries)
        return None

    def budget(self) -> Budget:
        """The disk that the records lie on. Raises `StoreError`."""
        with self._lock, guarded(self.path, "looking at the disk"):
            (pages,) = self._connection.execute("PRAGMA freelist_count").fetchone()
            (size,) = self._connection.execute("PRAGMA page_size").fetchone()
        try:
            return look(self.path.parent, pages * size)
        except OSError as error:
            raise StoreError(f"the disk of {self.path} cannot be looked at: {error.strerror or error}") from error

    def make_room_step(self, policy: Policy) -> Forgotten | None:
        """On a disk that is nearly full, delete an hour of the oldest samples; None: the rule or the disk forbids.

        Events stay, and so do the samples of the last days that the rule names.
        """
        days = policy.days(ALL_PATIENTS, MAKE_ROOM)
        if days is None or self.budget().level < Level.NEARLY_FULL:
            return None
        with self._lock, guarded(self.path, "making room"):
            oldest = self._connection.execute(
                f"SELECT series, start_us FROM pack WHERE form = {FORM_WAVE} AND schema != {DELETED_SCHEMA}"  # noqa: S608
                " ORDER BY start_us LIMIT 1"
            ).fetchone()
            if oldest is None:
                return None
            number, start_us = oldest
            before_us = min(start_us + HOUR_US, self._now_us() - days * DAY_US)
            entries = self._delete_some([number], before_us, "make-room", FORM_WAVE)
            if not entries:
                return None
            info = self._state.series[number].info
            kind = str(info.kind) if info else "unknown"
            return Forgotten(self._state.names(number)[0], kind, before_us, entries, "make-room")

    def _forget_trends(self, owner: int, before_us: int) -> None:
        hour = before_us // (MINUTE_US * MINUTES)
        with guarded(self.path, "deleting"), transaction(self._connection):
            self._connection.execute("DELETE FROM trend WHERE series = ? AND hour < ?", (owner, hour))

    def _certificates(self) -> list[Certificate]:
        trusted = public_keys(self.keys)
        good: list[Certificate] = []
        for one in certificates_in(self.keys.folder / FOLDER):
            try:
                one.check(trusted)
            except StoreError as error:
                self._note(f"patient {one.patient}: {error}; nothing was erased for it")
            else:
                good.append(one)
        return good

    def _kept(self, certificate: Certificate) -> bool:
        return Path(self.keys.folder / FOLDER / f"{certificate.patient}.json").exists()

    def _mark_erased(self, number: int, certificate: Certificate) -> None:
        text = certificate.to_json()
        with guarded(self.path, "erasing"), transaction(self._connection):
            self._connection.execute("INSERT OR REPLACE INTO erased VALUES (?, ?)", (number, text))
        self._erased[number] = text
        self._state.erased.add(number)
        self._behind.discard(number)
        self._state.owners.pop(number, None)
        self._state.series[number].patient = None

    def _owned(self, owner: int) -> list[int]:
        return [one.number for one in self._state.series.values() if one.owner == owner]

    def _remains(self, owner: int) -> bool:
        marks = self._owned(owner)
        return any(next(self._sources(one, ALL_US), None) is not None for one in marks)

    def _count(self, owner: int) -> int:
        return sum(self._state.series[number].next_seq for number in self._owned(owner))

    def _delete_some(self, series: Sequence[int], before_us: int, why: str, form: int = 0) -> int:
        deleted = 0
        for number in series:
            budget = STEP_PACKS
            with guarded(self.path, "deleting"), transaction(self._connection):
                for group in self._sources(number, before_us, form):
                    deleted += self._delete_group(group, why)
                    budget -= 1
                    if not budget:
                        break
            if deleted:
                return deleted
        return deleted

    def _sources(self, series: int, before_us: int, form: int = 0) -> Iterator[Pack | list[Entry]]:
        """Packs and groups of rows of one series from a form on. A pack whose key is lost stays: it has no proof."""
        query = (
            f"SELECT {PACK_COLUMNS} FROM pack WHERE series = ? AND schema != {DELETED_SCHEMA}"  # noqa: S608
            " AND start_us + span_us < ? AND form >= ? ORDER BY seq LIMIT ?"
        )
        for row in self._connection.execute(query, (series, before_us, form, STEP_PACKS)).fetchall():
            pack = pack_from(row)
            try:
                self.open_pack(pack)
            except StoreError as error:
                self._note(f"{error}: it stays, unreadable")
            else:
                yield pack
        query = (
            f"SELECT {COLUMNS} FROM entry WHERE series = ? AND start_us + span_us < ? AND form >= ?"  # noqa: S608
            " ORDER BY position LIMIT ?"
        )
        rows = list(map(entry_from, self._connection.execute(query, (series, before_us, form, STEP_ROWS)).fetchall()))
        yield from _groups(rows)

    def _delete_group(self, source: Pack | list[Entry], why: str) -> int:
        entries = self.open_pack(source) if isinstance(source, Pack) else source
        leaves = [self.leaf(entry) for entry in entries]
        bare, deletion = deletion_of(entries, leaves, why, self._now_us())
        names = self._state.names(bare.series)
        sealed = pack_deletion(bare, names, deletion, self.keys.derive(DELETION_PURPOSE))
        run: sqlite3.Connection = self._connection
        if isinstance(source, Pack):
            run.execute("DELETE FROM pack WHERE position = ?", (source.position,))
        else:
            run.executemany("DELETE FROM entry WHERE position = ?", [(entry.position,) for entry in entries])
        run.execute(INSERT_PACK, replace(bare, sealed=sealed).row())
        return len(entries)


def _groups(rows: Sequence[Entry]) -> Iterator[list[Entry]]:
    """Rows of one form with seqs in a row, short enough to be found as a pack is."""
    place = 0

    def together(entry: Entry) -> tuple[int, int, int, int]:
        nonlocal place
        place += 1
        return entry.form, entry.seq - place, entry.start_us // PACK_US, place // PACK_ENTRIES_MAX

    for _, group in groupby(rows, together):
        yield list(group)
