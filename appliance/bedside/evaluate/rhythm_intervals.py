"""Beat times alone through the interval rule of fibrillation: people with it (`afdb_rr.npz`), people without (`nsrdb`).

No signal, so no P waves, beat classes or model of half minutes: what is scored is the rule that suspects fibrillation.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import numpy as np

from bedside.core.events import Json
from bedside.evaluate import rhythm as scoring
from bedside.evaluate.rhythm import FibrillationTally, RhythmSpan
from bedside.signal import irregularity

RATE_HZ: Final = 250.0  # of afdb_rr
NORMAL_HZ: Final = 128.0  # of nsrdb
RR_S: Final = (0.2, 2.5)


@dataclass(frozen=True, slots=True, eq=False)
class IntervalScore:
    """One record of beat times: durations, and the odds and truth of every judged window."""

    record: str
    fibrillation: FibrillationTally
    odds: np.ndarray[Any, np.dtype[np.float64]] = field(repr=False)
    truth: np.ndarray[Any, np.dtype[np.bool_]] = field(repr=False)


def interval_records(path: Path) -> list[IntervalScore]:
    """The records of `afdb_rr.npz`. The rule's line was fitted to these records: see `signal/README.md`."""
    scores = []
    with np.load(path, allow_pickle=False) as data:
        for key in sorted(name for name in data.files if name.startswith("qrs_")):
            record = key.removeprefix("qrs_")
            notes = [str(one) for one in data[f"rl_{record}"]]
            times = data[key].astype(np.int64)
            truth = scoring.spans_of(data[f"rs_{record}"].tolist(), notes, int(times[-1]), RATE_HZ)
            scores.append(_scored(record, times, truth, RATE_HZ))
    return scores


def normal_records(path: Path) -> list[IntervalScore]:
    """The people of `nsrdb.npz`, healthy by their database's selection: whatever is suspected there is false."""
    scores = []
    with np.load(path, allow_pickle=False) as data:
        for key in sorted(name for name in data.files if name.startswith("t_")):
            record = key.removeprefix("t_")
            beat = np.isin(data[f"s_{record}"], [ord(one) for one in "NSVF"])
            times = np.cumsum(data[key].astype(np.int64))[beat]
            truth = (RhythmSpan("N", 0.0, float(times[-1]) / NORMAL_HZ),)
            scores.append(_scored(record, times, truth, NORMAL_HZ))
    return scores


def _scored(
    record: str, times: np.ndarray[Any, np.dtype[np.int64]], truth: Sequence[RhythmSpan], rate_hz: float
) -> IntervalScore:
    state, spans, odds, known = irregularity.IrregularityState(), [], [], []
    for rr, end in zip(np.diff(times).tolist(), times[1:].tolist(), strict=True):
        before = state
        state = irregularity.expire(state, end, rate_hz)
        if RR_S[0] < rr / rate_hz < RR_S[1]:
            state = irregularity.step(state, rr / rate_hz, end, rate_hz)
        if before.onset is not None and state.onset is None and state.ended is not None:
            spans.append(RhythmSpan("AFIB", before.onset / rate_hz, state.ended / rate_hz))
        if state.pending == 0 and state.evidence is not None and state.evidence is not before.evidence:
            odds.append(state.evidence.odds)
            known.append(state.ends[irregularity.WINDOW // 2] / rate_hz)
    end_s = float(times[-1]) / rate_hz
    if state.onset is not None:
        spans.append(RhythmSpan("AFIB", state.onset / rate_hz, end_s))
    starts = np.array([one.start_s for one in truth])
    here = np.array([one.label for one in truth])[np.maximum(np.searchsorted(starts, known, "right") - 1, 0)]
    asked = ~np.isin(here, list(scoring.AF_NEUTRAL))
    return IntervalScore(
        record, scoring.fibrillation(truth, spans, end_s), np.array(odds)[asked], (here == "AFIB")[asked]
    )


def summary(scores: Sequence[IntervalScore]) -> dict[str, Json]:
    """AUC over windows, and durations at the operating point, by the shipped line (fitted to these records)."""
    odds = np.concatenate([one.odds for one in scores])
    truth = np.concatenate([one.truth for one in scores])
    auc = scoring.area_under_curve(odds, truth)
    total = sum((one.fibrillation for one in scores), FibrillationTally())
    return {
        "records": len(scores),
        "auc": None if auc is None else round(auc, 4),
        "gross": total.facts(),
        "intervals_95": {
            "sensitivity": span([(one.fibrillation.both_s, one.fibrillation.truth_s) for one in scores]),
            "precision": span([(one.fibrillation.both_s, one.fibrillation.said_s) for one in scores]),
        },
        "note": "the shipped line was fitted to these records; left out in turn: see signal/README.md",
    }


def normal_summary(scores: Sequence[IntervalScore]) -> dict[str, Json]:
    """How much fibrillation is suspected of healthy people, and in how many of them."""
    total = sum((one.fibrillation for one in scores), FibrillationTally())
    days = total.judged_s / 86_400
    worst = max(scores, key=lambda one: one.fibrillation.said_s)
    return {
        "people": len(scores),
        "days": round(days, 2),
        "specificity": total.facts()["specificity"],
        "episodes_a_day": round(total.said[1] / days, 2) if days else None,
        "people_with_any": sum(one.fibrillation.said_s > 0 for one in scores),
        "said_s": round(total.said_s, 1),
        "worst": [worst.record, round(worst.fibrillation.said_s, 1)],
    }


def span(parts: Sequence[tuple[float, float]]) -> Json:
    """95 % over patients, as a list; None where there is nothing."""
    found = scoring.bootstrap(parts)
    return None if found is None else list(found)


def as_table(part: dict[str, Any]) -> str:
    """Of people with fibrillation."""
    gross, spans = part["gross"], part["intervals_95"]
    return (
        f"## Beat times alone, {part['records']} records\n\nAUC {part['auc']}; by duration Se "
        f"{percent(gross['sensitivity'])} % ({pair(spans['sensitivity'])}), +P {percent(gross['precision'])} % "
        f"({pair(spans['precision'])}), specificity {percent(gross['specificity'])} %; episodes of 30 s or more: "
        f"{gross['sustained'][0]} of {gross['sustained'][1]}. {part['note'][0].upper()}{part['note'][1:]}."
    )


def normal_as_table(part: dict[str, Any]) -> str:
    """Of healthy people."""
    record, said_s = part["worst"]
    return (
        f"## Beat times alone, {part['people']} healthy people, {part['days']} days\n\nFibrillation is suspected by "
        f"intervals in {part['people_with_any']} of them, {part['episodes_a_day']} times a day, {part['said_s']:.0f} s "
        f"in all (most: {record}, {said_s:.0f} s); specificity by duration {percent(part['specificity'])} %. The model "
        "of half minutes, which may deny it, needs a signal and was not asked."
    )


def pair(spans: Sequence[float] | None) -> str:
    return "–" if spans is None else f"{100 * spans[0]:.1f} to {100 * spans[1]:.1f} %"


def percent(value: float | None) -> str:
    return "–" if value is None else f"{100 * value:.2f}"
