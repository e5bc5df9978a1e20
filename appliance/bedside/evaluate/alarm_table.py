"""The tables of `bedside evaluate alarms`: a folder of records through the live path, alarms counted.

The edge: finds records, runs them in two processes, writes tables.
"""

from __future__ import annotations

import json
import multiprocessing
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from bedside.core.errors import SetupError
from bedside.core.events import Json
from bedside.evaluate import alarms as verdicts
from bedside.evaluate import annotated
from bedside.evaluate.alarms import Verdict
from bedside.evaluate.annotated import Watched

T = TypeVar("T")
COMMAND = "bedside evaluate alarms DIR"


def evaluate_alarms(folder: Path, *, lead: str | None = None, processes: int = 2) -> dict[str, Json]:
    """Everything as one JSON document. Raises `SetupError` when the folder has no record that can be judged."""
    if not folder.is_dir():
        raise SetupError(f"{folder}: no such folder", hint="give a folder of WFDB records")
    records = [path.with_suffix("") for path in sorted(folder.glob("*.hea"))]
    challenge = [one for one in records if verdicts.read_truth(one.with_suffix(".hea")) is not None]
    known = set(challenge)
    marked = [one for one in records if one not in known and one.with_name(f"{one.name}.atr").is_file()]
    if not challenge and not marked:
        raise SetupError(
            f"{folder}: {len(records)} records, none with a judged alarm in its header or .atr annotations",
            hint="give the folder of the Challenge 2015 or of annotated records",
        )
    document: dict[str, Json] = {"lead": lead, "folder": folder.name}
    if challenge:
        document["challenge_2015"] = challenge_summary(_each(partial(verdicts.judge, lead=lead), challenge, processes))
    if marked:
        document["own_alarms"] = own_summary(_each(partial(annotated.watch, lead=lead), marked, processes))
    return document


def _each(job: Callable[[Path], T], records: Sequence[Path], processes: int) -> list[T]:
    if processes <= 1 or len(records) == 1:
        return [job(record) for record in records]
    context = multiprocessing.get_context("spawn")
    try:
        with ProcessPoolExecutor(processes, mp_context=context) as pool:
            return list(pool.map(job, records))
    except BrokenProcessPool as error:
        raise SetupError(
            "an evaluating process ended before its record was done", hint="free memory, or use --processes 1"
        ) from error


# ---------------------------------------------------------------------- the Challenge


def challenge_summary(found: Sequence[Verdict]) -> dict[str, Json]:
    """Counts and scores, by kind, of all, and by folds; which records are wrong; what was suppressed."""
    kinds = {kind: [one for one in found if one.kind == kind] for kind in verdicts.KINDS}
    lost = [one for one in found if one.truth and not one.alarmed and one.suppressed]
    return {
        "window_s": verdicts.WINDOW_S,
        "limits": dict(verdicts.RATES),
        "all": _scored(found),
        "kinds": {kind: _scored(ones) for kind, ones in kinds.items() if ones},
        "folds": [
            {"from": fold[0].record, "to": fold[-1].record, **_scored(fold)} for fold in verdicts.folds(found) if fold
        ],
        "suppressed_true": {kind: sum(one.kind == kind for one in lost) for kind in kinds},
        "suppressed_false": {
            kind: sum(bool(one.suppressed) and not one.truth for one in ones) for kind, ones in kinds.items()
        },
        "wrong": [
            {"record": one.record, "kind": one.kind, "true": one.truth, "suppressed": list(one.suppressed)}
            for one in found
            if one.truth != one.alarmed
        ],
        "cpu_s": round(sum(one.cpu_s for one in found), 1),
    }


def _scored(found: Sequence[Verdict]) -> dict[str, Json]:
    counts = verdicts.count(found)
    between = verdicts.interval(found)
    return {
        "records": len(found), "tp": counts.tp, "fn": counts.fn, "fp": counts.fp, "tn": counts.tn,
        "score": counts.score, "interval": list(between) if between is not None else None,
    }  # fmt: skip


# ---------------------------------------------------------------------- our own alarms


def own_summary(found: Sequence[Watched]) -> dict[str, Json]:
    """Our alarms by condition and per patient-day."""
    days = sum(one.hours for one in found) / 24
    alarms = [alarm for one in found for alarm in one.alarms]
    kinds: dict[str, Json] = {}
    for kind in annotated.COUNTED:
        ours = [one for one in alarms if one.kind == kind]
        if ours:
            true = sum(one.true for one in ours)
            wrong = Counter(one.record for one in ours if not one.true)
            kinds[kind] = {
                "true": true, "false": len(ours) - true, "false_per_day": (len(ours) - true) / days if days else None,
                "false_in": dict(sorted(wrong.items())),
            }  # fmt: skip
    true = sum(one.true for one in alarms)
    return {
        "records": len(found),
        "days": days,
        "kinds": kinds,
        "true": true,
        "false": len(alarms) - true,
        "false_per_day": (len(alarms) - true) / days if days else None,
        "suppressions": sum(one.suppressed for one in found),
    }


# ---------------------------------------------------------------------- for people


def as_table(document: dict[str, Any]) -> str:
    """The document as Markdown."""
    parts = []
    if "challenge_2015" in document:
        parts.append(_challenge_table(document["challenge_2015"]))
    if "own_alarms" in document:
        parts.append(_own_table(document["own_alarms"]))
    return "\n\n".join(parts)


def _challenge_table(found: dict[str, Any]) -> str:
    lines = [
        "Monitors' alarms (PhysioNet Challenge 2015), real time: 100 (TP + TN) / (TP + TN + FP + 5 FN)",
        "",
        "| alarm | records | TP | FN | FP | TN | score | 95 % | suppressed, true | suppressed, false |",
        "|" + " --- |" * 10,
    ]
    for kind, row in [*found["kinds"].items(), ("all", found["all"])]:
        held = [
            sum(found[name].values()) if kind == "all" else found[name][kind]
            for name in ("suppressed_true", "suppressed_false")
        ]
        low, high = row["interval"]
        cells = [kind.replace("_", " "), *(row[name] for name in ("records", "tp", "fn", "fp", "tn"))]
        cells += [f"{row['score']:.2f}", f"{low:.1f} to {high:.1f}", *held]
        lines.append("| " + " | ".join(str(cell) for cell in cells) + " |")
    folds = ", ".join(f"{one['from']} to {one['to']}: {one['score']:.1f}" for one in found["folds"])
    limits = ", ".join(f"{name.replace('_', ' ')} {value:g}/min" for name, value in found["limits"].items())
    lines += ["", f"Folds: {folds}.", f"Window {found['window_s']:g} s before the alarm; {limits}."]
    return "\n".join(lines)


def _own_table(found: dict[str, Any]) -> str:
    lines = [
        f"Our own alarms over {found['records']} records, {found['days']:.2f} patient-days",
        "",
        "| condition | true | false | false a day | false in |",
        "|" + " --- |" * 5,
    ]
    for kind, row in found["kinds"].items():
        where = ", ".join(f"{record} ({count})" for record, count in row["false_in"].items())
        cells = [kind.replace("_", " "), row["true"], row["false"], f"{row['false_per_day']:.1f}", where]
        lines.append("| " + " | ".join(str(cell) for cell in cells) + " |")
    total = f"{found['true']} true, {found['false']} false: {found['false_per_day']:.1f} false a day"
    lines += ["", f"All: {total}; {found['suppressions']} were suppressed."]
    return "\n".join(lines)


def write_figures(document: dict[str, Any], folder: Path) -> None:
    """Keep the figures as `alarms.json` and `alarms.md`, beside what another folder gave. Raises `SetupError`."""
    kept: dict[str, Any] = {}
    try:
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / "alarms.json"
        if path.is_file():
            kept = json.loads(path.read_text())
        kept = {**kept, **{name: document[name] for name in ("challenge_2015", "own_alarms") if name in document}}
        path.write_text(json.dumps({**kept, "command": COMMAND}, indent=1) + "\n")
        text = f"# Alarms\nMade by `{COMMAND}`; do not edit.\n\n{as_table(kept)}\n"
        (folder / "alarms.md").write_text(text)
    except (OSError, ValueError) as error:
        raise SetupError(f"{folder}: {error}", hint="run in a folder that you may write") from error
