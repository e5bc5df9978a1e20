from __future__ import annotations

import re
from collections.abc import Iterator

import pytest
from flask.testing import FlaskClient
from tests.dashboard.fake_gateway import FakeGateway

from bedside.core.time import US_PER_S
from bedside.dashboard import app as application
from bedside.dashboard.access import store_token
from bedside.dashboard.feed import Feed
from bedside.dashboard.serve import Dashboard
from bedside.settings import Home

pytestmark = pytest.mark.requirement("DSH-001")

MAY_BE_OPEN = {
    "sign_in",
    "exchange",
    "health",
    "static",
    "password",
    "authority",
    "metrics",
    "my.open_page",
    "my.enter",
}


@pytest.fixture
def served(home: Home, gateway: FakeGateway) -> Iterator[Dashboard]:
    """The application with its feed, asked without a web server."""
    made = Dashboard(home, port=8460)
    made.feed.start()
    yield made
    made.close()


@pytest.fixture
def stranger(served: Dashboard) -> FlaskClient:
    return served.app.test_client()


@pytest.fixture
def nurse(served: Dashboard, home: Home) -> FlaskClient:
    client = served.app.test_client()
    store_token(home, "token")
    answer = client.post("/sign-in", data={"token": "token", "name": "Sister Agnes"})
    assert answer.status_code == 303
    return client


def csrf_of(client: FlaskClient) -> str:
    return str(client.get("/api/v1/session").get_json()["csrf"])


def open_to_strangers(served: Dashboard, stranger: FlaskClient) -> list[str]:
    """The routes that answer someone without a session, other than those that may."""
    answered = []
    for rule in served.app.url_map.iter_rules():
        if rule.endpoint in MAY_BE_OPEN:
            continue
        path = re.sub(r"<[^>]+>", "x", rule.rule)
        for method in (rule.methods or set()) - {"OPTIONS", "HEAD"}:
            with stranger.open(path, method=method) as answer:
                api = path.startswith(("/api/", "/my/api/"))
                door = "/my/open" if path.startswith("/my") else "/sign-in"  # a patient's page has a door of its own
                refused = answer.status_code == 401 if api else answer.location == door
            if not refused:
                answered.append(f"{method} {path}")
    return answered


def test_nothing_but_the_door_opens_without_a_session(served: Dashboard, stranger: FlaskClient) -> None:
    assert len(list(served.app.url_map.iter_rules())) >= 12
    assert open_to_strangers(served, stranger) == []


def test_the_check_above_sees_a_route_that_nobody_guards(
    served: Dashboard, stranger: FlaskClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(application, "OPEN_ENDPOINTS", MAY_BE_OPEN | {"api.ward"})
    assert open_to_strangers(served, stranger) == ["GET /api/v1/ward"]


@pytest.mark.parametrize("broken", ["csrf", "origin"])
def test_the_acknowledgement_test_sees_a_door_without_its_check(
    nurse: FlaskClient, gateway: FakeGateway, monkeypatch: pytest.MonkeyPatch, broken: str
) -> None:
    """Negative control: with either check taken out, what that check alone refuses goes through."""
    alarm = gateway.raise_alarm(0, "vt", "high", "Ventricular tachycardia")
    headers = {} if broken == "csrf" else {"X-Bedside-CSRF": csrf_of(nurse), "Origin": "http://evil.example"}
    assert nurse.post("/api/v1/acknowledge", json={"alarm": alarm}, headers=headers).status_code == 403
    check = "_csrf_fits" if broken == "csrf" else "same_origin"
    monkeypatch.setattr(application, check, lambda *_: True)
    assert nurse.post("/api/v1/acknowledge", json={"alarm": alarm}, headers=headers).status_code == 200


def test_every_answer_carries_the_headers_that_keep_strangers_out(nurse: FlaskClient, stranger: FlaskClient) -> None:
    paths = ["/", "/patient/abc", "/sign-in", "/api/v1/ward", "/nowhere", "/static/js/ward.js", "/healthz"]
    for path in paths:
        for client in (nurse, stranger):
            with client.get(path) as answer:
                headers = answer.headers
            policy = headers["Content-Security-Policy"]
            assert "default-src 'none'" in policy, path
            assert "unsafe" not in policy, path
            assert headers["X-Content-Type-Options"] == "nosniff"
            assert headers["X-Frame-Options"] == "DENY"
            assert headers["Cache-Control"] in ("no-store", "no-cache")


def test_the_cookie_is_out_of_reach_for_scripts_and_other_sites(nurse: FlaskClient) -> None:
    cookie = nurse.get("/").headers["Set-Cookie"]
    assert "HttpOnly" in cookie
    assert "SameSite=Strict" in cookie
    assert "Agnes" not in cookie


def test_pages_hold_no_inline_script_or_style(nurse: FlaskClient) -> None:
    for path in ("/", "/patient/abc", "/sign-in", "/nowhere"):
        page = nurse.get(path).get_data(as_text=True)
        assert re.search(r"<script(?![^>]*\bsrc=)", page) is None
        assert re.search(r"<style|\sstyle=|\son[a-z]+=|javascript:", page) is None
        assert re.search(r"""(?:src|href)=["'](?:https?:)?//""", page) is None, "something from another server"


def test_an_acknowledgement_needs_the_pages_token_and_carries_the_name(
    nurse: FlaskClient, gateway: FakeGateway
) -> None:
    alarm = gateway.raise_alarm(0, "vt", "high", "Ventricular tachycardia")
    assert nurse.post("/api/v1/acknowledge", json={"alarm": alarm}).status_code == 403
    wrong = nurse.post("/api/v1/acknowledge", json={"alarm": alarm}, headers={"X-Bedside-CSRF": "0" * 64})
    assert wrong.status_code == 403
    headers = {"X-Bedside-CSRF": csrf_of(nurse)}
    foreign = {**headers, "Origin": "http://evil.example"}
    assert nurse.post("/api/v1/acknowledge", json={"alarm": alarm}, headers=foreign).status_code == 403
    assert gateway.acknowledged == []
    answer = nurse.post("/api/v1/acknowledge", json={"alarm": alarm}, headers=headers)
    assert answer.get_json() == {"alarm": alarm, "state": "acknowledged"}
    assert [request["by"] for request in gateway.acknowledged] == ["Sister Agnes"]


def test_a_page_of_another_name_gets_nothing(nurse: FlaskClient) -> None:
    answer = nurse.get("/api/v1/ward", headers={"Host": "evil.example"})
    assert answer.status_code == 403
    assert "patients" not in answer.get_data(as_text=True)


def test_the_api_gives_the_gateways_own_shapes(nurse: FlaskClient, gateway: FakeGateway) -> None:
    ward = nurse.get("/api/v1/ward").get_json()
    assert [patient["bed"] for patient in ward["patients"]] == ["Bed 1", "Bed 2", "Bed 3", "Bed 4"]
    gateway.raise_alarm(0, "vt", "high", "Ventricular tachycardia")
    who = gateway.patients[0].id
    events = nurse.get(f"/api/v1/events?patient={who}&types=alarm").get_json()
    assert [event["kind"] for event in events] == ["vt"]
    end_us = gateway.started_us + 2 * US_PER_S
    query = f"patient={who}&stream={who}-ecg&start_us={gateway.started_us}&end_us={end_us}"
    strip = nurse.get(f"/api/v1/strip?{query}").get_json()
    assert strip["kind"] == "ecg"
    assert strip["segments"][0]["patient"] == who


@pytest.mark.parametrize(
    ("path", "status", "code"),
    [
        ("/api/v1/events?patient=nobody", 404, "unknown_patient"),
        ("/api/v1/events?types=alarm,secrets", 400, "bad_request"),
        ("/api/v1/events?start_us=now", 400, "bad_request"),
        ("/api/v1/events?start_us=-1", 400, "bad_request"),
        ("/api/v1/events?limit=" + "9" * 40, 400, "bad_request"),
        ("/api/v1/strip?patient=a&stream=b&start_us=0&end_us=60000001", 400, "bad_request"),
        ("/api/v1/strip?patient=a&stream=b&start_us=5&end_us=5", 400, "bad_request"),
        ("/api/v1/strip?stream=b&start_us=0&end_us=5", 400, "bad_request"),
        ("/api/v1/nothing", 404, "bad_request"),
    ],
)
def test_bad_questions_are_refused_in_words(nurse: FlaskClient, path: str, status: int, code: str) -> None:
    answer = nurse.get(path)
    assert (answer.status_code, answer.get_json()["error"]["code"]) == (status, code)
    assert answer.get_json()["error"]["message"]


@pytest.mark.parametrize("body", ["text", [], {"alarm": 5}, {"alarm": ""}, {"alarm": "x" * 200}, {"other": "x"}])
def test_a_bad_acknowledgement_is_refused(nurse: FlaskClient, body: object) -> None:
    answer = nurse.post("/api/v1/acknowledge", json=body, headers={"X-Bedside-CSRF": csrf_of(nurse)})
    assert answer.status_code == 400


def test_a_silent_gateway_is_told_as_such(nurse: FlaskClient, gateway: FakeGateway) -> None:
    gateway.close()
    answer = nurse.get("/api/v1/ward")
    assert (answer.status_code, answer.get_json()["error"]["code"]) == (503, "gateway_down")
    assert nurse.get("/").status_code == 200, "the page itself still opens and says that nothing is live"


def test_a_gateway_that_is_long_gone_keeps_no_thread_waiting_but_an_acknowledgement_is_tried(
    nurse: FlaskClient, gateway: FakeGateway, served: Dashboard, monkeypatch: pytest.MonkeyPatch
) -> None:
    tried: list[str] = []

    def ask(op: str, **_: object) -> dict[str, str]:
        tried.append(op)
        return {}

    headers = {"X-Bedside-CSRF": csrf_of(nurse)}
    monkeypatch.setattr(served._client, "request", ask)
    monkeypatch.setattr(Feed, "gone", True)
    assert [nurse.get(f"/api/v1/{path}").status_code for path in ("ward", "events")] == [503, 503]
    assert nurse.get("/patient/abc").status_code == 200
    nurse.post("/api/v1/acknowledge", json={"alarm": "x"}, headers=headers)
    assert tried == ["acknowledge"]


def test_the_link_opens_once_and_its_token_stays_in_no_address(
    served: Dashboard, stranger: FlaskClient, home: Home
) -> None:
    store_token(home, "token")
    for _ in range(2):
        page = stranger.get("/sign-in?token=token")
        assert page.status_code == 200, "looking at the link, as a preview does, must not use it up"
    answer = stranger.post("/sign-in", data={"token": "token"})
    assert (answer.status_code, answer.location) == (303, "/")
    another = served.app.test_client()
    again = another.post("/sign-in", data={"token": "token"})
    assert again.status_code == 403
    assert "Set-Cookie" not in again.headers
    assert another.get("/sign-in?token=token").status_code == 403


def test_signing_in_and_looking_at_a_patient_is_audited_without_names_in_the_address(
    nurse: FlaskClient, gateway: FakeGateway
) -> None:
    nurse.get(f"/patient/{gateway.patients[0].id}")
    assert [(audit["actor"], audit["action"]) for audit in gateway.audits] == [
        ("Sister Agnes", "signed in"),
        ("Sister Agnes", "opened patient"),
    ]


def test_after_signing_out_the_old_cookie_is_worth_nothing(nurse: FlaskClient, served: Dashboard) -> None:
    nurse.get("/")
    kept = nurse.get_cookie("bedside-8460")
    assert kept is not None
    assert nurse.post("/sign-out", data={"csrf": csrf_of(nurse)}).status_code == 303
    thief = served.app.test_client()
    thief.set_cookie("bedside-8460", kept.value)
    assert thief.get("/api/v1/ward").status_code == 401


def test_a_bug_tells_nothing_of_itself(nurse: FlaskClient, served: Dashboard, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object, **__: object) -> None:
        raise RuntimeError("the secret of patient 7")

    monkeypatch.setattr(served._client, "request", broken)
    answer = nurse.get("/api/v1/ward")
    assert answer.status_code == 500
    assert "secret" not in answer.get_data(as_text=True)


def test_an_audio_pause_needs_the_pages_token_carries_the_name_and_is_bounded(
    nurse: FlaskClient, gateway: FakeGateway
) -> None:
    headers = {"X-Bedside-CSRF": csrf_of(nurse)}
    assert nurse.post("/api/v1/audio/pause", json={}).status_code == 403
    for seconds in (0, 121, True, "120"):
        answer = nurse.post("/api/v1/audio/pause", json={"seconds": seconds}, headers=headers)
        assert answer.status_code == 400
    assert gateway.pause == {}
    assert nurse.post("/api/v1/audio/pause", json={"seconds": 60}, headers=headers).status_code == 200
    assert gateway.pause["audio_paused_by"] == "Sister Agnes"
    assert nurse.post("/api/v1/audio/resume", json={}, headers=headers).status_code == 200
    assert gateway.pause == {}
