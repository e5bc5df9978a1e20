"""One recording through the live path, on the recording's own clock; what a live gateway would have said of it.

`contracts/analyze.md` fixes what is written: `NAME.bedside` (WFDB annotations) and `NAME.json`. The recording's lead
goes block by block into `bedside.alarms.watch.PatientWatch`, exactly as a wearable's would; after each block the clock
moves to the block's end. Nothing here judges a signal.
"""

from __future__ import annotations

import itertools
import json
import math
import random
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from bedside.alarms.table import ConditionTable
from bedside.alarms.watch import PatientWatch
from bedside.core.codes import StreamKind
from bedside.core.errors import SetupError
from bedside.core.events import (
    Alarm,
    Beat,
    Event,
    Finding,
    Json,
    Numeric,
    Priority,
    Quality,
    Rhythm,
    Suppression,
)
from bedside.core.ids import IdSource
from bedside.core.time import US_PER_S
from bedside.evaluate.feeding import PATIENT, Reader, in_turn, stream_of
from bedside.evaluate.feeding import START_US as START_US
from bedside.evaluate.feeding import Costs as Costs
from bedside.evaluate.recordings import Channel, Recording, open_recording
from bedside.models import shipped
from bedside.models.beats import BeatClassifier
from bedside.models.inference import Model
from bedside.models.rhythm import RhythmJudge

TICK_US = US_PER_S // 2
"""The gateway's clock ticks twice a second, whatever the blocks."""
LABEL_RANK = ("ASYS", "VFL", "VT", "NOISE", "SVTA", "AFIB", "B", "T", "P", "N", "UNK")
PRIORITY_RANK = (Priority.HIGH, Priority.MEDIUM, Priority.LOW)


@dataclass(frozen=True, slots=True)
class Span:
    """`[start_s, end_s)` on the recording's clock; `end_s` None: still on at its end."""

    name: str
    start_s: float
    end_s: float | None


@dataclass(frozen=True, eq=False)
class Analysis:
    """What the live path said of a recording. Beats, rhythm and quality are those of `channel`, its first lead."""

    recording: Recording
    channel: Channel
    channels: tuple[Channel, ...]  # all that were fed, `channel` first
    events: tuple[Event, ...]
    n_samples: int  # read of `channel`
    fault: str | None  # why not all was read
    model_fault: str | None  # why no model judged the beats
    rhythm_fault: str | None  # why no model judged half minutes
    versions: dict[str, Json]
    cpu_s: dict[str, float]

    @property
    def duration_s(self) -> float:
        return self.n_samples / self.channel.rate_hz

    @property
    def complete(self) -> bool:
        return self.fault is None

    def second(self, time_us: int) -> float:
        """A time on the recording's clock."""
        return round((time_us - START_US) / US_PER_S, 6)

    @property
    def stream(self) -> str:
        """The id of the first lead's stream."""
        return stream_of(self.channel).id

    def beats(self) -> list[Beat]:
        """The beats that stood at the end, in order of their R peaks."""
        lead = self.stream
        retracted = _of(self.events, Finding, kind="beat_retracted", stream=lead)
        taken_back = {event.evidence.get("index") for event in retracted}
        found = {beat.index: beat for beat in _of(self.events, Beat, stream=lead) if beat.index not in taken_back}
        return [found[index] for index in sorted(found) if 0 <= index < self.n_samples]

    def rhythm(self) -> list[Span]:
        """One rhythm at a time: of those that overlap, the gravest."""
        newest: dict[str, Rhythm] = {}
        for event in _of(self.events, Rhythm, stream=self.stream):
            newest.pop(event.supersedes or "", None)
            newest[event.id] = event
        ends = [
            (event.index, event.end_index if event.end_index is not None else self.n_samples, str(event.label))
            for event in newest.values()
        ]
        return [
            Span(label, round(first / self.channel.rate_hz, 6), round(last / self.channel.rate_hz, 6))
            for label, first, last in flatten(ends, self.n_samples)
        ]


def load_classifier() -> tuple[BeatClassifier, str | None]:
    """The shipped beat classifier, or one that abstains and why, as the gateway does it."""
    try:
        return BeatClassifier(Model.load(shipped.path("beats"))), None
    except SetupError as error:
        return BeatClassifier(None), str(error)


def load_windows() -> tuple[RhythmJudge, str | None]:
    """The shipped model of half minutes, or one that abstains and why, as the gateway does it."""
    try:
        return RhythmJudge(Model.load(shipped.path("rhythm"))), None
    except SetupError as error:
        return RhythmJudge(None), str(error)


def flatten(episodes: Iterable[tuple[int, int, str]], n_samples: int) -> list[tuple[str, int, int]]:
    """Overlapping (first, end, label) as one sequence of (label, first, end): the gravest label of each moment."""
    steps: list[tuple[int, int, str]] = []
    for first, end, label in episodes:
        first, end = max(first, 0), min(end, n_samples)
        if first < end:
            steps += [(first, 1, label), (end, -1, label)]
    spans: list[tuple[str, int, int]] = []
    here: Counter[str] = Counter()
    before = 0
    for at, group in itertools.groupby(sorted(steps), key=lambda one: one[0]):
        on = [name for name, count in here.items() if count]
        if on:
            gravest = min(on, key=LABEL_RANK.index)
            joins = bool(spans) and spans[-1][0] == gravest and spans[-1][2] == before
            spans[-1 if joins else len(spans) :] = [(gravest, spans[-1][1] if joins else before, at)]
        for _, step, name in group:
            here[name] += step
        before = at
    return spans


def analyze(
    path: str | Path,
    *,
    lead: str | None = None,
    block_s: float = 0.5,
    all_channels: bool = False,
    until_s: float = math.inf,
    table: ConditionTable | None = None,
) -> Analysis:
    """Run a recording through the live path. Raises `SetupError` when it cannot be opened or has no such lead.

    `block_s`: how long the blocks are; 0 gives single samples, `inf` the whole recording in one. What is said of one
    lead does not depend on it. `all_channels`: every ECG lead, pulse wave, pressure and respiration of the recording
    is a stream of the one patient; then what is known first may depend on the blocks, as between wearables.
    `until_s`: nothing behind it is read.
    `table`: other alarm conditions than those that are shipped.
    """
    if not block_s >= 0:
        raise SetupError(f"block length {block_s!r} s", hint="give 0 (single samples), a number of seconds, or inf")
    costs = Costs()
    recording = open_recording(path)
    channel = recording.lead(lead) if lead is not None else recording.primary()
    if not 100 <= channel.rate_hz <= 1000:
        raise SetupError(
            f"{recording.path}: lead {channel.name} has {channel.rate_hz:g} samples a second",
            hint="Bedside analyses 100 to 1000 a second: resample the recording",
        )
    channels = (channel, *_beside(recording, channel)) if all_channels else (channel,)
    classifier, model_fault = load_classifier()
    windows, rhythm_fault = load_windows()
    now_us = START_US
    ids = IdSource(lambda: now_us, random.Random(recording.name))  # noqa: S311 (names, not secrets)
    watching = PatientWatch(PATIENT, ids, classifier, False, stage=costs.stage, table=table, windows=windows)
    events: list[Event] = []
    readers = [Reader(recording, one, costs, until_s) for one in channels]
    began_s = time.process_time()
    for blocks in in_turn(readers, block_s):
        now_us = blocks[0].end_us
        for block in blocks:
            events += watching.feed(block).events
        events += watching.advance(now_us // TICK_US * TICK_US).events
    events += watching.finish().events
    total_s = time.process_time() - began_s
    costs.cpu_s["events_and_alarms"] = max(total_s - sum(costs.cpu_s.values()), 0.0)
    return Analysis(
        recording=recording,
        channel=channel,
        channels=channels,
        events=tuple(events),
        n_samples=readers[0].read_samples,
        fault=next((one.fault for one in readers if one.fault is not None), None),
        model_fault=model_fault,
        rhythm_fault=rhythm_fault,
        versions=_versions(classifier, windows),
        cpu_s={name: round(seconds, 3) for name, seconds in costs.cpu_s.items()},
    )


def _beside(recording: Recording, first: Channel) -> list[Channel]:
    """The other channels that Bedside watches, leads before the rest; leads of rates it cannot analyse are left out."""
    others = [one for one in recording.channels if one.kind is not None and one.number != first.number]
    fit = [one for one in others if one.kind is not StreamKind.ECG or 100 <= one.rate_hz <= 1000]
    return sorted(fit, key=lambda one: one.kind is not StreamKind.ECG)


def _versions(classifier: BeatClassifier, windows: RhythmJudge) -> dict[str, Json]:
    loaded = {
        name: model for name, model in (("beats", classifier.model), ("rhythm", windows.model)) if model is not None
    }
    return {
        "bedside": version("bedside"),
        "models": {name: model.digest for name, model in loaded.items()},
        "runtime": next((model.runtime for model in loaded.values()), None),
    }


def _of(events: Iterable[Event], cls: type[Any], **wanted: object) -> Iterator[Any]:
    for event in events:
        if isinstance(event, cls) and all(getattr(event, name) == value for name, value in wanted.items()):
            yield event


# ---------------------------------------------------------------------- what is written


def write(analysis: Analysis, out: Path) -> tuple[Path, Path]:
    """Write `NAME.bedside` and `NAME.json` into `out` (made if need be). Raises `SetupError` when that fails."""
    name = analysis.recording.name
    try:
        out.mkdir(parents=True, exist_ok=True)
        annotated = _write_annotations(analysis, name, out)
        document = out / f"{name}.json"
        document.write_text(json.dumps(report(analysis), indent=1, allow_nan=False) + "\n")
    except OSError as error:
        raise SetupError(
            f"{out}: {error.strerror or error}", hint="choose a folder you may write with --out"
        ) from error
    return annotated, document


def annotation_rows(analysis: Analysis) -> list[tuple[int, str, int, str]]:
    """(sample, symbol, subtype, aux) in order: beats at their R peak, `+` where the rhythm, `~` where quality changes.

    `+` and `~` that fall on a beat stand one sample later, as annotation files hold one of a time.
    """
    beats = [(beat.index, str(beat.beat_class), 0, "") for beat in analysis.beats()]
    rate_hz = analysis.channel.rate_hz
    taken = {index for index, *_ in beats}
    changes = [(round(span.start_s * rate_hz), "+", 0, f"({span.name}") for span in analysis.rhythm()]
    changes += [
        (event.index, "~", 0 if event.usable else 1, event.reason or "")
        for event in _of(analysis.events, Quality, stream=analysis.stream)
        if 0 <= event.index < analysis.n_samples
    ]
    placed = []
    for sample, symbol, subtype, aux in sorted(changes, key=lambda one: (one[0], one[1])):
        while sample in taken:
            sample += 1
        taken.add(sample)
        placed.append((sample, symbol, subtype, aux))
    return sorted(beats + placed)


def _write_annotations(analysis: Analysis, name: str, out: Path) -> Path:
    import wfdb

    rows = annotation_rows(analysis) or [(0, "~", 1, "")]  # a file without any annotation cannot be read by all
    wfdb.wrann(
        name,
        "bedside",
        np.array([row[0] for row in rows]),
        symbol=[row[1] for row in rows],
        subtype=np.array([row[2] for row in rows]),
        chan=np.full(len(rows), analysis.channel.number),
        aux_note=[row[3] for row in rows],
        write_dir=str(out),
    )
    return out / f"{name}.bedside"


def report(analysis: Analysis) -> dict[str, Json]:
    """The JSON document of `contracts/analyze.md`."""
    document: dict[str, Json] = {
        "record": analysis.recording.name,
        "rate_hz": analysis.channel.rate_hz,
        "duration_s": round(analysis.duration_s, 6),
        "leads": [one.name for one in analysis.channels if one.kind is StreamKind.ECG],
        "simulated": False,
        "complete": analysis.complete,
        "fault": analysis.fault,
        "versions": analysis.versions,
        "alarms": _alarms(analysis),
        "suppressed": _suppressed(analysis),
        "findings": _findings(analysis),
        "numerics": _numerics(analysis),
        "rhythm": [{"label": one.name, "start_s": one.start_s, "end_s": one.end_s} for one in analysis.rhythm()],
        "unjudged": [{"start_s": one.start_s, "end_s": one.end_s, "reason": one.name} for one in unjudged(analysis)],
        "cpu_s": {**dict(sorted(analysis.cpu_s.items()))},
    }
    return document


def _within(analysis: Analysis, time_us: int | None) -> float | None:
    """A moment of the recording, or None for one that lies behind its end."""
    if time_us is None or analysis.second(time_us) > analysis.duration_s:
        return None
    return analysis.second(time_us)


def _alarms(analysis: Analysis) -> list[Json]:
    """Each episode of each alarm's condition once: its onset, when it was signalled, when it ended.

    A latched alarm whose condition comes back is one alarm to a nurse and two episodes here.
    """
    episodes: dict[tuple[str, int], list[Alarm]] = {}
    for alarm in _of(analysis.events, Alarm):
        if analysis.second(alarm.start_us) < analysis.duration_s:
            episodes.setdefault((alarm.alarm, alarm.start_us), []).append(alarm)
    rows: list[tuple[float, str, Json]] = []
    for history in episodes.values():
        first, last = history[0], history[-1]
        raised_s = analysis.second(first.changed_us)
        if raised_s > analysis.duration_s:
            continue  # of the time after the recording
        newest = [one for one in history if analysis.second(one.changed_us) <= analysis.duration_s][-1]
        row: Json = {
            "kind": first.kind,
            "priority": str(min((one.priority for one in history), key=PRIORITY_RANK.index)),
            "start_s": analysis.second(first.start_us),
            "end_s": _within(analysis, last.end_us),
            "raised_s": raised_s,
            "latched": first.latching,
            "evidence": dict(newest.evidence),
        }
        rows.append((raised_s, first.kind, row))
    return [row for _, _, row in sorted(rows, key=lambda one: (one[0], one[1]))]


def _suppressed(analysis: Analysis) -> list[Json]:
    newest: dict[str, Suppression] = {}
    for event in _of(analysis.events, Suppression):
        newest.pop(event.supersedes or "", None)
        newest[event.id] = event
    kept = sorted(newest.values(), key=lambda one: (one.start_us, one.kind))
    return [
        {
            "kind": one.kind,
            "start_s": analysis.second(one.start_us),
            "end_s": _within(analysis, one.end_us),
            "reason": one.reason,
        }
        for one in kept
        if analysis.second(one.start_us) < analysis.duration_s
    ]


def _findings(analysis: Analysis) -> list[Json]:
    missing: list[Json] = []
    if analysis.model_fault is not None:
        missing.append({"kind": "model_missing", "time_s": 0.0, "evidence": {"reason": analysis.model_fault}})
    if analysis.rhythm_fault is not None:
        evidence: Json = {"reason": analysis.rhythm_fault}
        missing.append({"kind": "rhythm_model_failed", "time_s": 0.0, "evidence": evidence})
    return missing + [
        {"kind": one.kind, "time_s": analysis.second(one.start_us), "evidence": dict(one.evidence)}
        for one in _of(analysis.events, Finding)
        if analysis.second(one.start_us) < analysis.duration_s
    ]


def _numerics(analysis: Analysis) -> list[Json]:
    rows: list[Json] = []
    for one in _of(analysis.events, Numeric):
        time_s = analysis.second(one.start_us)
        if time_s <= analysis.duration_s:
            value = round(one.value, 4) if one.value is not None else None
            rows.append(
                {
                    "code": str(one.code),
                    "time_s": time_s,
                    "value": value,
                    "unit": one.unit,
                    "quality": str(one.validity) if one.reason is None else f"{one.validity}: {one.reason}",
                }
            )
    return rows


def unjudged(analysis: Analysis) -> list[Span]:
    """When nothing was judged: the lead could not be believed, or no model spoke for a beat."""
    rate_hz, spans = analysis.channel.rate_hz, []
    open_at: tuple[float, str] | None = None
    for event in _of(analysis.events, Quality, stream=analysis.stream):
        at_s = min(event.index / rate_hz, analysis.duration_s)
        if open_at is not None:
            spans.append(Span(open_at[1], round(open_at[0], 6), round(at_s, 6)))
        open_at = None if event.usable else (at_s, event.reason or "unknown")
    if open_at is not None and open_at[0] < analysis.duration_s:
        spans.append(Span(open_at[1], round(open_at[0], 6), round(analysis.duration_s, 6)))
    spans += _unjudged_beats(analysis.beats(), rate_hz)
    return sorted((one for one in spans if one.end_s is None or one.end_s > one.start_s), key=lambda one: one.start_s)


def _unjudged_beats(beats: Sequence[Beat], rate_hz: float) -> list[Span]:
    """Runs of beats that no model judged, from the first of them to the next that was."""
    spans: list[Span] = []
    began: float | None = None
    for beat in beats:
        at_s = round(beat.index / rate_hz, 6)
        if not beat.judged and began is None:
            began = at_s
        elif beat.judged and began is not None:
            spans.append(Span("beats not judged", began, at_s))
            began = None
    if began is not None:
        spans.append(Span("beats not judged", began, round(beats[-1].index / rate_hz, 6)))
    return spans
