"""Our own alarms over recordings with experts' beats and rhythms: which are true, and how many come a day.

True where the experts' marks show the condition during the alarm's condition or within `SLACK_S` of it; by the same
numbers as the table's. Conditions that the marks cannot tell (saturation, signal quality) are not counted.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bedside.core.events import Alarm
from bedside.evaluate import beats as scoring
from bedside.evaluate.analyze import Analysis, analyze

SLACK_S = 5.0
Marks = Sequence[tuple[float, str]]  # seconds, AAMI class
RHYTHMS: Mapping[str, tuple[str, ...]] = {
    "atrial_fibrillation": ("AFIB", "AFL"),
    "supraventricular_tachycardia": ("SVTA", "AFIB", "AFL"),
    "ventricular_fibrillation": ("VFL", "VF"),
}
COUNTED = (
    "asystole", "ventricular_fibrillation", "ventricular_tachycardia", "extreme_bradycardia", "extreme_tachycardia",
    "ventricular_run", "pause", "supraventricular_tachycardia", "atrial_fibrillation", "tachycardia", "bradycardia",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class OwnAlarm:
    """One episode of one of our alarms, and whether the experts' marks show it."""

    record: str
    kind: str
    priority: str
    start_s: float
    true: bool


@dataclass(frozen=True, slots=True)
class Watched:
    """One annotated record: its alarms, how many suppressions, and how long it was."""

    record: str
    alarms: tuple[OwnAlarm, ...]
    suppressed: int
    hours: float


def watch(record: Path, lead: str | None = None, reference: str = "atr") -> Watched:
    """Run an annotated record and hold its alarms against the marks. Raises `SetupError`."""
    import wfdb

    marks = scoring.read_marks(record, reference)
    analysis = analyze(record, lead=lead, all_channels=lead is None)
    fs_hz = analysis.channel.rate_hz
    beats = [(at / fs_hz, name) for at, name in zip(marks.samples.tolist(), marks.classes, strict=True)]
    flutter = [(first / fs_hz, last / fs_hz) for first, last in marks.flutter]
    notes: Any = wfdb.rdann(str(record), reference)
    changes = [
        (at / fs_hz, note.rstrip("\0").lstrip("("))
        for at, symbol, note in zip(notes.sample, notes.symbol, notes.aux_note, strict=True)
        if symbol == "+"
    ]
    spans = list(zip(changes, [*(at for at, _ in changes[1:]), analysis.duration_s], strict=True)) if changes else []
    rhythm = [(name, start, end) for (start, name), end in spans]
    return held_against(analysis, beats, rhythm + [("VFL", start, end) for start, end in flutter])


def held_against(analysis: Analysis, beats: Marks, rhythm: Sequence[tuple[str, float, float]]) -> Watched:
    """Each episode of the analysis' alarms, judged by the marks."""
    episodes: dict[tuple[str, int], Alarm] = {}
    for event in analysis.events:
        if isinstance(event, Alarm) and event.kind in COUNTED:
            episodes[event.alarm, event.start_us] = event
    alarms = []
    for one in episodes.values():
        start_s = analysis.second(one.start_us)
        end_s = analysis.second(one.end_us if one.end_us is not None else one.changed_us)
        low, high = start_s - SLACK_S, max(end_s, start_s) + SLACK_S
        near = [mark for mark in beats if low - 25 <= mark[0] <= high]
        named = any(name in RHYTHMS.get(one.kind, ()) and a < high and b > low for name, a, b in rhythm)
        shown = one.kind in SHOWS and SHOWS[one.kind](near, low)
        true = named or shown
        alarms.append(OwnAlarm(analysis.recording.name, one.kind, str(one.priority), start_s, true))
    held = sum(event.type == "suppression" and event.end_us is None for event in analysis.events)
    return Watched(analysis.recording.name, tuple(alarms), held, analysis.duration_s / 3600)


# ---------------------------------------------------------------------- what the marks show


def _fastest(marks: Marks, beats: int, from_s: float) -> float:
    spans = [b[0] - a[0] for a, b in zip(marks, marks[beats - 1 :], strict=False) if b[0] >= from_s]
    return 60.0 * (beats - 1) / min(spans) if spans and min(spans) > 0 else 0.0


def _slowest(marks: Marks, beats: int, from_s: float) -> float:
    spans = [b[0] - a[0] for a, b in zip(marks, marks[beats - 1 :], strict=False) if b[0] >= from_s]
    return 60.0 * (beats - 1) / max(spans) if spans else 1000.0


def _longest_s(marks: Marks, from_s: float) -> float:
    return max((b[0] - a[0] for a, b in itertools.pairwise(marks) if b[0] >= from_s), default=0.0)


def _run_of(needed: int, rate_bpm: float) -> Callable[[Marks, float], bool]:
    """Do `needed` ventricular beats follow each other at the rate?"""

    def shown(marks: Marks, from_s: float) -> bool:
        for k in range(len(marks) - needed + 1):
            run = marks[k : k + needed]
            ventricular = run[-1][0] >= from_s and all(name == "V" for _, name in run)
            if ventricular and 60.0 * (needed - 1) / (run[-1][0] - run[0][0]) >= 0.95 * rate_bpm:
                return True
        return False

    return shown


SHOWS: Mapping[str, Callable[[Marks, float], bool]] = {
    "asystole": lambda marks, from_s: _longest_s(marks, from_s) >= 3.8,
    "pause": lambda marks, from_s: _longest_s(marks, from_s) >= 2.9,
    "ventricular_tachycardia": _run_of(5, 100.0),
    "ventricular_run": _run_of(3, 100.0),
    "extreme_tachycardia": lambda marks, from_s: _fastest(marks, 17, from_s) > 0.97 * 140,
    "extreme_bradycardia": lambda marks, from_s: _slowest(marks, 5, from_s) < 1.03 * 40,
    "tachycardia": lambda marks, from_s: _fastest(marks, 8, from_s) > 0.97 * 120,
    "bradycardia": lambda marks, from_s: _slowest(marks, 5, from_s) < 1.03 * 50,
}
"""Whether marks around an alarm show it; within 3 to 5 % of the table's numbers, as marks have their own jitter."""
