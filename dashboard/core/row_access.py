"""Row-level access. While a restricted user's request is handled, every query returns rows of their accounts alone.

Its statements are compiled by another compiler, which writes a subquery of the visible rows in the place of each table's name
behind FROM and JOIN. So no query mentions it and none can leave it out. Each model declares its ``visibility``; a table that
declares none shows the rows of visible accounts where it names an account, and else none.

Whoever changes the snapshot (``core.snapshot_version.begin_change``) sees all rows until the commit: counters would be wrong
otherwise. UPDATE and DELETE name their own table as it is: who changes a row has read it before.
"""

# ruff: noqa: S608  # these texts are made of names of our own; ids are parameters

import copy
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Final, cast

from flask import current_app, g, has_app_context
from sqlalchemy import BigInteger, Connection, Dialect, bindparam, event
from sqlalchemy.orm import Session

from dashboard.core.database import Base, db


@dataclass(frozen=True)
class Visibility:
    """Which rows of a table a restricted user sees, and with which values.

    ``rows``: what follows FROM, in SQL; None for the table as it is. In it ``{table}`` is the table's name, ``{ids}`` a query of
    the visible accounts' ids, ``{me}`` the user's id, ``{my_address}`` a query of their e-mail address.
    ``columns``: expressions for columns that are shown with other values.
    """

    rows: str | None
    columns: Mapping[str, str] = field(default_factory=dict)


EVERYONE: Final = Visibility(None)
NOBODY: Final = Visibility("{table} WHERE 1 = 0")
BY_ACCOUNT: Final = Visibility("{table} WHERE {table}.account_id IN ({ids})")
# SQLite's index of texts: it names rows of the accounts' table, whose own visibility counts.
_SEARCH_INDEX: Final = "account_search"
_IDS: Final = "SELECT seen.account_id FROM seen WHERE seen.user_id = {me}"
_MY_ADDRESS: Final = 'SELECT "user".email FROM "user" WHERE "user".id = {me}'


def visibility_of(table: Any) -> Visibility:
    """Return what the table's model declares; by account, or nothing, where it declares nothing."""
    # By its name: an aliased table is a copy.
    for mapper in Base.registry.mappers:
        if mapper.local_table.description == table.name and (
            found := getattr(mapper.class_, "visibility", None)
        ):
            return cast(Visibility, found)
    if table.name == _SEARCH_INDEX:
        return EVERYONE
    return BY_ACCOUNT if "account_id" in table.columns else NOBODY


def visible_rows(table: Any, name: str) -> str | None:
    """Return the SELECT of a table's visible rows, with ``{me}`` left in it; None where that is all of them.

    ``name``: the table's, quoted where the database needs it.
    """
    found = visibility_of(table)
    if found.rows is None:
        return None
    columns = "*"
    if found.columns:
        columns = ", ".join(
            f"{found.columns.get(each.name, f'{name}.{each.name}')} AS {each.name}"
            for each in table.columns
        )
    places = {"table": name, "ids": _IDS, "my_address": _MY_ADDRESS, "me": "{me}"}
    return f"SELECT {columns} FROM {found.rows}".format(**places)


def restrict_to(user_id: int) -> None:
    """Show what this user may see and no more, from here to the end of the request."""
    g.sight = user_id
    _fit(db.session())


def is_restricted() -> bool:
    """Whether the store shows a part of itself."""
    return has_app_context() and "sight" in g


def restricted_user_id() -> int | None:
    """Who sees no more than they may, by their id; None where everything is shown."""
    found: int | None = g.sight if is_restricted() else None
    return found


@contextmanager
def unrestricted() -> Iterator[None]:
    """What the store does for itself, and shows to nobody, is done with all of it."""
    session = db.session()
    session.info["lifted"] = session.info.get("lifted", 0) + 1
    _fit(session)
    try:
        yield
    finally:
        session.info["lifted"] -= 1
        _fit(session)


def unrestrict_until_commit(session: Session) -> None:
    """The same until the session's transaction ends."""
    session.info["sees_all"] = True
    _fit(session)


@event.listens_for(Session, "after_begin")
def _begin(session: Session, _transaction: object, connection: Connection) -> None:
    if is_restricted():
        _look_through(session, connection)


@event.listens_for(Session, "after_commit")
@event.listens_for(Session, "after_rollback")
def _end(session: Session) -> None:
    session.info.pop("sees_all", None)


def _fit(session: Session) -> None:
    if is_restricted() and session.in_transaction():
        _look_through(session, session.connection())


def _look_through(session: Session, connection: Connection) -> None:
    plain = connection.engine.dialect
    connection.dialect = (
        plain if session.info.get("lifted") or session.info.get("sees_all") else _limited(plain)
    )


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

    def visit_table(
        self,
        table: Any,
        asfrom: bool = False,
        iscrud: bool = False,
        enclosing_alias: Any = None,
        **kw: Any,
    ) -> str:
        """A table's name; behind FROM what may be seen of it, under that name."""
        compiler: Any = super()
        name: str = compiler.visit_table(
            table, asfrom=asfrom, iscrud=iscrud, enclosing_alias=enclosing_alias, **kw
        )
        if not asfrom or iscrud:
            return name
        rows = visible_rows(table, name)
        if rows is None:
            return name
        text = f"({rows.format(me=self.process(_ME))})"  # type: ignore[attr-defined]
        is_named_already = enclosing_alias is not None and enclosing_alias.element is table
        return text if is_named_already else f"{text} AS {name}"
