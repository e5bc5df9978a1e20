"""The auditor's folder: its keys, the site's gateways, and what it signed.

`auditor.key` (secret), `auditor-public.json` (given to the gateways and to the operator), `gateways/KID.json`
(the site's boxes: their key, where they answer, whether they are in service), `audits.db`.

Signed once: for one gateway and epoch there is one result, whatever is offered later. So a gateway cannot
have the same hour audited until the beacon it made up picks nothing bad.
"""

from __future__ import annotations

import json
import os
import sqlite3
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Self

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from bedside.attestation.audit import Audit, Subject
from bedside.attestation.sign1 import decode, encode, key_id
from bedside.core.database import open_durable, transaction
from bedside.core.errors import SetupError
from bedside.core.keyfiles import load_or_make, read_public_file, write_new, write_public_file
from bedside.core.sealing import OpeningKey
from bedside.core.tables import Database, Migrations

KEY_FILE: Final = "auditor.key"
PUBLIC_FILE: Final = "auditor-public.json"
LEDGER_FILE: Final = "audits.db"
AUDITS_KEPT: Final = 24 * 366
_SEED_BYTES: Final = 32
_GATEWAY_SIZES: Final = {"public_key": 32}

migrations = Migrations("auditor")


@migrations(name="0001_first")
def _first(db: Database) -> None:
    """One row for each gateway and epoch: what was audited, and what was signed."""
    db.executescript("""
        CREATE TABLE audit (kid BLOB NOT NULL, epoch INTEGER NOT NULL, at_us INTEGER NOT NULL, subject BLOB NOT NULL,
            result BLOB NOT NULL, failed INTEGER NOT NULL, real INTEGER NOT NULL, in_service INTEGER NOT NULL,
            PRIMARY KEY (kid, epoch)) STRICT;
        """)


@dataclass(frozen=True, slots=True)
class Keys:
    """The auditor's two keys: one to sign, one to open what gateways seal to it. A `Signer`."""

    public_key: bytes
    opening: OpeningKey = field(repr=False)
    _key: Ed25519PrivateKey = field(repr=False, compare=False)

    @classmethod
    def load_or_make(cls, folder: Path) -> Self:
        """From the folder's key file, made at the first call. Raises `SetupError` when it is damaged."""
        path = folder / KEY_FILE
        data = load_or_make(path, lambda: os.urandom(_SEED_BYTES) + OpeningKey.generate().raw)
        try:
            opening = OpeningKey.of(data[_SEED_BYTES:])
        except ValueError as error:
            raise SetupError(f"auditor's key {path}: {error}", hint="restore it from a backup") from error
        key = Ed25519PrivateKey.from_private_bytes(data[:_SEED_BYTES])
        return cls(key.public_key().public_bytes_raw(), opening, key)

    @property
    def kid(self) -> bytes:
        """The short name of the signing key."""
        return key_id(self.public_key)

    def sign(self, message: bytes) -> bytes:
        """64 bytes of Ed25519 signature."""
        return self._key.sign(message)


@dataclass(frozen=True, slots=True)
class SiteGateway:
    """One of the site's boxes."""

    public_key: bytes
    socket: Path
    in_service: bool

    @property
    def kid(self) -> bytes:
        """The short name of its key."""
        return key_id(self.public_key)


def init(folder: Path) -> Path:
    """Make the keys where they are missing, and the public file; its path. Raises `SetupError`."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    keys = Keys.load_or_make(folder)
    path = folder / PUBLIC_FILE
    sealing = keys.opening.public.raw.hex()
    write_public_file(
        path, "auditor", {"kid": keys.kid.hex(), "public_key": keys.public_key.hex(), "sealing_key": sealing}
    )
    return path


def add(folder: Path, public: Path, socket: Path, *, in_service: bool) -> bytes:
    """Audit this box from now on (or change how); its kid. Raises `SetupError` when the file is no gateway's."""
    key = read_public_file(public, "gateway", _GATEWAY_SIZES)["public_key"]
    place = folder / "gateways"
    place.mkdir(mode=0o700, parents=True, exist_ok=True)
    body = {"public_key": key.hex(), "socket": str(socket), "in_service": in_service}
    write_new(place / f"{key_id(key).hex()}.json", (json.dumps(body, indent=2) + "\n").encode())
    return key_id(key)


def gateways(folder: Path) -> tuple[SiteGateway, ...]:
    """The site's boxes, by kid. Raises `SetupError` when a file is damaged."""
    found = []
    for path in sorted((folder / "gateways").glob("*.json")):
        try:
            body = json.loads(path.read_text())
            one = SiteGateway(bytes.fromhex(body["public_key"]), Path(body["socket"]), bool(body["in_service"]))
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise SetupError(f"{path}: {error}", hint="add the gateway again with `bedside auditor add`") from error
        found.append(one)
    return tuple(found)


def accept(public: Path, gateway_keys: Path) -> None:
    """On a gateway's box: let the site whose public file this is audit it. Raises `SetupError`."""
    read_public_file(public, "auditor", {"public_key": 32, "sealing_key": 1216})
    gateway_keys.mkdir(mode=0o700, parents=True, exist_ok=True)
    write_new(gateway_keys / PUBLIC_FILE, public.read_bytes(), 0o644)


class Ledger:
    """What was audited and signed. Every method blocks; what returned is on disk."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._db = connection

    @classmethod
    def open(cls, path: Path) -> Self:
        """Open or create. Raises `SetupError`."""
        try:
            connection = open_durable(path)
            migrations.apply(Database(connection))
        except (sqlite3.Error, OSError) as error:
            raise SetupError(f"auditor's ledger {path}: {error}", hint="look at the folder's permissions") from error
        return cls(connection)

    def close(self) -> None:
        """Safe to call twice."""
        self._db.close()

    def signed(self, kid: bytes, epoch: int) -> tuple[Subject, Audit] | None:
        """What was signed for a gateway's epoch, or None."""
        row = self._db.execute("SELECT subject, result FROM audit WHERE kid = ? AND epoch = ?", (kid, epoch)).fetchone()
        return None if row is None else (Subject(*decode(row[0])), Audit.from_map(decode(row[1])))

    def keep(self, kid: bytes, subject: Subject, audit: Audit, real: int, now_us: int) -> None:
        """Before it is told to anybody. `real`: how many of the challenged leaves held work. Raises `StoreError`."""
        about = encode([subject.sueid, subject.epoch, subject.root, subject.beacon])
        with self._write() as db:
            db.execute(
                "INSERT INTO audit VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
                (
                    kid, subject.epoch, now_us, about, encode(audit.to_map()), audit.failed, real,
                    int(audit.in_service),
                ),
            )  # fmt: skip
            db.execute("DELETE FROM audit WHERE kid = ? AND epoch <= ?", (kid, subject.epoch - AUDITS_KEPT))

    def newest(self) -> list[dict[str, Any]]:
        """The newest audit of each gateway."""
        cursor = self._db.execute(
            "SELECT kid, max(epoch) AS epoch, at_us, failed, real, in_service, count(*) AS audits,"
            " sum(failed > 0) AS bad FROM audit GROUP BY kid ORDER BY kid"
        )
        names = [column[0] for column in cursor.description]
        return [dict(zip(names, row, strict=True)) for row in cursor]

    def _write(self) -> AbstractContextManager[sqlite3.Connection]:
        return transaction(self._db, "auditor's ledger")
