"""Identifiers: random 128-bit for things that last, UUIDv7 (RFC 9562, 5.7) for events.

The source of randomness is passed in: identifiers are names, not secrets, so a simulation may
seed them. Keys and nonces never come from here.
"""

from __future__ import annotations

import random
import uuid
from collections.abc import Callable


class IdSource:
    """Gives identifiers. `now_us` is the clock that event identifiers are ordered by."""

    def __init__(self, now_us: Callable[[], int], randomness: random.Random | None = None) -> None:
        self._now_us = now_us
        self._random = randomness if randomness is not None else random.SystemRandom()
        self._last_ms = 0
        self._counter = 0

    def thing(self) -> str:
        """A random 128-bit identifier of a site, gateway, patient, wearable or stream: 32 hex digits."""
        return f"{self._random.getrandbits(128):032x}"

    def event(self) -> str:
        """A UUIDv7: 48 bits of milliseconds, a 12-bit counter within one, 62 random bits. Never goes back."""
        now_ms = max(self._now_us() // 1000, self._last_ms)
        if now_ms > self._last_ms:
            self._last_ms, self._counter = now_ms, 0
        else:
            self._counter += 1
            if self._counter > 0xFFF:  # more than 4,096 in a millisecond: borrow the next one
                self._last_ms, self._counter = now_ms + 1, 0
        value = (self._last_ms & (2**48 - 1)) << 80 | 0x7 << 76 | self._counter << 64 | 0x2 << 62
        return str(uuid.UUID(int=value | self._random.getrandbits(62)))
