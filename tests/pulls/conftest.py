"""Fixtures of pull tests: each kind of destination, the command, and a table to change."""

import json
import shutil
from collections.abc import Iterator
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from dashboard import peliqan
from dashboard.pulls.destinations.registry import open_destination
from dashboard.pulls.pull import Pull, Selection
from dashboard.sandbox.tables import Table
from tests.support.databases import Servers
from tests.support.processes import TOKEN, make_environ, run_here
from tests.support.pulled_copies import Copies, Run
from tests.support.pulled_customers import CUSTOMERS, SECRET, Pulls, Step
from tests.support.sample_tables import ACCOUNT, TABLE, OwnTable
from tests.support.sandbox import Sandbox


@pytest.fixture(params=["parquet", "sqlite", "postgresql"])
def copies(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Copies]:
    """Return an empty destination of each kind."""
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
def environ(sandbox: Sandbox, filled_store: Path, tmp_path: Path) -> dict[str, str]:
    (tmp_path / "data").mkdir()
    shutil.copy(filled_store / "console.db", tmp_path / "data" / "console.db")
    return make_environ(sandbox.url, tmp_path / "data", dashboard_api_timeout=3)


@pytest.fixture
def pull(environ: dict[str, str]) -> Run:
    """Run the command ``dashboard pull``."""
    return lambda address, *words: run_here(["pull", "--to", address, *words], environ)


@pytest.fixture
def own(sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> OwnTable:
    """Add an empty table to the first account."""
    made = OwnTable()
    made.install(sandbox, monkeypatch)
    return made


@pytest.fixture
def fleet(own: OwnTable, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> OwnTable:
    """Give three customers two tables of three rows; the first customer's own table is first."""

    def of_account(account_id: int, *_: Any) -> list[Table]:
        database = account_id * 10 + 1
        mine = (
            [Table(TABLE, database, "Own table", "own", len(own.rows))]
            if account_id == ACCOUNT
            else []
        )
        ids = [database * 1000 + 900 + number for number in range(2)]
        return mine + [Table(each, database, f"Contacts {each}", "people", 3) for each in ids]

    monkeypatch.setattr(sandbox.app.extensions["sandbox"].tables, "of_account", of_account)
    for number in (1, 2):
        own.put(number, f"2026-01-0{number}T00:00:00Z", Name=f"{SECRET} {number}")
    return own


@pytest.fixture
def step(sandbox: Sandbox, copies: Copies) -> Pulls:
    """Pull all three customers, to ``address`` or else to the copies' address."""
    api = peliqan.Peliqan(sandbox.url, TOKEN, tokens=peliqan.MemoryTokens())

    def run(address: str = "") -> Step:
        destination = open_destination(address or copies.address)
        work = Pull(
            api, destination, tables_of=lambda _, tables: (), clock=lambda: datetime.now(UTC)
        )
        result = work.run(Selection(accounts=frozenset(CUSTOMERS)))
        messages = json.dumps([asdict(each) for each in result.failures]) + str(result.stopped)
        assert SECRET not in messages
        failures = [(each.account_id, each.table, each.reason) for each in result.failures]
        return Step(
            result.exit_code,
            failures,
            {each.table_id: each for each in result.copied},
            result.stopped,
        )

    return run
