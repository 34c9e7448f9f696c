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
from typing import IO, Any, Final

import sqlalchemy as sa
from sqlalchemy.engine import URL, Connection
from sqlalchemy.exc import SQLAlchemyError

from dashboard import peliqan
from dashboard.core.addresses import Address, FileAddress
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
    LOCK_SECONDS,
    LOG,
    MANIFEST,
    META,
    SYSTEM_COLUMNS,
    TAKEN_POSTGRESQL,
    TAKEN_SQLITE,
    SqliteNumber,
    begin_for_real,
    change,
    columns_there,
    quoted,
    read_kept,
    wait_briefly_for_locks,
)
from dashboard.pulls.manifest import Copied, NameRules, PullResult
from dashboard.pulls.spool import Spool

# Digits before and after the point that PostgreSQL keeps are more; nobody means numbers that are longer than so.
MOST_DIGITS: Final = 1000
MOST_BYTES: Final = 63
NEW: Final = "_pull_new"
# So many ids are named in one statement.
IDS_AT_ONCE: Final = 500
# Of a number that says nothing elsewhere: two pulls into one database take the same lock.
LOCK: Final = 7_206_184_513


class DatabaseDestination(Destination):
    """A database, empty or with what earlier pulls brought. Other tables in it are left alone."""

    def __init__(self, address: Address) -> None:
        self._address = address
        self._sqlite = isinstance(address, FileAddress)
        postgresql = NameRules(fold=False, most_bytes=MOST_BYTES, reserved=SYSTEM_COLUMNS)
        self.rules = NameRules(fold=True, most_bytes=None) if self._sqlite else postgresql
        # Only the parts that were read (and checked) say where to connect: the URL names the database alone, and reads nothing.
        if isinstance(address, FileAddress):
            url = URL.create("sqlite", database=str(address.path))
            options: dict[str, Any] = {"timeout": LOCK_SECONDS}
        else:
            url = URL.create("postgresql+psycopg", database=address.database)
            # A prepared statement belongs to one server connection, and a pooler may give each transaction another.
            options = {**address.keywords(), "connect_timeout": 10, "prepare_threshold": None}
        self._engine = sa.create_engine(
            url, connect_args=options, poolclass=sa.NullPool, hide_parameters=True
        )
        self._guard: Connection | None = None
        self._lock: IO[str] | None = None
        if self._sqlite:
            begin_for_real(self._engine)
        else:
            wait_briefly_for_locks(self._engine)

    def open(self) -> None:
        """The file's lock or the server's, then the tables that say what is there."""
        with self._told():
            if isinstance(self._address, FileAddress):
                self._lock_file(self._address.path)
            else:
                self._lock_database()
            with self._engine.begin() as connection:
                META.create_all(connection)

    def _lock_database(self) -> None:
        """Take the lock for as long as a transaction that nothing else is done in: a session's would stay with a pooler."""
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
        """Nothing is left to be written here: each copy was whole by itself."""
        if self._guard is not None:
            # The lock goes with the transaction, whose connection may be gone already.
            with suppress(SQLAlchemyError):
                self._guard.close()
        if self._lock is not None:
            self._lock.close()
        self._engine.dispose()

    def fits(self, number: Decimal) -> bool:
        """PostgreSQL keeps every number; SQLite whole ones of 64 bits, and others that a double gives back digit by digit."""
        if number.is_nan():
            return True
        if not self._sqlite:
            return number.adjusted() < MOST_DIGITS and decimal_places(number) < MOST_DIGITS
        if number == number.to_integral_value():
            return SMALLEST <= number <= LARGEST
        return abs(number.adjusted()) < 100 and Decimal(repr(float(number))) == number

    def known(self, account_id: int) -> Mapping[int, Copied]:
        """From the manifest; a copy whose table was dropped, or whose line cannot be read, counts as not there."""
        with self._refusing("what is kept of this customer"), self._engine.connect() as connection:
            asked = sa.select(MANIFEST.c.table_id, MANIFEST.c.kept).where(
                MANIFEST.c.account_id == account_id
            )
            there = set(sa.inspect(connection).get_table_names())
            kept = {row.table_id: read_kept(row.kept) for row in connection.execute(asked)}
        return {
            table_id: each
            for table_id, each in kept.items()
            if each is not None and each.target in there
        }

    def target(self, account_id: int, connection_id: int | None, table: peliqan.Table) -> str:
        """A free name: the account's id and the table's name. One that it had before, unless something else has that by now."""
        with self._refusing(), self._engine.connect() as connection:
            own = sa.select(MANIFEST.c.target).where(
                MANIFEST.c.account_id == account_id, MANIFEST.c.table_id == table.id
            )
            before = connection.scalar(own)
            tables, taken = sa.inspect(connection).get_table_names(), self._taken(connection)
        if before is not None and (before in tables or before not in taken):
            return str(before)
        return self._free(f"customer_{account_id}_{table.name or table.id}", taken)

    def _taken(self, connection: Connection) -> set[str]:
        return set(
            connection.exec_driver_sql(TAKEN_SQLITE if self._sqlite else TAKEN_POSTGRESQL).scalars()
        )

    def _free(self, name: str, taken: set[str]) -> str:
        return name_for(name, taken, fold=self.rules.fold, most_bytes=self.rules.most_bytes)

    def replace(self, copied: Copied, rows: Spool) -> Copied:
        """All rows out and these in, one transaction: views, indexes and grants on the table stay. Only where a column's kind
        changed is there a new table, which takes the old one's name."""
        done = replace(copied, rows=rows.count)
        with self._refusing(), self._engine.begin() as connection:
            before = self._before(connection, copied)
            if (
                before is not None
                and _same_kinds(before, copied)
                and ROW_ID in columns_there(connection, copied)
            ):
                self._add_columns(connection, copied)
                table = self._table(copied, copied.target)
                connection.execute(table.delete())
                self._insert(connection, table, rows)
            else:
                self._rebuild(connection, copied, rows)
            self._keep(connection, done)
        return done

    def _before(self, connection: Connection, copied: Copied) -> Copied | None:
        where = (MANIFEST.c.account_id == copied.account_id, MANIFEST.c.table_id == copied.table_id)
        kept = connection.scalar(sa.select(MANIFEST.c.kept).where(*where))
        there = sa.inspect(connection).has_table(copied.target)
        return read_kept(kept) if kept is not None and there else None

    def _rebuild(self, connection: Connection, copied: Copied, rows: Spool) -> None:
        taken = self._taken(connection)
        name = self._free(NEW, taken)
        # The database's own name for the key would be the one that the next table asks for.
        fresh = self._table(
            copied, name, key=self._free(f"_pull_{copied.account_id}_{copied.table_id}_pkey", taken)
        )
        fresh.create(connection)
        self._insert(connection, fresh, rows)
        self._table(copied, copied.target).drop(connection, checkfirst=True)
        change(connection, f"ALTER TABLE {quoted(name)} RENAME TO {quoted(copied.target)}")

    def _add_columns(self, connection: Connection, copied: Copied) -> None:
        there = columns_there(connection, copied)
        for column in copied.columns:
            if column.stored not in there:
                kind = self._type(column.kind).compile(connection.dialect)
                change(
                    connection,
                    f"ALTER TABLE {quoted(copied.target)} ADD COLUMN {quoted(column.stored)} {kind}",
                )

    def merge(self, copied: Copied, rows: Spool, before: Copied) -> Copied | None:
        """New columns, the old rows of these ids out, these in, and the watermark: one transaction."""
        with self._refusing(), self._engine.begin() as connection:
            if not {ROW_ID, *(each.stored for each in before.columns)} <= columns_there(
                connection, copied
            ):
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
            self._keep(connection, done)
        return done

    def describe(self, account: peliqan.Account, connections: Sequence[peliqan.Connection]) -> None:
        """Rows of ``_pull_customers`` and ``_pull_connections``."""
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
        line = {
            "began": told["began"],
            "ended": told["ended"],
            "tables": len(result.copied),
            "stopped": result.stopped,
        }
        with self._told(), self._engine.begin() as connection:
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

    def _table(self, copied: Copied, name: str, key: str | None = None) -> sa.Table:
        # Keys of our own name the parameters: a column's name may hold anything.
        row: sa.Column[Any] = sa.Column(ROW_ID, sa.BigInteger, key="row", autoincrement=False)
        keys = [sa.PrimaryKeyConstraint(row, name=key)] if copied.keyed else []
        columns: list[sa.Column[Any]] = [
            sa.Column(each.stored, self._type(each.kind), key=f"c{place}", quote=True)
            for place, each in enumerate(copied.columns)
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
        names = ["row", *(f"c{place}" for place in range(len(rows.columns)))]
        for part in rows.batches():
            connection.execute(
                table.insert(),
                [dict(zip(names, map(self._value, values), strict=True)) for values in part],
            )

    def _value(self, value: Any) -> Any:
        # SQLite has no zones: what is written there is UTC.
        return (
            value.astimezone(UTC).replace(tzinfo=None)
            if self._sqlite and isinstance(value, datetime)
            else value
        )

    @contextmanager
    def _refusing(self, what: str = "this table") -> Iterator[None]:
        """What the database refuses, as a sentence; whether it is ``what`` alone that it refuses."""
        try:
            yield
        except SQLAlchemyError as error:
            raise refusals.of_database(error, what) from None

    @contextmanager
    def _told(self) -> Iterator[None]:
        """The same where all that is refused ends the pull."""
        try:
            yield
        except SQLAlchemyError as error:
            raise refusals.whole_database(error) from None
        except OSError as error:
            raise DestinationError(
                f"The database's file cannot be written: {error.strerror or type(error).__name__}."
            ) from None


def _same_kinds(before: Copied, now: Copied) -> bool:
    """Whether the table can stay as it is, but for columns that are added."""
    kinds = {each.stored: each.kind for each in now.columns}
    return before.keyed == now.keyed and all(
        kinds.get(each.stored) == each.kind for each in before.columns
    )
