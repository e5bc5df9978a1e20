"""Fit the line that tells fibrillation from other irregular rhythms by RR intervals, and show how it does.

    python signal/fit_irregularity.py DIR [--leave-out]

DIR holds `afdb_rr/afdb_rr.npz` (18 records, experts' rhythm, machine's beats) and `beat_labels` (INCART `I*.atr`,
`nsrdb.npz`): people whose rhythm is taken for no fibrillation; intervals beside ventricular and fusion beats are left
out, as on the box. Windows that are neither fibrillation nor free of it by nine tenths teach nothing, nor do those
with flutter or junctional rhythm. Logistic regression, ridge 10 on standardised measures. Prints weights and bias for
`bedside/signal/irregularity.py`, and Se, +P and specificity by duration through its `step`. With `--leave-out` each
sixth of the recordings is judged by a line fitted to the other five: the honest figures.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import wfdb

from bedside.signal import irregularity

Floats = npt.NDArray[np.float64]
RR_S = (0.2, 2.5)
CLASS_OF = {**dict.fromkeys("NLRejAaJSQ/f", "N"), **dict.fromkeys("VEF", "V")}
NEUTRAL = ("AFL", "J")
ROWS = 40_000
RIDGE = 10.0
SIXTHS = 6


@dataclass(frozen=True, eq=False)
class Person:
    """Intervals in order, when each ended (s), and the rhythm there: True AF, False none; `asked` where it counts."""

    name: str
    rr_s: Floats
    ends_s: Floats
    fibrillates: npt.NDArray[np.bool_]
    asked: npt.NDArray[np.bool_]


def people(folder: Path) -> list[Person]:
    """Everyone in `folder`."""
    found = []
    with np.load(folder / "afdb_rr" / "afdb_rr.npz", allow_pickle=False) as data:
        for key in sorted(name for name in data.files if name.startswith("qrs_")):
            record = key.removeprefix("qrs_")
            names = [str(one).strip("\x00 (") for one in data[f"rl_{record}"]]
            found.append(_person(f"afdb {record}", data[key], "N" * data[key].size, 250.0, data[f"rs_{record}"], names))
    with np.load(folder / "beat_labels" / "nsrdb.npz", allow_pickle=False) as data:
        for key in sorted(name for name in data.files if name.startswith("t_")):
            codes = data["s_" + key.removeprefix("t_")]
            beat = np.isin(codes, [ord(one) for one in "NSVF"])
            times = np.cumsum(data[key].astype(np.int64))[beat]
            symbols = "".join(chr(one) for one in codes[beat]).replace("F", "V")
            found.append(_person(f"nsr {key.removeprefix('t_')}", times, symbols, 128.0, np.zeros(1), ["N"]))
    for path in sorted((folder / "beat_labels").glob("I*.atr")):
        marks: Any = wfdb.rdann(str(path.with_suffix("")), "atr")
        pairs = [(at, CLASS_OF[one]) for at, one in zip(marks.sample, marks.symbol, strict=True) if one in CLASS_OF]
        times = np.array([at for at, _ in pairs], dtype=np.int64)
        symbols = "".join(symbol for _, symbol in pairs)
        found.append(_person(f"incart {path.stem}", times, symbols, 257.0, np.zeros(1), ["N"]))
    return found


def _person(
    name: str, times: npt.NDArray[np.int64], symbols: str, fs_hz: float, starts: Floats, rhythms: list[str]
) -> Person:
    rr_s = np.diff(times) / fs_hz
    ventricular = np.array(list(symbols)) == "V"
    keep = ~ventricular[1:] & ~ventricular[:-1] & (rr_s > RR_S[0]) & (rr_s < RR_S[1])
    at = np.searchsorted(starts, times[1:], "right") - 1
    here = np.array(rhythms)[np.maximum(at, 0)]
    return Person(
        name, rr_s[keep], times[1:][keep] / fs_hz, (here == "AFIB")[keep], (~np.isin(here, NEUTRAL) & (at >= 0))[keep]
    )


def rows(person: Person, every: int) -> tuple[Floats, npt.NDArray[np.bool_]]:
    """Measures of every `every`th window that is nearly all or nearly nothing fibrillation, and which."""
    out, truth = [], []
    for end in range(irregularity.WINDOW, person.rr_s.size + 1, every):
        part = slice(end - irregularity.WINDOW, end)
        share = float(person.fibrillates[part].mean())
        if person.asked[part].all() and not 0.1 < share < 0.9:
            out.append(irregularity.numbers(person.rr_s[part]))
            truth.append(share > 0.5)
    return np.array(out).reshape(-1, len(irregularity.NAMES)), np.array(truth, dtype=np.bool_)


def fit(x: Floats, truth: npt.NDArray[np.bool_]) -> tuple[tuple[float, ...], float]:
    """Weights and bias by Newton's method, in the measures' own units."""
    middle, spread = x.mean(axis=0), x.std(axis=0) + 1e-9
    scaled = np.column_stack([(x - middle) / spread, np.ones(len(x))])
    weights = np.zeros(scaled.shape[1])
    ridge = np.diag([RIDGE] * x.shape[1] + [0.0])
    for _ in range(25):
        p = 1.0 / (1.0 + np.exp(-(scaled @ weights)))
        slope = scaled.T @ (p - truth) + ridge @ weights
        curve = (scaled * (p * (1 - p))[:, None]).T @ scaled + ridge
        weights -= np.linalg.solve(curve, slope)
    own = weights[:-1] / spread
    return tuple(round(float(one), 3) for one in own), round(float(weights[-1] - middle @ own), 3)


def said(person: Person) -> npt.NDArray[np.bool_]:
    """Where the analysis says fibrillation, interval by interval."""
    state = irregularity.IrregularityState()
    spans: list[tuple[int, int]] = []
    for rr_s, end_s in zip(person.rr_s.tolist(), person.ends_s.tolist(), strict=True):
        before = state
        end = round(end_s * 250)
        state = irregularity.step(irregularity.expire(state, end, 250.0), rr_s, end, 250.0)
        if before.onset is not None and state.onset is None and state.ended is not None:
            spans.append((before.onset, state.ended))
    if state.onset is not None:
        spans.append((state.onset, round(float(person.ends_s[-1]) * 250)))
    at = np.rint(person.ends_s * 250)
    here = np.zeros(at.size, dtype=np.bool_)
    for first, last in spans:
        here |= (at > first) & (at <= last)
    return here


def figures(judged: Sequence[tuple[Person, npt.NDArray[np.bool_]]]) -> str:
    """Se and +P of those who fibrillate, specificity of the others, by duration."""
    lines = []
    for source in ("afdb", "nsr", "incart"):
        both = truth = mine = rest = quiet = 0.0
        for person, here in judged:
            if person.name.startswith(source):
                rr_s, asked = person.rr_s, person.asked
                both += float(rr_s[asked & here & person.fibrillates].sum())
                truth += float(rr_s[asked & person.fibrillates].sum())
                mine += float(rr_s[asked & here].sum())
                rest += float(rr_s[asked & ~person.fibrillates].sum())
                quiet += float(rr_s[asked & ~person.fibrillates & ~here].sum())
        line = f"{source}: specificity {100 * quiet / max(rest, 1):.2f} %"
        lines.append(line + (f", Se {100 * both / truth:.2f} %, +P {100 * both / mine:.2f} %" if truth else ""))
    return "\n".join(lines)


def main(arguments: Sequence[str]) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--leave-out", action="store_true", help="judge each sixth by a line fitted to the others")
    options = parser.parse_args(arguments)
    everyone = people(options.folder)
    every = {"afdb": 7, "nsr": 31, "incart": 7}
    tables = [rows(person, every[person.name.split()[0]]) for person in everyone]
    order = np.random.default_rng(1).permutation(len(everyone))
    shipped = (irregularity.WEIGHTS, irregularity.BIAS)

    def fitted(leave: int) -> tuple[tuple[float, ...], float]:
        used = [tables[i] for place, i in enumerate(order) if leave < 0 or place % SIXTHS != leave]
        return fit(np.concatenate([x for x, _ in used]), np.concatenate([truth for _, truth in used]))

    weights, bias = fitted(-1)
    sys.stdout.write(f"WEIGHTS = {weights}\nBIAS = {bias}\n")
    judged = []
    for leave in range(SIXTHS):
        line = fitted(leave) if options.leave_out else (weights, bias)
        irregularity.WEIGHTS, irregularity.BIAS = line
        judged += [(everyone[i], said(everyone[i])) for place, i in enumerate(order) if place % SIXTHS == leave]
    irregularity.WEIGHTS, irregularity.BIAS = shipped
    sys.stdout.write(figures(judged) + "\n")


if __name__ == "__main__":
    main(sys.argv[1:])
