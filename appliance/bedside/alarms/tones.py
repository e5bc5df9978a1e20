"""The audible alarm signals (IEC 60601-1-8): bursts of pulses by priority, made of a fundamental and its harmonics.

`signals.toml` holds every number. A burst is made whole, as samples or as a WAV file; who plays it, and when
it is repeated, is the annunciator's matter. Pure, and in need of NumPy alone.
"""

from __future__ import annotations

import io
import tomllib
import wave
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib import resources
from itertools import accumulate
from typing import Any

import numpy as np
from numpy.typing import NDArray

RATE_HZ = 48_000  # what every sound card plays without resampling
LEAD_S = 0.02  # quiet before the first pulse and after the last: its rise is not cut off by the card
HARMONIC_MAX_HZ = 4_000.0  # above it a harmonic counts for nothing in the standard


@dataclass(frozen=True, slots=True, kw_only=True)
class Burst:
    """One row of the table; the fields are explained at the top of `signals.toml`."""

    name: str
    notes_hz: tuple[float, ...]
    pulse_s: float
    rise_share: float
    spacing_s: tuple[float, ...]
    repeat_s: float
    level_db: float
    partials_db: tuple[float, ...]
    source: str

    @property
    def onsets_s(self) -> tuple[float, ...]:
        """When each pulse has reached 90 % of its amplitude, from the start of the sound."""
        first_s = LEAD_S + 0.9 * self.ramp_s
        return tuple(accumulate((self.pulse_s + gap_s for gap_s in self.spacing_s), initial=first_s))

    @property
    def ramp_s(self) -> float:
        """The whole linear rise (and fall) of a pulse: its part from 10 % to 90 % is `rise_share`."""
        return self.rise_share * self.pulse_s / 0.8

    @property
    def length_s(self) -> float:
        """The whole sound, with the quiet at both ends."""
        return self.onsets_s[-1] + self.pulse_s + 0.9 * self.ramp_s + LEAD_S

    def samples(self, rate_hz: int = RATE_HZ) -> NDArray[np.float32]:
        """The burst as float32 (n,) in -1 to 1, mono, at `rate_hz`."""
        sound = np.zeros(round(self.length_s * rate_hz), dtype=np.float64)
        for onset_s, note_hz in zip(self.onsets_s, self.notes_hz, strict=True):
            first = round((onset_s - 0.9 * self.ramp_s) * rate_hz)
            pulse = self._pulse(note_hz, rate_hz)
            sound[first : first + pulse.size] += pulse
        return sound.astype(np.float32)

    def wav(self, rate_hz: int = RATE_HZ) -> bytes:
        """The burst as a WAV file: mono, 16 bits."""
        file = io.BytesIO()
        with wave.open(file, "wb") as sound:
            sound.setnchannels(1)
            sound.setsampwidth(2)
            sound.setframerate(rate_hz)
            sound.writeframes(np.round(self.samples(rate_hz) * 32767.0).astype("<i2").tobytes())
        return file.getvalue()

    def _pulse(self, note_hz: float, rate_hz: int) -> NDArray[np.float64]:
        time_s = np.arange(round((self.pulse_s + 1.8 * self.ramp_s) * rate_hz)) / rate_hz
        end_s = time_s[-1]
        envelope = np.minimum(1.0, np.minimum(time_s, end_s - time_s) / self.ramp_s)
        # phases by Schroeder's rule keep the crest low: louder at the same peak
        partials = [
            10 ** (level_db / 20) * np.sin(2 * np.pi * k * note_hz * time_s - np.pi * k * k / len(self.partials_db))
            for k, level_db in enumerate(self.partials_db, 1)
            if k * note_hz <= HARMONIC_MAX_HZ
        ]
        mixed = np.sum(partials, axis=0)
        scale: float = 10 ** (self.level_db / 20) / float(np.max(np.abs(mixed)))
        pulse: NDArray[np.float64] = mixed * envelope * scale
        return pulse


def parse_signals(text: str) -> dict[str, Burst]:
    """The table of this TOML text. Raises `ValueError` naming the signal and what is wrong."""
    values = tomllib.loads(text)
    version, partials_db = values.pop("version", None), values.pop("partials_db", None)
    if not isinstance(version, str) or not isinstance(partials_db, list):
        raise ValueError("signals: version or partials_db is missing")
    return {name: _burst(name, row, tuple(float(one) for one in partials_db)) for name, row in values.items()}


@cache
def bursts() -> Mapping[str, Burst]:
    """The signals that are shipped with this version: high, medium, low, and stopped."""
    return parse_signals(resources.files(__package__).joinpath("signals.toml").read_text("utf-8"))


def _burst(name: str, row: Any, partials_db: tuple[float, ...]) -> Burst:
    try:
        burst = Burst(
            name=name,
            notes_hz=tuple(float(one) for one in row["notes_hz"]),
            spacing_s=tuple(float(one) for one in row["spacing_s"]),
            partials_db=partials_db,
            **{key: float(row[key]) for key in ("pulse_s", "rise_share", "repeat_s", "level_db")},
            source=str(row["source"]),
        )
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(f"signals: {name}: {error}") from error
    if len(burst.spacing_s) != len(burst.notes_hz) - 1:
        raise ValueError(f"signals: {name}: {len(burst.notes_hz)} pulses need one spacing less")
    if min(burst.pulse_s, burst.rise_share, *burst.notes_hz) <= 0 or burst.level_db > 0:
        raise ValueError(f"signals: {name}: a duration, pitch or level that cannot be")
    if any(gap_s < 2 * 0.9 * burst.ramp_s for gap_s in burst.spacing_s) or burst.repeat_s <= burst.length_s:
        raise ValueError(f"signals: {name}: pulses or bursts run into each other")
    return burst
