"""The stand-in as a Flask app."""

from collections.abc import Callable
from datetime import UTC, datetime

from flask import Flask, Response, g, jsonify, request
from flask.typing import ResponseReturnValue
from werkzeug.exceptions import HTTPException, MethodNotAllowed

from dashboard.sandbox import openapi
from dashboard.sandbox.auth import Tokens
from dashboard.sandbox.deps import Sandbox
from dashboard.sandbox.faults import Faults
from dashboard.sandbox.route_specs import ROUTES
from dashboard.sandbox.routes import control, data, partner, servers
from dashboard.sandbox.routes import pages as people
from dashboard.sandbox.scenarios import staged
from dashboard.sandbox.seed import World
from dashboard.sandbox.simulation import Life
from dashboard.sandbox.tables import Tables
from dashboard.sandbox.warehouse import SqliteWarehouses
from dashboard.sandbox.warehouse_postgresql import PostgresqlWarehouses
from dashboard.sandbox.webhooks import Webhooks

# The widget's script calls from the partner's pages, and from sandboxed frames, whose origin is "null".
CORS = {
    "Access-Control-Allow-Origin": "*",
    "Access-Control-Allow-Headers": "Authorization, Content-Type",
    "Access-Control-Allow-Methods": "GET, POST, PATCH, OPTIONS",
    "Access-Control-Max-Age": "600",
}


def _now() -> datetime:
    return datetime.now(UTC)


def create_sandbox(
    accounts: int = 200,
    seed: int = 1,
    partner_token: str = "sandbox-partner-token",
    latency_ms: float = 0,
    error_rate: float = 0.0,
    clock: Callable[[], datetime] = _now,
    run_seconds: tuple[float, float] = (3, 9),
    public_url: str | None = None,
    scenario: str = "",
    webhook_url: str = "",
    webhook_secret: str = "",
    warehouse_url: str = "",
) -> Flask:
    """A fleet of ``accounts`` made from ``seed``; the same two make the same fleet.

    Args:
        accounts: How many customers; each has two to five connections.
        seed: Another seed, another fleet.
        partner_token: The one token that opens the partner routes.
        latency_ms: How long each call waits first, in milliseconds.
        error_rate: The share of calls that fail with a 500, 0 to 1.
        clock: The time, aware. Schedules, consents and tokens go by it alone.
        run_seconds: How long a run started by hand takes, in seconds (least, most).
        public_url: Where browsers find the sandbox, for consent and invite links; None for where a request came to.
        scenario: What goes wrong in the fleet, by its name in ``scenarios``; a bit of everything where empty.
        webhook_url: Where webhooks are posted to; nowhere where empty.
        webhook_secret: What they are signed with; not at all where empty.
        warehouse_url: A PostgreSQL database for the accounts' warehouses, which are SQLite's, in this process, where empty.

    Raises:
        ValueError: there is no such scenario, or nothing can be posted to that address.
    """
    app = Flask(__name__, static_folder=None)
    app.json.sort_keys = False  # type: ignore[attr-defined]
    app.url_map.redirect_defaults = False
    born = clock()
    world = staged(scenario, accounts, seed, born) if scenario else World(accounts, seed)
    life = Life(world, clock, run_seconds, born)
    tables = Tables(world)
    parts = Sandbox(
        life,
        tables,
        Tokens(seed, partner_token, clock),
        Faults(latency_ms, error_rate, seed),
        Webhooks(life, webhook_url, webhook_secret),
        PostgresqlWarehouses(tables, warehouse_url) if warehouse_url else SqliteWarehouses(tables),
        public_url,
    )
    app.extensions["sandbox"] = parts
    for family in (partner, servers, data, people, control, openapi):
        app.register_blueprint(family.bp)

    @app.before_request
    def before() -> ResponseReturnValue | None:
        # Not before: a server may have forked since.
        parts.webhooks.start()
        name = (request.endpoint or "").partition(".")[2]
        if (
            request.method == "OPTIONS"
            or name not in ROUTES
            or not request.path.startswith("/api/")
        ):
            return None
        answer, g.fault = parts.faults.before(name, request.path)
        return answer

    @app.after_request
    def after(response: Response) -> Response:
        if response.status_code == 308:
            response = _without_slash()
        if g.get("fault") is not None:
            response = parts.faults.after(g.fault, response)
        response.headers.update(CORS)
        return response

    app.register_error_handler(HTTPException, _refused)
    return app


def _without_slash() -> Response:
    """Instead of Flask's redirect: a missing trailing slash is a 404 (documented for integrate, recorded from Baserow)."""
    detail = (
        f"A valid URL must end with a trailing slash. Please, redirect requests to {request.path}/"
    )
    response = jsonify(error="URL_TRAILING_SLASH_MISSING", detail=detail)
    response.status_code = 404
    return response


def _refused(error: HTTPException) -> ResponseReturnValue:
    """Refusals that no route made, in the words that Baserow has for them."""
    if error.response is not None:
        return error.response
    if error.code == 404:
        return jsonify(error="URL_NOT_FOUND", detail=f"URL {request.path} not found."), 404
    if isinstance(error, MethodNotAllowed):
        allowed = {"Allow": ", ".join(sorted(error.valid_methods or ()))}
        return jsonify(detail=f'Method "{request.method}" not allowed.'), 405, allowed
    if error.code == 500:
        # A server that breaks answers with a page, not with JSON (recorded from Baserow).
        return (
            "<!doctype html>\n<html lang=en><title>Server Error (500)</title><h1>Server Error (500)</h1></html>",
            500,
        )
    return jsonify(
        error="ERROR_REQUEST_BODY_VALIDATION", detail=error.description
    ), error.code or 400
