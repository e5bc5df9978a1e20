"""What programs read: the description of the API, and figures for Prometheus that name no patient."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest
from click.testing import CliRunner
from tests.dashboard.fake_gateway import FakeGateway

from bedside.dashboard.access import Session, store_token
from bedside.dashboard.cli import metrics as command
from bedside.dashboard.metrics import exposition, turn_off, turn_on
from bedside.dashboard.roles import GRANTED, May, Role
from bedside.dashboard.serve import Dashboard
from bedside.settings import Home

pytestmark = pytest.mark.requirement("DSH-001")


@pytest.fixture
def served(home: Home, gateway: FakeGateway) -> Iterator[Dashboard]:
    made = Dashboard(home, port=8460)
    made.feed.start()
    yield made
    made.close()


def link_session(served: Dashboard, home: Home) -> Session:
    store_token(home, "token")
    made = served.access.exchange("token", "x")
    assert made is not None
    return made


def test_the_description_names_every_route_its_permission_and_its_errors(served: Dashboard, home: Home) -> None:
    client = served.app.test_client()
    client.set_cookie("bedside-8460", served.access.cookie(link_session(served, home)))
    told = client.get("/api/v1/openapi.json").get_json()
    assert told["openapi"] == "3.1.0"
    expected = {
        (re.sub(r"<(?:[^:<>]+:)?([^<>]+)>", r"{\1}", rule.rule), method.lower())
        for rule in served.app.url_map.iter_rules()
        if rule.rule.startswith("/api/v1/")
        for method in (rule.methods or set()) - {"HEAD", "OPTIONS"}
    }
    described = {(path, method) for path, methods in told["paths"].items() for method in methods}
    assert described == expected and len(expected) > 25
    ids = [one["operationId"] for methods in told["paths"].values() for one in methods.values()]
    assert len(ids) == len(set(ids))
    off = told["paths"]["/api/v1/alarm-off"]["post"]
    assert off["x-permission"] == May.SWITCH_OFF and off["x-roles"] == ["clinician"]
    assert set(off["requestBody"]["content"]["application/json"]["schema"]["properties"]) >= {
        "kind",
        "reason",
        "seconds",
    }
    for methods in told["paths"].values():
        for one in methods.values():
            assert one["summary"] and {"200", "401", "403"} <= set(one["responses"])
            assert set(one["x-roles"]) == {str(r) for r in Role if May(one["x-permission"]) in GRANTED[r]}


def test_figures_are_off_until_a_token_is_made_and_serve_its_bearer_alone(served: Dashboard, home: Home) -> None:
    client = served.app.test_client()
    assert client.get("/metrics").status_code == 404
    token = turn_on(home)
    assert client.get("/metrics").status_code == 404
    for wrong in ("Bearer x", f"Basic {token}", token, "Bearer "):
        assert client.get("/metrics", headers={"Authorization": wrong}).status_code == 404
    answer = client.get("/metrics", headers={"Authorization": f"Bearer {token}"})
    assert answer.status_code == 200 and b"bedside_gateway_answering 1" in answer.data
    assert token not in (home.keys / "metrics.json").read_text()
    assert turn_off(home) and client.get("/metrics", headers={"Authorization": f"Bearer {token}"}).status_code == 404


def test_no_name_bed_id_value_or_sentence_of_a_patient_stands_in_the_figures(
    served: Dashboard, home: Home, gateway: FakeGateway
) -> None:
    for number, patient in enumerate(gateway.patients):
        patient.name, patient.bed, patient.rate_bpm = f"CANARY{number}", f"CANARYBED{number}", 87.654
    gateway.raise_alarm(0, "asystole", "high", "CANARY sentence")
    token = turn_on(home)
    text = served.app.test_client().get("/metrics", headers={"Authorization": f"Bearer {token}"}).get_data(as_text=True)
    assert 'bedside_alarms_open{priority="high",state="active"} 1' in text
    assert 'bedside_patients{state="monitored"} 4' in text
    assert "CANARY" not in text and "87.654" not in text and "asystole" not in text
    assert not any(patient.id in text for patient in gateway.patients)
    lines = [line for line in text.splitlines() if not line.startswith("#")]
    assert all(
        re.fullmatch(r'bedside_[a-z_]+(\{[a-z]+="[^"{}]*"(,[a-z]+="[^"{}]*")*\})? -?[0-9.e+]+', line) for line in lines
    )


def test_a_gateway_that_is_gone_is_a_figure_too() -> None:
    assert "bedside_gateway_answering 0" in exposition(None, 0)


def test_the_command_turns_it_on_and_off(home: Home) -> None:
    runner = CliRunner()
    assert "Authorization: Bearer" in runner.invoke(command, ["on", "--home", str(home.path)]).output
    assert runner.invoke(command, ["off", "--home", str(home.path)]).output == "Off.\n"
    assert runner.invoke(command, ["off", "--home", str(home.path)]).output == "It was off.\n"
