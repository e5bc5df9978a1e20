"""The outbox: what must not be lost between the box and the operator, in a database file of its own.

It keeps the alerts that wait for a slot (encrypted: no kind, priority, patient or time lies on disk in
clear), the chain of statements, and how much of the epoch the box was in service. Every method blocks
and is called through the one `Worker` that owns the outbox; what returned is on disk.

Bounded: at most `alerts_max` alerts wait. When more come, the oldest of the lowest priority are merged
into one that says how many they were; `merged_total` counts them for good.
"""

from __future__ import annotations

import hashlib
import hmac
import os
import sqlite3
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from bedside.attestation.alert import MERGED_KIND, Alert, merge
from bedside.attestation.sign1 import FormError, decode, encode
from bedside.attestation.statement import GENESIS, Link, Status, statement_hash
from bedside.attestation.work import WorkTree
from bedside.core.database import open_durable, transaction
from bedside.core.errors import StoreError
from bedside.core.tables import Database, Migrations

ALERTS_MAX: Final = 2000
TOLD_MAX: Final = 2000  # delivered alerts remembered, so that the same one offered again is not told twice
MERGE_AT_ONCE: Final = 100
STATEMENTS_KEPT: Final = 24 * 31
WHOLE_EPOCH: Final = 0.98  # in service for this part of an epoch's slots: a restart of a minute an hour is allowed
NOTED_AT_ONCE: Final = 6
KEY_BYTES: Final = 32
_ALERT_BYTES: Final = 352  # every alert takes the same room on disk
_SERVICE: Final = ("service_epoch", "service_slots", "service_before")
_NONCE_BYTES: Final = 12
_TAG_BYTES: Final = 16

migrations = Migrations("outbox")


@migrations(name="0001_first")
def _first(db: Database) -> None:
    """Alerts (tag: keyed hash of the alarm's id), statements (answer: NULL until the operator gave one), numbers."""
    db.executescript("""
        CREATE TABLE alert (number INTEGER PRIMARY KEY, tag BLOB NOT NULL UNIQUE, waiting INTEGER NOT NULL,
            sealed BLOB NOT NULL) STRICT;
        CREATE TABLE statement (seq INTEGER PRIMARY KEY, epoch INTEGER NOT NULL UNIQUE, hash BLOB NOT NULL,
            data BLOB NOT NULL, answer TEXT) STRICT;
        CREATE TABLE number (name TEXT PRIMARY KEY, value INTEGER NOT NULL) STRICT;
        """)


@migrations(name="0002_work")
def _work(db: Database) -> None:
    """What the newest statements committed to: opened to the site's auditor, under the outbox's key until then."""
    db.executescript("CREATE TABLE work (epoch INTEGER PRIMARY KEY, sealed BLOB NOT NULL) STRICT;")


@dataclass(frozen=True, slots=True)
class Made:
    """A statement that was just made, and the work tree that it commits to."""

    data: bytes
    work: WorkTree


@dataclass(frozen=True, slots=True)
class Stated:
    """One statement of the chain."""

    seq: int
    epoch: int  # the operator's
    answer: str | None  # None: no answer yet; empty: verified; else the refusal's name


class Outbox:
    """Open with `Outbox.open`."""

    def __init__(self, connection: sqlite3.Connection, key: bytes, alerts_max: int) -> None:
        self._db = connection
        self._key = key
        self._cipher = AESGCM(key)
        self._alerts_max = alerts_max
        self._waiting: dict[bytes, Alert] = {}
        self._told_us: dict[bytes, int] = {}  # by tag: time of the change that was told last
        self._service = (0, 0, 0)  # our own epoch, its slots in service so far, those of the epoch before
        self._unnoted = NOTED_AT_ONCE
        self.unreadable = 0  # rows of another key, dropped when opening

    @classmethod
    def open(cls, path: Path, key: bytes, *, alerts_max: int = ALERTS_MAX) -> Outbox:
        """Open or create, and count one more boot. Raises `StoreError` when the file cannot be used."""
        if len(key) != KEY_BYTES:
            raise ValueError(f"outbox key of {len(key)} bytes: expected {KEY_BYTES}")
        try:
            connection = open_durable(path)
            migrations.apply(Database(connection))
            outbox = cls(connection, key, alerts_max)
            outbox._load()
        except (sqlite3.Error, OSError) as error:
            raise StoreError(f"outbox {path.name}: {error}") from error
        epoch, slots, before = (outbox.number(name) for name in _SERVICE)
        outbox._service = (epoch, slots, before)
        with outbox._write():
            outbox._set("boot_count", outbox.number("boot_count") + 1)
        return outbox

    def close(self) -> None:
        """Safe to call twice."""
        self._db.close()

    def number(self, name: str) -> int:
        """A kept number; 0 before it was set."""
        row = self._db.execute("SELECT value FROM number WHERE name = ?", (name,)).fetchone()
        return int(row[0]) if row is not None else 0

    # Alerts

    @property
    def waiting_count(self) -> int:
        """How many alerts wait for a slot."""
        return len(self._waiting)

    def waiting(self) -> list[Alert]:
        """The alerts that wait for a slot, most urgent first: high priority and newest."""
        return sorted(self._waiting.values(), key=lambda alert: alert.urgency)

    def put_alerts(self, alerts: Sequence[Alert]) -> None:
        """Let alerts wait. A newer change of one that waits takes its place; one that was told is not told again."""
        changed = self._newer(alerts)
        if not changed:
            return
        with self._write():
            for tag, alert in changed.items():
                self._keep(tag, alert, waiting=True)
            kept = {**self._waiting, **changed}
            if len(kept) > self._alerts_max:
                kept = self._bounded(kept)
        self._waiting = kept  # never changed in place: the event loop reads it while the worker writes

    def delivered(self, alerts: Sequence[Alert]) -> None:
        """The operator acknowledged these. One that changed meanwhile goes on waiting."""
        told = {self._tag(alert.alarm): alert for alert in alerts}
        told = {tag: alert for tag, alert in told.items() if self._waiting.get(tag) == alert}
        if not told:
            return
        with self._write() as db:
            db.executemany("UPDATE alert SET waiting = 0 WHERE tag = ?", [(tag,) for tag in told])
            db.execute(
                "DELETE FROM alert WHERE waiting = 0 AND number <="
                " (SELECT number FROM alert WHERE waiting = 0 ORDER BY number DESC LIMIT 1 OFFSET ?)",
                (TOLD_MAX,),
            )
        self._waiting = {tag: alert for tag, alert in self._waiting.items() if tag not in told}
        for tag, alert in told.items():
            self._told_us[tag] = alert.changed_us
        while len(self._told_us) > TOLD_MAX:
            del self._told_us[next(iter(self._told_us))]

    # Service and statements

    def note_slot(self, epoch: int) -> None:
        """The box was in service in one more slot, in its own epoch number `epoch`.

        Written to disk once for `NOTED_AT_ONCE` slots only: a killed box forgets less than a minute of
        service, which `WHOLE_EPOCH` allows, and the flash lives longer.
        """
        current, slots, before = self._service
        if epoch == current:
            self._service = (current, slots + 1, before)
        else:
            self._service = (epoch, 1, slots if epoch == current + 1 else 0)
        self._unnoted += 1
        if self._service[1] % NOTED_AT_ONCE == 1 or self._unnoted > NOTED_AT_ONCE:
            with self._write():
                for name, value in zip(_SERVICE, self._service, strict=True):
                    self._set(name, value)
            self._unnoted = 0  # not reached when the disk failed: the next slot tries again

    def in_service(self, epoch: int, slots_per_epoch: int) -> bool:
        """Whether the box was in service for the whole epoch before its own epoch number `epoch`."""
        current, slots, before = self._service
        noted = before if epoch == current else slots if epoch == current + 1 else 0
        return noted >= WHOLE_EPOCH * slots_per_epoch

    def statement(self, epoch: int, whole: bool, build: Callable[[Link], Made]) -> bytes | None:
        """The statement of the operator's epoch: the one that was made, else `build` makes the chain's next.

        It is on disk before it can be sent, so no number is ever signed twice. None when a later epoch
        was stated already: the operator's clock went back.
        """
        row = self._db.execute("SELECT data FROM statement WHERE epoch = ?", (epoch,)).fetchone()
        if row is not None:
            return bytes(row[0])
        last = self._db.execute("SELECT seq, epoch, hash, answer FROM statement ORDER BY seq DESC LIMIT 1").fetchone()
        seq, before, prev, answer = last if last is not None else (0, -1, GENESIS, None)
        if epoch < before:
            return None
        whole = whole and answer == "" and before == epoch - 1
        link = Link(seq + 1, prev, epoch, Status.OK if whole else Status.GAP)
        made = build(link)
        data, nonce = made.data, os.urandom(_NONCE_BYTES)
        work = nonce + self._cipher.encrypt(nonce, made.work.encode(), _work_name(epoch))
        with self._write() as db:
            db.execute("INSERT INTO statement VALUES (?, ?, ?, ?, NULL)", (link.seq, epoch, statement_hash(data), data))
            db.execute("DELETE FROM statement WHERE seq <= ?", (link.seq - STATEMENTS_KEPT,))
            db.execute("DELETE FROM work")  # opened or not: the next beacon asks for this one
            db.execute("INSERT INTO work VALUES (?, ?)", (epoch, work))
        return data

    def work(self, epoch: int) -> WorkTree | None:
        """What the statement of the operator's epoch committed to; None when it is not the newest, or unreadable."""
        row = self._db.execute("SELECT sealed FROM work WHERE epoch = ?", (epoch,)).fetchone()
        if row is None:
            return None
        sealed = bytes(row[0])
        try:
            return WorkTree.decode(
                self._cipher.decrypt(sealed[:_NONCE_BYTES], sealed[_NONCE_BYTES:], _work_name(epoch))
            )
        except (InvalidTag, ValueError):  # of another key: nobody can open it again
            return None

    def answered(self, data: bytes, reason: str, epoch: int) -> None:
        """The operator judged a statement in our own epoch `epoch`: empty when verified, else the refusal's name."""
        with self._write() as db:
            db.execute("UPDATE statement SET answer = ? WHERE hash = ?", (reason, statement_hash(data)))
            self._set("stated_epoch", epoch)

    def newest_statement(self) -> Stated | None:
        """The newest statement that was made, or None."""
        row = self._db.execute("SELECT seq, epoch, answer FROM statement ORDER BY seq DESC LIMIT 1").fetchone()
        return Stated(*row) if row is not None else None

    def set_enrolled(self, enrolled: bool) -> None:
        """Remember whether the operator knows our key. One that we enrol with knows no earlier statement."""
        with self._write() as db:
            self._set("enrolled", int(enrolled))
            db.execute("UPDATE statement SET answer = 'before_enrolment' WHERE answer = ''")

    # Below

    def _newer(self, alerts: Sequence[Alert]) -> dict[bytes, Alert]:
        """The alerts that say something new, the newest for each alarm."""
        found: dict[bytes, Alert] = {}
        for alert in alerts:
            tag = self._tag(alert.alarm)
            known = found.get(tag) or self._waiting.get(tag)
            known_us = known.changed_us if known is not None else self._told_us.get(tag, -1)
            if alert.changed_us > known_us or (known is not None and alert.changed_us == known_us and alert != known):
                found[tag] = alert
        return found

    def _bounded(self, waiting: dict[bytes, Alert]) -> dict[bytes, Alert]:
        """`waiting` with its least urgent and oldest merged into one. Inside a transaction."""
        by_loss = sorted(waiting.items(), key=lambda item: (-item[1].urgency[0], item[1].raised_us))
        earlier = [item for item in by_loss if item[1].kind == MERGED_KIND]
        single = [item for item in by_loss if item[1].kind != MERGED_KIND]
        victims = dict(earlier + single[: len(waiting) - self._alerts_max + MERGE_AT_ONCE])
        merged = merge(list(victims.values()))
        self._db.executemany("DELETE FROM alert WHERE tag = ?", [(tag,) for tag in victims])
        tag = self._tag(merged.alarm)
        self._keep(tag, merged, waiting=True)
        lost = len([1 for alert in victims.values() if alert.kind != MERGED_KIND])
        self._set("merged_total", self.number("merged_total") + lost)
        return {**{known: alert for known, alert in waiting.items() if known not in victims}, tag: merged}

    def _load(self) -> None:
        unreadable: list[int] = []
        for number, tag, waiting, sealed in self._db.execute("SELECT * FROM alert ORDER BY number"):
            try:
                alert = self._opened(tag, sealed)
            except (InvalidTag, ValueError):  # the key was replaced: nobody can read these again
                unreadable.append(number)
                continue
            if waiting:
                self._waiting[tag] = alert
            else:
                self._told_us[tag] = alert.changed_us
        self._db.executemany("DELETE FROM alert WHERE number = ?", [(number,) for number in unreadable])
        self.unreadable = len(unreadable)

    def _keep(self, tag: bytes, alert: Alert, *, waiting: bool) -> None:
        self._db.execute(
            "INSERT INTO alert (tag, waiting, sealed) VALUES (?, ?, ?)"
            " ON CONFLICT (tag) DO UPDATE SET waiting = excluded.waiting, sealed = excluded.sealed",
            (tag, int(waiting), self._sealed(tag, alert)),
        )

    def _sealed(self, tag: bytes, alert: Alert) -> bytes:
        nonce = os.urandom(_NONCE_BYTES)  # random: also safe when a copy of the disk goes on writing
        plain = encode(alert.to_list())
        if len(plain) > _ALERT_BYTES:
            raise ValueError(f"alert of {len(plain)} bytes: at most {_ALERT_BYTES}")
        return nonce + self._cipher.encrypt(nonce, plain.ljust(_ALERT_BYTES, b"\x00"), tag)

    def _opened(self, tag: bytes, sealed: bytes) -> Alert:
        plain = self._cipher.decrypt(sealed[:_NONCE_BYTES], sealed[_NONCE_BYTES:], tag)
        try:
            return Alert.from_list(decode(plain))
        except FormError as error:
            raise ValueError("alert: unknown form") from error

    def _tag(self, alarm: str) -> bytes:
        """Names an alarm on disk without telling which: a keyed hash of its id."""
        return hmac.new(self._key, b"alarm " + alarm.encode(), hashlib.sha256).digest()[:_TAG_BYTES]

    def _set(self, name: str, value: int) -> None:
        self._db.execute(
            "INSERT INTO number VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET value = excluded.value", (name, value)
        )

    def _write(self) -> AbstractContextManager[sqlite3.Connection]:
        """One transaction: whole or not at all. Raises `StoreError`."""
        return transaction(self._db, "outbox")


def _work_name(epoch: int) -> bytes:
    """Bound to the sealed work, so that one epoch's cannot stand for another's."""
    return b"work " + epoch.to_bytes(8, "big")
