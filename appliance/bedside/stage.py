"""Who lies in the demonstration's beds: the four scripted bodies, and recordings to replay."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from bedside.gateway import Body
from bedside.simulation.demonstration import demonstration, toy_recording


def bodies_for(*, demo: bool, replays: Sequence[Path]) -> list[Body]:
    """The bodies to measure. Raises `SetupError` for a recording that cannot be read, or a missing package."""
    bodies: list[Body] = []
    if demo:
        bodies += [Body(physiology=body, bed=body.bed) for body in demonstration(*toy_recording())]
    return bodies + [replayed(path, f"Bed {len(bodies) + number}") for number, path in enumerate(replays, 1)]


def replayed(path: Path, bed: str) -> Body:
    raise NotImplementedError
