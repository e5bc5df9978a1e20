"""`bedside train rhythm`: strips in; an int8 model, its manifest entry and its card out.

Figures are of strips that the judging model never saw: five folds by ranges of record numbers, for strips of one
challenge may share people. What is shipped is the student of several teachers (`rhythm_teachers.py`); TensorFlow only
writes the int8 file, in a process of its own (it crashes beside tflite-runtime). The model itself is trained on all
strips by the same recipe.
"""

from __future__ import annotations

import hashlib
import json
import multiprocessing
import warnings
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final, TypeAlias

import numpy as np
import numpy.typing as npt

from bedside.models import network, present, rhythm_cards, rhythm_corpus, shipped
from bedside.models.beats import BeatClassifier
from bedside.models.inference import Entry, Model
from bedside.models.outputs import outputs_digest
from bedside.models.perceptrons import Floats, Net
from bedside.models.rhythm import LABELS
from bedside.models.rhythm_corpus import Strips
from bedside.models.rhythm_features import NAMES, Int8s
from bedside.models.rhythm_scale import INPUT_STEPS, STEPS_A_SPREAD, quantised
from bedside.models.rhythm_teachers import STUDENT, TEACHERS, Lesson, mean_opinion, student

Say: TypeAlias = Callable[[str], None]
SEED: Final = 20260102
N_FOLDS: Final = 5
CALIBRATION_ROWS: Final = 1000


def folds_of(names: tuple[str, ...], n_folds: int = N_FOLDS) -> npt.NDArray[np.int64]:
    """Fold of each strip: ranges of record numbers (names in order), each with as many strips."""
    place = np.empty(len(names), dtype=np.int64)
    place[np.argsort(np.array(names))] = np.arange(len(names))
    return place * n_folds // max(len(names), 1)


def input_of(rows: Floats) -> Floats:
    """What the network sees: int8 steps as spreads."""
    return quantised(rows).astype(np.float64) / STEPS_A_SPREAD


def trained(strips: Strips, use: npt.NDArray[np.bool_], seed: int) -> Net:
    """A net from the strips in `use` (bool per strip): it learns what the mean of three teachers says."""
    rows = strips.judged & use[strips.strip]
    lesson = Lesson(input_of(strips.rows[rows]), strips.labels[strips.strip[rows]], strips.strip[rows])
    return student(lesson, mean_opinion(tuple(make(lesson, seed) for make in TEACHERS)), seed)


def shares_of(logits: Floats, strips: Strips, rows: npt.NDArray[np.bool_]) -> Floats:
    """Probabilities by strip (n_strips, 4): the mean over its windows of log shares. Windows not judged say noise."""
    share = np.exp(logits - logits.max(axis=1, keepdims=True))
    share /= share.sum(axis=1, keepdims=True)
    share[~strips.judged[rows]] = [0.02, 0.02, 0.06, 0.9]
    total = np.zeros((len(strips.names), len(LABELS)))
    np.add.at(total, strips.strip[rows], np.log(share + 1e-6))
    count = np.bincount(strips.strip[rows], minlength=len(strips.names))[:, None]
    total = np.exp(total / np.maximum(count, 1))
    by_strip: Floats = total / total.sum(axis=1, keepdims=True)
    return by_strip


def cross_validated(strips: Strips, seed: int = SEED, shuffle: bool = False) -> Floats:
    """Probabilities of every strip by a net that saw none of its fold. `shuffle`: with labels dealt anew (control)."""
    fold = folds_of(strips.names)
    shares = np.zeros((len(strips.names), len(LABELS)))
    for number in range(N_FOLDS):
        held = fold == number
        lesson = strips
        if shuffle:
            labels = np.random.default_rng(seed + number).permutation(strips.labels)
            lesson = Strips(strips.rows, strips.judged, strips.strip, strips.names, labels, strips.skipped)
        net = trained(lesson, ~held, seed + number)
        rows = held[strips.strip]
        shares[held] = shares_of(net.logits(input_of(strips.rows[rows])), strips, rows)[held]
    return shares


def int8_file(net: Net, sample: Int8s) -> bytes:
    """One TensorFlow Lite file: int8 (1, n_inputs) in, int8 (1, n_classes) logits out, made in a process of its own."""
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        return pool.submit(_int8_file, net, sample).result()


def _int8_file(net: Net, sample: Int8s) -> bytes:
    tf = network.tensorflow(0)
    factor = np.sqrt(np.abs(net.w2).max(axis=1) / np.maximum(np.abs(net.w1).max(axis=0), 1e-9))
    factor = np.maximum(factor, 1e-6)  # relu(c x) = c relu(x): hidden units of one size lose least in int8
    w1, b1, w2 = net.w1 * factor, net.b1 * factor, net.w2 / factor[:, np.newaxis]
    constants = [part.astype(np.float32) for part in (w1, b1, w2, net.b2)]

    @tf.function(input_signature=[tf.TensorSpec([1, w1.shape[0]], tf.float32)])  # type: ignore[untyped-decorator, unused-ignore]
    def forward(x: Any) -> Any:
        hidden = tf.nn.relu(tf.matmul(x, tf.constant(constants[0])) + constants[1])
        return tf.matmul(hidden, tf.constant(constants[2])) + constants[3]

    ends = np.zeros((2, sample.shape[1]), dtype=np.int16)
    ends[0, 0], ends[1, 0] = -INPUT_STEPS - 1, INPUT_STEPS
    rows = np.concatenate([sample.astype(np.int16), ends]).astype(np.float32) / np.float32(STEPS_A_SPREAD)
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


def build(content: bytes) -> Model:
    """A model from bytes that were just made. Raises `SetupError` when no runtime can take them."""
    digest = hashlib.sha256(content).hexdigest()
    return Model(Entry("rhythm", digest, len(content), len(NAMES), len(LABELS)), content)


def strips_in(folder: Path) -> Strips:
    """The strips of `folder`, or of its `cinc2017`, through the live path with the shipped beat model."""
    place = folder / "cinc2017" if (folder / "cinc2017").is_dir() else folder
    return rhythm_corpus.read(place, BeatClassifier(shipped.for_training("beats")))


def train_rhythm(folder: Path, out: Path, say: Say, seed: int = SEED) -> dict[str, Any]:
    """Read `folder`, cross-validate, train on all, write `rhythm.tflite`, `manifest.json`, `cards/rhythm.*` to `out`.

    Gives the card's facts. Raises `SetupError` when the data or TensorFlow are not there.
    """
    network.require()  # fail before the long way through the recordings
    say(f"reading the strips of {folder} through the live path")
    strips = strips_in(folder)
    wanted = {place: f"{label} strips" for place, label in enumerate(LABELS)}
    present.require(strips.labels, np.arange(strips.labels.size), wanted, str(folder))
    say(f"{len(strips.names)} strips, {len(strips.skipped)} left out; cross-validating")
    shares = cross_validated(strips, seed)
    chance = cross_validated(strips, seed, shuffle=True)
    say("training on all strips")
    net = trained(strips, np.ones(len(strips.names), dtype=np.bool_), seed)
    rows = quantised(strips.rows[strips.judged])
    rng = np.random.default_rng(seed)
    sample = rows[np.sort(rng.choice(len(rows), min(CALIBRATION_ROWS, len(rows)), replace=False))]
    content = int8_file(net, sample)
    model = build(content)
    exact = net.logits(rows.astype(np.float64) / STEPS_A_SPREAD).argmax(axis=1)
    facts: dict[str, Any] = {
        "model": "rhythm",
        "sha256": model.digest,
        "size_bytes": len(content),
        "seed": seed,
        "recipe": asdict(STUDENT) | {"teachers": [make.__name__ for make in TEACHERS]},
        "inputs": len(NAMES),
        "labels": list(LABELS),
        "runtime": model.runtime,
        "beats_sha256": shipped.for_training("beats").digest,
        "strips": {label: int(np.sum(strips.labels == place)) for place, label in enumerate(LABELS)},
        "skipped": [list(one) for one in strips.skipped],
        "windows_not_judged": int(np.sum(~strips.judged)),
        "float_against_int8": round(float(np.mean(model.logits(rows).argmax(axis=1) != exact)), 5),
        "outputs_sha256": outputs_digest(model),
        "shuffled_labels_mean_f1": rhythm_cards.figures(strips.labels, chance, seed)["f1"]["mean"],
        **rhythm_cards.figures(strips.labels, shares, seed),
    }
    _write(out, content, facts, model)
    return facts


def _write(out: Path, content: bytes, facts: dict[str, Any], model: Model) -> None:
    """The model, its manifest entry (others stay), and its card as JSON and as Markdown."""
    (out / "cards").mkdir(parents=True, exist_ok=True)
    (out / "rhythm.tflite").write_bytes(content)
    path = out / "manifest.json"
    manifest = json.loads(path.read_text()) if path.is_file() else {"models": {}}
    manifest["models"]["rhythm"] = {
        "sha256": model.digest,
        "size_bytes": len(content),
        "n_inputs": model.n_inputs,
        "n_outputs": model.n_outputs,
        "outputs_sha256": facts["outputs_sha256"],
    }
    path.write_text(json.dumps(manifest, indent=2, sort_keys=True) + "\n")
    (out / "cards" / "rhythm.json").write_text(json.dumps(facts, indent=1, sort_keys=True) + "\n")
    (out / "cards" / "rhythm.md").write_text(rhythm_cards.card(facts))
