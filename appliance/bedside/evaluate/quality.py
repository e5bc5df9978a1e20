"""The quality index against people's: strips that a panel judged, a noisy class, real noise on clean leads.

Each folder is recognised by what it holds: an `.npz` of strips with a panel's verdicts (PhysioNet Challenge 2011), a
`REFERENCE.csv` with a noisy class `~` (Challenge 2017), records with experts' beats (`.atr`), or the noises of the
Noise Stress Test (`bw`, `em`, `ma`), which are added to the records given beside them. Every strip goes through the
live `LeadAnalyser`. How seconds become a strip's verdict is stated in `STRIP_RULE`.

What was used for development and what was only judged is fixed here by record: see `is_development`.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import scipy.stats as sps

from bedside.core.errors import SetupError
from bedside.core.samples import MISSING, Floats
from bedside.evaluate.beats import WINDOW_S, Indices, Marks, figures, match, read_marks
from bedside.evaluate.recordings import Recording, open_recording
from bedside.signal.lead import LeadAnalyser, QualitySecond

PANEL_DEVELOPMENT_TO = 2_085_388  # Challenge 2011: record numbers up to this one
NOISY_DEVELOPMENT_TO = 4_186  # Challenge 2017: A04186
CLEAN_DEVELOPMENT_TO = 199  # MIT-BIH: the 100 series; with the first half of each noise
PANEL_MV_PER_COUNT = 0.005  # Challenge 2011: 16 bit, 5 µV
PANEL_HZ = 250.0
STRIP_REJECTED_SHARE = 0.25
STRIP_RULE = (
    "a strip is called bad when more than 25 % of the seconds of its worst lead are rejected; its score, for the AUC, "
    "is the mean score of its worst lead's seconds (the first second, in which filters settle, is left out)"
)
NOISES = ("bw", "em", "ma")
SNR_DB = (24, 18, 12, 6, 0, -6)
NOISE_S = 180.0
BOOTSTRAPS = 1000


def is_development(kind: str, record: str) -> bool:
    """Was this record used when the index was made? `kind`: panel, noisy, clean. Split by record number, once."""
    number = int("".join(one for one in record if one.isdigit()))
    to = {"panel": PANEL_DEVELOPMENT_TO, "noisy": NOISY_DEVELOPMENT_TO, "clean": CLEAN_DEVELOPMENT_TO}[kind]
    return number <= to


@dataclass(frozen=True, slots=True)
class Strip:
    """A judged strip. `bad`: what people said; `score`, `rejected`: the index's, of its worst lead."""

    record: str
    bad: bool
    score: float
    rejected: float


@dataclass(frozen=True, slots=True)
class Believed:
    """Beats of one record, and how many of them lie in seconds that the index rejects."""

    record: str
    seconds: int
    rejected: int
    all_beats: tuple[int, int, int]  # TP, FN, FP
    accepted_beats: tuple[int, int, int]


# Strips


def judged(lead_mv: Floats, fs_hz: float) -> tuple[QualitySecond, ...]:
    """The live path's verdicts on the whole seconds of a lead, shape (n,), mV."""
    design = LeadAnalyser.design(fs_hz)
    state, out = design.step(design.initial(), lead_mv)
    late = design.finish(state)
    return (*out.quality, *late.quality)


def strip(record: str, bad: bool, leads_mv: Sequence[Floats], fs_hz: float) -> Strip:
    """A strip's score and rejected share by `STRIP_RULE`."""
    scores, rejected = [], []
    for lead_mv in leads_mv:
        seconds = judged(lead_mv, fs_hz)[1:]
        scores.append(float(np.mean([one.score for one in seconds])) if seconds else 0.0)
        rejected.append(float(np.mean([not one.usable for one in seconds])) if seconds else 1.0)
    return Strip(record, bad, min(scores), max(rejected))


def panel_strips(folder: Path) -> Iterator[Strip]:
    """Strips of the `.npz` files in `folder`: `samples` (n, leads, m), `record` (n,), `acceptable` (n,)."""
    for path in sorted(folder.glob("*.npz")):
        with np.load(path, allow_pickle=False) as held:
            try:
                samples, records, acceptable = held["samples"], held["record"], held["acceptable"]
            except KeyError as error:
                raise SetupError(f"{path}: no {error.args[0]}", hint="give a folder of judged strips") from error
        for leads, record, fine in zip(samples, records, acceptable, strict=True):
            leads_mv = [lead.astype(np.float64) * PANEL_MV_PER_COUNT for lead in leads]
            yield strip(str(record), not bool(fine), leads_mv, PANEL_HZ)


def noisy_strips(folder: Path) -> Iterator[Strip]:
    """Strips named in `folder/REFERENCE.csv`; class `~` is bad."""
    for line in (folder / "REFERENCE.csv").read_text().splitlines():
        record, label = (part.strip() for part in line.split(",")[:2])
        if (folder / f"{record}.hea").is_file():
            lead_mv, fs_hz = _lead(open_recording(folder / record))
            yield strip(record, label == "~", [lead_mv], fs_hz)


def discrimination(strips: Sequence[Strip], seed: int = 1) -> dict[str, Any]:
    """AUC, sensitivity to bad strips, specificity and accuracy, each with its 95 % bootstrap interval over strips."""
    bad = np.array([one.bad for one in strips])
    score = np.array([one.score for one in strips])
    called = np.array([one.rejected > STRIP_REJECTED_SHARE for one in strips])
    rng = np.random.default_rng(seed)

    def measure(chosen: Indices) -> tuple[float, float, float, float]:
        b, s, c = bad[chosen], score[chosen], called[chosen]
        if not b.any() or b.all():
            return (float("nan"),) * 4
        return auc(b, -s), float(c[b].mean()), float((~c[~b]).mean()), float((c == b).mean())

    point = measure(np.arange(bad.size))
    drawn = np.array([measure(rng.integers(0, bad.size, bad.size)) for _ in range(BOOTSTRAPS)])
    names = ("auc", "sensitivity", "specificity", "accuracy")
    document: dict[str, Any] = {"strips": int(bad.size), "bad": int(bad.sum())}
    for k, name in enumerate(names):
        low, high = (float(one) for one in np.nanquantile(drawn[:, k], (0.025, 0.975)))
        document[name] = [round(point[k], 4), round(low, 4), round(high, 4)]
    return document


def auc(bad: np.ndarray[Any, np.dtype[np.bool_]], score: Floats) -> float:
    """Chance that a bad strip scores higher than a good one; ties count half."""
    ranks = sps.rankdata(score)
    n_bad = int(bad.sum())
    return float((ranks[bad].sum() - 0.5 * n_bad * (n_bad + 1)) / (n_bad * (bad.size - n_bad)))


# Records with beats, and noise


def believed(path: Path) -> Believed:
    """How much of a record is rejected, and how beats are found in it and in what is accepted of it."""
    lead_mv, fs_hz = _lead(open_recording(path))
    marks = read_marks(path, "atr")
    design = LeadAnalyser.design(fs_hz)
    state, out = design.step(design.initial(), lead_mv)
    late = design.finish(state)
    taken_back = {*out.retracted, *late.retracted}
    peaks = np.array(
        sorted({peak.index for peak in (*out.peaks, *late.peaks) if peak.index not in taken_back}), dtype=np.int64
    )
    seconds = (*out.quality, *late.quality)
    holes = [(one.first_index, one.first_index + one.n_samples) for one in seconds if not one.usable]
    return Believed(
        path.name, len(seconds), len(holes), _tally(marks, peaks, (), fs_hz), _tally(marks, peaks, holes, fs_hz)
    )


def _tally(marks: Marks, peaks: Indices, holes: Sequence[tuple[int, int]], fs_hz: float) -> tuple[int, int, int]:
    """TP, FN, FP; beats whose place (the expert's where there is one) lies in a hole or in flutter are left out."""
    left_out = (*holes, *marks.flutter)

    def inside(at: int) -> bool:
        return any(first <= at < end for first, end in left_out)

    tp = fn = fp = 0
    for i, j in match(marks.samples, peaks, WINDOW_S * fs_hz):
        at = int(marks.samples[i]) if i is not None else int(peaks[j]) if j is not None else 0
        if not inside(at):
            tp, fn, fp = tp + (i is not None and j is not None), fn + (j is None), fp + (i is None)
    return tp, fn, fp


def rejected_by_noise(clean: Path, noises: Path) -> dict[str, list[float]]:
    """Share of the seconds rejected when each noise is added to the first three minutes of a record, by `SNR_DB`.

    Scaled as the Noise Stress Test does (program nst): signal power from the median QRS height, peak to peak squared
    over 8; noise power as the mean variance of its seconds. The 200 series takes the noises' second halves.
    """
    lead_mv, fs_hz = _lead(open_recording(clean))
    lead_mv = lead_mv[: round(NOISE_S * fs_hz)]
    at = read_marks(clean, "atr").samples
    reach = round(0.05 * fs_hz)
    heights = [float(np.ptp(lead_mv[k - reach : k + reach])) for k in at if reach <= k < lead_mv.size - reach]
    if not heights:
        raise SetupError(f"{clean}: no beats in its first minutes", hint="give records with beats")
    shares: dict[str, list[float]] = {}
    for name in NOISES:
        noise_mv, noise_hz = _lead(open_recording(noises / name), name="noise1")
        if noise_hz != fs_hz:
            raise SetupError(f"{clean}: {fs_hz:g} samples a second, the noise {noise_hz:g}", hint="use MIT-BIH records")
        half = noise_mv.size // 2
        start = random.Random(clean.name).randrange(half - lead_mv.size)  # noqa: S311 (a place, not a secret)
        start += 0 if is_development("clean", clean.name) else half
        part = noise_mv[start : start + lead_mv.size]
        power = float(np.mean([np.var(one) for one in np.array_split(part, round(NOISE_S))]))
        for snr_db in SNR_DB:
            gain = np.sqrt(float(np.median(heights)) ** 2 / 8 / power / 10 ** (snr_db / 10))
            seconds = judged(lead_mv + gain * (part - part[0]), fs_hz)[1:]
            shares.setdefault(name, []).append(float(np.mean([not one.usable for one in seconds])))
    return shares


def _lead(recording: Recording, name: str | None = None) -> tuple[Floats, float]:
    channel = recording.primary() if name is None else recording.channels[0]
    counts, _ = recording.read(channel, 0, recording.samples(channel))
    lead_mv = counts * channel.unit_per_count
    lead_mv[counts == MISSING] = np.nan
    return lead_mv, channel.rate_hz


# The command


def evaluate_folders(folders: Sequence[Path], say: Callable[[str], None]) -> dict[str, Any]:
    """Score whatever the folders hold. Raises `SetupError` when there is nothing to score."""
    document: dict[str, Any] = {"strip_rule": STRIP_RULE}
    clean: Path | None = None
    noises: Path | None = None
    for folder in folders:
        if (folder / "REFERENCE.csv").is_file():
            say(f"{folder}: strips with a noisy class")
            document["noisy"] = _by_part("noisy", list(noisy_strips(folder)))
        elif any(folder.glob("*.npz")):
            say(f"{folder}: strips judged by a panel")
            document["panel"] = _by_part("panel", list(panel_strips(folder)))
        elif all((folder / f"{one}.hea").is_file() for one in NOISES):
            noises = folder
        elif any(folder.glob("*.atr")):
            clean = folder
        else:
            raise SetupError(
                f"{folder}: nothing to score",
                hint="give folders as of Challenge 2011 (.npz), Challenge 2017 (REFERENCE.csv), MIT-BIH (.atr), NSTDB",
            )
    records = sorted(path.with_suffix("") for path in clean.glob("*.atr")) if clean is not None else []
    if records:
        say(f"{clean}: beats in what is accepted")
        document["clean"] = _clean([believed(path) for path in records])
    if noises is not None:
        if not records:
            raise SetupError(f"{noises}: noise alone", hint="give the folder of clean records beside it")
        say(f"{noises}: noise on {clean}")
        document["noise"] = _noise(records, noises)
    return document


def _by_part(kind: str, strips: Sequence[Strip]) -> dict[str, Any]:
    if not strips:
        raise SetupError("no strips there", hint="give a folder that holds the records too")
    parts = {
        "judged": [one for one in strips if not is_development(kind, one.record)],
        "development": [one for one in strips if is_development(kind, one.record)],
    }
    return {name: discrimination(part) for name, part in parts.items() if part}


def _clean(rows: Sequence[Believed]) -> dict[str, Any]:
    document: dict[str, Any] = {}
    for name, wanted in (("judged", False), ("development", True)):
        part = [one for one in rows if is_development("clean", one.record) is wanted]
        if part:
            sums = [tuple(sum(one.all_beats[k] for one in part) for k in range(3))]
            sums.append(tuple(sum(one.accepted_beats[k] for one in part) for k in range(3)))
            document[name] = {
                "records": len(part),
                "rejected_share": round(sum(one.rejected for one in part) / sum(one.seconds for one in part), 5),
                "f1_all": figures(*sums[0]).f1,
                "f1_accepted": figures(*sums[1]).f1,
                "beats_left_out": sums[0][0] + sums[0][1] - sums[1][0] - sums[1][1],
                "errors_all": sums[0][1] + sums[0][2],
                "errors_accepted": sums[1][1] + sums[1][2],
                "worst": {one.record: one.rejected for one in sorted(part, key=lambda one: -one.rejected)[:4]},
            }
    return document


def _noise(records: Sequence[Path], noises: Path) -> dict[str, Any]:
    document: dict[str, Any] = {"snr_db": list(SNR_DB)}
    for name, wanted in (("judged", False), ("development", True)):
        part = [rejected_by_noise(one, noises) for one in records if is_development("clean", one.name) is wanted]
        if part:
            document[name] = {
                noise: [round(float(np.mean([one[noise][k] for one in part])), 4) for k in range(len(SNR_DB))]
                for noise in NOISES
            }
    return document


def as_table(document: dict[str, Any]) -> str:
    """Markdown."""
    lines: list[str] = []
    for kind, title in (("panel", "Strips judged by a panel"), ("noisy", "One lead, noisy class")):
        if kind in document:
            lines += [f"## {title}", "", "| records | strips | bad | AUC | sensitivity | specificity | accuracy |"]
            lines.append("| --- | --- | --- | --- | --- | --- | --- |")
            for part, row in document[kind].items():
                cells = [f"{row[one][0]:.3f} ({row[one][1]:.3f}–{row[one][2]:.3f})" for one in
                         ("auc", "sensitivity", "specificity", "accuracy")]  # fmt: skip
                lines.append(f"| {part} | {row['strips']} | {row['bad']} | " + " | ".join(cells) + " |")
            lines += ["", f"In brackets the 95 % bootstrap interval. Rule: {document['strip_rule']}.", ""]
    if "clean" in document:
        head = (
            "records",
            "n",
            "seconds rejected",
            "F1, all",
            "F1, accepted",
            "beats left out",
            "errors",
            "in accepted",
        )
        lines += ["## Clean records", "", "| " + " | ".join(head) + " |", "| --- " * len(head) + "|"]
        for part, row in document["clean"].items():
            cells = [f"{100 * row['rejected_share']:.2f} %", f"{row['f1_all']:.3f}", f"{row['f1_accepted']:.3f}"]
            cells += [str(row[one]) for one in ("beats_left_out", "errors_all", "errors_accepted")]
            lines.append(f"| {part} | {row['records']} | " + " | ".join(cells) + " |")
        lines.append("")
    if "noise" in document:
        snr = document["noise"]["snr_db"]
        lines += ["## Noise on clean records: share of seconds rejected", ""]
        lines += [
            "| records | noise | " + " | ".join(f"{one} dB" for one in snr) + " |",
            "| --- " * (2 + len(snr)) + "|",
        ]
        for part in ("judged", "development"):
            for noise, row in document["noise"].get(part, {}).items():
                lines.append(f"| {part} | {noise} | " + " | ".join(f"{100 * one:.0f} %" for one in row) + " |")
        lines.append("")
    return "\n".join(lines).rstrip()
