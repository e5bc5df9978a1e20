"""Noise stress: real noise added to clean records at known signal-to-noise ratios; beats found by us and by two peers.

Protocol of EC57's noise stress test (Moody, Muldrow & Mark 1984; `nst` of the WFDB applications): five minutes clean,
then two minutes of noise and two without by turns. Signal: (mean peak-to-peak QRS)^2 / 8 over the first 300 normal
beats; noise: mean square of one-second pieces without their means; both means without the lowest and highest 5 %.
Stricter than EC57 in one point: only the noisy periods are scored, so that clean minutes do not raise the figures.
Only the second half of each noise recording is used: the finder was fitted with the first.
Pure but for `records_of` and `noises_of`.
"""

from __future__ import annotations

import json
import multiprocessing
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from importlib.util import find_spec
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np

from bedside.core.errors import SetupError
from bedside.core.events import Json
from bedside.core.samples import Floats
from bedside.evaluate.beats import WINDOW_S, Indices, Marks, figures, match, read_marks
from bedside.evaluate.recordings import open_recording

LEARNING_S, PERIOD_S = 300.0, 120.0
SNRS_DB = (24.0, 18.0, 12.0, 6.0, 0.0, -6.0)
KINDS = ("em", "ma", "bw")
PROGRAMS = ("bedside", "xqrs", "sleepecg")
CLEAN_F1 = 99.5  # a record is clean when every program reaches this without noise
RESAMPLES = 2000
Counts = tuple[int, int, int]  # found, missed, false


@dataclass(frozen=True, eq=False)
class Strip:
    """The beginning of a record, and its true beats."""

    name: str
    fs_hz: float
    lead_mv: Floats
    truth: Marks


@dataclass(frozen=True, slots=True)
class Result:
    """One program on one record with one noise; `kind` and `snr_db` None: without noise."""

    record: str
    kind: str | None
    snr_db: float | None
    program: str
    counts: Counts


def noisy_periods(n: int, fs_hz: float) -> tuple[tuple[int, int], ...]:
    """Where noise is added: sample ranges, two minutes out of four after the first five."""
    first, period = round(LEARNING_S * fs_hz), round(PERIOD_S * fs_hz)
    return tuple((start, min(start + period, n)) for start in range(first, n, 2 * period))


def signal_power(strip: Strip) -> float:
    """Power of the QRS, mV^2: of a sine as tall as they are. Raises `SetupError` without normal beats."""
    around = round(0.05 * strip.fs_hz)
    beats = [int(at) for at, one in zip(strip.truth.samples, strip.truth.classes, strict=True) if one == "N"][:300]
    if not beats:
        raise SetupError(f"{strip.name}: no normal beats to measure the signal by", hint="leave this record out")
    swings = [float(np.ptp(strip.lead_mv[max(0, at - around) : at + around + 1])) for at in beats]
    return _trimmed(np.array(swings)) ** 2 / 8.0


def noise_power(noise_mv: Floats, fs_hz: float) -> float:
    """Mean square of one-second pieces, each without its mean, mV^2."""
    second = round(fs_hz)
    pieces = noise_mv[: noise_mv.size // second * second].reshape(-1, second)
    return _trimmed(pieces.std(axis=1)) ** 2


def _trimmed(values: Floats) -> float:
    """Mean without the lowest and the highest twentieth."""
    cut = values.size // 20
    return float(np.sort(values)[cut : values.size - cut].mean())


def with_noise(strip: Strip, noise_mv: Floats, noise_fs_hz: float, snr_db: float) -> Floats:
    """The strip with noise in its noisy periods; the noise goes on from period to period and starts anew at its end."""
    gain = np.sqrt(signal_power(strip) / 10 ** (snr_db / 10) / noise_power(noise_mv, noise_fs_hz))
    lead_mv, used_s = strip.lead_mv.copy(), 0.0
    for start, end in noisy_periods(lead_mv.size, strip.fs_hz):
        at_s = used_s + np.arange(end - start) / strip.fs_hz
        part = np.interp((at_s * noise_fs_hz) % (noise_mv.size - 1), np.arange(noise_mv.size), noise_mv)
        lead_mv[start:end] += gain * (part - part[0])
        used_s += (end - start) / strip.fs_hz
    return lead_mv


def count(strip: Strip, found: Indices) -> Counts:
    """Pairs within 150 ms in the noisy periods alone; flutter is left out."""
    tally = [0, 0, 0]
    for start, end in noisy_periods(strip.lead_mv.size, strip.fs_hz):
        sides = []
        for samples in (strip.truth.samples, found):
            inside = (samples >= start) & (samples < end)
            for first, last in strip.truth.flutter:
                inside &= (samples < first) | (samples > last)
            sides.append(samples[inside])
        pairs = match(sides[0], sides[1], WINDOW_S * strip.fs_hz)
        tally[0] += sum(1 for i, j in pairs if i is not None and j is not None)
        tally[1] += sum(1 for _, j in pairs if j is None)
        tally[2] += sum(1 for i, _ in pairs if i is None)
    return tally[0], tally[1], tally[2]


# ---------------------------------------------------------------------- programs


def by_bedside(lead_mv: Floats, fs_hz: float) -> Indices:
    """Beats that stand once the strip has ended, as the live path finds them."""
    from bedside.signal.lead import LeadAnalyser

    design = LeadAnalyser.design(fs_hz)
    state, output = design.step(design.initial(), lead_mv)
    last = design.finish(state)
    standing = [peak.index for peak in (*output.peaks, *last.peaks)]
    for index in (*output.retracted, *last.retracted):
        standing.remove(index)
    return np.array(sorted(standing), dtype=np.int64)


def by_xqrs(lead_mv: Floats, fs_hz: float) -> Indices:
    """wfdb's detector, on the whole strip at once."""
    from wfdb import processing

    finder: Any = processing.XQRS(sig=lead_mv, fs=fs_hz)
    finder.detect(verbose=False)
    return np.asarray(finder.qrs_inds, dtype=np.int64)


def by_sleepecg(lead_mv: Floats, fs_hz: float) -> Indices:
    """sleepecg's detector, on the whole strip at once."""
    from sleepecg.heartbeats import detect_heartbeats

    return np.asarray(detect_heartbeats(lead_mv, fs_hz), dtype=np.int64)


FINDERS: dict[str, Callable[[Floats, float], Indices]] = {
    "bedside": by_bedside,
    "xqrs": by_xqrs,
    "sleepecg": by_sleepecg,
}


# ---------------------------------------------------------------------- the run


def records_of(folder: Path, names: Sequence[str] | None, minutes: float, reference: str = "atr") -> list[Strip]:
    """The beginnings of annotated records. Raises `SetupError`."""
    from bedside.evaluate.beat_table import records_in

    strips = []
    for path in records_in(folder, reference):
        if names is not None and path.name not in names:
            continue
        recording = open_recording(path)
        channel = recording.primary()
        n = round(minutes * 60 * channel.rate_hz)
        counts, fault = recording.read(channel, 0, n)
        if fault is not None:
            raise SetupError(f"{path}: {fault}", hint="get the record again")
        truth = read_marks(path, reference)
        strips.append(Strip(path.name, channel.rate_hz, counts * channel.unit_per_count, truth))
    if not strips:
        raise SetupError(f"{folder}: none of the named records is there", hint="name records of the folder")
    return strips


def noises_of(folder: Path, kinds: Sequence[str]) -> dict[str, tuple[Floats, float]]:
    """The second half of each noise recording's first channel, mV, and its rate. Raises `SetupError`."""
    noises = {}
    for kind in kinds:
        recording = open_recording(folder / kind)
        channel = recording.channels[0]
        n = recording.samples(channel)
        counts, fault = recording.read(channel, n // 2, n - n // 2)
        if fault is not None:
            raise SetupError(f"{folder / kind}: {fault}", hint="get the noise recording again")
        noises[kind] = counts * channel.unit_per_count, channel.rate_hz
    return noises


@dataclass(frozen=True, eq=False)
class Job:
    """One record with every noise through every program."""

    strip: Strip
    noises: dict[str, tuple[Floats, float]]
    snrs_db: tuple[float, ...]
    programs: tuple[str, ...]


def run_job(job: Job) -> list[Result]:
    """Without noise first; a record that is not clean for some program gets no further."""
    strip, results = job.strip, list[Result]()
    for program in job.programs:
        counts = count(strip, FINDERS[program](strip.lead_mv, strip.fs_hz))
        results.append(Result(strip.name, None, None, program, counts))
    if any((figures(*one.counts).f1 or 0.0) < CLEAN_F1 for one in results):
        return results
    for kind, (noise_mv, noise_fs_hz) in job.noises.items():
        for snr_db in job.snrs_db:
            lead_mv = with_noise(strip, noise_mv, noise_fs_hz, snr_db)
            for program in job.programs:
                counts = count(strip, FINDERS[program](lead_mv, strip.fs_hz))
                results.append(Result(strip.name, kind, snr_db, program, counts))
    return results


def stress(
    strips: Sequence[Strip],
    noises: dict[str, tuple[Floats, float]],
    snrs_db: Sequence[float] = SNRS_DB,
    processes: int = 1,
) -> list[Result]:
    """Run every record. Peers that are not installed are left out."""
    programs = tuple(
        name for name, module in zip(PROGRAMS, ("bedside", "wfdb", "sleepecg"), strict=True) if find_spec(module)
    )
    jobs = [Job(strip, noises, tuple(snrs_db), programs) for strip in strips]
    if processes <= 1 or len(jobs) == 1:
        return [one for job in jobs for one in run_job(job)]
    with ProcessPoolExecutor(processes, mp_context=multiprocessing.get_context("spawn")) as pool:
        return [one for results in pool.map(run_job, jobs) for one in results]


def interval(counts: Sequence[Counts], others: Sequence[Counts] | None = None, seed: int = 1) -> tuple[float, float]:
    """95 % of bootstrap resamples of the records: gross F1, or its lead over `others` on the same records, %."""
    drawn = np.random.default_rng(seed).integers(0, len(counts), (RESAMPLES, len(counts)))

    def gross(of: Sequence[Counts]) -> Floats:
        found, missed, false = np.array(of, dtype=np.float64)[drawn].sum(axis=1).T
        return np.asarray(200.0 * found / np.maximum(2 * found + missed + false, 1.0))

    values = gross(counts) - (gross(others) if others is not None else 0.0)
    low, high = np.percentile(values, (2.5, 97.5))
    return float(low), float(high)


def summary(results: Sequence[Result]) -> dict[str, Json]:
    """Everything as one JSON document: the records taken, and one row a noise, a ratio and a program."""
    stressed = sorted({one.record for one in results if one.kind is not None})
    kept = [one for one in results if one.record in stressed or not stressed]
    rows: list[Json] = []
    order = sorted(kept, key=lambda one: (str(one.kind or ""), -(one.snr_db or 0.0), one.record))
    for (kind, snr_db), group in groupby(order, key=lambda one: (one.kind, one.snr_db)):
        of = list(group)
        ours = [one.counts for one in of if one.program == "bedside"]
        for program in PROGRAMS:
            counts = [one.counts for one in of if one.program == program]
            if counts:
                rows.append(_row(kind, snr_db, program, counts, ours))
    return {
        "protocol": "5 min clean, then 2 min noise and 2 min clean by turns; noisy periods scored; window 150 ms",
        "records": list[Json](stressed),
        "left_out": list[Json](sorted({one.record for one in results} - set(stressed))),
        "clean_f1": CLEAN_F1,
        "rows": rows,
    }


def _row(
    kind: str | None, snr_db: float | None, program: str, counts: Sequence[Counts], ours: Sequence[Counts]
) -> dict[str, Json]:
    found, missed, false = (sum(one[k] for one in counts) for k in range(3))
    of = figures(found, missed, false)
    return {
        "noise": kind, "snr_db": snr_db, "program": program, "tp": found, "fn": missed, "fp": false,
        "se": of.se, "ppv": of.ppv, "f1": of.f1, "f1_interval": list[Json](interval(counts)),
        "bedside_leads_by": None if program == "bedside" else list[Json](interval(ours, counts)),
    }  # fmt: skip


def as_table(document: dict[str, Any]) -> str:
    """The document for people: Markdown."""
    lines = [
        "| noise | SNR dB | program | Se % | +P % | F1 % | 95 % of F1 | Bedside leads by (95 %) |",
        "|" + " --- |" * 8,
    ]
    for row in document["rows"]:
        low, high = row["f1_interval"]
        lead = row["bedside_leads_by"]
        cells = [
            row["noise"] or "none",
            "" if row["snr_db"] is None else f"{row['snr_db']:g}",
            row["program"],
            *("-" if row[key] is None else f"{row[key]:.2f}" for key in ("se", "ppv", "f1")),
            f"{low:.2f} to {high:.2f}",
            "" if lead is None else f"{lead[0]:+.2f} to {lead[1]:+.2f}",
        ]
        lines.append("| " + " | ".join(cells) + " |")
    lines += [
        "",
        f"{document['protocol'][0].upper()}{document['protocol'][1:]}. Second half of each noise recording.",
        f"Records ({len(document['records'])}): {', '.join(document['records']) or 'none'}; left out, since some "
        f"program stays below {document['clean_f1']:g} % without noise: {', '.join(document['left_out']) or 'none'}.",
    ]
    return "\n".join(lines)


def write_figures(document: dict[str, Json], folder: Path) -> None:
    """Keep `noise.json` and `noise.md`. Raises `SetupError`."""
    text = f"# Noise\nMade by `bedside evaluate noise DIR --noise DIR`; do not edit.\n\n{as_table(document)}\n"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "noise.json").write_text(json.dumps(document, indent=1) + "\n")
        (folder / "noise.md").write_text(text)
    except OSError as error:
        raise SetupError(f"{folder}: {error.strerror or error}", hint="run in a folder that you may write") from error
