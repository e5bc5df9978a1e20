"""Many records through one function: a damaged one is left out by name and counted, the others are scored."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from typing import Final, TypeAlias, TypeVar

from bedside.core.errors import SetupError

Job = TypeVar("Job")
T = TypeVar("T")
Skipped: TypeAlias = list[tuple[str, str]]
"""Names of records and why each was left out."""

DAMAGE: Final = (SetupError, OSError, ValueError, IndexError, KeyError, TypeError, EOFError)
"""What readers of recordings raise for damaged files; a bug of ours mostly raises the same and is named with it."""


def attempted(
    work: Callable[[Job], T], jobs: Sequence[Job], name: Callable[[Job], str], processes: int
) -> tuple[list[T], Skipped]:
    """`work` on every job, in order; what failed is skipped by `name`. Raises `SetupError` when all failed.

    Also when a process ends before its time. `work` and the jobs must be picklable for more than one process.
    """
    if processes <= 1 or len(jobs) <= 1:
        tried = [_attempt(work, job) for job in jobs]
    else:
        try:
            with ProcessPoolExecutor(processes, mp_context=multiprocessing.get_context("spawn")) as pool:
                tried = list(pool.map(_attempt, [work] * len(jobs), jobs))
        except BrokenProcessPool as error:
            raise SetupError(
                "an evaluating process ended before its record was done", hint="free memory, or use --processes 1"
            ) from error
    skipped = [(name(job), reason) for job, (_, reason) in zip(jobs, tried, strict=True) if reason is not None]
    if jobs and len(skipped) == len(jobs):
        raise SetupError(
            f"none of {len(jobs)} records can be scored; {skipped[0][0]}: {skipped[0][1]}", hint="get them again"
        )
    return [done[0] for done, reason in tried if reason is None and done is not None], skipped


def _attempt(work: Callable[[Job], T], job: Job) -> tuple[tuple[T] | None, str | None]:
    try:
        return (work(job),), None
    except DAMAGE as error:
        return None, f"{type(error).__name__}: {error}" if not isinstance(error, SetupError) else str(error)


def whole(complete: bool, fault: str | None) -> None:
    """Raises `SetupError` for a recording that ends early: figures over half of it would not be its figures."""
    if not complete:
        raise SetupError(f"the recording is damaged: {fault}", hint="get it again")


def as_line(skipped: Sequence[Sequence[str]]) -> str:
    """For people: what was left out, by name and with its reason; empty when nothing was."""
    if not skipped:
        return ""
    named = "; ".join(f"{name} ({reason.splitlines()[0] if reason else 'unknown'})" for name, reason in skipped)
    return f"Left out, damaged: {len(skipped)}: {named}."
