"""The table of alarm conditions, read from `conditions.toml`: the one place for priorities, limits and delays."""

from __future__ import annotations

import string
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from importlib import resources
from typing import Any

from bedside.core.codes import Code
from bedside.core.events import AlarmClass, Priority

URGENCY: dict[Priority, int] = {Priority.HIGH: 0, Priority.MEDIUM: 1, Priority.LOW: 2}


@dataclass(frozen=True, slots=True)
class Escalation:
    """A condition that lasts for `after_s` has this priority."""

    after_s: float
    priority: Priority


@dataclass(frozen=True, slots=True, kw_only=True)
class Condition:
    """One row of the table; the fields are explained at the top of `conditions.toml`."""

    kind: str
    alarm_class: AlarmClass
    priority: Priority
    latching: bool
    text: str
    source: str
    delay_s: float = 0.0
    clear_s: float = 0.0
    momentary: bool = False
    show_s: float = 0.0
    confirm_s: float = 15.0
    chain: str | None = None
    rank: int = 0
    held_by: tuple[str, ...] = ()
    lead_off_blocks: bool = False
    can_be_off: bool = True
    escalation: tuple[Escalation, ...] = ()
    trigger: Mapping[str, float] = field(default_factory=dict)

    def sentence(self, fields: Mapping[str, Any]) -> str:
        """The sentence for the screen. A field that is not known shows as `?`, never as an error."""
        return _Forgiving().vformat(self.text, (), fields)


@dataclass(frozen=True, slots=True)
class ConditionTable:
    """All conditions by kind, and the numbers that hold for all."""

    version: str
    reminder_s: float
    refractory_s: float
    refractory_high_s: float
    conditions: Mapping[str, Condition]

    def __getitem__(self, kind: str) -> Condition:
        return self.conditions[kind]

    def __contains__(self, kind: str) -> bool:
        return kind in self.conditions


class _Forgiving(string.Formatter):
    def get_value(self, key: int | str, args: Any, kwargs: Mapping[str, Any]) -> Any:
        return kwargs.get(str(key))

    def format_field(self, value: Any, format_spec: str) -> str:
        if value is None:
            return "?"
        try:
            return str(super().format_field(value, format_spec))
        except (ValueError, TypeError):
            return str(value)


def parse_table(text: str) -> ConditionTable:
    """The table of this TOML text. Raises `ValueError` naming the condition and the field."""
    values = tomllib.loads(text)
    head = {name: values.pop(name, None) for name in ("version", "reminder_s", "refractory_s", "refractory_high_s")}
    if any(value is None for value in head.values()):
        raise ValueError(f"alarm table: one of {', '.join(head)} is missing")
    conditions = {kind: _condition(kind, row) for kind, row in values.items()}
    for one in conditions.values():
        unknown = [kind for kind in one.held_by if kind not in conditions]
        if unknown:
            raise ValueError(f"alarm table: {one.kind}: held_by names unknown {unknown}")
    _check_limits(conditions)
    version = str(head.pop("version"))
    return ConditionTable(version, conditions=conditions, **{name: float(value) for name, value in head.items()})


@cache
def default_table() -> ConditionTable:
    """The table that is shipped with this version."""
    return parse_table(resources.files(__package__).joinpath("conditions.toml").read_text("utf-8"))


def limits(table: ConditionTable | None = None) -> dict[Code, tuple[float | None, float | None]]:
    """The lower and upper limit of each numeric that has one, for the screen."""
    conditions = (table if table is not None else default_table()).conditions
    rate = (conditions["bradycardia"].trigger["limit_bpm"], conditions["tachycardia"].trigger["limit_bpm"])
    return {
        Code.HEART_RATE: rate,
        Code.PULSE_RATE: rate,
        Code.SPO2: (conditions["spo2_low"].trigger["limit_pct"], None),
        Code.BATTERY: (conditions["battery_low"].trigger["limit_pct"], None),
    }


def _condition(kind: str, row: Any) -> Condition:
    if not isinstance(row, dict):
        raise ValueError(f"alarm table: {kind}: expected a table, got {type(row).__name__}")
    row = dict(row)
    try:
        steps = tuple(Escalation(float(one["after_s"]), Priority(one["priority"])) for one in row.pop("escalation", []))
        condition = Condition(
            kind=kind,
            alarm_class=AlarmClass(row.pop("class")),
            priority=Priority(row.pop("priority")),
            held_by=tuple(row.pop("held_by", ())),
            escalation=steps,
            **row,
        )
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(f"alarm table: {kind}: {error}") from error
    if min(condition.delay_s, condition.clear_s, condition.show_s, condition.confirm_s) < 0:
        raise ValueError(f"alarm table: {kind}: a duration below 0")
    after = [step.after_s for step in steps]
    urgency = [URGENCY[condition.priority], *(URGENCY[step.priority] for step in steps)]
    if after != sorted(after) or urgency != sorted(urgency, reverse=True):
        raise ValueError(f"alarm table: {kind}: an escalation must rise with time")
    return condition


def _check_limits(conditions: Mapping[str, Condition]) -> None:
    """Low never crosses high; the desaturation limit is not above the SpO2 limit."""

    def number(kind: str, name: str) -> float:
        try:
            return float(conditions[kind].trigger[name])
        except KeyError as error:
            raise ValueError(f"alarm table: {kind}: trigger {name} is missing") from error

    ordered = (
        number("extreme_bradycardia", "rate_bpm"),
        number("bradycardia", "limit_bpm"),
        number("tachycardia", "limit_bpm"),
        number("extreme_tachycardia", "rate_bpm"),
    )
    if list(ordered) != sorted(set(ordered)):
        raise ValueError(f"alarm table: rate limits {ordered} are not in order")
    if not number("desaturation", "limit_pct") <= number("spo2_low", "limit_pct") <= 100:
        raise ValueError("alarm table: the desaturation limit is above the SpO2 limit")
