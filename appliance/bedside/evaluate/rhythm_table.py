"""The tables of `bedside evaluate rhythm`: what a folder holds goes through the live path and is scored.

A folder (or its sub-folders) may hold annotated records (`.atr` with rhythm labels), strips of the Challenge 2017
(`REFERENCE.csv`), bedside alarms of the Challenge 2015 (kind and truth in the headers' comments), and beat times with
experts' rhythm (`afdb_rr.npz`). The edge: reads recordings, writes tables.
"""

from __future__ import annotations

import json
import multiprocessing
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, TypeVar

import numpy as np

from bedside.core.errors import SetupError
from bedside.core.events import Alarm, Json, Rhythm
from bedside.evaluate import rhythm as scoring
from bedside.evaluate.analyze import Analysis, analyze
from bedside.evaluate.beats import PACED
from bedside.evaluate.rhythm import DangerTally, FibrillationTally, RhythmSpan, Said
from bedside.models import rhythm_cards, rhythm_train
from bedside.signal import irregularity

ALARM_LABELS: Final = {"a": "ASYS", "f": "VFL", "v": "VT"}
ALARM_WINDOW_S: Final = 16.0
"""The Challenge 2015 asks for the event within the last 10 s; 6 s more because ours is said while it is going on."""
RAISED: Final = {
    "ventricular_tachycardia": "VT",
    "ventricular_run": "VT",
    "ventricular_fibrillation": "VFL",
    "asystole": "ASYS",
}
T = TypeVar("T")
RATE_HZ: Final = 250.0  # of afdb_rr
RR_S: Final = (0.2, 2.5)


@dataclass(frozen=True, eq=False)
class RecordRhythm:
    """One annotated record. `paced`: by EC57 left out of the sums."""

    record: str
    paced: bool
    fibrillation: FibrillationTally
    danger: DangerTally


@dataclass(frozen=True, slots=True)
class AlarmScore:
    """One bedside alarm of the Challenge 2015: its kind, the experts' verdict, and whether we said the same."""

    record: str
    kind: str
    true: bool
    said: bool


@dataclass(frozen=True, slots=True, eq=False)
class IntervalScore:
    """One record of beat times: durations, and the odds and truth of every judged window."""

    record: str
    fibrillation: FibrillationTally
    odds: np.ndarray[Any, np.dtype[np.float64]] = field(repr=False)
    truth: np.ndarray[Any, np.dtype[np.bool_]] = field(repr=False)


def annotated_record(path: Path) -> RecordRhythm:
    """One annotated record through the live path."""
    import wfdb

    marks: Any = wfdb.rdann(str(path), "atr")
    analysis = analyze(path)
    fs_hz = analysis.channel.rate_hz
    truth = scoring.spans_of(marks.sample.tolist(), marks.aux_note, analysis.n_samples, fs_hz)
    ours = [RhythmSpan(one.name, one.start_s, one.end_s or analysis.duration_s) for one in analysis.rhythm()]
    runs = scoring.ventricular_runs(marks.sample.tolist(), marks.symbol, fs_hz)
    return RecordRhythm(
        path.name,
        path.name in PACED,
        scoring.fibrillation(truth, ours, analysis.duration_s),
        scoring.danger(truth, runs, dangerous(analysis), raised(analysis), analysis.duration_s),
    )


def dangerous(analysis: Analysis) -> list[RhythmSpan]:
    """Every VT, VF and asystole of the analysis, whatever else stood beside it."""
    newest: dict[str, Rhythm] = {}
    for event in analysis.events:
        if isinstance(event, Rhythm):
            newest.pop(event.supersedes or "", None)
            newest[event.id] = event
    rate_hz = analysis.channel.rate_hz
    return [
        RhythmSpan(
            str(event.label),
            event.index / rate_hz,
            (event.end_index if event.end_index is not None else analysis.n_samples) / rate_hz,
        )
        for event in newest.values()
        if str(event.label) in ("VT", "VFL", "ASYS")
    ]


def raised(analysis: Analysis) -> list[Said]:
    """Alarms of dangerous rhythms: where each condition began and when it was signalled."""
    return [
        Said(RAISED[event.kind], analysis.second(event.start_us), analysis.second(event.changed_us))
        for event in analysis.events
        if isinstance(event, Alarm) and event.kind in RAISED and event.condition
    ]


def alarm_record(path: Path) -> AlarmScore | None:
    """One bedside alarm; None for the kinds that are not of rhythm (extreme rates)."""
    import wfdb

    comments = [str(one) for one in wfdb.rdheader(str(path)).comments]
    label = ALARM_LABELS.get(path.name[0])
    if label is None or not comments:
        return None
    analysis = analyze(path)
    from_s = analysis.duration_s - ALARM_WINDOW_S
    said = any(one.label == label and one.end_s > from_s for one in dangerous(analysis))
    return AlarmScore(path.name, label, any("True" in one for one in comments), said)


def interval_records(path: Path) -> list[IntervalScore]:
    """Beat times alone through the interval rule. Its line was fitted to these records: see `signal/README.md`."""
    scores = []
    with np.load(path, allow_pickle=False) as data:
        for key in sorted(name for name in data.files if name.startswith("qrs_")):
            record = key.removeprefix("qrs_")
            notes = [str(one) for one in data[f"rl_{record}"]]
            times = data[key].astype(np.int64)
            truth = scoring.spans_of(data[f"rs_{record}"].tolist(), notes, int(times[-1]), RATE_HZ)
            scores.append(_intervals(record, times, truth))
    return scores


def _intervals(record: str, times: np.ndarray[Any, np.dtype[np.int64]], truth: Sequence[RhythmSpan]) -> IntervalScore:
    state, spans, odds, known = irregularity.IrregularityState(), [], [], []
    for rr, end in zip(np.diff(times).tolist(), times[1:].tolist(), strict=True):
        before = state
        state = irregularity.expire(state, end, RATE_HZ)
        if RR_S[0] < rr / RATE_HZ < RR_S[1]:
            state = irregularity.step(state, rr / RATE_HZ, end, RATE_HZ)
        if before.onset is not None and state.onset is None and state.ended is not None:
            spans.append(RhythmSpan("AFIB", before.onset / RATE_HZ, state.ended / RATE_HZ))
        if state.pending == 0 and state.evidence is not None and state.evidence is not before.evidence:
            odds.append(state.evidence.odds)
            known.append(state.ends[irregularity.WINDOW // 2] / RATE_HZ)
    end_s = float(times[-1]) / RATE_HZ
    if state.onset is not None:
        spans.append(RhythmSpan("AFIB", state.onset / RATE_HZ, end_s))
    starts = np.array([one.start_s for one in truth])
    here = np.array([one.label for one in truth])[np.maximum(np.searchsorted(starts, known, "right") - 1, 0)]
    asked = ~np.isin(here, list(scoring.AF_NEUTRAL))
    return IntervalScore(
        record, scoring.fibrillation(truth, spans, end_s), np.array(odds)[asked], (here == "AFIB")[asked]
    )


# ---------------------------------------------------------------------- folders


def evaluate_folder(folder: Path, processes: int, say: Callable[[str], None]) -> dict[str, Json]:
    """Everything that `folder` and its sub-folders hold. Raises `SetupError` when that is nothing."""
    if not folder.is_dir():
        raise SetupError(f"{folder}: no such folder", hint="give a folder of annotated records")
    document: dict[str, Json] = {}
    for place in (folder, *sorted(one for one in folder.iterdir() if one.is_dir())):
        annotated = [one.with_suffix("") for one in sorted(place.glob("*.hea")) if one.with_suffix(".atr").is_file()]
        if annotated and _has_rhythm(annotated):
            say(f"{place.name}: {len(annotated)} annotated records")
            document["records"] = records_summary(_mapped(annotated_record, annotated, processes))
        if (place / "REFERENCE.csv").is_file():
            say(f"{place.name}: strips, cross-validated")
            document["strips"] = strips_summary(place)
        alarms = [one.with_suffix("") for one in sorted(place.glob("[afv][0-9]*[ls].hea"))]
        if alarms:
            say(f"{place.name}: {len(alarms)} alarms of asystole, VF and VT")
            document["alarms"] = alarms_summary([one for one in _mapped(alarm_record, alarms, processes) if one])
        if (place / "afdb_rr.npz").is_file():
            say(f"{place.name}: beat times")
            document["intervals"] = intervals_summary(interval_records(place / "afdb_rr.npz"))
    if not document:
        raise SetupError(
            f"{folder}: no records with rhythm annotations, strips, alarms or beat times",
            hint="give a folder with .atr annotations, REFERENCE.csv, Challenge 2015 records or afdb_rr.npz",
        )
    return document


def _has_rhythm(records: Sequence[Path]) -> bool:
    import wfdb

    return any(
        note.startswith("(") for path in records for note in (wfdb.rdann(str(path), "atr").aux_note or []) if note
    )


def _mapped(work: Callable[[Path], T], paths: Sequence[Path], processes: int) -> list[T]:
    if processes <= 1 or len(paths) == 1:
        return [work(path) for path in paths]
    with ProcessPoolExecutor(processes, mp_context=multiprocessing.get_context("spawn")) as pool:
        return list(pool.map(work, paths))


# ---------------------------------------------------------------------- summaries


def records_summary(scores: Sequence[RecordRhythm]) -> dict[str, Json]:
    """Per record, gross, average over records with fibrillation, and intervals over patients."""
    counted = [one for one in scores if not one.paced]
    with_af = [one for one in counted if one.fibrillation.truth_s > 0]
    gross = sum((one.fibrillation for one in counted), FibrillationTally())
    among = sum((one.fibrillation for one in with_af), FibrillationTally())
    others = sum((one.fibrillation for one in counted if one.fibrillation.truth_s == 0), FibrillationTally())
    danger = sum((one.danger for one in scores), DangerTally())
    return {
        "rules": (
            "AFIB by duration; AFL, junctional and paced rhythm left out; paced records (102, 104, 107, 217) count for "
            "VT, VF and asystole only; an episode is found when any part of it is"
        ),
        "records": [
            {"record": one.record, "paced": one.paced, "af": one.fibrillation.facts(), "danger": one.danger.facts()}
            for one in scores
        ],
        "gross": gross.facts(),
        "records_with_af": {
            **among.facts(),
            "records": len(with_af),
            "average_sensitivity": _mean([one.fibrillation.sensitivity for one in with_af]),
            "average_precision": _mean([one.fibrillation.precision for one in with_af]),
        },
        "records_without_af": others.facts(),
        "intervals_95": {
            "sensitivity": _span([(one.fibrillation.both_s, one.fibrillation.truth_s) for one in counted]),
            "precision": _span([(one.fibrillation.both_s, one.fibrillation.said_s) for one in counted]),
        },
        "danger": danger.facts(),
    }


def strips_summary(folder: Path) -> dict[str, Json]:
    """The Challenge 2017 measure, by nets that saw no strip of the fold (ranges of record numbers)."""
    strips = rhythm_train.strips_in(folder)
    shares = rhythm_train.cross_validated(strips)
    found: dict[str, Json] = {
        "strips": len(strips.names),
        "folds": rhythm_train.N_FOLDS,
        "skipped": [list(one) for one in strips.skipped],
        **rhythm_cards.figures(strips.labels, shares, rhythm_train.SEED),
    }
    return found


def alarms_summary(scores: Sequence[AlarmScore]) -> dict[str, Json]:
    """Of each kind: true ones that we said, false ones that we said, with the records that went wrong."""
    summary: dict[str, Json] = {}
    for label in ALARM_LABELS.values():
        mine = [one for one in scores if one.kind == label]
        summary[label] = {
            "true": [sum(one.said for one in mine if one.true), sum(one.true for one in mine)],
            "false": [sum(one.said for one in mine if not one.true), sum(not one.true for one in mine)],
            "missed": [one.record for one in mine if one.true and not one.said],
            "raised_wrongly": [one.record for one in mine if one.said and not one.true],
        }
    return summary


def intervals_summary(scores: Sequence[IntervalScore]) -> dict[str, Json]:
    """AUC over windows, and durations at the operating point, by the shipped line (fitted to these records)."""
    odds = np.concatenate([one.odds for one in scores])
    truth = np.concatenate([one.truth for one in scores])
    auc = scoring.area_under_curve(odds, truth)
    total = sum((one.fibrillation for one in scores), FibrillationTally())
    return {
        "records": len(scores),
        "auc": None if auc is None else round(auc, 4),
        "gross": total.facts(),
        "intervals_95": {
            "sensitivity": _span([(one.fibrillation.both_s, one.fibrillation.truth_s) for one in scores]),
            "precision": _span([(one.fibrillation.both_s, one.fibrillation.said_s) for one in scores]),
        },
        "note": "the shipped line was fitted to these records; left out in turn: see signal/README.md",
    }


def _span(parts: Sequence[tuple[float, float]]) -> Json:
    found = scoring.bootstrap(parts)
    return None if found is None else list(found)


def _mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return round(sum(known) / len(known), 4) if known else None


# ---------------------------------------------------------------------- tables


def as_table(document: dict[str, Any]) -> str:
    """The document for people: Markdown."""
    parts = {"records": _records_table, "intervals": _intervals_table, "strips": _strips_table, "alarms": _alarms_table}
    return "\n\n".join(make(document[name]) for name, make in parts.items() if name in document)


def _records_table(part: dict[str, Any]) -> str:
    lines = [
        "## Atrial fibrillation by duration, annotated records",
        "",
        "| record | AF s | said s | Se % | +P % | specificity % | episodes | of 30 s or more |",
        "|" + " --- |" * 8,
    ]
    rows = [
        (("(paced) " if row["paced"] else "") + row["record"], row["af"])
        for row in part["records"]
        if row["af"]["truth_s"] or row["af"]["said_s"]
    ]
    rows += [("gross", part["gross"]), ("records with AF", part["records_with_af"])]
    rows += [("records without", part["records_without_af"])]
    lines += [_af_line(name, facts) for name, facts in rows]
    danger, among = part["danger"], part["records_with_af"]
    lines += [
        "",
        f"{part['rules'][0].upper()}{part['rules'][1:]}.",
        f"Average over {among['records']} records with AF: Se {_percent(among['average_sensitivity'])} %, "
        f"+P {_percent(among['average_precision'])} %. 95 % over patients: Se "
        f"{_pair(part['intervals_95']['sensitivity'])}, +P {_pair(part['intervals_95']['precision'])}.",
        f"Onset of sustained episodes, ours minus the experts': {_quartiles(part['gross']['onset_late_s'])}; "
        f"end: {_quartiles(part['gross']['end_late_s'])}.",
        "",
        "## VT, VF and asystole, annotated records",
        "",
        f"Found {_of(danger['episodes'])} VT and VF episodes, {_of(danger['longer_than_10_s'])} of those of 10 s or "
        f"more; alarm after onset of the long ones: {_quartiles(danger['seen_after_s'])}. False: {danger['false']} VT, "
        f"{danger['false_vf']} VF, {danger['false_asystole']} asystole in {danger['hours']:.1f} h "
        f"({danger['false_per_24_h']:.1f} per 24 h).",
    ]
    return "\n".join(lines)


def _af_line(name: str, facts: dict[str, Any]) -> str:
    cells = [name, f"{facts['truth_s']:.0f}", f"{facts['said_s']:.0f}"]
    cells += [_percent(facts[key]) for key in ("sensitivity", "precision", "specificity")]
    return "| " + " | ".join([*cells, _of(facts["episodes"]), _of(facts["sustained"])]) + " |"


def _intervals_table(part: dict[str, Any]) -> str:
    gross, spans = part["gross"], part["intervals_95"]
    return (
        f"## Beat times alone, {part['records']} records\n\nAUC {part['auc']}; by duration Se "
        f"{_percent(gross['sensitivity'])} % ({_pair(spans['sensitivity'])}), +P {_percent(gross['precision'])} % "
        f"({_pair(spans['precision'])}), specificity {_percent(gross['specificity'])} %; episodes of 30 s or more: "
        f"{_of(gross['sustained'])}. {part['note'][0].upper()}{part['note'][1:]}."
    )


def _strips_table(part: dict[str, Any]) -> str:
    f1, span = part["f1"], part["mean_f1_interval_95"]
    lines = [
        f"## Half minutes, {part['strips']} strips, {part['folds']} folds by ranges of record numbers",
        "",
        f"F1 of N {f1['N']:.3f}, A {f1['A']:.3f}, O {f1['O']:.3f}, ~ {f1['~']:.3f}; mean of N, A, O "
        f"**{f1['mean']:.3f}** (95 % {span[0]:.3f} to {span[1]:.3f}). Rows: experts; columns: said.",
        "",
        "| | N | A | O | ~ |",
        "| --- | --- | --- | --- | --- |",
    ]
    lines += [
        f"| {name} | " + " | ".join(str(row[one]) for one in "NAO~") + " |" for name, row in part["confusion"].items()
    ]
    return "\n".join(lines)


def _alarms_table(part: dict[str, Any]) -> str:
    lines = [
        "## Bedside alarms of the Challenge 2015, one lead, no pulse wave",
        "",
        "| kind | true found | false said | missed | said wrongly |",
        "| --- | --- | --- | --- | --- |",
    ]
    lines += [
        f"| {label} | {_of(row['true'])} | {_of(row['false'])} | {', '.join(row['missed']) or '–'} | "
        f"{', '.join(row['raised_wrongly']) or '–'} |"
        for label, row in part.items()
    ]
    return "\n".join(lines)


def _of(pair: Sequence[int]) -> str:
    return f"{pair[0]} of {pair[1]}"


def _pair(pair: Sequence[float] | None) -> str:
    return "–" if pair is None else f"{100 * pair[0]:.1f} to {100 * pair[1]:.1f} %"


def _percent(value: float | None) -> str:
    return "–" if value is None else f"{100 * value:.2f}"


def _quartiles(facts: dict[str, float] | None) -> str:
    if facts is None:
        return "–"
    return (
        f"median {facts['median']:+.1f} s, quartiles {facts['q1']:+.1f} to {facts['q3']:+.1f} s, "
        f"{facts['min']:+.1f} to {facts['max']:+.1f} s"
    )


def write_figures(document: dict[str, Any], folder: Path, command: str) -> None:
    """Keep the figures as `rhythm.json` and `rhythm.md` in `folder`. Raises `SetupError`."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "rhythm.json").write_text(json.dumps({"command": command, **document}, indent=1) + "\n")
        text = f"# Rhythm\nMade by `{command}`; do not edit.\n\n{as_table(document)}\n"
        (folder / "rhythm.md").write_text(text)
    except OSError as error:
        raise SetupError(f"{folder}: {error.strerror or error}", hint="run in a folder that you may write") from error
