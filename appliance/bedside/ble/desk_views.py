"""What the pairing desk shows over the socket: plain values, no address and no key in them. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from bedside.ble import blood_pressure, glucose, heart_rate, plx, pmd, thermometer, weight
from bedside.ble.pairing import Attempt, Pairing, Question

KINDS: dict[str, str] = {
    heart_rate.SERVICE: "strap",
    pmd.SERVICE: "strap",
    plx.SERVICE: "oximeter",
    blood_pressure.SERVICE: "cuff",
    thermometer.SERVICE: "thermometer",
    weight.WEIGHT_SERVICE: "scale",
    weight.BODY_COMPOSITION_SERVICE: "scale",
    glucose.SERVICE: "meter",
    glucose.CGM_SERVICE: "meter",
}
"""What a wearable is called by the services that it advertises; the first that fits."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Heard:
    """A wearable that advertises near the box."""

    address: str
    name: str
    kind: str
    rssi_dbm: float
    heard_s: float  # monotonic
    label: str


def kind_of(services: Sequence[str]) -> str | None:
    """None: nothing that Bedside reads."""
    return next((word for uuid, word in KINDS.items() if uuid in services), None)


def heard_view(one: Heard, owner: str | None) -> dict[str, Any]:
    """`owner` is the patient that has it, or None."""
    return {"label": one.label, "name": one.name, "kind": one.kind, "rssi_dbm": round(one.rssi_dbm), "owner": owner}


def attempt_view(attempt: Attempt, question: Question | None, shown: str) -> dict[str, Any]:
    facts = attempt.facts
    return {
        "attempt": attempt.id,
        "patient": attempt.patient,
        "stage": str(attempt.stage),
        "name": attempt.chosen.name,
        "question": None
        if question is None
        else {"ask": str(question.ask), "text": question.text, "number": question.number},
        "type_on_wearable": shown or None,
        "battery_pct": facts.battery_pct if facts is not None else None,
        "signals": list(facts.signals) if facts is not None else [],
        "bond": str(attempt.level),
        "reason": attempt.reason or None,
    }


def pairing_view(pairing: Pairing, label: str, doubt: str | None) -> dict[str, Any]:
    return {
        "wearable": pairing.wearable,
        "patient": pairing.patient,
        "name": pairing.identity.name,
        "model": pairing.identity.model,
        "label": label,
        "bond": str(pairing.level),
        "proven": pairing.proven,
        "user_index": pairing.user_index,
        "paired_us": pairing.paired_us,
        "doubt": doubt,
    }
