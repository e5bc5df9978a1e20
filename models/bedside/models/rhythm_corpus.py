"""Strips of one lead through the live path, as rows for a rhythm model: what it learns from is what it will see.

Reads the training strips of the PhysioNet Challenge 2017 (`REFERENCE.csv` beside WFDB records; extra `recordings`).
Beats come from the live finder, their classes from the shipped beat model, seconds from the live quality.
"""

from __future__ import annotations

import csv
import logging
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt

from bedside.core.errors import SetupError
from bedside.models.beats import BeatClassifier, ClassifiedBeat
from bedside.models.rhythm import LABELS, RhythmJudge, RhythmJudgeState, window_of
from bedside.models.rhythm_features import NAMES, SHORTEST, WINDOW, RhythmWindow, describe
from bedside.models.windows import FS_HZ, CleanBuffer, Floats
from bedside.signal.lead import LeadAnalyser

log = logging.getLogger(__name__)

STRIDE: Final = WINDOW // 2
"""A strip longer than a window gives several, half a window apart; they weigh together as one strip."""


@dataclass(frozen=True, slots=True, eq=False)
class Strips:
    """A row for each window. `strip[i]`: whose it is; `names`, `labels` (places in `LABELS`): of the strips."""

    rows: Floats  # (n, len(NAMES)); zeros where not judged
    judged: npt.NDArray[np.bool_]
    strip: npt.NDArray[np.int64]
    names: tuple[str, ...]
    labels: npt.NDArray[np.int64]
    skipped: tuple[tuple[str, str], ...]


def references(folder: Path) -> dict[str, str]:
    """Label of each strip in `REFERENCE.csv`. Raises `SetupError` when there is none."""
    try:
        with (folder / "REFERENCE.csv").open(newline="") as file:
            return {row[0]: row[1] for row in csv.reader(file) if len(row) > 1 and row[1] in LABELS}
    except OSError as error:
        raise SetupError(
            f"{folder / 'REFERENCE.csv'}: {error.strerror or error}",
            hint="point at a folder with the strips of the PhysioNet Challenge 2017 and their REFERENCE.csv",
        ) from error


def read(folder: Path, classifier: BeatClassifier) -> Strips:
    """Every strip of `folder`. A damaged one is skipped and named. Raises `SetupError` when none can be read."""
    wanted = references(folder)
    rows: list[Floats | None] = []
    strip, labels = list[int](), list[int]()
    names: list[str] = []
    skipped: list[tuple[str, str]] = []
    for name in sorted(wanted):
        try:
            found = [describe(window) for window in windows(*_signal(folder / name), classifier)]
        except (OSError, ValueError, IndexError, TypeError) as error:
            skipped.append((name, f"damaged: {type(error).__name__}"))
            log.warning("record_skipped", extra={"record": name, "error": str(error)})
            continue
        rows += found or [None]
        strip += [len(names)] * max(len(found), 1)
        names.append(name)
        labels.append(LABELS.index(wanted[name]))
    if not names:
        raise SetupError(f"{folder}: no strip that can be read", hint="get the strips (.hea, .mat) again")
    return Strips(
        np.array([row if row is not None else np.zeros(len(NAMES)) for row in rows]),
        np.array([row is not None for row in rows]),
        np.array(strip, dtype=np.int64),
        tuple(names),
        np.array(labels, dtype=np.int64),
        tuple(skipped),
    )


def _signal(path: Path) -> tuple[Floats, float]:
    import wfdb

    record = wfdb.rdrecord(str(path))
    return np.asarray(record.p_signal[:, 0], dtype=np.float64), float(record.fs)


def windows(signal_mv: Floats, fs_hz: float, classifier: BeatClassifier) -> Iterator[RhythmWindow]:
    """The windows of a strip, by the live path, from its start; the last ends at its end."""
    whole = heard(signal_mv, fs_hz, classifier)
    end = min(whole.buffer.end, round(signal_mv.size * FS_HZ / fs_hz))
    ends = [end] if end <= WINDOW + STRIDE // 2 else [*range(WINDOW, end, STRIDE)]
    if end - ends[-1] >= SHORTEST:
        ends.append(end)
    for at in ends:
        yield window_of(whole, at)


def heard(signal_mv: Floats, fs_hz: float, classifier: BeatClassifier) -> RhythmJudgeState:
    """A whole strip as a judge would hold it. Raises `ValueError` for a rate out of range."""
    analyser = LeadAnalyser.design(fs_hz)
    state, first = analyser.step(analyser.initial(), signal_mv)
    outputs = [first, analyser.finish(state)]
    buffer, beats, seconds = CleanBuffer.empty(), list[ClassifiedBeat](), list[tuple[int, int, bool]]()
    memory = classifier.initial()
    for out in outputs:
        buffer = buffer.extended(out.clean_mv, out.clean_first)
        settled = int(out.settled_index * FS_HZ / fs_hz)
        memory, ready = classifier.step(memory, out.clean_mv, out.clean_first, out.peaks, settled, out.retracted)
        beats += ready
        seconds += [
            (round(one.first_index * FS_HZ / fs_hz), round(one.n_samples * FS_HZ / fs_hz), one.usable)
            for one in out.quality
        ]
    beats += classifier.finish(memory)[1]
    marks = [(beat.peak.clean_index, beat.symbol) for beat in beats]
    judge = RhythmJudge(None)
    whole = judge.initial()
    held, _ = judge.step(whole, np.empty(0), 0, marks, (), seconds)
    return RhythmJudgeState(buffer, held.beats, held.seconds, 0)
