"""Objects named in addresses: found, or a 404 response."""

from flask import abort

from dashboard.findings import queries as finding_queries
from dashboard.findings.models import Cause
from dashboard.fleet import queries
from dashboard.fleet.models import Account, Connection

PATH = "/accounts/<int:account_id>/connections/<int:connection_id>"


def get_account_or_404(account_id: int) -> Account:
    """Return the account; aborts with 404 if there is none."""
    account = queries.account_or_none(account_id)
    if account is None:
        abort(
            404,
            f"No account has the id {account_id}, or it is newer than the last refresh.",
        )
    return account


def get_cause_or_404(cause_id: int) -> Cause:
    """Return the cause; aborts with 404 if there is none."""
    cause = finding_queries.cause_or_none(cause_id)
    if cause is None:
        abort(404, f"There is no cause {cause_id}, or it has been forgotten.")
    return cause


def get_visible_cause_or_403(cause_id: int) -> Cause:
    """Return the cause if the user sees all of it; aborts with 404 or 403 otherwise.

    For changes that all users see, which a user who sees only a part of the cause must not make.
    """
    cause = get_cause_or_404(cause_id)
    if not finding_queries.is_fully_visible(cause):
        abort(
            403,
            "This cause has to do with customers that you do not see, too."
            " Ask somebody who sees all, or take each finding.",
        )
    return cause


def get_connection_or_404(account_id: int, connection_id: int) -> Connection:
    """Return the connection; aborts with 404 if there is none."""
    connection = queries.connection_or_none(account_id, connection_id)
    if connection is None:
        abort(
            404,
            f"Account {account_id} has no connection {connection_id},"
            " or it is newer than the last refresh.",
        )
    return connection
