"""`sqlite-utils`, loaded without pandas and NumPy: where they are installed it imports them, 70 MB in every process.

We hand it no data frames and no arrays. Everything that needs `Database` or `Migrations` takes them from here.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager

_ABSENT = object()


@contextmanager
def _without(name: str) -> Iterator[None]:
    """Let `import name` fail inside, whatever is installed; a module that was loaded before is put back."""
    before = sys.modules.get(name, _ABSENT)
    sys.modules[name] = None  # type: ignore[assignment]  # what the import system takes for "not there"
    try:
        yield
    finally:
        if before is _ABSENT:
            del sys.modules[name]
        else:
            sys.modules[name] = before  # type: ignore[assignment]


with _without("pandas"), _without("numpy"):
    from sqlite_utils.db import Database
    from sqlite_utils.migrations import Migrations

__all__ = ["Database", "Migrations"]
