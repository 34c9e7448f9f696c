"""Pages of customer links: waiting links, their messages, invites, and missing links."""

from flask import Blueprint, abort, flash, redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue
from sqlalchemy import Select, select

from dashboard.actions import service as actions
from dashboard.actions.models import Action
from dashboard.actions.presenters import audit_if_not_sent
from dashboard.actions.tasks import poll_action
from dashboard.audit import service as audit
from dashboard.context import services
from dashboard.core.database import db
from dashboard.core.text import comparable
from dashboard.customer_links import queries as waiting_links
from dashboard.customer_links import service as customer_links
from dashboard.customer_links.limits import GIVE_UP_AFTER, SHOWN_NEEDED
from dashboard.customer_links.presenters import chosen_language, message_of, service_name
from dashboard.findings.lists import serialize_finding
from dashboard.findings.models import Finding
from dashboard.fleet.models import Account, Connection, ConnectionCount
from dashboard.listing.query import read_integer
from dashboard.users.authentication import visitor
from dashboard.web import htmx
from dashboard.web.lists import render_list
from dashboard.web.lookup import get_account_or_404
from dashboard.web.required_role import requires
from dashboard.web.times import today_began

bp = Blueprint("desk", __name__)
LONGEST_CONNECTOR = 80


@bp.get("/desk", endpoint="index")
@bp.get("/desk.json", endpoint="index_json")
@bp.get("/desk.csv", endpoint="index_csv")
@requires("viewer")
def index() -> ResponseReturnValue:
    """List waiting links; the page also shows missing links and today's reconnections."""
    is_page = not request.path.endswith((".json", ".csv")) and not htmx.is_htmx()
    return render_list(
        waiting_links.waiting_links(services().clock()),
        waiting_links.serialize_link,
        "customer_links/links.html",
        "customer_links/_links.html",
        good_for=GIVE_UP_AFTER,
        service_name=service_name,
        needed=waiting_links.needed(SHOWN_NEEDED) if is_page else None,
        back=waiting_links.reconnected(today_began()) if is_page else None,
    )


@bp.get("/desk/needed", endpoint="needed")
@bp.get("/desk/needed.json", endpoint="needed_json")
@bp.get("/desk/needed.csv", endpoint="needed_csv")
@requires("viewer")
def needed() -> ResponseReturnValue:
    """List findings that need a link and have none."""

    def last_links(findings: list[Finding]) -> dict[tuple[int, int], Action]:
        return dict(
            waiting_links.last_links(
                [(each.account_id, each.connection_id or 0) for each in findings]
            )
        )

    return render_list(
        waiting_links.NEEDED,
        serialize_finding,
        "customer_links/needed.html",
        "customer_links/_needed.html",
        extra=last_links,
    )


@bp.get("/desk/links/<int:action_id>")
@requires("operator")
def link(action_id: int) -> ResponseReturnValue:
    """Show one link with its message, in the language of the request."""
    return _show(_link_or_404(action_id))


@bp.post("/desk/links/<int:action_id>/sent")
@requires("operator")
def sent(action_id: int) -> ResponseReturnValue:
    """Record that the user sent the message."""
    return _record_sent(_link_or_404(action_id), reminder=False)


@bp.post("/desk/links/<int:action_id>/reminded")
@requires("operator")
def reminded(action_id: int) -> ResponseReturnValue:
    """Record that the user sent the reminder."""
    return _record_sent(_link_or_404(action_id), reminder=True)


@bp.get("/desk/invite")
@requires("operator")
def new_invite() -> ResponseReturnValue:
    """Show the form for an invite."""
    account = get_account_or_404(
        read_integer("account", request.args.get("account", ""), 2**63 - 1)
    )
    has = set(db.session.scalars(_live_connectors(account)))
    known = set(
        db.session.scalars(select(ConnectionCount.connector).where(ConnectionCount.connections > 0))
    )
    mine = set(map(comparable, has))
    offered = sorted((each for each in known if comparable(each) not in mine), key=comparable)
    return render_template(
        "customer_links/invite.html",
        account=account,
        has=sorted(has, key=comparable),
        offered=offered,
    )


@bp.post("/accounts/<int:account_id>/invite")
@requires("operator")
def invite(account_id: int) -> ResponseReturnValue:
    """Request a link for the customer to connect something new."""
    account, connector = get_account_or_404(account_id), request.form.get("connector", "").strip()
    if not connector or len(connector) > LONGEST_CONNECTOR or not connector.isprintable():
        abort(400, f"A connector has a name of 1 to {LONGEST_CONNECTOR} characters.")
    who, at = visitor().email, services().clock()
    if account.gone_at is not None:
        return _refuse(account, "Peliqan lists this account no more.", connector)
    if comparable(connector) in map(comparable, db.session.scalars(_live_connectors(account))):
        return _refuse(
            account,
            f"The account has a connection of {connector}: make a link on that connection’s page.",
            connector,
        )
    settings = services().settings
    with audit_if_not_sent(actions.INVITE, account_id):
        action = customer_links.invite(
            services().api, account, connector, who, at, settings.dashboard_watch_interval
        )
    poll_action.enqueue_when_due(action)
    return redirect(url_for(".link", action_id=action.id), 303)


def _live_connectors(account: Account) -> Select[str]:
    mine = (
        Connection.account_id == account.id,
        Connection.gone_at.is_(None),
        Connection.is_warehouse.is_(False),
    )
    return select(Connection.connector).where(*mine).distinct()


def _link_or_404(action_id: int) -> Action:
    action = waiting_links.link_or_none(action_id)
    if action is None:
        abort(404, f"There is no link {action_id}.")
    return action


def _show(action: Action, problem: str = "") -> ResponseReturnValue:
    message = message_of(action, action.account, action.connection)
    template = "customer_links/_message.html" if htmx.is_htmx() else "customer_links/link.html"
    return render_template(
        template, action=action, message=message, problem=problem, service_name=service_name
    )


def _record_sent(action: Action, *, reminder: bool) -> ResponseReturnValue:
    who, at, language = visitor().email, services().clock(), chosen_language() or "en"
    problem = ""
    if waiting_links.record_sent(action, who, language, at, reminder=reminder):
        what = "link_reminded" if reminder else "link_sent"
        detail = f"{action.kind.replace('_', ' ')}, in {language}"
        ids = {"account_id": action.account_id, "connection_id": action.connection_id or None}
        audit.record(at, who, what, audit.DONE, **ids, detail=detail)
    else:
        problem = "That link waits no more: what is below is how it ended. Nothing was noted."
    if htmx.is_htmx():
        return _show(_link_or_404(action.id), problem)
    if problem:
        flash(problem, "warning")
    return redirect(url_for(".link", action_id=action.id, language=language), 303)


def _refuse(account: Account, why: str, connector: str) -> ResponseReturnValue:
    audit.record(
        services().clock(),
        visitor().email,
        actions.INVITE,
        audit.REFUSED,
        account_id=account.id,
        detail=f"{connector}: {why}",
    )
    abort(400, why)
