"""The console's own files: only its user can read them, and no copies are written there."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from dashboard.app import create_app
from dashboard.cli.common import close_store, upgrade_schema
from dashboard.core import database_urls
from dashboard.core.egress import NotAllowed, OwnFiles
from dashboard.tasks.queues import queue_file
from tests.support.processes import make_environ, run_here
from tests.support.settings import make_settings


@pytest.fixture(params=[0o000, 0o022, 0o077], ids=oct)
def umask(request: pytest.FixtureRequest) -> Iterator[int]:
    before = os.umask(request.param)
    yield request.param
    os.umask(before)


@pytest.mark.parametrize("is_there", [False, True], ids=["new", "of an earlier version"])
def test_folder_and_files_are_the_consoles_alone_whatever_the_umask(
    umask: int, is_there: bool, tmp_path: Path
) -> None:
    data = tmp_path / "above" / "data"
    if is_there:
        data.mkdir(parents=True)
        data.chmod(0o755)
        for name in ("console.db", "queue.db"):
            (data / name).touch()
            (data / name).chmod(0o644)
    app = create_app(make_settings("http://127.0.0.1:1", data))
    upgrade_schema(app)
    app.extensions["services"].queues["jobs"].storage.enqueue(b"x")
    assert {
        path.name: oct(path.stat().st_mode & 0o777)
        for path in data.iterdir()
        if path.stat().st_mode & 0o077
    } == {}
    assert {"console.db", queue_file(data).name} <= {path.name for path in data.iterdir()}
    assert data.stat().st_mode & 0o777 == 0o700
    close_store(app)


@pytest.mark.parametrize(
    "address",
    [
        *(
            f"sqlite:///{{store}}{behind}"
            for behind in ("", "-journal", "-wal", "-shm", ".lock", "2", "-journal/x.db")
        ),
        "sqlite:///{folder}/CONSOLE.DB-journal",
        "sqlite:///{folder}/link.db",
        "sqlite:///{folder}/hard.db",
        "sqlite:///{data}/x.db",
        "parquet://{store}-journal",
        "parquet://{data}/x",
        "parquet://{data}",
        "parquet://{above}",
        "parquet:///",
    ],
)
def test_no_copies_go_beside_the_store_or_into_the_folder(address: str, tmp_path: Path) -> None:
    data, folder = tmp_path / "above" / "data", tmp_path / "stores"
    folder.mkdir()
    store = folder / "console.db"
    store.touch()
    (folder / "link.db").symlink_to(store)
    (folder / "hard.db").hardlink_to(store)
    own = OwnFiles(data, store)
    written = address.format(store=store, folder=folder, data=data, above=data.parent)
    with pytest.raises(NotAllowed, match="Copies need a place of their own"):
        own.ensure_none(database_urls.read(written))
    for other in (
        f"sqlite:///{folder}/copies.db",
        f"parquet://{tmp_path}/copies",
        "postgresql://user@db.example.com/console.db",
    ):
        own.ensure_none(database_urls.read(other))


def test_neither_by_the_command_line(tmp_path: Path) -> None:
    environ = make_environ("http://127.0.0.1:1", tmp_path)
    assert run_here(["db", "upgrade"], environ).returncode == 0
    refused = run_here(["pull", "--to", f"sqlite:///{tmp_path}/console.db-journal"], environ)
    assert refused.returncode == 2
    assert "Copies need a place of their own" in " ".join(refused.stderr.split())
    assert not (tmp_path / "console.db-journal").exists()
