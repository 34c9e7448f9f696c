"""What a database destination has beside the copies, how SQLite keeps a number, and what SQLAlchemy has no words for."""

import json
from decimal import Decimal
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection, Dialect
from sqlalchemy.types import UserDefinedType

from dashboard.pulls.column_types import NOT_A_NUMBER
from dashboard.pulls.manifest import Copied

# As long as SQLite waits for its file.
LOCK_SECONDS = 30
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


# Names that PostgreSQL keeps for columns of its own, which every table has; SQLite's rowid gives way to a column of that name.
SYSTEM_COLUMNS = frozenset({"tableoid", "xmin", "cmin", "xmax", "cmax", "ctid"})
# Names that no new table, view, index, sequence or type of the schema can have.
TAKEN_SQLITE = "SELECT name FROM sqlite_master"
TAKEN_POSTGRESQL = """
    SELECT relname FROM pg_class JOIN pg_namespace n ON n.oid = relnamespace AND n.nspname = current_schema()
    UNION SELECT typname FROM pg_type JOIN pg_namespace n ON n.oid = typnamespace AND n.nspname = current_schema()
"""


class SqliteNumber(UserDefinedType[Any]):
    """A number in SQLite: whole ones as such, others with the digits that it keeps. "NaN", which it has not, is that text."""

    cache_ok = True

    def get_col_spec(self, **_: Any) -> str:
        """NUMERIC."""
        return "NUMERIC"

    def bind_processor(self, dialect: Dialect) -> Any:
        """Decimal as what SQLite has."""
        return _bound


def _bound(value: Decimal | None) -> int | float | str | None:
    if value is None:
        return None
    if value.is_nan():
        return NOT_A_NUMBER
    return int(value) if value == value.to_integral_value() else float(value)


def read_kept(kept: str) -> Copied | None:
    """A line of the manifest; None where somebody changed it so that it cannot be read."""
    try:
        return Copied.from_json(json.loads(kept))
    except (ValueError, KeyError, TypeError):
        return None


def columns_there(connection: Connection, copied: Copied) -> set[str]:
    """The columns that the copy's table has, whatever was kept of it."""
    return {each["name"] for each in sa.inspect(connection).get_columns(copied.target)}


def quoted(name: str) -> str:
    """A name as SQL has it."""
    # The dialect's own doubles percent signs, for a place where they are doubled once more.
    return '"' + name.replace('"', '""') + '"'


def change(connection: Connection, statement: str) -> None:
    """A statement about a table; a percent sign in a name is one."""
    made = sa.DDL(statement.replace("%", "%%"))  # type: ignore[no-untyped-call]
    connection.execute(made)


def begin_for_real(engine: sa.Engine) -> None:
    """Python's driver begins no transaction for CREATE and DROP, so it is told not to begin any, and we do."""

    @sa.event.listens_for(engine, "connect")
    def connect(connection: Any, _: object) -> None:
        connection.isolation_level = None
        # Readers go on while a copy is written, and see the old one.
        connection.execute("PRAGMA journal_mode=WAL")
        # A table's new name is no matter of views: SQLite would look at all of them, and refuse it where any one is broken.
        connection.execute("PRAGMA legacy_alter_table=ON")

    @sa.event.listens_for(engine, "begin")
    def begin(connection: Connection) -> None:
        connection.exec_driver_sql("BEGIN IMMEDIATE")


def wait_briefly_for_locks(engine: sa.Engine) -> None:
    """Have PostgreSQL refuse a table that somebody else has locked for ``LOCK_SECONDS``: it would hold up all others."""

    @sa.event.listens_for(engine, "begin")
    def begin(connection: Connection) -> None:
        connection.exec_driver_sql(f"SET LOCAL lock_timeout = '{LOCK_SECONDS}s'")
