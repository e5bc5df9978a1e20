"""Dangerous rhythms that the recordings at hand hardly have: SIMULATED hearts through the live path, marked as such.

Real ventricular fibrillation is rare in open recordings (two true alarms of the Challenge 2015, flutter of MIT-BIH
207), so simulated bodies stand beside it, each with another shape, size and rhythm from its seed. They show that the
whole way from samples to an alarm works within 10 s; they are no evidence of how often real fibrillation is found.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from bedside.core.events import Json
from bedside.evaluate.analyze import load_classifier
from bedside.evaluate.bench_signals import RATE_HZ, Shown, show
from bedside.simulation.bodies import SimulatedBody
from bedside.simulation.happenings import Happening, Timetable, What

ONSET_S: Final = 40.0
LASTS_S: Final = 25.0
WITHIN_S: Final = 10.0
CALM_S: Final = 120.0
RATES_BPM: Final = (50.0, 62.0, 74.0, 88.0, 104.0)
VT_RATES_BPM: Final = (140.0, 155.0, 170.0, 185.0, 200.0, 220.0)
VENTRICULAR: Final = ("ventricular_fibrillation", "ventricular_tachycardia", "ventricular_run")
ASKED: Final[dict[What, tuple[str, tuple[str, ...]]]] = {
    What.VF: ("ventricular fibrillation", ("ventricular_fibrillation", "ventricular_tachycardia", "asystole")),
    What.VT: ("ventricular tachycardia", VENTRICULAR),
    What.ASYSTOLE: ("asystole", ("asystole",)),
}
"""Which alarms count as having found a rhythm: any that calls for resuscitation, for fibrillation."""
DANGEROUS: Final = (*VENTRICULAR, "asystole")


@dataclass(frozen=True, slots=True)
class Heart:
    """One simulated heart: seconds from the onset to the first fitting alarm (None: none), and which."""

    after_s: float | None
    kind: str | None


def evaluate(bodies: int) -> dict[str, Json]:
    """`bodies` hearts for each rhythm, and as many calm ones as a control."""
    judge, _ = load_classifier()
    look: Callable[..., Shown] = lambda lead_mv: show(lead_mv, judge)  # noqa: E731
    rows: list[Json] = []
    for what, (name, kinds) in ASKED.items():
        hearts = [_heart(seed, what, kinds, look) for seed in range(bodies)]
        delays = [one.after_s for one in hearts if one.after_s is not None]
        rows.append(
            {
                "rhythm": name,
                "hearts": bodies,
                "found": len(delays),
                "found_within_10_s": sum(delay <= WITHIN_S for delay in delays),
                "median_s": round(float(np.median(delays)), 1) if delays else None,
                "latest_s": round(max(delays), 1) if delays else None,
                "said": {kind: sum(one.kind == kind for one in hearts) for kind in kinds},
            }
        )
    false = [kind for seed in range(bodies) for kind in _calm(seed, look)]
    return {
        "simulated": True,
        "rhythms": rows,
        "control": {"hearts": bodies, "hours": round(bodies * CALM_S / 3600, 3), "false": len(false)},
    }


def _body(seed: int, *happenings: Happening) -> SimulatedBody:
    """A body of its own for each seed; every third has ventricular beats besides."""
    rate_bpm = RATES_BPM[seed % len(RATES_BPM)]
    return SimulatedBody(
        f"Simulated {seed}", 1000 + seed, Timetable(happenings), rate_bpm=rate_bpm,
        pvc_per_min=6.0 if seed % 3 == 0 else 0.0,
    )  # fmt: skip


def _heart(seed: int, what: What, kinds: tuple[str, ...], look: Callable[..., Shown]) -> Heart:
    onset_s = ONSET_S + 0.173 * seed  # where in a block it begins must not matter
    rate_bpm = VT_RATES_BPM[seed % len(VT_RATES_BPM)] if what is What.VT else None
    body = _body(seed, Happening(onset_s, LASTS_S, what, rate_bpm))
    lead_mv = body.ecg_uv(0, round((onset_s + LASTS_S) * RATE_HZ)) / 1000.0
    heard = look(lead_mv).alarm_after(onset_s, kinds)
    return Heart(*heard) if heard is not None else Heart(None, None)


def _calm(seed: int, look: Callable[..., Shown]) -> list[str]:
    shown = look(_body(seed).ecg_uv(0, round(CALM_S * RATE_HZ)) / 1000.0)
    return [kind for _, kind in shown.alarms if kind in DANGEROUS]


def as_table(part: dict[str, Any]) -> str:
    """Markdown."""
    lines = [
        "## SIMULATED hearts: dangerous rhythms that recordings hardly have",
        "",
        "Generated signals, no evidence of how often a real one is found: the way from samples to the alarm is what",
        "they show.",
        "",
        "| rhythm | hearts | alarm within 10 s | at all | median | latest | said |",
        "| --- | --- | --- | --- | --- | --- | --- |",
    ]
    for row in part["rhythms"]:
        said = ", ".join(f"{kind.replace('_', ' ')} {n}" for kind, n in row["said"].items() if n)
        lines.append(
            f"| {row['rhythm']} | {row['hearts']} | {row['found_within_10_s']} | {row['found']} | "
            f"{_seconds(row['median_s'])} | {_seconds(row['latest_s'])} | {said or '–'} |"
        )
    control = part["control"]
    lines += [
        "",
        f"Control: the same {control['hearts']} hearts without it, {control['hours']:.2f} h: {control['false']} alarms "
        "of such rhythms. The tachycardias of IEC 60601-2-27 are in `rate.md`.",
    ]
    return "\n".join(lines)


def _seconds(value: float | None) -> str:
    return "–" if value is None else f"{value:.1f} s"
