"""Recordings through the live path: what a model learns from, beat by beat, with experts' labels.

Reads WFDB records (extra `recordings`). Every row comes out of `LeadAnalyser` and `BeatDescriber`, as on
the box, so a model is trained on the beats that the beat finder finds, with its jitter and its mistakes.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Final, TypeAlias

import numpy as np
import numpy.typing as npt

from bedside.core.errors import SetupError
from bedside.models.beats import BeatDescriber, DescribedBeat
from bedside.models.features import Int8s
from bedside.models.windows import FS_HZ, Floats
from bedside.signal.lead import LeadAnalyser, LeadOutput

log = logging.getLogger(__name__)
Labels: TypeAlias = npt.NDArray[np.str_]

AAMI: Final = {
    **dict.fromkeys("NLRej", "N"),  # AAMI EC57: e and j are of class N
    **dict.fromkeys("AaJS", "S"),
    **dict.fromkeys("VE", "V"),
    "F": "F",
    **dict.fromkeys("/fQ", "Q"),
}
"""Class of each MIT-BIH beat symbol. What is not in it is no beat."""
ESCAPES: Final = frozenset("ej")
EXTRA: Final = "x"  # found, but no expert marked a beat there
MATCH_S: Final = 0.15  # ANSI/AAMI EC57: 150 ms
PACED: Final = frozenset({"102", "104", "107", "217"})  # EC57 4.1: records with paced beats are left out
SAME_PERSON: Final = {"202": "201"}
SWAPPED_LEADS: Final = frozenset({"114"})  # its first signal is V5, its second MLII
BLOCK_S: Final = 60


@dataclass(frozen=True, slots=True, eq=False)
class Lead:
    """One lead of one record: a row for every beat found, and its label."""

    record: str
    patient: str
    channel: int
    main: bool  # the lead that figures are taken from
    rows: Int8s  # (n, features); zeros where not judged
    judged: npt.NDArray[np.bool_]
    labels: Labels  # N S V F Q, or x: no beat there
    escapes: npt.NDArray[np.bool_]  # which of the N beats are e or j: supraventricular escapes to some, N to EC57
    variants: npt.NDArray[np.int64]  # number of the beat's variant, -1 where not judged
    rr_s: Floats  # NaN where not known
    missed: Labels  # labels of the experts' beats that were not found


@dataclass(frozen=True, slots=True)
class Corpus:
    """All leads that could be read, and what could not."""

    leads: tuple[Lead, ...]
    skipped: tuple[tuple[str, str], ...]  # record, reason

    @property
    def patients(self) -> tuple[str, ...]:
        return tuple(sorted({lead.patient for lead in self.leads}))


def read(folder: Path) -> Corpus:
    """Every annotated record of `folder` but the paced ones. A damaged record is skipped and named.

    Raises `SetupError` when the folder holds no record, or none that can be read.
    """
    names = sorted(path.stem for path in folder.glob("*.atr") if path.stem not in PACED)
    leads: list[Lead] = []
    skipped: list[tuple[str, str]] = [
        (name, "paced beats") for name in sorted(PACED) if (folder / name).with_suffix(".hea").exists()
    ]
    for name in names:
        try:
            leads.extend(_record(folder / name))
        except (OSError, ValueError, IndexError, TypeError) as error:
            skipped.append((name, f"damaged: {type(error).__name__}"))
            log.warning("record_skipped", extra={"record": name, "error": str(error)})
    if not leads:
        raise SetupError(
            f"{folder}: no annotated record that can be read",
            hint="point --data at a folder with WFDB records (.hea, .dat, .atr)",
        )
    return Corpus(tuple(leads), tuple(skipped))


def _record(path: Path) -> Iterable[Lead]:
    import wfdb

    record = wfdb.rdrecord(str(path))
    annotation = wfdb.rdann(str(path), "atr")
    flutter = _flutter(annotation.sample, annotation.symbol, round(MATCH_S * record.fs))
    beats = [
        (int(at), symbol)
        for at, symbol in zip(annotation.sample, annotation.symbol, strict=True)
        if symbol in AAMI and not _inside(at, flutter)
    ]
    reference = np.array([at for at, _ in beats], dtype=np.int64)
    symbols = np.array([symbol for _, symbol in beats], dtype=np.str_)
    signals = np.asarray(record.p_signal, dtype=np.float64)
    if signals.shape[0] < 10 * record.fs or reference.size == 0:
        raise ValueError("shorter than ten seconds, or without beats")
    main = 1 if path.name in SWAPPED_LEADS else 0
    return [
        _lead(path.name, channel, channel == main, signals[:, channel], float(record.fs), reference, symbols, flutter)
        for channel in range(signals.shape[1])
    ]


def _lead(
    name: str,
    channel: int,
    main: bool,
    signal_mv: Floats,
    fs_hz: float,
    reference: npt.NDArray[np.int64],
    symbols: Labels,
    flutter: list[tuple[int, int]],
) -> Lead:
    classes = np.array([AAMI[symbol] for symbol in symbols.tolist()], dtype=np.str_)
    beats = [beat for beat in described(signal_mv, fs_hz) if not any(a <= beat.peak.index <= b for a, b in flutter)]
    found = np.array([beat.peak.index for beat in beats], dtype=np.int64)
    partner = match(found, reference, round(MATCH_S * fs_hz))
    labels = np.where(partner >= 0, classes[np.maximum(partner, 0)], EXTRA)
    missed = np.delete(classes, partner[partner >= 0])
    n_features = next((beat.row.size for beat in beats if beat.row is not None), 0)
    rows = np.array(
        [beat.row if beat.row is not None else np.zeros(n_features, np.int8) for beat in beats], dtype=np.int8
    )
    judged = np.array([beat.row is not None for beat in beats], dtype=np.bool_)
    return Lead(
        record=name,
        patient=SAME_PERSON.get(name, name),
        channel=channel,
        main=main,
        rows=rows,
        judged=judged,
        labels=labels,
        escapes=(partner >= 0) & np.isin(symbols[np.maximum(partner, 0)], list(ESCAPES)),
        variants=np.array([beat.variant for beat in beats], dtype=np.int64),
        rr_s=np.array([np.nan if beat.rr_s is None else beat.rr_s for beat in beats]),
        missed=missed,
    )


def _flutter(samples: Iterable[int], symbols: Iterable[str], margin: int) -> list[tuple[int, int]]:
    """Spans of ventricular flutter or fibrillation (`[` to `]`): EC57 leaves them out of beat-by-beat figures."""
    spans: list[tuple[int, int]] = []
    start: int | None = None
    for at, symbol in zip(samples, symbols, strict=True):
        if symbol == "[":
            start = int(at)
        elif symbol == "]" and start is not None:
            spans.append((start - margin, int(at) + margin))
            start = None
    return spans


def _inside(at: int, spans: list[tuple[int, int]]) -> bool:
    return any(start <= at <= end for start, end in spans)


def described(signal_mv: Floats, fs_hz: float) -> list[DescribedBeat]:
    """All beats of one lead, by the live path, in blocks of a minute. Raises `ValueError` for a rate out of range."""
    analyser, describer = LeadAnalyser.design(fs_hz), BeatDescriber()
    lead_state, state = analyser.initial(), describer.initial()
    beats: list[DescribedBeat] = []

    def describe(out: LeadOutput) -> None:
        nonlocal state
        settled = int(out.settled_index * FS_HZ / fs_hz)
        state, ready = describer.step(state, out.clean_mv, out.clean_first, out.peaks, settled, out.retracted)
        beats.extend(ready)

    step = round(BLOCK_S * fs_hz)
    for start in range(0, signal_mv.size, step):
        lead_state, out = analyser.step(lead_state, signal_mv[start : start + step])
        describe(out)
    describe(analyser.finish(lead_state))
    beats.extend(describer.finish(state)[1])
    return beats


def match(found: npt.NDArray[np.int64], reference: npt.NDArray[np.int64], tolerance: int) -> npt.NDArray[np.int64]:
    """For each found beat the index of its reference beat, or -1. Each reference beat is taken once.

    Pairs are made closest first, both arrays ascending, distance at most `tolerance` samples.
    """
    pairs: list[tuple[int, int, int]] = []
    for i, at in enumerate(found.tolist()):
        start, stop = np.searchsorted(reference, [at - tolerance, at + tolerance + 1])
        pairs.extend((abs(int(reference[j]) - at), i, j) for j in range(start, stop))
    partner = np.full(found.size, -1, dtype=np.int64)
    taken: set[int] = set()
    for _, i, j in sorted(pairs):
        if partner[i] < 0 and j not in taken:
            partner[i] = j
            taken.add(j)
    return partner
