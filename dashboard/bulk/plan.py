"""Plans of bulk jobs: the selected connections, and those left out with the reason.

A selection is all rows of a list's search and filters, or the ticked connections.
"""

import hashlib
from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from functools import cached_property
from typing import Any, Protocol

from sqlalchemy import select

from dashboard.actions import service as actions
from dashboard.actions.models import Action
from dashboard.bulk import service as bulk
from dashboard.bulk.limits import MOST_CONNECTIONS
from dashboard.bulk.models import BulkItem, BulkJob
from dashboard.core.database import db
from dashboard.findings.lists import FINDINGS
from dashboard.findings.models import Finding
from dashboard.fleet.counters import LISTED
from dashboard.fleet.lists import CONNECTIONS
from dashboard.fleet.models import Account, Connection, ConnectionKey
from dashboard.listing.listing import Listing
from dashboard.listing.query import BadQuery, ListQuery, read_integer
from dashboard.peliqan.statuses import is_oauth, is_saltedge

AT_ONCE = 500
IN_FLIGHT = {
    actions.SYNC: "a sync is under way already",
    actions.REAUTHORISE: "a link waits for the customer already",
}
# The same lists, reduced to account and connection ids.
_CONNECTIONS = replace(
    CONNECTIONS,
    statement=select(Connection.account_id, Connection.id.label("connection_id"))
    .join(Connection.account)
    .where(*LISTED),
    unseen=(),
    name="",
)
_FINDINGS = replace(
    FINDINGS,
    statement=select(Finding.account_id, Finding.connection_id)
    .join(Finding.account)
    .outerjoin(Finding.connection),
    unseen=(),
)


_COLUMNS = (
    Connection.account_id,
    Connection.id,
    Connection.name,
    Connection.connector,
    Connection.status,
    Connection.auth_type,
    Connection.is_warehouse,
    Connection.is_target,
    Connection.gone_at,
    Account.name.label("account_name"),
    Account.external_id,
)


@dataclass(frozen=True)
class Selection:
    """The selected connections: the ``ticked`` ones, or all rows of a list's ``query``.

    The list is that of a cause's findings if ``cause_id`` is set, else that of connections.
    """

    kind: str
    query: ListQuery
    cause_id: int | None = None
    ticked: tuple[ConnectionKey, ...] | None = None

    @property
    def fields(self) -> list[tuple[str, str]]:
        """The selection as parameters of an address or form."""
        chosen = [("kind", self.kind)]
        if self.ticked is not None:
            chosen += [
                ("which", "ticked"),
                *(("c", f"{account}-{connection}") for account, connection in self.ticked),
            ]
        if self.cause_id is not None:
            chosen.append(("cause", str(self.cause_id)))
        narrowed = self.query.url_args(page=None, per_page=None, cause=None)
        return chosen + [(name, str(value)) for name, value in narrowed.items()]

    @property
    def list_args(self) -> dict[str, str]:
        """The address parameters of the list."""
        return {
            name: str(value)
            for name, value in self.query.url_args(page=None, per_page=None, cause=None).items()
        }


@dataclass(frozen=True)
class Candidate:
    """A connection that the job would include."""

    account_id: int
    connection_id: int
    account: str
    title: str
    connector: str
    status: str

    @property
    def key(self) -> str:
        """Account and connection id, as forms send them."""
        return f"{self.account_id}-{self.connection_id}"

    @property
    def connection_key(self) -> ConnectionKey:
        """Account and connection id."""
        return self.account_id, self.connection_id


@dataclass(frozen=True)
class Plan:
    """The connections of a job in the list's order, and the number left out by reason."""

    selection: Selection
    items: list[Candidate]
    left_out: Mapping[str, int]

    @property
    def accounts(self) -> int:
        """Number of accounts."""
        return len({item.account_id for item in self.items})

    @property
    def matched(self) -> int:
        """Number of selected rows, with those left out."""
        return len(self.items) + sum(self.left_out.values())

    @cached_property
    def fingerprint(self) -> str:
        """A hash of the connections: detects changes after the user saw the plan."""
        keys = sorted(item.connection_key for item in self.items)
        return hashlib.sha256(repr(keys).encode()).hexdigest()[:16]


def read_selection(args: Mapping[str, str], ticked: Iterable[str]) -> Selection:
    """Return the selection of a request. ``ticked``: texts "account-connection".

    Raises:
        BadQuery: A parameter is invalid.
    """
    kind, which = args.get("kind", ""), args.get("which", "all")
    if kind not in bulk.KINDS:
        raise BadQuery(
            f"“{kind[:40]}” cannot be done to many connections. What can: {', '.join(bulk.KINDS)}."
        )
    if which not in {"all", "ticked"}:
        raise BadQuery(f"Invalid value “{which[:40]}” for `which`. Allowed: all, ticked.")
    if args.get("cause"):
        query = FINDINGS.read(args)
        return Selection(kind, query, read_integer("cause", args["cause"], 2**63 - 1))
    query = CONNECTIONS.read(args)
    keys = tuple(dict.fromkeys(map(_read_key, ticked))) if which == "ticked" else None
    return Selection(kind, query, ticked=keys)


def plan(selection: Selection) -> Plan:
    """Return which selected connections a job would include, and why others are left out."""
    selected = _selected(selection)
    busy, elsewhere = _in_flight(selection.kind), _in_running_jobs(selection.kind)
    items: list[Candidate] = []
    left_out: Counter[str] = Counter()
    accounts = sum(connection_id is None for _, connection_id in selected)
    if accounts:
        left_out["a whole account, not a connection"] = accounts
    wanted = [
        (account_id, connection_id)
        for account_id, connection_id in selected
        if connection_id is not None
    ]
    for start in range(0, len(wanted), AT_ONCE):
        these = wanted[start : start + AT_ONCE]
        rows = _rows(these)
        for key in these:
            connection = rows.get(key)
            reason = why_not(selection.kind, connection)
            if reason is None and key in busy:
                reason = IN_FLIGHT[selection.kind]
            elif reason is None and key in elsewhere:
                reason = "it waits for its turn in another bulk job"
            if reason is not None or connection is None:
                left_out[reason or ""] += 1
            else:
                items.append(_candidate(connection))
    return Plan(selection, items, left_out)


class BulkEligibility(Protocol):
    """The fields that decide whether an action fits a connection: of a model or a row."""

    @property
    def gone_at(self) -> datetime | None:
        """When it was removed from Peliqan's list."""

    @property
    def is_warehouse(self) -> bool:
        """Whether it is the account's data warehouse."""

    @property
    def is_target(self) -> bool:
        """Whether it is a target of other connections."""

    @property
    def connector(self) -> str:
        """The name of the connector."""

    @property
    def auth_type(self) -> str | None:
        """The kind of authorisation; None if the API does not name it."""


def why_not(kind: str, connection: BulkEligibility | None) -> str | None:
    """Return why this action never fits the connection; None if it does."""
    if connection is None:
        return "it is not known any more"
    if connection.gone_at is not None:
        return "it is gone from Peliqan’s list"
    if connection.is_warehouse:
        return "it is a data warehouse, which has no pipeline of its own"
    if kind == actions.SYNC:
        return None
    if is_saltedge(connection.connector):
        return "it is a bank connection, whose link is asked for on its own page"
    return (
        None
        if is_oauth(connection.auth_type) and not connection.is_target
        else "it is not authorised by OAuth"
    )


def _read_key(text: str) -> ConnectionKey:
    account, _, connection = text.partition("-")
    return read_integer("connection", account, 2**63 - 1), read_integer(
        "connection", connection, 2**63 - 1
    )


def _selected(selection: Selection) -> list[tuple[int, int | None]]:
    """Return account and connection ids without duplicates, in the list's order."""
    if selection.ticked is not None:
        return list(selection.ticked)
    listing: Listing = _CONNECTIONS
    if selection.cause_id is not None:
        listing = replace(
            _FINDINGS, statement=_FINDINGS.statement.where(Finding.cause_id == selection.cause_id)
        )
    return list(
        dict.fromkeys((row[0], row[1]) for row in listing.all(selection.query, MOST_CONNECTIONS))
    )


def _rows(keys: Collection[ConnectionKey]) -> dict[ConnectionKey, Any]:
    """Return the columns that a plan needs: 100,000 model objects would take 10 seconds."""
    # Filtered by account and then in Python: SQLite uses no index for a list of pairs.
    mine = select(*_COLUMNS).join(Account, Account.id == Connection.account_id)
    found = db.session.execute(
        mine.where(Connection.account_id.in_({account_id for account_id, _ in keys}))
    )
    wanted = set(keys)
    return {key: row for row in found if (key := (row.account_id, row.id)) in wanted}


def _candidate(row: Any) -> Candidate:
    return Candidate(
        row.account_id,
        row.id,
        row.account_name or row.external_id or f"Account {row.account_id}",
        row.name or row.connector or f"Connection {row.id}",
        row.connector,
        row.status,
    )


def _in_flight(kind: str) -> set[ConnectionKey]:
    busy = select(Action.account_id, Action.connection_id).where(
        Action.in_flight.is_not(None), Action.kind == kind
    )
    return {(account_id, connection_id) for account_id, connection_id in db.session.execute(busy)}


def _in_running_jobs(kind: str) -> set[ConnectionKey]:
    waiting = select(BulkItem.account_id, BulkItem.connection_id).join(
        BulkJob, BulkJob.id == BulkItem.job_id
    )
    waiting = waiting.where(
        BulkJob.state == bulk.RUNNING, BulkJob.kind == kind, BulkItem.state == bulk.WAITING
    )
    return {
        (account_id, connection_id) for account_id, connection_id in db.session.execute(waiting)
    }
