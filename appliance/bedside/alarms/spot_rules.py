"""Rules over slower numbers: respiration, breaths, temperature, cuff pressure, glucose, and the early warning score.

A spot measurement stands for as long as its code's age allows (`core.codes.FACTS`), then its condition is over: an
old number is no condition. Pure: `elapsed_us` is the engine's own time at which a number was heard.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass

from bedside.alarms import news2
from bedside.alarms.signs import Sign
from bedside.alarms.table import ConditionTable
from bedside.core.codes import FACTS, Code
from bedside.core.events import Evidence, Finding, Numeric, Priority
from bedside.core.samples import Validity
from bedside.core.time import US_PER_S

NEWS_CODES: Mapping[Code, str] = {
    Code.RESPIRATION_RATE: "respiration", Code.SPO2: "saturation", Code.NIBP_SYSTOLIC: "pressure",
    Code.HEART_RATE: "pulse", Code.PULSE_RATE: "pulse", Code.TEMPERATURE: "temperature",
}  # fmt: skip
OBSERVED = "nurse_observation"
"""A finding with what a nurse entered: `oxygen` (given?), `alert` (awake?), `spo2_scale` (1 or 2)."""
SPOT_FINDINGS = frozenset({"breath", OBSERVED})
OBSERVED_S = 12 * 3600.0  # the longest interval of observation that NEWS2 knows
TREND_S = 3600.0
RISE = 2
"""So many points more than the least of the last hour are a rising trend."""
BREATHS_ARM = 3
ARMED_WITHIN_S = 60.0
"""Apnoea is armed by three breaths in a minute (GE B20 p.41)."""


@dataclass(frozen=True, slots=True)
class _Bound:
    """One limit of one code: `sense` +1 alarms above, -1 below."""

    code: Code
    kind: str
    name: str  # of the limit among the condition's triggers
    sense: int


BOUNDS = (
    _Bound(Code.RESPIRATION_RATE, "respiration_high", "limit_bpm", 1),
    _Bound(Code.RESPIRATION_RATE, "respiration_low", "limit_bpm", -1),
    _Bound(Code.TEMPERATURE, "temperature", "high_c", 1),
    _Bound(Code.TEMPERATURE, "temperature", "low_c", -1),
    _Bound(Code.NIBP_SYSTOLIC, "blood_pressure", "high_mmhg", 1),
    _Bound(Code.NIBP_SYSTOLIC, "blood_pressure", "low_mmhg", -1),
    _Bound(Code.GLUCOSE, "glucose", "high_mmol_l", 1),
    _Bound(Code.GLUCOSE, "glucose", "low_mmol_l", -1),
)


class SpotRules:
    """What the slower numbers of one patient say."""

    def __init__(self, table: ConditionTable) -> None:
        self._table = table
        self._on: dict[tuple[str, str], bool] = {}
        self._heard: dict[Code, tuple[int, float]] = {}  # newest value, and engine time when it was heard
        self._breaths: deque[int] = deque(maxlen=BREATHS_ARM)  # engine times
        self._armed = False
        self._apnea = False
        self._observed_us: int | None = None
        self._oxygen: bool | None = None
        self._alert: bool | None = None
        self._scale = 1
        self._scores: deque[tuple[int, int]] = deque(maxlen=120)  # engine time and score, each minute
        self._warned = False
        self._st_on = False

    # ------------------------------------------------------------------ what is heard

    def numeric(self, numeric: Numeric, elapsed_us: int) -> list[Sign]:
        """One more number; those from a wearable's memory are no live condition."""
        if numeric.value is None or numeric.validity is Validity.REJECTED or numeric.stored:
            return []
        self._heard[numeric.code] = (elapsed_us, numeric.value)
        if numeric.code is Code.ST_CHANGE:
            return [self._st(numeric)]
        signs = [
            self._held(bound, numeric.value, numeric.start_us, numeric)
            for bound in BOUNDS
            if bound.code is numeric.code
        ]
        return signs + (self._warning(numeric.start_us, elapsed_us, numeric) if numeric.code in NEWS_CODES else [])

    def finding(self, finding: Finding, elapsed_us: int) -> list[Sign]:
        """A breath, or what a nurse entered."""
        if finding.kind == OBSERVED:
            self._observed_us = elapsed_us
            given = finding.evidence
            oxygen, alert = given.get("oxygen"), given.get("alert")
            self._oxygen = oxygen if isinstance(oxygen, bool) else self._oxygen
            self._alert = alert if isinstance(alert, bool) else self._alert
            self._scale = 2 if given.get("spo2_scale", self._scale) == 2 else 1
            return self._warning(finding.start_us, elapsed_us, None)
        self._breaths.append(elapsed_us)
        span_us = self._breaths[-1] - self._breaths[0]
        self._armed |= len(self._breaths) == BREATHS_ARM and span_us <= ARMED_WITHIN_S * US_PER_S
        if not self._apnea:
            return []
        self._apnea = False
        return [Sign(kind="apnea", on=False, end_us=finding.start_us)]

    def unseen(self) -> list[Sign]:
        """Breathing can no longer be seen: an apnoea is not known to last, and must be armed anew."""
        self._breaths.clear()
        self._armed = False
        if not self._apnea:
            return []
        self._apnea = False
        return [Sign(kind="apnea", on=False)]

    def tick(self, now_us: int, elapsed_us: int) -> list[Sign]:
        """Time passed: no breath comes, and numbers grow old."""
        signs = self._silence(now_us, elapsed_us)
        for bound in BOUNDS:
            place = (bound.kind, bound.name)
            if self._on.get(place) and not self._fresh(bound.code, elapsed_us):
                self._on[place] = False
                signs.append(Sign(kind=bound.kind, on=False, witness=bound.name, end_us=now_us))
        if self._st_on and not self._fresh(Code.ST_CHANGE, elapsed_us):
            self._st_on = False
            signs.append(Sign(kind="st_change", on=False, end_us=now_us))
        if self._warned:  # an input that grew old no longer counts
            signs += self._warning(now_us, elapsed_us, None)
        return signs

    # ------------------------------------------------------------------ parts

    def _fresh(self, code: Code, elapsed_us: int) -> bool:
        heard = self._heard.get(code)
        return heard is not None and elapsed_us - heard[0] <= FACTS[code].max_age_s * US_PER_S

    def _silence(self, now_us: int, elapsed_us: int) -> list[Sign]:
        limit_s = self._table["apnea"].trigger["limit_s"]
        if not self._armed or not self._breaths or elapsed_us - self._breaths[-1] < limit_s * US_PER_S:
            return []
        silent_s = (elapsed_us - self._breaths[-1]) / US_PER_S
        onset_us = now_us - (elapsed_us - self._breaths[-1])
        self._apnea = True
        return [Sign(kind="apnea", on=True, onset_us=onset_us, fields={"silent_s": silent_s, "limit_s": limit_s})]

    def _held(self, bound: _Bound, value: float, at_us: int, numeric: Numeric) -> Sign:
        trigger = self._table[bound.kind].trigger
        limit = trigger[bound.name]
        decimals = FACTS[bound.code].decimals
        shown = round(value, decimals)  # as the screen shows it, so that no alarm contradicts it
        place = (bound.kind, bound.name)
        slack = trigger.get("hysteresis", 0.0) if self._on.get(place) else 0.0
        on = (shown - limit + bound.sense * slack) * bound.sense > 0
        self._on[place] = on
        told: Evidence = {
            "label": FACTS[bound.code].label, "value": shown, "limit": limit, "sign": ">" if bound.sense > 0 else "<",
            "code": str(bound.code),
        }  # fmt: skip
        beyond = (shown - limit) * bound.sense > 0
        return Sign(
            kind=bound.kind, on=on, witness=bound.name, onset_us=at_us, end_us=None if on else at_us,
            stream=numeric.stream, wearable=numeric.source, simulated=numeric.simulated,
            fields=told if on and beyond else {},
        )  # fmt: skip

    def _st(self, numeric: Numeric) -> Sign:
        """ST against the patient's own first beats; the table says for how long it must stand."""
        value, limit = numeric.value or 0.0, self._table["st_change"].trigger["limit_mv"]
        self._st_on = abs(round(value, 2)) >= limit
        told: Evidence = {"label": "ECG", "st_mv": round(value, 2), "limit_mv": limit}
        return Sign(
            kind="st_change",
            on=self._st_on,
            onset_us=numeric.start_us,
            end_us=None if self._st_on else numeric.start_us,
            stream=numeric.stream,
            simulated=numeric.simulated,
            fields=told if self._st_on else {},
        )

    def score(self, elapsed_us: int) -> news2.Score:
        """The early warning score now, of what is fresh."""
        values: dict[str, float | None] = {}
        for code, name in NEWS_CODES.items():
            if self._fresh(code, elapsed_us) and values.get(name) is None:
                values[name] = self._heard[code][1]
        observed = self._observed_us is not None and elapsed_us - self._observed_us <= OBSERVED_S * US_PER_S
        return news2.score(
            values,
            oxygen=self._oxygen if observed else None,
            alert=self._alert if observed else None,
            scale=self._scale,
        )

    def _warning(self, at_us: int, elapsed_us: int, numeric: Numeric | None) -> list[Sign]:
        found = self.score(elapsed_us)
        trigger = self._table["early_warning_score"].trigger
        rise = self._trend(found.total, elapsed_us)
        on = found.total >= trigger["urgent"] or found.single is not None
        was_on, self._warned = self._warned, on
        if not on:
            return [Sign(kind="early_warning_score", on=False, end_us=at_us)] if was_on else []
        single = f", {news2.NAMES[found.single]} alone 3" if found.single is not None else ""
        missing = ", ".join(news2.NAMES[name] for name in found.missing)
        return [
            Sign(
                kind="early_warning_score", on=True, onset_us=at_us,
                simulated=numeric is not None and numeric.simulated,
                priority=Priority.HIGH if found.total >= trigger["emergency"] else None,
                fields={
                    "score": found.total, "told": found.sentence() + single, "inputs": len(found.points),
                    "missing": missing or "nothing", "scale": found.scale, "points": {**found.points},
                    "trend": f"; rising by {rise} in the last hour" if rise >= RISE else "",
                },
            )
        ]  # fmt: skip

    def _trend(self, total: int, elapsed_us: int) -> int:
        """How much higher than the least of the last hour."""
        while self._scores and elapsed_us - self._scores[0][0] > TREND_S * US_PER_S:
            self._scores.popleft()
        if not self._scores or elapsed_us - self._scores[-1][0] >= 60 * US_PER_S:
            self._scores.append((elapsed_us, total))
        return total - min(before for _, before in self._scores)
