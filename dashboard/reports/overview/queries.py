"""Queries of the overview page and of the search, on the snapshot."""

from collections import Counter
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import ColumnElement, Select, func, or_, select
from sqlalchemy.orm import InstrumentedAttribute, contains_eager

from dashboard.core.cache import cached
from dashboard.core.database import db
from dashboard.core.text import comparable
from dashboard.findings import queries as finding_queries
from dashboard.findings.models import Cause, Finding
from dashboard.fleet.counters import LISTED
from dashboard.fleet.models import SEVERITIES, Account, Connection, ConnectionCount, HealthChange
from dashboard.peliqan.statuses import Severity

Conditions = tuple[ColumnElement[bool], ...]


@dataclass(frozen=True)
class StatusChange:
    """Status change with its connection."""

    change: HealthChange
    connection: Connection


@dataclass(frozen=True)
class Overview:
    """Summary of the fleet. ``by_severity`` has all severities, also those with a count of 0."""

    by_severity: dict[str, int]
    connections: int
    broke: list[StatusChange]
    broke_count: int
    recovered: list[StatusChange]
    recovered_count: int
    causes: list[Cause]
    cause_count: int
    behind_count: int
    contradictions: list[Finding]
    contradiction_count: int
    connectors: list[tuple[str, int, int]]


def read(at: datetime, most: int = 8) -> Overview:
    """Return the current summary, with the changes of the 24 hours before ``at``."""
    counts = db.session.execute(
        select(ConnectionCount.severity, ConnectionCount.connector, ConnectionCount.connections)
    ).all()
    found: Counter[str] = Counter()
    connectors: dict[str, tuple[int, int]] = {}
    for severity, connector, count in counts:
        found[severity] += count
        failing, of = connectors.get(connector, (0, 0))
        failing += count if severity == Severity.ERROR.value else 0
        connectors[connector] = failing, of + count
    in_error = [(name, *numbers) for name, numbers in connectors.items() if numbers[0]]
    since = at - timedelta(hours=24)
    bad = (Severity.ERROR.value, Severity.ATTENTION.value)
    broke = (
        HealthChange.became_severity.in_(bad),
        HealthChange.was_severity.not_in(bad),
        Connection.severity.in_(bad),
    )
    well = (
        HealthChange.became_severity == Severity.OK.value,
        HealthChange.was_severity != Severity.OK.value,
        Connection.severity == Severity.OK.value,
    )
    cause_count, behind_count = finding_queries.count_causes()
    contradictions, contradiction_count = finding_queries.contradictions(most)
    return Overview(
        by_severity={severity: found[severity] for severity in SEVERITIES},
        connections=found.total(),
        broke=_changes(since, broke, most),
        broke_count=_count("broke", since, broke),
        recovered=_changes(since, well, most),
        recovered_count=_count("well", since, well),
        causes=finding_queries.worst_causes(most),
        cause_count=cause_count,
        behind_count=behind_count,
        contradictions=contradictions,
        contradiction_count=contradiction_count,
        connectors=sorted(in_error, key=lambda row: (-row[1], comparable(row[0])))[:most],
    )


def _joined(since: datetime, conditions: Conditions) -> Select[HealthChange, Connection]:
    return (
        select(HealthChange, Connection)
        .join(
            Connection,
            (Connection.account_id == HealthChange.account_id)
            & (Connection.id == HealthChange.connection_id),
        )
        .join(Connection.account)
        .options(contains_eager(Connection.account))
        .where(HealthChange.at >= since, HealthChange.was.is_not(None), *LISTED, *conditions)
    )


def _changes(since: datetime, conditions: Conditions, most: int) -> list[StatusChange]:
    newest = (
        _joined(since, conditions)
        .order_by(HealthChange.at.desc(), HealthChange.id.desc())
        .limit(most)
    )
    return [StatusChange(change, connection) for change, connection in db.session.execute(newest)]


def _count(name: str, since: datetime, conditions: Conditions) -> int:
    # Rounded to the minute for the cache: without new changes, only time alters the count.
    since = since.replace(second=0, microsecond=0)
    distinct = (
        _joined(since, conditions)
        .with_only_columns(Connection.account_id, Connection.id)
        .distinct()
        .order_by(None)
        .subquery()
    )
    return cached(
        ("overview", name, since),
        lambda: db.session.scalar(select(func.count()).select_from(distinct)) or 0,
    )


@dataclass(frozen=True)
class SearchResults:
    """Search results: the first accounts and connections that match."""

    q: str
    accounts: list[Account]
    connections: list[Connection]

    @property
    def only(self) -> Account | Connection | None:
        """Return the account or connection, if only one can be meant; else None."""
        if len(self.accounts) == 1 and all(
            each.account_id == self.accounts[0].id for each in self.connections
        ):
            return self.accounts[0]
        if len(self.connections) == 1 and not self.accounts:
            return self.connections[0]
        return None


def find(q: str, most: int = 8) -> SearchResults:
    """Return accounts and connections that match a search text.

    An exact id has precedence over parts of names, external ids and connectors.
    """
    text = q.strip()[:200].replace("\0", "")
    wanted = comparable(text)
    if not wanted:
        return SearchResults("", [], [])
    number = int(wanted) if wanted.isascii() and wanted.isdigit() and len(wanted) < 19 else -1
    exact = or_(Account.id == number, Account.external_id_folded == wanted)
    accounts = select(Account).where(Account.gone_at.is_(None))
    connections = (
        select(Connection)
        .join(Connection.account)
        .options(contains_eager(Connection.account))
        .where(*LISTED)
    )
    exactly = SearchResults(
        text,
        list(db.session.scalars(accounts.where(exact).limit(most))),
        list(db.session.scalars(connections.where(Connection.id == number).limit(most))),
    )
    if exactly.accounts or exactly.connections:
        return exactly
    by_account = _each_word(wanted, Account.name_folded, Account.external_id_folded)
    by_connection = _each_word(wanted, Connection.name_folded, Connection.connector_folded)
    return SearchResults(
        text,
        list(
            db.session.scalars(
                accounts.where(*by_account).order_by(Account.name_folded, Account.id).limit(most)
            )
        ),
        list(
            db.session.scalars(
                connections.where(*by_connection)
                .order_by(Connection.account_id, Connection.id)
                .limit(most)
            )
        ),
    )


def _each_word(text: str, *columns: InstrumentedAttribute[str]) -> list[ColumnElement[bool]]:
    """Return a condition a word: one of the columns contains it."""
    return [
        or_(*(column.contains(word, autoescape=True) for column in columns))
        for word in text.split()
    ]
