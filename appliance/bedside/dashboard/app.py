"""The Flask application: pages, the door, and the headers that every answer carries.

Pages are empty shells; what they show comes over the event stream and the JSON API, written into the page
as text, never as markup. Nothing of a patient stands in an address, a title or a log.
"""

from __future__ import annotations

import hmac
import logging
import re
import threading
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

from flask import Flask, Response, abort, current_app, g, make_response, redirect, render_template, request, url_for
from werkzeug.exceptions import HTTPException
from werkzeug.wrappers import Response as BaseResponse

from bedside.core.errors import BedsideError
from bedside.core.events import Json
from bedside.dashboard import metrics as figures
from bedside.dashboard.access import DEFAULT_NAME, SESSION_S, Access, Names, Session, same_origin
from bedside.dashboard.accounts import Accounts, Bucket, Throttle
from bedside.dashboard.api import VIEWERS_MAX, api, failure
from bedside.dashboard.care_api import ROUTE_FIELDS, care
from bedside.dashboard.feed import Feed
from bedside.dashboard.gateway_client import GatewayClient, GatewayDown
from bedside.dashboard.my_door import PatientDoor
from bedside.dashboard.my_page import my_page
from bedside.dashboard.openapi import describe
from bedside.dashboard.pairing import pairing
from bedside.dashboard.roles import GLASS, May, Role, allowed, asked_by, needs
from bedside.dashboard.rooms import Rooms
from bedside.settings import Home

log = logging.getLogger(__name__)

OPEN_ENDPOINTS = frozenset({"sign_in", "exchange", "health", "static", "password", "authority", "metrics"})
"""What may be asked without a session: nothing of these tells anything about a patient."""
WHILE_LOCKED = frozenset({"ward", "api.ward", "api.stream", "api.session", "care.lock", "unlock", "sign_out"})
"""What a locked session still sees: the ward with its alarms, and the way to unlock."""
REQUESTS_PER_S, REQUESTS_AT_ONCE = 50.0, 400
"""Of one session, or of one address without a session."""
PATIENT_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")

CONTENT_SECURITY_POLICY = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "font-src 'self'",
        "img-src 'self'",
        "connect-src 'self'",
        "worker-src 'self'",
        "base-uri 'none'",
        "form-action 'self'",
        "frame-ancestors 'none'",
        "require-trusted-types-for 'script'",
        "trusted-types bedside",
    )
)
HEADERS = {
    "Content-Security-Policy": CONTENT_SECURITY_POLICY,
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), microphone=(), geolocation=(), payment=(), usb=()",
}


def create_app(
    *,
    client: GatewayClient,
    feed: Feed,
    access: Access,
    names: Names,
    cookie_name: str,
    accounts: Accounts,
    home: Home,
    authority: Path | None = None,
    patients: PatientDoor | None = None,
) -> Flask:
    """The application. `feed` is started and closed by the caller; `cookie_name` differs between boxes on a host."""
    app = Flask("bedside.dashboard", static_folder="static", template_folder="templates")
    app.config.update(MAX_CONTENT_LENGTH=64 * 1024, JSON_SORT_KEYS=False)
    app.jinja_env.autoescape = True
    places = threading.BoundedSemaphore(VIEWERS_MAX)
    rooms = Rooms(
        client=client, feed=feed, access=access, names=names, cookie_name=cookie_name, viewers=places,
        accounts=accounts, home=home, authority=authority, throttle=Throttle(time.monotonic),
        bucket=Bucket(time.monotonic, REQUESTS_PER_S, REQUESTS_AT_ONCE), patients=patients,
    )  # fmt: skip
    app.extensions["bedside"] = rooms
    app.before_request(lambda: _guard(rooms))
    app.after_request(lambda response: _finish(rooms, response))
    app.register_error_handler(HTTPException, _error_page)
    app.register_error_handler(Exception, _bug)
    app.register_blueprint(api)
    app.register_blueprint(care)
    app.register_blueprint(pairing)
    app.register_blueprint(my_page)
    _add_door(app, rooms)
    _add_pages(app, rooms)
    return app


def _guard(rooms: Rooms) -> BaseResponse | None:
    """Refuse strangers before any handler runs."""
    g.session = None
    if not rooms.names.allow(request.host):
        return failure(403, "wrong_host", "This box does not answer under this name")
    g.session = _whose(rooms, rooms.access.session(request.cookies.get(rooms.cookie_name)))
    key = g.session.id if g.session is not None else f"from {request.remote_addr}"
    if request.endpoint != "static" and not rooms.bucket.take(key):
        return failure(429, "too_many", "Too many requests: wait a moment")
    if request.method not in ("GET", "HEAD", "OPTIONS"):
        fetch_site = request.headers.get("Sec-Fetch-Site")
        if not same_origin(request.headers.get("Origin"), fetch_site, request.scheme, request.host):
            return failure(403, "wrong_origin", "This request came from another site")
    if request.endpoint in OPEN_ENDPOINTS or request.blueprint == my_page.name:  # which has a door of its own
        return None
    if g.session is None:
        if request.path.startswith("/api/"):
            return failure(401, "signed_out", "Sign in first: `bedside sign-in` prints a link")
        return redirect(url_for("sign_in"), code=303)
    if request.method not in ("GET", "HEAD", "OPTIONS") and not _csrf_fits(g.session):
        return failure(403, "wrong_csrf", "The page is out of date: load it again")
    return _refused_by_role(rooms, g.session)


def _whose(rooms: Rooms, session: Session | None) -> Session | None:
    """A session of an account that is gone is nobody's; one whose role was changed has the new one."""
    if session is None or not session.account:
        return session
    role = rooms.accounts.role_of(session.name)
    return None if role is None else replace(session, role=role)


def _refused_by_role(rooms: Rooms, session: Session) -> BaseResponse | None:
    """What this role may not do, and what nobody may while the session is locked."""
    changes = request.method not in ("GET", "HEAD", "OPTIONS")
    what = asked_by(current_app.view_functions.get(request.endpoint or ""), changes=changes)
    if rooms.access.locked(session) and request.endpoint not in WHILE_LOCKED:
        if request.path.startswith("/api/"):
            return failure(423, "locked", "This screen is locked: unlock it first. Alarms are shown all the same")
        return redirect(url_for("ward"), code=303)
    if allowed(session.role, what, glass=rooms.access.glass(session)):
        return None
    told = f"Your role ({session.role}) may not do this"
    if request.path.startswith("/api/"):
        return failure(403, "not_allowed", told)
    page = render_template("refused.html", session=session, text=told, glass=what in GLASS)
    return make_response(page, 403)


def _csrf_fits(session: Session) -> bool:
    sent = request.headers.get("X-Bedside-CSRF") or request.form.get("csrf", "")
    return hmac.compare_digest(sent.encode(), session.csrf.encode())


def _finish(rooms: Rooms, response: Response) -> Response:
    for name, value in HEADERS.items():
        response.headers[name] = value
    if request.is_secure:
        response.headers["Strict-Transport-Security"] = "max-age=31536000"
    is_static = request.endpoint == "static"
    response.headers["Cache-Control"] = "no-cache" if is_static else "no-store"
    session: Session | None = g.get("session")
    if (
        session is not None
        and not is_static
        and request.endpoint != "sign_out"
        and request.blueprint != my_page.name
        and not request.path.endswith("/stream")
    ):
        _give_cookie(rooms, response, session)
    return response


def _give_cookie(rooms: Rooms, response: Response, session: Session) -> None:
    response.set_cookie(
        rooms.cookie_name,
        rooms.access.cookie(session),
        max_age=SESSION_S,
        httponly=True,
        samesite="Strict",
        secure=request.is_secure,
        path="/",
    )


def _error_page(error: HTTPException) -> BaseResponse:
    status = error.code or 500
    if request.path.startswith("/api/"):
        return failure(status, "bad_request" if status < 500 else "failed", error.description or error.name)
    page = render_template("error.html", status=status, name=error.name, text=error.description or "")
    return make_response(page, status)


def _bug(error: Exception) -> BaseResponse:
    """An error of ours: logged with its trace, told without any detail."""
    log.error("request failed", extra={"endpoint": request.endpoint}, exc_info=error)
    if request.path.startswith("/api/"):
        return failure(500, "failed", "The dashboard failed at this request; its log says more")
    text = "The dashboard failed at this page; its log says more. Alarms do not depend on it."
    return make_response(render_template("error.html", status=500, name="Something broke", text=text), 500)


def _audit(rooms: Rooms, actor: str, action: str, detail: dict[str, Json]) -> None:
    """Tell the gateway who did what. It must not keep anyone from looking at a patient: a failure is logged."""
    try:
        if rooms.feed.gone:
            raise GatewayDown("the gateway does not answer")
        rooms.client.request("audit", actor=actor, action=action, detail=detail)
    except BedsideError as error:
        log.warning("audit not written", extra={"action": action, "reason": type(error).__name__})


def _add_door(app: Flask, rooms: Rooms) -> None:
    @app.get("/sign-in")
    def sign_in() -> Any:
        token = request.args.get("token", "")
        if not token and g.session is not None:
            return redirect(url_for("ward"), code=303)
        serves = bool(token) and rooms.access.token_serves(token)
        page = render_template(
            "sign_in.html", token=token if serves else "", used=bool(token), name=DEFAULT_NAME,
            accounts=bool(rooms.accounts.all()), secure=request.is_secure,
        )  # fmt: skip
        return make_response(page, 200 if serves or not token else 403)

    @app.post("/password")
    def password() -> Any:
        """Sign in with an account. Wrong ones wait, by name and by address; nothing tells which part was wrong."""
        name, words = request.form.get("name", "")[:100], request.form.get("password", "")
        keys = (f"name {name.strip().casefold()}", f"from {request.remote_addr}")
        wait_s = rooms.throttle.wait_s(*keys)
        if wait_s > 0:
            return door(429, f"Too many wrong tries: wait {wait_s:.0f} s.")
        account = rooms.accounts.check(name, words)
        if account is None:
            rooms.throttle.failed(*keys)
            log.warning("sign-in refused")
            _audit(rooms, "dashboard", "sign-in refused", {})
            return door(403, "The name or the password is not right.")
        rooms.throttle.succeeded(*keys)
        g.session = rooms.access.open_for(account.name, account.role)
        _audit(rooms, account.name, "signed in", {"session": g.session.id[:8], "how": "password"})
        return redirect(url_for("ward"), code=303)

    @app.post("/unlock")
    @needs(May.OWN)
    def unlock() -> Any:
        """The owner of a locked session shows who she is."""
        session: Session = g.session
        keys = (f"name {session.name.casefold()}", f"from {request.remote_addr}")
        if (
            rooms.throttle.wait_s(*keys) > 0
            or rooms.accounts.check(session.name, request.form.get("password", "")) is None
        ):
            rooms.throttle.failed(*keys)
            return redirect(url_for("ward", unlock="refused"), code=303)
        rooms.throttle.succeeded(*keys)
        rooms.access.unlock(session)
        return redirect(url_for("ward"), code=303)

    @app.get("/authority.pem")
    def authority() -> Any:
        """The certificate of the box's own authority, to be installed where the pages are looked at."""
        if rooms.authority is None:
            abort(404, "This dashboard is reached from the box alone and needs no certificate.")
        return Response(rooms.authority.read_bytes(), mimetype="application/x-pem-file")

    def door(status: int, text: str) -> Any:
        page = render_template(
            "sign_in.html", token="", used=False, name=DEFAULT_NAME, accounts=True, told=text, secure=request.is_secure
        )
        return make_response(page, status)

    @app.post("/sign-in")
    def exchange() -> Any:
        session = rooms.access.exchange(request.form.get("token", ""), request.form.get("name"))
        if session is None:
            return make_response(render_template("sign_in.html", token="", used=True, name=DEFAULT_NAME), 403)
        g.session = session
        _audit(rooms, session.name, "signed in", {"session": session.id[:8]})
        return redirect(url_for("ward"), code=303)

    @app.post("/break-glass")
    @needs(May.OWN)
    def break_glass() -> Any:
        """Look without the role for it, for an hour: named, with a reason, audited, and seen at handover."""
        session: Session = g.session
        reason = " ".join(request.form.get("reason", "").split())[:200]
        if session.role is Role.PATIENT or not reason:
            abort(403, "An emergency needs a reason, and somebody of the staff.")
        until_us = rooms.access.break_glass(session)
        rooms.client.request(
            "audit", actor=session.name, action="break_glass",
            detail={"what": reason, "role": str(session.role), "until_us": until_us},
        )  # fmt: skip
        return redirect(url_for("ward"), code=303)

    @app.post("/sign-out")
    @needs(May.OWN)
    def sign_out() -> Any:
        session: Session = g.session
        rooms.access.sign_out(session)
        _audit(rooms, session.name, "signed out", {"session": session.id[:8]})
        response = redirect(url_for("sign_in"), code=303)
        response.delete_cookie(rooms.cookie_name, path="/", httponly=True, samesite="Strict")
        return response

    @app.get("/metrics")
    def metrics() -> Any:
        """Figures of the box for Prometheus: off until a token was made, and nothing of any patient."""
        if not figures.allowed(rooms.home, request.headers.get("Authorization")):
            abort(404, "There is nothing here.")
        try:
            ward = None if rooms.feed.gone else rooms.client.request("ward")
        except BedsideError:
            ward = None
        return Response(figures.exposition(ward, rooms.feed.viewers), mimetype="text/plain; version=0.0.4")

    @app.get("/api/v1/openapi.json")
    @needs(May.OWN)
    def openapi() -> Any:
        """This description."""
        return describe(app, ROUTE_FIELDS)

    @app.get("/healthz")
    def health() -> Any:
        """For the supervisor: this process serves, and whether the gateway answers it."""
        return {"ok": True, "gateway": "answering" if rooms.feed.state.answering else "silent"}


def _add_pages(app: Flask, rooms: Rooms) -> None:
    @app.get("/")
    def ward() -> str:
        locked = rooms.access.locked(g.session)
        refused = request.args.get("unlock") == "refused"
        return render_template("ward.html", session=g.session, locked=locked, refused=refused)

    @app.get("/patient/<patient>")
    def patient(patient: str) -> str:
        return patient_page("patient.html", patient)

    @app.get("/patient/<patient>/limits")
    def limits(patient: str) -> str:
        return patient_page("limits.html", patient)

    @app.get("/patient/<patient>/history")
    def history(patient: str) -> str:
        return patient_page("history.html", patient)

    @app.get("/handover")
    def handover() -> str:
        return render_template("handover.html", session=g.session)

    @app.get("/fatigue")
    def fatigue() -> str:
        return render_template("fatigue.html", session=g.session)

    def patient_page(template: str, patient: str) -> str:
        if PATIENT_ID.fullmatch(patient) is None:
            abort(404, "No patient has such an id.")
        _audit(rooms, g.session.name, "opened patient", {"patient": patient})
        return render_template(template, session=g.session, patient=patient)
