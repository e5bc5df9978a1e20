"""The JSON API under `/api/v1/`: the gateway's own shapes (`core.api`), for who holds a session.

| route | | gives |
| --- | --- | --- |
| `ward` | GET | `Ward` |
| `events` | GET `patient`, `start_us`, `end_us`, `types` (comma-separated), `limit` | list of events |
| `strip` | GET `patient`, `stream`, `start_us`, `end_us` | `Strip` |
| `acknowledge` | POST `{"alarm"}` | `{"alarm", "state"}` |
| `audio/pause` | POST `{"seconds"}` (1 to 120; default 120) | `{"audio_paused_until_us"}` |
| `audio/resume` | POST | `{}` |
| `stream` | GET | server-sent events `batch` (`WaveBatch`), `state`, `full` |
| `session` | GET | `{"name", "csrf"}` |

Errors: `{"error": {"code", "message"}}` with 400, 401, 403, 404, 409 or 503.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any

from flask import Blueprint, Response, current_app, g, jsonify, request
from werkzeug.exceptions import BadRequest

from bedside.core.events import EVENT_TYPES, Json
from bedside.core.time import US_PER_S
from bedside.dashboard.access import Session
from bedside.dashboard.feed import sse
from bedside.dashboard.gateway_client import GatewayDown, GatewayRefused
from bedside.dashboard.roles import May, allowed, needs
from bedside.dashboard.rooms import Rooms

VIEWERS_MAX = 24
"""Open event streams; each holds a thread of the web server. One browser needs one."""
STRIP_S_MAX = 60
EVENTS_MAX = 2000
AUDIO_PAUSE_S = 120

STATUS_OF_CODE = {
    "bad_request": 400,
    "unknown_patient": 404,
    "unknown_stream": 404,
    "unknown_alarm": 404,
    "not_possible": 409,
    "busy": 503,
}

api = Blueprint("api", __name__, url_prefix="/api/v1")


def failure(status: int, code: str, message: str) -> Response:
    """An error in the API's one shape."""
    response = jsonify({"error": {"code": code, "message": message}})
    response.status_code = status
    return response


def rooms_of() -> Rooms:
    rooms = current_app.extensions["bedside"]
    assert isinstance(rooms, Rooms)
    return rooms


def ask(op: str, **arguments: Json) -> Any:
    """Ask the gateway, unless it has been silent for so long that this would only keep a thread waiting."""
    rooms = rooms_of()
    if rooms.feed.gone:
        raise GatewayDown("the gateway does not answer")
    return rooms.client.request(op, timeout_s=None, **arguments)


def signed_in() -> Session:
    """Who asks."""
    session = g.session
    assert isinstance(session, Session)
    return session


def answers_errors(blueprint: Blueprint) -> None:
    """Give a part of the API the one way of telling errors."""

    @blueprint.errorhandler(GatewayRefused)
    def refused(error: GatewayRefused) -> Response:
        return failure(STATUS_OF_CODE.get(error.code, 502), error.code, str(error))

    @blueprint.errorhandler(GatewayDown)
    def down(error: GatewayDown) -> Response:
        return failure(503, "gateway_down", f"{error}. Watch the patients themselves until it answers again.")

    @blueprint.errorhandler(BadRequest)
    def bad(error: BadRequest) -> Response:
        return failure(400, "bad_request", error.description or "bad request")


answers_errors(api)


def word_of(name: str) -> str:
    value = request.args.get(name, "")
    if not 0 < len(value) <= 128:
        raise BadRequest(f"{name}: expected 1 to 128 characters, got {len(value)}")
    return value


def number_of(name: str, default: int | None = None) -> int:
    value = request.args.get(name)
    if value is None and default is not None:
        return default
    try:
        number = int(value or "")
    except ValueError:
        number = -1
    if not 0 <= number < 2**63:
        raise BadRequest(f"{name}: expected a whole number of at least 0, got {value!r:.40}")
    return number


@api.get("/ward")
def ward() -> Response:
    """The whole ward but the waves."""
    return jsonify(ask("ward"))


@api.get("/events")
def events() -> Response:
    """Events of one patient, or of the box where no patient is named."""
    patient = word_of("patient") if request.args.get("patient") else None
    types = [word for word in request.args.get("types", "").split(",") if word]
    unknown = sorted(set(types) - set(EVENT_TYPES))
    if unknown:
        raise BadRequest(f"types: {unknown[0]!r:.40} is none of {', '.join(EVENT_TYPES)}")
    start_us, end_us = number_of("start_us", 0), number_of("end_us", 2**62)
    limit = min(max(number_of("limit", 200), 1), EVENTS_MAX)
    found = ask("events", patient=patient, start_us=start_us, end_us=end_us, types=list(types), limit=limit)
    return jsonify(found)


@api.get("/strip")
def strip() -> Response:
    """Stored samples of at most 60 s."""
    start_us, end_us = number_of("start_us"), number_of("end_us")
    if not 0 < end_us - start_us <= STRIP_S_MAX * US_PER_S:
        raise BadRequest(f"start_us, end_us: expected more than 0 and at most {STRIP_S_MAX} s between them")
    found = ask("strip", patient=word_of("patient"), stream=word_of("stream"), start_us=start_us, end_us=end_us)
    return jsonify(found)


@api.post("/acknowledge")
def acknowledge() -> Response:
    """Acknowledge one alarm in the name of who is signed in."""
    body: Any = request.get_json()
    alarm = body.get("alarm") if isinstance(body, dict) else None
    if not isinstance(alarm, str) or not 0 < len(alarm) <= 128:
        raise BadRequest("alarm: expected the id of an alarm")
    return jsonify(rooms_of().client.request("acknowledge", alarm=alarm, by=signed_in().name))


@api.post("/audio/pause")
def pause_audio() -> Response:
    """Silence what sounds on the box for at most two minutes, in the name of who is signed in."""
    body: Any = request.get_json()
    seconds = body.get("seconds", AUDIO_PAUSE_S) if isinstance(body, dict) else None
    if not isinstance(seconds, int) or isinstance(seconds, bool) or not 1 <= seconds <= AUDIO_PAUSE_S:
        raise BadRequest(f"seconds: expected a whole number, 1 to {AUDIO_PAUSE_S}")
    return jsonify(rooms_of().client.request("audio_pause", seconds=seconds, by=signed_in().name))


@api.post("/audio/resume")
def resume_audio() -> Response:
    """End an audio pause before its time."""
    return jsonify(rooms_of().client.request("audio_resume", by=signed_in().name))


@api.get("/session")
@needs(May.OWN)
def session() -> Response:
    """Who is signed in, and what she may do; asking renews the session."""
    who, access = signed_in(), rooms_of().access
    glass = access.glass(who)
    may = sorted(str(one) for one in May if allowed(who.role, one, glass=glass))
    return jsonify(
        {
            "name": who.name, "csrf": who.csrf, "role": str(who.role), "may": may, "locked": access.locked(who),
            "account": who.account, "glass": glass,
        }
    )  # fmt: skip


@api.get("/stream")
def stream() -> Response:
    """The event stream of one browser. `Last-Event-ID`, or `after`, names the last event that it has."""
    rooms, who = rooms_of(), signed_in()
    if not rooms.viewers.acquire(blocking=False):
        full = Response(sse("full", {"text": f"{VIEWERS_MAX} screens watch already"}), mimetype="text/event-stream")
        full.status_code = 503
        full.headers["Retry-After"] = "5"
        return full
    after = request.headers.get("Last-Event-ID") or request.args.get("after")
    followed: Iterator[bytes] = rooms.feed.follow(after, lambda: rooms.access.still_in(who))
    response = Response(followed, mimetype="text/event-stream")
    response.headers["X-Accel-Buffering"] = "no"
    response.call_on_close(_once(rooms.viewers.release))
    return response


def _once(release: Any) -> Any:
    """`release`, but only the first time: a server may close a response twice."""
    lock = threading.Lock()

    def close() -> None:
        if lock.acquire(blocking=False):
            release()

    return close
