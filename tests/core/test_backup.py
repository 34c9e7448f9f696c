"""Backup and restore on both engines; full disks; files that are no backups or are damaged."""

import json
import os
import resource
import subprocess
import sys
import warnings
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from flask import Flask
from sqlalchemy import MetaData, create_engine, func, select
from sqlalchemy.exc import SAWarning

from dashboard.app import create_app
from dashboard.cli import main
from dashboard.cli.common import close_store
from dashboard.context import Services
from dashboard.core import backup, schema
from dashboard.core.database import db
from dashboard.settings import Settings
from tests.support.databases import Servers
from tests.support.processes import make_environ
from tests.support.sandbox import Sandbox
from tests.support.settings import make_settings

pytestmark = pytest.mark.both_engines


Run = Callable[..., Result]


def rows(url: str) -> dict[str, list[Any]]:
    """Return all rows of a database, except those that commands write about themselves."""
    engine, found = create_engine(url.replace("postgresql://", "postgresql+psycopg://")), MetaData()
    with warnings.catch_warnings():
        # Reflection skips indexes over expressions; this test does not need them.
        warnings.simplefilter("ignore", SAWarning)
        found.reflect(engine)
    with engine.connect() as connection:
        stored = {
            name: sorted(map(repr, connection.execute(select(table))))
            for name, table in found.tables.items()
            if not name.startswith("account_search") and name not in {"audit_entry", "job"}
        }
    engine.dispose()
    return stored


@pytest.fixture
def ours(services: Services) -> Settings:
    return services.settings


@pytest.fixture
def made(app: Flask, ours: Settings, services: Services, tmp_path: Path) -> Path:
    """Write a backup of the test's database."""
    file = tmp_path / "kept.console"
    with app.app_context():
        backup.write(ours, file, services.clock())
    return file


@pytest.fixture
def environ(sandbox: Sandbox, tmp_path: Path, store: dict[str, str]) -> dict[str, str]:
    return make_environ(sandbox.url, tmp_path, **store)


@pytest.fixture
def run(environ: dict[str, str]) -> Run:
    """Run a command in this process; give its output and exit code."""

    def command(*words: str, **more: str) -> Result:
        return CliRunner().invoke(main, words, env={**environ, **more})

    return command


@pytest.fixture
def run_limited(environ: dict[str, str]) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Run a command with a limit in bytes for every file it writes, as on a disk almost full."""

    def command(size: int, *words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "dashboard", *words],
            env=environ,
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
            preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (size, size)),
        )

    return command


@pytest.fixture
def elsewhere(
    engine: str, request: pytest.FixtureRequest, tmp_path: Path
) -> Iterator[dict[str, str]]:
    """Give the environment of an empty second database."""
    if engine == "embedded":
        (tmp_path / "elsewhere").mkdir()
        yield {"DASHBOARD_DATA": str(tmp_path / "elsewhere")}
        return
    servers: Servers = request.getfixturevalue("servers")
    yield {"DATABASE_URL": servers.postgresql.create("elsewhere")}
    servers.postgresql.drop("elsewhere")


def address(environ: dict[str, str]) -> str:
    return environ.get("DATABASE_URL") or f"sqlite:///{environ['DASHBOARD_DATA']}/console.db"


def test_a_store_that_is_restored_elsewhere_has_every_row_and_the_console_runs_on_it(
    run: Run, elsewhere: dict[str, str], ours: Settings, tmp_path: Path
) -> None:
    file = tmp_path / "kept.console"
    done = run("backup", str(file))
    assert done.exit_code == 0, done.output
    assert "schema 00" in done.output
    assert file.stat().st_mode & 0o777 == 0o600
    before = rows(ours.store_url)
    done = run("restore", str(file), **elsewhere)
    assert done.exit_code == 0, done.output
    assert rows(address(elsewhere)) == before
    assert len(before["account"]) == 60
    assert "olga@example.com" in run("users", "list", **elsewhere).output
    # Full-text search uses indexes of each engine, which are not rows.
    assert run("refresh", "--account", "1001", **elsewhere).exit_code == 0
    again = run("restore", str(file), **elsewhere)
    assert (again.exit_code, "--replace" in again.output) == (1, True), again.output


def test_replacing_a_store_leaves_nothing_of_what_was_there(
    app: Flask, ours: Settings, made: Path
) -> None:
    before = rows(ours.store_url)
    with app.app_context():
        db.session.execute(db.text("CREATE TABLE left_over (id INTEGER)"))
        db.session.execute(db.text("DELETE FROM health_change"))
        db.session.commit()
        backup.restore(ours, made, replace=True)
    assert rows(ours.store_url) == before


def test_a_backup_is_in_the_audit_trail(run: Run, app: Flask, tmp_path: Path) -> None:
    from dashboard.audit.models import AuditEntry

    assert run("backup", str(tmp_path / "a.console")).exit_code == 0
    refused = run("backup", str(tmp_path / "a.console"))
    assert (refused.exit_code, "is there already" in refused.output) == (1, True)
    with app.app_context():
        found = db.session.scalars(
            select(AuditEntry).where(AuditEntry.what == "backup").order_by(AuditEntry.id)
        ).all()
        assert [entry.result for entry in found] == ["done", "failed"]


def rewritten(file: Path, **changes: str) -> Path:
    other = file.with_name("other.console")
    with zipfile.ZipFile(file) as source, zipfile.ZipFile(other, "w") as target:
        for name in source.namelist():
            content = source.read(name)
            if name == backup.MANIFEST:
                content = json.dumps({**json.loads(content), **changes}).encode()
            target.writestr(name, content)
    return other


def test_files_of_another_engine_of_a_newer_schema_or_damaged_are_refused(
    app: Flask, ours: Settings, made: Path
) -> None:
    before = rows(ours.store_url)
    backup_bytes = made.read_bytes()
    engine = backup.read_manifest(made).engine
    other = "postgresql" if engine == "sqlite" else "sqlite"
    damaged = bytearray(backup_bytes)
    damaged[len(backup_bytes) // 2] ^= 0xFF
    with app.app_context():
        for file, says in (
            (rewritten(made, schema="9999"), "Install the version that made it"),
            (made.with_name("nothing.console"), "There is no file"),
        ):
            with pytest.raises(backup.BackupError, match=says):
                backup.restore(ours, file, replace=True)
        with pytest.raises(backup.BackupError, match="no backup of the console's"):
            backup.restore(ours, rewritten(made, engine=other), replace=True)
        for content in (
            b"",
            b"not an archive",
            backup_bytes[: len(backup_bytes) // 2],
            bytes(damaged),
        ):
            made.write_bytes(content)
            with pytest.raises(backup.BackupError, match=r"no backup|damaged"):
                backup.restore(ours, made, replace=True)
    assert rows(ours.store_url) == before


def test_a_disk_that_is_full_is_a_sentence_and_half_a_file_is_removed(
    run_limited: Callable[..., subprocess.CompletedProcess[str]], ours: Settings, tmp_path: Path
) -> None:
    target = tmp_path / "backups"
    target.mkdir()
    before = rows(ours.store_url)
    # Enough for SQLite's log of the audit entry, too little for the copy.
    done = run_limited(150_000, "backup", str(target / "a.console"))
    assert done.returncode == 1, done.stdout
    assert "could not be written" in done.stderr or "pg_dump failed" in done.stderr
    assert "Traceback" not in done.stderr
    assert list(target.iterdir()) == []
    assert rows(ours.store_url) == before


def test_a_restore_that_finds_no_room_leaves_the_store_as_it_was(
    run_limited: Callable[..., subprocess.CompletedProcess[str]], ours: Settings, made: Path
) -> None:
    before = rows(ours.store_url)
    with zipfile.ZipFile(made) as archive:
        (data,) = [each for each in archive.infolist() if each.filename != backup.MANIFEST]
    # Enough for the file's contents, too little for a database's log or PostgreSQL's statements.
    done = run_limited(data.file_size + 4096, "restore", "--replace", str(made))
    assert done.returncode == 1, done.stdout
    assert "is as it was" in done.stderr or "pg_restore failed" in done.stderr
    assert "Traceback" not in done.stderr
    assert rows(ours.store_url) == before
    assert not [each for each in made.parent.iterdir() if each.name.startswith(".console-")]


def test_a_folder_that_cannot_be_written_to_is_a_sentence(run: Run, tmp_path: Path) -> None:
    done = run("backup", str(tmp_path / "missing" / "a.console"))
    assert (done.exit_code, "could not be written" in done.output) == (1, True), done.output


@pytest.mark.parametrize("engine", ["servers"], indirect=True)
def test_a_password_is_on_no_command_line_and_in_no_message(
    app: Flask, ours: Settings, made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    programs = tmp_path / "programs"
    programs.mkdir()
    for name in backup.PROGRAMS:
        (programs / name).write_text(
            f'#!/bin/sh\necho "$0 $@" >> {tmp_path}/words\n'
            f'echo "$PGPASSWORD" >> {tmp_path}/given\nexit 3\n'
        )
        (programs / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{programs}{os.pathsep}{os.environ['PATH']}")
    secret = "s3cret-w0rd"  # pragma: allowlist secret
    with_password = ours.model_copy(
        update={"database_url": ours.database_url.replace("console@", f"console:{secret}@")}
    )
    with app.app_context(), pytest.raises(backup.BackupError, match="pg_dump failed") as caught:
        backup.write(with_password, tmp_path / "b.console", app.extensions["services"].clock())
    assert secret in (tmp_path / "given").read_text()
    assert secret not in (tmp_path / "words").read_text()
    assert secret not in str(caught.value)


@pytest.mark.parametrize("engine", ["embedded"], indirect=True)
def test_a_database_that_is_damaged_in_a_whole_file_is_refused(
    app: Flask, ours: Settings, made: Path
) -> None:
    before = rows(ours.store_url)
    other = made.with_name("other.console")
    with zipfile.ZipFile(made) as source, zipfile.ZipFile(other, "w") as target:
        content = bytearray(source.read("store.db"))
        content[len(content) // 4 : len(content) // 2] = bytes(
            len(content) // 2 - len(content) // 4
        )
        target.writestr(backup.MANIFEST, source.read(backup.MANIFEST))
        target.writestr("store.db", bytes(content))
    with (
        app.app_context(),
        pytest.raises(backup.BackupError, match="The SQLite database is damaged"),
    ):
        backup.restore(ours, other, replace=True)
    assert rows(ours.store_url) == before


@pytest.mark.parametrize("engine", ["servers"], indirect=True)
def test_a_restore_that_fails_in_the_middle_leaves_the_store_as_it_was(
    app: Flask, ours: Settings, made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = rows(ours.store_url)
    program = tmp_path / "programs" / "pg_restore"
    program.parent.mkdir()
    program.write_text(
        "#!/bin/sh\n"
        "for word; do case $word in --file=*)"
        " echo 'CREATE TABLE a (b int); SELECT 1/0;' > ${word#--file=};;"
        " esac; done\n"
    )
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}{os.pathsep}{os.environ['PATH']}")
    with (
        app.app_context(),
        pytest.raises(backup.BackupError, match=r"psql failed: .*division by zero"),
    ):
        backup.restore(ours, made, replace=True)
    assert rows(ours.store_url) == before


@pytest.mark.parametrize("engine", ["servers"], indirect=True)
def test_missing_programs_are_named(
    app: Flask, ours: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert backup.missing_programs(ours) == ["pg_dump", "pg_restore", "psql"]
    with app.app_context(), pytest.raises(backup.BackupError, match="pg_dump cannot be found"):
        backup.write(ours, tmp_path / "b.console", app.extensions["services"].clock())


def test_a_backup_while_others_write_is_of_one_moment(
    app: Flask, ours: Settings, services: Services, tmp_path: Path
) -> None:
    """Two tables that always change together have equal row counts in the copy."""
    from threading import Event, Thread

    from dashboard.audit import service as audit

    stop = Event()
    with app.app_context():
        for table in ("left_hand", "right_hand"):
            db.session.execute(db.text(f"CREATE TABLE {table} (id INTEGER)"))
        db.session.commit()

    def write() -> None:
        with app.app_context():
            while not stop.is_set():
                for table in ("left_hand", "right_hand"):
                    db.session.execute(db.text(f"INSERT INTO {table} VALUES (1)"))
                audit.commit()

    writer = Thread(target=write)
    writer.start()
    file = tmp_path / "moving.console"
    try:
        with app.app_context():
            backup.write(ours, file, services.clock())
    finally:
        stop.set()
        writer.join()
    with app.app_context():
        backup.restore(ours, file, replace=True)
        lengths = [
            db.session.scalar(select(func.count()).select_from(db.text(table)))
            for table in ("left_hand", "right_hand")
        ]
    assert lengths[0] == lengths[1]


@pytest.mark.parametrize("version", ["0001", "0008", "0014", "0017"])
def test_a_store_with_an_older_schema_is_kept_before_its_upgrade_and_comes_back(
    run: Run, elsewhere: dict[str, str], tmp_path: Path, version: str
) -> None:
    url = elsewhere.get("DATABASE_URL", "")
    older = create_app(
        make_settings("http://127.0.0.1:1", tmp_path / "elsewhere", database_url=url)
    )
    with older.app_context():
        schema.upgrade(version)
    close_store(older)
    file = str(tmp_path / "before.console")
    result = run("backup", file, **elsewhere)
    assert result.exit_code == 0, result.output
    assert f"schema {version}" in result.output
    assert "The audit trail does not have it" in result.output
    assert run("db", "upgrade", **elsewhere).exit_code == 0
    back = run("restore", "--replace", file, **elsewhere)
    assert back.exit_code == 0, back.output
    assert "Its schema is older: run dashboard db upgrade." in back.output
    assert run("db", "upgrade", **elsewhere).exit_code == 0
    assert run("users", "list", **elsewhere).exit_code == 0


def test_where_there_is_no_store_there_is_nothing_to_keep(
    run: Run, elsewhere: dict[str, str], tmp_path: Path
) -> None:
    done = run("backup", str(tmp_path / "kept.console"), **elsewhere)
    assert (done.exit_code, "There is nothing to keep" in done.output) == (1, True), done.output
