"""The beat network: two heads of small bagged perceptrons, trained here, folded by TensorFlow into one int8 file.

Training only (extra `train`). The perceptrons are small enough that NumPy trains them as fast as a framework. A
head is several perceptrons with one hidden layer; each learns from patients drawn with replacement, so what one
patient alone shows weighs little, and the patients that a member has not seen choose its threshold. Their mean is
again one hidden layer: what runs on the box is two fully connected layers, V and S head side by side.
"""

from __future__ import annotations

import importlib.util
import math
import os
import warnings
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

import numpy as np
import numpy.typing as npt

from bedside.core.errors import SetupError
from bedside.models.features import INPUT_STEPS, Int8s
from bedside.models.scoring import best_threshold

Singles: TypeAlias = npt.NDArray[np.float32]
LOGIT_MAX: Final = 8.0
INPUT_SCALE: Final = 1 / 32
"""Real value of one int8 input step inside the network: -128..127 is -4..3.97, zero point 0."""


@dataclass(frozen=True, slots=True)
class Recipe:
    """How a head is trained."""

    members: int = 8
    hidden: int = 16
    epochs: int = 5
    batch: int = 512
    rate: float = 3e-3
    noise: float = 0.5  # of a feature's spread, added while training
    dropout: float = 0.1
    decay: float = 1e-3
    others_max: int = 700  # negatives taken of each lead: long calm records would drown the rest
    temper: float = 0.5  # a patient's n beats of a class weigh n ** (1 - temper)


@dataclass(frozen=True, slots=True, eq=False)
class Head:
    """A trained head: `logit(q) = mean over members of relu(q @ w1 + b1) @ w2 + b2 - threshold`."""

    w1: Singles  # (n_inputs, members * hidden), on int8 counts
    b1: Singles
    w2: Singles  # (members * hidden,)
    b2: float
    threshold: float

    def logits(self, rows: Int8s) -> npt.NDArray[np.float64]:
        """Above 0: positive. Shape (n,)."""
        hidden = np.maximum(rows.astype(np.float32) @ self.w1 + self.b1, 0.0)
        return (hidden @ self.w2 + self.b2 - self.threshold).astype(np.float64)


def together(heads: tuple[Head, ...]) -> Head:
    """The mean of several heads, again one hidden layer."""
    n = len(heads)
    return Head(
        np.concatenate([head.w1 for head in heads], axis=1),
        np.concatenate([head.b1 for head in heads]),
        np.concatenate([head.w2 for head in heads]) / np.float32(n),
        sum(head.b2 for head in heads) / n,
        sum(head.threshold for head in heads) / n,
    )


def standard(rows: Int8s) -> tuple[Singles, Singles]:
    """Middle and spread of each column, the spread of a normal one."""
    middle = np.median(rows.astype(np.float32), axis=0)
    spread = np.percentile(np.abs(rows.astype(np.float32) - middle), 90, axis=0) / 1.645 + 1.0
    return middle.astype(np.float32), spread.astype(np.float32)


def weights(truth: npt.NDArray[np.bool_], patients: npt.NDArray[np.int64], temper: float) -> Singles:
    """Both classes weigh the same; within one, a patient with n beats weighs n ** (1 - temper). Mean 1."""
    weight = np.zeros(truth.size)
    for positive in (False, True):
        mine = truth == positive
        _, where, n = np.unique(patients[mine], return_inverse=True, return_counts=True)
        share = n[where] ** -temper
        weight[mine] = share / share.sum()
    return (weight * truth.size / 2).astype(np.float32)


@dataclass(frozen=True, slots=True, eq=False)
class Lesson:
    """What a head learns from, row by row."""

    rows: Int8s  # (n, n_inputs)
    truth: npt.NDArray[np.bool_]
    patients: npt.NDArray[np.int64]
    stands_for: npt.NDArray[np.float64]  # beats that the row stands for when a threshold is chosen; 0: not asked
    at: npt.NDArray[np.int64]  # where the first rows lie in the table they come from

    def followed_by(self, rows: Int8s, truth: npt.NDArray[np.bool_], patients: npt.NDArray[np.int64]) -> Lesson:
        """With rows behind that no threshold is chosen on."""
        return Lesson(
            np.concatenate([self.rows, rows]),
            np.concatenate([self.truth, truth]),
            np.concatenate([self.patients, patients]),
            np.concatenate([self.stands_for, np.zeros(truth.size)]),
            self.at,
        )


def train_head(lesson: Lesson, columns: npt.NDArray[np.bool_], recipe: Recipe, seed: int) -> Head:
    """Fit a head. `columns`: which inputs it may use. Same seed and data, same head."""
    rng = np.random.default_rng(seed)
    rows, truth = lesson.rows, lesson.truth
    middle, spread = standard(rows)
    scaled = (np.clip((rows.astype(np.float32) - middle) / spread, -6, 6) * columns).astype(np.float32)
    people, person = np.unique(lesson.patients, return_inverse=True)
    bags = rng.poisson(1.0, size=(recipe.members, people.size)).astype(np.float32)
    for member in range(recipe.members):  # a member must see positives
        while not (truth & (bags[member, person] > 0)).any():
            bags[member] = rng.poisson(1.0, size=people.size)
    weight = weights(truth, lesson.patients, recipe.temper)
    w1, b1, w2, b2 = _fit(scaled, truth, weight, bags[:, person], recipe, rng)
    units = np.maximum(scaled @ w1 + b1, 0).reshape(truth.size, *w2.shape)
    each = (np.einsum("bmh,mh->bm", units, w2) + b2).T
    unseen = bags[:, person] == 0
    asked = unseen.any(axis=0) & (lesson.stands_for > 0)
    out_of_bag = (each * unseen).sum(axis=0)[asked] / unseen.sum(axis=0)[asked]
    threshold = best_threshold(out_of_bag.astype(np.float64), truth[asked], lesson.stands_for[asked])
    flat = w1 * (columns / spread)[:, np.newaxis]
    offset = b1 - middle @ flat
    mean = (w2.reshape(-1) / recipe.members).astype(np.float32)
    return Head(flat.astype(np.float32), offset.astype(np.float32), mean, float(b2.mean()), threshold)


def _fit(
    x: Singles, truth: npt.NDArray[np.bool_], weight: Singles, bags: Singles, recipe: Recipe, rng: np.random.Generator
) -> tuple[Singles, Singles, Singles, Singles]:
    """Adam on the weighted cross-entropy, the members side by side: w1 (inputs, members * hidden), b1, w2, b2."""
    members, hidden, n_inputs = recipe.members, recipe.hidden, x.shape[1]
    start = (
        rng.normal(0, n_inputs**-0.5, (n_inputs, members * hidden)), np.zeros(members * hidden),
        rng.normal(0, hidden**-0.5, (members, hidden)), np.zeros(members),
    )  # fmt: skip
    variables = [part.astype(np.float32) for part in start]
    moments = [(np.zeros_like(v), np.zeros_like(v)) for v in variables]
    wanted, shares = (truth * 0.98 + 0.01).astype(np.float32)[:, np.newaxis], (weight * bags).T.copy()
    steps = max(1, x.shape[0] // recipe.batch)
    done, total = 0, steps * recipe.epochs
    for _ in range(recipe.epochs):
        order = rng.permutation(x.shape[0])
        for i in range(steps):
            take = order[i * recipe.batch : (i + 1) * recipe.batch]
            noise = rng.standard_normal((take.size, n_inputs), dtype=np.float32)
            inputs = x[take] + noise * np.float32(recipe.noise)
            kept = (rng.random((take.size, members * hidden), dtype=np.float32) >= recipe.dropout).astype(np.float32)
            gradients = _gradients(inputs, wanted[take], shares[take], kept / (1 - recipe.dropout), variables)
            done += 1
            rate = recipe.rate * 0.5 * (1 + math.cos(math.pi * done / total))
            for v, gradient, (m, s) in zip(variables, gradients, moments, strict=True):
                m += np.float32(0.1) * (gradient - m)
                s += np.float32(0.01) * (gradient * gradient - s)
                move = m / np.float32(1 - 0.9**done) / (np.sqrt(s / np.float32(1 - 0.99**done)) + np.float32(1e-7))
                v -= np.float32(rate) * (move + np.float32(recipe.decay) * v)
    w1, b1, w2, b2 = variables
    return w1, b1, w2, b2


def _gradients(
    inputs: Singles, wanted: Singles, shares: Singles, kept: Singles, variables: list[Singles]
) -> tuple[Singles, ...]:
    """Of the loss, by each variable. `kept`: which hidden units drop-out leaves, scaled."""
    w1, b1, w2, b2 = variables
    inner = inputs @ w1 + b1
    units = np.maximum(inner, 0.0) * kept
    by_member = units.reshape(units.shape[0], *w2.shape)
    logits = np.einsum("bmh,mh->bm", by_member, w2) + b2
    outer = (1 / (1 + np.exp(-logits)) - wanted) * shares / np.float32(inputs.shape[0])
    back = (outer[:, :, np.newaxis] * w2).reshape(units.shape) * kept * (inner > 0)
    return inputs.T @ back, back.sum(axis=0), np.einsum("bm,bmh->mh", outer, by_member), outer.sum(axis=0)


def require() -> None:
    """Raises `SetupError` when TensorFlow or scikit-learn is not installed."""
    missing = [name for name in ("tensorflow", "sklearn") if importlib.util.find_spec(name) is None]
    if missing:
        raise SetupError(
            f"training needs TensorFlow and scikit-learn, which the appliance does not have (no {missing[0]})",
            hint="pip install 'bedside[train,recordings]'",
        )


def tensorflow(seed: int) -> Any:
    """TensorFlow on one thread, deterministic, seeded. Not in a process that runs tflite-runtime: they crash."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    import tensorflow as tf

    if not tf.executing_eagerly() or tf.config.threading.get_intra_op_parallelism_threads() != 1:
        tf.config.threading.set_intra_op_parallelism_threads(1)
        tf.config.threading.set_inter_op_parallelism_threads(1)
    tf.config.experimental.enable_op_determinism()
    tf.random.set_seed(seed)
    return tf


def int8_model(heads: tuple[Head, ...], sample: Int8s) -> bytes:
    """One TensorFlow Lite file of all heads side by side: int8 (1, n_inputs) in, int8 (1, heads) logits out.

    Post-training quantisation, calibrated on `sample` (rows of recordings) and the two ends of the input,
    which fix its scale at 1/32. Weights per tensor, each head's its own, for a head with large weights would leave few
    steps to the other's; hidden units are first balanced between the layers.
    """
    tf = tensorflow(0)
    branches = [_balanced(head) for head in heads]

    @tf.function(input_signature=[tf.TensorSpec([1, sample.shape[1]], tf.float32)])  # type: ignore[untyped-decorator, unused-ignore]
    def forward(x: Any) -> Any:
        logits = []
        for w1, b1, w2, b2 in branches:
            hidden = tf.nn.relu(tf.matmul(x, tf.constant(w1)) + b1)
            logits.append(tf.matmul(hidden, tf.constant(w2)) + b2)
        return tf.concat(logits, axis=1)

    # Beyond +-8 a logit's size decides nothing: leaving such rows out keeps the output's step small.
    near = np.abs(np.stack([head.logits(sample) for head in heads], axis=1)).max(axis=1) < LOGIT_MAX
    sample = sample[near] if near.any() else sample
    ends = sample[[0, 0]].astype(np.int16)  # of a beat like others: an invented one would stretch the output's step
    ends[0, 0], ends[1, 0] = -INPUT_STEPS - 1, INPUT_STEPS
    rows = np.concatenate([sample.astype(np.int16), ends]).astype(np.float32) * np.float32(INPUT_SCALE)
    converter = tf.lite.TFLiteConverter.from_concrete_functions([forward.get_concrete_function()], forward)
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    converter.representative_dataset = lambda: ([row[np.newaxis]] for row in rows)
    converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
    converter.inference_input_type = converter.inference_output_type = tf.int8
    converter._experimental_disable_per_channel_quantization_for_dense_layers = True  # tflite-runtime 2.14 has none
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # "statistics were expected": they come from the sample
        content: bytes = converter.convert()
    return content


def _balanced(head: Head) -> tuple[Singles, Singles, Singles, Singles]:
    """Both layers of a head, w2 as a column: relu(c x) = c relu(x), so every hidden unit is given the same largest
    weight and the second layer takes the factor."""
    w1, w2 = head.w1 / np.float32(INPUT_SCALE), head.w2[:, np.newaxis]
    factor = np.sqrt(np.abs(w2).max(axis=1) / np.maximum(np.abs(w1).max(axis=0), 1e-9)).astype(np.float32)
    factor = np.maximum(factor, 1e-6)
    offset = np.array([head.b2 - head.threshold], dtype=np.float32)
    return (w1 * factor).astype(np.float32), head.b1 * factor, (w2 / factor[:, np.newaxis]).astype(np.float32), offset
