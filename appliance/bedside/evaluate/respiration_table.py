"""The tables of `bedside evaluate respiration`: derived respiration rates beside the waveform that records hold.

The edge: reads WFDB records with an ECG and a channel RESP (PhysioNet/CinC Challenge 2015).
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from bedside.core.events import Json
from bedside.evaluate import respiration as scoring
from bedside.evaluate.pulse_table import channel_values, records_with
from bedside.evaluate.recordings import Channel, Recording
from bedside.evaluate.respiration import GROUPS, Floats, Window
from bedside.signal import respiration as breaths
from bedside.signal.lead import LeadAnalyser
from bedside.signal.pleth import PulseAnalyser
from bedside.signal.respiration import Breathing, SlowSeries

RESAMPLES = 1000
DIRECT = "waveform"


def _named(recording: Recording, name: str) -> Channel | None:
    return next((one for one in recording.channels if one.name.upper() == name), None)


def _slow(values: Floats, fs_hz: float) -> dict[int, Floats]:
    """Windows of the slow series by the whole second at which they end."""
    design = SlowSeries.design(fs_hz)
    _, windows = design.step(design.initial(), values)
    return {round(end / fs_hz): window for end, window in windows}


class _Sources:
    """All derived sources of one record."""

    def __init__(self, recording: Recording) -> None:
        lead = recording.primary()
        values = channel_values(recording, lead)
        design = LeadAnalyser.design(lead.rate_hz)
        state, output = design.step(design.initial(), values)
        last = design.finish(state)
        taken = {*output.retracted, *last.retracted}
        beats = [one for one in (*output.peaks, *last.peaks) if one.index not in taken]
        self.beats_s = [one.index / lead.rate_hz for one in beats]
        self.sizes = [one.amplitude_mv for one in beats]
        self.baseline = _slow(values, lead.rate_hz)
        self.pulses_s: list[float] = []
        self.heights: list[float] = []
        self.wave: dict[int, Floats] = {}
        pleth = _named(recording, "PLETH")
        if pleth is not None:
            values = channel_values(recording, pleth)
            wave = PulseAnalyser.design(pleth.rate_hz, step_size=abs(pleth.unit_per_count))
            memory, found = wave.step(wave.initial(), values)
            pulses = [one for one in (*found.pulses, *wave.finish(memory).pulses) if one.believed]
            self.pulses_s = [one.onset_index / pleth.rate_hz for one in pulses]
            self.heights = [one.height for one in pulses]
            self.wave = _slow(values, pleth.rate_hz)

    def at(self, end_s: float) -> dict[str, Breathing]:
        found = breaths.sources_of_beats("ecg", self.beats_s, self.sizes, end_s)
        found["ecg_baseline"] = breaths.breathing(
            self.baseline[round(end_s)], heart_per_min=breaths.heart_rate(self.beats_s, end_s)
        )
        if self.wave:
            found |= breaths.sources_of_beats("pleth", self.pulses_s, self.heights, end_s)
            found["pleth_baseline"] = breaths.breathing(
                self.wave[round(end_s)], heart_per_min=breaths.heart_rate(self.pulses_s, end_s)
            )
        return found


def evaluate_respiration(folder: Path) -> dict[str, Json]:
    """Every window of every record with a channel RESP: one JSON document. Raises `SetupError`."""
    windows: list[Window] = []
    asked = 0
    cpu_s = judged_s = 0.0
    for recording in records_with(folder, lambda one: _named(one, "RESP") is not None):
        channel = _named(recording, "RESP")
        assert channel is not None
        reference = channel_values(recording, channel)
        sources, own = _Sources(recording), _slow(reference, channel.rate_hz)
        for end_s in scoring.ends_s(reference.size / channel.rate_hz):
            asked += 1
            first, end = round((end_s - breaths.WINDOW_S) * channel.rate_hz), round(end_s * channel.rate_hz)
            rate = scoring.reference_rate(reference[first:end], channel.rate_hz)
            if rate is None:
                continue
            began_s = time.process_time()
            found = sources.at(end_s)
            given = scoring.grouped(found)
            cpu_s += time.process_time() - began_s
            judged_s += 1
            given[DIRECT] = breaths.breathing(own[round(end_s)], direct=True).rate_per_min
            windows.append(Window(recording.name, end_s, rate, given))
    return {
        "reference": (
            f"the RESP channel in windows of {breaths.WINDOW_S:g} s every {scoring.STRIDE_S:g} s, where peaks counted "
            "by scipy.signal.find_peaks and its Welch spectrum agree within "
            f"{scoring.REFERENCE_AGREE_PER_MIN:g} /min ({len(windows)} of {asked} windows); records numbered below "
            f"{scoring.SPLIT} were looked at when thresholds were chosen, the others were not"
        ),
        "published": "95 % limits of agreement of the best ECG algorithm -4.7 to 4.7 /min (Charlton et al. 2016; "
        "healthy people, other data)",
        "rates": [
            _row(name, part, windows) for name in (*GROUPS, DIRECT) for part in ("all", "looked at", "not looked at")
        ],
        "ms_per_window": 1000.0 * cpu_s / judged_s if judged_s else None,
    }


def _row(name: str, part: str, windows: Sequence[Window]) -> Json:
    def chosen(one: Window) -> bool:
        number = int("".join(c for c in one.record if c.isdigit()) or 0)
        return part == "all" or (part == "looked at") == (number < scoring.SPLIT)

    kept = [one for one in windows if chosen(one)]
    by_record: dict[str, list[float]] = {}
    for one in kept:
        rate = one.given.get(name)
        mine = by_record.setdefault(one.record, [])
        if rate is not None:
            mine.append(rate - one.reference_per_min)
    errors = np.array([error for each in by_record.values() for error in each])
    row: dict[str, Json] = {
        "sources": name,
        "part": part,
        "records": len(by_record),
        "windows": len(kept),
        "given": int(errors.size),
        "given_pct": 100.0 * errors.size / len(kept) if kept else None,
    }
    if errors.size < 3:
        return row
    spread = 1.96 * float(errors.std(ddof=1))
    return {
        **row,
        "bias": float(errors.mean()),
        "low": float(errors.mean()) - spread,
        "high": float(errors.mean()) + spread,
        "mae": float(np.abs(errors).mean()),
        "mae_interval": _interval(list(by_record.values())),
        "within_3": 100.0 * float(np.mean(np.abs(errors) <= 3.0)),
    }


def _interval(by_record: Sequence[Sequence[float]]) -> Json:
    """95 % of bootstrap samples of whole records (seeded) of the mean absolute error."""
    rng = np.random.default_rng(2015)
    found = []
    for _ in range(RESAMPLES):
        drawn = [error for k in rng.integers(0, len(by_record), len(by_record)) for error in by_record[k]]
        if drawn:
            found.append(float(np.abs(drawn).mean()))
    low, high = np.percentile(found, (2.5, 97.5))
    return [float(low), float(high)]


def as_table(document: dict[str, Any]) -> str:
    """The document for people: Markdown."""
    head = "| sources | records | n | windows | given % | bias /min | 95 % limits /min | MAE /min (95 %) | within 3 % |"
    lines = [head, "|" + " --- |" * 9]
    for row in document["rates"]:
        cells = [row["sources"], row["part"], str(row["records"]), str(row["windows"])]
        cells.append("–" if row["given_pct"] is None else f"{row['given_pct']:.0f}")
        if "bias" in row:
            low, high = row["mae_interval"]
            cells += [f"{row['bias']:+.2f}", f"{row['low']:+.1f} to {row['high']:+.1f}"]
            cells += [f"{row['mae']:.2f} ({low:.2f}–{high:.2f})", f"{row['within_3']:.0f}"]
        else:
            cells += ["–"] * 4
        lines.append("| " + " | ".join(cells) + " |")
    lines += ["", f"Reference: {document['reference']}.", "", f"Published: {document['published']}."]
    if document["ms_per_window"] is not None:
        lines.append(f"CPU: {document['ms_per_window']:.2f} ms for a window of all derived sources.")
    return "\n".join(lines)
