"""An OpenAPI document of the emulated routes, made from the routes and their descriptions."""

import re
from typing import Any

from flask import Blueprint, current_app, jsonify
from flask.typing import ResponseReturnValue

from dashboard.sandbox.route_specs import ROUTES, Described

bp = Blueprint("openapi", __name__)
SOURCES = (
    "D: documented by Peliqan's embedding page. S: seen in its Python SDK. H: its help pages. "
    "B: Baserow's API, whose shape the data routes have. "
    "A: an assumption, to be confirmed with Peliqan."
)
FORM = "application/x-www-form-urlencoded"


@bp.get("/openapi.json")
def document() -> ResponseReturnValue:
    """Return every route under /api, its parameters and the tokens that it accepts."""
    paths: dict[str, dict[str, Any]] = {}
    for rule in current_app.url_map.iter_rules():
        if not rule.rule.startswith("/api/"):
            continue
        path = re.sub(r"<(?:int:)?(\w+)>", r"{\1}", rule.rule)
        for method in sorted((rule.methods or set()) - {"HEAD", "OPTIONS"}):
            paths.setdefault(path, {})[method.lower()] = _operation(
                rule.endpoint, path, sorted(rule.arguments)
            )
    scheme = {"type": "apiKey", "in": "header", "name": "Authorization"}
    return jsonify(
        openapi="3.1.0",
        info={"title": "A stand-in for Peliqan's API", "version": "1", "description": SOURCES},
        paths=dict(sorted(paths.items())),
        components={
            "securitySchemes": {
                "partner": {**scheme, "description": "JWT <partner token>"},
                "sub_account": {**scheme, "description": "JWT <sub-account token>"},
            },
            "schemas": {
                "Error": {
                    "type": "object",
                    "properties": {"error": {"type": "string"}, "detail": {}},
                    "required": ["detail"],
                }
            },
        },
    )


def _operation(endpoint: str, path: str, arguments: list[str]) -> dict[str, Any]:
    name = endpoint.partition(".")[2]
    described = ROUTES[name]
    in_path: list[dict[str, Any]] = [
        {"name": each, "in": "path", "required": True, "schema": {"type": "integer"}}
        for each in arguments
    ]
    in_query: list[dict[str, Any]] = [
        {"name": each, "in": "query", "schema": schema}
        for each, schema, _ in map(_typed, described.query)
    ]
    if name == "rows":
        in_query.append(_FILTER)
    operation: dict[str, Any] = {
        "operationId": name if path.endswith("/") else f"{name}_without_slash",
        "summary": (current_app.view_functions[endpoint].__doc__ or "").strip(),
        "parameters": in_path + in_query,
        "security": [{described.opens: []}] if described.opens else [],
        "responses": _responses(described, bool(arguments)),
    }
    if described.body:
        operation["requestBody"] = _request_body(
            described, FORM if name == "oauth2_token" else "application/json"
        )
    return operation


_FILTER: dict[str, Any] = {
    "name": "filter",
    "in": "query",
    "description": "filter__<field>__<type>=value, any number of them",
    "style": "form",
    "explode": True,
    "schema": {"type": "object", "additionalProperties": {"type": "string"}},
}


def _typed(parameter: str) -> tuple[str, dict[str, str], bool]:
    name, _, kind = parameter.partition(":")
    return name.rstrip("*"), {"type": kind}, name.endswith("*")


def _request_body(described: Described, media: str) -> dict[str, Any]:
    typed = [_typed(each) for each in described.body]
    required = [name for name, _, needed in typed if needed]
    schema = {
        "type": "object",
        "properties": {name: kind for name, kind, _ in typed},
        "required": required,
    }
    return {"required": bool(required), "content": {media: {"schema": schema}}}


def _responses(described: Described, named: bool) -> dict[str, Any]:
    refusal = {"application/json": {"schema": {"$ref": "#/components/schemas/Error"}}}
    responses: dict[str, Any] = {
        "200": {
            "description": "Done",
            "content": {"application/json": {"schema": {"type": described.response}}},
        },
        "400": {"description": "Refused, with the reason", "content": refusal},
        "401": {"description": "No token, or one of the wrong kind", "content": refusal},
    }
    if named:
        responses["404"] = {
            "description": "There is none, or it is not this account's",
            "content": refusal,
        }
    return responses
