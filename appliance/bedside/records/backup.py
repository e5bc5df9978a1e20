"""Backups: a whole, verified copy of the records while they are written, and its return to an empty data folder.

A backup is the database as it lies (sealed rows), the data keys (wrapped), and the box key if a passphrase
seals it. Its manifest is sealed with the box key. A restored store seals under salts of its own opening,
as every opening does, so that no nonce is ever used twice, however many boxes a backup is restored to.
"""

from __future__ import annotations

import contextlib
import hashlib
import hmac
import json
import os
import shutil
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from bedside.core.errors import SetupError, StoreError
from bedside.records.database import connect, guarded
from bedside.records.erasure import (
    FOLDER,
    Certificate,
    certificates_in,
    checked_certificate,
    keep_certificate,
    public_keys,
)
from bedside.records.files import sync_folder, write_atomically
from bedside.records.keys import BOX_FILE, NEXT_FILE, KeyRing
from bedside.records.reader import Records
from bedside.records.schema import LAYOUT_VERSION
from bedside.records.store import open_store
from bedside.records.verify import VerifyReport, verify
from bedside.settings import Home

MANIFEST = "backup.json"
_FORMAT = 1
_PURPOSE = "backup manifest"
_FOLDER_MODE = 0o700
_TRIES = 5


@dataclass(frozen=True, slots=True)
class Backup:
    """What a backup holds: the log's size and root when it was made, and each file's SHA-256."""

    v: int
    layout: int
    made_us: int
    entries: int
    root: str
    files: dict[str, str]

    def seal(self, keys: KeyRing) -> str:
        """What proves that the holder of the box key made it."""
        return hmac.digest(keys.derive(_PURPOSE), json.dumps(asdict(self), sort_keys=True).encode(), "sha256").hex()


def backup(records: Records, folder: Path, *, now_us: int, open_key: bool = False) -> Backup:
    """Copy the records to a new folder, also while a gateway writes them, and verify the copy.

    `open_key`: include the box key although no passphrase seals it. The folder appears whole or not at
    all. Raises `SetupError` (folder exists, key not sealed), `StoreError` (disk, the copy does not verify).
    """
    if folder.exists():
        raise SetupError(f"{folder} is there already", hint="name a new folder: a backup never changes an older one")
    if not records.keys.protected and not open_key:
        raise SetupError(
            "the box key is not sealed by a passphrase: whoever holds the backup could read it",
            hint="set one with `bedside records passphrase`, or accept that with --open-key",
        )
    partial = folder.with_name(f".{folder.name}.partial")
    try:
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir(mode=_FOLDER_MODE, parents=True)
        made = _copy(records, Home(partial), now_us)
        content = asdict(made) | {"seal": made.seal(records.keys)}
        write_atomically(partial / MANIFEST, json.dumps(content, indent=1).encode())
        partial.rename(folder)
        sync_folder(folder.parent)
    except OSError as error:
        shutil.rmtree(partial, ignore_errors=True)
        raise StoreError(f"cannot write the backup {folder}: {error.strerror or error}") from error
    except BaseException:
        shutil.rmtree(partial, ignore_errors=True)
        raise
    return made


def _copy(records: Records, home: Home, now_us: int) -> Backup:
    with records.snapshot() as source:
        copy = connect(home.store_db, writing=True)
        try:
            with guarded(home.store_db, "copying"):
                source.execute("SELECT count(*) FROM flag").fetchone()  # the moment that is copied
                source.backup(copy)
                copy.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        finally:
            copy.close()
    _copy_keys(records.keys.folder, home.keys)  # after the rows: no row without its key
    report = _verified(home, records.keys)
    files = {str(path.relative_to(home.path)): _sha256(path) for path in _files(home.path)}
    return Backup(_FORMAT, LAYOUT_VERSION, now_us, report.entries, report.root, files)


def _copy_keys(source: Path, target: Path) -> None:
    """With the certificates of erasure. Begins anew when the box key was changed meanwhile."""
    for _ in range(_TRIES):
        box_key = (source / BOX_FILE).read_bytes()
        shutil.rmtree(target, ignore_errors=True)
        for folder in (target, target / "data"):
            folder.mkdir(mode=_FOLDER_MODE, exist_ok=True)
        small = [source / BOX_FILE, source / NEXT_FILE, *sorted((source / FOLDER).glob("*.json"))]
        for path in [*small, *sorted((source / "data").glob("*/*.key"))]:
            with contextlib.suppress(FileNotFoundError):
                write_atomically(target / path.relative_to(source), path.read_bytes())
        if (source / BOX_FILE).read_bytes() == box_key:
            return
    raise StoreError("the box key was changed again and again while it was copied")


def _verified(home: Home, keys: KeyRing) -> VerifyReport:
    """Raises `StoreError` that names the first thing that is not as it was written."""
    connection = connect(home.store_db, writing=False)
    copied = Records(home.store_db, connection, keys)
    try:
        report = verify(copied)
    finally:
        copied.close()
    for suffix in ("-wal", "-shm"):
        home.store_db.with_name(home.store_db.name + suffix).unlink(missing_ok=True)
    if not report.ok:
        raise StoreError(f"the copy does not verify: {report.findings[0].sentence()}")
    return report


def restore(
    folder: Path, home: Home, *, passphrase: str | None, codes: Sequence[str] = (), certificates: Sequence[Path] = ()
) -> Backup:
    """Put a backup into a data folder that holds no records, and verify it there.

    Patients who were erased since, by certificates of this box that are given or lie in other backups beside this
    one, are erased when the folder is opened. `codes`: recovery codes in the place of the passphrase.

    Raises `SetupError` (no backup, records there, wrong passphrase), `StoreError` (altered, disk): then
    the data folder holds no records, as before.
    """
    made, seal = read_manifest(folder)
    if home.store_db.exists() or home.keys.exists():
        raise SetupError(f"{home.path} holds records or keys already", hint="name an empty folder with --home DIR")
    for name, digest in made.files.items():
        if not (folder / name).is_file() or _sha256(folder / name) != digest:
            raise StoreError(f"{folder / name} is not what was backed up")
    keys = _ring(folder / "keys", passphrase, codes)
    erased = [*(checked_certificate(path, keys) for path in certificates), *_beside(folder, keys)]
    home.make()
    try:
        _copy_keys(folder / "keys", home.keys)
        keys = _ring(home.keys, passphrase, codes)
        for certificate in erased:  # before there are records: whoever opens them erases first
            keep_certificate(keys, certificate)
        if not hmac.compare_digest(seal, made.seal(keys)):
            raise StoreError(f"{folder / MANIFEST} was not written with this box's key")
        arriving = home.store_db.with_name(".store.db.arriving")
        shutil.copyfile(folder / "store.db", arriving)
        arriving.chmod(0o600)
        with arriving.open("rb") as there:
            os.fsync(there.fileno())
        arriving.rename(home.store_db)
        sync_folder(home.path)
        report = _verified(home, keys)
        if (report.entries, report.root) != (made.entries, made.root):
            raise StoreError(f"the log of {folder} is not the one that its manifest names")
    except BaseException as error:
        home.store_db.unlink(missing_ok=True)
        shutil.rmtree(home.keys, ignore_errors=True)
        if isinstance(error, OSError):
            raise StoreError(f"cannot restore to {home.path}: {error.strerror or error}") from error
        raise
    return made


def _ring(folder: Path, passphrase: str | None, codes: Sequence[str]) -> KeyRing:
    return KeyRing.open(folder, passphrase=passphrase, may_create=lambda: False, may_protect=False, codes=codes)


def _beside(folder: Path, keys: KeyRing) -> list[Certificate]:
    """Certificates of this box in other backups of the same folder."""
    trusted, found = public_keys(keys), []
    for other in sorted(folder.absolute().parent.glob(f"*/keys/{FOLDER}")):
        for certificate in certificates_in(other):
            with contextlib.suppress(StoreError):
                certificate.check(trusted)
                found.append(certificate)
    return found


def erase_from(folder: Path, certificate: Certificate, *, passphrase: str | None) -> None:
    """Erase a patient from a backup, too, as her certificate says. May be repeated after it was cut short.

    Raises `SetupError` (no backup, wrong passphrase), `StoreError` (it does not verify).
    """
    made, _ = read_manifest(folder)
    home = Home(folder)
    before = {path.name for path in folder.iterdir()}
    store = open_store(home, passphrase=passphrase)
    keys = store.keys
    try:
        store.erase_as_certified(certificate)
        report = verify(store)
    finally:
        store.close()
        for path in folder.iterdir():
            if path.name not in before and path != home.store_db:
                shutil.rmtree(path) if path.is_dir() else path.unlink()
    if not report.ok or (report.entries, report.root) != (made.entries, made.root):
        raise StoreError(f"{folder} is erased, but it is not the backup that its manifest names: do not restore it")
    files = {str(path.relative_to(folder)): _sha256(path) for path in _files(folder) if path.name != MANIFEST}
    again = replace(made, files=files)
    content = asdict(again) | {"seal": again.seal(keys)}
    write_atomically(folder / MANIFEST, json.dumps(content, indent=1).encode())


def read_manifest(folder: Path) -> tuple[Backup, str]:
    """A backup's manifest and its seal, not yet checked. Raises `SetupError`."""
    try:
        content = json.loads((folder / MANIFEST).read_bytes())
        seal = str(content.pop("seal"))
        if int(content["v"]) > _FORMAT or int(content["layout"]) > LAYOUT_VERSION:
            raise SetupError(
                f"{folder} was made by a newer Bedside", hint="restore it with that version or a later one"
            )
        made = Backup(**content)
        if any(Path(name).is_absolute() or ".." in Path(name).parts for name in made.files):
            raise ValueError("a file outside the backup")
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise SetupError(f"{folder} holds no whole backup", hint=f"name a folder that holds {MANIFEST}") from error
    return made, seal


def _files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file())


def _sha256(path: Path) -> str:
    with path.open("rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest()
