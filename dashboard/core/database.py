"""The database handle, and what SQLite needs so that threads and processes can share it."""

import sqlite3
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, TypeVar, cast

from flask_sqlalchemy import SQLAlchemy
from sqlalchemy import (
    BigInteger,
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
)
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import DeclarativeBase, Session

MOST_AT_ONCE = 5_000


class Base(DeclarativeBase):
    """The base of all models. Constraints have names, so migrations can refer to them."""

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


# SQLite assigns ids automatically only in columns of the type INTEGER.
BigId = BigInteger().with_variant(Integer, "sqlite")


class UtcTime(TypeDecorator[datetime]):
    """An aware time in UTC on both databases (SQLite stores no zone)."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """Convert to UTC. Raises ValueError for a naive time, whose zone would be a guess."""
        if value is not None and value.tzinfo is None:
            raise ValueError("times are stored with their zone")
        return value.astimezone(UTC) if value is not None else None

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """Return the time as aware, in UTC."""
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
    """Return SQLAlchemy's engine options for a database URL.

    Prepared statements are off: each belongs to one server connection, and a pooler such as
    PgBouncer may give every transaction another one.
    """
    return {
        # The default number of threads of a process: overflow connections close after each use.
        "pool_size": 16,
        "pool_pre_ping": True,
        "pool_use_lifo": True,
        # Parameters do not belong into logs: password hashes, people's texts, customers' names.
        "hide_parameters": True,
        **({"connect_args": {"prepare_threshold": None}} if url.startswith("postgresql") else {}),
    }


def prefer_indexes(engine: Engine) -> None:
    """Set PostgreSQL's ``random_page_cost`` to that of memory or an SSD.

    With the default, which assumes a disk that seeks, a search by a word scans all connections
    and takes five times as long. It is set in each transaction: a setting of the session would
    stay on a pooler's server connection, for other clients.
    """
    if engine.dialect.name != "postgresql":
        return

    @event.listens_for(engine, "begin")
    def begin(connection: Connection) -> None:
        # Uses the driver, so that events which count a page's statements do not see it.
        cast("psycopg.Connection[Any]", connection.connection.dbapi_connection).execute(
            "SET LOCAL random_page_cost = 1.1"
        )


def gather_statistics() -> None:
    """Update the statistics by which SQLite chooses indexes. Commits.

    PostgreSQL does this automatically. SQLite samples few rows of each index, so it takes
    milliseconds.
    """
    if db.engine.dialect.name == "sqlite":
        connection = db.session.connection()
        connection.exec_driver_sql("PRAGMA analysis_limit = 400")
        connection.exec_driver_sql("ANALYZE")
        db.session.commit()


def leave_transaction() -> None:
    """Roll the session back; discard its connection if that fails because it is broken."""
    _or_invalidate(db.session.rollback)


def end_session() -> None:
    """Close the session, also if its connection is broken.

    Loaded objects keep their values, unlike after a rollback.
    """
    _or_invalidate(db.session.close)


def _or_invalidate(end: Callable[[], None]) -> None:
    try:
        end()
    except DBAPIError:
        db.session().invalidate()


def takes_no_rows(error: BaseException | None) -> bool:
    """Return whether the database answers but cannot write: disk full, or read-only replica."""
    found = error.orig if isinstance(error, DBAPIError) else None
    if isinstance(found, sqlite3.Error):
        # The first byte of an extended code is the code itself: https://www.sqlite.org/rescode.html
        return getattr(found, "sqlite_errorcode", 0) & 0xFF in _NOT_WRITABLE
    # disk_full, read_only_sql_transaction: https://www.postgresql.org/docs/current/errcodes-appendix.html
    return getattr(found, "sqlstate", None) in {"53100", "25006"}


def change(statement: UpdateBase, session: Session | None = None) -> int:
    """Run an UPDATE, INSERT or DELETE and return the number of changed rows. Does not commit.

    Loaded objects keep their values.
    """
    found = (session or db.session()).execute(
        statement.execution_options(synchronize_session=False)
    )
    return int(cast(CursorResult[Any], found).rowcount)


def change_many(
    statement: UpdateBase, rows: Sequence[Mapping[str, Any]], session: Session | None = None
) -> None:
    """Run a statement once for each set of parameters. Does not commit."""
    if rows:
        (session or db.session()).connection().execute(statement, rows)


def insert_for(dialect: str) -> Any:
    """Return the ``insert`` of ``postgresql`` or ``sqlite``, which supports ON CONFLICT."""
    return postgresql.insert if dialect == "postgresql" else sqlite.insert


def add_if_new(row: Row) -> Row | None:
    """Insert a row and return it as stored; None if a unique value exists already.

    Does not commit. Uses ON CONFLICT instead of catching the error: PostgreSQL logs every
    violation of a constraint and aborts the transaction.
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
    keep_existing: bool = False,
    session: Session | None = None,
) -> None:
    """Insert rows; if a primary key exists, update its row, or ``keep_existing``.

    Does not commit.
    """
    table = cast(Table, model.__table__)
    engine = db.engine if session is None else session.get_bind()
    statement = insert_for(engine.dialect.name)(table)
    if keep_existing:
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
