"""The linear part of a lead's conditioning: resampling, high-pass, low-pass and the QRS envelopes, one lead or many.

Fed by `lead.py` with finite samples that complete whole frames; knows nothing of beats, gaps or time of day. Pure.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from bedside.signal.filters import Baseline, FirBank
from bedside.signal.resample import Floats, Resampler, ResampleState

HALF = 18  # delay of the FIR filters, internal samples: 72 ms


class Chain(NamedTuple):
    """Memory of the linear part of one lead's conditioning; of several leads, with one more axis in front."""

    resample: ResampleState
    raw: Floats  # (..., HALF) the newest internal samples before the high-pass
    baseline: Floats
    fir: Floats


class Conditioned(NamedTuple):
    """What whole frames of source samples become at 250 Hz, shape (..., n), mV."""

    clean: Floats
    raw: Floats  # beside it, before the high-pass
    envelope: Floats  # of the QRS band
    slow: Floats  # of the band of wide QRS and T waves
    fast: Floats  # what the low-pass took away
    wander: Floats  # what the baseline filter took away


def condition(
    resampler: Resampler, baseline: Baseline, bank: FirBank, chain: Chain, filled: Floats, n_new: int
) -> tuple[Chain, Conditioned]:
    """Source samples that complete `n_new` internal ones, shape (..., n): one lead, or several, with the same bits."""
    resample, inner = resampler.step(chain.resample, filled, chain.resample.n_out + n_new)
    slope, level = baseline.step(chain.baseline, inner)
    window = np.concatenate((chain.fir, level), -1)
    clean, even, odd, slow_even, slow_odd = bank.over(window)
    fast = window[..., HALF:-HALF] - clean
    joined = np.concatenate((chain.raw, inner), -1)
    raw, kept = joined[..., :-HALF], joined[..., -HALF:]
    inner -= level
    wave = Conditioned(clean, raw, _modulus(even, odd), _modulus(slow_even, slow_odd), fast, inner)
    return Chain(resample, kept, slope, window[..., -2 * HALF :]), wave


def stacked(chains: Sequence[Chain]) -> Chain:
    """The memory of several leads whose samples lie alike on the internal grid."""
    first = chains[0].resample
    tail = np.array([chain.resample.tail for chain in chains])
    return Chain(
        ResampleState(tail, first.n_in, first.n_out),
        np.array([chain.raw for chain in chains]),
        np.array([chain.baseline for chain in chains]),
        np.array([chain.fir for chain in chains]),
    )


def _modulus(real: Floats, imaginary: Floats) -> Floats:
    """Of a complex number; writes over both."""
    real *= real
    imaginary *= imaginary
    real += imaginary
    return np.sqrt(real, real)
