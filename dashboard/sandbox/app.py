"""The stand-in as a Flask app."""

from collections.abc import Callable
from datetime import UTC, datetime

from flask import Flask, Response, g, jsonify, make_response, request
from flask.typing import ResponseReturnValue
from werkzeug.exceptions import HTTPException

from dashboard.sandbox import openapi
from dashboard.sandbox.auth import Tokens
from dashboard.sandbox.context import Sandbox
from dashboard.sandbox.faults import Faults
from dashboard.sandbox.life import Life
from dashboard.sandbox.routes import control, data, partner, people, servers
from dashboard.sandbox.rows import Tables
from dashboard.sandbox.world import World


def _now() -> datetime:
    return datetime.now(UTC)


def create_sandbox(
    accounts: int = 200,
    seed: int = 1,
    partner_token: str = "sandbox-partner-token",
    latency_ms: float = 0,
    error_rate: float = 0.0,
    clock: Callable[[], datetime] = _now,
    run_seconds: tuple[float, float] = (4, 10),
) -> Flask:
    """A fleet of ``accounts`` made from ``seed``. A run started by hand takes ``run_seconds`` (least, most)."""
    app = Flask(__name__, static_folder=None)
    app.json.sort_keys = False  # type: ignore[attr-defined]
    app.url_map.redirect_defaults = False
    world = World(accounts, seed)
    parts = Sandbox(
        Life(world, clock, run_seconds), Tables(world), Tokens(seed, partner_token, clock), Faults(latency_ms, error_rate, seed)
    )
    app.extensions["sandbox"] = parts
    for family in (partner, servers, data, people, control, openapi):
        app.register_blueprint(family.bp)

    @app.before_request
    def before() -> ResponseReturnValue | None:
        if request.method == "OPTIONS" or not request.endpoint or request.endpoint.startswith(("control.", "people.")):
            return None
        answer, fault = parts.faults.before(request.endpoint.partition(".")[2], request.path)
        g.fault = fault
        return answer

    @app.after_request
    def after(response: Response) -> Response:
        if response.status_code == 308:
            # A missing trailing slash is a 404 without a redirect (documented for integrate, recorded from Baserow).
            response = make_response(jsonify(error="URL_TRAILING_SLASH_MISSING", detail="A URL must end in a slash."), 404)
        if g.get("fault") is not None:
            response = parts.faults.after(g.fault, response)
        # The widget's script calls from the partner's pages, and from sandboxed frames, whose origin is "null".
        response.headers["Access-Control-Allow-Origin"] = "*"
        response.headers["Access-Control-Allow-Headers"] = "Authorization, Content-Type"
        return response

    @app.errorhandler(HTTPException)
    def refused(error: HTTPException) -> ResponseReturnValue:
        if error.response is not None:
            return error.response
        return jsonify(error="URL_NOT_FOUND" if error.code == 404 else None, detail=error.description), error.code or 500

    return app
