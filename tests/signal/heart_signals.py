"""Leads with known R peaks, made of Gaussian waves: what the tests of the signal room hold it against."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Shape:
    """Waves of a beat: centre (s after R), width (standard deviation, s), height (mV)."""

    waves: tuple[tuple[float, float, float], ...]


def normal(r_mv: float = 1.0, t_mv: float = 0.3, p_mv: float = 0.12) -> Shape:
    """P, Q, R, S and T of a sinus beat, QRS 90 ms wide."""
    return Shape(
        (
            (-0.16, 0.020, p_mv),
            (-0.025, 0.008, -0.12 * r_mv),
            (0.0, 0.010, r_mv),
            (0.028, 0.010, -0.25 * r_mv),
            (0.26, 0.045, t_mv),
        )
    )


VENTRICULAR = Shape(((0.0, 0.028, 1.4), (0.075, 0.030, -0.7), (0.28, 0.055, -0.4)))


def lead(beats: Sequence[tuple[float, Shape]], duration_s: float, fs_hz: float) -> Floats:
    """The sum of all beats, mV, sampled at `fs_hz`."""
    t_s = np.arange(round(duration_s * fs_hz)) / fs_hz
    out = np.zeros(t_s.size)
    for r_s, shape in beats:
        first, last = np.searchsorted(t_s, (r_s - 0.5, r_s + 0.7))
        part = t_s[first:last] - r_s
        for centre_s, width_s, height_mv in shape.waves:
            out[first:last] += height_mv * np.exp(-0.5 * ((part - centre_s) / width_s) ** 2)
    return out


def steady(duration_s: float, rate_bpm: float = 72.0, jitter_s: float = 0.02, seed: int = 1) -> list[float]:
    """R times of a sinus rhythm, from 0.6 s to 0.6 s before the end."""
    rng, times, at = np.random.default_rng(seed), list[float](), 0.6
    while at < duration_s - 0.6:
        times.append(at)
        at += 60.0 / rate_bpm + float(rng.normal(0.0, jitter_s))
    return times


def missed_and_false(truth_s: Sequence[float], found_s: Sequence[float], window_s: float = 0.15) -> tuple[int, int]:
    """Greedy one-to-one matching: beats without a mark, marks without a beat."""
    left, missed = sorted(found_s), 0
    for r_s in sorted(truth_s):
        near = min(left, key=lambda one: abs(one - r_s), default=None)
        if near is None or abs(near - r_s) > window_s:
            missed += 1
        else:
            left.remove(near)
    return missed, len(left)
