"""What the operator keeps: one SQLite file with a single writer.

Every method blocks and is called through the one `Worker` that owns the sink. What is refused is
kept too (bounded), since it is evidence; what a stranger sends is only counted.
"""

from __future__ import annotations

import hashlib
import sqlite3
from collections.abc import Mapping
from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

from bedside.attestation.exchange import PickedUp, Sealed
from bedside.attestation.sign1 import decode, encode
from bedside.attestation.statement import Measured
from bedside.attestation.verify import Gateway, Received, Verdict
from bedside.core.database import open_durable, transaction
from bedside.core.errors import SetupError
from bedside.core.tables import Database, Migrations

ENVELOPES_MAX: Final = 400_000  # rows: bounds the file at about 1 GB however long the age is
REFUSED_MAX: Final = 10_000
BEACONS_KEPT: Final = 24 * 731  # evidence of the last two years can be made
BEACONS_KNOWN: Final = 72  # a statement is judged by these

migrations = Migrations("operator")


@migrations(name="0001_first")
def _first(db: Database) -> None:
    """Gateways with their chains, beacons, statements, envelopes, enrolment tokens, counters."""
    db.executescript("""
        CREATE TABLE gateway (kid BLOB PRIMARY KEY, public_key BLOB NOT NULL, sueid BLOB NOT NULL,
            enrolled_us INTEGER NOT NULL, revoked_us INTEGER, contact_us INTEGER NOT NULL,
            refs BLOB NOT NULL, chain BLOB NOT NULL) STRICT;
        CREATE TABLE beacon (epoch INTEGER PRIMARY KEY, value BLOB NOT NULL) STRICT;
        CREATE TABLE statement (number INTEGER PRIMARY KEY, hash BLOB NOT NULL UNIQUE, kid BLOB NOT NULL,
            received_us INTEGER NOT NULL, epoch INTEGER, seq INTEGER, refusal TEXT, payable INTEGER NOT NULL,
            data BLOB NOT NULL) STRICT;
        CREATE INDEX statement_kid ON statement (kid, number);
        CREATE TABLE envelope (number INTEGER PRIMARY KEY AUTOINCREMENT, id TEXT NOT NULL, kid BLOB NOT NULL,
            slot INTEGER NOT NULL, recipient BLOB NOT NULL, received_us INTEGER NOT NULL, sealed BLOB NOT NULL,
            UNIQUE (kid, id, recipient)) STRICT;
        CREATE INDEX envelope_recipient ON envelope (recipient, number);
        CREATE INDEX envelope_received ON envelope (received_us);
        CREATE TABLE token (hash BLOB PRIMARY KEY, expires_us INTEGER NOT NULL, kid BLOB) STRICT;
        CREATE TABLE counter (name TEXT PRIMARY KEY, value INTEGER NOT NULL, last_us INTEGER NOT NULL) STRICT;
        """)


@migrations(name="0002_audits")
def _audits(db: Database) -> None:
    """The care sites' auditors with their licensed beds, and how each statement was audited and paid."""
    db.executescript("""
        CREATE TABLE auditor (kid BLOB PRIMARY KEY, public_key BLOB NOT NULL, site TEXT NOT NULL,
            beds INTEGER NOT NULL, trusted_us INTEGER NOT NULL, revoked_us INTEGER) STRICT;
        ALTER TABLE statement ADD COLUMN tier TEXT;
        ALTER TABLE statement ADD COLUMN auditor BLOB;
        """)


class Sink:
    """The operator's database. Opened for writing by the service, read-only by `operator status`."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._db = connection

    @classmethod
    def open(cls, path: Path) -> Sink:
        """Open or create. Raises `SetupError` when the file cannot be written or is no database."""
        try:
            connection = open_durable(path)
            migrations.apply(Database(connection))
        except (sqlite3.Error, OSError) as error:
            raise SetupError(
                f"operator's database {path}: {error}", hint="free some space, or let this user write the folder"
            ) from error
        return cls(connection)

    @classmethod
    def read(cls, path: Path) -> Sink:
        """Open to look only. Raises `SetupError` when there is none yet."""
        if not path.exists():
            raise SetupError(
                f"no operator has run here: {path} is missing", hint="start it with `bedside run` or `operator run`"
            )
        try:
            connection = sqlite3.connect(f"file:{path}?mode=ro", uri=True, isolation_level=None)
            connection.execute("SELECT count(*) FROM gateway").fetchone()
        except sqlite3.Error as error:
            raise SetupError(f"operator's database {path}: {error}", hint="look at the file's permissions") from error
        return cls(connection)

    def close(self) -> None:
        """Safe to call twice."""
        self._db.close()

    # Tokens and enrolment

    def put_token(self, token: str, expires_us: int, now_us: int) -> None:
        """Let one gateway enrol with `token` until `expires_us`; only its hash is kept."""
        with self._write() as db:
            db.execute("DELETE FROM token WHERE kid IS NULL AND expires_us < ?", (now_us,))
            db.execute("INSERT OR REPLACE INTO token VALUES (?, ?, NULL)", (_token_hash(token), expires_us))

    def enrol(self, token: str, gateway: Gateway, now_us: int) -> str | None:
        """Enrol, once for each token; the reason for a refusal, or None. The same again is no change."""
        with self._write() as db:
            row = db.execute("SELECT expires_us, kid FROM token WHERE hash = ?", (_token_hash(token),)).fetchone()
            if row is None:
                return "token_unknown"
            expires_us, used_by = row
            if used_by is not None:
                return None if used_by == gateway.kid else "token_used"
            if expires_us < now_us:
                return "token_expired"
            if self.gateway(gateway.kid) is not None:
                return "key_enrolled_before"
            db.execute("UPDATE token SET kid = ? WHERE hash = ?", (gateway.kid, _token_hash(token)))
            db.execute(
                "INSERT INTO gateway VALUES (?, ?, ?, ?, NULL, ?, ?, ?)",
                (
                    gateway.kid,
                    gateway.public_key,
                    gateway.sueid,
                    now_us,
                    now_us,
                    _encode_references(gateway.references),
                    _encode_chain(gateway),
                ),
            )
        return None

    def gateway(self, kid: bytes) -> Gateway | None:
        """One enrolled gateway with its chain, or None."""
        row = self._db.execute(
            "SELECT kid, public_key, sueid, revoked_us, refs, chain FROM gateway WHERE kid = ?", (kid,)
        ).fetchone()
        if row is None:
            return None
        base = Gateway(row[0], row[1], row[2], _decode_references(row[4]), row[3] is not None)
        seq, epoch, boot_count, recent, *later = decode(row[5])
        return replace(
            base,
            seq=seq,
            epoch=epoch,
            boot_count=boot_count,
            auditor=later[0] if later else b"",
            recent=tuple(Received(*item) for item in recent),
        )

    def gateways(self) -> list[bytes]:
        """The kids of all that ever enrolled, in that order."""
        return [row[0] for row in self._db.execute("SELECT kid FROM gateway ORDER BY enrolled_us, kid")]

    def revoke(self, kid: bytes, now_us: int) -> bool:
        """Take a key out of service for good; False when it is not enrolled."""
        with self._write() as db:
            return db.execute("UPDATE gateway SET revoked_us = ? WHERE kid = ?", (now_us, kid)).rowcount > 0

    def add_reference(self, kid: bytes, measured: Measured) -> None:
        """Let a gateway run this too, besides what it may already."""
        gateway = self.gateway(kid)
        if gateway is None:
            raise KeyError(kid.hex())
        if measured not in gateway.references:
            with self._write() as db:
                blob = _encode_references((*gateway.references, measured))
                db.execute("UPDATE gateway SET refs = ? WHERE kid = ?", (blob, kid))

    # Auditors

    def trust_auditor(self, kid: bytes, public_key: bytes, site: str, beds: int, now_us: int) -> None:
        """Take this key's audits as a care site's, for at most `beds` gateways an epoch. Again: other beds or name."""
        with self._write() as db:
            db.execute(
                "INSERT INTO auditor VALUES (?, ?, ?, ?, ?, NULL)"
                " ON CONFLICT (kid) DO UPDATE SET site = excluded.site, beds = excluded.beds",
                (kid, public_key, site, beds, now_us),
            )

    def revoke_auditor(self, kid: bytes, now_us: int) -> bool:
        """Take an auditor's key out of service for good; False when it is not known."""
        with self._write() as db:
            return db.execute("UPDATE auditor SET revoked_us = ? WHERE kid = ?", (now_us, kid)).rowcount > 0

    def auditors(self) -> dict[bytes, bytes]:
        """The public keys of the auditors in service, by kid."""
        return dict(self._db.execute("SELECT kid, public_key FROM auditor WHERE revoked_us IS NULL").fetchall())

    # Beacons

    def beacon(self, epoch: int, fresh: bytes) -> bytes:
        """The beacon of an epoch: the one published before, else `fresh`, which is then published."""
        with self._write() as db:
            db.execute("INSERT OR IGNORE INTO beacon VALUES (?, ?)", (epoch, fresh))
            db.execute("DELETE FROM beacon WHERE epoch < ?", (epoch - BEACONS_KEPT,))
            value: bytes = db.execute("SELECT value FROM beacon WHERE epoch = ?", (epoch,)).fetchone()[0]
        return value

    def beacons(self) -> dict[int, bytes]:
        """The beacons of the newest epochs."""
        return dict(
            self._db.execute("SELECT epoch, value FROM beacon ORDER BY epoch DESC LIMIT ?", (BEACONS_KNOWN,)).fetchall()
        )

    # Statements

    def verdict(self, digest: bytes) -> tuple[str | None] | None:
        """How a statement with these very bytes was judged before: (refusal or None,), or None when never."""
        row = self._db.execute("SELECT refusal FROM statement WHERE hash = ?", (digest,)).fetchone()
        return None if row is None else (row[0],)

    def put_statement(self, data: bytes, verdict: Verdict, now_us: int) -> None:
        """Keep a judged statement of an enrolled gateway, and its chain's new head when it was verified."""
        assert verdict.gateway is not None
        link = verdict.statement.link if verdict.statement is not None else None
        where = (link.epoch, link.seq) if link is not None else (None, None)
        refusal = None if verdict.refusal is None else str(verdict.refusal)
        audit = verdict.statement.audit if verdict.statement is not None else None
        auditor = audit.auditor if audit is not None else None
        with self._write() as db:
            tier = None if verdict.tier is None else str(verdict.tier)
            db.execute(
                "INSERT OR IGNORE INTO statement"
                " (hash, kid, received_us, epoch, seq, refusal, payable, data, tier, auditor)"
                " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                (
                    verdict.hash, verdict.gateway.kid, now_us, *where, refusal,
                    int(tier is not None), data, tier, auditor,
                ),
            )  # fmt: skip
            chain = _encode_chain(verdict.gateway)
            db.execute(
                "UPDATE gateway SET contact_us = ?, chain = ? WHERE kid = ?", (now_us, chain, verdict.gateway.kid)
            )
            db.execute(
                "DELETE FROM statement WHERE refusal IS NOT NULL AND number <= (SELECT number FROM statement"
                " WHERE refusal IS NOT NULL ORDER BY number DESC LIMIT 1 OFFSET ?)",
                (REFUSED_MAX,),
            )

    def count(self, name: str, now_us: int) -> None:
        """One more of what is not worth keeping."""
        with self._write() as db:
            db.execute(
                "INSERT INTO counter VALUES (?, 1, ?)"
                " ON CONFLICT (name) DO UPDATE SET value = value + 1, last_us = excluded.last_us",
                (name, now_us),
            )

    # Envelopes

    def put_envelope(
        self, message_id: str, kid: bytes, slot: int, parts: tuple[Sealed, ...], now_us: int, keep_us: int
    ) -> None:
        """Keep one slot's envelopes, once for each message id, and forget those older than `keep_us`."""
        with self._write() as db:
            db.executemany(
                "INSERT OR IGNORE INTO envelope (id, kid, slot, recipient, received_us, sealed)"
                " VALUES (?, ?, ?, ?, ?, ?)",
                [(message_id, kid, slot, part.recipient, now_us, part.data) for part in parts],
            )
            db.execute("UPDATE gateway SET contact_us = ? WHERE kid = ?", (now_us, kid))
            db.execute("DELETE FROM envelope WHERE received_us < ?", (now_us - keep_us,))
            db.execute("DELETE FROM envelope WHERE number <= (SELECT max(number) FROM envelope) - ?", (ENVELOPES_MAX,))

    def pick_up(self, recipient: bytes, after: int, limit: int) -> list[PickedUp]:
        """A recipient's envelopes numbered above `after`, oldest first. They stay until they are too old."""
        rows = self._db.execute(
            "SELECT number, received_us, kid, sealed FROM envelope WHERE recipient = ? AND number > ?"
            " ORDER BY number LIMIT ?",
            (recipient, after, limit),
        )
        return [PickedUp(*row) for row in rows]

    # For `operator status`

    def rows(self, query: str, values: tuple[Any, ...] = ()) -> list[dict[str, Any]]:
        """Rows as mappings, for reports."""
        cursor = self._db.execute(query, values)
        names = [column[0] for column in cursor.description]
        return [dict(zip(names, row, strict=True)) for row in cursor]

    def _write(self) -> AbstractContextManager[sqlite3.Connection]:
        """One transaction: whole or not at all. Raises `StoreError`."""
        return transaction(self._db, "operator's database")


def _token_hash(token: str) -> bytes:
    return hashlib.sha256(b"bedside enrol token " + token.strip().encode()).digest()


def _encode_references(references: tuple[Measured, ...]) -> bytes:
    return encode([[measured.to_map(), measured.version] for measured in references])


def _decode_references(blob: bytes) -> tuple[Measured, ...]:
    return tuple(Measured.from_map(values, version) for values, version in decode(blob))


def _encode_chain(gateway: Gateway) -> bytes:
    recent = [[item.epoch, item.seq, item.hash, item.root] for item in gateway.recent]
    return encode([gateway.seq, gateway.epoch, gateway.boot_count, recent, gateway.auditor])


def measured_view(measured: Measured) -> Mapping[str, Any]:
    """A measurement for people: digests as hex."""
    return {
        "version": measured.version,
        "models": {name: digest.hex() for name, digest in measured.models.items()},
        "runtime": measured.runtime,
        "runtime_digest": measured.runtime_digest.hex(),
        "kernels": measured.kernels,
    }
