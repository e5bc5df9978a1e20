"""Key files: secrets made once, whole or not at all, readable by their owner only; and the public files beside them."""

from __future__ import annotations

import json
import os
import secrets
from collections.abc import Callable, Mapping
from pathlib import Path

from bedside.core.errors import SetupError


def load_or_make(path: Path, make: Callable[[], bytes]) -> bytes:
    """The file's bytes; where there is none, it is made with what `make` gives, 0600. Raises `SetupError`."""
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        if not path.exists():
            _make(path, make())
        return path.read_bytes()
    except OSError as error:
        raise SetupError(
            f"key file {path}: {error.strerror or error}", hint="let the appliance's user read and write this folder"
        ) from error


def write_new(path: Path, data: bytes, mode: int = 0o600) -> None:
    """Write a whole new file or replace one: durable, and never seen half-written."""
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
    _sync_folder(path.parent)


def write_public_file(path: Path, kind: str, fields: Mapping[str, str]) -> None:
    """The file by which others know a party of this `kind`: nothing secret in it."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    write_new(path, (json.dumps({"bedside": kind, **fields}, indent=2) + "\n").encode(), 0o644)


def read_public_file(path: Path, kind: str, sizes: Mapping[str, int]) -> dict[str, bytes]:
    """The hex fields named in `sizes`, each of so many bytes. Raises `SetupError` when the file is not that."""
    try:
        body = json.loads(path.read_text())
        found = {name: bytes.fromhex(body[name]) for name in sizes}
        if body["bedside"] != kind or any(len(found[name]) != size for name, size in sizes.items()):
            raise ValueError("another kind of file")
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise SetupError(
            f"{path} is no public file of a {kind}: {error}", hint=f"take the file that the {kind}'s machine wrote"
        ) from error
    return found


def _make(path: Path, data: bytes) -> None:
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    write_new(temporary, data)
    try:
        os.link(temporary, path)  # fails where another process was first: then theirs counts
    except FileExistsError:
        return
    finally:
        temporary.unlink(missing_ok=True)
    _sync_folder(path.parent)


def _sync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
