"""Row-level access: a restricted user's queries return only rows this user may see.

A second statement compiler replaces each table name after FROM and JOIN with a subquery of the
visible rows. So no query has to mention row-level access, and none can omit it. Each model
declares its ``visibility``. A table without a declaration shows the rows of visible accounts if
it has the column ``account_id``, otherwise none.

A transaction that changes the snapshot (``core.snapshot_version.lock_snapshot``) is unrestricted
until it commits: its counters would be wrong otherwise. UPDATE and DELETE address their table
directly, since the rows to change were read through a restricted query.
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
    """The rows and values of a table that a restricted user sees.

    ``rows``: the SQL after FROM; None for the unrestricted table. Placeholders: ``{table}`` is
    the table's name, ``{ids}`` a query of the visible accounts' ids, ``{me}`` the user's id,
    ``{my_address}`` a query of the user's e-mail address.
    ``columns``: SQL expressions for columns whose values are replaced.
    """

    rows: str | None
    columns: Mapping[str, str] = field(default_factory=dict)


EVERYONE: Final = Visibility(None)
NOBODY: Final = Visibility("{table} WHERE 1 = 0")
BY_ACCOUNT: Final = Visibility("{table} WHERE {table}.account_id IN ({ids})")
# SQLite's full-text index. It names rows of the account table, which has its own visibility.
_SEARCH_INDEX: Final = "account_search"
_IDS: Final = "SELECT seen.account_id FROM seen WHERE seen.user_id = {me}"
_MY_ADDRESS: Final = 'SELECT "user".email FROM "user" WHERE "user".id = {me}'


def visibility_of(table: Any) -> Visibility:
    """Return the visibility that a table's model declares, or the default described above."""
    # Compares names: an aliased table is a copy.
    for mapper in Base.registry.mappers:
        if mapper.local_table.description == table.name and (
            found := getattr(mapper.class_, "visibility", None)
        ):
            return cast(Visibility, found)
    if table.name == _SEARCH_INDEX:
        return EVERYONE
    return BY_ACCOUNT if "account_id" in table.columns else NOBODY


def visible_rows(table: Any, name: str) -> str | None:
    """Return the SELECT of a table's visible rows, with ``{me}`` as a placeholder.

    None if all rows are visible. ``name``: the table's name, quoted where the database needs it.
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
    values = {"table": name, "ids": _IDS, "my_address": _MY_ADDRESS, "me": "{me}"}
    return f"SELECT {columns} FROM {found.rows}".format(**values)


def restrict_to(user_id: int) -> None:
    """Restrict all queries to what this user may see, until the end of the request."""
    g.restricted_user_id = user_id
    _choose_compiler(db.session())


def is_restricted() -> bool:
    """Return whether the current request belongs to a restricted user."""
    return has_app_context() and "restricted_user_id" in g


def restricted_user_id() -> int | None:
    """Return the id of the restricted user; None if queries are unrestricted."""
    found: int | None = g.restricted_user_id if is_restricted() else None
    return found


@contextmanager
def unrestricted() -> Iterator[None]:
    """Lift the restriction inside a ``with`` block, for reads whose rows no user sees."""
    session = db.session()
    session.info["lifted"] = session.info.get("lifted", 0) + 1
    _choose_compiler(session)
    try:
        yield
    finally:
        session.info["lifted"] -= 1
        _choose_compiler(session)


def unrestrict_until_commit(session: Session) -> None:
    """Lift the restriction until the session's transaction ends."""
    session.info["sees_all"] = True
    _choose_compiler(session)


@event.listens_for(Session, "after_begin")
def _begin(session: Session, _transaction: object, connection: Connection) -> None:
    if is_restricted():
        _set_dialect(session, connection)


@event.listens_for(Session, "after_commit")
@event.listens_for(Session, "after_rollback")
def _end(session: Session) -> None:
    session.info.pop("sees_all", None)


def _choose_compiler(session: Session) -> None:
    if is_restricted() and session.in_transaction():
        _set_dialect(session, session.connection())


def _set_dialect(session: Session, connection: Connection) -> None:
    plain = connection.engine.dialect
    is_lifted = session.info.get("lifted") or session.info.get("sees_all")
    connection.dialect = plain if is_lifted else _restricting(plain)


def _restricting(plain: Dialect) -> Dialect:
    """Return a copy of the dialect with the restricting compiler.

    SQLAlchemy caches compiled statements by dialect, so the two do not share them.
    """
    copies: dict[Dialect, Dialect] = current_app.extensions.setdefault("restricting dialects", {})
    if plain not in copies:
        made = copy.copy(plain)
        made.statement_compiler = type(
            "RestrictingCompiler", (_RestrictingCompiler, plain.statement_compiler), {}
        )
        copies[plain] = made
    return copies[plain]


def _current_user_id() -> int:
    """Return the id of the restricted user, evaluated at each statement.

    Raises:
        AttributeError: nobody is restricted, so a bug cannot show all rows.
    """
    found: int = g.restricted_user_id
    return found


_ME = bindparam("restricted_user_id", callable_=_current_user_id, type_=BigInteger())


class _RestrictingCompiler:
    """A mixin for a dialect's statement compiler."""

    def visit_table(
        self,
        table: Any,
        asfrom: bool = False,
        iscrud: bool = False,
        enclosing_alias: Any = None,
        **kw: Any,
    ) -> str:
        """Return the table's name; after FROM its visible rows, as a subquery of that name."""
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
