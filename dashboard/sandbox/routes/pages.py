"""What a person sees of the stand-in: its front page, the consent page, and what the widget talks to."""

from html import escape
from pathlib import Path

from flask import Blueprint, Response, abort, jsonify, redirect, request, send_from_directory
from flask.typing import ResponseReturnValue

from dashboard.sandbox.connectors import BY_NAME, CONNECTORS
from dashboard.sandbox.deps import body, sandbox
from dashboard.sandbox.seed import Connection
from dashboard.sandbox.simulation import TooMany

bp = Blueprint("people", __name__)
STATIC = Path(__file__).parent.parent / "static"
LONGEST_NAME = 100
POLICY = "default-src 'none'; style-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
PAGE = """<!doctype html><html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>{title}</title><link rel="icon" href="data:,"><link rel="stylesheet" href="/sandbox/static/sandbox.css"></head>
<body><main><h1>{title}</h1>{body}</main></body></html>"""
INDEX = """<p>Made-up customers and connections, for trying the Partner Console and for its tests. {accounts} accounts,
{calls} calls so far. Nothing here is real, and nothing leaves this machine.</p>
<ul><li><a href="/openapi.json">What it emulates</a>, as an OpenAPI document</li>
<li><a href="/sandbox/control/state">What was called</a>, and the knobs</li>
<li><a href="/sandbox/control/faults">The faults that are switched on</a>; <code>POST</code> one there, <code>DELETE</code>
clears them</li></ul>"""


def _page(title: str, content: str, status: int = 200) -> Response:
    response = Response(PAGE.format(title=escape(title), body=content), status=status)
    response.headers["Content-Security-Policy"] = POLICY
    response.headers["Referrer-Policy"] = "no-referrer"
    return response


@bp.get("/")
def index() -> ResponseReturnValue:
    """What this is."""
    parts = sandbox()
    told = INDEX.format(
        accounts=parts.life.count_accounts(), calls=sum(parts.faults.calls.values())
    )
    return _page("A stand-in for Peliqan's API", told)


@bp.get("/sandbox/static/<path:name>")
def static(name: str) -> ResponseReturnValue:
    """The pages' stylesheet."""
    return send_from_directory(STATIC, name)


def _asked(server_id: int) -> Connection:
    """The connection, if somebody asked for consent and nobody has answered: a link is good for one answer."""
    connection = sandbox().life.connection(server_id)
    touched = sandbox().life.touched.get(server_id)
    if connection is None or touched is None or touched.asked_at is None:
        abort(_page("This link has run out", "<p>Ask for a new one.</p>", 410))
    return connection


@bp.get("/sandbox/consent/<int:server_id>")
def consent(server_id: int) -> ResponseReturnValue:
    """Where the customer allows access again, or lets the bank be asked anew."""
    connection = _asked(server_id)
    account = sandbox().life.account(connection.account_id)
    company, title = (account.name if account else ""), connection.connector.title
    bank = connection.connector.auth == "saltedge"
    wants = "to fetch new transactions from" if bank else "to read from"
    return _page(
        f"Allow access to {title} for {company}?",
        f"<p>The data integration of <strong>{escape(company)}</strong> asks {wants} {escape(title)} again, for the connection "
        f"<strong>{escape(connection.name)}</strong>.</p>"
        '<form method="post"><button name="answer" value="allow">Allow</button> '
        '<button name="answer" value="deny" class="plain">Deny</button></form>',
    )


@bp.post("/sandbox/consent/<int:server_id>")
def consented(server_id: int) -> ResponseReturnValue:
    """The answer: AUTHORIZING and then well, or left as it was."""
    life = sandbox().life
    with life.lock:
        _asked(server_id)
        if request.form.get("answer") == "allow":
            life.allow(server_id)
            return redirect("/sandbox/done/allowed")
        life.touch(server_id).asked_at = None
    return redirect("/sandbox/done/denied")


@bp.get("/sandbox/done/<answer>")
def done(answer: str) -> ResponseReturnValue:
    """The end of it."""
    allowed = answer == "allowed"
    return _page(
        "Access allowed" if allowed else "Access denied", "<p>You can close this window.</p>"
    )


@bp.get("/sandbox/invite/<key>")
def invited(key: str) -> ResponseReturnValue:
    """Where an invite leads."""
    return _page("Connect your data", "<p>An invited customer would choose a connector here.</p>")


@bp.get("/embed/v1.3/peliqan-integration.js")
def widget() -> ResponseReturnValue:
    """The widget's script, compatible with the one that Peliqan's page describes (D)."""
    return send_from_directory(
        STATIC, "peliqan-integration.js", mimetype="text/javascript", max_age=0
    )


@bp.get("/sandbox/widget/connectors/")
def widget_connectors() -> ResponseReturnValue:
    """What can be connected: ``[{"name", "title", "kind", "auth"}]``."""
    return jsonify(
        [
            {"name": each.name, "title": each.title, "kind": each.kind, "auth": each.auth}
            for each in CONNECTORS
        ]
    )


@bp.post("/sandbox/widget/connections/")
def widget_connect() -> ResponseReturnValue:
    """Make a connection with the widget's token: ``{"connector", "name"}``; answers what the callback gets."""
    _, _, token = request.headers.get("Authorization", "").partition(" ")
    account_id, told, life = (
        sandbox().tokens.widget_account_of(token.strip()),
        body(),
        sandbox().life,
    )
    if account_id is None:
        return jsonify(
            error="ERROR_INVALID_ACCESS_TOKEN",
            detail="The integration token has run out. Reload the page.",
        ), 401
    connector = BY_NAME.get(str(told.get("connector")))
    if connector is None:
        return jsonify(error="ERROR_UNKNOWN_CONNECTOR", detail="There is no such connector."), 400
    name = str(told.get("name") or "").strip()[:LONGEST_NAME] or connector.title
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
