"""The anomaly watch's card, as Markdown, from the facts that `models/experiments/anomaly_nets.py` measured. Pure text.

The watch is no network, so its bytes are this version's code; what a regulator must know of it is the same.
"""

from __future__ import annotations

import textwrap
from collections.abc import Mapping
from typing import Any

from bedside.models import anomaly


def rules() -> dict[str, Any]:
    """The numbers that the watch decides by, as the card states them: a test holds the card to them."""
    return {
        "minutes": anomaly.RECENT,
        "spreads": anomaly.SPREADS,
        "known_min_hours": anomaly.KNOWN_MIN * anomaly.RECENT / 60,
        "memory_days": anomaly.KEPT * anomaly.RECENT / anomaly.MINUTES_A_DAY,
        "taken_in_after_hours": anomaly.TAKEN_IN_AFTER / 60,
        "quantities": {
            one.name: {"label": one.label, "unit": one.unit, "floor": one.floor, "least": one.least}
            for one in anomaly.QUANTITIES.values()
        },
    }


def card(facts: Mapping[str, Any]) -> str:
    """Markdown. Every number comes from `facts` (`cards/anomaly.json`)."""
    held, names = facts["rules"], list(facts["false_alarms_a_day"])
    rates = [f"{facts['false_alarms_a_day'][name]:.2f}" for name in names]
    lines = [
        "# Not as this patient was: card of the anomaly watch",
        "",
        _paragraph(
            """Made by `models/experiments/anomaly_nets.py DIR --out models`; `anomaly.json` beside it has the same
            facts for a program. Do not edit."""
        ),
        _paragraph(
            """**Intended use.** Says that a patient's vital sign or average QRS is not as this patient's was, by how
            much and since when, for a person to look; at low priority, beside the alarms by limits and never instead
            of them. It knows nothing of what is healthy: who was ill from the start is usual to it."""
        ),
        _paragraph(
            f"""**How.** Robust statistics, no network: the median of {held["minutes"]} minutes against the median of
            the patient's last {held["memory_days"]:g} days (or of the same time of day, whichever is nearer), in
            spreads of 1.4826 MAD. Said from {held["spreads"]:g} spreads and the least change below on, for
            {held["minutes"]} minutes. Nothing is judged before {held["known_min_hours"]:g} hours are known; nothing is
            learned from alarming or poor minutes, nor from a change before it has lasted
            {held["taken_in_after_hours"]:g} hours. A restart forgets; `bedside usual` shows what is held and lets it be
            forgotten by name."""
        ),
        "| quantity | least change said | spread allowed always |",
        "| --- | --- | --- |",
    ]
    lines += [
        f"| {one['label']} | {one['least']:g} {one['unit']} | {one['floor']:g} {one['unit']} |"
        for one in held["quantities"].values()
    ]
    lines += [
        "",
        _paragraph(
            f"""**Data.** {facts["people"]} people of the MIT-BIH Normal Sinus Rhythm Database, {facts["days"]:g} judged
            days of daily life: heart rate, its short-term variability and ventricular beats are theirs. Their QRS width
            and size are minutes of {facts["qrs_patients"]} MIT-BIH Arrhythmia patients, joined end to end (Open Data
            Commons Attribution License v1.0; Goldberger et al. 2000). Breathing, saturation, temperature and pulse are
            followed too, but no days of them were at hand: their rate of false alarms is **not known**."""
        ),
        _paragraph(
            """**Figures, and why no network.** Changes were put in for 30 minutes in the twelfth hour; found: said
            within 35 minutes. Contenders with a threshold got it from other patients (six folds of people), at the
            false alarms of the shipped statistics there."""
        ),
        "| | " + " | ".join(names) + " |",
        "| --- " * (len(names) + 1) + "|",
        "| false alarms a patient-day | " + " | ".join(rates) + " |",
    ]
    lines += [
        f"| {change} | " + " | ".join(f"{row[name]} of {facts['people']}" for name in names) + " |"
        for change, row in facts["found"].items()
    ]
    lines += [
        "",
        _paragraph(facts["verdict"]),
        _paragraph(
            """**Known failures.** People who walk about have a wide usual: a modest rise of the rate is lost in it. A
            rate that steps with the time of day is said on the first days. A slow drift over days is taken in. The
            first two hours after a start, a reset or a long gap are blind."""
        ),
        _paragraph(
            """**Drift watch.** Anomalies per patient-day (`anomaly` findings): a site with far more than the rate
            above, or with none for weeks, should have them reviewed."""
        ),
    ]
    return "\n".join(lines).rstrip("\n") + "\n"


def _paragraph(text: str) -> str:
    return textwrap.fill(" ".join(text.split()), 118, break_long_words=False, break_on_hyphens=False) + "\n"
