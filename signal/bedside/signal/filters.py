"""Frozen filters for one lead at the internal rate; their memory travels beside them.

Fed by `lead.py` with finite samples at 250 Hz; knows nothing of beats, gaps or time of day.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np
from scipy import signal as sps

from bedside.signal.resample import INTERNAL_HZ, Floats


@dataclass(frozen=True, eq=False)
class Baseline:
    """Second-order Butterworth high-pass: takes baseline wander and offset away, zero delay for the QRS.

    The cut-off of 0.5 Hz is the monitoring bandwidth of IEC 60601-2-27; ST levels need a wider band.
    """

    b: Floats
    a: Floats

    @classmethod
    def design(cls, cut_hz: float = 0.5) -> Self:
        """Raises `ValueError` when `cut_hz` is not within 0.05..5 Hz."""
        if not 0.05 <= cut_hz <= 5:
            raise ValueError(f"cut_hz: expected 0.05 to 5 Hz, got {cut_hz!r}")
        b, a = sps.butter(2, cut_hz, "highpass", fs=INTERNAL_HZ)
        return cls(b, a)

    def initial(self) -> Floats:
        """State of a lead that had always rested at 0 mV."""
        return np.zeros(2)

    def step(self, state: Floats, block_mv: Floats) -> tuple[Floats, Floats]:
        """Take `n` >= 0 samples, shape (..., n), mV; give the next state (..., 2) and `n` filtered samples, mV."""
        if block_mv.size == 0:
            return state, block_mv
        filtered_mv, state = sps.lfilter(self.b, self.a, block_mv, zi=state)
        return state, filtered_mv


@dataclass(frozen=True, eq=False)
class FirBank:
    """Several linear-phase FIR filters of one length over one lead, each late by `half` samples.

    `step` gives, for `n` new samples, one array of `n` outputs a kernel; output i belongs to the input
    sample that lies `half` before input i. Each output is one inner product of fixed length, so its bits depend
    neither on how many samples came together nor on how many leads.
    """

    kernels: tuple[Floats, ...]  # each (2 * half + 1,), turned round as a correlation wants them
    half: int

    @classmethod
    def design(cls, *kernels: Floats) -> Self:
        """Raises `ValueError` unless every kernel has the same odd length."""
        sizes = {kernel.size for kernel in kernels}
        if len(sizes) != 1 or next(iter(sizes)) % 2 == 0:
            raise ValueError(f"kernels: expected one odd length, got {sorted(sizes)}")
        return cls(tuple(kernel[::-1].copy() for kernel in kernels), kernels[0].size // 2)

    def initial(self) -> Floats:
        """State of a lead that had always rested at 0 mV."""
        return np.zeros(2 * self.half)

    def step(self, state: Floats, block_mv: Floats) -> tuple[Floats, tuple[Floats, ...]]:
        """Take `n` >= 1 samples, shape (n,) or (leads, n), mV; give the next state and `n` samples of each filter."""
        joined = np.concatenate((state, block_mv), -1)
        return joined[..., -2 * self.half :], self.over(joined)

    def over(self, joined: Floats) -> tuple[Floats, ...]:
        """The outputs of `step` for a state and a block that are joined already."""
        if joined.ndim == 1:
            return tuple(np.correlate(joined, kernel) for kernel in self.kernels)
        # leads one after the other: what reaches from one into the next is left out
        size, flat = joined.itemsize, joined.ravel()
        shape, strides = (joined.shape[0], joined.shape[1] - 2 * self.half), (joined.shape[1] * size, size)
        return tuple(np.ndarray(shape, np.float64, np.correlate(flat, kernel), 0, strides) for kernel in self.kernels)


def lowpass_kernel(half: int, cut_hz: float) -> Floats:
    """Windowed-sinc low-pass of `2 * half + 1` taps with gain 1 at 0 Hz."""
    return np.asarray(sps.firwin(2 * half + 1, cut_hz, window=("kaiser", 4.0), fs=INTERNAL_HZ))


def quadrature_kernels(half: int, centre_hz: float, sigma_s: float) -> tuple[Floats, Floats]:
    """An even and an odd Gabor wavelet, both blind to a constant and (the odd one by balance) to a slope.

    The root of the sum of their squared outputs is the envelope of the band around `centre_hz`: one hump
    for each QRS whatever its polarity or shape. Source: Gabor 1946, doi:10.1049/ji-3-2.1946.0074.
    """
    t_s = np.arange(-half, half + 1) / INTERNAL_HZ
    bell = np.exp(-0.5 * (t_s / sigma_s) ** 2)
    even = bell * np.cos(2 * np.pi * centre_hz * t_s)
    even -= bell * (even.sum() / bell.sum())
    odd = bell * np.sin(2 * np.pi * centre_hz * t_s)
    ramp = bell * t_s
    odd -= ramp * ((odd * t_s).sum() / (ramp * t_s).sum())
    gain = np.abs(np.exp(-2j * np.pi * centre_hz * t_s) @ even)
    return even / gain, odd / np.abs(np.exp(-2j * np.pi * centre_hz * t_s) @ odd)
