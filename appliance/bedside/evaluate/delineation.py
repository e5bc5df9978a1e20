"""`bedside evaluate delineation`: P, QRS and T of the live path against cardiologists' marks, beside NeuroKit2.

The records enter through `LeadAnalyser` in blocks of half a second and what it gives goes to `Delineator`, as live;
`finish` gives the last beats. The peer gets the whole record at once, cleaned by itself, and our R peaks, so that only
the waves are compared. Reads the files of LUDB's layout: one annotation file a lead, `(` wave `)`.
"""

from __future__ import annotations

import json
import time
import warnings
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from bedside.core.errors import SetupError
from bedside.core.events import Json
from bedside.core.samples import Floats
from bedside.evaluate.beats import Indices
from bedside.evaluate.wave_scores import CSE_MS, FIDUCIALS, WINDOW_S, Fiducials, WaveTally, half_of, score_waves
from bedside.monitor.delineation import wave_input
from bedside.signal.delineation import BeatWaves, Delineator
from bedside.signal.lead import LeadAnalyser, LeadOutput

BLOCK_S = 0.5
WAVES = {"P": "p", "QRS": "N", "T": "t"}
PEER_NAMES = {
    "P onset": "ECG_P_Onsets",
    "P peak": "ECG_P_Peaks",
    "P offset": "ECG_P_Offsets",
    "QRS onset": "ECG_R_Onsets",
    "QRS offset": "ECG_R_Offsets",
    "T onset": "ECG_T_Onsets",
    "T peak": "ECG_T_Peaks",
    "T offset": "ECG_T_Offsets",
}


@dataclass(frozen=True, slots=True)
class LeadScore:
    """One lead of one record: ours and, where it was asked, the peer's."""

    record: str
    lead: str
    ours: dict[str, WaveTally]
    peer: dict[str, WaveTally] | None
    peer_failed: str | None
    reasons: tuple[str, ...]  # why beats were not measured
    cpu_s: float
    duration_s: float


def score_folder(
    folder: Path, leads: Sequence[str] = (), *, peer: bool = True, said: Callable[[str], None] | None = None
) -> list[LeadScore]:
    """Score every lead with marks in `folder`. Raises `SetupError` when there is none or NeuroKit2 is not at hand."""
    names = sorted((one.stem for one in folder.glob("*.hea")), key=lambda name: (len(name), name))
    wanted = [(name, lead) for name in names for lead in _leads(folder / name, leads)]
    if not wanted:
        raise SetupError(f"{folder}: no record with marks of waves", hint="name a folder laid out as LUDB is")
    if peer:
        _peer()
    scores = []
    for name, lead in wanted:
        scores.append(_score(folder / name, lead, peer))
        if said is not None:
            said(f"{name} {lead}")
    return scores


def _leads(record: Path, leads: Sequence[str]) -> list[str]:
    import wfdb

    header: Any = wfdb.rdheader(str(record))
    found = [one for one in header.sig_name or [] if record.with_name(f"{record.name}.{one}").exists()]
    return [one for one in found if not leads or one in leads]


def _score(record: Path, lead: str, peer: bool) -> LeadScore:
    reference, span = read_waves(record, lead)
    ecg_mv, fs_hz = _read(record, lead)
    began_s = time.process_time()
    beats, peaks = delineate(ecg_mv, fs_hz)
    cpu_s = time.process_time() - began_s
    other, failed = None, None
    if peer:
        marks, failed = peer_marks(ecg_mv, fs_hz, peaks)
        other = score_waves(reference, marks, span, fs_hz)
    return LeadScore(
        record=record.name,
        lead=lead,
        ours=score_waves(reference, our_marks(beats, fs_hz), span, fs_hz),
        peer=other,
        peer_failed=failed,
        reasons=tuple(beat.reason for beat in beats if beat.reason is not None),
        cpu_s=cpu_s,
        duration_s=ecg_mv.size / fs_hz,
    )


def _read(record: Path, lead: str) -> tuple[Floats, float]:
    import wfdb

    try:
        signal: Any = wfdb.rdrecord(str(record), channel_names=[lead])
    except Exception as error:  # wfdb raises whatever a malformed file leads to
        raise SetupError(f"{record}: {type(error).__name__}: {error}", hint="get the record again") from error
    return np.asarray(signal.p_signal[:, 0], dtype=np.float64), float(signal.fs)


def read_waves(record: Path, lead: str) -> tuple[Fiducials, tuple[int, int]]:
    """The marks of one lead and the first and last of them. A wave without a bracket has no on- or offset."""
    import wfdb

    try:
        marks: Any = wfdb.rdann(str(record), lead)
    except Exception as error:  # wfdb raises whatever a malformed file leads to
        raise SetupError(f"{record}.{lead}: {type(error).__name__}: {error}", hint="get the file again") from error
    symbols = ["", *marks.symbol, ""]
    samples = [0, *(int(one) for one in marks.sample), 0]
    out: dict[str, Indices] = {}
    for name, symbol in WAVES.items():
        at = [k for k, one in enumerate(symbols) if one == symbol]
        out[f"{name} onset"] = _indices(samples[k - 1] for k in at if symbols[k - 1] == "(")
        out[f"{name} peak"] = _indices(samples[k] for k in at)
        out[f"{name} offset"] = _indices(samples[k + 1] for k in at if symbols[k + 1] == ")")
    if len(samples) == 2:
        raise SetupError(f"{record}.{lead}: no mark in it", hint="get the file again")
    return out, (samples[1], samples[-2])


def _indices(values: Iterable[int]) -> Indices:
    return np.array(sorted(values), dtype=np.int64)


def delineate(ecg_mv: Floats, fs_hz: float, block_s: float = BLOCK_S) -> tuple[list[BeatWaves], Indices]:
    """A recording through the live path, block by block: its beats, and R peaks in source samples."""
    analyser, delineator = LeadAnalyser.design(fs_hz), Delineator.design()
    lead_state, wave_state = analyser.initial(), delineator.initial()
    beats: list[BeatWaves] = []
    clean_at: dict[int, int] = {}  # of the peaks that stand, by source index
    size = max(round(block_s * fs_hz), 1)

    def take(output: LeadOutput) -> None:
        nonlocal wave_state
        clean_at.update((peak.index, peak.clean_index) for peak in output.peaks)
        retracted = tuple(clean_at.pop(index) for index in output.retracted if index in clean_at)
        wave_state, waves = delineator.step(wave_state, wave_input(output, fs_hz, output.quality, retracted))
        beats.extend(waves.beats)

    for first in range(0, ecg_mv.size, size):
        lead_state, output = analyser.step(lead_state, ecg_mv[first : first + size])
        take(output)
    take(analyser.finish(lead_state))
    beats.extend(delineator.finish(wave_state).beats)
    return beats, _indices(clean_at)


def our_marks(beats: Sequence[BeatWaves], fs_hz: float) -> Fiducials:
    """The beats' marks in source samples, by the names of the score."""
    out: dict[str, list[int]] = {name: [] for name in (*FIDUCIALS, "QRS peak")}
    for beat in beats:
        marks = beat.marks
        for name, wave in (("P", marks.p), ("T", marks.t)):
            if wave is not None:
                for part, at in (("onset", wave.on), ("peak", wave.peak), ("offset", wave.off)):
                    out[f"{name} {part}"].append(round(at * fs_hz / 250.0))
        if marks.qrs is not None:
            out["QRS onset"].append(round(marks.qrs.on * fs_hz / 250.0))
            out["QRS offset"].append(round(marks.qrs.off * fs_hz / 250.0))
    return {name: _indices(values) for name, values in out.items()}


# The peer


def _peer() -> Any:
    try:
        import neurokit2
    except ImportError as error:
        raise SetupError(
            "NeuroKit2 is not installed", hint="install Bedside's `peers` extra, or use --no-peer"
        ) from error
    return neurokit2


def peer_marks(ecg_mv: Floats, fs_hz: float, peaks: Indices) -> tuple[Fiducials, str | None]:
    """`neurokit2.ecg_delineate`, method `dwt`, on the record that it cleaned itself; its error where it raised one."""
    neurokit2 = _peer()
    waves: dict[str, Sequence[float]] = {}
    failed = None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            cleaned = neurokit2.ecg_clean(ecg_mv, sampling_rate=int(fs_hz))
            _, waves = neurokit2.ecg_delineate(cleaned, peaks, sampling_rate=int(fs_hz), method="dwt")
        except (ArithmeticError, LookupError, TypeError, ValueError) as error:  # counted against it: no marks
            failed = type(error).__name__
    return {
        name: _indices(int(at) for at in waves.get(theirs, ()) if at == at) for name, theirs in PEER_NAMES.items()
    }, failed


# What is said


def summary(scores: Sequence[LeadScore]) -> dict[str, Json]:
    """One JSON document: both halves of the split, and each lead of the half that judges."""
    halves: dict[str, Json] = {}
    for half in ("development", "judgement"):
        chosen = [one for one in scores if half_of(one.record) == half]
        halves[half] = {
            "records": len({one.record for one in chosen}),
            "leads": len(chosen),
            "all": _side(chosen),
            "by_lead": {
                lead: _side([one for one in chosen if one.lead == lead])
                for lead in sorted({one.lead for one in chosen})
            },
        }
    reasons = [reason for one in scores for reason in one.reasons]
    hours = sum(one.duration_s for one in scores) / 3600
    return {
        "window_ms": 1000 * WINDOW_S,
        "rules": "each fiducial on its own, one to one, between the first and the last mark; all beats of all people",
        "split": "odd record numbers: weights and thresholds were chosen on them; even ones judge",
        "peer": "neurokit2.ecg_delineate(method='dwt') with Bedside's R peaks, whole records, cleaned by ecg_clean",
        "peer_failed": sum(1 for one in scores if one.peer_failed is not None),
        "not_measured": {reason: reasons.count(reason) for reason in sorted(set(reasons))},
        "cse_tolerance_ms": dict(CSE_MS),
        "halves": halves,
        "cpu_s_per_hour_with_beats": sum(one.cpu_s for one in scores) / hours if hours else None,
    }


def _side(scores: Sequence[LeadScore]) -> dict[str, Json]:
    out: dict[str, Json] = {}
    for name in FIDUCIALS:
        ours = sum((one.ours[name] for one in scores), WaveTally())
        row: dict[str, Json] = {"bedside": _row(ours)}
        if scores and all(one.peer is not None for one in scores):
            row["neurokit2"] = _row(sum((one.peer[name] for one in scores if one.peer), WaveTally()))
        out[name] = row
    return out


def _row(tally: WaveTally) -> dict[str, Json]:
    found = tally.figures
    return {
        "tp": tally.tp,
        "fn": tally.fn,
        "fp": tally.fp,
        "se": found.se,
        "ppv": found.ppv,
        "mean_ms": tally.mean_ms,
        "sd_ms": tally.sd_ms,
    }


def as_table(document: dict[str, Any]) -> str:
    """The document for people: Markdown, one table a half."""
    lines = []
    for half, part in document["halves"].items():
        peer = any("neurokit2" in row for row in part["all"].values())
        lines += [f"## {half.capitalize()} ({part['records']} people, {part['leads']} leads)", ""]
        head = "| | marks | Se % | +P % | mean ± SD ms | CSE ms |"
        lines.append(head + (" NeuroKit2 Se % | +P % | mean ± SD ms |" if peer else ""))
        lines.append("|" + " --- |" * (9 if peer else 6))
        for name, row in part["all"].items():
            ours = row["bedside"]
            cse = document["cse_tolerance_ms"].get(name)
            cells = [name, str(ours["tp"] + ours["fn"]), *_cells(ours), "–" if cse is None else f"{cse:g}"]
            if peer:
                cells += _cells(row["neurokit2"])
            lines.append("| " + " | ".join(cells) + " |")
        lines.append("")
    why = ", ".join(f"{count} {reason}" for reason, count in document["not_measured"].items()) or "none"
    lines += [
        f"Window {document['window_ms']:.0f} ms; {document['rules']}. Split: {document['split']}.",
        f"Peer: {document['peer']}; it raised an error in {document['peer_failed']} leads (no marks then).",
        f"Beats that we did not measure: {why}.",
    ]
    return "\n".join(lines)


def _cells(row: dict[str, Any]) -> list[str]:
    def said(value: float | None) -> str:
        return "–" if value is None else f"{value:.2f}"

    apart = "–" if row["sd_ms"] is None else f"{row['mean_ms']:+.1f} ± {row['sd_ms']:.1f}"
    return [said(row["se"]), said(row["ppv"]), apart]


def write_figures(document: dict[str, Any], folder: Path, command: str) -> None:
    """Keep the figures as `delineation.json` and `delineation.md` in `folder`. Raises `SetupError`."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "delineation.json").write_text(json.dumps({"command": command, **document}, indent=1) + "\n")
        text = f"# Delineation\nMade by `{command}`; do not edit.\n\n{as_table(document)}\n"
        (folder / "delineation.md").write_text(text)
    except OSError as error:
        raise SetupError(f"{folder}: {error.strerror or error}", hint="run in a folder that you may write") from error
