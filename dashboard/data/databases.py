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
from dashboard.data.database_tables import CONNECTIONS, CUSTOMERS, LOG, MANIFEST, META, SqliteNumber
from dashboard.data.destinations import Destination, DestinationError
from dashboard.data.kinds import BOOLEAN, DATE, INTEGER, LARGEST, NUMBER, ROW_ID, SMALLEST, TEXT, TIME, name_for
from dashboard.data.manifest import Copied, NameRules, PullResult
from dashboard.data.spool import Spool
from dashboard.store.text import clean

# Digits that SQLite keeps of a number with a fraction.
EXACT_DIGITS: Final = 15
MOST_BYTES: Final = 63
NEW: Final = "_pull_new"
# So many ids are named in one statement.
IDS_AT_ONCE: Final = 500
# Of a number that says nothing elsewhere: two pulls into one database take the same lock.
LOCK: Final = 7_206_184_513


class DatabaseDestination(Destination):
    """A database, empty or with what earlier pulls brought. Other tables in it are left alone."""

    def __init__(self, url: URL) -> None:
        self._url = url
        self._sqlite = url.get_backend_name() == "sqlite"
        self.rules = NameRules(fold=True, most_bytes=None) if self._sqlite else NameRules(fold=False, most_bytes=MOST_BYTES)
        options: dict[str, Any] = {"connect_args": {"timeout": 30} if self._sqlite else {"connect_timeout": 10}}
        self._engine = sa.create_engine(url, poolclass=sa.NullPool, hide_parameters=True, **options)
        self._guard: Connection | None = None
        self._lock: IO[str] | None = None
        if self._sqlite:
            _begin_for_real(self._engine)

    def open(self) -> None:
        """The file's lock or the server's, then the tables that say what is there."""
        with self._told():
            if self._sqlite:
                self._lock_file()
            else:
                self._guard = self._engine.connect().execution_options(isolation_level="AUTOCOMMIT")
                if not self._guard.scalar(sa.select(sa.func.pg_try_advisory_lock(LOCK))):
                    raise DestinationError("Another pull is writing to this database. Wait until it has ended.")
            with self._engine.begin() as connection:
                META.create_all(connection)

    def _lock_file(self) -> None:
        self._lock = Path(f"{self._url.database}.lock").open("w")  # noqa: SIM115 (open as long as the lock is held)
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise DestinationError("Another pull is writing to this file. Wait until it has ended.") from None

    def close(self) -> None:
        """Nothing is left to be written here: each copy was whole by itself."""
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
        """All rows out and these in, one transaction: views, indexes and grants on the table stay. Only where a column's kind
        changed is there a new table, which takes the old one's name."""
        done = replace(copied, rows=rows.count)
        with self._told(), self._engine.begin() as connection:
            before = self._before(connection, copied)
            if before is not None and _same_kinds(before, copied):
                self._add_columns(connection, copied, before)
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
        there = kept is not None and sa.inspect(connection).has_table(copied.target)
        return Copied.from_json(json.loads(kept)) if kept is not None and there else None

    def _rebuild(self, connection: Connection, copied: Copied, rows: Spool) -> None:
        fresh = self._table(copied, NEW)
        fresh.drop(connection, checkfirst=True)
        fresh.create(connection)
        self._insert(connection, fresh, rows)
        self._table(copied, copied.target).drop(connection, checkfirst=True)
        _change(connection, f"ALTER TABLE {_quoted(NEW)} RENAME TO {_quoted(copied.target)}")
        if copied.keyed and not self._sqlite:
            # The key keeps its name of the moment otherwise, and the next table could not make its own.
            key, free = _quoted(f"{NEW}_pkey"), _quoted(f"_pull_{copied.account_id}_{copied.table_id}_pkey")
            _change(connection, f"ALTER INDEX {key} RENAME TO {free}")

    def _add_columns(self, connection: Connection, copied: Copied, before: Copied) -> None:
        had = {each.stored for each in before.columns}
        for column in copied.columns:
            if column.stored not in had:
                kind = self._type(column.kind).compile(connection.dialect)
                _change(connection, f"ALTER TABLE {_quoted(copied.target)} ADD COLUMN {_quoted(column.stored)} {kind}")

    def merge(self, copied: Copied, rows: Spool, before: Copied) -> Copied:
        """New columns, the old rows of these ids out, these in, and the watermark: one transaction."""
        with self._told(), self._engine.begin() as connection:
            table = self._table(copied, copied.target)
            self._add_columns(connection, copied, before)
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


def _same_kinds(before: Copied, now: Copied) -> bool:
    """Whether the table can stay as it is, but for columns that are added."""
    kinds = {each.stored: each.kind for each in now.columns}
    return before.keyed == now.keyed and all(kinds.get(each.stored) == each.kind for each in before.columns)


def _reason(cause: BaseException) -> str:
    code = getattr(cause, "sqlite_errorname", None) or getattr(cause, "sqlstate", None)
    return f"{type(cause).__name__}, {code}" if code else type(cause).__name__


def _quoted(name: str) -> str:
    # The dialect's own doubles percent signs, for a place where they are doubled once more.
    return '"' + name.replace('"', '""') + '"'


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
