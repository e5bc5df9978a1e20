"""The SQLite connection: opened for durability, checked, and its errors told in words that say who can mend them."""

from __future__ import annotations

import os
import sqlite3
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from bedside.core.errors import StoreError
from bedside.records.files import SECRET_MODE

CHECK_S = 2.0  # patience of the check at start; `bedside records verify` has no such limit
_BUSY_S = 5.0
_WAL_BYTES_MAX = 64 * 1024 * 1024
_DAMAGE = ("SQLITE_CORRUPT", "SQLITE_NOTADB", "SQLITE_FORMAT")


class DamagedError(StoreError):
    """The database file itself is damaged: no retry and no free space will mend it."""


@contextmanager
def guarded(path: Path, doing: str) -> Iterator[None]:
    """Turn SQLite's errors into `StoreError` (damage into `DamagedError`) that says what to do."""
    try:
        yield
    except sqlite3.Error as error:
        name = getattr(error, "sqlite_errorname", type(error).__name__)
        if name.startswith(_DAMAGE):
            raise DamagedError(
                f"{path} is damaged ({name}, while {doing}): keep the file, "
                "`bedside records verify` names what can still be read"
            ) from error
        raise StoreError(f"cannot go on {doing} in {path}: {_remedy(name, path)}") from error
    except (UnicodeDecodeError, OverflowError) as error:  # what only a damaged row can hold
        raise DamagedError(f"{path} is damaged ({type(error).__name__}, while {doing})") from error


def _remedy(name: str, path: Path) -> str:
    if name.startswith("SQLITE_FULL"):
        return f"the disk is full; free some space under {path.parent}, writing then goes on"
    if name.startswith(("SQLITE_READONLY", "SQLITE_CANTOPEN", "SQLITE_PERM")):
        return f"the folder or file may not be written ({name}); check its mount and its owner"
    if name.startswith("SQLITE_IOERR"):
        return f"the disk refuses ({name}); it may be full, over quota, or failing"
    if name.startswith("SQLITE_BUSY"):
        return "another program holds the database"
    return name


def connect(path: Path, *, writing: bool) -> sqlite3.Connection:
    """A connection for one owner at a time, on any thread. Raises `StoreError`."""
    with guarded(path, "opening"):
        if writing:
            _create(path)
        mode = "rw" if writing else "ro"
        connection = sqlite3.connect(
            f"{path.absolute().as_uri()}?mode={mode}",
            uri=True,
            isolation_level=None,
            check_same_thread=False,
            timeout=_BUSY_S,
        )
        try:
            _configure(connection, writing)
        except BaseException:
            connection.close()
            raise
    return connection


def _create(path: Path) -> None:
    """The file with its mode from the first moment; its WAL and index take the mode over."""
    try:
        os.close(os.open(path, os.O_RDWR | os.O_CREAT, SECRET_MODE))
    except OSError as error:
        raise StoreError(f"cannot open {path}: {error.strerror or error}") from error


def _configure(connection: sqlite3.Connection, writing: bool) -> None:
    for pragma in (
        "temp_store = MEMORY",  # no file but the database, its WAL and its index
        "cell_size_check = ON",
        "trusted_schema = OFF",
        "mmap_size = 0",  # a failing disk gives an error, not a signal that ends the process
    ):
        connection.execute(f"PRAGMA {pragma}")
    if not writing:
        connection.execute("PRAGMA query_only = ON")
        return
    mode = connection.execute("PRAGMA journal_mode = WAL").fetchone()[0]
    if mode != "wal":
        raise StoreError(f"the database cannot be put into WAL mode (it is {mode}): is the folder on a network share?")
    for pragma in (
        "synchronous = FULL",  # in WAL mode: each commit is on disk when it returns
        "secure_delete = ON",
        f"journal_size_limit = {_WAL_BYTES_MAX}",
    ):
        connection.execute(f"PRAGMA {pragma}")


def check(connection: sqlite3.Connection, path: Path, patience_s: float = CHECK_S) -> bool:
    """Whether SQLite's own check ended in time and found nothing; False: not ended. Raises `DamagedError`.

    The full check, not the quick one: only it compares the indexes that reads go by with the rows.
    """
    deadline = time.monotonic() + patience_s
    connection.set_progress_handler(lambda: time.monotonic() > deadline, 10_000)
    try:
        with guarded(path, "checking"):
            found = connection.execute("PRAGMA integrity_check(1)").fetchall()
    except StoreError as error:
        if isinstance(error.__cause__, sqlite3.OperationalError) and "interrupted" in str(error.__cause__):
            return False
        raise
    finally:
        connection.set_progress_handler(None, 0)
    if found != [("ok",)]:
        raise DamagedError(f"{path} is damaged: SQLite's check fails")
    return True


@contextmanager
def transaction(connection: sqlite3.Connection) -> Iterator[None]:
    """All or nothing; on disk when the block is left."""
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:  # some errors have ended it already
            connection.execute("ROLLBACK")
        raise
