"""The card of a model, as Markdown, from the facts that training measured. Pure text."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def beats(facts: Mapping[str, Any]) -> str:
    """The beat model's card. Every number comes from `facts` (`cards/beats.json`)."""
    data, gross = facts["data"], facts["gross"]
    lines = [
        "# Beat classes: model card",
        "",
        "Made by `bedside train beats`; `beats.json` beside it has the same facts for a program. Do not edit.",
        "",
        "**Intended use.** Marks each heart beat of one ECG lead as N, S or V by AAMI EC57 while a patient is",
        "monitored, to feed rates, runs and alarms that a clinician judges. One lead of any position, 100 to",
        "1000 Hz. A beat is judged once 0.44 s after it are settled. It is no diagnosis.",
        "",
        "**It cannot judge**, and says so (Q, not judged): windows with missing samples, flat or saturated ones,",
        "and everything when the model is missing or fails. It never calls a beat F: fusion beats come out as N",
        "or V. It knows no paced beats: a patient with a pacemaker is not to be judged by it.",
        "",
        f"**Bytes.** SHA-256 `{facts['sha256']}`, {facts['size_bytes']:,} bytes, {facts['inputs']} int8 inputs,",
        f"two int8 logits. Outputs over 10,000 fixed windows: SHA-256 `{facts['outputs_sha256']}`.",
        f"The int8 model calls {100 * facts['float_against_int8']['called_otherwise']:.2f} % of all beats otherwise",
        f"than the trained float network. Runtime: {facts['runtime']}. Seed {facts['seed']}.",
        "",
        f"**Data.** {data['folder']}: {len(data['patients'])} patients ({', '.join(data['patients'])}),",
        f"{data['leads']} leads, all of them for training, the main lead (MLII) for the figures. Left out:",
        "; ".join(f"{record} ({reason})" for record, reason in data["skipped"]) + "." if data["skipped"] else "none.",
        f"Beat times alone, for the S head: {data['rhythms']['incart']} recordings of INCART, "
        f"{data['rhythms']['afdb']} of the MIT-BIH AF database. Leads and beat times with many S beats are shown",
        "again with the calm stretches cut out, and half of the V beats with another beat's interval.",
        "MIT-BIH Arrhythmia Database, Open Data Commons Attribution License v1.0 (Moody and Mark 2001;",
        "Goldberger et al. 2000). Two-channel tapes of the 1970s, mostly of older inpatients and outpatients.",
        "",
        "**Method.** Cross-validation by whole patients: each is judged by an int8 model that saw none of their",
        "beats; thresholds come from training patients alone. Figures go through the live path: beats that the",
        "finder missed count as missed, and a V called where no beat is counts against. e and j count as N. Fusion",
        "beats called V count neither way. Intervals: 95 %, bootstrap over patients. Whole records, first five",
        "minutes included; flutter and fibrillation of the ventricles (`[` to `]`) left out. The committed model is",
        "trained on all patients by the same recipe.",
        "",
        "| class | Se | +P | F1 | 95 % | TP | FP | FN | F1 without its dominant patient |",
        "| --- | --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    for name, label in (("veb", "V (VEB)"), ("sveb", "S (SVEB)")):
        one = gross[name]
        rest = one["without_dominant"]
        span = one["f1_interval_95"]
        lines.append(
            f"| {label} | {_pct(one['sensitivity'])} | {_pct(one['precision'])} | {_f1(one['f1'])} | "
            f"{'' if span is None else f'{span[0]:.3f} to {span[1]:.3f}'} | {one['tp']} | {one['fp']} | {one['fn']} | "
            f"{_f1(rest['f1'])} (without {rest['record']}) |"
        )
    escapes = gross["sveb"]["with_e_and_j_as_s"]
    lines += [
        "",
        f"With e and j counted as S instead: Se {_pct(escapes['sensitivity'])}, +P {_pct(escapes['precision'])}, "
        f"F1 {_f1(escapes['f1'])} ({_triple(escapes)}).",
    ]
    lines += _calibration(facts["calibration"])
    lines += ["", "Rows: experts; columns: called. x: no expert marked a beat there.", ""]
    lines += ["| | N | S | V | F | Q | missed |", "| --- | --- | --- | --- | --- | --- | --- |"]
    lines += [
        f"| {truth} | " + " | ".join(str(facts["confusion"][truth][symbol]) for symbol in (*"NSVFQ", "missed")) + " |"
        for truth in "NSVFQx"
    ]
    lines += [
        "",
        "| record | beats | V: TP/FP/FN | V F1 | S: TP/FP/FN | S F1 |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    for row in facts["records"]:
        v, s = row["veb"], row["sveb"]
        lines.append(
            f"| {row['record']} | {row['beats']} | {_triple(v)} | {_f1(v['f1'])} | {_triple(s)} | {_f1(s['f1'])} |"
        )
    lines += ["", "**Known failures**, by cross-validation: " + _failures(facts["records"]) + ".", ""]
    lines += [
        "While the rhythm is as irregular as in atrial fibrillation S is not called: early beats in it are missed.",
        "A patient whose majority is S is hard to tell from one in a fast sinus rhythm. So few patients give wide",
        "intervals, and a record with few beats of a class says little about it.",
        "",
        "**Drift watch.** Compare the shares of S, V and unjudged beats per patient-day with those of the card's",
        "records; a site whose V share doubles without a change of patients should have strips reviewed.",
        "",
    ]
    return "\n".join(lines)


def _calibration(facts: Mapping[str, Any]) -> list[str]:
    """Reliability of both probabilities, and what leaving unsure beats unjudged would cost."""
    lines = [
        "",
        "**Probabilities** come from logistic curves in the manifest, fitted to unseen patients' logits. What they are",
        "worth, by curves of the other folds: V: expected calibration error "
        f"{facts['V']['expected_error']:.4f} ({facts['V']['uncalibrated_expected_error']:.4f} without), Brier score "
        f"{facts['V']['brier']:.4f}; S: {facts['S']['expected_error']:.4f} "
        f"({facts['S']['uncalibrated_expected_error']:.4f} without), {facts['S']['brier']:.4f}. A patient's own error "
        "can be",
        "far larger: these are means over all beats.",
        "",
        "| probability from | V: beats | given | true | S: beats | given | true |",
        "| --- | --- | --- | --- | --- | --- | --- |",
    ]
    bars = {symbol: {bar["from"]: bar for bar in facts[symbol]["bars"]} for symbol in "VS"}
    for start in sorted({*bars["V"], *bars["S"]}):
        cells = []
        for symbol in "VS":
            bar = bars[symbol].get(start)
            cells += ["", "", ""] if bar is None else [str(bar["beats"]), f"{bar['given']:.3f}", f"{bar['true']:.3f}"]
        lines.append(f"| {start:.2f} | " + " | ".join(cells) + " |")
    rows = ", ".join(
        f"{100 * row['judged']:.1f} % judged, {100 * row['right']:.2f} % of them right (from {row['limit']:g})"
        for row in facts["coverage"]
    )
    lines += [
        "",
        "No beat is left unjudged for its probability: a V that is not called breaks a run that may be a tachycardia.",
        f"What a limit would give, over N, S and V beats: {rows}.",
    ]
    return lines


def _failures(records: list[dict[str, Any]]) -> str:
    """The records with the most wrong beats of each class, named."""
    parts = []
    for name, label in (("veb", "V"), ("sveb", "S")):
        worst = sorted(records, key=lambda row: -(row[name]["fp"] + row[name]["fn"]))[:5]
        named = ", ".join(f"{row['record']} ({row[name]['fp']} false, {row[name]['fn']} missed)" for row in worst)
        parts.append(f"{label}: {named}")
    return "; ".join(parts)


def _triple(counts: Mapping[str, Any]) -> str:
    return f"{counts['tp']}/{counts['fp']}/{counts['fn']}"


def _pct(share: float | None) -> str:
    return "" if share is None else f"{100 * share:.1f} %"


def _f1(value: float | None) -> str:
    return "" if value is None else f"{value:.3f}"
