"""Respiration rates from ECG and pulse wave against the respiration waveform beside them.

The reference is not our counter: in each window of 32 s the impedance waveform's breaths are counted as peaks with
`scipy.signal.find_peaks` and as the largest peak of its Welch spectrum; where the two agree within 2 /min the window
has a reference (their mean), elsewhere it has none and is left out. Pure.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import signal as sps

from bedside.signal.respiration import WINDOW_S, Breathing, fuse

Floats = npt.NDArray[np.float64]

STRIDE_S = 4.0
REFERENCE_AGREE_PER_MIN = 2.0
SPLIT = 400
"""Records numbered below it were looked at when thresholds were chosen; those from it on were not."""
GROUPS = {"ecg": ("ecg",), "pleth": ("pleth",), "ecg and pleth": ("ecg", "pleth")}


@dataclass(frozen=True, slots=True)
class Window:
    """One window of 32 s: the reference, and what each group of sources gave (None: nothing)."""

    record: str
    end_s: float
    reference_per_min: float
    given: Mapping[str, float | None]


def reference_rate(values: Floats, fs_hz: float) -> float | None:
    """Breaths a minute of a respiration waveform of 32 s, or None where count and spectrum disagree."""
    if values.size < 8 * fs_hz or np.isnan(values).any():
        return None
    every = max(1, int(fs_hz / 10.0))
    slow_hz = fs_hz / every
    slow = values[: values.size // every * every].reshape(-1, every).mean(axis=1)
    spread = float(slow.std())
    if spread <= 1e-9:
        return None
    sos = sps.butter(2, (0.07, 1.2), "bandpass", fs=slow_hz, output="sos")
    wave = sps.sosfiltfilt(sos, slow - slow.mean())
    peaks, _ = sps.find_peaks(wave, prominence=0.6 * float(wave.std()), distance=max(1, int(0.7 * slow_hz)))
    if peaks.size < 3:
        return None
    counted = 60.0 * slow_hz * (peaks.size - 1) / float(peaks[-1] - peaks[0])
    gaps = np.diff(peaks)
    if float(gaps.max()) > 2.0 * float(np.median(gaps)):
        return None
    frequency, power = sps.welch(wave, slow_hz, nperseg=min(wave.size, int(24 * slow_hz)), nfft=4096)
    inside = (frequency >= 0.07) & (frequency <= 1.1)
    spectral = 60.0 * float(frequency[inside][power[inside].argmax()])
    if abs(counted - spectral) > REFERENCE_AGREE_PER_MIN:
        return None
    return 0.5 * (counted + spectral)


def grouped(sources: Mapping[str, Breathing]) -> dict[str, float | None]:
    """The fused rate of each group of derived sources that are there at all."""
    given = {}
    for name, prefixes in GROUPS.items():
        chosen = {key: one for key, one in sources.items() if key.split("_")[0] in prefixes}
        given[name] = fuse(chosen).rate_per_min
    return given


def ends_s(duration_s: float) -> Sequence[float]:
    """Where windows end."""
    return [float(end) for end in np.arange(WINDOW_S, duration_s + 1e-9, STRIDE_S)]
