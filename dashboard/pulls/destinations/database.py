"""Copies in SQLite or PostgreSQL: a table each, changed together with its manifest.

``_pull_manifest`` names the table of each copy (``target``) with its customer and, if known, its
connection. It refers to ``_pull_customers`` and ``_pull_connections``. ``_pull_log`` has one row a
pull.
"""

import fcntl
import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import IO, Any, Final

import sqlalchemy as sa
from sqlalchemy.engine import URL, Connection
from sqlalchemy.exc import SQLAlchemyError

from dashboard import peliqan
from dashboard.core.database_urls import Address, FileAddress
from dashboard.core.text import clean, name_for
from dashboard.pulls import refusals
from dashboard.pulls.column_types import (
    BOOLEAN,
    DATE,
    INTEGER,
    LARGEST,
    NUMBER,
    ROW_ID,
    SMALLEST,
    TEXT,
    TIME,
    decimal_places,
)
from dashboard.pulls.destinations.base import Destination, DestinationError
from dashboard.pulls.destinations.database_schema import (
    CONNECTIONS,
    CUSTOMERS,
    LOG,
    MANIFEST,
    META,
    SYSTEM_COLUMNS,
    USED_POSTGRESQL,
    USED_SQLITE,
    SqliteNumber,
    control_transactions,
    execute_ddl,
    limit_lock_waits,
    quoted,
    read_manifest,
    stored_columns,
)
from dashboard.pulls.limits import LOCK_SECONDS
from dashboard.pulls.manifest import Copied, NameRules, PullResult
from dashboard.pulls.spool import Spool

# PostgreSQL stores more digits before and after the point; real numbers are shorter than this.
MOST_DIGITS: Final = 1000
MOST_BYTES: Final = 63
NEW: Final = "_pull_new"
# Ids in one statement.
IDS_AT_ONCE: Final = 500
# An arbitrary number: two pulls into one database take the same lock.
LOCK: Final = 7_206_184_513


class DatabaseDestination(Destination):
    """Database with copies of earlier pulls, or none. Other tables in it are not changed."""

    def __init__(self, address: Address) -> None:
        self._address = address
        self._sqlite = isinstance(address, FileAddress)
        postgresql = NameRules(fold=False, most_bytes=MOST_BYTES, reserved=SYSTEM_COLUMNS)
        self.rules = NameRules(fold=True, most_bytes=None) if self._sqlite else postgresql
        # Connection parameters come only from the checked parts, never from the URL's own query.
        if isinstance(address, FileAddress):
            url = URL.create("sqlite", database=str(address.path))
            options: dict[str, Any] = {"timeout": LOCK_SECONDS}
        else:
            url = URL.create("postgresql+psycopg", database=address.database)
            # A prepared statement belongs to one server connection; a pooler may switch it.
            options = {**address.keywords(), "connect_timeout": 10, "prepare_threshold": None}
        self._engine = sa.create_engine(
            url, connect_args=options, poolclass=sa.NullPool, hide_parameters=True
        )
        self._guard: Connection | None = None
        self._lock: IO[str] | None = None
        if self._sqlite:
            control_transactions(self._engine)
        else:
            limit_lock_waits(self._engine)

    def open(self) -> None:
        """Lock the file or the database, then create the tables of the manifest."""
        with self._ending_pull():
            if isinstance(self._address, FileAddress):
                self._lock_file(self._address.path)
            else:
                self._lock_database()
            with self._engine.begin() as connection:
                META.create_all(connection)

    def _lock_database(self) -> None:
        """Take a lock in a transaction that does nothing else.

        A session's lock would stay on the server connection of a pooler.
        """
        self._guard = self._engine.connect()
        self._guard.exec_driver_sql("SET LOCAL idle_in_transaction_session_timeout = 0")
        if not self._guard.scalar(sa.select(sa.func.pg_try_advisory_xact_lock(LOCK))):
            raise DestinationError(
                "Another pull is writing to this database. Wait until it has ended."
            )

    def _lock_file(self, path: Path) -> None:
        self._lock = path.with_name(f"{path.name}.lock").open("w")
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise DestinationError(
                "Another pull is writing to this file. Wait until it has ended."
            ) from None

    def close(self) -> None:
        """Release the lock; each copy was committed before."""
        if self._guard is not None:
            # The lock ends with the transaction; its connection may be lost already.
            with suppress(SQLAlchemyError):
                self._guard.close()
        if self._lock is not None:
            self._lock.close()
        self._engine.dispose()

    def fits(self, number: Decimal) -> bool:
        """Return whether a number is stored exactly.

        PostgreSQL stores all numbers. SQLite stores 64-bit integers, and other numbers that a
        double represents exactly.
        """
        if number.is_nan():
            return True
        if not self._sqlite:
            return number.adjusted() < MOST_DIGITS and decimal_places(number) < MOST_DIGITS
        if number == number.to_integral_value():
            return SMALLEST <= number <= LARGEST
        return abs(number.adjusted()) < 100 and Decimal(repr(float(number))) == number

    def known(self, account_id: int) -> Mapping[int, Copied]:
        """Return the copies in the manifest; a dropped table or a damaged row counts as none."""
        with self._refusing("what is kept of this customer"), self._engine.connect() as connection:
            query = sa.select(MANIFEST.c.table_id, MANIFEST.c.kept).where(
                MANIFEST.c.account_id == account_id
            )
            tables = set(sa.inspect(connection).get_table_names())
            found = {row.table_id: read_manifest(row.kept) for row in connection.execute(query)}
        return {
            table_id: each
            for table_id, each in found.items()
            if each is not None and each.target in tables
        }

    def target(self, account_id: int, connection_id: int | None, table: peliqan.Table) -> str:
        """Return a table name: the last one, unless it is used otherwise, else a free one."""
        with self._refusing(), self._engine.connect() as connection:
            query = sa.select(MANIFEST.c.target).where(
                MANIFEST.c.account_id == account_id, MANIFEST.c.table_id == table.id
            )
            before = connection.scalar(query)
            tables, used = sa.inspect(connection).get_table_names(), self._used(connection)
        if before is not None and (before in tables or before not in used):
            return str(before)
        return self._free(f"customer_{account_id}_{table.name or table.id}", used)

    def _used(self, connection: Connection) -> set[str]:
        return set(
            connection.exec_driver_sql(USED_SQLITE if self._sqlite else USED_POSTGRESQL).scalars()
        )

    def _free(self, name: str, used: set[str]) -> str:
        return name_for(name, used, fold=self.rules.fold, most_bytes=self.rules.most_bytes)

    def replace(self, copied: Copied, rows: Spool) -> Copied:
        """Replace all rows in one transaction; views, indexes and grants on the table stay.

        Only if a column's type has changed, a new table takes the old one's name.
        """
        done = replace(copied, rows=rows.count)
        with self._refusing(), self._engine.begin() as connection:
            before = self._before(connection, copied)
            if (
                before is not None
                and _same_kinds(before, copied)
                and ROW_ID in stored_columns(connection, copied)
            ):
                self._add_columns(connection, copied)
                table = self._table(copied, copied.target)
                connection.execute(table.delete())
                self._insert(connection, table, rows)
            else:
                self._rebuild(connection, copied, rows)
            self._save_manifest(connection, done)
        return done

    def _before(self, connection: Connection, copied: Copied) -> Copied | None:
        where = (MANIFEST.c.account_id == copied.account_id, MANIFEST.c.table_id == copied.table_id)
        stored = connection.scalar(sa.select(MANIFEST.c.kept).where(*where))
        exists = sa.inspect(connection).has_table(copied.target)
        return read_manifest(stored) if stored is not None and exists else None

    def _rebuild(self, connection: Connection, copied: Copied, rows: Spool) -> None:
        used = self._used(connection)
        name = self._free(NEW, used)
        # The database's default name of the key would collide with that of the next new table.
        key = self._free(f"_pull_{copied.account_id}_{copied.table_id}_pkey", used)
        fresh = self._table(copied, name, key=key)
        fresh.create(connection)
        self._insert(connection, fresh, rows)
        self._table(copied, copied.target).drop(connection, checkfirst=True)
        execute_ddl(connection, f"ALTER TABLE {quoted(name)} RENAME TO {quoted(copied.target)}")

    def _add_columns(self, connection: Connection, copied: Copied) -> None:
        stored = stored_columns(connection, copied)
        for column in copied.columns:
            if column.stored not in stored:
                kind = self._type(column.kind).compile(connection.dialect)
                definition = f"{quoted(column.stored)} {kind}"
                execute_ddl(
                    connection, f"ALTER TABLE {quoted(copied.target)} ADD COLUMN {definition}"
                )

    def merge(self, copied: Copied, rows: Spool, before: Copied) -> Copied | None:
        """Add new columns, replace the rows with these ids, save the watermark: one transaction."""
        with self._refusing(), self._engine.begin() as connection:
            needed = {ROW_ID, *(each.stored for each in before.columns)}
            if not needed <= stored_columns(connection, copied):
                return None
            table = self._table(copied, copied.target)
            self._add_columns(connection, copied)
            ids = sorted(rows.ids())
            for start in range(0, len(ids), IDS_AT_ONCE):
                connection.execute(
                    table.delete().where(table.c["row"].in_(ids[start : start + IDS_AT_ONCE]))
                )
            self._insert(connection, table, rows)
            count = connection.scalar(sa.select(sa.func.count()).select_from(table))
            done = replace(copied, rows=count or 0)
            self._save_manifest(connection, done)
        return done

    def describe(self, account: peliqan.Account, connections: Sequence[peliqan.Connection]) -> None:
        """Replace the customer's rows in ``_pull_customers`` and ``_pull_connections``."""
        with self._refusing("what is kept of this customer"), self._engine.begin() as connection:
            ids = [each.id for each in connections]
            connection.execute(CUSTOMERS.delete().where(CUSTOMERS.c.id == account.id))
            connection.execute(
                CONNECTIONS.delete().where(
                    sa.or_(CONNECTIONS.c.account_id == account.id, CONNECTIONS.c.id.in_(ids))
                )
            )
            external = None if account.external_id is None else clean(account.external_id)
            connection.execute(
                CUSTOMERS.insert(),
                {"id": account.id, "name": clean(account.name), "external_id": external},
            )
            rows = [
                {
                    "id": each.id,
                    "account_id": account.id,
                    "name": clean(each.name),
                    "connector": clean(each.connector),
                    "status": clean(each.status),
                }
                for each in connections
            ]
            if rows:
                connection.execute(CONNECTIONS.insert(), rows)

    def report(self, result: PullResult) -> None:
        """Add a row to ``_pull_log``, and each failure to its table's row in the manifest."""
        fields = result.as_json()
        failures = json.dumps(fields["failures"], ensure_ascii=False)
        line = {
            "began": fields["began"],
            "ended": fields["ended"],
            "tables": len(result.copied),
            "stopped": result.stopped,
        }
        with self._ending_pull(), self._engine.begin() as connection:
            connection.execute(LOG.insert(), {**line, "failures": clean(failures)})
            for each in result.failures:
                where = (
                    MANIFEST.c.account_id == each.account_id,
                    MANIFEST.c.table_id == each.table_id,
                )
                if each.table_id is not None:
                    connection.execute(
                        MANIFEST.update().where(*where).values(failure=clean(each.reason))
                    )

    def _save_manifest(self, connection: Connection, copied: Copied) -> None:
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

    def _table(self, copied: Copied, name: str, key: str | None = None) -> sa.Table:
        # Parameters have keys of our own, since a column's name may contain any characters.
        row: sa.Column[Any] = sa.Column(ROW_ID, sa.BigInteger, key="row", autoincrement=False)
        keys = [sa.PrimaryKeyConstraint(row, name=key)] if copied.keyed else []
        columns: list[sa.Column[Any]] = [
            sa.Column(each.stored, self._type(each.kind), key=f"c{index}", quote=True)
            for index, each in enumerate(copied.columns)
        ]
        return sa.Table(name, sa.MetaData(), row, *columns, *keys, quote=True)

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
        names = ["row", *(f"c{index}" for index in range(len(rows.columns)))]
        for batch in rows.batches():
            connection.execute(
                table.insert(),
                [dict(zip(names, map(self._value, values), strict=True)) for values in batch],
            )

    def _value(self, value: Any) -> Any:
        # SQLite has no time zones: times are stored in UTC.
        return (
            value.astimezone(UTC).replace(tzinfo=None)
            if self._sqlite and isinstance(value, datetime)
            else value
        )

    @contextmanager
    def _refusing(self, what: str = "this table") -> Iterator[None]:
        """Raise the database's errors as refusals of ``what``, or as the end of the pull."""
        try:
            yield
        except SQLAlchemyError as error:
            raise refusals.of_database(error, what) from None

    @contextmanager
    def _ending_pull(self) -> Iterator[None]:
        """Raise all errors as the end of the pull."""
        try:
            yield
        except SQLAlchemyError as error:
            raise refusals.database_unusable(error) from None
        except OSError as error:
            raise DestinationError(
                f"The database's file cannot be written: {error.strerror or type(error).__name__}."
            ) from None


def _same_kinds(before: Copied, now: Copied) -> bool:
    """Return whether the table can stay, apart from added columns."""
    kinds = {each.stored: each.kind for each in now.columns}
    return before.keyed == now.keyed and all(
        kinds.get(each.stored) == each.kind for each in before.columns
    )
