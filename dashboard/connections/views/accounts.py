"""Pages of accounts: the list, and one account with its connections and databases."""

from datetime import timedelta

from flask import Blueprint, render_template
from flask.typing import ResponseReturnValue

from dashboard import peliqan
from dashboard.connections.limits import STRIP_DAYS
from dashboard.connections.views.health_strip import worst_strip
from dashboard.context import services
from dashboard.customer_links import queries as waiting_links
from dashboard.findings import queries as finding_queries
from dashboard.fleet import queries
from dashboard.fleet.lists import ACCOUNTS, CONNECTIONS, serialize_account
from dashboard.listing.query import ListQuery
from dashboard.notes import service as notes
from dashboard.refresh import live
from dashboard.web.lists import render_list
from dashboard.web.lookup import get_account_or_404
from dashboard.web.required_role import requires

bp = Blueprint("accounts", __name__)


@bp.get("/accounts", endpoint="index")
@bp.get("/accounts.json", endpoint="index_json")
@bp.get("/accounts.csv", endpoint="index_csv")
@requires("viewer")
def index() -> ResponseReturnValue:
    """List accounts with their connections by severity."""
    return render_list(
        ACCOUNTS, serialize_account, "connections/accounts.html", "connections/_accounts.html"
    )


@bp.get("/accounts/<int:account_id>")
@requires("viewer")
def show(account_id: int) -> ResponseReturnValue:
    """Show one account."""
    account = get_account_or_404(account_id)
    live.watch(services(), account_id)
    connections = CONNECTIONS.all(ListQuery(filters={"account": str(account_id)}), most=500)
    found = finding_queries.of_account(account_id)
    at, target = services().clock(), notes.NoteTarget(account_id)
    history = queries.health_of_account(account_id, at - timedelta(days=STRIP_DAYS))
    return render_template(
        "connections/account.html",
        account=account,
        connections=connections,
        findings=found,
        days=worst_strip(history.values(), account.first_seen_at, at, STRIP_DAYS),
        notes=notes.notes_on(target),
        place=target,
        waiting=waiting_links.waiting_of_account(account_id),
        gone=queries.removed_connections(account_id) if not connections else (0, None),
    )


@bp.get("/accounts/<int:account_id>/databases")
@requires("viewer", poll=True)
def databases(account_id: int) -> ResponseReturnValue:
    """Return the account's databases from the API, as a part that the page loads later."""
    account = get_account_or_404(account_id)
    try:
        found, problem = services().api.for_account(account.id).databases(), None
    except peliqan.PeliqanError as error:
        found, problem = (), error
    return render_template(
        "connections/_databases.html", account=account, databases=found, problem=problem
    )
