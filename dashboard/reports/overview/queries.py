"""What the overview shows, from the snapshot alone."""

from collections import Counter
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import ColumnElement, Select, func, or_, select
from sqlalchemy.orm import contains_eager

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
    """A status change with the connection it happened to."""

    change: HealthChange
    connection: Connection


@dataclass(frozen=True)
class Overview:
    """The fleet at a glance. ``by_severity`` has every severity, also those with none."""

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
    """The fleet now, and what changed in the 24 hours before ``at``."""
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
    # To the minute: while nothing changes, only what becomes a day old moves it.
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
    """What one search box gives: accounts and connections, few of each, and how many there are."""

    q: str
    accounts: list[Account]
    connections: list[Connection]

    @property
    def only(self) -> Account | Connection | None:
        """The one thing that can be meant."""
        if len(self.accounts) == 1 and all(
            each.account_id == self.accounts[0].id for each in self.connections
        ):
            return self.accounts[0]
        if len(self.connections) == 1 and not self.accounts:
            return self.connections[0]
        return None


def find(q: str, most: int = 8) -> SearchResults:
    """Accounts and connections for what was pasted: an id exactly, else names, external ids and connectors in part."""
    text = q.strip()[:200].replace("\0", "")
    asked = comparable(text)
    if not asked:
        return SearchResults("", [], [])
    number = int(asked) if asked.isascii() and asked.isdigit() and len(asked) < 19 else -1
    exact = or_(Account.id == number, Account.external_id_folded == asked)
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
    named = [
        or_(
            *(
                column.contains(word, autoescape=True)
                for column in (Account.name_folded, Account.external_id_folded)
            )
        )
        for word in asked.split()
    ]
    by_connection = [
        or_(
            *(
                column.contains(word, autoescape=True)
                for column in (Connection.name_folded, Connection.connector_folded)
            )
        )
        for word in asked.split()
    ]
    return SearchResults(
        text,
        list(
            db.session.scalars(
                accounts.where(*named).order_by(Account.name_folded, Account.id).limit(most)
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
