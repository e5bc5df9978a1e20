"""The JSON API's second half: limits, standby, alarms off, reviews, observations, trends, the shift.

| route under `/api/v1/` | | needs |
| --- | --- | --- |
| `limits` | GET `patient` | look |
| `limits` | POST `{"patient", "code", "low", "high", "severe_low"}` | limits |
| `what-if` | POST the same with `hours`, `delay_s`: nothing is changed | look |
| `quiet` | GET `patient` | look |
| `standby`, `standby/end` | POST `{"patient", "reason", "seconds"}`, `{"patient"}` | answer |
| `alarm-off`, `alarm-on` | POST `{"patient", "kind", "reason", "seconds"}`, `{"patient", "kind"}` | switch_off |
| `alarm-test` | POST `{"priority"}` | answer |
| `review` | POST `{"patient", "event", "verdict", "label", "comment"}` | review |
| `observe` | POST `{"patient", "oxygen", "alert", …}` | answer |
| `early-warning`, `trend`, `handover`, `fatigue` | GET | look |
| `audit` | GET `start_us`, `end_us`: who did what on the box | audit |
| `lock` | POST | own |

Everything is done in the name of who is signed in: a name in the body is not read.
"""

from __future__ import annotations

from typing import Any

from flask import Blueprint, Response, jsonify, request
from werkzeug.exceptions import BadRequest

from bedside.dashboard.api import answers_errors, ask, number_of, rooms_of, signed_in, word_of
from bedside.dashboard.roles import May, needs

care = Blueprint("care", __name__, url_prefix="/api/v1")
answers_errors(care)

FIELDS: dict[str, tuple[str, ...]] = {
    "set_limit": ("patient", "code", "low", "high", "severe_low"),
    "what_if": ("patient", "code", "low", "high", "severe_low", "hours", "delay_s"),
    "standby": ("patient", "reason", "seconds"),
    "end_standby": ("patient",),
    "alarm_off": ("patient", "kind", "reason", "seconds"),
    "alarm_on": ("patient", "kind"),
    "alarm_test": ("priority",),
    "review": ("patient", "event", "verdict", "label", "comment", "onset_us", "stream"),
    "observe": (
        "patient", "oxygen", "alert", "spo2_scale", "MDC_TEMP_BODY", "MDC_PRESS_BLD_NONINV_SYS", "MDC_RESP_RATE",
    ),
}  # fmt: skip

ROUTE_FIELDS = {**FIELDS, "acknowledge": ("alarm",), "pause_audio": ("seconds",)}
"""What the body of each route may hold, by its function's name."""


def _done(op: str) -> Response:
    """Pass the known fields of the body on, in the name of who is signed in."""
    body: Any = request.get_json()
    if not isinstance(body, dict):
        raise BadRequest("expected an object")
    given = {name: body[name] for name in FIELDS[op] if name in body}
    return jsonify(rooms_of().client.request(op, **given, by=signed_in().name))


@care.get("/limits")
def limits() -> Response:
    """One patient's limits, with what they may be set to."""
    return jsonify(ask("limits", patient=word_of("patient")))


@care.post("/limits")
@needs(May.LIMITS)
def set_limit() -> Response:
    """Change one limit."""
    return _done("set_limit")


@care.post("/what-if")
@needs(May.LOOK)
def what_if() -> Response:
    """What other limits would have done."""
    body: Any = request.get_json()
    if not isinstance(body, dict):
        raise BadRequest("expected an object")
    given = {name: body[name] for name in FIELDS["what_if"] if name in body}
    return jsonify(rooms_of().client.request("what_if", timeout_s=120.0, **given))


@care.get("/quiet")
def quiet() -> Response:
    """What is switched off for a patient, and what may be."""
    return jsonify(ask("quiet", patient=word_of("patient")))


@care.post("/standby")
@needs(May.ANSWER)
def standby() -> Response:
    """Begin a standby with a reason and an end."""
    return _done("standby")


@care.post("/standby/end")
@needs(May.ANSWER)
def end_standby() -> Response:
    """Monitor again."""
    return _done("end_standby")


@care.post("/alarm-off")
@needs(May.SWITCH_OFF)
def alarm_off() -> Response:
    """Turn one kind of alarm off for a time."""
    return _done("alarm_off")


@care.post("/alarm-on")
@needs(May.ANSWER)
def alarm_on() -> Response:
    """Turn it on again: that needs less than turning it off."""
    return _done("alarm_on")


@care.post("/alarm-test")
@needs(May.ANSWER)
def alarm_test() -> Response:
    """Let the alarm signals of a priority be seen and heard."""
    return _done("alarm_test")


@care.post("/review")
@needs(May.REVIEW)
def review() -> Response:
    """Say what an event was."""
    return _done("review")


@care.post("/observe")
@needs(May.ANSWER)
def observe() -> Response:
    """Enter what was seen at the bedside."""
    return _done("observe")


@care.get("/early-warning")
def early_warning() -> Response:
    """NEWS2 with its inputs."""
    return jsonify(ask("early_warning", patient=word_of("patient")))


@care.get("/trend")
def trend() -> Response:
    """Least, mean and greatest of a number in equal parts of a range."""
    span = {"start_us": number_of("start_us"), "end_us": number_of("end_us"), "points": number_of("points", 240)}
    return jsonify(ask("trend", patient=word_of("patient"), code=word_of("code"), **span))


@care.get("/handover")
def handover() -> Response:
    """What happened since `start_us`, by patient."""
    return jsonify(ask("handover", start_us=number_of("start_us")))


@care.get("/fatigue")
def fatigue() -> Response:
    """How many alarms, how soon answered, by patient."""
    return jsonify(ask("fatigue", start_us=number_of("start_us")))


@care.get("/audit")
@needs(May.AUDIT)
def audit() -> Response:
    """Who did what on the box: its own records, none of a patient's."""
    span = {"start_us": number_of("start_us", 0), "end_us": number_of("end_us", 2**62)}
    return jsonify(ask("events", patient=None, types=["audit"], limit=1000, **span))


@care.post("/lock")
@needs(May.OWN)
def lock() -> Response:
    """Lock this session: alarms stay in sight, nothing can be changed until its owner unlocks it."""
    if not signed_in().account:
        raise BadRequest("A session of a one-time link cannot be unlocked again: sign out instead")
    rooms_of().access.lock(signed_in())
    return jsonify({"locked": True})
