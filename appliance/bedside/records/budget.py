"""The disk: what is left of it, and what happens at 80, 95 and 100 %. Monitoring and alarms go on in every case.

    80 %   said, and an alarm of low priority (where also less than `ROOM_BYTES` is left: a big disk is no worry)
    95 %   said more urgently; with the rule `make-room` the oldest samples are deleted to make room, events never
    100 %  nothing more is stored, and it is said and alarmed; what waits is kept in memory for about an hour and
           written as soon as there is room

A file `reserve` (1 % of the disk, 0.5 to 1 MB) is given up when the folder cannot be made ready for want of room: a
box with a full disk starts and monitors. It is made again at the next start with room.

Pages that are free within the database count as free: it does not shrink, it fills them first.
"""

from __future__ import annotations

import contextlib
import os
import shutil
from dataclasses import dataclass
from enum import IntEnum
from pathlib import Path

FILLING, NEARLY_FULL = 0.80, 0.95
ROOM_BYTES = 20_000_000_000  # some years of one patient
RESERVE_BYTES = 1_000_000
LEAST_BYTES = 4_000_000  # less is none: a transaction and SQLite's log need it


class Level(IntEnum):
    """How full the disk is."""

    ROOM = 0
    FILLING = 1
    NEARLY_FULL = 2
    FULL = 3


@dataclass(frozen=True, slots=True)
class Budget:
    """What a disk holds, in bytes."""

    total: int
    free: int  # with what is free within the database

    @property
    def used(self) -> float:
        """The part that is used, 0 to 1."""
        return 1 - self.free / self.total if self.total else 1.0

    @property
    def level(self) -> Level:
        if self.free < LEAST_BYTES:
            return Level.FULL
        if self.used >= NEARLY_FULL and self.free < ROOM_BYTES:
            return Level.NEARLY_FULL
        return Level.FILLING if self.used >= FILLING and self.free < ROOM_BYTES else Level.ROOM

    def sentence(self) -> str:
        """For a person."""
        left = f"{self.free / 1e9:.1f} GB free" if self.free >= 1e8 else f"{self.free / 1e6:.0f} MB free"
        return {
            Level.ROOM: left,
            Level.FILLING: f"{left}: the disk fills, {self.used:.0%} are used",
            Level.NEARLY_FULL: f"{left}: the disk is nearly full, soon nothing more is stored",
            Level.FULL: f"{left}: the disk is full, nothing more is stored",
        }[self.level]


def look(folder: Path, free_within: int = 0) -> Budget:
    """The disk of a folder. `free_within`: bytes that the database has free in itself. Raises `OSError`."""
    disk = shutil.disk_usage(folder)
    return Budget(disk.used + disk.free, disk.free + free_within)


def keep_reserve(path: Path) -> None:
    """Make the reserve where there is none and room for it; without it, only a start on a full disk needs a person."""
    budget = look(path.parent)
    size = max(500_000, min(RESERVE_BYTES, budget.total // 100))
    if path.exists() or budget.free < 4 * size:
        return
    with contextlib.suppress(OSError):
        handle = os.open(path, os.O_WRONLY | os.O_CREAT, 0o600)
        try:
            os.posix_fallocate(handle, 0, size)
        finally:
            os.close(handle)
