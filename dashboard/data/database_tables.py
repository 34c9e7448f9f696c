"""What a database destination has beside the copies, and how SQLite keeps a number."""

from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Dialect
from sqlalchemy.types import UserDefinedType

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


class SqliteNumber(UserDefinedType[Any]):
    """A number in SQLite: whole ones as such, others with the digits that it keeps."""

    cache_ok = True

    def get_col_spec(self, **_: Any) -> str:
        """NUMERIC."""
        return "NUMERIC"

    def bind_processor(self, dialect: Dialect) -> Any:
        """Decimal as what SQLite has."""
        return lambda value: value if value is None else int(value) if value == value.to_integral_value() else float(value)
