"""The ECG of given beats: sums of Gaussians for P, Q, R, S and T, over a wandering, slightly noisy baseline.

Pure functions over arrays; millivolts and seconds. The forms are our own, chosen to look like lead I
or II of an adult; nothing here is fitted to a person.
"""

from __future__ import annotations

import numpy as np

from bedside.core.samples import Floats
from bedside.simulation.heart import Beats

BEFORE_S, AFTER_S = 0.32, 0.68
"""What a beat's waves reach before and after its R peak."""

# For each shape: centre (s from R), amplitude (mV), width (standard deviation, s) of its waves.
# The last wave is T: its centre moves with the square root of the RR interval (Bazett).
_WAVES = np.array(
    [
        [
            [-0.165, 0.13, 0.024],
            [-0.030, -0.10, 0.009],
            [0.0, 1.15, 0.0115],
            [0.030, -0.24, 0.011],
            [0.29, 0.30, 0.052],
        ],
        [
            [-0.165, 0.00, 0.024],
            [-0.030, -0.10, 0.009],
            [0.0, 1.10, 0.0115],
            [0.030, -0.24, 0.011],
            [0.29, 0.26, 0.052],
        ],
        [
            [-0.075, -0.18, 0.022],
            [-0.045, 0.35, 0.026],
            [0.0, 1.55, 0.034],
            [0.085, -0.55, 0.040],
            [0.33, -0.48, 0.075],
        ],
    ]
)


def beats_mv(beats: Beats, amplitude: Floats, first_index: int, n_samples: int, rate_hz: float) -> Floats:
    """The waves of `beats` (each scaled by its `amplitude`, shape (n,)) on `n_samples` from `first_index`; mV."""
    out = np.zeros(n_samples)
    if beats.time_s.size == 0:
        return out
    width = int(np.ceil((BEFORE_S + AFTER_S) * rate_hz)) + 1
    first = np.ceil((beats.time_s - BEFORE_S) * rate_hz).astype(np.int64)
    index = first[:, None] + np.arange(width)  # (beats, width)
    offset_s = index / rate_hz - beats.time_s[:, None]
    waves = _WAVES[beats.shape]  # (beats, 5, 3)
    centre_s = waves[:, :, 0].copy()
    centre_s[:, 4] *= np.sqrt(np.clip(beats.rr_s, 0.3, 1.4))
    value_mv = np.zeros(index.shape)
    for wave in range(_WAVES.shape[1]):
        z = (offset_s - centre_s[:, wave, None]) / waves[:, wave, 2, None]
        value_mv += waves[:, wave, 1, None] * np.exp(-0.5 * z * z)
    value_mv *= amplitude[:, None]
    inside = (index >= first_index) & (index < first_index + n_samples)
    np.add.at(out, index[inside] - first_index, value_mv[inside])
    return out


def baseline_mv(time_s: Floats, phase: float) -> Floats:
    """Breathing and slow drift of the electrodes, mV."""
    breath = 0.06 * np.sin(2 * np.pi * 0.2326 * time_s + phase)
    drift = 0.09 * np.sin(2 * np.pi * 0.053 * time_s + 1.7 * phase) + 0.04 * np.sin(2 * np.pi * 0.017 * time_s)
    return np.asarray(breath + drift, dtype=np.float64)


def atrial_waves_mv(time_s: Floats, phase: float) -> Floats:
    """The f waves of atrial fibrillation: about 6/s, never twice alike, mV."""
    wander = 1.1 * np.sin(2 * np.pi * 0.31 * time_s + phase) + 0.6 * np.sin(2 * np.pi * 0.83 * time_s)
    first = np.sin(2 * np.pi * 6.1 * time_s + wander)
    second = 0.5 * np.sin(2 * np.pi * 7.7 * time_s - 1.4 * wander + phase)
    return np.asarray(0.045 * (first + second), dtype=np.float64)


def fibrillation_mv(time_s: Floats, phase: float) -> Floats:
    """Ventricular fibrillation: a chaotic oscillation around 5/s whose size comes and goes, mV."""
    wander = 1.6 * np.sin(2 * np.pi * 0.41 * time_s + phase) + 0.9 * np.sin(2 * np.pi * 1.13 * time_s + 2 * phase)
    size = 0.55 + 0.25 * np.sin(2 * np.pi * 0.23 * time_s + phase) + 0.1 * np.sin(2 * np.pi * 0.61 * time_s)
    first = np.sin(2 * np.pi * 4.9 * time_s + wander)
    second = 0.55 * np.sin(2 * np.pi * 3.7 * time_s - wander)
    third = 0.3 * np.sin(2 * np.pi * 6.6 * time_s + 0.7 * wander + phase)
    return np.asarray(size * (first + second + third), dtype=np.float64)


def open_lead_mv(time_s: Floats, noise: Floats) -> Floats:
    """What an amplifier gives whose electrode hangs in the air: its rail, with mains hum and noise; mV."""
    return np.asarray(4.2 + 0.02 * np.sin(2 * np.pi * 50.0 * time_s) + 0.004 * noise, dtype=np.float64)
