"""What the signal room alone costs: one stream, the same stream four times as long, a ward of 64, and its peers.

One stream goes in blocks of 0.5 s through the lead analyser, the heart rate and the rhythm analysis, as a monitor
wires them but without classes of beats. The ward's streams are the same lead begun at other places, advanced together
by `LeadAnalyser.step_many`. Costs are CPU seconds of this process for an hour of one stream.
"""

from __future__ import annotations

import pickle
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from importlib.util import find_spec
from typing import Any

import numpy as np

from bedside.core.events import Json
from bedside.core.samples import Floats
from bedside.signal.beats import BeatFinder, BeatFrame, BeatState
from bedside.signal.lead import INTERNAL_HZ, LeadAnalyser, LeadOutput
from bedside.signal.rate import RateMeter, RateState
from bedside.signal.rhythm import JudgedBeat, RhythmAnalyser, RhythmInput, RhythmState, SeenSecond

FRAMES_TOGETHER = 2  # as `bedside.monitor.lead` does
WARD = 64
WARD_S_MAX = 180.0  # of each stream in the ward
LONGER = 4  # times the lead, to see that an hour costs the same late as early


class _TimedFinder(BeatFinder):
    """A beat finder that knows its cost."""

    cpu_s = 0.0

    def frames(
        self, state: BeatState, wave_mv: Floats, envelope_mv: Floats, slow_mv: Floats, n_frames: int
    ) -> tuple[BeatState, list[BeatFrame]]:
        began_s = time.process_time()
        found = super().frames(state, wave_mv, envelope_mv, slow_mv, n_frames)
        _TimedFinder.cpu_s += time.process_time() - began_s
        return found


@dataclass
class _Behind:
    """Rate and rhythm of one stream, behind its lead analyser."""

    fs_hz: float
    meter: RateMeter = field(default_factory=RateMeter)
    rhythm: RhythmAnalyser = field(default_factory=RhythmAnalyser)
    rate_state: RateState = field(default_factory=RateState)
    rhythm_state: RhythmState = field(default_factory=lambda: RhythmAnalyser().initial())
    beats: int = 0

    def take(self, output: LeadOutput) -> None:
        if output.clean_mv.size == 0:
            return
        per = INTERNAL_HZ / self.fs_hz
        for peak in output.peaks:
            self.rate_state = self.meter.beat(self.rate_state, peak.index / self.fs_hz)
        if output.quality:
            self.meter.read(self.rate_state, output.settled_index / self.fs_hz)
        self.beats += len(output.peaks) - len(output.retracted)
        found = RhythmInput(
            clean_mv=output.clean_mv,
            clean_first=output.clean_first,
            peaks=tuple(peak.clean_index for peak in output.peaks),
            beats=tuple(JudgedBeat(peak.clean_index, "N") for peak in output.peaks),
            seconds=tuple(
                SeenSecond(round(one.first_index * per), round(one.n_samples * per), one.usable, one.reason)
                for one in output.quality
            ),
            settled=int(output.settled_index * per),
        )
        self.rhythm_state, _ = self.rhythm.step(self.rhythm_state, found)


def signal_room(lead_mv: Floats, fs_hz: float, block: int) -> dict[str, Json]:
    """Measure one stream, a longer one, and a ward of 64."""
    hours = lead_mv.size / fs_hz / 3600
    stages, beats = _one_stream(lead_mv, fs_hz, block)
    parts = _parts(lead_mv, fs_hz, block)
    ward_s = min(WARD_S_MAX, lead_mv.size / fs_hz)
    return {
        "beats": beats,
        "one_stream_cpu_s_per_hour": {name: round(cpu_s / hours, 3) for name, cpu_s in stages.items()},
        "one_stream_total_cpu_s_per_hour": round(sum(stages.values()) / hours, 3),
        "one_stream_by_part_cpu_s_per_hour": [round(cpu_s / hours, 3) for cpu_s, _ in parts],
        "state_bytes_by_part": [size for _, size in parts],
        "part_hours": round(hours, 4),
        "ward_streams": WARD,
        "ward_cpu_s_per_stream_hour": round(_ward(lead_mv, fs_hz, block, ward_s) / (WARD * ward_s / 3600), 3),
    }


def _one_stream(lead_mv: Floats, fs_hz: float, block: int) -> tuple[dict[str, float], int]:
    """CPU seconds by stage."""
    design = LeadAnalyser.design(fs_hz)
    _TimedFinder.cpu_s, behind_s = 0.0, 0.0
    design = replace(design, finder=_TimedFinder(**design.finder.__dict__))
    state, behind = design.initial(), _Behind(fs_hz)
    began_s = time.process_time()
    for first in range(0, lead_mv.size, block):
        state, output = design.step(state, lead_mv[first : first + block], FRAMES_TOGETHER)
        before_s = time.process_time()
        behind.take(output)
        behind_s += time.process_time() - before_s
    total_s = time.process_time() - began_s
    front_s = total_s - behind_s - _TimedFinder.cpu_s
    stages = {"conditioning and quality": front_s, "beats": _TimedFinder.cpu_s, "rate and rhythm": behind_s}
    return stages, behind.beats


def _parts(lead_mv: Floats, fs_hz: float, block: int) -> list[tuple[float, int]]:
    """The same lead again and again in one stream: what each time cost, and how large the memory was after it."""
    design = LeadAnalyser.design(fs_hz)
    state, behind, parts = design.initial(), _Behind(fs_hz), []
    for _ in range(LONGER):
        began_s = time.process_time()
        for first in range(0, lead_mv.size, block):
            state, output = design.step(state, lead_mv[first : first + block], FRAMES_TOGETHER)
            behind.take(output)
        cpu_s = time.process_time() - began_s
        parts.append((cpu_s, len(pickle.dumps((state, behind.rate_state, behind.rhythm_state)))))
    return parts


def _ward(lead_mv: Floats, fs_hz: float, block: int, seconds: float) -> float:
    """CPU seconds of all streams together."""
    n = int(seconds * fs_hz)
    leads = [np.roll(lead_mv, -int(row * 7.3 * fs_hz))[:n] for row in range(WARD)]
    design = LeadAnalyser.design(fs_hz)
    states = [design.initial() for _ in leads]
    behind = [_Behind(fs_hz) for _ in leads]
    began_s = time.process_time()
    for first in range(0, n, block):
        blocks = [one[first : first + block] for one in leads]
        states, outputs = design.step_many(states, blocks, FRAMES_TOGETHER)
        for one, output in zip(behind, outputs, strict=True):
            one.take(output)
    return time.process_time() - began_s


def peer_costs(lead_mv: Floats, fs_hz: float) -> list[tuple[str, float | None]]:
    """Whole-signal beat finders that may look ahead; beats only, no classes, rhythm or alarms. None: not installed."""
    peers: list[tuple[str, str, Callable[[Floats, float], None]]] = [
        ("wfdb xqrs", "wfdb", _xqrs),
        ("sleepecg", "sleepecg", _sleepecg),
        ("NeuroKit2", "neurokit2", partial(_neurokit, method="neurokit")),
        ("Pan-Tompkins (NeuroKit2's)", "neurokit2", partial(_neurokit, method="pantompkins1985")),
        ("Hamilton (NeuroKit2's)", "neurokit2", partial(_neurokit, method="hamilton2002")),
    ]
    costs: list[tuple[str, float | None]] = []
    for name, module, run in peers:
        if find_spec(module) is None:
            costs.append((name, None))
            continue
        run(lead_mv[: round(20 * fs_hz)], fs_hz)  # to import it is no part of its cost
        began_s = time.process_time()
        run(lead_mv, fs_hz)
        costs.append((name, round((time.process_time() - began_s) / (lead_mv.size / fs_hz / 3600), 3)))
    return costs


def _xqrs(lead_mv: Floats, fs_hz: float) -> None:
    from wfdb import processing

    finder: Any = processing.XQRS(sig=lead_mv, fs=round(fs_hz))
    finder.detect(verbose=False)


def _sleepecg(lead_mv: Floats, fs_hz: float) -> None:
    from sleepecg.heartbeats import detect_heartbeats

    detect_heartbeats(lead_mv, fs_hz)


def _neurokit(lead_mv: Floats, fs_hz: float, method: str) -> None:
    import neurokit2

    rate = round(fs_hz)
    neurokit2.ecg_findpeaks(neurokit2.ecg_clean(lead_mv, rate, method=method), rate, method=method)


def room_as_text(document: dict[str, Any]) -> list[str]:
    """The measurement for people."""
    lines = [f"the signal room alone, blocks of 0.5 s, {document['beats']} beats"]
    for name, seconds in document["one_stream_cpu_s_per_hour"].items():
        lines.append(f"  {name:<32}{seconds:8.3f} CPU s per hour")
    total_s = document["one_stream_total_cpu_s_per_hour"]
    lines.append(f"  {'one stream':<32}{total_s:8.3f} CPU s per hour")
    ward = f"one of a ward of {document['ward_streams']}"
    lines.append(f"  {ward:<32}{document['ward_cpu_s_per_stream_hour']:8.3f} CPU s per hour")
    parts: Sequence[float] = document["one_stream_by_part_cpu_s_per_hour"]
    sizes = [f"{size / 1024:.0f}" for size in document["state_bytes_by_part"]]
    lines.append(
        f"  {document['part_hours']:g} h, {len(parts)} times in one stream: "
        f"{', '.join(f'{seconds:.3f}' for seconds in parts)} CPU s per hour; memory {', '.join(sizes)} KiB"
    )
    return lines
