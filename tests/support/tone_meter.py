"""Listens to a sound as a test laboratory would: finds pulses in the samples, and holds them against the standard.

Knows nothing of how the sound was made. Bounds: IEC 60601-1-8, tables 3 and 4.
"""

from __future__ import annotations

import io
import wave
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

PULSES = {"high": (10,), "medium": (3,), "low": (1, 2)}
PULSE_S = {"high": (0.075, 0.200), "medium": (0.125, 0.250), "low": (0.125, 0.250)}
NEIGHBOUR_S = {"high": (0.050, 0.125), "medium": (0.125, 0.250), "low": (0.125, 0.250)}
TOLERANCE_S = 0.004  # an envelope is not known finer than a period of its tone


@dataclass(frozen=True, slots=True)
class Pulse:
    """One pulse, measured. Times in seconds from the sound's start, at 90 % of its amplitude."""

    start_s: float
    end_s: float
    rise_s: float  # from 10 % to 90 %
    peak_db: float
    fundamental_hz: float
    harmonics_hz: tuple[float, ...]  # in 300 to 4000 Hz, within 15 dB of the fundamental


def read_wav(data: bytes) -> tuple[NDArray[np.float64], int]:
    """Samples in -1 to 1 and their rate."""
    with wave.open(io.BytesIO(data)) as file:
        assert (file.getnchannels(), file.getsampwidth()) == (1, 2)
        samples = np.frombuffer(file.readframes(file.getnframes()), dtype="<i2") / 32768.0
        return samples, file.getframerate()


def find_pulses(samples: NDArray[np.float64], rate_hz: int) -> list[Pulse]:
    """Every pulse of a sound, in order."""
    half = round(0.002 * rate_hz)  # the greatest within a few ms either side: one period of 261 Hz
    windows = np.lib.stride_tricks.sliding_window_view(np.pad(np.abs(samples), half), 2 * half + 1)
    envelope = np.asarray(windows.max(axis=1))
    loud = envelope > 0.1 * envelope.max()
    edges = np.flatnonzero(np.diff(np.concatenate(([0], loud.astype(np.int8), [0]))))
    return [
        _measure(samples[a:b], envelope[a:b], a, half, rate_hz) for a, b in edges.reshape(-1, 2) if b - a > 2 * half
    ]


def _measure(samples: NDArray[np.float64], envelope: NDArray[np.float64], first: int, half: int, rate_hz: int) -> Pulse:
    top = float(np.median(envelope[envelope > 0.7 * envelope.max()]))
    above = np.flatnonzero(envelope > 0.9 * top)
    tenth = int(np.flatnonzero(envelope > 0.1 * top)[0])
    start, end = int(above[0]) + half, int(above[-1]) - half  # the window sees a rise early and a fall late
    spectrum = np.abs(np.fft.rfft(samples * np.hanning(samples.size), 2**17))
    hz = np.fft.rfftfreq(2**17, 1 / rate_hz)
    audible = np.flatnonzero((hz >= 100) & (hz <= 4200))
    peaks = [
        k
        for k in audible
        if spectrum[k] == spectrum[max(0, k - 400 * 2**17 // 10 // rate_hz) : k + 400 * 2**17 // 10 // rate_hz].max()
        and spectrum[k] > spectrum[audible].max() * 10 ** (-30 / 20)
    ]
    lowest = peaks[0]
    near = [
        k
        for k in peaks[1:]
        if abs(20 * np.log10(spectrum[k] / spectrum[lowest])) <= 15
        and 300 <= hz[k] <= 4000
        and abs(hz[k] / hz[lowest] - round(hz[k] / hz[lowest])) < 0.03
    ]
    return Pulse(
        start_s=(first + start) / rate_hz,
        end_s=(first + end) / rate_hz,
        rise_s=(int(above[0]) - tenth) / rate_hz,
        peak_db=20 * float(np.log10(top)),
        fundamental_hz=float(hz[lowest]),
        harmonics_hz=tuple(float(hz[k]) for k in near),
    )


def faults(pulses: list[Pulse], priority: str) -> list[str]:
    """What the standard would not accept of a burst of this priority; empty: nothing."""
    found: list[str] = []

    def within(what: str, value: float, low: float, high: float, tolerance: float = 0.0) -> None:
        if not low - tolerance <= value <= high + tolerance:
            found.append(f"{what}: {value:.3f} is not in {low} to {high}")

    if len(pulses) not in PULSES[priority]:
        found.append(f"{len(pulses)} pulses")
    for number, one in enumerate(pulses, 1):
        lasted_s = one.end_s - one.start_s
        within(f"pulse {number}, duration", lasted_s, *PULSE_S[priority], TOLERANCE_S)
        within(f"pulse {number}, rise", one.rise_s, 0.10 * lasted_s, 0.20 * lasted_s, TOLERANCE_S)
        within(f"pulse {number}, fundamental", one.fundamental_hz, 150, 1000)
        if len(one.harmonics_hz) < 4:
            found.append(f"pulse {number}: {len(one.harmonics_hz)} harmonics")
    levels = [one.peak_db for one in pulses]
    if levels and max(levels) - min(levels) > 10:
        found.append("pulses of unlike levels")
    gaps_s = [after.start_s - before.end_s for before, after in pairwise(pulses)]
    if priority == "high" and len(pulses) == 10:
        x_s, lasted_s = gaps_s[0], pulses[0].end_s - pulses[0].start_s
        within("spacing 5-6", gaps_s.pop(4), 0.35, 1.30, TOLERANCE_S)
        for late in (gaps_s.pop(6), gaps_s.pop(2)):
            within("spacing 3-4 or 8-9", late, 2 * x_s + lasted_s, 2 * x_s + lasted_s, 4 * TOLERANCE_S)
        within("evenness of spacing", max(gaps_s) - min(gaps_s), 0, 0, 2 * TOLERANCE_S)
    for gap_s in gaps_s:
        within("spacing", gap_s, *NEIGHBOUR_S[priority], TOLERANCE_S)
    return found
