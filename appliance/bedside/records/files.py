"""Small files that must be there whole after a power cut, and the lock that lets one process own a data folder."""

from __future__ import annotations

import contextlib
import fcntl
import os
from pathlib import Path

from bedside.core.errors import SetupError, StoreError

SECRET_MODE = 0o600


def write_atomically(path: Path, content: bytes) -> None:
    """Put `content` at `path` (0600), whole or not at all, and on disk on return. Raises `StoreError`."""
    fresh = path.with_name(f".{path.name}.new")
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        handle = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, SECRET_MODE)
        try:
            os.fchmod(handle, SECRET_MODE)  # also where an older attempt left the file
            with os.fdopen(handle, "wb", closefd=False) as out:
                out.write(content)
            os.fsync(handle)
        finally:
            os.close(handle)
        fresh.replace(path)
        sync_folder(path.parent)
        sync_folder(path.parent.parent)  # the folder itself may be new
    except OSError as error:
        with contextlib.suppress(OSError):
            fresh.unlink(missing_ok=True)
        raise StoreError(f"cannot write {path}: {error.strerror or error}") from error


def sync_folder(folder: Path) -> None:
    """What was renamed or made in it is so after a power cut, too. Raises `OSError`."""
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


class FolderLock:
    """Ownership of a data folder by one process, by `flock`: the kernel frees it however the process ends."""

    def __init__(self, path: Path, folder: Path) -> None:
        """Take the lock at `path`. Raises `SetupError` that names `folder` and the process that has it."""
        try:
            self._handle: int | None = os.open(path, os.O_RDWR | os.O_CREAT, SECRET_MODE)
        except OSError as error:
            raise SetupError(
                f"data folder {folder}: cannot make its lock: {error.strerror or error}",
                hint="choose a folder that you may write, with --home DIR or BEDSIDE_HOME",
            ) from error
        try:
            fcntl.flock(self._handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            holder = os.pread(self._handle, 32, 0).decode("ascii", "replace").strip() or "unknown"
            self.release()
            raise SetupError(
                f"data folder {folder} is in use by another Bedside (process {holder})",
                hint="stop that one first (Ctrl-C where it runs), or give this one its own folder with --home DIR",
            ) from error
        with contextlib.suppress(OSError):  # a full disk: the lock holds, only the number is missing
            os.ftruncate(self._handle, 0)
            os.pwrite(self._handle, f"{os.getpid()}\n".encode(), 0)

    def release(self) -> None:
        """Give the folder free. Safe to call twice."""
        if self._handle is not None:
            os.close(self._handle)
            self._handle = None
