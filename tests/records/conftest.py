"""Folders in memory where the machine has some, and the helper module importable however pytest was started.

Every write of the store waits for the disk; these tests make ten thousand of them and time none. What a
killed process leaves is the same in memory: the kernel keeps it either way.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

MEMORY = Path("/dev/shm")


def _folder() -> Iterator[Path]:
    parent = MEMORY if MEMORY.is_dir() else None
    with tempfile.TemporaryDirectory(prefix="bedside-records-", dir=parent) as folder:
        yield Path(folder)


@pytest.fixture
def tmp_path() -> Iterator[Path]:
    yield from _folder()


@pytest.fixture(scope="module")
def folder_of_module() -> Iterator[Path]:
    yield from _folder()
