"""The patient's own page under `/my`: her heartbeat, whether she is watched over, and a button that calls the team.

Her cookie opens these routes and none of the staff's; nothing here names a number, an alarm or another patient.

| route | | |
| --- | --- | --- |
| `/my/open#CODE` | GET | a button; the code stands behind the `#` and goes into no log |
| `/my/enter` | POST `code` | the code is exchanged for her cookie |
| `/my` | GET | her page |
| `/my/pair` | GET | her sensors (`pairing`) |
| `/my/api/stream` | GET | events `wave` (her ECG) and `me` (`MyState`), at least every second |
| `/my/api/call` | POST | "I feel unwell": an alarm that stays until the team has seen it |
| `/api/v1/pair/<patient>/code` | POST, staff | a code for her device, as a QR code |
| `/api/v1/pair/<patient>/end` | POST, staff | all her pages end |
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from flask import Blueprint, Response, abort, g, jsonify, redirect, request, url_for
from werkzeug.wrappers import Response as BaseResponse

from bedside.core.time import iso_utc
from bedside.dashboard.api import VIEWERS_MAX, _once
from bedside.dashboard.feed import sse
from bedside.dashboard.my_door import PAGE_S, PatientDoor
from bedside.dashboard.pairing import Pairer, add_routes, ask, failure, page, pairing, rooms_now
from bedside.printing.qr import qr_path

my_page = Blueprint("my", __name__)
OPEN = frozenset({"my.open_page", "my.enter"})
PATIENT_PAGES_MAX = VIEWERS_MAX // 2
BATTERY_LOW_PCT = 15.0


def _door() -> PatientDoor:
    door = rooms_now().patients
    if door is None:
        abort(404)
    return door


def _cookie_name() -> str:
    return f"{rooms_now().cookie_name}-my"


@my_page.before_request
def _guard() -> BaseResponse | None:
    """The patient by her cookie, strangers not at all."""
    g.patient = None
    if request.endpoint in OPEN:
        return None
    g.patient = _door().patient(request.cookies.get(_cookie_name()))
    if g.patient is None:
        if request.path.startswith("/my/api/"):
            return failure(401, "signed_out", "This page has ended")
        return redirect(url_for("my.open_page"), code=303)
    if request.method == "POST" and request.headers.get("X-Bedside-My") != "1":
        return failure(403, "wrong_origin", "This request came from another site")
    return None


def _her(**_: str) -> Pairer:
    return Pairer(str(g.patient), "patient", staff=False)


add_routes(my_page, "/my/api/pair/", _her)


# ---------------------------------------------------------------- the way in


@my_page.get("/my/open")
def open_page() -> BaseResponse:
    return page("my_open.html", used=False)


@my_page.post("/my/enter")
def enter() -> BaseResponse:
    patient = _door().exchange(request.form.get("code", "")[:100])
    if patient is None:
        response = page("my_open.html", used=True)
        response.status_code = 403
        return response
    answer = redirect(url_for("my.mine"), code=303)
    answer.set_cookie(
        _cookie_name(), _door().cookie(patient), max_age=PAGE_S, httponly=True, samesite="Strict",
        secure=request.is_secure, path="/my",
    )  # fmt: skip
    ask("audit", actor="patient", action="opened her page", detail={"patient": patient})
    return answer


@pairing.post("/api/v1/pair/<patient>/code")
def code(patient: str) -> Response:
    """A code for her own device, shown as a QR code on the screen of who cares for her."""
    if all(one["id"] != patient for one in ask("ward")["patients"]):
        return failure(404, "unknown_patient", "there is no such patient")
    link = f"{request.host_url}my/open#{_door().new_code(patient)}"
    ask("audit", actor=g.session.name, action="made a code for a patient's page", detail={"patient": patient})
    side, path = qr_path(link)
    return jsonify({"link": link, "side": side, "path": path})


@pairing.post("/api/v1/pair/<patient>/end")
def end(patient: str) -> Response:
    _door().end_all(patient)
    ask("audit", actor=g.session.name, action="ended a patient's pages", detail={"patient": patient})
    return jsonify({})


# ---------------------------------------------------------------- her page


@my_page.get("/my")
def mine() -> BaseResponse:
    response = page("my.html")
    response.set_cookie(
        _cookie_name(), _door().cookie(g.patient), max_age=PAGE_S, httponly=True, samesite="Strict",
        secure=request.is_secure, path="/my",
    )  # fmt: skip
    return response


@my_page.get("/my/pair")
def pair() -> BaseResponse:
    return page("pair.html", session=None, patient=None, api="/my/api/pair/", home="/my", staff=False)


@my_page.post("/my/api/call")
def call() -> Response:
    """She feels unwell. True only when the gateway has taken it."""
    said = ask("patient_call", patient=g.patient)
    return jsonify({"pressed": iso_utc(said["pressed_us"])})


@my_page.get("/my/api/me")
def me() -> Response:
    """`MyState` now, for a page whose stream has not begun."""
    return jsonify(my_state(ask("ward"), g.patient))


@my_page.get("/my/api/stream")
def stream() -> Response:
    rooms, door, patient, cookie = rooms_now(), _door(), str(g.patient), request.cookies.get(_cookie_name())
    if rooms.feed.viewers >= PATIENT_PAGES_MAX or not rooms.viewers.acquire(blocking=False):
        full = failure(503, "busy", "too many pages are open")
        full.headers["Retry-After"] = "5"
        return full
    followed = rooms.feed.follow(request.headers.get("Last-Event-ID"), lambda: door.patient(cookie) == patient)
    response = Response(hers(followed, patient), mimetype="text/event-stream")
    response.headers["X-Accel-Buffering"] = "no"
    response.call_on_close(_once(rooms.viewers.release))
    return response


def hers(followed: Iterator[bytes], patient: str) -> Iterator[bytes]:
    """Of the ward's event stream: this patient's ECG, and how she is watched. Nothing of anyone else passes."""
    for chunk in followed:
        for event in chunk.split(b"\n\n"):
            fields = dict(line.split(b": ", 1) for line in event.split(b"\n") if b": " in line)
            kind = fields.get(b"event")
            if kind == b"state":
                state = json.loads(fields[b"data"])
                if not state["answering"]:
                    yield sse("me", {"state": "away"})
            elif kind == b"batch":
                yield from _of_batch(json.loads(fields[b"data"]), patient, fields[b"id"].decode())


def _of_batch(batch: dict[str, Any], patient: str, event_id: str) -> Iterator[bytes]:
    if "ward" in batch:
        yield sse("me", my_state(batch["ward"], patient))
    waves = [wave for wave in batch["waves"] if wave["patient"] == patient and wave["kind"] == "ecg"]
    if waves:
        kept = ("stream", "rate_hz", "first_index", "unit_per_count", "data")
        yield sse("wave", [{name: wave[name] for name in kept} for wave in waves], event_id)


def my_state(ward: dict[str, Any], patient: str) -> dict[str, Any]:
    """How she is watched, in one word that is never better than the truth, and what became of her call.

    `state`: watched (data arrive and can be judged), poor, off (no contact), lost, waiting (no wearable, or nothing
    came yet), standby, away (the box does not know her).
    """
    her = next((one for one in ward["patients"] if one["id"] == patient), None)
    if her is None:
        return {"state": "away", "battery_low": False, "call": None}
    charge = [one["battery_pct"] for one in her["wearables"] if one["battery_pct"] is not None]
    calls = [one for one in her["alarms"] if one["kind"] == "patient_call"]
    return {
        "state": _watched(her),
        "battery_low": bool(charge) and min(charge) < BATTERY_LOW_PCT,
        "call": None if not calls else "seen" if calls[0]["state"] == "acknowledged" else "called",
    }


def _watched(her: dict[str, Any]) -> str:
    if her["state"] == "standby":
        return "standby"
    live = [one for one in her["wearables"] if one["link"] != "resting"]
    if not live:
        return "waiting"
    signals = her["signals"]
    if any(one["usable"] for one in signals):
        return "watched" if her["state"] == "monitored" else "poor"
    if all(one["link"] != "up" for one in live):
        never = her["newest_sample_us"] is None and all(one["link"] in ("searching", "connecting") for one in live)
        return "waiting" if never else "lost"
    if any(one["reason"] == "lead_off" for one in signals):
        return "off"
    return "waiting" if her["newest_sample_us"] is None else "poor"
