"""The description of the JSON API (OpenAPI 3.1), made from the routes themselves: paths, methods, fields, permissions.

Served at `/api/v1/openapi.json`. What a route says of itself is its docstring, so the two cannot differ. Pure but for
the application that it reads.
"""

from __future__ import annotations

import inspect
import re
from importlib.metadata import version
from typing import Any

from flask import Flask

from bedside.dashboard.roles import GRANTED, asked_by

PREFIX = "/api/v1/"
ERROR = {"$ref": "#/components/schemas/Error"}
ERRORS = {
    "400": "What was asked is not a question that can be answered",
    "401": "Nobody is signed in",
    "403": "This role may not do this, or the page's token is missing",
    "404": "There is no such patient, stream or alarm",
    "409": "Not possible now; the message says why",
    "423": "This session is locked",
    "429": "Too many requests",
    "503": "The gateway does not answer: watch the patients themselves",
}


def describe(app: Flask, fields: dict[str, tuple[str, ...]]) -> dict[str, Any]:
    """The document. `fields`: by the name of the route's function, what its body may hold."""
    paths: dict[str, dict[str, Any]] = {}
    for rule in sorted(app.url_map.iter_rules(), key=lambda one: one.rule):
        if not rule.rule.startswith(PREFIX):
            continue
        path = re.sub(r"<(?:[^:<>]+:)?([^<>]+)>", r"{\1}", rule.rule)
        for method in sorted((rule.methods or set()) - {"HEAD", "OPTIONS"}):
            paths.setdefault(path, {})[method.lower()] = _operation(app, rule.endpoint, path, method, fields)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Bedside",
            "version": version("bedside"),
            "description": "Adjunct monitoring for adults; never the sole alarm. Shapes: core/api.py.",
        },
        "paths": paths,
        "components": {
            "securitySchemes": {
                "session": {"type": "apiKey", "in": "cookie", "name": "bedside-PORT"},
                "csrf": {"type": "apiKey", "in": "header", "name": "X-Bedside-CSRF"},
            },
            "schemas": {"Error": _error_schema()},
        },
    }


def _operation(app: Flask, endpoint: str, path: str, method: str, fields: dict[str, tuple[str, ...]]) -> dict[str, Any]:
    view = app.view_functions[endpoint]
    changes = method != "GET"
    what = asked_by(view, changes=changes)
    told = inspect.getdoc(view) or endpoint.replace("_", " ")
    operation: dict[str, Any] = {
        "operationId": f"{method.lower()}_{endpoint.replace('.', '_')}",
        "summary": told.splitlines()[0],
        "x-permission": str(what),
        "x-roles": sorted(str(role) for role, may in GRANTED.items() if what in may),
        "security": [{"session": [], "csrf": []} if changes else {"session": []}],
        "parameters": [
            {"name": name, "in": "path", "required": True, "schema": {"type": "string"}}
            for name in re.findall(r"\{(.+?)\}", path)
        ],
        "responses": {
            "200": {"description": "Done", "content": {"application/json": {"schema": {}}}},
            **{code: _failed(words) for code, words in ERRORS.items()},
        },
    }
    names = fields.get(endpoint.rpartition(".")[2])
    if changes and names is not None:
        schema = {"type": "object", "properties": {name: {} for name in names}, "additionalProperties": True}
        operation["requestBody"] = {"required": True, "content": {"application/json": {"schema": schema}}}
    return operation


def _failed(words: str) -> dict[str, Any]:
    return {"description": words, "content": {"application/json": {"schema": ERROR}}}


def _error_schema() -> dict[str, Any]:
    inner = {"type": "object", "properties": {"code": {"type": "string"}, "message": {"type": "string"}}}
    return {"type": "object", "required": ["error"], "properties": {"error": inner}}
