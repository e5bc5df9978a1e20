"""The operator's console: one page with all that an operator can know, which is nothing of any patient.

Fleet by state and tier, refusals by reason, epochs, audits, payments. A Flask application under cheroot, in a
process of its own, which reads the operator's database and never writes it. Loopback only, and only for
requests that name a loopback host (no page elsewhere can reach it through a made-up name).
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from cheroot.wsgi import Server
from flask import Flask, Response, abort, jsonify, render_template, request

from bedside.attestation.evidence import judge
from bedside.attestation.rewards import HOMES_SHARE, WEIGHTS
from bedside.core.errors import BedsideError, SetupError
from bedside.operator.accounts import evidence, newest_epoch
from bedside.operator.report import report
from bedside.operator.sink import Sink

log = logging.getLogger(__name__)

HOST: Final = "127.0.0.1"
PORT: Final = 8461
PAID_EPOCHS: Final = 24
POOL: Final = 1_000_000
THREADS: Final = 4
_LOOPBACK: Final = frozenset({"127.0.0.1", "localhost", "[::1]"})
_HEADERS: Final = {
    "Content-Security-Policy": "default-src 'none'; style-src 'self'; img-src 'self'; base-uri 'none';"
    " form-action 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
}


def view(sink: Sink, *, operator: str, epoch_us: int, now_us: int, pool: int = POOL) -> dict[str, Any]:
    """All that the page shows, as JSON values: the operator's report, and what the last epochs pay."""
    found = report(sink, now_us)
    found["payments"] = _payments(sink, operator, epoch_us, pool)
    found["sites"] = [
        {
            "auditor": row["kid"].hex(),
            "site": row["site"],
            "beds": row["beds"],
            "revoked": row["revoked_us"] is not None,
        }
        for row in sink.rows("SELECT kid, site, beds, revoked_us FROM auditor ORDER BY trusted_us")
    ]
    return found


def _payments(sink: Sink, operator: str, epoch_us: int, pool: int) -> dict[str, Any] | None:
    newest = newest_epoch(sink)
    if newest is None:
        return None
    (oldest,) = sink.rows("SELECT min(epoch) AS epoch FROM statement WHERE refusal IS NULL")
    first = max(int(oldest["epoch"]), newest - PAID_EPOCHS + 1)
    taken = evidence(sink, operator=operator, first=first, last=newest, pool=pool, epoch_us=epoch_us)
    outcome = judge(taken)
    return {
        "first": first,
        "last": newest,
        "pool_per_epoch": pool,
        "paid": {kid.hex(): amount for kid, amount in sorted(outcome.totals().items())},
        "unallocated": outcome.unallocated,
        "weights": {str(tier): weight for tier, weight in WEIGHTS.items()},
        "homes_share": HOMES_SHARE,
    }


def create_console(folder: Path, *, now_us: Callable[[], int], epoch_us: int, operator: str = "local") -> Flask:
    """The application over the operator's database in `folder`; it may not be there yet."""
    app = Flask("bedside.operator", static_folder="static", template_folder="templates")
    app.jinja_env.autoescape = True
    app.jinja_env.filters["moment"] = _moment

    def look() -> dict[str, Any] | None:
        try:
            sink = Sink.read(folder / "operator.db")
        except SetupError:
            return None
        try:
            return view(sink, operator=operator, epoch_us=epoch_us, now_us=now_us())
        finally:
            sink.close()

    @app.before_request
    def _loopback_names_only() -> None:
        if request.host.rsplit(":", 1)[0] not in _LOOPBACK:
            abort(403)

    @app.after_request
    def _headers(response: Response) -> Response:
        response.headers.update(_HEADERS)
        return response

    @app.get("/")
    def page() -> str:
        return render_template("console.html", found=look())

    @app.get("/api/v1/console")
    def api() -> Response:
        found = look()
        if found is None:
            abort(503)
        return jsonify(found)

    @app.errorhandler(BedsideError)
    def _said(error: BedsideError) -> tuple[str, int]:
        log.error("console", extra={"error": str(error)})
        return "The operator's database cannot be read.", 503

    return app


def _moment(iso: str) -> str:
    """2026-01-15 11:00:05 for people, of an ISO time in UTC."""
    return iso[:19].replace("T", " ")


class ConsoleServer:
    """The console on a port of this machine. `serve` blocks until `stop` is called from elsewhere."""

    def __init__(self, app: Flask, port: int = PORT) -> None:
        """Raises `SetupError` when the port is taken."""
        self._server = Server((HOST, port), app, numthreads=THREADS)
        try:
            self._server.prepare()
        except OSError as error:
            raise SetupError(f"port {port} of {HOST}: {error}", hint="choose another with --port") from error

    @property
    def address(self) -> str:
        """Where a browser finds it."""
        return f"http://{HOST}:{self._server.bind_addr[1]}/"

    def serve(self) -> None:
        """Until stopped."""
        self._server.serve()

    def stop(self) -> None:
        """Safe to call twice."""
        self._server.stop()
