"""Report of the changes since a time: causes by kind of change, unreadable accounts.

Findings that were open at that time are compared with those open now. A cause is in one list only.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import chain
from typing import Any

from sqlalchemy import ColumnElement, Select, and_, case, func, or_, select

from dashboard.core.cache import cached
from dashboard.core.database import db
from dashboard.findings.models import RECOVERED as CAUSE_RECOVERED
from dashboard.findings.models import SUPPRESSED, Cause, Finding
from dashboard.findings.rules.definitions import FINDING_SEVERITIES, UNREADABLE
from dashboard.fleet.models import SEVERITIES, Account, ConnectionCount
from dashboard.fleet.queries import accounts_by_reason
from dashboard.refresh import passes

NEW, WORSE, RECOVERED, STILL, STEADY, HIDDEN = (
    "new",
    "worse",
    "recovered",
    "still",
    "steady",
    "hidden",
)
LONG = timedelta(days=7)
# Causes in one list; the number of further causes is given.
MOST = 500


@dataclass(frozen=True)
class CauseLine:
    """One cause, with the numbers of affected connections and accounts now and at that time.

    ``change``: ``new``, ``worse``, ``recovered``, ``still`` (open for over seven days) or
    ``steady``. For a recovered cause, the numbers are those between the two times.
    """

    id: int
    title: str
    severity: str
    change: str
    connections: int
    accounts: int
    connections_before: int
    accounts_before: int
    since: datetime
    recovered_at: datetime | None
    owner: str | None
    example: str

    @property
    def moved(self) -> int:
        """Return the increase in connections, or in accounts for a cause without connections."""
        if self.connections or self.connections_before:
            return self.connections - self.connections_before
        return self.accounts - self.accounts_before


@dataclass(frozen=True)
class UnreadableLine:
    """One account that cannot be read now. ``is_new``: it could be read at that time."""

    account_id: int
    title: str
    reason: str
    since: datetime
    owner: str | None
    is_new: bool


@dataclass(frozen=True)
class Counts:
    """Numbers of new, worse and recovered causes, and of newly unreadable accounts."""

    new: int
    worse: int
    recovered: int
    unreadable: int

    @property
    def is_quiet(self) -> bool:
        """Return whether all numbers are 0."""
        return not (self.new or self.worse or self.recovered or self.unreadable)


@dataclass(frozen=True)
class Report:
    """The report, worst causes first.

    ``still``: open for over seven days; ``steady``: open for a shorter time, and no worse.
    ``suppressed``: number of suppressed causes. ``as_of``: end of the last complete refresh.
    ``cut``: number of causes left out, since a list has at most ``MOST``.
    """

    since: datetime
    at: datetime
    as_of: datetime | None
    accounts: int
    readable: int
    by_severity: dict[str, int]
    new: tuple[CauseLine, ...]
    worse: tuple[CauseLine, ...]
    recovered: tuple[CauseLine, ...]
    still: tuple[CauseLine, ...]
    steady: tuple[CauseLine, ...]
    unreadable: tuple[UnreadableLine, ...]
    suppressed: int
    cut: int

    @property
    def open(self) -> list[CauseLine]:
        """Return all causes that are open now, worst first."""
        return sorted(chain(self.new, self.worse, self.still, self.steady), key=_worst_first)

    @property
    def long_open(self) -> list[CauseLine]:
        """Return the causes that have been open for over seven days, also the worse ones."""
        return [line for line in self.open if line.since <= self.at - LONG]

    @property
    def unreadable_new(self) -> list[UnreadableLine]:
        """Return the unreadable accounts that could be read at that time."""
        return [line for line in self.unreadable if line.is_new]

    @property
    def counts(self) -> Counts:
        """Return the numbers of changes."""
        return Counts(len(self.new), len(self.worse), len(self.recovered), len(self.unreadable_new))


def read(since: datetime, at: datetime) -> Report:
    """Return the report on the time from ``since`` to ``at``, which is now.

    The number of queries does not depend on the size of the fleet.
    """
    lists: dict[str, list[CauseLine]] = {
        name: [] for name in (NEW, WORSE, RECOVERED, STILL, STEADY)
    }
    suppressed = cut = 0
    for line in _lines(since, at):
        if line.change == HIDDEN:
            suppressed += 1
        elif len(lists[line.change]) < MOST:
            lists[line.change].append(line)
        else:
            cut += 1
    counted = select(ConnectionCount.severity, func.sum(ConnectionCount.connections)).group_by(
        ConnectionCount.severity
    )
    by_severity = {severity: int(count) for severity, count in db.session.execute(counted)}
    by_reason = accounts_by_reason()
    return Report(
        since=since,
        at=at,
        as_of=passes.known().as_of,
        accounts=sum(by_reason.values()),
        readable=by_reason.get(None, 0),
        by_severity={severity: by_severity.get(severity, 0) for severity in SEVERITIES},
        unreadable=tuple(_unreadable(since)),
        suppressed=suppressed,
        cut=cut,
        **{name: tuple(lines) for name, lines in lists.items()},
    )


def count(since: datetime, at: datetime) -> Counts:
    """Return only the numbers of changes, for the overview.

    They are cached until the snapshot changes: passing time alone adds nothing.
    """
    return cached(("report", since), lambda: _count(since, at))


def _count(since: datetime, at: datetime) -> Counts:
    new_causes = select(Finding.cause_id).where(
        Finding.recovered_at.is_(None), Finding.first_seen_at > since
    )
    found = [
        _change(row, row.Cause, since, at)
        for row in db.session.execute(_counting(since, Finding.cause_id.in_(new_causes)))
    ]
    over = select(func.count(Finding.cause_id.distinct())).join(Finding.cause)
    recovered = (
        db.session.scalar(over.where(Finding.recovered_at > since, Cause.state == CAUSE_RECOVERED))
        or 0
    )
    became = and_(
        Finding.rule == UNREADABLE.name,
        Finding.recovered_at.is_(None),
        Finding.first_seen_at > since,
    )
    unreadable = db.session.scalar(select(func.count()).where(became)) or 0
    return Counts(found.count(NEW), found.count(WORSE), recovered, unreadable)


def _counting(since: datetime, *only: ColumnElement[bool]) -> Select[Any]:
    """Select causes that were open at any time since, with numbers then, now and in between.

    Causes that recovered before are skipped, so the cost depends on open and recently recovered
    ones. ``only``: conditions on the findings.
    """
    then, now = Finding.first_seen_at <= since, Finding.recovered_at.is_(None)

    def connections(when: Any) -> Any:
        return func.count(case((when, Finding.connection_id)))

    def accounts(when: Any) -> Any:
        return func.count(case((when, Finding.account_id)).distinct())

    counted = (
        select(
            Finding.cause_id,
            connections(then).label("connections_before"),
            accounts(then).label("accounts_before"),
            connections(now).label("connections"),
            accounts(now).label("accounts"),
            func.count(Finding.connection_id).label("connections_since"),
            func.count(Finding.account_id.distinct()).label("accounts_since"),
        )
        .where(or_(Finding.recovered_at.is_(None), Finding.recovered_at > since), *only)
        .group_by(Finding.cause_id)
        .subquery()
    )
    numbers = [column for column in counted.c if column.name != "cause_id"]
    return select(Cause, *numbers).join(counted, counted.c.cause_id == Cause.id)


def _change(row: Any, cause: Cause, since: datetime, at: datetime) -> str:
    if not row.accounts:
        return RECOVERED
    if cause.rule == UNREADABLE.name:
        # Unreadable accounts have a list of their own.
        return ""
    if cause.state == SUPPRESSED:
        return HIDDEN
    if not row.accounts_before:
        return NEW
    if row.accounts > row.accounts_before or row.connections > row.connections_before:
        return WORSE
    return STILL if cause.since <= at - LONG else STEADY


def _lines(since: datetime, at: datetime) -> list[CauseLine]:
    return sorted(_each_line(since, at), key=_worst_first)


def _each_line(since: datetime, at: datetime) -> Iterator[CauseLine]:
    for row in db.session.execute(_counting(since)):
        cause: Cause = row.Cause
        change = _change(row, cause, since, at)
        if not change:
            continue
        over = change == RECOVERED
        yield CauseLine(
            id=cause.id,
            title=f"{cause.title}: {cause.connector}" if cause.connector else cause.title,
            severity=cause.severity,
            change=change,
            connections=row.connections_since if over else row.connections,
            accounts=row.accounts_since if over else row.accounts,
            connections_before=row.connections_before,
            accounts_before=row.accounts_before,
            since=cause.since,
            recovered_at=cause.recovered_at,
            owner=cause.owner,
            example=cause.example,
        )


def _worst_first(line: CauseLine) -> tuple[int, int, int, int]:
    return FINDING_SEVERITIES.index(line.severity), -line.accounts, -line.connections, line.id


def _unreadable(since: datetime) -> Sequence[UnreadableLine]:
    """Return unreadable accounts, latest first."""
    query = (
        select(
            Account.id,
            Account.name,
            Account.external_id,
            Account.unreadable_reason,
            Account.owner,
            Finding.first_seen_at,
        )
        .join(Finding, Finding.account_id == Account.id)
        .where(
            Finding.rule == UNREADABLE.name,
            Finding.recovered_at.is_(None),
            Account.gone_at.is_(None),
        )
        .order_by(Finding.first_seen_at.desc(), Account.id)
    )
    return [
        UnreadableLine(
            account_id=row.id,
            title=row.name or row.external_id or f"Account {row.id}",
            reason=row.unreadable_reason or "",
            since=row.first_seen_at,
            owner=row.owner,
            is_new=row.first_seen_at > since,
        )
        for row in db.session.execute(query)
    ]
