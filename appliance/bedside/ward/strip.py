"""A stored strip: the samples as the wearable sent them, with the beats that were seen in them."""

from __future__ import annotations

import base64
from itertools import pairwise

import numpy as np

from bedside.core.api import BeatMark, Strip, Wave
from bedside.core.events import Beat
from bedside.core.ports import Store
from bedside.core.samples import MISSING, Block
from bedside.core.time import US_PER_S

SLACK_US = 50_000  # clock corrections smaller than this are no hole


def make_strip(store: Store, patient: str, stream: str, start_us: int, end_us: int) -> Strip | None:
    """The stored samples of `[start_us, end_us)`; None when the patient has no such stream."""
    info = next((one for one in store.streams(patient) if one.id == stream), None)
    if info is None:
        return None
    blocks = list(store.blocks(stream, start_us, end_us))
    segments = [_wave(block, start_us, end_us) for block in blocks]
    segments = [segment for segment in segments if segment["data"]]
    beats = [
        BeatMark(time_us=event.start_us, beat_class=str(event.beat_class), probability=event.probability)
        for event in store.events(patient, start_us, end_us, ("beat",))
        if isinstance(event, Beat) and event.stream == stream
    ]
    whole = (
        bool(blocks)
        and blocks[0].start_us <= start_us + SLACK_US
        and blocks[-1].end_us >= end_us - SLACK_US
        and all(after.start_us - before.end_us <= SLACK_US for before, after in pairwise(blocks))
    )
    return Strip(
        stream=stream, kind=str(info.kind), label=info.label, unit=info.unit, simulated=info.simulated,
        segments=segments, beats=beats, complete=whole,
    )  # fmt: skip


def _wave(block: Block, start_us: int, end_us: int) -> Wave:
    """The part of a block that lies in the range, as int16 at a scale that holds it."""
    first = max(0, round((start_us - block.start_us) * block.rate_hz / US_PER_S))
    last = min(block.counts.size, round((end_us - block.start_us) * block.rate_hz / US_PER_S))
    counts = block.counts[first:last]
    known = counts[counts != MISSING]
    scale = max(1, -(-int(np.abs(known).max(initial=0)) // 32767))  # 1 unless the counts need more than 16 bits
    data = np.where(counts == MISSING, -32768, np.round(counts / scale)).astype("<i2")
    return Wave(
        stream=block.stream.id, patient=block.stream.patient, kind=str(block.stream.kind), rate_hz=block.rate_hz,
        first_index=block.first_index + first,
        start_us=block.start_us + round(first * US_PER_S / block.rate_hz),
        unit_per_count=block.stream.unit_per_count * scale,
        data=base64.b64encode(data.tobytes()).decode(),
    )  # fmt: skip
