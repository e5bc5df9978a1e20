"""Roles: what each may do over the API, the lock, and the broken glass."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from typing import Any

import pytest
from flask.testing import FlaskClient
from tests.dashboard.fake_gateway import FakeGateway

from bedside.core.time import US_PER_S
from bedside.dashboard import access as door
from bedside.dashboard.access import Session, store_token
from bedside.dashboard.accounts import Accounts
from bedside.dashboard.roles import GRANTED, May, Role, allowed, asked_by
from bedside.dashboard.serve import Dashboard
from bedside.settings import Home

pytestmark = pytest.mark.requirement("DSH-004")

POSTS: dict[str, tuple[dict[str, Any], May]] = {
    "acknowledge": ({"alarm": "a"}, May.ANSWER),
    "audio/pause": ({}, May.ANSWER),
    "limits": ({"patient": "p", "code": "MDC_ECG_HEART_RATE", "low": 45, "high": 130}, May.LIMITS),
    "what-if": ({"patient": "p", "hours": 8}, May.LOOK),
    "standby": ({"patient": "p", "reason": "X-ray", "seconds": 600}, May.ANSWER),
    "standby/end": ({"patient": "p"}, May.ANSWER),
    "alarm-off": ({"patient": "p", "kind": "spo2_low", "reason": "COPD", "seconds": 600}, May.SWITCH_OFF),
    "alarm-on": ({"patient": "p", "kind": "spo2_low"}, May.ANSWER),
    "alarm-test": ({"priority": "high"}, May.ANSWER),
    "review": ({"patient": "p", "event": "e", "verdict": "confirmed"}, May.REVIEW),
    "observe": ({"patient": "p", "oxygen": True}, May.ANSWER),
}
GETS = {
    "ward": May.LOOK, "limits?patient=p": May.LOOK, "quiet?patient=p": May.LOOK, "early-warning?patient=p": May.LOOK,
    "trend?patient=p&code=x&start_us=1&end_us=2": May.LOOK, "handover?start_us=1": May.LOOK,
    "fatigue?start_us=1": May.LOOK, "session": May.OWN,
}  # fmt: skip


@pytest.fixture
def served(home: Home, gateway: FakeGateway) -> Iterator[Dashboard]:
    made = Dashboard(home, port=8460)
    made.feed.start()
    yield made
    made.close()


def enter(served: Dashboard, home: Home, role: Role, name: str = "Sister Agnes") -> tuple[FlaskClient, dict[str, str]]:
    client = served.app.test_client()
    store_token(home, "token", role=role)
    assert client.post("/sign-in", data={"token": "token", "name": name}).status_code == 303
    return client, {"X-Bedside-CSRF": str(client.get("/api/v1/session").get_json()["csrf"])}


@pytest.mark.parametrize("role", list(Role))
def test_each_role_may_do_what_the_table_grants_and_nothing_else(served: Dashboard, home: Home, role: Role) -> None:
    client, head = enter(served, home, role)
    for path, (body, what) in POSTS.items():
        answer = client.post(f"/api/v1/{path}", json=body, headers=head)
        refused = answer.status_code == 403 and answer.get_json()["error"]["code"] == "not_allowed"
        assert refused != allowed(role, what), f"{role} {path}: {answer.status_code}"
    for path, what in GETS.items():
        answer = client.get(f"/api/v1/{path}")
        assert (answer.status_code == 403) != allowed(role, what), f"{role} {path}: {answer.status_code}"


def test_every_route_that_changes_something_asks_for_more_than_looking(served: Dashboard) -> None:
    lax = []
    for rule in served.app.url_map.iter_rules():
        if (rule.methods or set()) - {"GET", "HEAD", "OPTIONS"}:
            what = asked_by(served.app.view_functions[rule.endpoint], changes=True)
            if what is May.LOOK and rule.endpoint != "care.what_if":
                lax.append(rule.rule)
    assert lax == []
    assert asked_by(lambda: None, changes=True) is May.ANSWER, "a route that somebody forgot to mark"
    assert not any(May.ANSWER in GRANTED[role] for role in (Role.AUDITOR, Role.ADMINISTRATOR, Role.PATIENT))


def test_what_is_done_carries_the_name_of_who_is_signed_in_whatever_the_body_says(
    served: Dashboard, home: Home, gateway: FakeGateway
) -> None:
    client, head = enter(served, home, Role.CLINICIAN, "Dr Who")
    for path, (body, _) in POSTS.items():
        client.post(f"/api/v1/{path}", json=body | {"by": "Dr No", "op": "stop"}, headers=head)
    assert {one["by"] for one in gateway.told if one["op"] != "what_if"} == {"Dr Who"}
    assert {one["op"] for one in gateway.told} >= {"set_limit", "alarm_off", "review", "observe"}


def test_a_role_cannot_be_written_into_a_cookie(served: Dashboard, home: Home) -> None:
    session = served.access.open_for("x", Role.PATIENT)
    payload, signature = served.access.cookie(session).split(".")
    plain = base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4))
    assert b"patient" in plain
    other = base64.urlsafe_b64encode(plain.replace(b"patient", b"clinician")).rstrip(b"=").decode()
    forged = f"{other}.{signature}"
    assert served.access.session(forged) is None
    kept = served.access.session(served.access.cookie(session))
    assert kept is not None and kept.role is Role.PATIENT


def test_the_broken_glass_lets_an_auditor_look_and_answer_for_an_hour_with_a_reason(
    served: Dashboard, home: Home, gateway: FakeGateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    client, head = enter(served, home, Role.AUDITOR, "A. Auditor")
    assert client.get("/api/v1/ward").status_code == 403
    page = client.get("/")
    assert page.status_code == 403 and b"Break the glass" in page.data
    form = {"csrf": head["X-Bedside-CSRF"]}
    assert client.post("/break-glass", data=form).status_code == 403, "no reason"
    assert client.post("/break-glass", data=form | {"reason": "cardiac arrest in 3"}).status_code == 303
    (audit,) = [one for one in gateway.audits if one["action"] == "break_glass"]
    assert audit["actor"] == "A. Auditor" and audit["detail"]["what"] == "cardiac arrest in 3"
    assert client.get("/api/v1/ward").status_code == 200
    off = client.post("/api/v1/alarm-off", json=POSTS["alarm-off"][0], headers=head)
    assert off.status_code == 403, "looking and answering, no more"
    now_us = served.access._clock.now_us() + door.GLASS_S * US_PER_S + 1
    monkeypatch.setattr(type(served.access._clock), "now_us", lambda _: now_us)
    assert client.get("/api/v1/ward").status_code == 403


def test_a_patient_cannot_break_the_glass(served: Dashboard, home: Home) -> None:
    client, head = enter(served, home, Role.PATIENT)
    answer = client.post("/break-glass", data={"csrf": head["X-Bedside-CSRF"], "reason": "please"})
    assert answer.status_code == 403 and client.get("/api/v1/ward").status_code == 403


def test_a_locked_session_sees_the_wards_alarms_and_changes_and_reads_nothing_else(
    served: Dashboard, home: Home, gateway: FakeGateway
) -> None:
    Accounts(home).add("Sister Agnes", Role.CLINICIAN, "correct horse battery staple")
    session = served.access.open_for("Sister Agnes", Role.CLINICIAN)
    client = served.app.test_client()
    client.set_cookie("bedside-8460", served.access.cookie(session))
    head = {"X-Bedside-CSRF": session.csrf}
    assert client.post("/api/v1/lock", headers=head).status_code == 200
    assert client.get("/").status_code == 200 and client.get("/api/v1/ward").status_code == 200
    assert client.get("/api/v1/session").get_json()["locked"] is True
    for path, (body, _) in POSTS.items():
        assert client.post(f"/api/v1/{path}", json=body, headers=head).status_code == 423, path
    assert client.get("/api/v1/events?patient=p").status_code == 423
    assert client.get(f"/patient/{gateway.patients[0].id}").status_code == 303
    served.access.unlock(session)
    assert client.get("/api/v1/handover?start_us=1").status_code == 200


def test_a_session_of_a_link_is_not_locked_for_it_could_not_be_opened_again(served: Dashboard, home: Home) -> None:
    client, head = enter(served, home, Role.NURSE)
    assert client.post("/api/v1/lock", headers=head).status_code == 400
    assert isinstance(served.access.open_for("x", Role.NURSE), Session)
