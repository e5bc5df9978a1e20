"""The tables of `bedside evaluate pulse`: waves of a folder of records through the pulse analyser, beside their ECG.

The edge: reads WFDB records that hold an ECG and a pulse wave (PLETH) or an arterial pressure (ABP), with the alarm's
kind and truth in the header's comments, as the PhysioNet/CinC Challenge 2015 has them.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from bedside.core.errors import SetupError
from bedside.core.events import Json
from bedside.core.samples import MISSING
from bedside.evaluate import pulse as scoring
from bedside.evaluate.pulse import Bools, Floats, PulseScore
from bedside.evaluate.recordings import Channel, Recording, open_recording
from bedside.signal.lead import LeadAnalyser
from bedside.signal.pleth import PulseAnalyser

WAVES = ("PLETH", "ABP")
RESAMPLES = 1000
ARRIVAL = ("arrival_given", "arrival_off_ms", "arrival_within_30_ms")


def channel_values(recording: Recording, channel: Channel) -> Floats:
    """All samples of a channel in its unit, NaN where missing."""
    counts, _ = recording.read(channel, 0, recording.samples(channel))
    values: Floats = counts * channel.unit_per_count
    values[counts == MISSING] = np.nan
    return values


def lead_beats(values_mv: Floats, fs_hz: float) -> tuple[Floats, Bools]:
    """Beats (s) that the lead analyser stands by at the end, and whether each second could be believed."""
    design = LeadAnalyser.design(fs_hz)
    state, output = design.step(design.initial(), values_mv)
    last = design.finish(state)
    taken = {*output.retracted, *last.retracted}
    found = sorted({peak.index for peak in (*output.peaks, *last.peaks)} - taken)
    return np.array(found, np.float64) / fs_hz, np.array([one.usable for one in output.quality], np.bool_)


def header_comments(recording: Recording) -> list[str]:
    lines = recording.path.with_name(recording.path.name + ".hea").read_text(errors="replace").splitlines()
    return [line[1:].strip() for line in lines if line.startswith("#")]


def records_with(folder: Path, wanted: Callable[[Recording], bool]) -> list[Recording]:
    """The records of a folder that have what is wanted, in order of name. Raises `SetupError` when there are none."""
    if not folder.is_dir():
        raise SetupError(f"{folder}: no such folder", hint="give a folder of WFDB records")
    found = [open_recording(path) for path in sorted(folder.glob("*.hea"))]
    chosen = [one for one in found if one.ecg() and wanted(one)]
    if not chosen:
        raise SetupError(
            f"{folder}: {len(found)} records, none with an ECG and such a wave",
            hint="give the folder of the PhysioNet/CinC Challenge 2015",
        )
    return chosen


def reference_beats(recording: Recording) -> tuple[Floats, Floats, Bools]:
    """Beats that the first two ECG leads agree on, those that only one has, and seconds that both believe."""
    leads = [lead_beats(channel_values(recording, one), one.rate_hz) for one in recording.ecg()[:2]]
    if len(leads) == 1:
        return leads[0][0], np.zeros(0), leads[0][1]
    both, alone = scoring.agreed(leads[0][0], leads[1][0])
    n = min(leads[0][1].size, leads[1][1].size)
    return both, alone, leads[0][1][:n] & leads[1][1][:n]


def evaluate_pulses(folder: Path) -> dict[str, Json]:
    """Score every PLETH and ABP of the folder: one JSON document. Raises `SetupError`."""
    scores: list[PulseScore] = []
    asystole: dict[tuple[str, bool], list[tuple[str, bool]]] = {}
    cpu_s = hours = 0.0
    for recording in records_with(folder, lambda one: any(c.name.upper() in WAVES for c in one.channels)):
        both, alone, usable = reference_beats(recording)
        comments = header_comments(recording)
        for channel in recording.channels:
            wave = channel.name.upper()
            if wave not in WAVES:
                continue
            values = channel_values(recording, channel)
            began_s = time.process_time()
            design = PulseAnalyser.design(channel.rate_hz, step_size=abs(channel.unit_per_count))
            state, output = design.step(design.initial(), values)
            last = design.finish(state)
            cpu_s += time.process_time() - began_s
            hours += values.size / channel.rate_hz / 3600.0
            seconds = (*output.seconds, *last.seconds)
            found = [one.onset_index / channel.rate_hz for one in (*output.pulses, *last.pulses) if one.believed]
            feet = np.array(found, np.float64)
            scores.append(scoring.score_wave(recording.name, wave, both, alone, usable, feet, seconds, channel.rate_hz))
            if comments[:1] == ["Asystole"]:
                on = scoring.goes_on(feet, seconds, values.size / channel.rate_hz, channel.rate_hz)
                truth = "True alarm" in comments
                asystole.setdefault((wave, truth), []).append((recording.name, on))
    return {
        "reference": (
            f"beats that two ECG leads agree on within {1000 * scoring.AGREE_S:.0f} ms; pulse foot within "
            f"{1000 * scoring.WINDOW_S:.0f} ms of the record's own delay; records numbered below {scoring.SPLIT} were "
            "looked at when thresholds were chosen, the others were not; arrival: of the moments, one in 10 s, that "
            "have 20 s before them, the share with a pulse arrival time, and how far it is from the record's own delay"
        ),
        "waves": [_row(wave, part, scores) for wave in WAVES for part in ("all", "looked at", "not looked at")],
        "asystole": [
            {
                "wave": wave,
                "alarm": "true" if truth else "false",
                "records": len(rows),
                "pulse_goes_on": sum(on for _, on in rows),
                "names": [name for name, on in rows if on],
            }
            for (wave, truth), rows in sorted(asystole.items())
        ],
        "asystole_rule": (
            f"the pulse goes on if believed pulses lie nowhere more than {scoring.PAUSE_S:g} s apart in the last "
            f"{scoring.ASYSTOLE_S:g} s before the alarm"
        ),
        "cpu_s_per_hour": cpu_s / hours,
    }


def _row(wave: str, part: str, scores: Sequence[PulseScore]) -> Json:
    def chosen(one: PulseScore) -> bool:
        number = int("".join(c for c in one.record if c.isdigit()) or 0)
        return one.wave == wave and (part == "all" or (part == "looked at") == (number < scoring.SPLIT))

    kept = [one for one in scores if chosen(one)]
    if not kept:
        return {"wave": wave, "part": part, "records": 0}
    counts = np.array([(one.tp, one.fn, one.fp) for one in kept], np.float64)
    tp, fn, fp = counts.sum(axis=0)
    errors = [np.array(one.rate_errors_bpm) for one in kept]
    joined = np.concatenate(errors)
    seconds = sum(one.seconds for one in kept)
    return {
        "wave": wave,
        "part": part,
        "records": len(kept),
        "tp": int(tp),
        "fn": int(fn),
        "fp": int(fp),
        "se": _percent(tp, tp + fn),
        "se_interval": _interval(counts, lambda c: _percent(c[0], c[0] + c[1])),
        "ppv": _percent(tp, tp + fp),
        "ppv_interval": _interval(counts, lambda c: _percent(c[0], c[0] + c[2])),
        "by_chance": 100.0 * float(np.mean([one.chance for one in kept])),
        "seconds": seconds,
        "accepted": _percent(sum(one.accepted for one in kept), seconds),
        "rates": int(joined.size),
        "rate_bias_bpm": float(joined.mean()) if joined.size else None,
        "rate_mae_bpm": float(np.abs(joined).mean()) if joined.size else None,
        "rate_within_5_bpm": _percent(int(np.count_nonzero(np.abs(joined) <= 5)), joined.size),
        "delay_ms": _median([1000 * one.delay_s for one in kept if one.delay_s is not None]),
        "arrival_given": _percent(sum(len(one.arrival_errors_ms) for one in kept), sum(one.arrivals for one in kept)),
        "arrival_off_ms": _median([abs(off_ms) for one in kept for off_ms in one.arrival_errors_ms]),
        "arrival_within_30_ms": _percent(
            sum(abs(off_ms) <= 30.0 for one in kept for off_ms in one.arrival_errors_ms),
            sum(len(one.arrival_errors_ms) for one in kept),
        ),
        "delay_spread_ms": _median([one.spread_ms for one in kept if one.spread_ms is not None]),
    }


def _percent(part: float, whole: float) -> float | None:
    return 100.0 * float(part) / float(whole) if whole else None


def _median(values: Sequence[float]) -> float | None:
    return float(np.median(values)) if values else None


def _interval(counts: Floats, figure: Callable[[Floats], float | None]) -> Json:
    """95 % of bootstrap samples of whole records (seeded)."""
    rng = np.random.default_rng(2015)
    found = []
    for _ in range(RESAMPLES):
        value = figure(counts[rng.integers(0, len(counts), len(counts))].sum(axis=0))
        if value is not None:
            found.append(value)
    if not found:
        return None
    low, high = np.percentile(found, (2.5, 97.5))
    return [float(low), float(high)]


def as_table(document: dict[str, Any]) -> str:
    """The document for people: Markdown."""
    head = (
        "| wave | records | n | beats | Se % (95 %) | +P % (95 %) | by chance % | seconds accepted % "
        "| rate bias /min | MAE /min | within 5 /min % | R to foot ms | spread ms | arrival given % | off ms "
        "| within 30 ms % |"
    )
    lines = [head, "|" + " --- |" * 16]
    for row in document["waves"]:
        if not row["records"]:
            continue
        cells = [row["wave"], row["part"], str(row["records"]), str(row["tp"] + row["fn"])]
        cells += [_ranged(row["se"], row["se_interval"]), _ranged(row["ppv"], row["ppv_interval"])]
        names = ("by_chance", "accepted", "rate_bias_bpm", "rate_mae_bpm", "rate_within_5_bpm", "delay_ms")
        cells += [_plain(row[name]) for name in (*names, "delay_spread_ms", *ARRIVAL)]
        lines.append("| " + " | ".join(cells) + " |")
    lines += ["", f"Reference: {document['reference']}.", ""]
    lines += ["| wave | asystole alarm | records | the pulse is said to go on |", "| --- | --- | --- | --- |"]
    for row in document["asystole"]:
        lines.append(f"| {row['wave']} | {row['alarm']} | {row['records']} | {row['pulse_goes_on']} |")
    rule = document["asystole_rule"]
    lines += ["", f"{rule[0].upper()}{rule[1:]}.", ""]
    lines.append(f"CPU: {document['cpu_s_per_hour']:.2f} s for an hour of one wave at the recordings' rate.")
    return "\n".join(lines)


def _plain(value: float | None) -> str:
    return "–" if value is None else f"{value:.1f}"


def _ranged(value: float | None, interval: list[float] | None) -> str:
    return _plain(value) if interval is None else f"{_plain(value)} ({interval[0]:.1f}–{interval[1]:.1f})"
