"""The store as one file, and back.

The file is a zip archive: ``manifest.json`` (engine, schema, time, version) and the data, ``store.db`` (a SQLite database, made
with its online backup, so while everything runs) or ``store.dump`` (pg_dump's custom format). Whoever has it has what the store
has: people's addresses, customers' names, encrypted tokens. It does not have SECRET_KEY, without which tokens and addresses
in it cannot be read. It appears under its name when it is whole, and can be read by its owner alone.
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
# Whoever uses the store while it is to be replaced is not waited for longer than this.
PATIENCE = 10
# Everything of ours, also of a version that is not this one. Extensions, and what belongs to them, stay.
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
    """One sentence: what is wrong, and what to do."""


class Where(Protocol):
    """What is needed of the settings."""

    @property
    def store_url(self) -> str:
        """SQLAlchemy's address."""

    @property
    def store_address(self) -> str:
        """PostgreSQL's own; empty where the store is SQLite."""


@dataclass(frozen=True)
class Manifest:
    """What a file says of itself. ``schema``: the number of the last migration; ``at``: ISO, UTC."""

    engine: str
    schema: str
    at: str
    version: str


def missing_programs(where: Where) -> list[str]:
    """PostgreSQL's programs that are needed and cannot be found."""
    return [name for name in PROGRAMS if where.store_address and shutil.which(name) is None]


def is_pooled() -> bool:
    """Tell whether a pooler such as PgBouncer stands before the store. In an app context.

    It is known by the connection's process id: a pooler tells one of its own, and not that of the server's process.

    Raises:
        SQLAlchemyError: the database does not answer.
    """
    if db.engine.dialect.name != "postgresql":
        return False
    with db.engine.connect() as connection:
        told = cast(
            "psycopg.Connection[Any]", connection.connection.dbapi_connection
        ).info.backend_pid
        return connection.scalar(select(func.pg_backend_pid())) != told


def _ensure_direct() -> None:
    """Refuse a pooler. PostgreSQL's programs set what they need for their session (an empty search_path, for one), and that would
    stay on a server connection of the pooler, for the console's next transaction.
    """
    if is_pooled():
        raise BackupError(
            "DATABASE_URL leads through a connection pooler, such as PgBouncer, and PostgreSQL's own programs would change"
            " settings of connections that the console shares. Nothing was done. For this command alone, set DATABASE_URL to the"
            " address of the database server itself."
        )


def write(where: Where, target: Path, at: datetime) -> Manifest:
    """Make the file. In an app context; does not write to the store.

    Raises:
        BackupError: it was not made, and nothing is left of it.
    """
    if target.exists():
        raise BackupError(f"{target} is there already. Choose another name.")
    _ensure_direct()
    engine = db.engine.dialect.name
    made = Manifest(engine, schema.current_version(), at.isoformat(), VERSION)
    if not made.schema:
        raise BackupError("The store is empty. There is nothing to keep.")
    with _no_room(f"{target} could not be written"), _workshop(target.parent) as folder:
        data = folder / DATA[engine]
        if engine == "sqlite":
            _copy_sqlite(_file(where), data)
        else:
            _run(
                where,
                "pg_dump",
                "--format=custom",
                "--no-owner",
                "--no-privileges",
                f"--file={data}",
            )
        whole = folder / "whole"
        whole.touch(0o600)
        with (
            whole.open("wb") as file,
            zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive,
        ):
            archive.writestr(MANIFEST, json.dumps(asdict(made), indent=2))
            archive.write(data, data.name)
        with whole.open("rb") as written:
            os.fsync(written.fileno())
        whole.rename(target)
    return made


def read_manifest(source: Path) -> Manifest:
    """What the file says of itself.

    Raises:
        BackupError: it is no backup, or damaged.
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


def restore(where: Where, source: Path, *, replace: bool = False) -> Manifest:
    """Put what the file has in the store's place. All of it or nothing: what fails leaves the store as it was.

    Raises:
        BackupError: it was refused, or failed.
    """
    made = read_manifest(source)
    _ensure_direct()
    engine = db.engine.dialect.name
    if made.engine != engine:
        raise BackupError(
            f"{source} is of {made.engine}, and this store is {engine}. Set DATABASE_URL accordingly."
        )
    if made.schema > schema.newest_version():
        raise BackupError(
            f"{source} has the schema {made.schema}, and this version of the console knows {schema.newest_version()} at most."
            " Install the version that made it, or a newer one."
        )
    if not replace and _has_rows():
        raise BackupError(
            "The store is not empty. Make a backup of it, then say --replace to put this one in its place."
        )
    db.session.remove()
    db.engine.dispose()
    room = Path(_file(where)).parent if engine == "sqlite" else Path(tempfile.gettempdir())
    with _no_room("The store could not be written, and is as it was"), _workshop(room) as folder:
        data = _extract(source, DATA[engine], folder)
        if engine == "sqlite":
            _check_sqlite(data)
            _copy_sqlite(data, Path(_file(where)), check=False)
        else:
            clear, statements = folder / "clear.sql", folder / "restore.sql"
            clear.write_text(_CLEAR)
            _run(
                where,
                "pg_restore",
                "--no-owner",
                "--no-privileges",
                f"--file={statements}",
                str(data),
                connect=False,
            )
            words = ("--quiet", "--no-psqlrc", "--single-transaction", "--set=ON_ERROR_STOP=1")
            _run(
                where,
                "psql",
                *words,
                f"--file={clear}",
                f"--file={statements}",
                "--output=/dev/null",
            )
    return made


def _file(where: Where) -> Path:
    return Path(where.store_url.removeprefix("sqlite:///"))


def _has_rows() -> bool:
    """Whether any table has a row, but for the schema's number and what the console itself puts down in passing."""
    names = set(inspect(db.engine).get_table_names()) - {"alembic_version", "job"}
    # SQLite's tables of the full-text index are the index's own.
    kept = sorted(name for name in names if not name.startswith("account_search"))
    with db.engine.connect() as connection:
        return any(
            connection.scalar(select(literal(1)).select_from(table(name)).limit(1)) for name in kept
        )


@contextmanager
def _workshop(folder: Path) -> Iterator[Path]:
    """A folder beside the result, for its owner alone, gone afterwards with whatever half a file is in it."""
    made = Path(tempfile.mkdtemp(prefix=".console-", dir=folder))
    try:
        yield made
    finally:
        shutil.rmtree(made, ignore_errors=True)


@contextmanager
def _no_room(said: str) -> Iterator[None]:
    """A disk that is full or cannot be written to, as one sentence."""
    try:
        yield
    except OSError as error:
        raise BackupError(
            f"{said}: {error.strerror or error}. Make room, or choose another place."
        ) from None
    except sqlite3.Error as error:
        raise BackupError(f"{said}: {error}. Make room, or choose another place.") from None


def _copy_sqlite(source: Path, target: Path, *, check: bool = True) -> None:
    """With SQLite's online backup: one transaction of the target's, whoever reads or writes meanwhile."""
    address = f"{source.resolve().as_uri()}?mode=ro"
    with (
        closing(sqlite3.connect(address, uri=True)) as reading,
        closing(sqlite3.connect(target, timeout=PATIENCE)) as writing,
    ):
        reading.backup(writing)
        if check:
            # One file, whatever becomes of it; a store that is opened again sets its own.
            writing.execute("PRAGMA journal_mode=DELETE")
    if check:
        _check_sqlite(target)


def _check_sqlite(file: Path) -> None:
    try:
        with closing(sqlite3.connect(file)) as found:
            (said,) = found.execute("PRAGMA integrity_check(1)").fetchone()
    except sqlite3.DatabaseError as error:
        said = str(error)
    if said != "ok":
        raise BackupError(f"The SQLite database is damaged ({said}). Take an older backup.")


def _extract(source: Path, name: str, folder: Path) -> Path:
    try:
        with zipfile.ZipFile(source) as archive:
            return Path(archive.extract(name, folder))
    except zipfile.BadZipFile as error:
        raise BackupError(f"{source} is damaged ({error}). Take an older backup.") from None


def _run(where: Where, program: str, *words: str, connect: bool = True) -> None:
    """One of PostgreSQL's programs. The password goes by its environment: a command line is seen by everybody on the machine."""
    found = shutil.which(program)
    if found is None:
        raise BackupError(
            f"{program} cannot be found. Install PostgreSQL's client, of the server's version or a newer one."
        )
    environ: Mapping[str, str] = os.environ
    if connect:
        parts = conninfo.conninfo_to_dict(where.store_address)
        password = parts.pop("password", None)
        environ = {**os.environ, **({"PGPASSWORD": str(password)} if password is not None else {})}
        words = (
            *words,
            f"--dbname={conninfo.make_conninfo(**{name: str(value) for name, value in parts.items()})}",
        )
    done = subprocess.run(
        [found, *words], env=dict(environ), capture_output=True, text=True, check=False
    )
    if done.returncode:
        said = scrubbed(done.stderr or f"ended by signal {-done.returncode}")
        hint = " Stop the console and its workers first." if "lock timeout" in done.stderr else ""
        raise BackupError(f"{program} failed: {said}{hint}")
