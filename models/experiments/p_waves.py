"""Does the delineator's P wave help to tell the beats' classes? Cross-validated on the folds of `bedside train beats`.

    python models/experiments/p_waves.py --data DIR --cache FILE [--seed N]

Not shipped and not run by the product. Every lead goes through the live path and the delineator of `bedside.signal`
(learned from LUDB) beside it; each beat gets eight numbers more: how much of the patient's usual P wave it has, that
against its running mean, PR against its own, QRS, likeness to the usual beat. Bagged perceptrons with and without them.
"""

from __future__ import annotations

import argparse
import pickle
from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from bedside.models import augment, corpus, intervals, lessons, opinion, train
from bedside.models.beats import BeatDescriber, DescribedBeat
from bedside.models.features import NAMES
from bedside.models.scoring import Counts, count, folds, interval
from bedside.models.windows import FS_HZ
from bedside.monitor.delineation import wave_input
from bedside.signal.delineation import BeatWaves, Delineator
from bedside.signal.lead import LeadAnalyser, LeadOutput

Floats = npt.NDArray[np.float64]
Int8s = npt.NDArray[np.int8]
say = print
N_NUMBERS = 8
MEMORY_BEATS = 60


def waves_of(signal_mv: Floats, fs_hz: float) -> tuple[list[DescribedBeat], dict[int, BeatWaves]]:
    """The beats as the corpus has them, and what the delineator says of each, by clean index."""
    analyser, describer, delineator = LeadAnalyser.design(fs_hz), BeatDescriber(), Delineator.design()
    lead, state, watched = analyser.initial(), describer.initial(), delineator.initial()
    beats, waves = list[DescribedBeat](), dict[int, BeatWaves]()

    def take(out: LeadOutput) -> None:
        nonlocal state, watched
        settled = int(out.settled_index * FS_HZ / fs_hz)
        state, ready = describer.step(state, out.clean_mv, out.clean_first, out.peaks, settled, out.retracted)
        beats.extend(ready)
        gone = tuple(round(index * FS_HZ / fs_hz) for index in out.retracted)
        watched, seen = delineator.step(watched, wave_input(out, fs_hz, out.quality, gone))
        waves.update({one.at: one for one in seen.beats})

    step = round(corpus.BLOCK_S * fs_hz)
    for start in range(0, signal_mv.size, step):
        lead, out = analyser.step(lead, signal_mv[start : start + step])
        take(out)
    take(analyser.finish(lead))
    beats.extend(describer.finish(state)[1])
    waves.update({one.at: one for one in delineator.finish(watched).beats})
    return beats, waves


def numbers_of(beats: list[DescribedBeat], waves: dict[int, BeatWaves]) -> Int8s:
    """Eight int8 numbers for each beat; the running means know the past alone."""
    rows, usual, usual_pr_s, n = np.zeros((len(beats), N_NUMBERS)), 0.5, None, 0
    for at, beat in enumerate(beats):
        one = waves.get(beat.peak.clean_index)
        if one is None or one.reason is not None:
            rows[at, 1] = -1.0
            continue
        p, pr_s, qrs_s = one.p_likelihood, one.reading.measures.pr_s, one.reading.measures.qrs_s
        rows[at] = [
            0.0 if p is None else 2 * p - 1,
            -1.0 if p is None else 1.0,
            2 * usual - 1,
            0.0 if p is None else p - usual,
            1.0 if one.usual else -1.0,
            0.0 if one.match is None else 4 * (one.match - 0.75),
            0.0 if pr_s is None or usual_pr_s is None else (pr_s - usual_pr_s) / 0.06,
            0.0 if qrs_s is None else (qrs_s - 0.12) / 0.06,
        ]
        if p is not None and one.usual:
            n += 1
            usual += (p - usual) / min(n + 2, MEMORY_BEATS)
            if pr_s is not None:
                usual_pr_s = pr_s if usual_pr_s is None else usual_pr_s + 0.05 * (pr_s - usual_pr_s)
    steps: Int8s = np.rint(np.clip(rows, -1, 1) * 127).astype(np.int8)
    return steps


def read(data: Path) -> corpus.Corpus:
    """The corpus, with eight numbers more in each row."""
    kept = corpus.described

    def described(signal_mv: Floats, fs_hz: float) -> list[DescribedBeat]:
        beats, waves = waves_of(signal_mv, fs_hz)
        more = numbers_of(beats, waves)
        return [
            beat if beat.row is None else replace(beat, row=np.concatenate([beat.row, more[at]]))
            for at, beat in enumerate(beats)
        ]

    corpus.described = described
    try:
        return corpus.read(data)
    finally:
        corpus.described = kept


def judge(data: corpus.Corpus, rhythms: tuple[intervals.Rhythm, ...], for_heads: str, seed: int) -> None:
    """Print counts of the perceptrons; `for_heads`: which of V and S may use the eight numbers."""
    odd = augment.odd_shapes
    augment.odd_shapes = lambda rows: odd(rows[:, : len(NAMES)])
    material = lessons.Material.of(lessons.Table.of(data), rhythms)
    augment.odd_shapes = odd
    table = material.table
    plans = [
        replace(plan, columns=np.concatenate([plan.columns, np.full(N_NUMBERS, plan.symbol in for_heads)]))
        for plan in lessons.plans()
    ]
    counts: dict[str, list[Counts]] = {"V": [], "S": []}
    for number, held in enumerate(folds(train._burden(data), train.N_FOLDS)):
        seen = ~np.isin(table.patient, [table.patients.index(patient) for patient in held])
        heads = [train.net(material, seen, plan, seed + number) for plan in plans]
        for lead in data.leads:
            if lead.main and lead.patient in held:
                v, s = (head.logits(lead.rows) for head in heads)
                of = opinion.Opinions()
                for at in np.flatnonzero(lead.judged).tolist():
                    v[at] = of.heard(int(lead.variants[at]), float(v[at]))
                symbols = train.called(v, s, lead.judged)
                for symbol, per in counts.items():
                    per.append(count(symbol, lead.labels, symbols, lead.missed))
    say(f"P waves for {for_heads or 'none'}:", end=" ")
    for symbol, per in counts.items():
        total, span = sum(per, Counts()), interval(per, 1) or (0.0, 0.0)
        say(f"{symbol} {total.f1 or 0.0:.4f} {span[0]:.3f}..{span[1]:.3f}", end="  ")
    say(flush=True)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--cache", type=Path)
    parser.add_argument("--seed", type=int, default=101)
    asked = parser.parse_args()
    if asked.cache is not None and asked.cache.is_file():
        data, rhythms = pickle.loads(asked.cache.read_bytes())  # noqa: S301 (a file of our own making)
    else:
        data, rhythms = read(asked.data / "mitdb"), intervals.read(asked.data)
        if asked.cache is not None:
            asked.cache.write_bytes(pickle.dumps((data, rhythms)))
    for for_heads in ("", "VS", "S"):
        judge(data, rhythms, for_heads, asked.seed)


if __name__ == "__main__":
    main()
