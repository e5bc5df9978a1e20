"""The patient's own page, below the browser: what passes to her, what she is told, and who gets in."""

from __future__ import annotations

import json
from typing import Any

import pytest

from bedside.core.time import US_PER_S
from bedside.dashboard.feed import sse
from bedside.dashboard.my_door import CODE_S, PAGE_S, PatientDoor
from bedside.dashboard.my_page import hers, my_state
from bedside.settings import Home

pytestmark = pytest.mark.requirement("DSH-011")


def patient(**changes: Any) -> dict[str, Any]:
    usable = {"usable": True, "reason": None}
    her = {
        "id": "anna", "name": "Anna Secret", "state": "monitored", "newest_sample_us": 5, "alarms": [],
        "signals": [usable], "wearables": [{"link": "up", "battery_pct": 80.0}],
    }  # fmt: skip
    return her | changes


LOST = [{"link": "lost", "battery_pct": None}]
BAD = [{"usable": False, "reason": "motion"}]


@pytest.mark.parametrize(
    ("her", "state"),
    [
        (patient(), "watched"),
        (patient(state="failed"), "poor"),
        (patient(state="standby"), "standby"),
        (patient(wearables=[], signals=[]), "waiting"),
        (patient(wearables=[{"link": "resting", "battery_pct": None}], signals=[]), "waiting"),
        (patient(wearables=[{"link": "searching", "battery_pct": None}], signals=[], newest_sample_us=None), "waiting"),
        (patient(wearables=[{"link": "searching", "battery_pct": None}], signals=BAD), "lost"),
        (patient(wearables=LOST, signals=[{"usable": False, "reason": "link_lost"}]), "lost"),
        (patient(signals=[{"usable": False, "reason": "lead_off"}]), "off"),
        (patient(signals=BAD), "poor"),
        (patient(signals=[]), "poor"),
    ],
)
def test_she_is_called_watched_only_when_a_signal_can_be_judged(her: dict[str, Any], state: str) -> None:
    assert my_state({"patients": [her]}, "anna")["state"] == state


def test_her_call_and_her_battery_are_told_and_a_box_without_her_says_away() -> None:
    call = {"kind": "patient_call", "state": "latched"}
    low = patient(alarms=[call], wearables=[{"link": "up", "battery_pct": 9.0}])
    assert my_state({"patients": [low]}, "anna") == {"state": "watched", "battery_low": True, "call": "called"}
    assert my_state({"patients": [patient()]}, "bert")["state"] == "away"


def test_nothing_of_anybody_else_passes_to_her() -> None:
    other = patient(id="bert", name="Bert Canary", alarms=[{"kind": "vt", "state": "active", "text": "VT Canary"}])
    wave = {"kind": "ecg", "rate_hz": 130.0, "first_index": 1, "unit_per_count": 0.1, "start_us": 3}
    batch = {
        "ward": {"patients": [patient(), other], "stored_in": "/canary"},
        "waves": [
            wave | {"stream": "s-anna", "patient": "anna", "data": "AAAA"},
            wave | {"stream": "canary", "patient": "bert", "data": "CANARY"},
            wave | {"stream": "s-pleth", "patient": "anna", "kind": "pleth", "data": "BBBB"},
        ],
    }
    told = sse("state", {"answering": False, "since_us": 1, "text": "Canary"})
    said = b"".join(hers(iter([b"retry: 1000\n\n", told, sse("batch", batch, "1-1")]), "anna"))
    assert b"anary" not in said and b"CANARY" not in said and b"Secret" not in said
    assert b'"s-anna"' in said and b"BBBB" not in said
    assert said.count(b"event: me\n") == 2 and b'"away"' in said
    assert b"CANARY" in json.dumps(batch).encode(), "the control: it was there to pass"


class Hand:
    """A clock that is set by hand."""

    def __init__(self) -> None:
        self.us = 1_800_000_000 * US_PER_S

    def now_us(self) -> int:
        return self.us

    def monotonic_s(self) -> float:
        return self.us / US_PER_S


def test_a_code_opens_once_and_in_time_and_a_cookie_is_hers_until_it_is_ended(home: Home) -> None:
    clock = Hand()
    door = PatientDoor(home, clock=clock)
    code = door.new_code("anna")
    assert door.serves(code) and door.exchange("x" + code) is None
    assert door.exchange(code) == "anna"
    assert door.exchange(code) is None, "it serves once"
    late = door.new_code("anna")
    clock.us += CODE_S * US_PER_S
    assert door.exchange(late) is None

    cookie = door.cookie("anna")
    assert door.patient(cookie) == "anna"
    for forged in (None, "", cookie[:-1], cookie + "A", "x" * 600, PatientDoor(home).cookie("anna")[::-1]):
        assert door.patient(forged) is None
    assert PatientDoor(home, clock=clock).patient(cookie) == "anna", "it outlasts a restart"
    clock.us += PAGE_S * US_PER_S + 2 * US_PER_S
    assert door.patient(cookie) is None

    fresh, others = door.cookie("anna"), door.cookie("bert")
    waiting = door.new_code("anna")
    door.end_all("anna")
    assert door.patient(fresh) is None and door.exchange(waiting) is None
    assert door.patient(others) == "bert"
    again = PatientDoor(home, clock=clock)
    assert again.patient(fresh) is None, "an end outlasts a restart, too"
    clock.us += 2 * US_PER_S
    assert again.patient(again.cookie("anna")) == "anna"
