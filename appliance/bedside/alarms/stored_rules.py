"""Numbers from a wearable's memory: never a live condition, but what was outside its limits then must be looked at.

One notice for each kind of number, of low priority, that stays until somebody has seen it; it names the number that
was furthest off and its true time. Pure: `elapsed_us` is the engine's own time at which a number was heard.
"""

from __future__ import annotations

from dataclasses import dataclass

from bedside.alarms.signs import Sign
from bedside.alarms.spot_rules import BOUNDS
from bedside.alarms.table import ConditionTable
from bedside.core.codes import FACTS, Code
from bedside.core.events import Numeric
from bedside.core.samples import Validity
from bedside.core.time import US_PER_S, iso_utc

KIND = "stored_review"
TOGETHER_US = 2 * US_PER_S
"""A fetch is over when no number came for so long."""

_RATES = (Code.HEART_RATE, Code.PULSE_RATE, Code.HEART_RATE_DEVICE)


@dataclass(frozen=True, slots=True)
class _Found:
    """What was found of one code in one fetch and not said yet."""

    count: int
    worst: Numeric
    beyond: float
    heard_us: int


class StoredRules:
    """What the stored numbers of one patient say."""

    def __init__(self) -> None:
        self._found: dict[Code, _Found] = {}

    def numeric(self, numeric: Numeric, table: ConditionTable, elapsed_us: int) -> None:
        """One more number from a memory; `tick` says what came of it."""
        if numeric.value is None or numeric.validity is Validity.REJECTED:
            return
        beyond = _beyond(numeric.code, numeric.value, table)
        if beyond <= 0:
            return
        found = self._found.get(numeric.code)
        if found is None:
            self._found[numeric.code] = _Found(1, numeric, beyond, elapsed_us)
            return
        worse = beyond > found.beyond
        self._found[numeric.code] = _Found(
            found.count + 1, numeric if worse else found.worst, max(beyond, found.beyond), elapsed_us
        )

    def tick(self, elapsed_us: int) -> list[Sign]:
        """Time passed: one notice for each kind of number of which no more come."""
        due = [code for code, found in self._found.items() if elapsed_us - found.heard_us >= TOGETHER_US]
        return [_notice(self._found.pop(code)) for code in due]


def _notice(found: _Found) -> Sign:
    worst, facts = found.worst, FACTS[found.worst.code]
    value = 0.0 if worst.value is None else worst.value
    return Sign(
        kind=KIND,
        on=True,
        key=str(worst.code),
        onset_us=worst.start_us,
        end_us=worst.start_us,
        wearable=worst.source,
        simulated=worst.simulated,
        fields={
            "label": facts.label,
            "value": f"{value:.{facts.decimals}f}",
            "unit": facts.unit,
            "count": found.count,
            "when": iso_utc(worst.start_us)[:16].replace("T", " "),
            "time_us": worst.start_us,
        },
    )


def _beyond(code: Code, value: float, table: ConditionTable) -> float:
    """How far outside its limits a value lies, as a share of the limit; 0 or less: within, or it has none."""
    bounds = [(table[one.kind].trigger[one.name], one.sense) for one in BOUNDS if one.code is code]
    if code is Code.SPO2:
        bounds = [(table["spo2_low"].trigger["limit_pct"], -1)]
    elif code in _RATES:
        bounds = [
            (table["tachycardia"].trigger["limit_bpm"], 1),
            (table["bradycardia"].trigger["limit_bpm"], -1),
        ]
    return max(((value - bound) * sense / bound for bound, sense in bounds), default=0.0)
