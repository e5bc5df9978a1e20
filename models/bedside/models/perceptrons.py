"""Small bagged perceptrons that tell several classes apart, trained in NumPy: the same bytes on every run of a seed.

Each member learns from people drawn with replacement, with noise on its inputs; the mean of the members is again one
hidden layer, which `rhythm_train` writes as an int8 file. Training only; pure.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

Floats: TypeAlias = npt.NDArray[np.float64]
Labels: TypeAlias = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Recipe:
    """How the members are trained."""

    members: int = 10
    hidden: int = 24
    epochs: int = 40
    batch: int = 128
    rate: float = 4e-3
    noise: float = 0.35  # of an input's spread
    dropout: float = 0.15
    decay: float = 3e-3
    smooth: float = 0.08  # of each label, given to the other classes


@dataclass(frozen=True, slots=True, eq=False)
class Net:
    """`logits(x) = relu(x @ w1 + b1) @ w2 + b2`, the members side by side."""

    w1: Floats  # (n_inputs, members * hidden)
    b1: Floats
    w2: Floats  # (members * hidden, n_classes)
    b2: Floats

    def logits(self, x: Floats) -> Floats:
        """Shape (n, n_classes)."""
        out: Floats = np.maximum(x @ self.w1 + self.b1, 0.0) @ self.w2 + self.b2
        return out


def fit(x: Floats, labels: Labels, people: Labels, n_classes: int, recipe: Recipe, seed: int) -> Net:
    """Train on rows (n, n_inputs); `people[i]` is whose row it is: a member takes all rows of a person or none."""
    wanted = np.full((labels.size, n_classes), recipe.smooth / n_classes)
    wanted[np.arange(labels.size), labels] += 1.0 - recipe.smooth
    return fit_shares(x, wanted, people, recipe, seed)


def fit_shares(x: Floats, wanted: Floats, people: Labels, recipe: Recipe, seed: int, bagged: bool = True) -> Net:
    """As `fit`, towards shares (n, n_classes) that sum to 1; not `bagged`: every member sees everyone."""
    rng = np.random.default_rng(seed)
    known, person, rows_of = np.unique(people, return_inverse=True, return_counts=True)
    nets = []
    for _ in range(recipe.members):
        drawn = rng.poisson(1.0, known.size) if bagged else np.ones(known.size, dtype=np.int64)
        weight = drawn[person] / rows_of[person]
        nets.append(_member(x, wanted, weight, recipe, rng))
    w1, b1, w2, b2 = (list(part) for part in zip(*nets, strict=True))
    return Net(
        np.concatenate(w1, axis=1),
        np.concatenate(b1),
        np.concatenate(w2) / recipe.members,
        np.mean(b2, axis=0),
    )


def _member(x: Floats, wanted: Floats, weight: Floats, recipe: Recipe, rng: np.random.Generator) -> tuple[Floats, ...]:
    n_inputs, hidden, n_classes = x.shape[1], recipe.hidden, wanted.shape[1]
    parts = [
        rng.normal(0.0, n_inputs**-0.5, (n_inputs, hidden)),
        np.zeros(hidden),
        rng.normal(0.0, hidden**-0.5, (hidden, n_classes)),
        np.zeros(n_classes),
    ]
    mean = [np.zeros_like(part) for part in parts]
    square = [np.zeros_like(part) for part in parts]
    mine = np.flatnonzero(weight > 0)
    weight = weight / weight[mine].mean()
    steps = recipe.epochs * max(mine.size // recipe.batch, 1)
    done = 0
    for _ in range(recipe.epochs):
        order = rng.permutation(mine)
        for start in range(0, max(order.size - recipe.batch + 1, 1), recipe.batch):
            take = order[start : start + recipe.batch]
            gradients = _gradients(parts, x[take], wanted[take], weight[take], recipe, rng)
            done += 1
            rate = recipe.rate * 0.5 * (1.0 + np.cos(np.pi * min(done / steps, 1.0)))
            for k, gradient in enumerate(gradients):
                mean[k] = 0.9 * mean[k] + 0.1 * gradient
                square[k] = 0.99 * square[k] + 0.01 * gradient * gradient
                move = mean[k] / (1 - 0.9**done) / (np.sqrt(square[k] / (1 - 0.99**done)) + 1e-7)
                parts[k] = parts[k] - rate * (move + (recipe.decay * parts[k] if k in (0, 2) else 0.0))
    return tuple(parts)


def _gradients(
    parts: list[Floats], x: Floats, wanted: Floats, weight: Floats, recipe: Recipe, rng: np.random.Generator
) -> list[Floats]:
    noisy = x + recipe.noise * rng.standard_normal(x.shape)
    kept = (rng.random((x.shape[0], recipe.hidden)) >= recipe.dropout) / (1.0 - recipe.dropout)
    inner = noisy @ parts[0] + parts[1]
    hidden = np.maximum(inner, 0.0) * kept
    logits = hidden @ parts[2] + parts[3]
    share = np.exp(logits - logits.max(axis=1, keepdims=True))
    share /= share.sum(axis=1, keepdims=True)
    wrong = (share - wanted) * (weight / x.shape[0])[:, None]
    back = (wrong @ parts[2].T) * kept * (inner > 0)
    return [noisy.T @ back, back.sum(axis=0), hidden.T @ wrong, wrong.sum(axis=0)]
