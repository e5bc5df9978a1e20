"""Secret files: made once, whole or not at all, readable by their owner only."""

from __future__ import annotations

import os
import secrets
from collections.abc import Callable
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
