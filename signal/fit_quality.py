"""Fit the line that weighs measures of noise in the quality index, and show what each threshold would give.

    python signal/fit_quality.py DIR

DIR holds `cinc2017` (strips of one lead, the noisy class `~`), `cinc2011` (strips of three leads, judged by a panel),
`mitdb` and `nstdb`. Each goes through the live lead analyser, whose measures of each second are kept; seconds with a
gross fault and the first three of a strip teach nothing. Only the records that `split.toml` names are used:

- strips of one lead: every second of a noisy one is noise, of any other none;
- clean records, and with real noise (first half) from 12 dB up: none; with electrode motion or muscle at 0 dB and
  below: noise; what lies between may be either and is left out;
- strips of a panel: the panel saw twelve leads, here are three. All seconds of good strips are none; of a bad strip
  only the worst lead counts, and only where the line so far calls it noise itself (three rounds).

Each kind weighs the same, and within it both classes. Logistic regression; a measure that would get a weight below 0
gets none. Prints `WEIGHTS` for `bedside/signal/quality.py` and a table for thresholds, on development records alone.
"""

from __future__ import annotations

import argparse
import sys
import tomllib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
import wfdb

from bedside.signal import quality
from bedside.signal.lead import LeadAnalyser

Floats = npt.NDArray[np.float64]
PANEL_MV_PER_COUNT, PANEL_HZ = 0.005, 250.0
NOISES = ("bw", "em", "ma")
SNR_DB = (24, 18, 12, 6, 0, -6)
NOISE_S = 180
SETTLED_S = 3
ROUNDS = 3
RIDGE = 1e-4
REJECTED_SHARE = 0.25  # of a strip's seconds: it is called bad


class Watching(LeadAnalyser):
    """A lead analyser that keeps each second's measures, the second detector's always, and whether a fault is gross."""

    rows: ClassVar[list[tuple[bool, quality.Measures | None]]] = []

    def _judged(
        self, state: quality.QualityState, second: quality.Second
    ) -> tuple[quality.QualityState, quality.Verdict]:
        _, gross, measures = quality.examine(state, second, ask_from=-np.inf)
        self.rows.append((gross.usable, measures))
        return super()._judged(state, second)


@dataclass(frozen=True, eq=False)
class Seconds:
    """Measures (n, 5) of a lead's seconds after the first three; NaN where there is nothing to weigh (`gross`: why)."""

    measures: Floats
    gross: npt.NDArray[np.bool_]

    def known(self) -> Floats:
        rows: Floats = self.measures[np.isfinite(self.measures[:, 0])]
        return rows


def seconds(lead_mv: Floats, fs_hz: float) -> Seconds:
    """What the live path measures."""
    Watching.rows.clear()
    design = Watching.design(fs_hz)
    design.step(design.initial(), lead_mv)
    rows = Watching.rows[SETTLED_S:]
    nothing = (np.nan,) * len(quality.Measures._fields)
    measures = [tuple(one) if fine and one is not None else nothing for fine, one in rows]
    return Seconds(np.array(measures).reshape(-1, len(nothing)), np.array([not fine for fine, _ in rows], np.bool_))


# Material: (seconds of each lead, is it noise)


def strips_of_one_lead(folder: Path, last: int) -> Iterable[tuple[Seconds, bool]]:
    """Challenge 2017."""
    for line in (folder / "REFERENCE.csv").read_text().splitlines():
        name, label = line.split(",")[:2]
        if int(name[1:]) <= last:
            record = wfdb.rdrecord(str(folder / name))
            yield seconds(np.asarray(record.p_signal[:, 0], np.float64), float(record.fs)), label.strip() == "~"


def strips_of_a_panel(folder: Path, last: int) -> Iterable[tuple[list[Seconds], bool]]:
    """Challenge 2011."""
    with np.load(next(folder.glob("*.npz")), allow_pickle=False) as held:
        samples, records, acceptable = held["samples"], held["record"], held["acceptable"]
    for leads, record, fine in zip(samples, records, acceptable, strict=True):
        if int(str(record)) <= last:
            yield [seconds(lead.astype(np.float64) * PANEL_MV_PER_COUNT, PANEL_HZ) for lead in leads], not bool(fine)


def clean_and_noisy(folder: Path, noises: Path, last: int) -> Iterable[tuple[Seconds, str, int]]:
    """MIT-BIH records, name `clean`, and their first minutes with each noise at each SNR (as program nst scales)."""
    noise_mv = {name: wfdb.rdrecord(str(noises / name)).p_signal[:, 0] for name in NOISES}
    for k, path in enumerate(sorted(folder.glob("*.atr"))):
        if int(path.stem) > last:
            continue
        record = wfdb.rdrecord(str(path.with_suffix("")))
        lead_mv, fs_hz = np.asarray(record.p_signal[:, 0], np.float64), float(record.fs)
        yield seconds(lead_mv, fs_hz), "clean", 99
        peaks = wfdb.rdann(str(path.with_suffix("")), "atr", sampto=round(NOISE_S * fs_hz)).sample
        lead_mv, reach = lead_mv[: round(NOISE_S * fs_hz)], round(0.05 * fs_hz)
        heights = [np.ptp(lead_mv[at - reach : at + reach]) for at in peaks if reach <= at < lead_mv.size - reach]
        for name, whole in noise_mv.items():
            start = (k * 7919 * 360) % (whole.size // 2 - lead_mv.size)
            part = whole[start : start + lead_mv.size]
            power = np.mean([np.var(one) for one in np.array_split(part, NOISE_S)])
            for snr_db in SNR_DB:
                gain = np.sqrt(np.median(heights) ** 2 / 8 / power / 10 ** (snr_db / 10))
                yield seconds(lead_mv + gain * (part - part[0]), fs_hz), name, snr_db


# The line


def balanced(fine: Sequence[Floats], noise: Sequence[Floats]) -> tuple[Floats, Floats, Floats]:
    """Rows, class and weight; both classes weigh 0.5."""
    good, bad = np.vstack(fine), np.vstack(noise)
    weight = np.r_[np.full(len(good), 0.5 / len(good)), np.full(len(bad), 0.5 / len(bad))]
    return np.vstack((good, bad)), np.r_[np.zeros(len(good)), np.ones(len(bad))], weight


def fitted(kinds: Sequence[tuple[Floats, Floats, Floats]]) -> Floats:
    """A constant and the weights, by Newton's method; weights below 0 are left out one by one, the least first."""
    rows, noise, weight = (np.concatenate([kind[k] for kind in kinds]) for k in range(3))
    kept = list(range(rows.shape[1]))
    while True:
        line = _newton(np.hstack((np.ones((len(rows), 1)), rows[:, kept])), noise, weight)
        worst = int(np.argmin(line[1:]))
        if line[1:][worst] >= 0:
            break
        del kept[worst]
    whole = np.zeros(rows.shape[1] + 1)
    whole[[0, *(1 + k for k in kept)]] = line
    return whole


def _newton(rows: Floats, noise: Floats, weight: Floats) -> Floats:
    line = np.zeros(rows.shape[1])
    ridge = RIDGE * float(weight.sum()) * np.diag(np.r_[0.0, np.ones(len(line) - 1)])
    for _ in range(30):
        share = 1.0 / (1.0 + np.exp(-np.clip(rows @ line, -30.0, 30.0)))
        curved = (rows * (weight * share * (1.0 - share))[:, None]).T @ rows + ridge
        line += np.linalg.solve(curved, rows.T @ (weight * (noise - share)) - ridge @ line)
    return line


def odds(line: Floats, seen: Seconds) -> Floats:
    """ln(odds) of noise of each second; certain where a fault is gross, none where there is nothing to weigh."""
    weighed = line[0] + seen.measures @ line[1:]
    return np.where(seen.gross, np.inf, np.where(np.isnan(weighed), -np.inf, weighed))


def with_panel(kinds: list[tuple[Floats, Floats, Floats]], panel: Sequence[tuple[list[Seconds], bool]]) -> Floats:
    """The line with the panel's strips too, each bad one by its worst lead."""
    line = fitted(kinds)
    fine = [lead.known() for leads, bad in panel if not bad for lead in leads]
    for _ in range(ROUNDS):
        noise = []
        for leads, bad in panel:
            worst = max(leads, key=lambda lead: _mean(line[0] + lead.known() @ line[1:]))
            if bad and _mean(line[0] + worst.known() @ line[1:]) > 0.0:
                noise.append(worst.known())
        line = fitted([*kinds, balanced(fine, noise)])
    return line


def _mean(values: Floats) -> float:
    return float(values.mean()) if values.size else -np.inf


# The command


def main(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("folder", type=Path)
    folder = parser.parse_args(arguments).folder
    split: dict[str, Any] = tomllib.loads((Path(__file__).parent / "split.toml").read_text())["quality"]
    strips = list(strips_of_one_lead(folder / "cinc2017", split["noisy_to"]))
    panel = list(strips_of_a_panel(folder / "cinc2011", split["panel_to"]))
    noisy = list(clean_and_noisy(folder / "mitdb", folder / "nstdb", split["clean_to"]))
    kinds = [
        balanced([one.known() for one, bad in strips if not bad], [one.known() for one, bad in strips if bad]),
        balanced(
            [one.known() for one, _, snr_db in noisy if snr_db >= 12],
            [one.known() for one, name, snr_db in noisy if name != "bw" and snr_db <= 0],
        ),
    ]
    line = with_panel(kinds, panel)
    say = sys.stdout.write
    say("WEIGHTS = (" + ", ".join(f"{one:.2f}" for one in line) + ")\n")
    say("REJECT  strips: sensitivity, specificity  panel: the same  clean, em, ma at 6, 0, -6 dB: rejected %\n")
    for threshold in (1.5, 2.0, 2.25, 2.5, 2.75, 3.0, 3.5):
        called = [((odds(line, one) > threshold).mean() > REJECTED_SHARE, bad) for one, bad in strips]
        judged = [(max((odds(line, one) > threshold).mean() for one in leads) > REJECTED_SHARE, bad)
                  for leads, bad in panel]  # fmt: skip
        shares = [_share(line, threshold, noisy, "clean", 99)]
        shares += [_share(line, threshold, noisy, name, snr_db) for name in ("em", "ma") for snr_db in (6, 0, -6)]
        pairs = [f"{sens:.3f} {spec:.3f}" for sens, spec in (_right(called), _right(judged))]
        say(f"{threshold:.2f}    {pairs[0]}  {pairs[1]}  " + " ".join(f"{100 * one:.2f}" for one in shares) + "\n")
    return 0


def _right(called: Sequence[tuple[bool, bool]]) -> tuple[float, float]:
    """Sensitivity and specificity."""
    noise, fine = [call for call, bad in called if bad], [call for call, bad in called if not bad]
    return float(np.mean(noise)), 1.0 - float(np.mean(fine))


def _share(line: Floats, threshold: float, noisy: Sequence[tuple[Seconds, str, int]], name: str, snr_db: int) -> float:
    chosen = [odds(line, one) > threshold for one, kind, level in noisy if kind == name and level == snr_db]
    return float(np.mean(np.concatenate(chosen)))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
