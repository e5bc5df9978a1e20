"""Which samples around a beat belong to P, to QRS, to T: a small convolutional network, and its reading.

Fed by `delineation.py` with one beat or the mean of many, raw at 250 Hz; knows no stream, clock or file. The weights
stand in `wave_weights.py`, fitted by `signal/fit_waves.py` to cardiologists' marks.
"""

from __future__ import annotations

import base64
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import NamedTuple, Self

import numpy as np
from numpy.typing import NDArray
from scipy.signal import firwin

from bedside.signal.resample import INTERNAL_HZ, Floats

Singles = NDArray[np.float32]

BEFORE, AFTER = 140, 200  # internal samples of a window before and from R on: 0.56 s and 0.8 s
WINDOW = BEFORE + AFTER
STEP = 2  # the network sees every other sample, 125 Hz
CELLS = WINDOW // STEP
CELL_S = STEP / INTERNAL_HZ
MARGIN = 12  # internal samples at each end of what `features` is given, for the low-pass
NONE, P, QRS, T = range(4)
N_FEATURES = 6
DILATIONS = (1, 2, 4, 8)
TAPS = 7
HIDDEN = 20
WAVE_SHARE = 0.5  # of the votes of a cell that make it part of a wave

_LOWPASS = np.asarray(firwin(2 * MARGIN + 1, 40.0, window=("kaiser", 4.0), fs=INTERNAL_HZ))
_AT_S = (np.arange(CELLS) * STEP - BEFORE) / INTERNAL_HZ
_POSITION = _AT_S / 0.4
_SCALES = ((1, 0.02), (4, 0.05), (12, 0.10))  # cells between the two ends of a slope, and the QRS heights that count
_AROUND_R = slice((BEFORE - 25) // STEP, (BEFORE + 25) // STEP)  # 100 ms to each side


def lowpassed(window_mv: Floats) -> Floats:
    """The window less its margins and what lies above 40 Hz, shape (WINDOW,)."""
    return np.convolve(window_mv, _LOWPASS, "valid")


def features(lowpassed_mv: Floats, others: Sequence[int]) -> Singles:
    """What the network sees of a window, shape (CELLS, N_FEATURES).

    `lowpassed_mv`: (WINDOW,) finite, mV; R lies at BEFORE. `others`: where the R peaks before and after lie, internal
    samples from this one. Heights and slopes count against the QRS and are compressed, so that a P wave of 50 µV and
    a QRS of 3 mV can be seen together; slopes know no baseline.
    """
    wave = lowpassed_mv[::STEP]
    near = wave[_AROUND_R]
    height = max(float(near.max() - near.min()), 0.02)
    out = np.empty((CELLS, N_FEATURES), dtype=np.float32)
    out[:, 0] = np.arcsinh((wave - np.median(wave)) / (0.1 * height))
    for column, (reach, share) in enumerate(_SCALES, start=1):
        half = (reach + 1) // 2
        padded = np.concatenate((np.full(half, wave[0]), wave, np.full(half, wave[-1])))
        out[:, column] = np.arcsinh((padded[2 * half :] - padded[: -2 * half]) / (share * height))
    out[:, 4] = _POSITION
    out[:, 5] = 0.0
    for at in others:
        out[:, 5] += np.exp(-0.5 * ((_AT_S - at / INTERNAL_HZ) / 0.03) ** 2)
    return out


@dataclass(frozen=True, eq=False)
class Network:
    """Dilated convolutions over a window: a vote of none, P, QRS and T for each cell of 8 ms.

    Each cell sees 0.36 s to each side. Weights are (TAPS * inputs, outputs), taps outermost.
    """

    layers: tuple[tuple[Singles, Singles], ...]  # weights and biases; the last has one tap

    @classmethod
    @cache
    def shipped(cls) -> Self:
        """The network with the weights that come with Bedside."""
        from bedside.signal import wave_weights

        return cls.unpack(wave_weights.PACKED, wave_weights.SCALES, wave_weights.BIASES)

    @classmethod
    def unpack(cls, packed: str, scales: Sequence[float], biases: Sequence[Sequence[float]]) -> Self:
        """From 8-bit weights in base 85, one scale a layer, and biases."""
        whole = np.frombuffer(base64.b85decode(packed.replace("\n", "")), dtype=np.int8)
        shapes = [(TAPS * N_FEATURES, HIDDEN)] + [(TAPS * HIDDEN, HIDDEN)] * (len(DILATIONS) - 1) + [(HIDDEN, 4)]
        layers, at = [], 0
        for (rows, columns), scale, bias in zip(shapes, scales, biases, strict=True):
            part = whole[at : at + rows * columns].reshape(rows, columns)
            layers.append((part.astype(np.float32) * np.float32(scale), np.asarray(bias, dtype=np.float32)))
            at += rows * columns
        if at != whole.size:
            raise ValueError(f"packed: expected {at} weights, got {whole.size}")
        return cls(tuple(layers))

    def votes(self, seen: Singles) -> Floats:
        """Shares of none, P, QRS and T, shape (CELLS, 4), each row summing to 1."""
        for (weights, bias), dilation in zip(self.layers[:-1], DILATIONS, strict=True):
            reach = TAPS // 2 * dilation
            padded = np.zeros((CELLS + 2 * reach, seen.shape[1]), dtype=np.float32)
            padded[reach:-reach] = seen
            columns = [padded[k * dilation : k * dilation + CELLS] for k in range(TAPS)]
            seen = np.maximum(np.concatenate(columns, axis=1) @ weights + bias, np.float32(0.0))
        weights, bias = self.layers[-1]
        raw = (seen @ weights + bias).astype(np.float64)
        raw = np.exp(raw - raw.max(axis=1, keepdims=True))
        return np.asarray(raw / raw.sum(axis=1, keepdims=True))


class Run(NamedTuple):
    """A wave: where its share crosses a half, internal samples after R, and the mean share in between."""

    on: float
    off: float
    share: float


def runs(votes: Floats, kind: int, enough: float = WAVE_SHARE) -> list[Run]:
    """Every stretch in which `kind` has `enough` of the votes, in order; crossings are interpolated."""
    share = votes[:, kind]
    inside = share >= enough
    edges = np.flatnonzero(np.diff(inside.astype(np.int8), prepend=0, append=0))
    found = []
    for first, end in zip(edges[::2].tolist(), edges[1::2].tolist(), strict=True):
        on, off = float(first), float(end - 1)
        if first > 0:
            on -= (share[first] - enough) / (share[first] - share[first - 1])
        if end < CELLS:
            off += (share[end - 1] - enough) / (share[end - 1] - share[end])
        found.append(Run(on * STEP - BEFORE, off * STEP - BEFORE, float(share[first:end].mean())))
    return found
