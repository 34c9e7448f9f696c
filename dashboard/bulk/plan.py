"""What a bulk job would be for: everything that matches a list's search and filters, or what was ticked; and what is left out."""

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
from dashboard.bulk.models import BulkItem, BulkJob
from dashboard.bulk.service import Place
from dashboard.core.database import db
from dashboard.findings.lists import FINDINGS
from dashboard.findings.models import Finding
from dashboard.fleet.counters import LISTED
from dashboard.fleet.lists import CONNECTIONS
from dashboard.fleet.models import Account, Connection
from dashboard.listing.listing import Listing
from dashboard.listing.query import BadQuery, ListQuery, whole_number
from dashboard.peliqan.statuses import is_oauth, is_saltedge

MOST = 1_000_000
AT_ONCE = 500
UNDER_WAY = {
    actions.SYNC: "a sync is under way already",
    actions.REAUTHORISE: "a link waits for the customer already",
}
# The same lists, but only what tells their connections apart.
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


_SHOWN = (
    Connection.account_id, Connection.id, Connection.name, Connection.connector, Connection.status, Connection.auth_type,
    Connection.is_warehouse, Connection.is_target, Connection.gone_at, Account.name.label("account_name"), Account.external_id,
)  # fmt: skip


@dataclass(frozen=True)
class Selection:
    """What was chosen: ``query`` of a list (a cause's where ``cause_id`` is set), or the places that were ticked."""

    kind: str
    query: ListQuery
    cause_id: int | None = None
    ticked: tuple[Place, ...] | None = None

    @property
    def fields(self) -> list[tuple[str, str]]:
        """The same as parameters of an address or a form."""
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
        """Of the list that it was chosen from."""
        return {
            name: str(value)
            for name, value in self.query.url_args(page=None, per_page=None, cause=None).items()
        }


@dataclass(frozen=True)
class Candidate:
    """A connection that the job would be for."""

    account_id: int
    connection_id: int
    account: str
    title: str
    connector: str
    status: str

    @property
    def key(self) -> str:
        """As forms name it."""
        return f"{self.account_id}-{self.connection_id}"

    @property
    def place(self) -> Place:
        """By account and id."""
        return self.account_id, self.connection_id


@dataclass(frozen=True)
class Plan:
    """What would be done: ``items`` in the list's order, and how many are left out by reason."""

    selection: Selection
    items: list[Candidate]
    left_out: Mapping[str, int]

    @property
    def accounts(self) -> int:
        """How many accounts it touches."""
        return len({item.account_id for item in self.items})

    @property
    def matched(self) -> int:
        """Everything that was chosen."""
        return len(self.items) + sum(self.left_out.values())

    @cached_property
    def fingerprint(self) -> str:
        """The same for the same connections: whether a person has seen what is about to be done."""
        keys = sorted(item.place for item in self.items)
        return hashlib.sha256(repr(keys).encode()).hexdigest()[:16]


def read_selection(args: Mapping[str, str], ticked: Iterable[str]) -> Selection:
    """A request's parameters as a selection. ``ticked``: words "account-connection", of which ``which=ticked`` speaks.

    Raises:
        BadQuery: with a sentence.
    """
    kind, which = args.get("kind", ""), args.get("which", "all")
    if kind not in bulk.KINDS:
        raise BadQuery(
            f"“{kind[:40]}” cannot be done to many connections. What can: {', '.join(bulk.KINDS)}."
        )
    if which not in {"all", "ticked"}:
        raise BadQuery(f"“{which[:40]}” says not which connections: all or ticked.")
    if args.get("cause"):
        query = FINDINGS.read(args)
        return Selection(kind, query, whole_number("cause", args["cause"], 2**63 - 1))
    query = CONNECTIONS.read(args)
    return Selection(
        kind, query, ticked=tuple(dict.fromkeys(map(_place, ticked))) if which == "ticked" else None
    )


def plan(selection: Selection) -> Plan:
    """Look up what was chosen, and judge each connection: to be done, or left out and why."""
    places = _places(selection)
    busy, elsewhere = _in_flight(selection.kind), _in_running_jobs(selection.kind)
    items: list[Candidate] = []
    left_out: Counter[str] = Counter()
    whole_accounts = sum(connection_id is None for _, connection_id in places)
    if whole_accounts:
        left_out["a whole account, not a connection"] = whole_accounts
    wanted = [
        (account_id, connection_id)
        for account_id, connection_id in places
        if connection_id is not None
    ]
    for start in range(0, len(wanted), AT_ONCE):
        these = wanted[start : start + AT_ONCE]
        known = _known(these)
        for place in these:
            connection = known.get(place)
            reason = why_not(selection.kind, connection)
            if reason is None and place in busy:
                reason = UNDER_WAY[selection.kind]
            elif reason is None and place in elsewhere:
                reason = "it waits for its turn in another bulk job"
            if reason is not None or connection is None:
                left_out[reason or ""] += 1
            else:
                items.append(_candidate(connection))
    return Plan(selection, items, left_out)


class BulkEligibility(Protocol):
    """What tells whether something can be done to a connection: the connection itself, or as much of its row."""

    @property
    def gone_at(self) -> datetime | None:
        """Since when Peliqan's list has been without it."""

    @property
    def is_warehouse(self) -> bool:
        """Whether it is what the others load into."""

    @property
    def is_target(self) -> bool:
        """Whether data goes to it."""

    @property
    def connector(self) -> str:
        """What it connects to."""

    @property
    def auth_type(self) -> str | None:
        """How it is authorised, where the API tells."""


def why_not(kind: str, connection: BulkEligibility | None) -> str | None:
    """Why this cannot be done to a connection at all; None where it can."""
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


def _place(word: str) -> Place:
    account, _, connection = word.partition("-")
    return whole_number("connection", account, 2**63 - 1), whole_number(
        "connection", connection, 2**63 - 1
    )


def _places(selection: Selection) -> list[tuple[int, int | None]]:
    """Each once, in the list's order."""
    if selection.ticked is not None:
        return list(selection.ticked)
    listing: Listing = _CONNECTIONS
    if selection.cause_id is not None:
        listing = replace(
            _FINDINGS, statement=_FINDINGS.statement.where(Finding.cause_id == selection.cause_id)
        )
    return list(dict.fromkeys((row[0], row[1]) for row in listing.all(selection.query, MOST)))


def _known(places: Collection[Place]) -> dict[Place, Any]:
    """As much of their rows as a plan needs: whole objects of a hundred thousand would take ten seconds."""
    # By their accounts and then by hand: SQLite has no index for pairs in a list.
    mine = select(*_SHOWN).join(Account, Account.id == Connection.account_id)
    found = db.session.execute(
        mine.where(Connection.account_id.in_({account_id for account_id, _ in places}))
    )
    wanted = set(places)
    return {place: row for row in found if (place := (row.account_id, row.id)) in wanted}


def _candidate(row: Any) -> Candidate:
    return Candidate(
        row.account_id,
        row.id,
        row.account_name or row.external_id or f"Account {row.account_id}",
        row.name or row.connector or f"Connection {row.id}",
        row.connector,
        row.status,
    )


def _in_flight(kind: str) -> set[Place]:
    busy = select(Action.account_id, Action.connection_id).where(
        Action.in_flight.is_not(None), Action.kind == kind
    )
    return {(account_id, connection_id) for account_id, connection_id in db.session.execute(busy)}


def _in_running_jobs(kind: str) -> set[Place]:
    waiting = select(BulkItem.account_id, BulkItem.connection_id).join(
        BulkJob, BulkJob.id == BulkItem.job_id
    )
    waiting = waiting.where(
        BulkJob.state == bulk.RUNNING, BulkJob.kind == kind, BulkItem.state == bulk.WAITING
    )
    return {
        (account_id, connection_id) for account_id, connection_id in db.session.execute(waiting)
    }
