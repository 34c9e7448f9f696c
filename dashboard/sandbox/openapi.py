"""An OpenAPI document of what is emulated, made from the routes themselves."""

import re
from typing import Any

from flask import Blueprint, current_app, jsonify
from flask.typing import ResponseReturnValue

bp = Blueprint("openapi", __name__)


@bp.get("/openapi.json")
def document() -> ResponseReturnValue:
    """Every route under /api, its parameters and who may call it."""
    paths: dict[str, dict[str, Any]] = {}
    for rule in current_app.url_map.iter_rules():
        if not rule.rule.startswith("/api/"):
            continue
        view = current_app.view_functions[rule.endpoint]
        path = re.sub(r"<(?:int:)?(\w+)>", r"{\1}", rule.rule)
        for method in sorted((rule.methods or set()) - {"HEAD", "OPTIONS"}):
            paths.setdefault(path, {})[method.lower()] = {
                "operationId": rule.endpoint.partition(".")[2],
                "summary": (view.__doc__ or "").strip(),
                "parameters": [
                    {"name": name, "in": "path", "required": True, "schema": {"type": "integer"}}
                    for name in sorted(rule.arguments)
                ],
                "security": [{"partner" if "/partner/" in path else "sub_account": []}],
                "responses": {"200": {"description": "As peliqan documents it"}, "401": {"description": "Wrong kind of token"}},
            }
    scheme = {"type": "apiKey", "in": "header", "name": "Authorization", "description": "JWT <token>"}
    return jsonify(
        openapi="3.1.0",
        info={"title": "A stand-in for Peliqan's API", "version": "1"},
        paths=paths,
        components={"securitySchemes": {"partner": scheme, "sub_account": scheme}},
    )
