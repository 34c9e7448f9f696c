"""The sandbox's pages for people: its front page, the consent page, and the widget's routes."""

from html import escape
from pathlib import Path

from flask import Blueprint, Response, abort, jsonify, redirect, request, send_from_directory
from flask.typing import ResponseReturnValue

from dashboard.sandbox.connectors import BY_NAME, CONNECTORS
from dashboard.sandbox.route_helpers import body, sandbox
from dashboard.sandbox.seed import Connection
from dashboard.sandbox.simulation import TooMany

bp = Blueprint("people", __name__)
STATIC = Path(__file__).parent.parent / "static"
LONGEST_NAME = 100
POLICY = (
    "default-src 'none'; style-src 'self'; form-action 'self'; base-uri 'none'; "
    "frame-ancestors 'none'"
)
PAGE = """<!doctype html><html lang="en"><head><meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<title>{title}</title><link rel="icon" href="data:,">
<link rel="stylesheet" href="/sandbox/static/sandbox.css"></head>
<body><main><h1>{title}</h1>{body}</main></body></html>"""
INDEX = """<p>Made-up customers and connections, for trying the Partner Console and for its tests.
{accounts} accounts, {calls} calls so far. Nothing here is real, and nothing leaves this
machine.</p>
<ul><li><a href="/openapi.json">What it emulates</a>, as an OpenAPI document</li>
<li><a href="/sandbox/control/state">What was called</a>, and the knobs</li>
<li><a href="/sandbox/control/faults">The faults that are switched on</a>;
<code>POST</code> one there, <code>DELETE</code> clears them</li></ul>"""


def _page(title: str, content: str, status: int = 200) -> Response:
    response = Response(PAGE.format(title=escape(title), body=content), status=status)
    response.headers["Content-Security-Policy"] = POLICY
    response.headers["Referrer-Policy"] = "no-referrer"
    return response


@bp.get("/")
def index() -> ResponseReturnValue:
    """Show the front page."""
    current = sandbox()
    content = INDEX.format(
        accounts=current.life.count_accounts(), calls=sum(current.faults.calls.values())
    )
    return _page("A stand-in for Peliqan's API", content)


@bp.get("/sandbox/static/<path:name>")
def static(name: str) -> ResponseReturnValue:
    """Send the pages' stylesheet."""
    return send_from_directory(STATIC, name)


def _consent_requested(server_id: int) -> Connection:
    """Return the connection if it waits for consent; a link is good for one answer."""
    connection = sandbox().life.connection(server_id)
    touched = sandbox().life.touched.get(server_id)
    if connection is None or touched is None or touched.asked_at is None:
        abort(_page("This link has run out", "<p>Ask for a new one.</p>", 410))
    return connection


@bp.get("/sandbox/consent/<int:server_id>")
def consent(server_id: int) -> ResponseReturnValue:
    """Show the page on which the customer allows access, or a new request to the bank."""
    connection = _consent_requested(server_id)
    account = sandbox().life.account(connection.account_id)
    company, title = (account.name if account else ""), connection.connector.title
    bank = connection.connector.auth == "saltedge"
    wants = "to fetch new transactions from" if bank else "to read from"
    return _page(
        f"Allow access to {title} for {company}?",
        f"<p>The data integration of <strong>{escape(company)}</strong> asks {wants} "
        f"{escape(title)} again, for the connection <strong>{escape(connection.name)}</strong>.</p>"
        '<form method="post"><button name="answer" value="allow">Allow</button> '
        '<button name="answer" value="deny" class="plain">Deny</button></form>',
    )


@bp.post("/sandbox/consent/<int:server_id>")
def consented(server_id: int) -> ResponseReturnValue:
    """Record the answer: AUTHORIZING and then well, or no change."""
    life = sandbox().life
    with life.lock:
        _consent_requested(server_id)
        if request.form.get("answer") == "allow":
            life.allow(server_id)
            return redirect("/sandbox/done/allowed")
        life.touch(server_id).asked_at = None
    return redirect("/sandbox/done/denied")


@bp.get("/sandbox/done/<answer>")
def done(answer: str) -> ResponseReturnValue:
    """Show the page after the answer."""
    allowed = answer == "allowed"
    return _page(
        "Access allowed" if allowed else "Access denied", "<p>You can close this window.</p>"
    )


@bp.get("/sandbox/invite/<key>")
def invited(key: str) -> ResponseReturnValue:
    """Show the page that an invite leads to."""
    return _page("Connect your data", "<p>An invited customer would choose a connector here.</p>")


@bp.get("/embed/v1.3/peliqan-integration.js")
def widget() -> ResponseReturnValue:
    """Send the widget's script, compatible with the one on Peliqan's page (D)."""
    return send_from_directory(
        STATIC, "peliqan-integration.js", mimetype="text/javascript", max_age=0
    )


@bp.get("/sandbox/widget/connectors/")
def widget_connectors() -> ResponseReturnValue:
    """Return the available connectors: ``[{"name", "title", "kind", "auth"}]``."""
    return jsonify(
        [
            {"name": each.name, "title": each.title, "kind": each.kind, "auth": each.auth}
            for each in CONNECTORS
        ]
    )


@bp.post("/sandbox/widget/connections/")
def widget_connect() -> ResponseReturnValue:
    """Make a connection, ``{"connector", "name"}``, with the widget's token.

    Return the fields that the widget's callback gets.
    """
    _, _, token = request.headers.get("Authorization", "").partition(" ")
    life, given = sandbox().life, body()
    account_id = sandbox().tokens.widget_account_of(token.strip())
    if account_id is None:
        return jsonify(
            error="ERROR_INVALID_ACCESS_TOKEN",
            detail="The integration token has run out. Reload the page.",
        ), 401
    connector = BY_NAME.get(str(given.get("connector")))
    if connector is None:
        return jsonify(error="ERROR_UNKNOWN_CONNECTOR", detail="There is no such connector."), 400
    name = str(given.get("name") or "").strip()[:LONGEST_NAME] or connector.title
    try:
        made = life.add_connection(account_id, connector.name, name)
    except TooMany:
        return jsonify(
            error="ERROR_TOO_MANY_CONNECTIONS",
            detail="This account has as many connections as it can.",
        ), 400
    account = life.account(account_id)
    return jsonify(
        server_id=made.id,
        id=made.id,
        name=made.name,
        server_type=made.connector.name,
        health_status=life.status(made),
        external_id=account.external_id if account else None,
    )
