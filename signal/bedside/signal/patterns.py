"""Ventricular beats in groups: couplets and runs, counted as they end, with their rate.

Bigeminy and trigeminy are base rhythms and pauses are intervals: `rhythm.py` has them, and calls a fast run a
ventricular tachycardia while it lasts. Here every group is counted once, slow runs too (accelerated idioventricular
rhythm), when the beat after it is known. A beat that could not be seen, or a fusion beat, ends a group.
Fed by `rhythm.py` with one judged beat at a time; pure. Terms: ANSI/AAMI EC57 (couplet: two, short run: 3 to 5, long
run: 6 or more).
"""

from __future__ import annotations

from dataclasses import dataclass, replace

FS_HZ = 250
COUPLET = 2
APART_S = 2.0  # two beats further apart than that belong to no group


@dataclass(frozen=True, slots=True)
class Group:
    """`beats` ventricular beats one after the other, the first at clean index `first`, the last at `last`."""

    first: int
    last: int
    beats: int

    @property
    def rate_bpm(self) -> float:
        """Over the intervals within the group."""
        return 60.0 * FS_HZ * (self.beats - 1) / (self.last - self.first)

    @property
    def kind(self) -> str:
        """`couplet` or `ventricular_run`."""
        return "couplet" if self.beats == COUPLET else "ventricular_run"

    def evidence(self) -> dict[str, float | int | str]:
        """For a finding."""
        return {"beats": self.beats, "rate_bpm": self.rate_bpm, "lasted_s": (self.last - self.first) / FS_HZ}


def step(group: Group | None, at: int, symbol: str, near: bool) -> tuple[Group | None, Group | None]:
    """Take the next beat; give the group that goes on (None: no ventricular beat last), and the one that ended.

    `near`: the time since the beat before could be seen. Clean indices rise from beat to beat.
    """
    if symbol != "V":
        return None, _ended(group)
    if near and group is not None and at - group.last <= APART_S * FS_HZ:
        return replace(group, last=at, beats=group.beats + 1), None
    return Group(at, at, 1), _ended(group)


def _ended(group: Group | None) -> Group | None:
    return group if group is not None and group.beats >= COUPLET else None
