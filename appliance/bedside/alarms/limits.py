"""The limits of one patient: a preset, and what somebody changed of it within safe bounds.

`limits.toml` holds presets and bounds. Asystole, VF, VT and the delays are the table's and no one's to change.
Pure.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from functools import cache
from importlib import resources
from typing import Any

from bedside.alarms.table import ConditionTable, default_table
from bedside.core.codes import FACTS, Code
from bedside.core.events import Json

FIELDS: dict[Code, tuple[str | None, str | None, str | None]] = {  # low, high, severe low
    Code.HEART_RATE: ("rate_low", "rate_high", None),
    Code.SPO2: ("spo2_low", None, "desaturation"),
}
"""What can be changed. The pulse's rate has the limits of the heart's."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PatientLimits:
    """The limits in force for one patient: rates in 1/min, saturations in %, whole numbers."""

    rate_low: int
    rate_high: int
    spo2_low: int
    desaturation: int

    def changed(self, code: Code, low: Json, high: Json, severe_low: Json = None) -> PatientLimits:
        """With other limits of `code`; `severe_low` None: as it is. Raises `ValueError` with a sentence."""
        if code not in FIELDS:
            raise ValueError(f"{code}: has no limit that can be changed; {', '.join(FIELDS)} have")
        given = list(zip(FIELDS[code], (low, high, severe_low), strict=True))
        if any(name is None and value is not None for name, value in given):
            raise ValueError(f"{FACTS[code].label}: has no such limit that can be changed")
        fields = {name: value for name, value in given if name is not None}
        if severe_low is None:
            fields.pop(FIELDS[code][2] or "", None)
        return checked(replace(self, **fields))  # type: ignore[arg-type]  # `checked` looks at the types

    def plain(self) -> dict[str, Json]:
        """For the log."""
        return dict(asdict(self))

    def table(self, base: ConditionTable) -> ConditionTable:
        """The table with these limits in it; the extreme rates follow."""
        extreme = _data()["extreme"]
        slow = min(base["extreme_bradycardia"].trigger["rate_bpm"], self.rate_low - extreme["delta_bpm"])
        fast = max(base["extreme_tachycardia"].trigger["rate_bpm"], self.rate_high + extreme["delta_bpm"])
        numbers = {
            ("bradycardia", "limit_bpm"): float(self.rate_low),
            ("tachycardia", "limit_bpm"): float(self.rate_high),
            ("extreme_bradycardia", "rate_bpm"): float(max(slow, extreme["slowest_bpm"])),
            ("extreme_tachycardia", "rate_bpm"): float(min(fast, extreme["fastest_bpm"])),
            ("spo2_low", "limit_pct"): float(self.spo2_low),
            ("desaturation", "limit_pct"): float(self.desaturation),
        }
        conditions = dict(base.conditions)
        for (kind, name), number in numbers.items():
            row = conditions[kind]
            conditions[kind] = replace(row, trigger={**row.trigger, name: number})
        return replace(base, conditions=conditions)


def checked(limits: PatientLimits) -> PatientLimits:
    """The same, if they are safe. Raises `ValueError` with a sentence that says what is not."""
    for name, (least, greatest) in bounds().items():
        value = getattr(limits, name)
        if isinstance(value, bool) or not isinstance(value, int):
            raise ValueError(f"{name}: expected a whole number, got {value!r:.20}")
        if not least <= value <= greatest:
            raise ValueError(f"{name}: {value} is not in {least} to {greatest}")
    if not limits.rate_low < limits.rate_high:
        raise ValueError(f"rate_low {limits.rate_low} is not below rate_high {limits.rate_high}")
    if not limits.desaturation <= limits.spo2_low:
        raise ValueError(f"desaturation {limits.desaturation} is above spo2_low {limits.spo2_low}")
    return limits


def read_back(values: object) -> PatientLimits:
    """What `plain` gave. Raises `ValueError` for anything else."""
    if not isinstance(values, Mapping) or set(values) != set(bounds()):
        raise ValueError("limits: not the four numbers that were written")
    return checked(PatientLimits(**values))


def preset(name: str = "adult") -> PatientLimits:
    """A preset. Raises `ValueError` for one that the intended use does not enable, or that there is not."""
    row = _data()["preset"].get(name)
    if row is None or not row["enabled"]:
        raise ValueError(f"preset {name!r}: the intended use does not enable it")
    return checked(PatientLimits(**{field: row[field] for field in bounds()}))


def bounds() -> dict[str, tuple[int, int]]:
    """Least and greatest value of each limit."""
    rows: dict[str, Any] = _data()["bounds"]
    return {name: (row[0], row[1]) for name, row in rows.items() if name != "source"}


def view(limits: PatientLimits, code: Code) -> dict[str, Json]:
    """One code's limits for the screens, with what they may be set to (`core.api.LimitView`)."""
    now, default = limits.plain(), preset().plain()
    table = limits.table(default_table())
    extremes: tuple[Json, Json] = (now["desaturation"], None)
    if code is Code.HEART_RATE:
        extremes = (
            table["extreme_bradycardia"].trigger["rate_bpm"],
            table["extreme_tachycardia"].trigger["rate_bpm"],
        )
    low, high, severe = FIELDS[code]
    ranges: list[Json] = [list(bounds()[name]) if name is not None else None for name in (low, high, severe)]
    names = [name for name in (low, high, severe) if name is not None]
    return {
        "code": str(code), "label": FACTS[code].label, "unit": FACTS[code].unit, "step": 1, "preset": "adult",
        "low": now[low] if low else None, "high": now[high] if high else None,
        "severe_low": extremes[0], "severe_high": extremes[1],
        "low_range": ranges[0], "high_range": ranges[1], "severe_low_range": ranges[2],
        "preset_low": default[low] if low else None, "preset_high": default[high] if high else None,
        "changed": any(now[name] != default[name] for name in names),
    }  # fmt: skip


@cache
def _data() -> dict[str, Any]:
    return tomllib.loads(resources.files(__package__).joinpath("limits.toml").read_text("utf-8"))
