"""The lists of connections and accounts, declared for ``listing``, and rows as JSON."""

from collections.abc import Sequence
from functools import partial
from typing import Any

from sqlalchemy import ColumnElement, and_, case, column, select, table, true
from sqlalchemy.orm import InstrumentedAttribute, contains_eager, load_only

from dashboard.core.database import db
from dashboard.fleet.counters import LISTED
from dashboard.fleet.models import (
    SEVERITIES,
    Account,
    AccountRefreshState,
    Connection,
    ConnectionCount,
)
from dashboard.listing.listing import Filter, Listing, Newest, shown_time


def _indexed(
    words: Sequence[str],
    keep_order: bool,
    account: InstrumentedAttribute[int] = Account.id,
) -> ColumnElement[bool]:
    """Return the condition that an account's texts contain all words of three letters or more.

    The texts are those of the account and its connections; ``words`` are comparable.
    ``keep_order``: the database reads the list in its order and looks each row's ``account`` up
    among the found ones.
    """
    long = [word for word in words if len(word) >= 3]
    if not long:
        return true()
    if db.engine.dialect.name == "postgresql":
        # PostgreSQL's planner would not keep the order: it uses the index of words if it can.
        return (
            true()
            if keep_order
            else and_(*(Account.search.contains(word, autoescape=True) for word in long))
        )
    quoted = " AND ".join('"' + word.replace('"', '""') + '"' for word in long)
    found = select(_FOUND.c.rowid).where(_FOUND.c.search.op("MATCH")(quoted))
    # A sum has no index; otherwise SQLite would start with the accounts.
    return (account + 0).in_(found) if keep_order else Account.id.in_(found)


# SQLite's full-text index of ``account.search``, by trigrams.
_FOUND = table("account_search", column("rowid"), column("search"))
_CONNECTION = (Connection.account_id, Connection.id)
# The columns that the list and its other formats show; reading a third of all takes half the time.
_SHOWN_OF_CONNECTION = (
    Connection.name,
    Connection.connector,
    Connection.status,
    Connection.severity,
    Connection.status_since,
    Connection.running,
    Connection.last_run_status,
    Connection.last_success_at,
    Connection.last_error,
    Connection.looked_at,
)
_KIND = (ConnectionCount.severity, ConnectionCount.status, ConnectionCount.connector)

CONNECTIONS = Listing(
    name="connections",
    statement=select(Connection)
    .join(Connection.account)
    .options(
        load_only(*_SHOWN_OF_CONNECTION),
        contains_eager(Connection.account).load_only(Account.name, Account.external_id),
    )
    .where(*LISTED),
    unseen=(contains_eager(Connection.account).lazyload(Account.check),),
    search=(
        Account.name_folded,
        Account.external_id_folded,
        Connection.name_folded,
        Connection.connector_folded,
    ),
    exact=(Connection.id, Account.id),
    indexed=partial(_indexed, account=Connection.account_id),
    filters={
        "severity": Filter(
            Connection.severity,
            "Severity",
            SEVERITIES,
            same_as=(Connection.severity_rank, SEVERITIES.index),
        ),
        "status": Filter(Connection.status, "Status"),
        "connector": Filter(Connection.connector, "Connector"),
        "account": Filter(Connection.account_id, "Account", number=True, counted=False),
    },
    sorts={
        "severity": (Connection.severity_rank, Newest(Connection.status_since), *_CONNECTION),
        # By the account's own columns, so that SQLite reads accounts in order, then connections.
        "account": (Account.name_folded, Account.id, Connection.id),
        "name": (Connection.name_folded, *_CONNECTION),
        "connector": (Connection.connector_folded, *_CONNECTION),
        "status": (Connection.status, *_CONNECTION),
        "last_success": (Connection.last_success_at, *_CONNECTION),
        "since": (Connection.status_since, *_CONNECTION),
    },
    default_sort="severity",
    counts=select(*_KIND, ConnectionCount.connections).where(ConnectionCount.connections > 0),
)


def serialize_connection(connection: Connection) -> dict[str, Any]:
    """Return a connection as JSON."""
    return {
        "account_id": connection.account_id,
        "account_name": connection.account.name,
        "external_id": connection.account.external_id,
        "connection_id": connection.id,
        "name": connection.name,
        "connector": connection.connector,
        "status": connection.status,
        "severity": connection.severity,
        "running": connection.running,
        "last_run_status": connection.last_run_status,
        "last_error": connection.last_error,
        "last_success_at": shown_time(connection.last_success_at),
        "status_since": shown_time(connection.status_since),
        "checked_at": shown_time(connection.checked_at),
    }


_READABLE = case((Account.unreadable_reason.is_(None), "yes"), else_="no")
_ITS_CONNECTION = and_(Connection.account_id == Account.id, *LISTED)
_ACCOUNT = (Account.name_folded, Account.id)

ACCOUNTS = Listing(
    name="accounts",
    statement=select(Account)
    .join(Account.check)
    .options(contains_eager(Account.check))
    .where(Account.gone_at.is_(None)),
    search=(Account.name_folded, Account.external_id_folded),
    exact=(Account.id,),
    indexed=_indexed,
    filters={
        "severity": Filter(
            Account.severity,
            "Worst connection",
            SEVERITIES,
            same_as=(Account.severity_rank, SEVERITIES.index),
        ),
        "connector": Filter(
            Connection.connector,
            "Connector",
            through=_ITS_CONNECTION,
            known=ConnectionCount.connector,
        ),
        "status": Filter(
            Connection.status, "Status", through=_ITS_CONNECTION, known=ConnectionCount.status
        ),
        "readable": Filter(_READABLE, "Readable", ("yes", "no")),
    },
    sorts={
        "severity": (Account.severity_rank, *_ACCOUNT),
        "name": _ACCOUNT,
        "external_id": (Account.external_id_folded, Account.id),
        "connections": (Account.connections_count, *_ACCOUNT),
        "checked": (AccountRefreshState.checked_at, AccountRefreshState.account_id),
    },
    default_sort="severity",
)


def serialize_account(account: Account) -> dict[str, Any]:
    """Return an account as JSON."""
    return {
        "account_id": account.id,
        "external_id": account.external_id,
        "name": account.name,
        "connections": account.connections_count,
        "by_severity": account.by_severity,
        "readable": account.readable,
        "unreadable_reason": account.unreadable_reason,
        "owner": account.owner,
        "checked_at": shown_time(account.checked_at),
    }
