"""Channels of a recording as the streams of one patient: read piece by piece, cut into blocks, given in turn."""

from __future__ import annotations

import heapq
import itertools
import math
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

import numpy as np

from bedside.core.codes import StreamKind
from bedside.core.samples import Block, Counts, StreamInfo
from bedside.core.time import US_PER_S
from bedside.evaluate.recordings import READ_S, Channel, Recording

PATIENT = "recording"
START_US = 946_684_800 * US_PER_S
"""Recordings have no agreed clock: theirs begins at 2000-01-01T00:00:00Z."""


@dataclass(slots=True)
class Costs:
    """CPU seconds by stage."""

    cpu_s: dict[str, float] = field(default_factory=dict)

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        began_s = time.process_time()
        try:
            yield
        finally:
            self.cpu_s[name] = self.cpu_s.get(name, 0.0) + time.process_time() - began_s


class Reader:
    """Reads a channel in pieces of `READ_S`, and remembers how far it came and why not further."""

    def __init__(self, recording: Recording, channel: Channel, costs: Costs, until_s: float = math.inf) -> None:
        promised = recording.samples(channel)
        self._until = min(promised, round(until_s * channel.rate_hz)) if math.isfinite(until_s) else promised
        self.read_samples = 0
        self.fault: str | None = None
        self.info = stream_of(channel)
        self._recording, self._channel, self._costs = recording, channel, costs

    def pieces(self) -> Iterator[Counts]:
        size = round(READ_S * self._channel.rate_hz)
        while self.fault is None and self.read_samples < self._until:
            size = min(size, self._until - self.read_samples)
            with self._costs.stage("reading"):
                counts, self.fault = self._recording.read(self._channel, self.read_samples, size)
            if counts.size == 0:
                return
            self.read_samples += counts.size
            yield counts


def stream_of(channel: Channel) -> StreamInfo:
    """The stream that a channel is fed as."""
    return StreamInfo(
        id=f"recording/{channel.name}",
        patient=PATIENT,
        wearable="recording",
        kind=channel.kind or StreamKind.ECG,
        label=channel.name,
        rate_hz=channel.rate_hz,
        unit=channel.unit,
        unit_per_count=channel.unit_per_count,
        simulated=False,
    )


def _block(info: StreamInfo, first: int, counts: Counts) -> Block:
    start_us = START_US + round(first * US_PER_S / info.rate_hz)
    return Block(stream=info, first_index=first, start_us=start_us, rate_hz=info.rate_hz, counts=counts)


def blocks_of(reader: Reader, block_s: float) -> Iterator[Block]:
    """One channel in blocks of `block_s`."""
    info = reader.info
    if math.isinf(block_s):
        pieces = list(reader.pieces())
        if pieces:
            yield _block(info, 0, np.concatenate(pieces))
        return
    size = max(round(block_s * info.rate_hz), 1)
    first, held = 0, np.empty(0, np.int32)
    for piece in reader.pieces():
        held = np.concatenate([held, piece])
        whole = held.size // size * size
        for at in range(0, whole, size):
            yield _block(info, first + at, held[at : at + size])
        first, held = first + whole, held[whole:]
    if held.size:
        yield _block(info, first, held)


def in_turn(readers: Sequence[Reader], block_s: float) -> Iterator[list[Block]]:
    """The channels' blocks in order of their ends; those that end together come together, in the channels' order."""
    numbered = [
        ((block.end_us, number, block) for block in blocks_of(reader, block_s)) for number, reader in enumerate(readers)
    ]
    merged = heapq.merge(*numbered, key=lambda one: one[:2])
    for _, group in itertools.groupby(merged, key=lambda one: one[0]):
        yield [block for _, _, block in group]
