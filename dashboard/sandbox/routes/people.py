"""What a person sees of the stand-in: its front page, the consent page, and what the widget talks to."""

from html import escape
from pathlib import Path

from flask import Blueprint, Response, abort, jsonify, redirect, request, send_from_directory
from flask.typing import ResponseReturnValue

from dashboard.sandbox.connectors import BY_NAME, CONNECTORS
from dashboard.sandbox.context import sandbox
from dashboard.sandbox.world import Connection

bp = Blueprint("people", __name__)
STATIC = Path(__file__).parent.parent / "static"
PAGE = """<!doctype html><html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>{title}</title><link rel="stylesheet" href="/sandbox/static/sandbox.css"></head>
<body><main><h1>{title}</h1>{body}</main></body></html>"""


def _page(title: str, body: str) -> Response:
    response = Response(PAGE.format(title=escape(title), body=body))
    response.headers["Content-Security-Policy"] = (
        "default-src 'none'; style-src 'self'; form-action 'self'; frame-ancestors 'none'"
    )
    return response


@bp.get("/")
def index() -> ResponseReturnValue:
    """What this is."""
    return _page(
        "A stand-in for Peliqan's API",
        "<p>Made-up customers and connections, for trying the Partner Console and for its tests.</p>"
        '<p><a href="/openapi.json">What it emulates (OpenAPI)</a> · <a href="/sandbox/control/state">What was called</a></p>',
    )


@bp.get("/sandbox/static/<path:name>")
def static(name: str) -> ResponseReturnValue:
    """The pages' stylesheet."""
    return send_from_directory(STATIC, name)


def _connection(server_id: int) -> Connection:
    connection = sandbox().life.connection(server_id)
    if connection is None or sandbox().life.touch(server_id).asked_at is None:
        abort(_gone())
    return connection


def _gone() -> Response:
    response = _page("This link has run out", "<p>Ask for a new one.</p>")
    response.status_code = 410
    return response


@bp.get("/sandbox/consent/<int:server_id>")
def consent(server_id: int) -> ResponseReturnValue:
    """Where the customer allows access again."""
    connection = _connection(server_id)
    account = sandbox().life.account(connection.account_id)
    company, title = (account.name if account else ""), escape(connection.connector.title)
    return _page(
        f"Allow access to {connection.connector.title}?",
        f"<p>The data integration of <strong>{escape(company)}</strong> asks to read from {title}.</p>"
        '<form method="post"><button name="answer" value="allow">Allow</button> '
        '<button name="answer" value="deny" class="plain">Deny</button></form>',
    )


@bp.post("/sandbox/consent/<int:server_id>")
def consented(server_id: int) -> ResponseReturnValue:
    """The answer: AUTHORIZING and then well, or left as it was."""
    _connection(server_id)
    if request.form.get("answer") == "allow":
        sandbox().life.allow(server_id)
        return redirect("/sandbox/done/allowed")
    sandbox().life.touch(server_id).asked_at = None
    return redirect("/sandbox/done/denied")


@bp.get("/sandbox/done/<answer>")
def done(answer: str) -> ResponseReturnValue:
    """The end of it."""
    allowed = answer == "allowed"
    return _page("Access allowed" if allowed else "Access denied", "<p>You can close this window.</p>")


@bp.get("/sandbox/invite/<key>")
def invited(key: str) -> ResponseReturnValue:
    """Where an invite leads."""
    return _page("Connect your data", "<p>An invited customer would choose a connector here.</p>")


@bp.get("/embed/v1.3/peliqan-integration.js")
def widget() -> ResponseReturnValue:
    """The widget's script, compatible with the one that Peliqan's page describes (section 3)."""
    return send_from_directory(STATIC, "peliqan-integration.js", mimetype="text/javascript", max_age=0)


@bp.get("/sandbox/widget/connectors/")
def widget_connectors() -> ResponseReturnValue:
    """What can be connected."""
    return jsonify([{"name": each.name, "title": each.title, "kind": each.kind} for each in CONNECTORS])


@bp.post("/sandbox/widget/connections/")
def widget_connect() -> ResponseReturnValue:
    """Make a connection, with the widget's token."""
    _, _, token = request.headers.get("Authorization", "").partition(" ")
    account_id = sandbox().tokens.widget_account_of(token)
    if account_id is None:
        return jsonify(error="ERROR_INVALID_ACCESS_TOKEN", detail="The integration token has run out. Reload the page."), 401
    body = request.get_json(silent=True) or {}
    if body.get("connector") not in BY_NAME:
        return jsonify(error="ERROR_UNKNOWN_CONNECTOR", detail="There is no such connector."), 400
    title = BY_NAME[body["connector"]].title
    made = sandbox().life.add_connection(account_id, body["connector"], str(body.get("name") or title)[:100])
    account = sandbox().life.account(account_id)
    return jsonify(
        server_id=made.id,
        id=made.id,
        name=made.name,
        server_type=made.connector.name,
        health_status=sandbox().life.status(made),
        external_id=account.external_id if account else None,
    )
