"""Fit the net that tells beats from other humps, and show how it does on records that it was not fitted to.

    python signal/fit_beats.py DATA [--leave-one-out] [--rounds 3] [--processes 2] [--write [FILE]]

DATA holds `mitdb`, `ludb` and `nstdb`; `split.toml` beside this file says what is fitted to what. Material: both
leads of each MIT-BIH record; copies of its first choice of lead with noise that changes every minute (first half of
each noise recording alone); the QRS marks of LUDB. Each hump of the QRS envelope is labelled by the annotations: for
each beat the highest hump within 120 ms. Round 0 lets the annotations decide while the measures are taken; each later
round lets the net of the round before decide, so that it also learns from the company of its own errors, in both
readings of a doubted beat. The rounds meet finer humps than the finder will (`FINER`): a net that had to judge each
top of a wide beat and the small humps too carries further. A round plays a third of each noisy copy. All rounds'
humps are fitted together. With `--leave-one-out` each record is then judged by a net fitted without all that is made
of it. `--write` keeps the net in `bedside/signal/beat_weights.py`, or in the file named after it.
"""

from __future__ import annotations

import argparse
import sys
import tomllib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from multiprocessing import Pool
from pathlib import Path
from typing import Any

import numpy as np
import wfdb
from numpy.typing import NDArray

from bedside.signal.beats import BeatFinder, BeatFrame, BeatState
from bedside.signal.evidence import MEASURES, Memory, Net, Sight, evidence, overdue_logit
from bedside.signal.lead import FRAME, HALF, LeadAnalyser
from bedside.signal.resample import INTERNAL_HZ, Floats

HERE = Path(__file__).resolve().parent
WEIGHTS = HERE / "bedside" / "signal" / "beat_weights.py"
BEAT_SYMBOLS = frozenset("NLRejAaJSVEF/fQnB?")
FINER: dict[str, Any] = {"apart": 20, "floor_share": 0.1, "least_mv": 0.0}
FRAMES = 10  # played at once
LABEL_WINDOW = 30  # internal samples, 120 ms
MATCH = 0.15 * INTERNAL_HZ
TAUGHT = (1.0, 7.0)  # ln(odds) that the annotations answer with: certain and doubtful
EASY = 4.0  # humps judged rightly with more are thinned out:
KEPT = 0.2  # to this share, with as much more weight
Singles = NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class Lead:
    """One lead after the front end, at 250 Hz, and its beats there; `flutter`: what neither side counts."""

    name: str
    kind: str  # of the material, as in split.toml
    group: str  # leaves the fit together: a record's name
    frames: tuple[Floats, Floats, Floats]  # wave, envelope, slow envelope
    beats: Floats
    flutter: tuple[tuple[float, float], ...]
    span: tuple[float, float]  # where the expert marked every beat

    def counts(self, at: Floats) -> NDArray[np.bool_]:
        """Which places count."""
        ok = (at >= self.span[0]) & (at <= self.span[1])
        for first, last in self.flutter:
            ok &= (at < first) | (at > last)
        return ok

    def third(self, number: int) -> Lead:
        """One of three equal parts, as a lead of its own."""
        n = self.frames[0].size // (3 * FRAME) * FRAME
        start = number % 3 * n
        wave, envelope, slow = (part[start : start + n] for part in self.frames)
        flutter = tuple((first - start, last - start) for first, last in self.flutter)
        return replace(self, frames=(wave, envelope, slow), beats=self.beats - start, flutter=flutter, span=(0.0, n))


@dataclass(frozen=True, eq=False)
class Taken:
    """Measures, labels and weights of humps."""

    measures: Singles
    labels: Singles
    weights: Singles


@dataclass(frozen=True)
class _Tap(BeatFinder):
    """Keeps the frames that it is given and finds nothing."""

    rows: list[tuple[Floats, Floats, Floats]] = field(default_factory=list)

    def frames(
        self, state: BeatState, wave_mv: Floats, envelope_mv: Floats, slow_mv: Floats, n_frames: int
    ) -> tuple[BeatState, list[BeatFrame]]:
        self.rows.append((wave_mv, envelope_mv, slow_mv))
        return state, [BeatFrame((), (), 0.0, ())] * n_frames


@dataclass(frozen=True)
class Recorder(BeatFinder):
    """A finder that writes down what it weighs. With `answers` the annotations decide, else the net."""

    answers: frozenset[int] | None = None
    measured: bool = True
    seen: list[tuple[int, float, float, Floats | None]] = field(default_factory=list)

    def odds(self, sight: Sight, memory: Memory) -> float:
        hump = sight.hump
        measures = evidence(sight, memory) if self.measured else None
        if self.answers is not None or measures is None:
            sure = TAUGHT[0] + (TAUGHT[1] - TAUGHT[0]) * (hump.at * 37 % 101) / 101
            logit = sure if hump.at in (self.answers or ()) else -sure
        else:
            logit = self.net.logit(measures) + overdue_logit(sight, memory)
        self.seen.append((hump.at, hump.height, logit, measures))
        return logit


# ---------------------------------------------------------------------- material


def conditioned(lead_mv: Floats, fs_hz: float) -> tuple[Floats, Floats, Floats]:
    """What the front end gives the finder."""
    tap = _Tap()
    design = replace(LeadAnalyser.design(fs_hz), finder=tap)
    state, _ = design.step(design.initial(), lead_mv)
    design.finish(state)
    wave, envelope, slow = (np.concatenate([row[k] for row in tap.rows]) for k in range(3))
    return wave, envelope, slow


def mitdb_leads(path: Path, noises: dict[str, Floats], kinds: dict[str, float]) -> Iterator[Lead]:
    """A record's lead (MLII where it has it, else its first), its other lead, and its noisy copy."""
    record, marks = wfdb.rdrecord(str(path)), wfdb.rdann(str(path), "atr")
    first = record.sig_name.index("MLII") if "MLII" in record.sig_name else 0
    fs_hz, leads_mv = float(record.fs), record.p_signal
    flutter, start = list[tuple[float, float]](), 0.0
    for at, symbol in zip(marks.sample.tolist(), marks.symbol, strict=True):
        if symbol == "[":
            start = _inner(at, fs_hz)
        elif symbol == "]":
            flutter.append((start, _inner(at, fs_hz)))
    samples = [at for at, symbol in zip(marks.sample.tolist(), marks.symbol, strict=True) if symbol in BEAT_SYMBOLS]
    beats = _inner(np.array(samples, dtype=np.float64), fs_hz)
    signals = {"first": leads_mv[:, first], "second": leads_mv[:, 1 - first]}
    signals["noisy"] = noisy_copy(leads_mv[:, first], samples, fs_hz, noises, int(path.name))
    for kind, lead_mv in signals.items():
        if kind in kinds:
            frames = conditioned(lead_mv, fs_hz)
            yield Lead(f"{path.name} {kind}", kind, path.name, frames, beats, tuple(flutter), (0.0, np.inf))


def ludb_leads(path: Path) -> Iterator[Lead]:
    """Ten seconds of each lead that the cardiologists marked; they left out the strip's ends."""
    record = wfdb.rdrecord(str(path))
    for number, name in enumerate(record.sig_name):
        marks = wfdb.rdann(str(path), name.lower())
        samples = [at for at, symbol in zip(marks.sample.tolist(), marks.symbol, strict=True) if symbol == "N"]
        beats = _inner(np.array(samples, dtype=np.float64), float(record.fs))
        frames = conditioned(record.p_signal[:, number], float(record.fs))
        span = (float(beats[0]) - 60, float(beats[-1]) + 60)
        yield Lead(f"ludb {path.name} {name}", "ludb", f"ludb {path.name}", frames, beats, (), span)


def noisy_copy(lead_mv: Floats, beats: Sequence[int], fs_hz: float, noises: dict[str, Floats], seed: int) -> Floats:
    """Noise of a drawn kind, place, sign and ratio (24 to -3 dB, as `bedside evaluate noise` counts) each minute."""
    rng, out = np.random.default_rng(seed), lead_mv.copy()
    around, minute = round(0.05 * fs_hz), round(60 * fs_hz)
    swings = [float(np.ptp(lead_mv[max(0, at - around) : at + around + 1])) for at in beats[:300]]
    power = _trimmed(np.array(swings)) ** 2 / 8.0
    for start in range(0, out.size, minute):
        noise = noises[str(rng.choice(["em", "em", "em", "ma", "ma", "bw"]))][:, rng.integers(2)]
        snr_db = float(rng.choice([24, 18, 12, 9, 6, 3, 0, -3]))
        second = round(fs_hz)
        rms = _trimmed(noise[: noise.size // second * second].reshape(-1, second).std(axis=1))
        first = int(rng.integers(0, noise.size - minute))
        part = noise[first : first + minute][: out.size - start]
        out[start : start + minute] += (
            rng.choice([-1, 1]) * np.sqrt(power / 10 ** (snr_db / 10)) / rms * (part - part[0])
        )
    return out


def _trimmed(values: Floats) -> float:
    cut = values.size // 20
    return float(np.sort(values)[cut : values.size - cut].mean())


def _inner(at: Any, fs_hz: float) -> Any:
    """Internal samples, as late as the front end is, of source samples."""
    return at * INTERNAL_HZ / fs_hz + HALF


# ---------------------------------------------------------------------- playing


def play(lead: Lead, finder: BeatFinder) -> Floats:
    """The beats that stand at the end."""
    state, standing = finder.initial(), list[int]()
    for start in range(0, lead.frames[0].size, FRAMES * FRAME):
        wave, envelope, slow = (part[start : start + FRAMES * FRAME] for part in lead.frames)
        state, outputs = finder.frames(state, wave, envelope, slow, wave.size // FRAME)
        for output in outputs:
            standing += [hump.r_at for hump in output.beats]
            for hump in output.retracted:
                standing.remove(hump.r_at)
    return np.array(sorted(standing), dtype=np.float64)


def labels_of(lead: Lead, at: NDArray[np.int64], height: Floats) -> Singles:
    """1 for each beat's hump; `at` in order."""
    labels = np.zeros(at.size, dtype=np.float32)
    for beat in lead.beats:
        first, last = np.searchsorted(at, (beat - LABEL_WINDOW, beat + LABEL_WINDOW))
        if last > first:
            labels[first + int(height[first:last].argmax())] = 1.0
    return labels


def answers(lead: Lead) -> frozenset[int]:
    """The humps that are beats, whatever the finder thinks of them."""
    recorder = Recorder(answers=frozenset(), measured=False, **FINER)
    play(lead, recorder)
    seen = dict(sorted((at, height) for at, height, _, _ in recorder.seen))
    at = np.array(list(seen), dtype=np.int64)
    return frozenset(at[labels_of(lead, at, np.array(list(seen.values()))) > 0].tolist())


def errors(lead: Lead, marks: Floats) -> tuple[int, int, int]:
    """Found, false, missed within 150 ms, one to one, in order of time."""
    beats, left = lead.beats[lead.counts(lead.beats)], marks[lead.counts(marks)]
    found = i = j = 0
    while i < beats.size and j < left.size:
        apart = left[j] - beats[i]
        if apart < -MATCH:
            j += 1
        elif apart > MATCH:
            i += 1
        elif j + 1 < left.size and abs(left[j + 1] - beats[i]) < abs(apart):
            j += 1
        else:
            found, i, j = found + 1, i + 1, j + 1
    return found, left.size - found, beats.size - found


def taken(task: tuple[Lead, Net | None, int]) -> tuple[Taken, tuple[int, int, int]]:
    """Play one lead, by its answers (no net) or by the net, and keep what was weighed."""
    lead, net, seed = task
    recorder = Recorder(answers=answers(lead), **FINER) if net is None else Recorder(net=net, **FINER)
    result = errors(lead, play(lead, recorder))
    at = np.array([one[0] for one in recorder.seen], dtype=np.int64)
    unique, where = np.unique(at, return_index=True)
    labels = labels_of(lead, unique, np.array([one[1] for one in recorder.seen])[where])[np.searchsorted(unique, at)]
    logits = np.array([one[2] for one in recorder.seen])
    measures = np.array([one[3] for one in recorder.seen], dtype=np.float32).reshape(-1, MEASURES)
    easy = (np.abs(logits) > EASY) & ((logits > 0) == (labels > 0))
    kept = lead.counts(at.astype(np.float64)) & (~easy | (np.random.default_rng(seed).random(at.size) < KEPT))
    return Taken(measures[kept], labels[kept], np.where(easy, 1 / KEPT, 1.0)[kept].astype(np.float32)), result


def judged(task: tuple[Lead, Net]) -> tuple[str, tuple[int, int, int]]:
    """Errors of a net on a lead."""
    lead, net = task
    return lead.name, errors(lead, play(lead, BeatFinder(net)))


# ---------------------------------------------------------------------- fitting


def fit(parts: Sequence[Taken], settings: dict[str, Any], seed: int = 0) -> Net:
    """An average of `members` small nets (logistic loss, Adam, falling rate) over measures brought to one scale."""
    measures = np.concatenate([part.measures for part in parts])
    labels = np.concatenate([part.labels for part in parts])
    weights = np.concatenate([part.weights for part in parts])
    mean, spread = measures.mean(axis=0), measures.std(axis=0) + 1e-3
    measures = (measures - mean) / spread
    nets = [
        _fit_one(measures, labels, weights, settings, np.random.default_rng((seed, member)))
        for member in range(settings["members"])
    ]
    inner = np.concatenate([net[0].T for net in nets]).astype(np.float64) / spread
    bias = np.concatenate([net[1] for net in nets]).astype(np.float64) - inner @ mean
    out = np.concatenate([net[2] for net in nets]).astype(np.float64) / len(nets)
    return Net(inner.round(4), bias.round(4), out.round(4), round(float(np.mean([net[3] for net in nets])), 4))


def _fit_one(
    measures: Singles, labels: Singles, weights: Singles, settings: dict[str, Any], rng: np.random.Generator
) -> list[Singles]:
    hidden, batch, epochs = settings["hidden"], settings["batch"], settings["epochs"]
    n, k = measures.shape
    net = [
        rng.normal(0, k**-0.5, (k, hidden)).astype(np.float32),
        np.zeros(hidden, dtype=np.float32),
        rng.normal(0, hidden**-0.5, hidden).astype(np.float32),
        np.array(-0.5, dtype=np.float32),
    ]
    means, squares = [np.zeros_like(one) for one in net], [np.zeros_like(one) for one in net]
    steps, step = epochs * (n // batch), 0
    for _ in range(epochs):
        order = rng.permutation(n)
        for first in range(0, n - batch + 1, batch):
            step += 1
            rate = settings["rate"] * 0.5 * (1 + np.cos(np.pi * step / (steps + 1)))
            rows = order[first : first + batch]
            # Blurred measures: a net of smooth judgement, that carries further to people it never saw.
            blurred = measures[rows] + settings["blur"] * rng.standard_normal((batch, k), dtype=np.float32)
            for part, slope, one, two in zip(
                net, _slopes(net, blurred, labels[rows], weights[rows]), means, squares, strict=True
            ):
                one += 0.1 * (slope - one)
                two += 0.001 * (slope * slope - two)
                if part.ndim:
                    part *= 1 - rate * settings["decay"]
                part -= rate * (one / (1 - 0.9**step)) / (np.sqrt(two / (1 - 0.999**step)) + 1e-8)
    return net


def _slopes(net: Sequence[Singles], measures: Singles, labels: Singles, weights: Singles) -> tuple[Singles, ...]:
    inner, bias, out, base = net
    hidden = np.maximum(measures @ inner + bias, 0)
    logits = np.clip(hidden @ out + base, -30, 30)
    error = ((1 / (1 + np.exp(-logits)) - labels) * weights / labels.size).astype(np.float32)
    back = (error[:, None] * out) * (hidden > 0)
    return measures.T @ back, back.sum(axis=0), hidden.T @ error, error.sum()


# ---------------------------------------------------------------------- the run


def report(title: str, rows: Sequence[tuple[str, tuple[int, int, int]]], *, each: bool = False) -> None:
    """The sum, and with `each` one line a lead."""
    found, false, missed = (sum(row[1][k] for row in rows) for k in range(3))
    lines = [f"{name} found {one[0]} false {one[1]} missed {one[2]}" for name, one in rows if each]
    total = f"F1 {200 * found / max(1, 2 * found + false + missed):.3f} % false {false} missed {missed}"
    sys.stdout.write("\n".join((*lines, f"{title}: {total}", "")))
    sys.stdout.flush()


def as_module(net: Net) -> str:
    """The net as Python text."""
    rows = np.column_stack((net.inner, net.bias, net.out))
    table = "\n".join(" ".join(f"{value:.4f}" for value in row) for row in rows)
    return (
        '"""The fitted net of `evidence.py`. Made by `signal/fit_beats.py`; do not edit. README.md has its figures.\n\n'
        "A row a hidden unit: its weights in the order of `evidence`, its bias, and its weight in the sum.\n"
        '"""\n\nfrom __future__ import annotations\n\nimport numpy as np\n\nfrom bedside.signal.evidence import Net\n\n'
        f'_TABLE = """\n{table}\n"""  # noqa: E501\n'
        "_ROWS = np.array([line.split() for line in _TABLE.strip().splitlines()], dtype=np.float64)\n"
        f"NET = Net(_ROWS[:, :-2].copy(), _ROWS[:, -2].copy(), _ROWS[:, -1].copy(), {net.base:.4f})\n"
    )


def material(data: Path, split: dict[str, Any]) -> list[Lead]:
    """Every lead of the split, conditioned."""
    noises = {}
    for kind in ("em", "ma", "bw"):
        noise = wfdb.rdrecord(str(data / "nstdb" / kind)).p_signal
        noises[kind] = noise[: len(noise) // 2]
    leads = [
        lead
        for name in split["folds"]["records"]
        for lead in mitdb_leads(data / "mitdb" / name, noises, split["material"])
    ]
    if "ludb" in split["material"]:
        leads += [lead for path in sorted((data / "ludb").glob("*.hea")) for lead in ludb_leads(path.with_suffix(""))]
    return leads


def gather(
    leads: Sequence[Lead], rounds: int, settings: dict[str, Any], pool: Any, shares: dict[str, float]
) -> tuple[dict[str, list[Taken]], Net]:
    """Rounds of playing and fitting; all that was taken, a list a lead, weighted by the material's share."""
    parts: dict[str, list[Taken]] = {lead.name: [] for lead in leads}
    net: Net | None = None
    for number in range(rounds + 1):
        chosen = [lead for lead in leads if net is not None or lead.kind != "ludb"]
        tasks = [(lead.third(number) if lead.kind == "noisy" else lead, net, number) for lead in chosen]
        results = pool.map(taken, tasks, chunksize=1)
        rows: dict[str, list[tuple[str, tuple[int, int, int]]]] = {}
        for (lead, _, _), (part, result) in zip(tasks, results, strict=True):
            parts[lead.name].append(replace(part, weights=part.weights * np.float32(shares[lead.kind])))
            rows.setdefault(lead.kind, []).append((lead.name, result))
        for kind, row in rows.items():
            report(f"round {number}, {kind}", row)
        net = fit([part for one in parts.values() for part in one], settings)
    assert net is not None
    return parts, net


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--leave-one-out", action="store_true")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--write", type=Path, nargs="?", const=WEIGHTS)
    arguments = parser.parse_args()
    split = tomllib.loads((HERE / "split.toml").read_text())
    leads = material(arguments.data, split)
    with Pool(arguments.processes) as pool:
        parts, net = gather(leads, arguments.rounds, split["fit"], pool, split["material"])
        for kind in ("first", "second", "noisy"):
            tasks = [(lead, net) for lead in leads if lead.kind == kind]
            report(f"fitted to all, {kind}", pool.map(judged, tasks, chunksize=1), each=kind == "first")
        if arguments.write:
            arguments.write.write_text(as_module(net))
        if arguments.leave_one_out:
            left_out(leads, parts, split, pool)


def left_out(leads: Sequence[Lead], parts: dict[str, list[Taken]], split: dict[str, Any], pool: Any) -> None:
    """Each record judged by a net fitted without it."""
    tasks = list[tuple[Lead, Net]]()
    for name in split["folds"]["records"]:
        others = [part for lead in leads if lead.group != name for part in parts[lead.name]]
        net = fit(others, split["fit"])
        tasks += [(lead, net) for lead in leads if lead.group == name]
    results = pool.map(judged, tasks, chunksize=1)
    for kind in ("first", "second", "noisy"):
        rows = [result for (lead, _), result in zip(tasks, results, strict=True) if lead.kind == kind]
        report(f"each record left out of the fit, {kind}", rows, each=kind == "first")


if __name__ == "__main__":
    main()
