"""What a limited person sees of the store. Whatever reads a table, reads what that person may see of it.

While a request is a limited person's, its statements are compiled by another compiler: a table's name behind FROM or JOIN becomes
a subquery of the rows that they may see, with counts of those alone. So no query speaks of it, none can leave it out, and nothing
is changed for anybody else. Of a table that nobody thought of, a limited person sees the rows of their customers, where it names
an account, and else none.

Whoever changes the snapshot (``counts.begin_change``) sees all of it until the commit: it would be counted wrongly else. UPDATE
and DELETE name their own table as it is: who changes a row has looked it up before.
"""

# ruff: noqa: S608  # these texts are made of names of our own; ids are parameters

import copy
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from flask import current_app, g, has_app_context
from sqlalchemy import BigInteger, Connection, Dialect, bindparam, event
from sqlalchemy.orm import Session

from dashboard.core.database import db
from dashboard.findings.models import RECOVERED, STATES, Cause
from dashboard.refresh.models import Refresh
from dashboard.users.models import User

# Nothing of any customer's is in these.
OPEN = {
    "access_token", "account_search", "api_outage", "connector_median", "job", "recovery_code", "sign_in", "snapshot_version",
    "user",
}  # fmt: skip
# No limited person has a page of these, or they count the whole fleet.
SHUT = {"alert_message", "alert_rule", "fleet_hour", "pull_run", "pull_schedule"}
_IDS = "SELECT seen.account_id FROM seen WHERE seen.user_id = {me}"
_MY_NAME = 'SELECT "user".email FROM "user" WHERE "user".id = {me}'
_BEYOND = "SELECT 1 FROM finding WHERE finding.cause_id = {cause} AND finding.account_id NOT IN ({{ids}})"
_OVER = "CASE WHEN mine.accounts = 0 THEN {then} ELSE {otherwise} END"
# A cause as if there were no customers but theirs; what somebody wrote of it may speak of others.
_CAUSE = {
    "connections": "mine.connections",
    "accounts": "mine.accounts",
    "most": "mine.connections",
    "since": "coalesce(mine.since, cause.since)",
    "state": _OVER.format(then=f"'{RECOVERED}'", otherwise="cause.state"),
    "state_rank": _OVER.format(then=STATES.index(RECOVERED), otherwise="cause.state_rank"),
    "recovered_at": _OVER.format(then="coalesce(cause.recovered_at, mine.recovered_at)", otherwise="cause.recovered_at"),
    "example": "(SELECT finding.evidence FROM finding WHERE finding.id = mine.newest)",
    "example_folded": "(SELECT finding.evidence_folded FROM finding WHERE finding.id = mine.newest)",
    "suppressed_reason": f"CASE WHEN EXISTS ({_BEYOND.format(cause='cause.id')}) THEN '' ELSE cause.suppressed_reason END",
}
# A pass is over the whole fleet.
_PASS = {"accounts": "CAST(NULL AS INTEGER)", "done": "0", "unreadable": "0", "rate": "CAST(NULL AS FLOAT)"}


def _columns(model: Any, instead: dict[str, str]) -> str:
    table = model.__table__
    return ", ".join(f"{instead.get(each.name, f'{table.name}.{each.name}')} AS {each.name}" for each in table.columns)


# What is seen of tables that are not told by an account alone; ``{ids}`` and ``{me}`` as above.
SEEN = {
    "account": "SELECT * FROM account WHERE account.id IN ({ids})",
    "audit_entry": (
        "SELECT * FROM audit_entry WHERE audit_entry.account_id IN ({ids})"
        f" OR (audit_entry.account_id IS NULL AND audit_entry.who IN ({_MY_NAME}))"
    ),
    "bulk_job": (
        "SELECT * FROM bulk_job WHERE NOT EXISTS (SELECT 1 FROM bulk_item"
        " WHERE bulk_item.job_id = bulk_job.id AND bulk_item.account_id NOT IN ({ids}))"
    ),
    "cause": (
        f"SELECT {_columns(Cause, _CAUSE)} FROM cause JOIN (SELECT finding.cause_id, max(finding.id) AS newest,"
        " count(CASE WHEN finding.recovered_at IS NULL THEN finding.connection_id END) AS connections,"
        " count(DISTINCT CASE WHEN finding.recovered_at IS NULL THEN finding.account_id END) AS accounts,"
        " min(CASE WHEN finding.recovered_at IS NULL THEN finding.first_seen_at END) AS since,"
        " max(finding.recovered_at) AS recovered_at"
        " FROM finding WHERE finding.account_id IN ({ids}) GROUP BY finding.cause_id) AS mine ON mine.cause_id = cause.id"
    ),
    "connection_count": (
        "SELECT connection.severity, connection.status, connection.connector, count(*) AS connections FROM connection"
        " WHERE connection.gone_at IS NULL AND NOT connection.is_warehouse AND connection.account_id IN ({ids})"
        " GROUP BY connection.severity, connection.status, connection.connector"
    ),
    "note": (
        "SELECT * FROM note WHERE note.account_id IN ({ids}) OR (note.cause_id IS NOT NULL AND"
        f" (note.who IN ({_MY_NAME}) OR NOT EXISTS ({_BEYOND.format(cause='note.cause_id')})))"
    ),
    "question": (
        "SELECT * FROM question WHERE EXISTS (SELECT 1 FROM answer"
        " WHERE answer.question_id = question.id AND answer.account_id IN ({ids}))"
    ),
    # Others' may name customers in their text.
    "saved_query": f"SELECT * FROM saved_query WHERE saved_query.who IN ({_MY_NAME})",
    "scope": "SELECT * FROM scope WHERE scope.user_id = {me}",
    "seen": "SELECT * FROM seen WHERE seen.user_id = {me}",
    "refresh": f"SELECT {_columns(Refresh, _PASS)} FROM refresh",
}


def seen_of(table: Any, name: str) -> str | None:
    """The SELECT of what may be seen of a table; None where that is all. ``name``: as the database writes it."""
    if table.name in OPEN:
        return None
    if table.name in SEEN:
        return SEEN[table.name]
    if table.name in SHUT or "account_id" not in table.columns:
        return f"SELECT * FROM {name} WHERE 1 = 0"
    return f"SELECT * FROM {name} WHERE {name}.account_id IN ({{ids}})"


def look_as(user: User) -> None:
    """From here to the end of the request the store shows what this person may see. Administrators see all."""
    if user.sees_some:
        g.sight = user.id
        _fit(db.session())


def is_limited() -> bool:
    """Whether the store shows a part of itself."""
    return has_app_context() and "sight" in g


def whose() -> int | None:
    """Who sees no more than they may, by their id; None where everything is shown."""
    found: int | None = g.sight if is_limited() else None
    return found


@contextmanager
def everything() -> Iterator[None]:
    """What the store does for itself, and shows to nobody, is done with all of it."""
    session = db.session()
    session.info["lifted"] = session.info.get("lifted", 0) + 1
    _fit(session)
    try:
        yield
    finally:
        session.info["lifted"] -= 1
        _fit(session)


def see_all_until_commit(session: Session) -> None:
    """The same until the session's transaction ends."""
    session.info["sees_all"] = True
    _fit(session)


@event.listens_for(Session, "after_begin")
def _begin(session: Session, _transaction: object, connection: Connection) -> None:
    if is_limited():
        _look_through(session, connection)


@event.listens_for(Session, "after_commit")
@event.listens_for(Session, "after_rollback")
def _end(session: Session) -> None:
    session.info.pop("sees_all", None)


def _fit(session: Session) -> None:
    if is_limited() and session.in_transaction():
        _look_through(session, session.connection())


def _look_through(session: Session, connection: Connection) -> None:
    plain = connection.engine.dialect
    connection.dialect = plain if session.info.get("lifted") or session.info.get("sees_all") else _limited(plain)


def _limited(plain: Dialect) -> Dialect:
    """The same dialect with the other compiler. What was compiled is remembered by dialect, so neither meets the other's."""
    twins: dict[Dialect, Dialect] = current_app.extensions.setdefault("limited dialects", {})
    if plain not in twins:
        twin = copy.copy(plain)
        twin.statement_compiler = type("LimitedCompiler", (_Limited, plain.statement_compiler), {})
        twins[plain] = twin
    return twins[plain]


def _me() -> int:
    """Asked for with each statement. Without anybody's limits there is an error, not a look at everything."""
    found: int = g.sight
    return found


_ME = bindparam("sight_me", callable_=_me, type_=BigInteger())


class _Limited:
    """Mixed into a dialect's compiler."""

    def visit_table(self, table: Any, asfrom: bool = False, iscrud: bool = False, enclosing_alias: Any = None, **kw: Any) -> str:
        """A table's name; behind FROM what may be seen of it, under that name."""
        compiler: Any = super()
        name: str = compiler.visit_table(table, asfrom=asfrom, iscrud=iscrud, enclosing_alias=enclosing_alias, **kw)
        if not asfrom or iscrud:
            return name
        seen = seen_of(table, name)
        if seen is None:
            return name
        me = self.process(_ME)  # type: ignore[attr-defined]
        text = f"({seen.format(ids=_IDS.format(me=me), me=me)})"
        is_named_already = enclosing_alias is not None and enclosing_alias.element is table
        return text if is_named_already else f"{text} AS {name}"
