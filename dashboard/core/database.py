"""The database handle and what SQLite needs to be shared by threads and processes."""

import sqlite3
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, TypeVar, cast

from flask_sqlalchemy import SQLAlchemy
from sqlalchemy import (
    BigInteger,
    ColumnElement,
    Connection,
    CursorResult,
    DateTime,
    Dialect,
    Engine,
    Integer,
    MetaData,
    Table,
    TypeDecorator,
    UpdateBase,
    event,
    or_,
)
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import DeclarativeBase, Session

MOST_AT_ONCE = 5_000


class Base(DeclarativeBase):
    """Names for constraints, so that migrations can name them on both databases."""

    metadata = MetaData(
        naming_convention={
            "ix": "ix_%(table_name)s_%(column_0_N_name)s",
            "uq": "uq_%(table_name)s_%(column_0_N_name)s",
            "ck": "ck_%(table_name)s_%(constraint_name)s",
            "fk": "fk_%(table_name)s_%(column_0_N_name)s_%(referred_table_name)s",
            "pk": "pk_%(table_name)s",
        }
    )


db = SQLAlchemy(model_class=Base)
_NOT_WRITABLE = {sqlite3.SQLITE_FULL, sqlite3.SQLITE_READONLY, sqlite3.SQLITE_IOERR}
Row = TypeVar("Row", bound=Base)

if TYPE_CHECKING:
    import psycopg

    Model = Base
else:
    Model = db.Model


# SQLite counts up whole numbers by itself only where they are called INTEGER.
BigId = BigInteger().with_variant(Integer, "sqlite")


class UtcTime(TypeDecorator[datetime]):
    """An aware time in UTC on both databases (SQLite keeps no zone)."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """Refuse naive times: a guess about the zone here would be wrong twice a year."""
        if value is not None and value.tzinfo is None:
            raise ValueError("times are stored with their zone")
        return value.astimezone(UTC) if value is not None else None

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """Times come back aware, in UTC."""
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


@event.listens_for(Engine, "connect")
def _prepare_sqlite(connection: Any, _record: object) -> None:
    if not isinstance(connection, sqlite3.Connection):
        return
    cursor = connection.cursor()
    cursor.execute("PRAGMA journal_mode=WAL")
    cursor.execute("PRAGMA synchronous=NORMAL")
    cursor.execute("PRAGMA busy_timeout=10000")
    cursor.execute("PRAGMA foreign_keys=ON")
    cursor.close()


def engine_options(url: str) -> dict[str, Any]:
    """Return the options of the store's engine for an address.

    A pooler such as PgBouncer may give each transaction another server connection. A prepared statement belongs to one of them,
    so the driver makes none.
    """
    return {
        # As many connections as a process has threads by default: what is more would be closed after each request.
        "pool_size": 16,
        "pool_pre_ping": True,
        "pool_use_lifo": True,
        # What a statement was about is nothing for a log: hashes of passwords, people's words, customers' names.
        "hide_parameters": True,
        **({"connect_args": {"prepare_threshold": None}} if url.startswith("postgresql") else {}),
    }


def prefer_indexes(engine: Engine) -> None:
    """Tell PostgreSQL that its tables lie in memory or on a disk that does not seek; its own guess is the other kind.

    Without it a search by a word reads all connections from the first to the last: five times as long. It is set for each
    transaction: a setting of the session would stay on a pooler's server connection, for whoever gets that next.
    """
    if engine.dialect.name != "postgresql":
        return

    @event.listens_for(engine, "begin")
    def begin(connection: Connection) -> None:
        # Below SQLAlchemy's events: it is no statement of a page's.
        cast("psycopg.Connection[Any]", connection.connection.dbapi_connection).execute(
            "SET LOCAL random_page_cost = 1.1"
        )


def gather_statistics() -> None:
    """Have SQLite look how large its tables have become, as PostgreSQL does by itself: which index serves best hangs on it.

    It looks at few rows of each index, so this takes milliseconds. Commits.
    """
    if db.engine.dialect.name == "sqlite":
        connection = db.session.connection()
        connection.exec_driver_sql("PRAGMA analysis_limit = 400")
        connection.exec_driver_sql("ANALYZE")
        db.session.commit()


def leave_transaction() -> None:
    """Roll the session back, also where that fails since its connection is broken: the next statement has another one."""
    _or_invalidate(db.session.rollback)


def end_session() -> None:
    """Close the session, also where its connection is broken. What was read keeps its values, unlike after a rollback."""
    _or_invalidate(db.session.close)


def _or_invalidate(end: Callable[[], None]) -> None:
    try:
        end()
    except DBAPIError:
        db.session().invalidate()


def takes_no_rows(error: BaseException | None) -> bool:
    """Tell whether the database answers, but cannot write: its disk is full, or it is read-only, as a replica is."""
    found = error.orig if isinstance(error, DBAPIError) else None
    if isinstance(found, sqlite3.Error):
        # The first byte of an extended code is the code itself: https://www.sqlite.org/rescode.html
        return getattr(found, "sqlite_errorcode", 0) & 0xFF in _NOT_WRITABLE
    # disk_full, read_only_sql_transaction: https://www.postgresql.org/docs/current/errcodes-appendix.html
    return getattr(found, "sqlstate", None) in {"53100", "25006"}


def change(statement: UpdateBase, session: Session | None = None) -> int:
    """Run an UPDATE, INSERT or DELETE that leaves loaded objects as they are; how many rows it changed."""
    found = (session or db.session()).execute(
        statement.execution_options(synchronize_session=False)
    )
    return int(cast(CursorResult[Any], found).rowcount)


def is_free(model: Any, at: datetime) -> ColumnElement[bool]:
    """That nobody has a row in hand: it has no lease, or that of somebody who was killed, which is over."""
    free: ColumnElement[bool] = or_(model.leased_until.is_(None), model.leased_until < at)
    return free


def change_many(
    statement: UpdateBase, rows: Sequence[Mapping[str, Any]], session: Session | None = None
) -> None:
    """The same with one set of parameters a row."""
    if rows:
        (session or db.session()).connection().execute(statement, rows)


def insert_for(dialect: str) -> Any:
    """The ``insert`` of ``postgresql`` or ``sqlite``, which knows what to do where a row is there already."""
    return postgresql.insert if dialect == "postgresql" else sqlite.insert


def add_if_new(row: Row) -> Row | None:
    """Insert a row and return it as it is stored, or None where a unique column has its value already. Does not commit.

    PostgreSQL logs each violation of a constraint as an error and ends the transaction with it, so none is provoked.
    """
    kind = type(row)
    values = {name: value for name, value in vars(row).items() if not name.startswith("_sa_")}
    statement = (
        insert_for(db.engine.dialect.name)(kind)
        .values(**values)
        .on_conflict_do_nothing()
        .returning(kind)
    )
    return cast("Row | None", db.session.scalar(statement))


def upsert(
    model: type[Base],
    rows: Sequence[Mapping[str, Any]],
    *,
    keep: bool = False,
    session: Session | None = None,
) -> None:
    """Insert rows; where the primary key is there already, put the new values in place, or ``keep`` what is there."""
    table = cast(Table, model.__table__)
    engine = db.engine if session is None else session.get_bind()
    statement = insert_for(engine.dialect.name)(table)
    if keep:
        statement = statement.on_conflict_do_nothing()
    else:
        key = [column.name for column in table.primary_key]
        fresh = {
            column.name: statement.excluded[column.name]
            for column in table.columns
            if column.name not in key
        }
        statement = statement.on_conflict_do_update(index_elements=key, set_=fresh)
    change_many(statement, rows, session)
