"""What `bedside records witness` serves on another machine of the site: it takes heads and shows them, and has no key.

POST /heads        one signed head; 204 kept, 400 no head, 409 it contradicts what is kept
GET  /heads/BOX    all of a box, a line each
"""

from __future__ import annotations

import threading

from flask import Flask, Response, request

from bedside.core.errors import LinkError, StoreError
from bedside.records.witness import FolderWitness, head_from

HEAD_BYTES_MAX = 2048


def make_app(witness: FolderWitness) -> Flask:
    """The WSGI application."""
    app = Flask(__name__)
    app.config["MAX_CONTENT_LENGTH"] = HEAD_BYTES_MAX
    one_at_a_time = threading.Lock()

    @app.post("/heads")
    def keep() -> Response:
        try:
            head = head_from(request.get_data())
        except StoreError as error:
            return Response(str(error), 400, mimetype="text/plain")
        try:
            with one_at_a_time:
                witness.keep(head)
        except StoreError as error:
            return Response(str(error), 409, mimetype="text/plain")
        except LinkError as error:
            return Response(str(error), 503, mimetype="text/plain")
        return Response(status=204)

    @app.get("/heads/<box>")
    def heads(box: str) -> Response:
        try:
            lines = [head.to_json() for head in witness.heads(box)]
        except (StoreError, LinkError) as error:
            return Response(str(error), 503 if isinstance(error, LinkError) else 404, mimetype="text/plain")
        return Response("".join(f"{line}\n" for line in lines), mimetype="application/jsonl")

    return app
