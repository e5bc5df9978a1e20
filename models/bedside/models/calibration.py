"""How far a probability can be believed: logistic curves fitted to unseen patients' logits, and what they are worth.

Pure arithmetic for training. A curve is fitted by maximum likelihood on logits of patients that the judging model
had not seen; its worth (reliability, expected calibration error) is measured with curves of the other folds.
"""

from __future__ import annotations

from typing import Any, Final, TypeAlias

import numpy as np
import numpy.typing as npt

Floats: TypeAlias = npt.NDArray[np.float64]
Bools: TypeAlias = npt.NDArray[np.bool_]

BINS: Final = np.array([0.0, 0.02, 0.05, 0.1, 0.2, 0.4, 0.6, 0.8, 0.9, 0.95, 0.98])
STEPS: Final = 50
RIDGE: Final = 1e-6


def curve(logits: Floats, truth: Bools) -> tuple[float, float]:
    """Slope and offset of the logistic curve of largest likelihood (Platt); (1, 0) with one class alone."""
    if truth.all() or not truth.any():
        return 1.0, 0.0
    design = np.stack([logits, np.ones_like(logits)], axis=1)
    share = (truth.sum() + 1) / (truth.size + 2)
    weights = np.array([0.0, np.log(share / (1 - share))])
    for _ in range(STEPS):
        p = 1 / (1 + np.exp(-np.clip(design @ weights, -30, 30)))
        gradient = design.T @ (p - truth)
        hessian = (design * (p * (1 - p))[:, np.newaxis]).T @ design + RIDGE * np.eye(2)
        step = np.linalg.solve(hessian, gradient)
        weights = weights - step / max(1.0, float(np.abs(step).max()))
        if float(np.abs(step).max()) < 1e-9:
            break
    return round(float(weights[0]), 5), round(float(weights[1]), 5)


def probabilities(logits: Floats, of: tuple[float, float]) -> Floats:
    """The curve's values."""
    values: Floats = 1 / (1 + np.exp(-np.clip(of[0] * logits + of[1], -30, 30)))
    return values


def by_other_folds(logits: Floats, truth: Bools, fold: npt.NDArray[np.int64]) -> Floats:
    """Each beat's probability by the curve of the folds that it is not in."""
    given = np.zeros(logits.size)
    for one in np.unique(fold):
        mine = fold == one
        others = ~mine if not mine.all() else mine
        given[mine] = probabilities(logits[mine], curve(logits[others], truth[others]))
    return given


def reliability(given: Floats, truth: Bools) -> dict[str, Any]:
    """The diagram's bars (from, beats, mean of what was given, share that was true) and the calibration error."""
    at = np.searchsorted(BINS, given, "right") - 1
    bars = []
    error = 0.0
    for number, start in enumerate(BINS.tolist()):
        mine = at == number
        n = int(mine.sum())
        if n == 0:
            continue
        said, was = float(given[mine].mean()), float(truth[mine].mean())
        error += n / given.size * abs(said - was)
        bars.append({"from": start, "beats": n, "given": round(said, 4), "true": round(was, 4)})
    brier = float(np.mean((given - truth) ** 2)) if given.size else 0.0
    return {"bars": bars, "expected_error": round(error, 5), "brier": round(brier, 5)}


def coverage(probability: Floats, right: Bools) -> list[dict[str, float]]:
    """If beats whose class is less probable than a limit were left unjudged: how many are left, and how many right."""
    rows = []
    for limit in (0.0, 0.6, 0.7, 0.8, 0.9, 0.95):
        kept = probability >= limit
        if kept.any():
            rows.append(
                {
                    "limit": limit,
                    "judged": round(float(kept.mean()), 4),
                    "right": round(float(right[kept].mean()), 4),
                }
            )
    return rows
