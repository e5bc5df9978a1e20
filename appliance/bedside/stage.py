"""Who lies in the demonstration's beds: the four scripted bodies, and recordings to replay."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from bedside.core.samples import MISSING
from bedside.evaluate.recordings import open_recording
from bedside.gateway import Body
from bedside.simulation.bodies import RecordedBody
from bedside.simulation.demonstration import demonstration, toy_recording

log = logging.getLogger(__name__)

UV_PER_MV = 1000.0


def bodies_for(*, demo: bool, replays: Sequence[Path]) -> list[Body]:
    """The bodies to measure. Raises `SetupError` for a recording that cannot be read, or a missing package."""
    bodies: list[Body] = []
    if demo:
        bodies += [Body(physiology=body, bed=body.bed) for body in demonstration(*toy_recording())]
    return bodies + [replayed(path, f"Bed {len(bodies) + number}") for number, path in enumerate(replays, 1)]


def replayed(path: Path, bed: str) -> Body:
    """A recording's primary ECG lead as a body, at its own rate; samples that it lacks are played as 0 mV."""
    recording = open_recording(path)
    lead = recording.primary()
    counts, fault = recording.read(lead, 0, recording.samples(lead))
    if fault is not None:
        log.warning("recording is not whole", extra={"reason": fault})
    value_uv = np.where(counts == MISSING, 0.0, counts * lead.unit_per_count * UV_PER_MV)
    name = f"{recording.name} (recording)"
    body = RecordedBody(np.rint(value_uv).astype(np.int32), lead.rate_hz, lead.name, name, bed=bed)
    return Body(physiology=body, bed=bed)
