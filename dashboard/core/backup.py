"""Write the whole database to one file, and restore it.

The file is a zip archive of ``manifest.json`` (engine, schema, time, version) and the data:
``store.db`` (made with SQLite's online backup, so the console can keep running) or
``store.dump`` (pg_dump's custom format). The file contains what the database contains:
people's addresses, customers' names, encrypted tokens. It does not contain SECRET_KEY, without
which its tokens and addresses cannot be decrypted. The file gets its name only when it is
complete, and only its owner can read it.
"""

import json
import os
import shutil
import sqlite3
import subprocess
import tempfile
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Protocol, cast

import psycopg
from psycopg import conninfo
from sqlalchemy import func, inspect, literal, select, table

from dashboard.core import schema
from dashboard.core.database import db
from dashboard.core.redaction import scrubbed
from dashboard.version import VERSION

MANIFEST = "manifest.json"
DATA = {"sqlite": "store.db", "postgresql": "store.dump"}
PROGRAMS = ("pg_dump", "pg_restore", "psql")
# How many seconds a restore waits for other users of the database.
PATIENCE = 10
# Drops all tables of the console, of any version. Extensions and their objects stay.
_CLEAR = """
SET lock_timeout = '10s';
SET client_min_messages = 'error';
DO $$ DECLARE each record; BEGIN
  FOR each IN SELECT tablename FROM pg_tables WHERE schemaname = current_schema() LOOP
    EXECUTE format('DROP TABLE %I CASCADE', each.tablename);
  END LOOP;
END $$;
"""


class BackupError(Exception):
    """A failed backup or restore. The message says what is wrong and what to do."""


class StoreSettings(Protocol):
    """The settings that a backup reads."""

    @property
    def store_url(self) -> str:
        """Return SQLAlchemy's address of the database."""

    @property
    def store_address(self) -> str:
        """Return libpq's address of the database; empty for SQLite."""


@dataclass(frozen=True)
class Manifest:
    """The description inside a backup file.

    ``schema`` is the number of the last migration; ``at`` is an ISO time in UTC.
    """

    engine: str
    schema: str
    at: str
    version: str


def missing_programs(settings: StoreSettings) -> list[str]:
    """Return the PostgreSQL programs that are needed but not installed."""
    return [name for name in PROGRAMS if settings.store_address and shutil.which(name) is None]


def is_pooled() -> bool:
    """Return whether a pooler such as PgBouncer stands between the console and the database.

    Needs an app context. A pooler reports a process id of its own, which differs from the process
    id of the server.

    Raises:
        SQLAlchemyError: the database does not answer.
    """
    if db.engine.dialect.name != "postgresql":
        return False
    with db.engine.connect() as connection:
        driver = cast("psycopg.Connection[Any]", connection.connection.dbapi_connection)
        return connection.scalar(select(func.pg_backend_pid())) != driver.info.backend_pid


def _ensure_direct() -> None:
    """Refuse to run behind a connection pooler.

    PostgreSQL's programs change settings of their session, such as an empty search_path. A pooler
    would keep these on a server connection that the console uses next.
    """
    if is_pooled():
        raise BackupError(
            "DATABASE_URL leads through a connection pooler, such as PgBouncer, and PostgreSQL's"
            " own programs would change settings of connections that the console shares. Nothing"
            " was done. For this command alone, set DATABASE_URL to the address of the database"
            " server itself."
        )


def write(settings: StoreSettings, target: Path, at: datetime) -> Manifest:
    """Write a backup file. Needs an app context; does not write to the database.

    Raises:
        BackupError: the backup failed; no partial file is left.
    """
    if target.exists():
        raise BackupError(f"{target} is there already. Choose another name.")
    _ensure_direct()
    engine = db.engine.dialect.name
    made = Manifest(engine, schema.current_version(), at.isoformat(), VERSION)
    if not made.schema:
        raise BackupError("The store is empty. There is nothing to keep.")
    with _disk_errors(f"{target} could not be written"), _temporary(target.parent) as folder:
        data = folder / DATA[engine]
        if engine == "sqlite":
            _copy_sqlite(_sqlite_file(settings), data)
        else:
            options = ("--format=custom", "--no-owner", "--no-privileges", f"--file={data}")
            _run(settings, "pg_dump", *options)
        complete = folder / "complete"
        complete.touch(0o600)
        with (
            complete.open("wb") as file,
            zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive,
        ):
            archive.writestr(MANIFEST, json.dumps(asdict(made), indent=2))
            archive.write(data, data.name)
        with complete.open("rb") as written:
            os.fsync(written.fileno())
        complete.rename(target)
    return made


def read_manifest(source: Path) -> Manifest:
    """Return the manifest of a backup file.

    Raises:
        BackupError: the file is missing, unreadable, damaged, or not a backup.
    """
    try:
        with zipfile.ZipFile(source) as archive:
            found = json.loads(archive.read(MANIFEST))
            made = Manifest(
                **{name: str(found[name]) for name in ("engine", "schema", "at", "version")}
            )
            if DATA[made.engine] not in archive.namelist():
                raise KeyError(made.engine)
    except FileNotFoundError:
        raise BackupError(f"There is no file {source}.") from None
    except (zipfile.BadZipFile, KeyError, TypeError, ValueError) as error:
        raise BackupError(
            f"{source} is no backup of the console's, or damaged ({type(error).__name__})."
        ) from None
    except OSError as error:
        raise BackupError(f"{source} cannot be read: {error.strerror}.") from None
    return made


def restore(settings: StoreSettings, source: Path, *, replace: bool = False) -> Manifest:
    """Replace the contents of the database with a backup file, all or nothing.

    A failure leaves the database unchanged. ``replace`` allows a database that has rows.

    Raises:
        BackupError: the restore was refused, or failed.
    """
    made = read_manifest(source)
    _ensure_direct()
    engine = db.engine.dialect.name
    if made.engine != engine:
        raise BackupError(
            f"{source} is of {made.engine}, and this store is {engine}. Set DATABASE_URL"
            " accordingly."
        )
    if made.schema > schema.newest_version():
        raise BackupError(
            f"{source} has the schema {made.schema}, and this version of the console knows"
            f" {schema.newest_version()} at most. Install the version that made it, or a newer one."
        )
    if not replace and _has_rows():
        raise BackupError(
            "The store is not empty. Make a backup of it, then say --replace to put this one in its"
            " place."
        )
    db.session.remove()
    db.engine.dispose()
    is_sqlite = engine == "sqlite"
    parent = Path(_sqlite_file(settings)).parent if is_sqlite else Path(tempfile.gettempdir())
    failed = "The store could not be written, and is as it was"
    with _disk_errors(failed), _temporary(parent) as folder:
        data = _extract(source, DATA[engine], folder)
        if is_sqlite:
            _check_sqlite(data)
            _copy_sqlite(data, Path(_sqlite_file(settings)), check=False)
        else:
            _restore_postgresql(settings, data, folder)
    return made


def _restore_postgresql(settings: StoreSettings, data: Path, folder: Path) -> None:
    """Drop all tables and load the dump, in one transaction."""
    clear, statements = folder / "clear.sql", folder / "restore.sql"
    clear.write_text(_CLEAR)
    options = ("--no-owner", "--no-privileges", f"--file={statements}", str(data))
    _run(settings, "pg_restore", *options, connect=False)
    quiet = ("--quiet", "--no-psqlrc", "--output=/dev/null")
    atomic = ("--single-transaction", "--set=ON_ERROR_STOP=1")
    _run(settings, "psql", *quiet, *atomic, f"--file={clear}", f"--file={statements}")


def _sqlite_file(settings: StoreSettings) -> Path:
    return Path(settings.store_url.removeprefix("sqlite:///"))


def _has_rows() -> bool:
    """Return whether any table has a row, except those that the console fills on its own."""
    names = set(inspect(db.engine).get_table_names()) - {"alembic_version", "job"}
    # SQLite manages the tables of its full-text index.
    checked = sorted(name for name in names if not name.startswith("account_search"))
    with db.engine.connect() as connection:
        return any(
            connection.scalar(select(literal(1)).select_from(table(name)).limit(1))
            for name in checked
        )


@contextmanager
def _temporary(folder: Path) -> Iterator[Path]:
    """Give a private temporary folder inside ``folder``; delete it with all it contains."""
    made = Path(tempfile.mkdtemp(prefix=".console-", dir=folder))
    try:
        yield made
    finally:
        shutil.rmtree(made, ignore_errors=True)


@contextmanager
def _disk_errors(failed: str) -> Iterator[None]:
    """Turn errors of a full or read-only disk into a BackupError that begins with ``failed``."""
    try:
        yield
    except OSError as error:
        raise BackupError(
            f"{failed}: {error.strerror or error}. Make room, or choose another place."
        ) from None
    except sqlite3.Error as error:
        raise BackupError(f"{failed}: {error}. Make room, or choose another place.") from None


def _copy_sqlite(source: Path, target: Path, *, check: bool = True) -> None:
    """Copy with SQLite's online backup: one transaction of the target, safe while others write."""
    address = f"{source.resolve().as_uri()}?mode=ro"
    with (
        closing(sqlite3.connect(address, uri=True)) as reading,
        closing(sqlite3.connect(target, timeout=PATIENCE)) as writing,
    ):
        reading.backup(writing)
        if check:
            # Makes the copy a single file; the console sets WAL again when it opens it.
            writing.execute("PRAGMA journal_mode=DELETE")
    if check:
        _check_sqlite(target)


def _check_sqlite(file: Path) -> None:
    try:
        with closing(sqlite3.connect(file)) as found:
            (result,) = found.execute("PRAGMA integrity_check(1)").fetchone()
    except sqlite3.DatabaseError as error:
        result = str(error)
    if result != "ok":
        raise BackupError(f"The SQLite database is damaged ({result}). Take an older backup.")


def _extract(source: Path, name: str, folder: Path) -> Path:
    try:
        with zipfile.ZipFile(source) as archive:
            return Path(archive.extract(name, folder))
    except zipfile.BadZipFile as error:
        raise BackupError(f"{source} is damaged ({error}). Take an older backup.") from None


def _run(settings: StoreSettings, program: str, *options: str, connect: bool = True) -> None:
    """Run a PostgreSQL program; ``connect`` adds the address of the database.

    The password goes into the environment: every user of the machine can read a command line.

    Raises:
        BackupError: the program is not installed, or failed.
    """
    found = shutil.which(program)
    if found is None:
        raise BackupError(
            f"{program} cannot be found. Install PostgreSQL's client, of the server's version or a"
            " newer one."
        )
    environ: Mapping[str, str] = os.environ
    if connect:
        parts = conninfo.conninfo_to_dict(settings.store_address)
        password = parts.pop("password", None)
        environ = {**os.environ, **({"PGPASSWORD": str(password)} if password is not None else {})}
        address = conninfo.make_conninfo(**{name: str(value) for name, value in parts.items()})
        options = (*options, f"--dbname={address}")
    done = subprocess.run(
        [found, *options], env=dict(environ), capture_output=True, text=True, check=False
    )
    if done.returncode:
        message = scrubbed(done.stderr or f"ended by signal {-done.returncode}")
        advice = " Stop the console and its workers first." if "lock timeout" in done.stderr else ""
        raise BackupError(f"{program} failed: {message}{advice}")
