"""The sandbox as a Flask app."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from flask import Flask, Response, g, jsonify, request
from flask.typing import ResponseReturnValue
from werkzeug.exceptions import HTTPException, MethodNotAllowed

from dashboard.sandbox import openapi
from dashboard.sandbox.auth import Tokens
from dashboard.sandbox.faults import Faults
from dashboard.sandbox.route_helpers import Sandbox
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

# Cross-origin calls: the widget's script runs on the partner's pages and in sandboxed frames,
# whose origin is "null".
CORS = {
    "Access-Control-Allow-Origin": "*",
    "Access-Control-Allow-Headers": "Authorization, Content-Type",
    "Access-Control-Allow-Methods": "GET, POST, PATCH, OPTIONS",
    "Access-Control-Max-Age": "600",
}


def _now() -> datetime:
    return datetime.now(UTC)


@dataclass(frozen=True)
class SandboxOptions:
    """The options of a sandbox. The same ``accounts`` and ``seed`` make the same fleet.

    Args:
        accounts: The number of customers; each has two to five connections.
        seed: The seed; each seed makes another fleet.
        partner_token: The only token that opens the partner routes.
        latency_ms: The delay before each call, in milliseconds.
        error_rate: The share of calls that fail with a 500, 0 to 1.
        clock: Returns the time, aware. Schedules, consents and tokens use no other clock.
        run_seconds: The duration of a run started by hand, in seconds (least, most).
        public_url: The address for browsers, used in consent and invite links; None: the
            request's own host.
        scenario: The name of a known problem in ``scenarios``; empty: a mixture of problems.
        webhook_url: The address that webhooks are sent to; empty: none are sent.
        webhook_secret: The secret that signs them; empty: they are not signed.
        warehouse_url: A PostgreSQL database for the accounts' warehouses; empty: SQLite in the
            memory of this process.
    """

    accounts: int = 200
    seed: int = 1
    partner_token: str = "sandbox-partner-token"
    latency_ms: float = 0
    error_rate: float = 0.0
    clock: Callable[[], datetime] = _now
    run_seconds: tuple[float, float] = (3, 9)
    public_url: str | None = None
    scenario: str = ""
    webhook_url: str = ""
    webhook_secret: str = ""
    warehouse_url: str = ""


def create_sandbox(accounts: int = 200, seed: int = 1, **options: Any) -> Flask:
    """Return a sandbox app; ``options`` are the other fields of ``SandboxOptions``.

    Raises:
        ValueError: as ``build_sandbox``.
    """
    return build_sandbox(SandboxOptions(accounts, seed, **options))


def build_sandbox(options: SandboxOptions) -> Flask:
    """Return a sandbox app with these options.

    Raises:
        ValueError: the scenario does not exist, or ``webhook_url`` is not an HTTP address.
    """
    app = Flask(__name__, static_folder=None)
    app.json.sort_keys = False  # type: ignore[attr-defined]
    app.url_map.redirect_defaults = False
    current = _parts(options)
    app.extensions["sandbox"] = current
    for family in (partner, servers, data, people, control, openapi):
        app.register_blueprint(family.bp)
    _add_hooks(app, current)
    app.register_error_handler(HTTPException, _refused)
    return app


def _parts(options: SandboxOptions) -> Sandbox:
    born = options.clock()
    world = (
        staged(options.scenario, options.accounts, options.seed, born)
        if options.scenario
        else World(options.accounts, options.seed)
    )
    life = Life(world, options.clock, options.run_seconds, born)
    tables = Tables(world)
    return Sandbox(
        life,
        tables,
        Tokens(options.seed, options.partner_token, options.clock),
        Faults(options.latency_ms, options.error_rate, options.seed),
        Webhooks(life, options.webhook_url, options.webhook_secret),
        PostgresqlWarehouses(tables, options.warehouse_url)
        if options.warehouse_url
        else SqliteWarehouses(tables),
        options.public_url,
    )


def _add_hooks(app: Flask, current: Sandbox) -> None:

    @app.before_request
    def before() -> ResponseReturnValue | None:
        # Threads do not survive a fork, so they start with the first request.
        current.webhooks.start()
        name = (request.endpoint or "").partition(".")[2]
        if (
            request.method == "OPTIONS"
            or name not in ROUTES
            or not request.path.startswith("/api/")
        ):
            return None
        response, g.fault = current.faults.before(name, request.path)
        return response

    @app.after_request
    def after(response: Response) -> Response:
        if response.status_code == 308:
            response = _without_slash()
        if g.get("fault") is not None:
            response = current.faults.after(g.fault, response)
        response.headers.update(CORS)
        return response


def _without_slash() -> Response:
    """Return a 404 for a missing trailing slash, where Flask would redirect.

    Documented for integrate, recorded from Baserow.
    """
    detail = (
        f"A valid URL must end with a trailing slash. Please, redirect requests to {request.path}/"
    )
    response = jsonify(error="URL_TRAILING_SLASH_MISSING", detail=detail)
    response.status_code = 404
    return response


def _refused(error: HTTPException) -> ResponseReturnValue:
    """Return a refusal that no route made, in Baserow's words."""
    if error.response is not None:
        return error.response
    if error.code == 404:
        return jsonify(error="URL_NOT_FOUND", detail=f"URL {request.path} not found."), 404
    if isinstance(error, MethodNotAllowed):
        allowed = {"Allow": ", ".join(sorted(error.valid_methods or ()))}
        return jsonify(detail=f'Method "{request.method}" not allowed.'), 405, allowed
    if error.code == 500:
        # A server error of Baserow is an HTML page, not JSON (recorded).
        return (
            "<!doctype html>\n<html lang=en><title>Server Error (500)</title>"
            "<h1>Server Error (500)</h1></html>",
            500,
        )
    return jsonify(
        error="ERROR_REQUEST_BODY_VALIDATION", detail=error.description
    ), error.code or 400
