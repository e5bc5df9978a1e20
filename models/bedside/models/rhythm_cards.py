"""Figures of the rhythm model (the Challenge 2017 measure, with intervals), and its card as Markdown. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from bedside.models.rhythm import LABELS

Floats = npt.NDArray[np.float64]
Labels = npt.NDArray[np.int64]
DRAWS: Final = 1000
DENIED_BELOW: Final = 0.20  # `bedside.signal.rhythm` denies fibrillation below it
BINS: Final = 10


def confusion(labels: Labels, said: Labels) -> npt.NDArray[np.int64]:
    """Counts (4, 4): rows experts, columns said, in the order of `LABELS`."""
    table = np.zeros((len(LABELS), len(LABELS)), dtype=np.int64)
    np.add.at(table, (labels, said), 1)
    return table


def f1_scores(table: npt.NDArray[np.int64]) -> dict[str, float]:
    """F1 of each label and `mean` of N, A, O: the measure of Clifford et al. 2017."""
    hit = np.diag(table).astype(np.float64)
    total = table.sum(axis=0) + table.sum(axis=1)
    score = np.divide(2 * hit, total, out=np.zeros(len(LABELS)), where=total > 0)
    return {label: float(one) for label, one in zip(LABELS, score, strict=True)} | {"mean": float(score[:3].mean())}


def figures(labels: Labels, shares: Floats, seed: int) -> dict[str, Any]:
    """F1 with 95 % intervals (bootstrap over strips), confusion, AF as a test, reliability."""
    said = shares.argmax(axis=1)
    table = confusion(labels, said)
    rng = np.random.default_rng(seed)
    drawn = [rng.integers(0, labels.size, labels.size) for _ in range(DRAWS)]
    means = [f1_scores(confusion(labels[one], said[one]))["mean"] for one in drawn]
    low, high = np.quantile(means, [0.025, 0.975])
    fibrillates = labels == 1
    af = shares[:, 1]
    return {
        "f1": {key: round(value, 4) for key, value in f1_scores(table).items()},
        "mean_f1_interval_95": [round(float(low), 4), round(float(high), 4)],
        "confusion": {
            one: dict(zip(LABELS, row, strict=True)) for one, row in zip(LABELS, table.tolist(), strict=True)
        },
        "af_denied": round(float(np.mean(af[fibrillates] < DENIED_BELOW)), 4),
        "others_denied": round(float(np.mean(af[~fibrillates] < DENIED_BELOW)), 4),
        "reliability": _reliability(shares, labels),
    }


def _reliability(shares: Floats, labels: Labels) -> list[list[float]]:
    """Of strips whose likeliest label had a probability in each tenth: how many, mean probability, share right."""
    top = shares.max(axis=1)
    right = shares.argmax(axis=1) == labels
    place = np.minimum((top * BINS).astype(np.int64), BINS - 1)
    return [
        [int(np.sum(place == k)), round(float(top[place == k].mean()), 3), round(float(right[place == k].mean()), 3)]
        for k in range(BINS)
        if np.any(place == k)
    ]


def card(facts: Mapping[str, Any]) -> str:
    """The rhythm model's card. Every number comes from `facts` (`cards/rhythm.json`)."""
    f1, low_high = facts["f1"], facts["mean_f1_interval_95"]
    counts = ", ".join(f"{n} {label}" for label, n in facts["strips"].items())
    skipped = "; ".join(f"{name} ({why})" for name, why in facts["skipped"]) or "none"
    lines = [
        "# Rhythm of half a minute: model card",
        "",
        "Made by `bedside train rhythm`; `rhythm.json` beside it has the same facts for a program. Do not edit.",
        "",
        "**Intended use.** Judges the last 30 s of one ECG lead, every 10 s: sinus rhythm (N), atrial fibrillation or",
        "flutter (A), another rhythm (O), noise (~). It confirms or denies the fibrillation that the RR intervals",
        f"suggest (denied below a probability of {DENIED_BELOW}); it raises no alarm of its own and is no diagnosis.",
        "",
        "**It cannot judge**, and says so: windows of which less than half was seen, with fewer than four beats or",
        "shorter than 8 s, and everything when the model is missing or fails. The rules then decide alone.",
        "",
        f"**Bytes.** SHA-256 `{facts['sha256']}`, {facts['size_bytes']:,} bytes, {facts['inputs']} int8 inputs,",
        f"four int8 logits. Outputs over 10,000 fixed windows: SHA-256 `{facts['outputs_sha256']}`.",
        f"The int8 model calls {100 * facts['float_against_int8']:.2f} % of all windows otherwise than the float net.",
        f"Runtime: {facts['runtime']}. Seed {facts['seed']}. Beat classes by `{facts['beats_sha256'][:16]}…`.",
        "",
        f"**Data.** {sum(facts['strips'].values()):,} strips of the PhysioNet/CinC Challenge 2017 (Clifford et al.",
        f"2017; Open Data Commons Attribution License v1.0): {counts}; one hand-held lead (I), 9 to 61 s, labels v3.",
        f"Left out: {skipped}. Windows not judged: {facts['windows_not_judged']}.",
        "",
        "**Method.** Five folds by ranges of record numbers (strips may share people, and who they are is not",
        "published); a strip's label is that of the mean over its windows. Rows come through the live path. Interval:",
        "95 %, bootstrap over strips. The committed model is trained on all strips by the same recipe.",
        "",
        "| F1 of N | A | O | ~ | mean of N, A, O | 95 % | with shuffled labels |",
        "| --- | --- | --- | --- | --- | --- | --- |",
        f"| {f1['N']:.3f} | {f1['A']:.3f} | {f1['O']:.3f} | {f1['~']:.3f} | **{f1['mean']:.3f}** | "
        f"{low_high[0]:.3f} to {low_high[1]:.3f} | {facts['shuffled_labels_mean_f1']:.3f} |",
        "",
        "Four winners of the Challenge reached 0.83 on its hidden strips, with 8,528 strips to learn from.",
        f"Fibrillation denied: {100 * facts['af_denied']:.1f} % of A strips, {100 * facts['others_denied']:.1f} % "
        "of all others.",
        "",
        "Rows: experts; columns: said.",
        "",
        "| | N | A | O | ~ |",
        "| --- | --- | --- | --- | --- |",
    ]
    for label in LABELS:
        row = facts["confusion"][label]
        lines.append(f"| {label} | " + " | ".join(str(row[one]) for one in LABELS) + " |")
    lines += ["", "| strips | mean probability of the likeliest | share right |", "| --- | --- | --- |"]
    lines += [f"| {n} | {mean:.2f} | {right:.2f} |" for n, mean, right in facts["reliability"]]
    lines += [
        "",
        "**Known failures.** Other rhythm (O) is a mixture (ectopic beats, slow and fast sinus rhythm, blocks) and is",
        "confused with N both ways. Flutter with a fixed block is regular and comes out as O or N. Trained on lead I",
        "of a hand-held device with dry electrodes: other leads and paced hearts are judged by analogy.",
        "",
        "**Drift watch.** Share of windows that deny a fibrillation of the rules (finding `rhythm_disagreement`), per",
        "patient-day; a site where it doubles should have strips reviewed.",
        "",
    ]
    return "\n".join(lines)
