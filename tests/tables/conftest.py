"""Copies of tables: each kind of destination, the command, and a table that a test changes."""

import json
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
import sqlalchemy as sa
from sqlalchemy.engine import make_url

from tests.conftest import Sandbox
from tests.engines import Servers
from tests.processes import make_environ, run_here
from tests.tables.own import OwnTable


class Copies:
    """A destination as somebody else reads it."""

    def __init__(self, address: str) -> None:
        self.address = address
        self.folder = Path(address.removeprefix("parquet://"))
        self.is_files = address.startswith("parquet://")

    def tables(self) -> dict[int, dict[str, Any]]:
        """What the manifest says of each table."""
        if self.is_files:
            listed = json.loads((self.folder / "manifest.json").read_text())["tables"]
        else:
            listed = [json.loads(row["kept"]) for row in self.query("SELECT kept FROM _pull_manifest")]
        return {each["table_id"]: each for each in listed}

    def rows(self, table_id: int) -> list[dict[str, Any]]:
        target = self.tables()[table_id]["target"]
        if self.is_files:
            return list(pq.read_table(self.folder / target).to_pylist())
        return self.query(f'SELECT * FROM "{target}"')

    def query(self, statement: str) -> list[dict[str, Any]]:
        url = make_url(self.address)
        engine = sa.create_engine(url.set(drivername="postgresql+psycopg") if url.drivername == "postgresql" else url)
        try:
            with engine.connect() as connection:
                return [dict(row) for row in connection.exec_driver_sql(statement).mappings()]
        finally:
            engine.dispose()


@pytest.fixture(params=["parquet", "sqlite", "postgresql"])
def copies(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Copies]:
    """Each kind of destination, empty."""
    if request.param == "parquet":
        yield Copies(f"parquet://{tmp_path / 'copies'}")
    elif request.param == "sqlite":
        yield Copies(f"sqlite:///{tmp_path / 'copies.db'}")
    else:
        servers: Servers = request.getfixturevalue("servers")
        servers.postgresql.drop("copies")
        yield Copies(servers.postgresql.create("copies"))
        servers.revive()
        servers.postgresql.drop("copies")


@pytest.fixture
def environ(sandbox: Sandbox, filled: Path, tmp_path: Path) -> dict[str, str]:
    (tmp_path / "data").mkdir()
    shutil.copy(filled / "console.db", tmp_path / "data" / "console.db")
    return make_environ(sandbox.url, tmp_path / "data", dashboard_api_timeout=3)


Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def pull(environ: dict[str, str]) -> Run:
    """The command."""
    return lambda address, *words: run_here(["pull", "--to", address, *words], environ)


@pytest.fixture
def own(sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> OwnTable:
    """A table of the first account's, empty."""
    made = OwnTable()
    made.install(sandbox, monkeypatch)
    return made
