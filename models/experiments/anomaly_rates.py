"""How often the anomaly watch speaks of healthy people, and what it sees of changes put in.

    python models/experiments/anomaly_rates.py DIR

DIR holds `beat_labels/nsrdb.npz` (18 days of the MIT-BIH Normal Sinus Rhythm Database). Each minute's heart rate goes
through `bedside.models.anomaly`; then again with 22 or 40/min added from the twelfth hour on for 30 minutes.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np

from bedside.models import anomaly

RATE_HZ = 128.0
STEP_AT, STEP_MINUTES = 720, 30


def minutes(folder: Path) -> dict[str, list[tuple[int, float]]]:
    """Heart rate of each minute with at least 20 intervals, by record."""
    found: dict[str, list[tuple[int, float]]] = {}
    with np.load(folder / "beat_labels" / "nsrdb.npz", allow_pickle=False) as data:
        for key in sorted(name for name in data.files if name.startswith("t_")):
            record = key.removeprefix("t_")
            beat = np.isin(data[f"s_{record}"], [ord(one) for one in "NSVF"])
            times_s = np.cumsum(data[key].astype(np.int64))[beat] / RATE_HZ
            rr_s, minute = np.diff(times_s), (times_s[1:] / 60).astype(np.int64)
            good = (rr_s > 0.3) & (rr_s < 2.0)
            rates = []
            for one in np.unique(minute).tolist():
                inside = rr_s[good & (minute == one)]
                if inside.size > 20:
                    rates.append((int(one), 60.0 / float(inside.mean())))
            found[record] = rates
    return found


def changes(rates: list[tuple[int, float]], added: float = 0.0) -> list[anomaly.Change]:
    """Changes that began."""
    usual, said = anomaly.Usual(), list[anomaly.Change]()
    for minute, rate in rates:
        more = added if STEP_AT <= minute < STEP_AT + STEP_MINUTES else 0.0
        usual, change = anomaly.step(usual, "heart_rate", minute, rate + more, True)
        if change is not None and change.on:
            said.append(change)
    return said


def main(folder: Path) -> None:
    days = minutes(folder)
    n_minutes = sum(len(rates) for rates in days.values())
    n = sum(len(changes(rates)) for rates in days.values())
    sys.stdout.write(f"{n} changes in {n_minutes / 1440:.1f} days: {n / n_minutes * 1440:.2f} a day\n")
    for added in (22.0, 40.0):
        near = [
            any(STEP_AT - 10 <= one.since <= STEP_AT + STEP_MINUTES for one in changes(rates, added))
            for rates in days.values()
        ]
        sys.stdout.write(f"{added:.0f}/min added for {STEP_MINUTES} min: seen in {sum(near)} of {len(near)}\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
