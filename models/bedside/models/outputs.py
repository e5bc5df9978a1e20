"""What a model answers over windows that anyone can make: the digest by which others check our inferences.

Imports NumPy alone beside the model that it is given, so that it runs wherever a runtime does (an emulated board too).
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from bedside.models.inference import Int8s, Model

N_WINDOWS = 10_000


def fixed_windows(n_inputs: int, n: int = N_WINDOWS) -> Int8s:
    """The windows over which the digest of a model's outputs is committed, by a rule that anyone can repeat.

    x = 1; for each value, row by row: x = (1664525 x + 1013904223) mod 2**32 (Numerical Recipes); the value is
    (x >> 16) mod 255 - 127. int8, shape (n, n_inputs).
    """
    mask, x, values = (1 << 32) - 1, 1, bytearray(n * n_inputs)
    for at in range(n * n_inputs):
        x = (1664525 * x + 1013904223) & mask
        values[at] = (x >> 16) % 255
    steps = np.frombuffer(bytes(values), dtype=np.uint8).astype(np.int16) - 127
    return steps.astype(np.int8).reshape(n, n_inputs)


def outputs_digest(model: Model) -> str:
    """SHA-256 of the outputs over `fixed_windows`, hex: equal for every runtime that may run the model."""
    return hashlib.sha256(model.run(fixed_windows(model.n_inputs)).tobytes()).hexdigest()
