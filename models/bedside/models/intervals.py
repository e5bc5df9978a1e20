"""Beat times of other people, without a signal: what an S head learns of rhythms beyond the recordings.

Two sources, both optional: annotated beats of the St Petersburg INCART database (`beat_labels/I*.atr`), and
machine-marked beats within expert-marked atrial fibrillation of the MIT-BIH AF database (`afdb_rr.npz`),
where no beat is an early one however early it looks.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Final, TypeAlias

import numpy as np
import numpy.typing as npt

from bedside.models.augment import thinned
from bedside.models.corpus import AAMI, Labels
from bedside.models.features import NAMES, Int8s, Memory, quantised
from bedside.models.tempo import RR_NAMES
from bedside.models.windows import FS_HZ as CLEAN_HZ
from bedside.models.windows import RR_MAX

log = logging.getLogger(__name__)
Samples: TypeAlias = npt.NDArray[np.int64]

AFDB_HZ: Final = 250.0
AF_BEATS: Final = 2500  # of each record, from shortly before its first fibrillation on
AF_LEAD_IN: Final = 400
AF_BEATS_MIN: Final = 500


@dataclass(frozen=True, slots=True, eq=False)
class Rhythm:
    """Intervals of one recording. `rows`: int8 (n, len(RR_NAMES)); `labels`: N or S."""

    name: str
    rows: Int8s
    labels: Labels


def read(folder: Path) -> tuple[Rhythm, ...]:
    """What `folder` has of both sources; a damaged file is skipped and logged."""
    rhythms: list[Rhythm] = []
    for path in sorted((folder / "beat_labels").glob("I*.atr")):
        try:
            rhythms.extend(_annotated(path))
        except (OSError, ValueError, IndexError, TypeError) as error:
            log.warning("record_skipped", extra={"record": path.stem, "error": type(error).__name__})
    fibrillation = folder / "afdb_rr" / "afdb_rr.npz"
    if fibrillation.is_file():
        rhythms.extend(_fibrillating(fibrillation))
    return tuple(rhythms)


def _annotated(path: Path) -> list[Rhythm]:
    import wfdb

    annotation = wfdb.rdann(str(path.with_suffix("")), "atr")
    beats = [
        (at, AAMI[symbol]) for at, symbol in zip(annotation.sample, annotation.symbol, strict=True) if symbol in AAMI
    ]
    labels = np.array([symbol for _, symbol in beats], dtype=np.str_)
    rate_hz = float(annotation.fs or 257.0)  # INCART: 257 Hz
    name, times = f"incart_{path.stem}", np.array([at for at, _ in beats], dtype=np.int64)
    return [_rhythm(name, times, rate_hz, labels), *_thinned(name, times, rate_hz, labels)]


def _fibrillating(path: Path) -> list[Rhythm]:
    rhythms = []
    with np.load(path, allow_pickle=False) as data:
        for key in sorted(name for name in data.files if name.startswith("qrs_")):
            record = key.removeprefix("qrs_")
            times, starts, names = data[key], data[f"rs_{record}"], data[f"rl_{record}"]
            at = np.searchsorted(starts, times, "right") - 1
            inside = (at >= 0) & (np.char.find(names.astype(np.str_)[np.maximum(at, 0)], "AFIB") >= 0)
            if inside.sum() < AF_BEATS_MIN:
                continue
            first = max(int(np.flatnonzero(inside)[0]) - AF_LEAD_IN, 0)
            part = slice(first, first + AF_BEATS)
            rhythms.append(_rhythm(f"afdb_{record}", times[part], AFDB_HZ, np.where(inside, "N", "?")[part]))
    return rhythms


def _rhythm(name: str, times: Samples, rate_hz: float, labels: Labels) -> Rhythm:
    memory, rows, kept = Memory(), [], []
    intervals_s = np.diff(times) / rate_hz
    odd = np.isin(labels[1:], list("VF"))
    for rr_s, label, unusual in zip(intervals_s.tolist(), labels[1:].tolist(), odd.tolist(), strict=True):
        if not 0 < rr_s <= RR_MAX / CLEAN_HZ:
            memory.skip(None)
            continue
        row = memory.intervals_only(rr_s, unusual)
        if label in "NS":
            rows.append(row)
            kept.append(label)
    whole = np.zeros((len(rows), len(NAMES)))
    if rows:
        whole[:, : len(RR_NAMES)] = np.stack(rows)
    return Rhythm(name, quantised(whole)[:, : len(RR_NAMES)], np.array(kept, dtype=np.str_))


def _thinned(name: str, times: Samples, rate_hz: float, labels: Labels) -> list[Rhythm]:
    """The same recording with its calm stretches cut out, if it has S beats enough."""
    intervals_s = np.diff(times) / rate_hz
    intervals_s[(intervals_s <= 0) | (intervals_s > RR_MAX / CLEAN_HZ)] = np.nan
    found = thinned(intervals_s, labels[1:], np.isin(labels[1:], list("VF")))
    if found is None:
        return []
    mine = labels[1:][found.at]
    asked = np.isin(mine, ["N", "S"])
    return [Rhythm(f"thinned_{name}", found.rows[asked], mine[asked])]
