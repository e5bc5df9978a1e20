"""Pairing, for staff at `/pair/<patient>` and for a patient at `/my/pair`: the same page and the same questions.

| route under `/api/v1/pair/<patient>/` (staff) and `/my/api/pair/` (the patient) | | gives |
| --- | --- | --- |
| `heard` | GET | wearables near the box: label, kind, near or not, whether taken |
| `mine` | GET | her wearables, each with its link and battery |
| `begin` | POST `{"label", "typed"}` | the attempt |
| `state` | GET `attempt` | the attempt |
| `answer` | POST `{"attempt", "answer"}` | the attempt |
| `undo` | POST `{"attempt"}` | the attempt |
| `unpair` | POST `{"wearable"}`, staff alone | `{}` |

A patient cannot take another's wearable; which one is whose she does not hear.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from flask import Blueprint, Response, current_app, g, jsonify, make_response, render_template, request
from werkzeug.exceptions import BadRequest, NotFound
from werkzeug.wrappers import Response as BaseResponse

from bedside.core.events import Json
from bedside.dashboard.access import Session
from bedside.dashboard.gateway_client import GatewayDown, GatewayRefused
from bedside.dashboard.rooms import Rooms
from bedside.dashboard.words import language_of, languages, words_in

NEAR_DBM = -67
LANGUAGE_COOKIE = "bedside-language"
LANGUAGE_S = 400 * 24 * 3600

pairing = Blueprint("pairing", __name__)


@dataclass(frozen=True, slots=True)
class Pairer:
    """Who pairs, for whom."""

    patient: str
    by: str
    staff: bool


def rooms_now() -> Rooms:
    rooms = current_app.extensions["bedside"]
    assert isinstance(rooms, Rooms)
    return rooms


def ask(op: str, **arguments: Json) -> Any:
    """Ask the gateway, unless it has been silent for long."""
    rooms = rooms_now()
    if rooms.feed.gone:
        raise GatewayDown("the gateway does not answer")
    return rooms.client.request(op, timeout_s=None, **arguments)


def failure(status: int, code: str, message: str) -> Response:
    response = jsonify({"error": {"code": code, "message": message}})
    response.status_code = status
    return response


def refused(error: GatewayRefused) -> Response:
    return failure(409 if error.code != "unknown_patient" else 404, error.code, str(error))


def down(_: GatewayDown) -> Response:
    return failure(503, "gateway_down", "the box does not answer")


def bad(error: BadRequest) -> Response:
    return failure(400, "bad_request", error.description or "bad request")


def text(name: str, length_max: int = 64) -> str:
    """One word of the request's body or address. Raises `BadRequest`."""
    body: Any = request.get_json(silent=True) if request.method == "POST" else request.args
    value = body.get(name) if body is not None and hasattr(body, "get") else None
    if not isinstance(value, str) or not 0 < len(value) <= length_max:
        raise BadRequest(f"{name}: expected 1 to {length_max} characters")
    return value


# ---------------------------------------------------------------- what both roles may ask


def heard(who: Pairer) -> Any:
    found = ask("pair_heard")
    views = []
    for one in found:
        mine = one["owner"] == who.patient
        views.append(
            {
                "label": one["label"], "kind": one["kind"], "name": one["name"], "near": one["rssi_dbm"] >= NEAR_DBM,
                "mine": mine, "taken": one["owner"] is not None and not mine,
            }
        )  # fmt: skip
    return views


def mine(who: Pairer) -> Any:
    links = {}
    for one in ask("ward")["patients"]:
        if one["id"] == who.patient:
            links = {wearable["id"]: wearable for wearable in one["wearables"]}
    views = []
    for one in ask("pairings", patient=who.patient):
        link = links.get(one["wearable"], {})
        views.append(
            {
                "wearable": one["wearable"], "label": one["label"], "name": one["name"], "bond": one["bond"],
                "doubt": one["doubt"], "link": link.get("link"), "battery_pct": link.get("battery_pct"),
                "reason": link.get("reason"),
            }
        )  # fmt: skip
    return views


def begin(who: Pairer) -> Any:
    body: Any = request.get_json()
    typed = isinstance(body, dict) and body.get("typed") is True
    label = text("label", 200)
    return ask("pair_begin", patient=who.patient, label=label, typed=typed, by=who.by, staff=who.staff)


def state(who: Pairer) -> Any:
    return ask("pair_state", attempt=text("attempt"), patient=who.patient)


def answer(who: Pairer) -> Any:
    attempt = text("attempt")
    body: Any = request.get_json()
    value = body.get("answer")
    if not isinstance(value, bool | int):
        raise BadRequest("answer: expected yes, no or a number")
    return ask("pair_answer", attempt=attempt, patient=who.patient, answer=value)


def undo(who: Pairer) -> Any:
    return ask("pair_undo", attempt=text("attempt"), patient=who.patient, by=who.by)


ROUTES: tuple[tuple[str, str, Callable[[Pairer], Any]], ...] = (
    ("heard", "GET", heard),
    ("mine", "GET", mine),
    ("begin", "POST", begin),
    ("state", "GET", state),
    ("answer", "POST", answer),
    ("undo", "POST", undo),
)


def add_routes(blueprint: Blueprint, prefix: str, pairer: Callable[..., Pairer]) -> None:
    """The routes of both roles on `blueprint`; `pairer` says from the address who asks."""
    for name, method, handler in ROUTES:

        def view(handler: Callable[[Pairer], Any] = handler, **address: str) -> Response:
            return jsonify(handler(pairer(**address)))

        blueprint.add_url_rule(f"{prefix}{name}", f"pair_{name}", view, methods=[method])
    blueprint.register_error_handler(GatewayRefused, refused)
    blueprint.register_error_handler(GatewayDown, down)
    blueprint.register_error_handler(BadRequest, bad)


def language() -> str:
    return language_of(
        request.args.get("lang") or request.cookies.get(LANGUAGE_COOKIE), request.headers.get("Accept-Language", "")
    )


def page(template: str, **values: Any) -> BaseResponse:
    """A page of the patient in her language; a language that was chosen is kept."""
    spoken = language()
    words = words_in(spoken)
    response = make_response(render_template(template, words=words, language=spoken, languages=languages(), **values))
    if request.args.get("lang") in languages():
        response.set_cookie(
            LANGUAGE_COOKIE, spoken, max_age=LANGUAGE_S, httponly=True, samesite="Strict", secure=request.is_secure
        )
    return response


# ---------------------------------------------------------------- staff


def _staff(patient: str) -> Pairer:
    session = g.session
    assert isinstance(session, Session)
    return Pairer(patient, session.name, staff=True)


add_routes(pairing, "/api/v1/pair/<patient>/", _staff)


@pairing.post("/api/v1/pair/<patient>/unpair")
def unpair(patient: str) -> Response:
    """Take a wearable from this patient."""
    wearable = text("wearable")
    if all(one["wearable"] != wearable for one in ask("pairings", patient=patient)):
        raise NotFound("this patient has no such wearable")
    return jsonify(ask("unpair", wearable=wearable, by=_staff(patient).by))


@pairing.get("/pair")
def choose_patient() -> BaseResponse:
    """Where a label's code leads: who is it for? The label stands behind the `#` and goes nowhere."""
    return page("pair_who.html", session=g.session, patients=ask("ward")["patients"])


@pairing.get("/pair/<patient>")
def pair(patient: str) -> BaseResponse:
    known = next((one for one in ask("ward")["patients"] if one["id"] == patient), None)
    if known is None:
        raise NotFound("No patient has such an id.")
    return page("pair.html", session=g.session, patient=known, api=f"/api/v1/pair/{patient}/", home="/", staff=True)


@pairing.errorhandler(GatewayDown)
def _down(error: GatewayDown) -> Response:
    return down(error)
