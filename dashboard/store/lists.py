"""The console's lists, each a declaration for ``listing``. An item's fields in JSON and CSV stand beside it."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Integer, and_, case, func, select
from sqlalchemy.orm import contains_eager

from dashboard.peliqan.vocabulary import Severity
from dashboard.store.listing import Filter, Listing
from dashboard.store.models import Account, AuditEntry, Connection, User

SEVERITIES = tuple(severity.value for severity in Severity)
SEVERITY_ORDER = case({severity: place for place, severity in enumerate(SEVERITIES)}, value=Connection.severity, else_=99)


def _time(value: datetime | None) -> str | None:
    return value.isoformat().replace("+00:00", "Z") if value else None


CONNECTIONS = Listing(
    statement=select(Connection)
    .join(Connection.account)
    .options(contains_eager(Connection.account))
    .where(Connection.gone_at.is_(None), Account.gone_at.is_(None), Connection.is_warehouse.is_(False)),
    search=(Account.name, Account.external_id, Connection.name, Connection.connector),
    exact=(Connection.id, Account.id),
    filters={
        "severity": Filter(Connection.severity, "Severity", SEVERITIES),
        "status": Filter(Connection.status, "Status"),
        "connector": Filter(Connection.connector, "Connector"),
        "account": Filter(Connection.account_id, "Account", number=True, counted=False),
    },
    sorts={
        "severity": SEVERITY_ORDER,
        "account": func.lower(Account.name),
        "name": func.lower(Connection.name),
        "connector": Connection.connector,
        "status": Connection.status,
        "last_success": Connection.last_success_at,
        "since": Connection.status_since,
    },
    default_sort="severity",
    tie_break=(Connection.status_since.desc(), Connection.account_id, Connection.id),
)


def connection_item(connection: Connection) -> dict[str, Any]:
    """One connection as scripts see it."""
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
        "last_success_at": _time(connection.last_success_at),
        "status_since": _time(connection.status_since),
        "checked_at": _time(connection.checked_at),
    }


@dataclass(frozen=True)
class AccountRow:
    """An account with how many connections it has, by severity."""

    account: Account
    by_severity: dict[str, int]

    @property
    def connections(self) -> int:
        """How many there are in all."""
        return sum(self.by_severity.values())


def _count_of(severity: str) -> Any:
    return func.sum(case((Connection.severity == severity, 1), else_=0)).cast(Integer)


_PER_ACCOUNT = (
    select(
        Connection.account_id,
        *(_count_of(severity).label(severity) for severity in SEVERITIES),
        func.min(SEVERITY_ORDER).label("worst"),
        func.count().label("connections"),
    )
    .where(Connection.gone_at.is_(None), Connection.is_warehouse.is_(False))
    .group_by(Connection.account_id)
    .subquery()
)
_READABLE = case((Account.unreadable_reason.is_(None), "yes"), else_="no")
_ITS_CONNECTION = and_(Connection.account_id == Account.id, Connection.gone_at.is_(None), Connection.is_warehouse.is_(False))
_WORST = case(dict(enumerate(SEVERITIES)), value=_PER_ACCOUNT.c.worst)

ACCOUNTS = Listing(
    statement=select(Account, *(_PER_ACCOUNT.c[severity] for severity in SEVERITIES))
    .outerjoin(_PER_ACCOUNT, _PER_ACCOUNT.c.account_id == Account.id)
    .where(Account.gone_at.is_(None)),
    search=(Account.name, Account.external_id),
    exact=(Account.id,),
    filters={
        "severity": Filter(_WORST, "Worst connection", SEVERITIES),
        "connector": Filter(Connection.connector, "Connector", through=_ITS_CONNECTION),
        "status": Filter(Connection.status, "Status", through=_ITS_CONNECTION),
        "readable": Filter(_READABLE, "Readable", ("yes", "no")),
    },
    sorts={
        "severity": func.coalesce(_PER_ACCOUNT.c.worst, 99),
        "name": func.lower(Account.name),
        "external_id": Account.external_id,
        "connections": func.coalesce(_PER_ACCOUNT.c.connections, 0),
        "checked": Account.checked_at,
    },
    default_sort="severity",
    tie_break=(func.lower(Account.name), Account.id),
)


def account_row(row: Any) -> AccountRow:
    """A row of ``ACCOUNTS`` as an object."""
    return AccountRow(row[0], {name: count for name, count in zip(SEVERITIES, row[1:], strict=True) if count})


def account_item(row: AccountRow) -> dict[str, Any]:
    """One account as scripts see it."""
    return {
        "account_id": row.account.id,
        "external_id": row.account.external_id,
        "name": row.account.name,
        "connections": row.connections,
        "by_severity": row.by_severity,
        "readable": row.account.readable,
        "unreadable_reason": row.account.unreadable_reason,
        "checked_at": _time(row.account.checked_at),
    }


AUDIT = Listing(
    statement=select(AuditEntry),
    search=(AuditEntry.who, AuditEntry.what, AuditEntry.detail),
    exact=(AuditEntry.account_id, AuditEntry.connection_id),
    filters={
        "what": Filter(AuditEntry.what, "What"),
        "result": Filter(AuditEntry.result, "Result"),
        "who": Filter(AuditEntry.who, "Who"),
        "account": Filter(AuditEntry.account_id, "Account", number=True, counted=False),
    },
    sorts={"at": AuditEntry.at, "who": AuditEntry.who, "what": AuditEntry.what},
    default_sort="-at",
    tie_break=(AuditEntry.id.desc(),),
)


def audit_item(entry: AuditEntry) -> dict[str, Any]:
    """One entry of the audit trail as scripts see it."""
    return {
        "at": _time(entry.at),
        "who": entry.who,
        "what": entry.what,
        "result": entry.result,
        "account_id": entry.account_id,
        "connection_id": entry.connection_id,
        "detail": entry.detail,
        "settled_at": _time(entry.settled_at),
    }


USERS = Listing(
    statement=select(User),
    search=(User.email,),
    filters={"role": Filter(User.role, "Role", ("viewer", "operator", "admin"))},
    sorts={"email": User.email, "role": User.role, "seen": User.seen_at, "created": User.created_at},
    default_sort="email",
    tie_break=(User.id,),
)


def user_item(user: User) -> dict[str, Any]:
    """One person as scripts see them."""
    return {
        "email": user.email,
        "role": user.role,
        "disabled": user.disabled_at is not None,
        "created_at": _time(user.created_at),
        "seen_at": _time(user.seen_at),
    }


Item = Callable[[Any], dict[str, Any]]
