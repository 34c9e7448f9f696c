"""Manifest tables of a database destination, SQLite's number type, and helpers for DDL."""

import json
from decimal import Decimal
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection, Dialect
from sqlalchemy.types import UserDefinedType

from dashboard.pulls.column_types import NOT_A_NUMBER
from dashboard.pulls.limits import LOCK_SECONDS
from dashboard.pulls.manifest import Copied

META = sa.MetaData()
MANIFEST = sa.Table(
    "_pull_manifest",
    META,
    sa.Column("account_id", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("table_id", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("connection_id", sa.BigInteger),
    sa.Column("name", sa.Text, nullable=False),
    sa.Column("target", sa.Text, nullable=False, unique=True),
    sa.Column("rows", sa.BigInteger, nullable=False),
    sa.Column("mode", sa.Text, nullable=False),
    sa.Column("read_at", sa.Text, nullable=False),
    sa.Column("watermark", sa.Text),
    sa.Column("remarks", sa.Text, nullable=False),
    sa.Column("failure", sa.Text),
    sa.Column("kept", sa.Text, nullable=False),
)
CUSTOMERS = sa.Table(
    "_pull_customers",
    META,
    sa.Column("id", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("name", sa.Text, nullable=False),
    sa.Column("external_id", sa.Text),
)
CONNECTIONS = sa.Table(
    "_pull_connections",
    META,
    sa.Column("id", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("account_id", sa.BigInteger, nullable=False),
    sa.Column("name", sa.Text, nullable=False),
    sa.Column("connector", sa.Text, nullable=False),
    sa.Column("status", sa.Text, nullable=False),
)
LOG = sa.Table(
    "_pull_log",
    META,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("began", sa.Text, nullable=False),
    sa.Column("ended", sa.Text),
    sa.Column("tables", sa.Integer, nullable=False),
    sa.Column("failures", sa.Text, nullable=False),
    sa.Column("stopped", sa.Text),
)


# PostgreSQL's system columns, which every table has; SQLite's rowid yields to a column's name.
SYSTEM_COLUMNS = frozenset({"tableoid", "xmin", "cmin", "xmax", "cmax", "ctid"})
# Names that no new table, view, index, sequence or type of the schema can have.
USED_SQLITE = "SELECT name FROM sqlite_master"
USED_POSTGRESQL = """
    SELECT relname FROM pg_class
    JOIN pg_namespace n ON n.oid = relnamespace AND n.nspname = current_schema()
    UNION SELECT typname FROM pg_type
    JOIN pg_namespace n ON n.oid = typnamespace AND n.nspname = current_schema()
"""


class SqliteNumber(UserDefinedType[Any]):
    """Number in SQLite: an integer or a double. "NaN", which SQLite lacks, is stored as text."""

    cache_ok = True

    def get_col_spec(self, **_: Any) -> str:
        """Return the column type NUMERIC."""
        return "NUMERIC"

    def bind_processor(self, dialect: Dialect) -> Any:
        """Return the converter from Decimal to SQLite's types."""
        return _bound


def _bound(value: Decimal | None) -> int | float | str | None:
    if value is None:
        return None
    if value.is_nan():
        return NOT_A_NUMBER
    return int(value) if value == value.to_integral_value() else float(value)


def read_manifest(text: str) -> Copied | None:
    """Return a copy from its row in the manifest; None if the row was damaged."""
    try:
        return Copied.from_json(json.loads(text))
    except (ValueError, KeyError, TypeError):
        return None


def stored_columns(connection: Connection, copied: Copied) -> set[str]:
    """Return the columns of the copy's table in the database."""
    return {each["name"] for each in sa.inspect(connection).get_columns(copied.target)}


def quoted(name: str) -> str:
    """Return a quoted SQL identifier."""
    # The dialect's quoting would double percent signs, which ``execute_ddl`` does too.
    return '"' + name.replace('"', '""') + '"'


def execute_ddl(connection: Connection, statement: str) -> None:
    """Execute a DDL statement; percent signs in names are kept."""
    ddl = sa.DDL(statement.replace("%", "%%"))  # type: ignore[no-untyped-call]
    connection.execute(ddl)


def control_transactions(engine: sa.Engine) -> None:
    """Start transactions explicitly: Python's SQLite driver starts none for CREATE and DROP."""

    @sa.event.listens_for(engine, "connect")
    def connect(connection: Any, _: object) -> None:
        connection.isolation_level = None
        # With WAL, readers are not blocked while a copy is written; they see the old one.
        connection.execute("PRAGMA journal_mode=WAL")
        # Otherwise, a rename checks all views and fails if any one is broken.
        connection.execute("PRAGMA legacy_alter_table=ON")

    @sa.event.listens_for(engine, "begin")
    def begin(connection: Connection) -> None:
        connection.exec_driver_sql("BEGIN IMMEDIATE")


def limit_lock_waits(engine: sa.Engine) -> None:
    """Limit PostgreSQL's lock waits, since a locked table must not block the others."""

    @sa.event.listens_for(engine, "begin")
    def begin(connection: Connection) -> None:
        connection.exec_driver_sql(f"SET LOCAL lock_timeout = '{LOCK_SECONDS}s'")
