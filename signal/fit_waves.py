"""Fit the network that tells P, QRS and T apart, to cardiologists' marks.

    python signal/fit_waves.py DIR [--people odd] [--epochs 70] [--seed 0] > signal/bedside/signal/wave_weights.py

DIR is laid out as LUDB: WFDB records of 500 Hz, one annotation file a lead, `(` wave `)`. Only people whose record
number is odd are fitted to, unless `--people all` is asked for: the others judge. Windows around the R peaks that
`LeadAnalyser` finds, raw; cells outside of a record's first and last mark do not count. Each epoch sees every beat
once: shifted by up to 12 ms, one in four upside-down, half of them with noise and half with baseline wander added.
Needs TensorFlow (the `train` extra). Prints a Python module with 8-bit weights.
"""

from __future__ import annotations

import argparse
import base64
import textwrap
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import wfdb
from numpy.typing import NDArray

from bedside.signal.lead import LeadAnalyser
from bedside.signal.resample import INTERNAL_HZ, Floats
from bedside.signal.waves import (
    AFTER,
    BEFORE,
    DILATIONS,
    HIDDEN,
    MARGIN,
    N_FEATURES,
    STEP,
    TAPS,
    WINDOW,
    Singles,
    features,
    lowpassed,
)

PAD = 400  # internal samples that a record is held at its ends for
KINDS = {"p": 1, "N": 2, "t": 3}
BATCH = 64


class Example(NamedTuple):
    """A beat at `at` of a padded record, the share of each kind a sample, and which samples count."""

    raw_mv: Floats
    kinds: Singles  # (n, 4)
    counts: Singles  # (n,)
    at: int
    others: tuple[int, ...]


def examples(folder: Path, every: bool) -> list[Example]:
    """All beats of all marked leads."""
    found: list[Example] = []
    for header in sorted(folder.glob("*.hea")):
        if every or int(header.stem) % 2:
            record: Any = wfdb.rdrecord(str(header.with_suffix("")))
            for number, lead in enumerate(record.sig_name):
                found += _of_lead(header.with_suffix(""), lead, record.p_signal[:, number], float(record.fs))
    return found


def _of_lead(path: Path, lead: str, ecg_mv: Floats, fs_hz: float) -> Iterator[Example]:
    design = LeadAnalyser.design(fs_hz)
    state, first = design.step(design.initial(), ecg_mv)
    last = design.finish(state)
    gone = {*first.retracted, *last.retracted}
    peaks = [one.clean_index for one in (*first.peaks, *last.peaks) if one.index not in gone]
    n = round(ecg_mv.size * INTERNAL_HZ / fs_hz)
    raw = np.concatenate((first.raw_mv, last.raw_mv))[:n]
    seen = np.flatnonzero(~np.isnan(raw))
    raw = np.interp(np.arange(-PAD, n + PAD), seen, raw[seen])
    marks: Any = wfdb.rdann(str(path), lead)
    at = np.asarray(marks.sample) * INTERNAL_HZ / fs_hz
    where = np.arange(-PAD, n + PAD)
    kinds = np.zeros((where.size, 4), dtype=np.float32)
    for k in range(1, len(at) - 1):
        kind = KINDS.get(marks.symbol[k])
        if kind is not None and (marks.symbol[k - 1], marks.symbol[k + 1]) == ("(", ")"):
            share = np.clip((where - at[k - 1]) / 2 + 0.5, 0, 1) * np.clip((at[k + 1] - where) / 2 + 0.5, 0, 1)
            kinds[:, kind] = np.maximum(kinds[:, kind], share)
    kinds[:, 1:] /= np.maximum(kinds[:, 1:].sum(axis=1, keepdims=True), 1)
    kinds[:, 0] = 1 - kinds[:, 1:].sum(axis=1)
    counts = ((where >= at[0]) & (where <= at[-1])).astype(np.float32)
    for k, peak in enumerate(peaks):
        if at[0] - 10 <= peak <= at[-1] + 10:
            near = tuple(peaks[j] - peak for j in (k - 1, k + 1) if 0 <= j < len(peaks))
            yield Example(raw, kinds, counts, peak + PAD, near)


def drawn(one: Example, rng: np.random.Generator) -> tuple[Singles, Singles, Singles]:
    """An example as this epoch sees it."""
    shift = int(rng.integers(-3, 4))
    first = one.at + shift - BEFORE
    window = one.raw_mv[first - MARGIN : first + WINDOW + MARGIN].copy()
    height = float(np.ptp(window[MARGIN + BEFORE - 25 : MARGIN + BEFORE + 25]))
    if rng.random() < 0.25:
        window = -window
    if rng.random() < 0.5:
        noise = rng.normal(size=window.size)
        if rng.random() < 0.5:
            noise = np.convolve(noise, np.ones(5) / 2.2, "same")
        window += noise * height * rng.choice([0.005, 0.01, 0.02, 0.03])
    if rng.random() < 0.5:
        t_s = np.arange(window.size) / INTERNAL_HZ
        wander = np.sin(2 * np.pi * (rng.uniform(0.05, 0.4) * t_s + rng.random()))
        window += height * rng.uniform(0, 0.6) * wander
    others = [at - shift for at in one.others]
    if rng.random() < 0.15:  # a neighbour that was not found
        others = others[:1] if rng.random() < 0.5 else others[1:]
    cells = slice(first, first + BEFORE + AFTER, STEP)
    return features(lowpassed(window), others), one.kinds[cells], one.counts[cells]


def fit(chosen: Sequence[Example], epochs: int, seed: int) -> list[tuple[NDArray[Any], NDArray[Any]]]:
    """Weights and biases of each layer, as `waves.Network` takes them."""
    import tensorflow as tf

    rng = np.random.default_rng(seed)
    layers, inputs = [], N_FEATURES
    for _ in DILATIONS:
        weights = rng.normal(size=(TAPS, inputs, HIDDEN)) * np.sqrt(2 / (TAPS * inputs))
        layers.append((tf.Variable(weights.astype("f")), tf.Variable(np.zeros(HIDDEN, "f"))))
        inputs = HIDDEN
    last = (tf.Variable((rng.normal(size=(HIDDEN, 4)) * 0.2).astype("f")), tf.Variable(np.zeros(4, "f")))
    variables = [one for layer in (*layers, last) for one in layer]
    steps = len(chosen) // BATCH
    rate = tf.keras.optimizers.schedules.CosineDecay(3e-3, epochs * steps)
    optimizer = tf.keras.optimizers.AdamW(rate, weight_decay=1e-4)
    optimizer.build(variables)

    @tf.function  # type: ignore[untyped-decorator]
    def step(seen: Any, kinds: Any, counts: Any) -> Any:
        with tf.GradientTape() as tape:
            for (weights, bias), dilation in zip(layers, DILATIONS, strict=True):
                reach = TAPS // 2 * dilation
                padded = tf.pad(seen, [[0, 0], [reach, reach], [0, 0]])
                seen = tf.nn.relu(tf.nn.conv1d(padded, weights, 1, "VALID", dilations=dilation) + bias)
            entropy = tf.nn.softmax_cross_entropy_with_logits(kinds, tf.linalg.matmul(seen, last[0]) + last[1])
            loss = tf.reduce_sum(entropy * counts) / tf.reduce_sum(counts)
        optimizer.apply_gradients(zip(tape.gradient(loss, variables), variables, strict=True))

    for _ in range(epochs):
        order = rng.permutation(len(chosen))
        for first in range(0, steps * BATCH, BATCH):
            batch = [drawn(chosen[k], rng) for k in order[first : first + BATCH]]
            step(*(np.stack(part) for part in zip(*batch, strict=True)))
    return [(w.numpy().reshape(-1, w.shape[-1]), b.numpy()) for w, b in (*layers, last)]


def as_module(layers: Sequence[tuple[NDArray[Any], NDArray[Any]]]) -> str:
    """The weights as Python source."""
    packed, scales, biases = b"", [], []
    for weights, bias in layers:
        scale = np.float32(np.abs(weights).max() / 127)
        packed += np.rint(weights / scale).astype(np.int8).tobytes()
        scales.append(repr(float(scale)))
        biases.append("    (" + ", ".join(repr(round(float(one), 5)) for one in bias) + "),")
    text = "\n".join(textwrap.wrap(base64.b85encode(packed).decode(), 110, break_on_hyphens=False))
    return "\n".join(
        [
            '"""Weights of `waves.Network`, 8 bit, made by `signal/fit_waves.py`; do not edit."""',
            "\nfrom __future__ import annotations\n",
            f"SCALES = ({', '.join(scales)})",
            "BIASES = (",
            *biases,
            ")",
            f'PACKED = """\n{text}\n"""',
        ]
    )


def main() -> None:
    """Read, fit, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--people", choices=["odd", "all"], default="odd")
    parser.add_argument("--epochs", type=int, default=70)
    parser.add_argument("--seed", type=int, default=0)
    asked = parser.parse_args()
    print(as_module(fit(examples(asked.folder, asked.people == "all"), asked.epochs, asked.seed)))  # noqa: T201


if __name__ == "__main__":
    main()
