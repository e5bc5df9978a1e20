"""Rules over numerics: rate and saturation limits with hysteresis, the battery, and numbers that stopped coming.

Pure: `elapsed_us` is the engine's own time at which a numeric was heard.
"""

from __future__ import annotations

from dataclasses import dataclass

from bedside.alarms.signs import Sign
from bedside.alarms.table import ConditionTable
from bedside.core.codes import Code
from bedside.core.events import Evidence, Numeric
from bedside.core.samples import Validity
from bedside.core.time import US_PER_S

BLIND_S = 30.0
"""A signalled limit alarm outlives its last valid value for so long; then the technical alarm speaks alone."""
FRESH_S = 10.0
"""A value is the patient's for so long (see `core.codes.FACTS`)."""

RATE_SOURCES = (Code.HEART_RATE, Code.PULSE_RATE, Code.HEART_RATE_DEVICE)  # in order of preference
RATE_LABELS = {Code.HEART_RATE: "HR", Code.PULSE_RATE: "Pulse rate", Code.HEART_RATE_DEVICE: "HR (strap)"}
VITALS = frozenset({*RATE_SOURCES, Code.SPO2, Code.RESPIRATION_RATE})


@dataclass(slots=True)
class _Limit:
    """One limit: `sense` +1 alarms above, -1 below."""

    kind: str
    bound: float
    slack: float
    sense: int
    delay_us: int
    on: bool = False
    since_us: int = 0  # engine time at which it began
    valid_us: int = 0  # engine time of the last valid value

    def take(self, value: float, elapsed_us: int) -> bool:
        """A valid value; is the limit violated now?"""
        self.valid_us = elapsed_us
        value = round(value)  # as the screen shows it, so that no alarm contradicts it
        edge = self.bound - self.sense * self.slack if self.on else self.bound
        violated = (value - edge) * self.sense > 0
        if violated and not self.on:
            self.since_us = elapsed_us
        self.on = violated
        return violated

    def blind(self, elapsed_us: int) -> bool:
        """No valid value; does the violation still stand? A delay does not run out on values that were not seen."""
        if self.on:
            signalled = self.valid_us - self.since_us >= self.delay_us
            self.on = signalled and elapsed_us - self.valid_us <= BLIND_S * US_PER_S
        return self.on


class VitalRules:
    """What the numerics of one patient say."""

    def __init__(self, table: ConditionTable) -> None:
        def limit(kind: str, bound: str, slack: str, sense: int) -> _Limit:
            row = table[kind]
            return _Limit(kind, row.trigger[bound], row.trigger[slack], sense, round(row.delay_s * US_PER_S))

        self._rate = (
            limit("tachycardia", "limit_bpm", "hysteresis_bpm", 1),
            limit("bradycardia", "limit_bpm", "hysteresis_bpm", -1),
        )
        self._spo2 = (
            limit("desaturation", "limit_pct", "hysteresis_pct", -1),
            limit("spo2_low", "limit_pct", "hysteresis_pct", -1),
        )
        self._battery = table["battery_low"].trigger
        self._batteries_low: set[str] = set()
        self._valid: dict[Code, tuple[int, Numeric]] = {}  # newest valid, and engine time when it was heard
        self._said: dict[str, Numeric] = {}  # newest violating value by kind

    def change(self, table: ConditionTable) -> None:
        """Other limits from now on: the next value is held against them."""
        for one in self._rate:
            one.bound = table[one.kind].trigger["limit_bpm"]
        for one in self._spo2:
            one.bound = table[one.kind].trigger["limit_pct"]

    def numeric(self, numeric: Numeric, elapsed_us: int) -> list[Sign]:
        """One more number."""
        if numeric.code is Code.BATTERY:
            return self._charge(numeric)
        valid = numeric.value is not None and numeric.validity is not Validity.REJECTED
        if valid:
            self._valid[numeric.code] = (elapsed_us, numeric)
        if numeric.code is Code.SPO2:
            signs = self._check(self._spo2, numeric if valid else None, "SpO₂", elapsed_us)
            return signs + self._oximeter(numeric, valid)
        if numeric.code in RATE_SOURCES and numeric.code is self._rate_source(numeric.code, elapsed_us):
            return self._check(self._rate, numeric if valid else None, RATE_LABELS[numeric.code], elapsed_us)
        return []

    def tick(self, elapsed_us: int) -> list[Sign]:
        """Time passed: values that no longer come do not stand for ever."""
        signs: list[Sign] = []
        if not any(self._fresh(code, elapsed_us) for code in RATE_SOURCES):
            signs += self._check(self._rate, None, "HR", elapsed_us)
        if not self._fresh(Code.SPO2, elapsed_us):
            signs += self._check(self._spo2, None, "SpO₂", elapsed_us)
        return signs

    def _fresh(self, code: Code, elapsed_us: int) -> bool:
        return code in self._valid and elapsed_us - self._valid[code][0] <= FRESH_S * US_PER_S

    def _rate_source(self, candidate: Code, elapsed_us: int) -> Code:
        """The best source of a rate that has a fresh value, or the candidate itself where none has."""
        return next((code for code in RATE_SOURCES if self._fresh(code, elapsed_us)), candidate)

    def _check(self, limits: tuple[_Limit, ...], numeric: Numeric | None, label: str, elapsed_us: int) -> list[Sign]:
        signs = []
        for one in limits:
            was_on = one.on
            value = numeric.value if numeric is not None else None
            on = one.take(value, elapsed_us) if value is not None else one.blind(elapsed_us)
            if on and numeric is not None:
                self._said[one.kind] = numeric
                signs.append(_limit_sign(one, True, numeric, label))
            elif was_on and not on:
                signs.append(_limit_sign(one, False, numeric if numeric is not None else self._said[one.kind], label))
            elif not on and numeric is not None:
                signs.append(_limit_sign(one, False, numeric, label))  # within limits: a restored alarm may end
        return signs

    def _oximeter(self, numeric: Numeric, valid: bool) -> list[Sign]:
        """An oximeter that once measured and no longer does is a poor signal."""
        if not valid and Code.SPO2 not in self._valid:
            return []
        reason = (numeric.reason or "no value").replace("_", " ")
        return [
            Sign(
                kind="poor_signal",
                on=not valid,
                key="spo2",
                onset_us=numeric.start_us,
                end_us=numeric.start_us if valid else None,
                wearable=numeric.source,
                simulated=numeric.simulated,
                fields={} if valid else {"label": "SpO₂", "reason": reason},
            )
        ]

    def _charge(self, numeric: Numeric) -> list[Sign]:
        if numeric.value is None:
            return []
        low = numeric.source in self._batteries_low
        bound = self._battery["limit_pct"] + (self._battery["hysteresis_pct"] if low else 0.0)
        on = numeric.value < bound
        (self._batteries_low.add if on else self._batteries_low.discard)(numeric.source)
        return [
            Sign(
                kind="battery_low",
                on=on,
                key=numeric.source,
                onset_us=numeric.start_us,
                end_us=None if on else numeric.start_us,
                wearable=numeric.source,
                simulated=numeric.simulated,
                fields={"value": numeric.value, "limit": self._battery["limit_pct"]} if on else {},
            )
        ]


def _limit_sign(limit: _Limit, on: bool, numeric: Numeric, label: str) -> Sign:
    # a value between the limit and its hysteresis keeps the alarm, but does not stand in its sentence
    value = round(numeric.value) if numeric.value is not None else None
    beyond = value is not None and (value - limit.bound) * limit.sense > 0
    told: Evidence = {"value": value, "limit": limit.bound, "label": label, "code": str(numeric.code)}
    return Sign(
        kind=limit.kind,
        on=on,
        onset_us=numeric.start_us,
        end_us=None if on else numeric.start_us,
        stream=numeric.stream,
        wearable=numeric.source if numeric.code is not Code.HEART_RATE else None,
        simulated=numeric.simulated,
        fields=told if on and beyond else {},
    )
