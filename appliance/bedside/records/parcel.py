"""An export sealed to who is to read it: one file that only the recipient's key opens.

    "bedside parcel 1\\n" | HPKE (ML-KEM-768 + X25519, AES-256-GCM) of a tar archive

The plain files are made in memory (`/dev/shm`) and never on the disk. The recipient makes a key pair once
(`bedside records recipient-key FILE`), keeps FILE and gives FILE.pub away.
"""

from __future__ import annotations

import io
import os
import shutil
import tarfile
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from bedside.core.errors import SetupError, StoreError
from bedside.core.sealing import OpeningKey, SealError, SealingKey
from bedside.records.files import write_atomically

MAGIC = b"bedside parcel 1\n"
NAME = "export.sealed"
_INFO = b"bedside export v1"
_MEMORY = Path("/dev/shm")  # noqa: S108 (memory, a folder of its own within)
_PUBLIC, _PRIVATE = "bedside recipient ", "bedside recipient secret "


def make_key(path: Path) -> Path:
    """A key pair: the secret at `path` (0600), the public one beside it. Raises `SetupError` where one is."""
    public = path.with_name(f"{path.name}.pub")
    if path.exists() or public.exists():
        raise SetupError(f"{path} is there already", hint="name another file: a lost key opens nothing any more")
    key = OpeningKey.generate()
    write_atomically(path.absolute(), f"{_PRIVATE}{key.raw.hex()}\n".encode())
    write_atomically(public.absolute(), f"{_PUBLIC}{key.public.raw.hex()}\n".encode())
    return public


def public_key(path: Path) -> SealingKey:
    """Whom to seal to. Raises `SetupError`."""
    try:
        text = path.read_text("ascii").strip()
        if not text.startswith(_PUBLIC) or text.startswith(_PRIVATE):
            raise ValueError("prefix")
        return SealingKey.of(bytes.fromhex(text.removeprefix(_PUBLIC)))
    except (OSError, ValueError) as error:
        raise SetupError(
            f"{path} holds no recipient's public key", hint="it ends in .pub; ask the recipient"
        ) from error


def secret_key(path: Path) -> OpeningKey:
    """Who opens. Raises `SetupError`."""
    try:
        text = path.read_text("ascii").strip()
        if not text.startswith(_PRIVATE):
            raise ValueError("prefix")
        return OpeningKey.of(bytes.fromhex(text.removeprefix(_PRIVATE)))
    except (OSError, ValueError) as error:
        raise SetupError(f"{path} holds no recipient's secret key", hint="name the file without .pub") from error


@contextmanager
def in_memory() -> Iterator[Path]:
    """A folder that is no disk, removed with all in it. Raises `SetupError` where the machine has none."""
    if not _MEMORY.is_dir() or not os.access(_MEMORY, os.W_OK):
        raise SetupError("there is no folder in memory (/dev/shm) to make the files in", hint="export without a seal")
    folder = Path(tempfile.mkdtemp(prefix="bedside-export-", dir=_MEMORY))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def seal_folder(source: Path, recipient: SealingKey) -> bytes:
    """The parcel of all files of a folder."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as archive:
        for path in sorted(source.iterdir()):
            entry = tarfile.TarInfo(path.name)
            entry.size, entry.mode = path.stat().st_size, 0o600
            with path.open("rb") as content:
                archive.addfile(entry, content)
    return MAGIC + recipient.seal(out.getvalue(), _INFO)


def open_parcel(parcel: Path, key: OpeningKey, folder: Path) -> list[Path]:
    """Put its files into a new folder. Raises `SetupError` (folder), `StoreError` (not for this key, altered)."""
    if folder.exists():
        raise SetupError(f"{folder} is there already", hint="name a new folder")
    try:
        data = parcel.read_bytes()
        if not data.startswith(MAGIC):
            raise StoreError(f"{parcel} is no sealed export")
        plain = key.open(data[len(MAGIC) :], _INFO)
        folder.mkdir(mode=0o700, parents=True)
        with tarfile.open(fileobj=io.BytesIO(plain)) as archive:
            for entry in archive:
                content = archive.extractfile(entry)
                if content is None or "/" in entry.name or entry.name.startswith("."):
                    raise StoreError(f"{parcel} holds what no export does")
                (folder / entry.name).write_bytes(content.read())
    except SealError as error:
        raise StoreError(f"{parcel} is for another key, or was altered") from error
    except OSError as error:
        raise SetupError(f"{parcel} or {folder}: {error.strerror or error}", hint="check both") from error
    return sorted(folder.iterdir())
