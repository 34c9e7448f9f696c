"""The list of actions with who started them, why, and their outcomes."""

from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import contains_eager

from dashboard.actions.models import Action
from dashboard.actions.outcomes import VERDICTS
from dashboard.actions.service import BANK_REFRESH, REAUTHORISE, SYNC
from dashboard.findings.rules.definitions import BY_NAME
from dashboard.fleet.models import Account, Connection
from dashboard.listing.listing import Filter, Listing, Outer, shown_time

RECEIPTS = Listing(
    statement=select(Action)
    .outerjoin(Action.account)
    .outerjoin(Action.connection)
    .options(
        contains_eager(Action.account).load_only(Account.name, Account.external_id),
        contains_eager(Action.account).lazyload(Account.check),
        contains_eager(Action.connection).load_only(Connection.name, Connection.connector),
    ),
    search=(
        Account.name_folded,
        Account.external_id_folded,
        Connection.name_folded,
        Action.words,
        Action.reasons,
    ),
    exact=(Action.account_id, Action.connection_id, Action.run_id),
    filters={
        "kind": Filter(Action.kind, "What", (SYNC, REAUTHORISE, BANK_REFRESH)),
        "verdict": Filter(Action.verdict, "What it did", VERDICTS),
        "rule": Filter(Action.rule, "What was wrong", tuple(BY_NAME)),
        "who": Filter(Action.started_by, "Who"),
        "account": Filter(Action.account_id, "Account", number=True, counted=False),
        "cause": Filter(Action.cause_id, "Cause", number=True, counted=False),
    },
    sorts={
        "at": (Action.started_at, Action.id),
        "who": (Action.started_by, Action.id),
        "kind": (Action.kind, Action.id),
        "verdict": (Action.verdict, Action.id),
        "account": (Outer(Account.name_folded), Action.id),
    },
    default_sort="-at",
)


def serialize_outcome(action: Action) -> dict[str, Any]:
    """Return an action with its outcome as a JSON object."""
    account, connection = action.account, action.connection
    return {
        "id": action.id,
        "at": shown_time(action.started_at),
        "who": action.started_by,
        "kind": action.kind,
        "why": action.why,
        "account_id": action.account_id,
        "account_name": account.name if account is not None else None,
        "external_id": account.external_id if account is not None else None,
        "connection_id": action.connection_id,
        "connection_name": connection.name if connection is not None else None,
        "connector": action.connector,
        "rule": action.rule,
        "cause_id": action.cause_id,
        "status_before": action.status_before,
        "status_after": action.status_after,
        "verdict": action.verdict,
        "state": action.state,
        "run_id": action.run_id,
        "run_status": action.run_status,
        "records": action.records,
        "detail": action.detail,
        "settled_at": shown_time(action.settled_at),
    }
