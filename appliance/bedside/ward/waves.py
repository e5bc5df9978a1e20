"""Waves for the screens: one batch every 100 ms for the whole ward, made once, kept for 60 s.

A viewer that was away names the last sequence number it saw and gets what it missed, as far as the
ring reaches. Each viewer has a bounded queue: one that does not read is dropped, never waited for.
"""

from __future__ import annotations

import asyncio
import base64
from collections import deque
from collections.abc import AsyncGenerator, Callable

import numpy as np

from bedside.core import wire
from bedside.core.api import Ward, Wave, WaveBatch
from bedside.core.time import Clock
from bedside.monitor.patient import CleanWave

BATCH_S = 0.1
RING_S = 60.0
WARD_S = 1.0  # the ward's state goes out at least this often
VIEWER_QUEUE = 200  # batches: 20 s of patience with a slow viewer
UNIT_PER_COUNT = 0.0025  # mV: int16 then spans ±82 mV, far beyond any electrode
MISSING = -32768


class SlowViewer(Exception):
    """The viewer did not read for `VIEWER_QUEUE` batches and was let go; it may subscribe again."""


def encode_wave(wave: CleanWave) -> Wave:
    """The wave as little-endian int16 in base64; NaN becomes `MISSING`."""
    counts = np.round(wave.values / UNIT_PER_COUNT)
    counts = np.where(np.isfinite(counts), np.clip(counts, -32767, 32767), MISSING)
    return Wave(
        stream=wave.stream.id,
        patient=wave.stream.patient,
        kind=str(wave.stream.kind),
        rate_hz=wave.rate_hz,
        first_index=wave.first_index,
        start_us=wave.start_us,
        unit_per_count=UNIT_PER_COUNT,
        data=base64.b64encode(counts.astype("<i2").tobytes()).decode(),
    )


class WaveRing:
    """Collects waves and state, sends a framed `WaveBatch` to every viewer every `BATCH_S`."""

    def __init__(self, clock: Clock, ward: Callable[[], Ward]) -> None:
        self._clock = clock
        self._ward = ward
        self._fresh: list[CleanWave] = []
        self._sequence = 0
        self._ring: deque[tuple[int, bytes]] = deque(maxlen=round(RING_S / BATCH_S))
        self._viewers: set[asyncio.Queue[bytes | None]] = set()
        self._ward_due_s = 0.0
        self._changed = True

    @property
    def viewers(self) -> int:
        return len(self._viewers)

    def add(self, wave: CleanWave) -> None:
        """Take a wave into the next batch."""
        if len(self._fresh) < 10_000:  # only if `run` has stopped: its supervisor says so
            self._fresh.append(wave)

    def ward_changed(self) -> None:
        """The ward's state goes out with the next batch."""
        self._changed = True

    async def run(self) -> None:
        """Make batches until cancelled, then let all viewers go."""
        try:
            while True:
                await asyncio.sleep(BATCH_S)
                self._send()
        finally:
            for queue in self._viewers:
                _last(queue)

    def _send(self) -> None:
        now_s = self._clock.monotonic_s()
        waves, self._fresh = self._fresh, []
        batch = WaveBatch(
            v=wire.VERSION,
            push="batch",
            sequence=self._sequence + 1,
            time_us=self._clock.now_us(),
            waves=[encode_wave(wave) for wave in waves],
        )
        if self._changed or now_s >= self._ward_due_s:
            batch["ward"] = self._ward()
            self._changed, self._ward_due_s = False, now_s + WARD_S
        self._sequence += 1
        data = wire.frame(batch)
        self._ring.append((self._sequence, data))
        for queue in self._viewers:
            if queue.full():
                _last(queue)
            else:
                queue.put_nowait(data)

    async def frames(self, after: int | None) -> AsyncGenerator[bytes]:
        """Framed batches with a sequence above `after` (None: from now on). Raises `SlowViewer`."""
        queue: asyncio.Queue[bytes | None] = asyncio.Queue(VIEWER_QUEUE)
        missed = [data for sequence, data in self._ring if after is not None and sequence > after]
        self._viewers.add(queue)
        try:
            for data in missed:
                yield data
            while (next_data := await queue.get()) is not None:
                yield next_data
            raise SlowViewer
        finally:
            self._viewers.discard(queue)


def _last(queue: asyncio.Queue[bytes | None]) -> None:
    """Empty a viewer's queue and end it."""
    while not queue.empty():
        queue.get_nowait()
    queue.put_nowait(None)
