"""Statistics against a small autoencoder: "this is not how this patient was", at the same rate of false alarms.

    python models/experiments/anomaly_nets.py DIR [--cache FILE.npz] [--out models]

DIR holds `beat_labels/nsrdb.npz` (18 healthy people, a day of beats each) and `mitdb` (for the average QRS of each
minute, through the live path; kept in the cache when one is named). `--out` writes the card, `cards/anomaly.*`.

A day's heart rate, short-term variability and ventricular beats are real; its QRS width and size are runs of minutes
of one MIT-BIH patient each, end to end, so they wander as real ones do but know nothing of the day's heart rate. Every
contender gets the same five numbers, sees a patient's own past alone, and says a change after five minutes of it.
Contenders with a threshold get it from the other patients (six folds of three), so that they would have as many false
alarms there as the shipped statistics.

The autoencoder (30 numbers: six five-minute medians of five quantities, in the patient's own spreads; 16, 6, 16
hidden) is scikit-learn's in float: int8 can only lose by it.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from bedside.models import anomaly, anomaly_card

Floats = npt.NDArray[np.float64]
QUANTITIES = ("heart_rate", "variability", "ventricular_rate", "qrs_width", "qrs_size")
FLOORS = np.array([3.0, 0.15, 1.0, 5.0, 0.06])
RATE_HZ = 128.0
KNOWN_MIN, RECENT, BACK = anomaly.KNOWN_MIN, anomaly.RECENT, anomaly.BACK
LAGS = (0, 5, 10, 15, 20, 25)
AT, LASTS = 720, 30
CLIP = 12.0
SHIPPED, NET = "shipped statistics", "autoencoder"
BEST_CASE = "autoencoder, threshold from the judged people"
VERDICT = """The autoencoder was left out: with a threshold from other people it has more than twice the false alarms,
and even with one from the judged people themselves, which no box could know, it is as good as the shipped
statistics at a faster rate (one person of 18 more at +22/min), a wider QRS and ventricular beats, and far
worse at a smaller QRS. What it sees more is what the statistics do not follow (short-term variability,
for which the rhythm rules are there) and several small changes at once, and those the Mahalanobis
distance sees as often, as statistics too: a joint measure of that kind, not a net, is what the watch
could gain next."""
N_FOLDS = 6
CHANGES: dict[str, Floats] = {
    "rate +22/min": np.array([22.0, 0, 0, 0, 0]),
    "rate +40/min": np.array([40.0, 0, 0, 0, 0]),
    "ventricular beats +10/min": np.array([0, 0, 10.0, 0, 0]),
    "QRS wider by 30 ms": np.array([0, 0, 0, 30.0, 0]),
    "QRS smaller by 0.6 mV": np.array([0, 0, 0, 0, -0.6]),
    "irregular (variability x 4)": np.array([0, np.log(4.0), 0, 0, 0]),
    "several, each small: +15/min, +18 ms, -0.3 mV, +4 V/min": np.array([15.0, 0, 4.0, 18.0, -0.3]),
}


def days(folder: Path, shapes: dict[str, Floats]) -> list[Floats]:
    """By patient: (minutes, 5), NaN where fewer than 20 intervals were seen."""
    found = []
    with np.load(folder / "beat_labels" / "nsrdb.npz", allow_pickle=False) as data:
        names = sorted(name.removeprefix("t_") for name in data.files if name.startswith("t_"))
        for number, record in enumerate(names):
            symbols = data[f"s_{record}"]
            beat = np.isin(symbols, [ord(one) for one in "NSVF"])
            times_s = np.cumsum(data[f"t_{record}"].astype(np.int64))[beat] / RATE_HZ
            wide = symbols[beat][1:] == ord("V")
            rr_s, minute = np.diff(times_s), (times_s[1:] / 60).astype(np.int64)
            day = np.full((int(minute.max()) + 1, 5), np.nan)
            good = (rr_s > 0.3) & (rr_s < 2.0)
            for one in np.unique(minute).tolist():
                inside = minute == one
                rr = rr_s[inside & good]
                if rr.size > 20:
                    steps = np.sqrt(np.mean(np.diff(rr) ** 2))
                    day[one, :3] = 60 / rr.mean(), np.log(max(steps, 0.004)), float(wide[inside].sum())
            day[:, 3:] = _end_to_end(shapes, day.shape[0], np.random.default_rng(number))
            found.append(day)
    return found


def _end_to_end(shapes: dict[str, Floats], n: int, rng: np.random.Generator) -> Floats:
    """One patient's minutes, forwards and backwards in turn, so that there is no jump."""
    one = shapes[sorted(shapes)[int(rng.integers(len(shapes)))]]
    there_and_back = np.concatenate([one, one[::-1]])
    repeated: Floats = np.resize(there_and_back, (n, 2))
    return repeated


def shapes_of(folder: Path, cache: Path | None) -> dict[str, Floats]:
    """Width (ms) and size (mV) of the average QRS of each minute, by record: the findings that the watch hears."""
    if cache is not None and cache.is_file():
        with np.load(cache, allow_pickle=False) as data:
            return {name: data[name] for name in data.files}
    from bedside.core.events import Finding
    from bedside.evaluate.analyze import analyze

    found = {}
    for path in sorted((folder / "mitdb").glob("*.hea")):
        said = [event for event in analyze(path).events if isinstance(event, Finding) and event.kind == "qrs_shape"]
        rows: Any = [[event.evidence["qrs_width_ms"], event.evidence["qrs_mv"]] for event in said]
        if len(rows) >= 15:
            found[path.stem] = np.array(rows, dtype=np.float64)
    if cache is not None:
        np.savez(cache, **found)
    return found


def spreads(day: Floats) -> Floats:
    """Each minute's five-minute medians in the patient's own spreads, (minutes, 5); NaN before two hours are known.

    Strange minutes (beyond four spreads) are not learned, as in `bedside.models.anomaly`; what lasts six hours is.
    """
    z = np.full(day.shape, np.nan)
    known: list[Floats] = []
    strange = 0
    for minute in range(RECENT, day.shape[0]):
        recent = day[minute - RECENT + 1 : minute + 1]
        if np.isnan(recent).any():
            continue
        now = np.median(recent, axis=0)
        if len(known) >= KNOWN_MIN:
            past = np.array(known[-anomaly.KEPT :])
            level = np.median(past, axis=0)
            spread = np.maximum(1.4826 * np.median(np.abs(past - level), axis=0), FLOORS)
            z[minute] = (now - level) / spread
            strange = strange + 1 if np.abs(z[minute]).max() >= anomaly.SPREADS else 0
        if minute % RECENT == 0 and (strange == 0 or strange > anomaly.TAKEN_IN_AFTER):
            known.append(now)
    return z


def windows(z: Floats) -> tuple[Floats, npt.NDArray[np.int64]]:
    """Rows of six medians of five quantities (n, 30), and the minute each ends in."""
    minutes = [
        minute for minute in range(LAGS[-1], z.shape[0]) if not np.isnan(z[[minute - lag for lag in LAGS]]).any()
    ]
    rows = np.array([z[[minute - lag for lag in LAGS]].ravel() for minute in minutes]).reshape(-1, 30)
    return np.clip(rows, -CLIP, CLIP), np.array(minutes, dtype=np.int64)


def begins(score: Floats, limit: float) -> list[int]:
    """Minutes in which a change is said: five minutes at the limit; it ends after five under seven tenths of it."""
    said, on, run = [], False, 0
    for minute, value in enumerate(score.tolist()):
        against = value >= limit if not on else value < BACK * limit
        run = run + 1 if against else 0
        if run >= RECENT:
            on, run = not on, 0
            if on:
                said.append(minute)
    return said


def limit_for(scores: list[Floats], per_day: float) -> float:
    """The threshold at which these patients have `per_day` false alarms a day."""
    n_days = sum(float(np.sum(one >= 0)) for one in scores) / 1440
    candidates = np.unique(np.quantile(np.concatenate(scores), np.linspace(0.8, 1.0, 201)))
    for limit in candidates.tolist():
        if limit > 0 and sum(len(begins(one, limit)) for one in scores) <= per_day * n_days:
            return float(limit)
    return float(candidates[-1]) + 1e-9


def shipped_statistics(day: Floats, names: tuple[str, ...] = QUANTITIES) -> list[int]:
    """What `bedside.models.anomaly` says of the quantities that it follows (no variability)."""
    said = []
    for name in names:
        if name not in anomaly.QUANTITIES:
            continue
        usual, column = anomaly.Usual(), QUANTITIES.index(name)
        for minute, value in enumerate(day[:, column].tolist()):
            if value == value:  # no NaN
                usual, change = anomaly.step(usual, name, minute, value, True)
                if change is not None and change.on:
                    said.append(minute)
    return said


def changed(day: Floats, by: Floats) -> Floats:
    other = day.copy()
    other[AT : AT + LASTS] += by
    return other


def seen(said: list[int]) -> bool:
    return any(AT <= minute <= AT + LASTS + RECENT for minute in said)


Scorer = Callable[[Floats], Floats]


def contenders(train: list[Floats]) -> dict[str, Scorer]:
    """Scores of windows (n, 30) -> (n,), fitted to the training patients' days."""
    from sklearn.neural_network import MLPRegressor

    rows = np.concatenate([windows(z)[0] for z in train])
    inverse = np.linalg.pinv(np.cov(rows[:, :5].T) + 0.1 * np.eye(5))
    net = MLPRegressor(hidden_layer_sizes=(16, 6, 16), alpha=1e-3, max_iter=60, random_state=7, early_stopping=True)
    lesson = rows[:: max(rows.shape[0] // 20_000, 1)]
    net.fit(lesson + np.random.default_rng(7).normal(0, 0.2, lesson.shape), lesson)
    return {
        "largest spread": lambda x: np.abs(x[:, :5]).max(axis=1),
        "Mahalanobis distance": lambda x: np.sqrt(np.einsum("ni,ij,nj->n", x[:, :5], inverse, x[:, :5])),
        NET: lambda x: np.sqrt(np.mean((net.predict(x) - x) ** 2, axis=1)),
    }


def main(folder: Path, cache: Path | None) -> dict[str, Any]:
    """Facts of the card."""
    shapes = shapes_of(folder, cache)
    people = days(folder, shapes)
    z = [spreads(day) for day in people]
    z_of = {change: [spreads(changed(day, by)) for day in people] for change, by in CHANGES.items()}
    n_days = sum(float(np.sum(~np.isnan(one[:, 0]))) for one in z) / 1440
    alarms: dict[str, int] = {SHIPPED: sum(len(shipped_statistics(day)) for day in people)}
    found = {
        change: {SHIPPED: sum(seen(shipped_statistics(changed(day, by))) for day in people)}
        for change, by in CHANGES.items()
    }
    net_calm: list[Floats] = []
    net_changed: list[dict[str, Floats]] = []
    for fold in range(N_FOLDS):
        held = [number for number in range(len(people)) if number % N_FOLDS == fold]
        train = [one for number, one in enumerate(z) if number not in held]
        for name, scorer in contenders(train).items():
            limit = limit_for([minute_scores(one, scorer) for one in train], alarms[SHIPPED] / n_days)
            for number in held:
                calm = minute_scores(z[number], scorer)
                alarms[name] = alarms.get(name, 0) + len(begins(calm, limit))
                other = {change: minute_scores(z_of[change][number], scorer) for change in CHANGES}
                for change, row in found.items():
                    row[name] = row.get(name, 0) + seen(begins(other[change], limit))
                if name == NET:  # its scores in units of its own fold's limit, to join the folds
                    net_calm.append(np.where(calm < 0, -1.0, calm / limit))
                    net_changed.append({change: np.where(one < 0, -1.0, one / limit) for change, one in other.items()})
    limit = limit_for(net_calm, alarms[SHIPPED] / n_days)  # from the judged people themselves: its best case
    alarms[BEST_CASE] = sum(len(begins(one, limit)) for one in net_calm)
    for change, row in found.items():
        row[BEST_CASE] = sum(seen(begins(one[change], limit)) for one in net_changed)
    return {
        "people": len(people),
        "days": round(n_days, 1),
        "qrs_patients": len(shapes),
        "false_alarms_a_day": {name: round(n / n_days, 3) for name, n in alarms.items()},
        "found": found,
        "rules": anomaly_card.rules(),
        "verdict": " ".join(VERDICT.split()),
    }


def minute_scores(z: Floats, scorer: Scorer) -> Floats:
    """A score for each minute; -1 where none is judged."""
    rows, minutes = windows(z)
    full = np.full(z.shape[0], -1.0)
    if minutes.size:
        full[minutes] = scorer(rows)
    return full


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    parser.add_argument("--cache", type=Path)
    parser.add_argument("--out", type=Path)
    asked = parser.parse_args()
    facts = main(asked.folder, asked.cache)
    text = anomaly_card.card(facts)
    if asked.out is not None:
        (asked.out / "cards" / "anomaly.json").write_text(json.dumps(facts, indent=1) + "\n")
        (asked.out / "cards" / "anomaly.md").write_text(text)
    sys.stdout.write(text)
