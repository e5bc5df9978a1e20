"""`bedside train beats`: recordings in; an int8 model, its manifest entry and its card out.

The card's figures are of patients that the model judging them never saw (cross-validation by whole
patients, thresholds chosen within the training patients); the model itself is then trained on all of them.
"""

from __future__ import annotations

import hashlib
import json
import logging
import multiprocessing
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final, TypeAlias

import numpy as np
import numpy.typing as npt

from bedside.models import calibration, cards, corpus, distil, intervals, network, opinion, present
from bedside.models.features import NAMES, Int8s
from bedside.models.inference import Entry, Model
from bedside.models.lessons import HeadPlan, Material, Table, lesson_of, plans, shown, whole
from bedside.models.outputs import outputs_digest
from bedside.models.scoring import Counts, count, folds, interval

log = logging.getLogger(__name__)
Say: TypeAlias = Callable[[str], None]
Labels: TypeAlias = npt.NDArray[np.str_]

SEED: Final = 20260101
N_FOLDS: Final = 6
CALIBRATION_ROWS: Final = 2000
NET_SEEDS_APART: Final = 77


def train_heads(material: Material, use: npt.NDArray[np.bool_], seed: int) -> tuple[network.Head, ...]:
    """Both heads, on the table's rows in `use`: the mean of perceptrons, or the student of them and of trees."""
    return tuple(_head(material, use, plan, seed) for plan in plans())


def _head(material: Material, use: npt.NDArray[np.bool_], plan: HeadPlan, seed: int) -> network.Head:
    if plan.student is None:
        return network.together(nets(material, use, plan, seed))
    teacher = distil.mean_opinion(*teachers(material, use, plan, seed))
    return distil.student(shown(material.table, use, seed), teacher, plan.columns, plan.student, seed + 1)


def teachers(
    material: Material, use: npt.NDArray[np.bool_], plan: HeadPlan, seed: int
) -> tuple[tuple[distil.Teacher, ...], tuple[float, ...]]:
    """Perceptrons and trees, and their shares: all perceptrons together weigh as much as the trees."""
    several: list[distil.Teacher] = [head.logits for head in nets(material, use, plan, seed)]
    if plan.trees is None:
        return tuple(several), (1.0,) * plan.nets
    rng = np.random.default_rng(seed)
    lesson = lesson_of(material.table, use, plan, plan.recipe.others_max, rng)
    if plan.trees.whole_lesson:
        lesson = whole(lesson, material, use, plan, rng)
    grown = distil.trees(lesson, plan.columns, plan.trees, seed)
    return (*several, grown), (*[1.0 / plan.nets] * plan.nets, 1.0)


def nets(material: Material, use: npt.NDArray[np.bool_], plan: HeadPlan, seed: int) -> tuple[network.Head, ...]:
    """The head's bagged perceptrons."""
    return tuple(net(material, use, plan, seed + NET_SEEDS_APART * number) for number in range(plan.nets))


def net(material: Material, use: npt.NDArray[np.bool_], plan: HeadPlan, seed: int) -> network.Head:
    """A head of bagged perceptrons by itself."""
    rng = np.random.default_rng(seed)
    lesson = whole(lesson_of(material.table, use, plan, plan.recipe.others_max, rng), material, use, plan, rng)
    return network.train_head(lesson, plan.columns, plan.recipe, seed)


def made(material: Material, use: npt.NDArray[np.bool_], seed: int) -> tuple[tuple[network.Head, ...], bytes]:
    """Heads and int8 model, made in a process of its own: TensorFlow and tflite-runtime crash in one."""
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        return pool.submit(_made, material, use, seed).result()


def _made(material: Material, use: npt.NDArray[np.bool_], seed: int) -> tuple[tuple[network.Head, ...], bytes]:
    heads = train_heads(material, use, seed)
    return heads, network.int8_model(heads, _sample(material.table, use, seed))


def called(
    v_logits: npt.NDArray[np.float64], s_logits: npt.NDArray[np.float64], judged: npt.NDArray[np.bool_]
) -> Labels:
    """Classes by the same rule as `beats.BeatClassifier`."""
    symbols: Labels = np.where(v_logits > 0, "V", np.where(s_logits > 0, "S", "N"))
    return np.where(judged, symbols, "Q")


def build(content: bytes, name: str, n_inputs: int) -> Model:
    """A model from bytes that were just made. Raises `SetupError` when no runtime can take them."""
    return Model(Entry(name, hashlib.sha256(content).hexdigest(), len(content), n_inputs, len(plans())), content)


@dataclass(frozen=True, slots=True)
class Judged:
    """Figures of one main lead by a model that never saw its patient."""

    record: str
    patient: str
    fold: int
    n_beats: int
    unjudged: int
    counts: dict[str, Counts]
    confusion: dict[str, dict[str, int]]
    escapes_as_s: Counts  # of S, with e and j counted as S
    labels: Labels
    symbols: Labels  # as called
    v_logits: npt.NDArray[np.float64]
    s_logits: npt.NDArray[np.float64]


def cross_validate(data: corpus.Corpus, material: Material, seed: int, say: Say) -> tuple[Judged, ...]:
    """Judge every main lead by the int8 model of the folds that its patient is not in."""
    table = material.table
    dealt = folds(_burden(data), min(N_FOLDS, len(table.patients)))
    judged: list[Judged] = []
    for number, held in enumerate(dealt):
        say(f"fold {number + 1} of {len(dealt)}: leaving out {', '.join(held)}")
        seen = ~np.isin(table.patient, [table.patients.index(patient) for patient in held])
        model = build(made(material, seen, seed + number)[1], "beats", len(NAMES))
        judged.extend(_judge(model, lead, number) for lead in data.leads if lead.main and lead.patient in held)
    return tuple(sorted(judged, key=lambda one: one.record))


def _judge(model: Model, lead: corpus.Lead, fold: int) -> Judged:
    logits = model.logits(lead.rows)
    v_logits = _opinions(logits[:, 0], lead)
    symbols = called(v_logits, logits[:, 1], lead.judged)
    counts = {symbol: count(symbol, lead.labels, symbols, lead.missed) for symbol in "VS"}
    confusion = {
        truth: {symbol: int(np.sum((lead.labels == truth) & (symbols == symbol))) for symbol in "NSVFQ"}
        | {"missed": int(np.sum(lead.missed == truth))}
        for truth in "NSVFQx"
    }
    escapes = count("S", np.where(lead.escapes, "S", lead.labels), symbols, lead.missed)
    return Judged(
        lead.record, lead.patient, fold, lead.labels.size, int(np.sum(~lead.judged)), counts, confusion, escapes,
        lead.labels, symbols, v_logits, logits[:, 1],
    )  # fmt: skip


def _opinions(v_logits: npt.NDArray[np.float64], lead: corpus.Lead) -> npt.NDArray[np.float64]:
    """Each beat's V logit in the light of its variant, as `beats.BeatClassifier` has it."""
    moved, opinions = v_logits.copy(), opinion.Opinions()
    for at in np.flatnonzero(lead.judged).tolist():
        moved[at] = opinions.heard(int(lead.variants[at]), float(v_logits[at]))
    return moved


def _burden(data: corpus.Corpus) -> dict[str, tuple[int, int]]:
    burden: dict[str, tuple[int, int]] = dict.fromkeys(data.patients, (0, 0))
    for lead in data.leads:
        if lead.main:
            s, v = burden[lead.patient]
            burden[lead.patient] = s + int(np.sum(lead.labels == "S")), v + int(np.sum(lead.labels == "V"))
    return burden


def _sample(table: Table, use: npt.NDArray[np.bool_], seed: int) -> Int8s:
    rng = np.random.default_rng(seed)
    at = np.flatnonzero(use & table.judged)
    rows: Int8s = table.rows[np.sort(rng.choice(at, min(CALIBRATION_ROWS, at.size), replace=False))]
    return rows


def train_beats(folder: Path, out: Path, say: Say, seed: int = SEED) -> dict[str, Any]:
    """Read `folder`, cross-validate, train on all, write `beats.tflite`, `manifest.json`, `cards/beats.*` to `out`.

    Gives the card's facts. Raises `SetupError` when the data or TensorFlow are not there.
    """
    network.require()  # fail before the long way through the recordings
    say(f"reading {folder} through the live path")
    data = corpus.read(folder / "mitdb" if (folder / "mitdb").is_dir() else folder)
    for record, reason in data.skipped:
        say(f"left out: {record} ({reason})")
    rhythms = intervals.read(folder)
    say(f"{len(data.patients)} patients with signals, {len(rhythms)} recordings of beat times")
    table = Table.of(data)
    present.require(table.labels, table.patient, {"N": "N beats", "S": "S beats", "V": "V beats"}, str(folder))
    material = Material.of(table, rhythms)
    judged = cross_validate(data, material, seed, say)
    say("training on all patients")
    everyone = np.ones(table.labels.size, dtype=np.bool_)
    heads, content = made(material, everyone, seed)
    model = build(content, "beats", len(NAMES))
    facts = {
        "model": "beats",
        "sha256": model.digest,
        "size_bytes": len(content),
        "seed": seed,
        "recipe": {plan.symbol: _recipe(plan) for plan in plans()},
        "inputs": len(NAMES),
        "runtime": model.runtime,
        "data": {
            "folder": folder.name,
            "patients": list(data.patients),
            "skipped": [list(pair) for pair in data.skipped],
            "leads": len(data.leads),
            "rhythms": {
                source: sum(rhythm.name.startswith(source) for rhythm in rhythms)
                for source in ("incart", "afdb", "thinned_incart")
            },
        },
        "float_against_int8": _agreement(model, heads, table),
        "outputs_sha256": outputs_digest(model),
        "calibration": calibrated(judged),
        **figures(judged, seed),
    }
    write(out, content, facts, model)
    return facts


def _recipe(plan: HeadPlan) -> dict[str, Any]:
    parts = {"trees": plan.trees, "student": plan.student}
    return asdict(plan.recipe) | {"nets": plan.nets} | {name: asdict(one) for name, one in parts.items() if one}


def figures(judged: tuple[Judged, ...], seed: int) -> dict[str, Any]:
    """Gross figures with intervals, without each dominant patient, by record, and the confusion matrix."""
    gross: dict[str, Any] = {}
    for symbol, name in (("V", "veb"), ("S", "sveb")):
        per = [one.counts[symbol] for one in judged]
        total = sum(per, Counts())
        top = max(judged, key=lambda one: one.counts[symbol].tp + one.counts[symbol].fn)
        rest = sum((one.counts[symbol] for one in judged if one.patient != top.patient), Counts())
        span = interval(per, seed)
        gross[name] = total.facts() | {
            "f1_interval_95": None if span is None else [round(span[0], 4), round(span[1], 4)],
            "without_dominant": {"record": top.record, **rest.facts()},
        }
    gross["sveb"]["with_e_and_j_as_s"] = sum((one.escapes_as_s for one in judged), Counts()).facts()
    confusion = {
        truth: {symbol: sum(one.confusion[truth][symbol] for one in judged) for symbol in (*"NSVFQ", "missed")}
        for truth in "NSVFQx"
    }
    records = [
        {"record": one.record, "fold": one.fold, "beats": one.n_beats, "unjudged": one.unjudged}
        | {name: one.counts[symbol].facts() for symbol, name in (("V", "veb"), ("S", "sveb"))}
        for one in judged
    ]
    return {"gross": gross, "confusion": confusion, "records": records}


def calibrated(judged: tuple[Judged, ...]) -> dict[str, Any]:
    """Curves for both heads from all unseen patients' logits, and what curves of the other folds were worth.

    V is asked of every beat but fusion and unclassifiable ones, S of N and S beats.
    """
    labels = np.concatenate([one.labels for one in judged])
    fold = np.concatenate([np.full(one.labels.size, one.fold) for one in judged])
    symbols = np.concatenate([one.symbols for one in judged])
    v_logits = np.concatenate([one.v_logits for one in judged])
    s_logits = np.concatenate([one.s_logits for one in judged])
    facts: dict[str, Any] = {"curves": []}
    given = {}
    for symbol, logits, asked in (("V", v_logits, "NSVx"), ("S", s_logits, "NS")):
        mine = (symbols != "Q") & np.isin(labels, list(asked))
        truth = labels[mine] == symbol
        facts["curves"].append(list(calibration.curve(logits[mine], truth)))
        facts[symbol] = calibration.reliability(calibration.by_other_folds(logits[mine], truth, fold[mine]), truth)
        raw = calibration.reliability(calibration.probabilities(logits[mine], (1.0, 0.0)), truth)
        facts[symbol]["uncalibrated_expected_error"] = raw["expected_error"]
        given[symbol] = calibration.probabilities(logits, tuple(facts["curves"][-1]))
    v, s = given["V"], given["S"]
    of_symbol = np.where(symbols == "V", v, (1 - v) * np.where(symbols == "S", s, 1 - s))
    judged_ones = (symbols != "Q") & np.isin(labels, list("NSV"))
    facts["coverage"] = calibration.coverage(of_symbol[judged_ones], (symbols == labels)[judged_ones])
    return facts


def _agreement(model: Model, heads: tuple[network.Head, ...], table: Table) -> dict[str, float]:
    """Share of all rows that the int8 model calls otherwise than the trained float heads."""
    rows = table.rows[table.judged]
    whole = np.ones(rows.shape[0], dtype=np.bool_)
    exact = called(heads[0].logits(rows), heads[1].logits(rows), whole)
    logits = model.logits(rows)
    return {"called_otherwise": round(float(np.mean(exact != called(logits[:, 0], logits[:, 1], whole))), 5)}


def write(out: Path, content: bytes, facts: dict[str, Any], model: Model) -> None:
    """The model, its manifest entry (others stay), and its card as JSON and as Markdown."""
    (out / "cards").mkdir(parents=True, exist_ok=True)
    (out / "beats.tflite").write_bytes(content)
    manifest_path = out / "manifest.json"
    manifest = json.loads(manifest_path.read_text()) if manifest_path.is_file() else {"models": {}}
    manifest["models"]["beats"] = {
        "sha256": model.digest,
        "size_bytes": len(content),
        "n_inputs": model.n_inputs,
        "n_outputs": model.n_outputs,
        "outputs_sha256": facts["outputs_sha256"],
        "calibration": facts["calibration"]["curves"],
    }
    manifest_path.write_text(json.dumps(manifest, indent=2, sort_keys=True) + "\n")
    (out / "cards" / "beats.json").write_text(json.dumps(facts, indent=1, sort_keys=True) + "\n")
    (out / "cards" / "beats.md").write_text(cards.beats(facts))
