"""Widget preview: a customer's widget, the data of its callback, and the snippet to copy.

The vendor's script runs in a separate frame: sandboxed without ``allow-same-origin`` (an opaque
origin without the console's cookies), or on the host name of DASHBOARD_WIDGET_ORIGIN. The token
reaches the frame by ``postMessage``, never by its address.
"""

import base64
import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from urllib.parse import urlsplit

from flask import Blueprint, abort, jsonify, render_template, request, url_for
from flask.typing import ResponseReturnValue
from sqlalchemy import select

from dashboard import peliqan
from dashboard.audit import service as audit
from dashboard.context import services
from dashboard.core.database import db
from dashboard.core.text import comparable
from dashboard.deliveries.tasks import deliver_new_connection
from dashboard.embed.limits import LONGEST_CONNECTORS, MOST_OFFERED, TOKEN_LIFE
from dashboard.fleet.models import Account, Connection
from dashboard.listing.query import BadQuery, read_integer
from dashboard.refresh import live
from dashboard.users import customer_access
from dashboard.users.authentication import visitor
from dashboard.web.required_role import PUBLIC, requires
from dashboard.web.security import allow_frame, is_widgets_host, own_policy

bp = Blueprint("embed", __name__)


@dataclass(frozen=True)
class EmbedPage:
    """The page's content. ``account``: None if none is chosen or none has the external id."""

    external_id: str
    account: Account | None
    connectors: tuple[str, ...]
    selected: str
    known_connectors: list[str]
    customers: list[Account]
    script_url: str
    frame_url: str

    @property
    def needs_consent(self) -> bool:
        """Whether the next step would create a real sub-account."""
        return bool(self.external_id) and self.account is None


@bp.get("/embed")
@requires("operator")
def show() -> ResponseReturnValue:
    """Show the widget of a chosen customer."""
    page = _page()
    allow_frame(services().settings.dashboard_widget_origin or "'self'")
    return render_template("embed/preview.html", page=page)


@bp.post("/embed/token")
@requires("operator")
def token() -> ResponseReturnValue:
    """Return an integration token for the frame, with its expiry.

    Creates a sub-account only with ``create=yes``, else 409. Commits.
    """
    external_id = _external_id(request.form)
    account = _account(external_id)
    if account is None and request.form.get("create") != "yes":
        return jsonify(
            error="unknown_account", detail="No account has this external id; it would be created."
        ), 409
    what = "widget_token" if account else "create_account"
    entry = audit.record(
        services().clock(),
        visitor().email,
        what,
        audit.PENDING,
        account_id=account.id if account else None,
        detail=external_id,
    )
    try:
        made = (
            services()
            .api.integration_token(
                external_id, company_name=account.name if account else external_id
            )
            .token
        )
    except peliqan.PeliqanError as error:
        entry.result, entry.detail, entry.settled_at = (
            audit.FAILED,
            error.explained,
            services().clock(),
        )
        db.session.commit()
        return jsonify(error.as_json()), 502
    entry.result, entry.settled_at = audit.DONE, services().clock()
    db.session.commit()
    ends = _expiry(made) or services().clock() + TOKEN_LIFE
    return jsonify(token=made, expires_at=ends.isoformat())


@bp.post("/embed/connected")
@requires("operator")
def connected() -> ResponseReturnValue:
    """Read and show the new connection after the widget's callback."""
    external_id, at = _external_id(request.form), services().clock()
    connection_id = read_integer("connection id", request.form.get("server_id", ""), 2**62)
    delivery = None
    try:
        account = _account(external_id) or live.find_or_add_account(services().api, external_id, at)
        delivery = deliver_new_connection(account.id, connection_id, visitor().email)
        live.read_connection(services().api, account.id, connection_id, at)
        connection, problem = db.session.get(Connection, (account.id, connection_id)), None
    except peliqan.PeliqanError as error:
        account, connection, problem = None, None, error
    result = audit.DONE if connection is not None else audit.FAILED
    account_id = account.id if account else None
    audit.record(
        at,
        visitor().email,
        "widget_connected",
        result,
        account_id=account_id,
        connection_id=connection_id,
    )
    shown = {"account": account, "connection": connection, "delivery": delivery, "problem": problem}
    return render_template("embed/_connected.html", **shown)


@bp.get("/embed/frame")
@requires(PUBLIC)
def frame() -> ResponseReturnValue:
    """Return the frame: the vendor's script with its own policy, no secret and no cookie."""
    settings = services().settings
    script, api = _origin(settings.peliqan_embed_script_url), _origin(settings.peliqan_api_url)
    own_host = is_widgets_host()
    # An opaque origin has no 'self', so the policy names the console's addresses.
    own_origins = (
        f"{_origin(url_for('static', filename='', _external=True))} {_origin(request.host_url)}"
    )
    if own_host and settings.dashboard_widget_origin:
        own_origins = settings.dashboard_widget_origin
    sandboxed = "sandbox allow-scripts allow-forms allow-popups allow-popups-to-escape-sandbox"
    policy = [
        "default-src 'none'",
        f"script-src {own_origins} {script}",
        f"style-src {own_origins} {script} 'unsafe-inline'",
        f"img-src https: data: {script}",
        f"font-src {script} data:",
        f"connect-src {script} {api}",
        f"frame-src {script} {api}",
        f"form-action {script} {api}",
        "object-src 'none'",
        "base-uri 'none'",
    ]
    # On its own host the frame may store data; it holds no secret, so any site may frame it. On the
    # console's host the sandbox keeps it from having the console's origin.
    own_policy(
        "; ".join(
            [*policy, "frame-ancestors *"]
            if own_host
            else [sandboxed, *policy, "frame-ancestors 'self'"]
        )
    )
    return render_template("embed/frame.html", script_url=settings.peliqan_embed_script_url)


def _page() -> EmbedPage:
    settings = services().settings
    external_id = _external_id(request.args) if request.args.get("external_id", "").strip() else ""
    known = list(
        db.session.scalars(
            select(Connection.connector).distinct().where(Connection.is_warehouse.is_(False))
        )
    )
    customers = (
        select(Account)
        .where(Account.external_id.is_not(None), Account.gone_at.is_(None))
        .order_by(Account.name_folded, Account.id)
        .limit(MOST_OFFERED)
    )
    wanted = request.args.getlist("connector") or request.args.get("connectors", "").split(",")
    if sum(map(len, wanted)) > LONGEST_CONNECTORS:
        raise BadQuery(
            "The connectors to offer are too many:"
            f" their names may have {LONGEST_CONNECTORS} characters together."
        )
    return EmbedPage(
        external_id=external_id,
        account=_account(external_id),
        connectors=tuple(dict.fromkeys(each.strip()[:80] for each in wanted if each.strip())),
        selected=request.args.get("selected", "").strip()[:80],
        known_connectors=sorted(known, key=comparable),
        customers=list(db.session.scalars(customers)),
        script_url=settings.peliqan_embed_script_url,
        frame_url=f"{settings.dashboard_widget_origin or ''}{url_for('.frame')}",
    )


def _external_id(fields: Mapping[str, str]) -> str:
    """Return the external id of the form; 404 if the user may not see this customer.

    Callers send the checked value: Peliqan returns a token for any id.
    """
    external_id = fields.get("external_id", "").strip()
    if not 1 <= len(external_id) <= 255 or not external_id.isprintable():
        raise BadQuery("An external id has 1 to 255 characters, none of them a control character.")
    if not customer_access.may_see(visitor().user, external_id):
        abort(404, "You see no customer with this external id.")
    return external_id


def _account(external_id: str) -> Account | None:
    return (
        db.session.scalar(
            select(Account).where(Account.external_id == external_id, Account.gone_at.is_(None))
        )
        if external_id
        else None
    )


def _origin(url: str) -> str:
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}"


def _expiry(token: str) -> datetime | None:
    """Return a token's expiry; None if it is no JWT with one."""
    try:
        body = token.split(".")[1]
        return datetime.fromtimestamp(
            json.loads(base64.urlsafe_b64decode(body + "==="))["exp"], UTC
        )
    except (IndexError, KeyError, ValueError, TypeError, OverflowError):
        return None
