"""The table of `bedside evaluate beats`: a folder of annotated records through the live path, scored per record.

The edge: reads recordings, writes annotations and tables. Records run in two processes.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from bedside.core.errors import SetupError
from bedside.core.events import Json
from bedside.evaluate import beats as scoring
from bedside.evaluate.beats import LEARNING_S, PACED, Figures, Tally, figures
from bedside.evaluate.skipping import Skipped, as_line, attempted, whole


@dataclass(frozen=True, eq=False)
class RecordScore:
    """One record: counts from the start and after five minutes, and the independent matcher's counts from the start."""

    record: str
    whole: Tally
    later: Tally
    independent: tuple[int, int, int]
    hours: float
    cpu_s: float | None  # None: the annotations are another program's


@dataclass(frozen=True, slots=True)
class Job:
    """What one process does: analyse `record` (unless annotations are given) and score it."""

    record: Path
    reference: str
    given: str | None  # extension of another program's annotations
    given_dir: Path
    lead: str | None
    out: Path


def records_in(folder: Path, reference: str = "atr") -> list[Path]:
    """The annotated records of a folder, in order of name. Raises `SetupError` when there are none."""
    if not folder.is_dir():
        raise SetupError(f"{folder}: no such folder", hint="give a folder of WFDB records")
    found = [path.with_suffix("") for path in sorted(folder.glob("*.hea"))]
    annotated = [path for path in found if path.with_name(f"{path.name}.{reference}").is_file()]
    if not annotated:
        raise SetupError(
            f"{folder}: {len(found)} records, none with .{reference} annotations", hint="name theirs with --reference"
        )
    return annotated


def run_job(job: Job) -> RecordScore:
    """Analyse and score one record."""
    import wfdb

    from bedside.evaluate.analyze import analyze, write

    reference = scoring.read_marks(job.record, job.reference)
    cpu_s: float | None = None
    if job.given is None:
        analysis = analyze(job.record, lead=job.lead)
        whole(analysis.complete, analysis.fault)
        write(analysis, job.out)
        fs_hz, hours = analysis.channel.rate_hz, analysis.duration_s / 3600
        cpu_s = sum(seconds for stage, seconds in analysis.cpu_s.items() if stage != "reading")
        test = scoring.read_marks(job.out / job.record.name, "bedside")
    else:
        header: Any = wfdb.rdheader(str(job.record))
        fs_hz, hours = float(header.fs), header.sig_len / header.fs / 3600
        test = scoring.read_marks(job.given_dir / job.record.name, job.given)
    classes = job.record.name not in PACED
    return RecordScore(
        record=job.record.name,
        whole=scoring.score(reference, test, fs_hz, classes=classes),
        later=scoring.score(reference, test, fs_hz, from_s=LEARNING_S, classes=classes),
        independent=scoring.independent(reference, test, fs_hz),
        hours=hours,
        cpu_s=cpu_s,
    )


def evaluate_folder(
    folder: Path,
    *,
    reference: str = "atr",
    given: str | None = None,
    given_dir: Path | None = None,
    lead: str | None = None,
    out: Path | None = None,
    processes: int = 2,
) -> tuple[list[RecordScore], Skipped]:
    """Score every annotated record of `folder`; damaged ones are left out by name. `out` keeps what the analysis wrote.

    Raises `SetupError` when none can be scored.
    """
    records = records_in(folder, reference)
    with tempfile.TemporaryDirectory(prefix="bedside-evaluate-") as scratch:
        place = out if out is not None else Path(scratch)
        jobs = [Job(record, reference, given, given_dir or folder, lead, place) for record in records]
        return attempted(run_job, jobs, lambda job: job.record.name, processes)


def summary(scores: Sequence[RecordScore], skipped: Sequence[tuple[str, str]] = ()) -> dict[str, Json]:
    """Everything as one JSON document: per record, gross, average, jitter, cost and the independent check."""
    total = sum((one.whole for one in scores), Tally())
    later = sum((one.later for one in scores), Tally())
    other = [sum(one.independent[k] for one in scores) for k in range(3)]
    costs = [one.cpu_s for one in scores if one.cpu_s is not None]
    hours = sum(one.hours for one in scores if one.cpu_s is not None)
    return {
        "window_ms": 1000 * scoring.WINDOW_S,
        "rules": (
            "ventricular flutter left out; e and j count as N (as S in sveb_escapes_as_s); F called V and "
            "Q called V or S count neither way; "
            "paced records count for QRS only"
        ),
        "records": [_row(one) for one in scores],
        "gross": {"from_start": _tally(total), "after_5_min": _tally(later)},
        "average": {
            "from_start": _average([one.whole for one in scores]),
            "after_5_min": _average([one.later for one in scores]),
        },
        "intervals_95": {name: _bootstrap(scores, name) for name in ("veb", "sveb")},
        "without_dominant": {name: _without_dominant(scores, name) for name in ("veb", "sveb")},
        "jitter_ms": _jitter(total),
        "skipped": [list(one) for one in skipped],
        "independent": {
            "matcher": "wfdb.processing.compare_annotations",
            "tp": other[0],
            "fn": other[1],
            "fp": other[2],
            "f1": figures(*other).f1,
        },
        "cpu_s_per_hour": sum(costs) / hours if hours else None,
    }


SEED = 1
DRAWS = 2000
SAME_PERSON = {"202": "201"}


def _by_patient(scores: Sequence[RecordScore], name: str) -> dict[str, tuple[int, int, int]]:
    """Counts of a class by patient: two records of MIT-BIH are of one man."""
    people: dict[str, tuple[int, int, int]] = {}
    for one in scores:
        if one.record in PACED:
            continue
        who = SAME_PERSON.get(one.record, one.record)
        before = people.get(who, (0, 0, 0))
        tp, fn, fp = getattr(one.whole, name)
        people[who] = (before[0] + tp, before[1] + fn, before[2] + fp)
    return people


def _bootstrap(scores: Sequence[RecordScore], name: str) -> list[Json] | None:
    """95 % interval of the gross F1, patients drawn with replacement; None where nothing can be counted."""
    counts = np.array(list(_by_patient(scores, name).values()), dtype=np.int64)
    if counts.size == 0:
        return None
    drawn = np.random.default_rng(SEED).integers(0, len(counts), (DRAWS, len(counts)))
    sums = counts[drawn].sum(axis=1)
    total = 2 * sums[:, 0] + sums[:, 1] + sums[:, 2]
    values = 200.0 * sums[total > 0, 0] / total[total > 0]
    if values.size == 0:
        return None
    low, high = np.quantile(values, [0.025, 0.975])
    return [float(low), float(high)]


def _without_dominant(scores: Sequence[RecordScore], name: str) -> dict[str, Json]:
    """The class without the patient who has most of its beats."""
    people = _by_patient(scores, name)
    if not people:
        return {"record": None, **_counted(0, 0, 0)}
    top = max(people, key=lambda who: people[who][0] + people[who][1])
    rest = [sum(counts[k] for who, counts in people.items() if who != top) for k in range(3)]
    return {"record": top, **_counted(*rest)}


def _interval(span: Sequence[float] | None) -> str:
    return "–" if span is None else f"{span[0]:.1f} to {span[1]:.1f} %"


def _row(one: RecordScore) -> Json:
    return {
        "record": one.record,
        "from_start": _tally(one.whole),
        "after_5_min": _tally(one.later),
        "cpu_s_per_hour": one.cpu_s / one.hours if one.cpu_s is not None else None,
    }


def _tally(tally: Tally) -> dict[str, Json]:
    values: dict[str, Json] = {"qrs": _counted(tally.tp, tally.fn, tally.fp)}
    narrow = tally.narrow_tp
    lost = tally.tp - narrow
    values["qrs_50_ms"] = _counted(narrow, tally.fn + lost, tally.fp + lost)
    values["veb"] = _counted(*tally.veb)
    values["sveb"] = _counted(*tally.sveb)
    values["sveb_escapes_as_s"] = _counted(*tally.sveb_escapes)
    for (name, _, _), counts in zip(scoring.RUNS, tally.runs, strict=True):
        values[name] = _counted(*counts)
    return values


def _counted(tp: int, fn: int, fp: int) -> dict[str, Json]:
    found = figures(tp, fn, fp)
    return {"tp": tp, "fn": fn, "fp": fp, "se": found.se, "ppv": found.ppv, "f1": found.f1}


def _average(tallies: Sequence[Tally]) -> dict[str, Json]:
    """Means over the records that have something to count."""
    values: dict[str, Json] = {}
    for name, pick in (
        ("qrs", lambda one: (one.tp, one.fn, one.fp)),
        ("veb", lambda one: one.veb),
        ("sveb", lambda one: one.sveb),
    ):
        found: list[Figures] = [figures(*pick(one)) for one in tallies]
        values[name] = {key: _mean([getattr(one, key) for one in found]) for key in ("se", "ppv", "f1")}
    return values


def _mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if known else None


def _jitter(tally: Tally) -> dict[str, Json]:
    if not tally.apart_ms:
        return {"mean": None, "sd": None, "median_absolute": None}
    apart = np.array(tally.apart_ms)
    return {
        "mean": float(apart.mean()),
        "sd": float(apart.std()),
        "median_absolute": float(np.median(np.abs(apart))),
    }


def as_table(document: dict[str, Any]) -> str:
    """The document for people: Markdown."""
    head = "| record | beats | FN | FP | Se | +P | F1 | F1 after 5 min | VEB Se | VEB +P | SVEB Se | SVEB +P |"
    lines = [head, "|" + " --- |" * 12]
    rows = [*document["records"], {"record": "gross", **document["gross"]}]
    lines += [_line(row) for row in rows]
    average = document["average"]["from_start"]
    later = document["average"]["after_5_min"]
    cells = ["average", "", "", "", *_percents(average["qrs"]), _percent(later["qrs"]["f1"])]
    cells += [*_percents(average["veb"])[:2], *_percents(average["sveb"])[:2]]
    lines.append("| " + " | ".join(cells) + " |")
    gross, other, jitter = document["gross"]["from_start"], document["independent"], document["jitter_ms"]
    lines += [
        "",
        f"Window {document['window_ms']:.0f} ms. {document['rules'][0].upper()}{document['rules'][1:]}.",
        f"F1 at 50 ms {_percent(gross['qrs_50_ms']['f1'])} %, VEB F1 {_percent(gross['veb']['f1'])} %, "
        f"SVEB F1 {_percent(gross['sveb']['f1'])} %.",
        f"With e and j counted as S: SVEB Se {_percent(gross['sveb_escapes_as_s']['se'])}, "
        f"+P {_percent(gross['sveb_escapes_as_s']['ppv'])}, F1 {_percent(gross['sveb_escapes_as_s']['f1'])} %.",
        "Ventricular runs found, missed, false: "
        + ", ".join(
            f"{label} {gross[name]['tp']}, {gross[name]['fn']}, {gross[name]['fp']}"
            for name, label in (("couplets", "couplets"), ("short_runs", "of 3 to 5"), ("long_runs", "of 6 and more"))
        )
        + ".",
        "F1 over patients (bootstrap, 95 %): "
        + ", ".join(f"{name.upper()} {_interval(document['intervals_95'][name])}" for name in ("veb", "sveb"))
        + "; without the patient with the most such beats: "
        + ", ".join(
            f"{name.upper()} {_percent(one['f1'])} % (without {one['record']})"
            for name, one in document["without_dominant"].items()
        )
        + ".",
        f"Independent ({other['matcher']}): TP {other['tp']}, FN {other['fn']}, FP {other['fp']}, "
        f"F1 {_percent(other['f1'])} %.",
    ]
    if jitter["mean"] is not None:
        lines.append(
            f"R peaks against the expert's: mean {jitter['mean']:+.1f} ms, SD {jitter['sd']:.1f} ms, "
            f"median distance {jitter['median_absolute']:.1f} ms."
        )
    if document["cpu_s_per_hour"] is not None:
        lines.append(f"CPU: {document['cpu_s_per_hour']:.2f} s for an hour of one lead at the recording's rate.")
    if document["skipped"]:
        lines += ["", as_line(document["skipped"])]
    return "\n".join(lines)


def _line(row: dict[str, Any]) -> str:
    whole, later = row["from_start"], row["after_5_min"]
    qrs = whole["qrs"]
    cells = [str(row["record"]), str(qrs["tp"] + qrs["fn"]), str(qrs["fn"]), str(qrs["fp"]), *_percents(qrs)]
    cells += [_percent(later["qrs"]["f1"]), *_percents(whole["veb"])[:2], *_percents(whole["sveb"])[:2]]
    return "| " + " | ".join(cells) + " |"


def _percents(found: dict[str, float | None]) -> list[str]:
    return [_percent(found["se"]), _percent(found["ppv"]), _percent(found["f1"])]


def _percent(value: float | None) -> str:
    return "–" if value is None else f"{value:.2f}"


def write_figures(document: dict[str, Any], folder: Path, name: str, command: str) -> None:
    """Keep the figures as `NAME.json` and `NAME.md` in `folder`. Raises `SetupError`."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"{name}.json").write_text(json.dumps({"command": command, **document}, indent=1) + "\n")
        text = f"# {name.capitalize()}\nMade by `{command}`; do not edit.\n\n{as_table(document)}\n"
        (folder / f"{name}.md").write_text(text)
    except OSError as error:
        raise SetupError(f"{folder}: {error.strerror or error}", hint="run in a folder that you may write") from error
