"""Copies in SQLite or PostgreSQL: a table each, its rows and what is known of it changed in one transaction.

``_pull_customers`` -> ``_pull_connections`` -> ``_pull_manifest``, which names the table of each copy (``target``) with its
customer and, where that is known, its connection. ``_pull_log`` has a line a pull.
"""

import fcntl
import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import IO, Any, Final, Self

import sqlalchemy as sa
from sqlalchemy.engine import URL, Connection, Dialect
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.types import UserDefinedType

from dashboard import peliqan
from dashboard.data.destinations import Destination, DestinationError
from dashboard.data.kinds import BOOLEAN, DATE, INTEGER, LARGEST, NUMBER, ROW_ID, SMALLEST, TEXT, TIME, clean, name_for
from dashboard.data.manifest import Copied, NameRules, PullResult
from dashboard.data.spool import Spool

# Digits that SQLite keeps of a number with a fraction.
EXACT_DIGITS: Final = 15
MOST_BYTES: Final = 63
NEW: Final = "_pull_new"
OWN = "_pull_"
# So many ids are named in one statement.
IDS_AT_ONCE: Final = 500
# Of a number that says nothing elsewhere: two pulls into one database take the same lock.
LOCK: Final = 7_206_184_513

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


class DatabaseDestination(Destination):
    """A database, empty or with what earlier pulls brought. Other tables in it are left alone."""

    def __init__(self, url: URL) -> None:
        self._url = url
        self._sqlite = url.get_backend_name() == "sqlite"
        self.rules = NameRules(fold=True, most_bytes=None) if self._sqlite else NameRules(fold=False, most_bytes=MOST_BYTES)
        options: dict[str, Any] = {"connect_args": {"timeout": 30} if self._sqlite else {"connect_timeout": 10}}
        self._engine = sa.create_engine(url, poolclass=sa.NullPool, **options)
        self._guard: Connection | None = None
        self._lock: IO[str] | None = None
        if self._sqlite:
            _begin_for_real(self._engine)

    def __enter__(self) -> Self:
        with self._told():
            if self._sqlite:
                self._lock_file()
            else:
                self._guard = self._engine.connect().execution_options(isolation_level="AUTOCOMMIT")
                if not self._guard.scalar(sa.select(sa.func.pg_try_advisory_lock(LOCK))):
                    self.__exit__()
                    raise DestinationError("Another pull is writing to this database. Wait until it has ended.")
            with self._engine.begin() as connection:
                META.create_all(connection)
        return self

    def _lock_file(self) -> None:
        self._lock = Path(f"{self._url.database}.lock").open("w")  # noqa: SIM115 (open as long as the lock is held)
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise DestinationError("Another pull is writing to this file. Wait until it has ended.") from None

    def __exit__(self, *_: object) -> None:
        if self._guard is not None:
            # The lock goes with the connection, which may be gone already.
            with suppress(SQLAlchemyError):
                self._guard.close()
        if self._lock is not None:
            self._lock.close()
        self._engine.dispose()

    def fits(self, number: Decimal) -> bool:
        """PostgreSQL keeps every number; SQLite whole ones of 64 bits, and fifteen digits of others."""
        if not self._sqlite:
            return number.adjusted() < 1000
        if number == number.to_integral_value():
            return SMALLEST <= number <= LARGEST
        return len(number.normalize().as_tuple().digits) <= EXACT_DIGITS and abs(number.adjusted()) < 100

    def known(self, account_id: int) -> Mapping[int, Copied]:
        """From the manifest; a copy whose table somebody dropped counts as not there."""
        with self._told(), self._engine.connect() as connection:
            asked = sa.select(MANIFEST.c.table_id, MANIFEST.c.kept).where(MANIFEST.c.account_id == account_id)
            there = set(sa.inspect(connection).get_table_names())
            kept = {row.table_id: Copied.from_json(json.loads(row.kept)) for row in connection.execute(asked)}
        return {table_id: each for table_id, each in kept.items() if each.target in there}

    def target(self, account_id: int, connection_id: int | None, table: peliqan.Table) -> str:
        """A name that no table has: the account's id and the table's name."""
        with self._told(), self._engine.connect() as connection:
            inspector = sa.inspect(connection)
            taken = {*inspector.get_table_names(), *inspector.get_view_names()}
            own = sa.select(MANIFEST.c.target).where(MANIFEST.c.account_id == account_id, MANIFEST.c.table_id == table.id)
            before = connection.scalar(own)
        if before is not None:
            return str(before)
        name = f"customer_{account_id}_{table.name or table.id}"
        return name_for(name, taken, fold=self.rules.fold, most_bytes=self.rules.most_bytes)

    def replace(self, copied: Copied, rows: Spool) -> Copied:
        """Into a new table, which takes the old one's name: one transaction."""
        done = replace(copied, rows=rows.count)
        with self._told(), self._engine.begin() as connection:
            fresh = self._table(copied, NEW)
            fresh.drop(connection, checkfirst=True)
            fresh.create(connection)
            self._insert(connection, fresh, rows)
            quoted = connection.dialect.identifier_preparer.quote_identifier
            old = self._table(copied, copied.target)
            old.drop(connection, checkfirst=True)
            _change(connection, f"ALTER TABLE {quoted(NEW)} RENAME TO {quoted(copied.target)}")
            if copied.keyed and not self._sqlite:
                # The key keeps its name of the moment otherwise, and the next copy could not make its own.
                key = quoted(f"{NEW}_pkey")
                free = quoted(f"_pull_{copied.account_id}_{copied.table_id}_pkey")
                _change(connection, f"ALTER INDEX {key} RENAME TO {free}")
            self._keep(connection, done)
        return done

    def merge(self, copied: Copied, rows: Spool, before: Copied) -> Copied:
        """New columns, the old rows of these ids out, these in, and the watermark: one transaction."""
        with self._told(), self._engine.begin() as connection:
            table = self._table(copied, copied.target)
            had = {each.stored for each in before.columns}
            preparer = connection.dialect.identifier_preparer
            for column in copied.columns:
                if column.stored not in had:
                    kind = self._type(column.kind).compile(connection.dialect)
                    names = (preparer.quote_identifier(copied.target), preparer.quote_identifier(column.stored))
                    _change(connection, f"ALTER TABLE {names[0]} ADD COLUMN {names[1]} {kind}")
            ids = sorted(rows.ids())
            for start in range(0, len(ids), IDS_AT_ONCE):
                connection.execute(table.delete().where(table.c["row"].in_(ids[start : start + IDS_AT_ONCE])))
            self._insert(connection, table, rows)
            count = connection.scalar(sa.select(sa.func.count()).select_from(table))
            done = replace(copied, rows=count or 0)
            self._keep(connection, done)
        return done

    def describe(self, account: peliqan.Account, connections: Sequence[peliqan.Connection]) -> None:
        """Rows of ``_pull_customers`` and ``_pull_connections``."""
        with self._told(), self._engine.begin() as connection:
            ids = [each.id for each in connections]
            connection.execute(CUSTOMERS.delete().where(CUSTOMERS.c.id == account.id))
            connection.execute(
                CONNECTIONS.delete().where(sa.or_(CONNECTIONS.c.account_id == account.id, CONNECTIONS.c.id.in_(ids)))
            )
            external = None if account.external_id is None else clean(account.external_id)
            connection.execute(CUSTOMERS.insert(), {"id": account.id, "name": clean(account.name), "external_id": external})
            shown = [
                {
                    "id": each.id,
                    "account_id": account.id,
                    "name": clean(each.name),
                    "connector": clean(each.connector),
                    "status": clean(each.status),
                }
                for each in connections
            ]
            if shown:
                connection.execute(CONNECTIONS.insert(), shown)

    def report(self, result: PullResult) -> None:
        """A line of ``_pull_log``, and the failure beside the copy that it left as it was."""
        told = result.as_json()
        failures = json.dumps(told["failures"], ensure_ascii=False)
        line = {"began": told["began"], "ended": told["ended"], "tables": len(result.copied), "stopped": result.stopped}
        with self._told(), self._engine.begin() as connection:
            connection.execute(LOG.insert(), {**line, "failures": clean(failures)})
            for each in result.failures:
                where = (MANIFEST.c.account_id == each.account_id, MANIFEST.c.table_id == each.table_id)
                if each.table_id is not None:
                    connection.execute(MANIFEST.update().where(*where).values(failure=clean(each.reason)))

    def _keep(self, connection: Connection, copied: Copied) -> None:
        where = (MANIFEST.c.account_id == copied.account_id, MANIFEST.c.table_id == copied.table_id)
        connection.execute(MANIFEST.delete().where(*where))
        line = {
            "account_id": copied.account_id,
            "table_id": copied.table_id,
            "connection_id": copied.connection_id,
            "name": clean(copied.name),
            "target": copied.target,
            "rows": copied.rows,
            "mode": copied.mode,
            "read_at": copied.at,
            "watermark": copied.watermark,
            "remarks": clean("\n".join((*copied.remarks, *copied.schema_changes))),
            "failure": None,
            "kept": json.dumps(copied.as_json()),
        }
        connection.execute(MANIFEST.insert(), line)

    def _table(self, copied: Copied, name: str) -> sa.Table:
        # Keys of our own name the parameters: a column's name may hold anything.
        key: sa.Column[Any] = sa.Column(ROW_ID, sa.BigInteger, key="row", primary_key=copied.keyed, autoincrement=False)
        columns: list[sa.Column[Any]] = [
            sa.Column(each.stored, self._type(each.kind), key=f"c{place}", quote=True)
            for place, each in enumerate(copied.columns)
        ]
        return sa.Table(name, sa.MetaData(), key, *columns, quote=True)

    def _type(self, kind: str) -> sa.types.TypeEngine[Any]:
        number: sa.types.TypeEngine[Any] = SqliteNumber() if self._sqlite else sa.Numeric()
        return {
            INTEGER: sa.BigInteger(),
            NUMBER: number,
            BOOLEAN: sa.Boolean(),
            DATE: sa.Date(),
            TIME: sa.DateTime(timezone=True),
            TEXT: sa.Text(),
        }[kind]

    def _insert(self, connection: Connection, table: sa.Table, rows: Spool) -> None:
        names = ["row", *(f"c{place}" for place in range(len(rows.columns)))]
        for part in rows.batches():
            connection.execute(table.insert(), [dict(zip(names, map(self._value, values), strict=True)) for values in part])

    def _value(self, value: Any) -> Any:
        # SQLite has no zones: what is written there is UTC.
        return value.astimezone(UTC).replace(tzinfo=None) if self._sqlite and isinstance(value, datetime) else value

    @contextmanager
    def _told(self) -> Iterator[None]:
        """What the database refuses, as a sentence: its own text may quote rows and is left out."""
        try:
            yield
        except SQLAlchemyError as error:
            cause = getattr(error, "orig", None) or error
            raise DestinationError(
                f"The database does not take the copy ({_reason(cause)}). What was copied before is whole; see that it answers,"
                " has room and allows writing, and run the pull again."
            ) from None
        except OSError as error:
            raise DestinationError(f"The database's file cannot be written: {error.strerror or type(error).__name__}.") from None


def _reason(cause: BaseException) -> str:
    code = getattr(cause, "sqlite_errorname", None) or getattr(cause, "sqlstate", None)
    return f"{type(cause).__name__}, {code}" if code else type(cause).__name__


def _change(connection: Connection, statement: str) -> None:
    """A statement about a table; a percent sign in a name is one."""
    made = sa.DDL(statement.replace("%", "%%"))  # type: ignore[no-untyped-call]
    connection.execute(made)


def _begin_for_real(engine: sa.Engine) -> None:
    """Python's driver begins no transaction for CREATE and DROP, so it is told not to begin any, and we do."""

    @sa.event.listens_for(engine, "connect")
    def connect(connection: Any, _: object) -> None:
        connection.isolation_level = None
        # Readers go on while a copy is written, and see the old one.
        connection.execute("PRAGMA journal_mode=WAL")

    @sa.event.listens_for(engine, "begin")
    def begin(connection: Connection) -> None:
        connection.exec_driver_sql("BEGIN IMMEDIATE")
