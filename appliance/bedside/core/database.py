"""SQLite as the outbox and the operator keep it: durable on commit, private, one writer, whole transactions.

The records have their own way of opening (integrity checks, repair); see `bedside.records.database`.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from bedside.core.errors import StoreError


def open_durable(path: Path) -> sqlite3.Connection:
    """Open or create a database (0600) whose commits are on disk when they return. Raises `sqlite3.Error`, `OSError`.

    Transactions are explicit (`transaction`); any thread may use the connection, one at a time.
    """
    connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
    path.chmod(0o600)
    for pragma in ("journal_mode = WAL", "synchronous = FULL", "secure_delete = ON"):
        connection.execute(f"PRAGMA {pragma}")
    return connection


@contextmanager
def transaction(connection: sqlite3.Connection, name: str) -> Iterator[sqlite3.Connection]:
    """One transaction: whole or not at all. Raises `StoreError` that begins with `name`."""
    try:
        connection.execute("BEGIN IMMEDIATE")
        try:
            yield connection
        except BaseException:
            if connection.in_transaction:  # a full disk rolls back by itself
                connection.execute("ROLLBACK")
            raise
        connection.execute("COMMIT")
    except sqlite3.Error as error:
        raise StoreError(f"{name}: {error}") from error
