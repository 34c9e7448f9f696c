"""Faults while tables are copied: they are reported, and the next pull completes the copy."""

import json
import os
import random
import resource
import signal
import sqlite3
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from dashboard.pulls.destinations.base import DestinationError
from dashboard.pulls.destinations.registry import open_destination
from tests.support.databases import Servers, wait_for
from tests.support.pulled_copies import Copies, Run
from tests.support.sample_tables import TABLE, OwnTable
from tests.support.sandbox import Sandbox

WORDS = ("--account", "1001", "--table", str(TABLE))
ROWS = 1000


def fill(own: OwnTable, name: str, until: int = ROWS) -> None:
    for n in range(1, until + 1):
        own.put(n, f"2026-0{len(name)}-01T{n // 60:02}:{n % 60:02}:00Z", Name=f"{name} {n}")


def names(copies: Copies) -> set[str]:
    """Return the rows' names without numbers: only one if the copy is complete."""
    rows = copies.rows(TABLE)
    assert sorted(row["id"] for row in rows) == list(range(1, len(rows) + 1))
    assert len(rows) == ROWS
    return {row["Name"].split()[0] for row in rows}


@pytest.mark.parametrize("copies", ["parquet", "postgresql"], indirect=True)
@pytest.mark.parametrize("full", [True, False], ids=["whole", "what changed"])
def test_killed_at_any_step_a_copy_is_whole_and_the_next_pull_completes_it(
    copies: Copies, own: OwnTable, pull: Run, environ: dict[str, str], full: bool
) -> None:
    fill(own, "a")
    assert pull(copies.address, *WORDS).returncode == 0
    options, fills, killed = ["--full"] if full else [], ["a"], 0
    for step in random.Random(copies.address[:6] + str(full)).sample(
        range(1, 9 if copies.is_files else 14), 4
    ):
        fills.append("b" * (len(fills) + 1))
        fill(own, fills[-1])
        line = [
            sys.executable,
            "-m",
            "tests.support.sample_tables",
            str(step),
            "pull",
            "--to",
            copies.address,
            *WORDS,
            *options,
        ]
        variables = {**environ, "PYTHONPATH": str(Path.cwd())}
        ended = subprocess.run(
            line, env=variables, capture_output=True, text=True, timeout=60, check=False
        )
        assert ended.returncode in {0, -signal.SIGKILL}, ended.stderr
        killed += ended.returncode != 0
        assert len(names(copies)) == 1
        assert names(copies) <= set(fills)
    assert killed
    assert pull(copies.address, *WORDS, *options).returncode == 0
    assert names(copies) == {fills[-1]}
    if copies.is_files:
        assert not list(copies.folder.rglob("*.under-way"))


@pytest.mark.parametrize("copies", ["parquet", "postgresql"], indirect=True)
def test_killed_while_it_reads_it_leaves_the_earlier_copy_and_no_rows_behind(
    copies: Copies,
    own: OwnTable,
    pull: Run,
    sandbox: Sandbox,
    environ: dict[str, str],
    tmp_path: Path,
) -> None:
    fill(own, "a")
    assert pull(copies.address, *WORDS).returncode == 0
    own.put(1, "2026-03-01T00:00:00Z", Name="later 1")
    rest = tmp_path / "rest"
    rest.mkdir()
    for pages in (2, 4):
        before = sandbox.state()["calls"]["rows"]
        sandbox.fault("rows", delay_ms=50)
        line = [sys.executable, "-m", "dashboard", "pull", "--to", copies.address, *WORDS, "--full"]
        process = subprocess.Popen(
            line, env={**environ, "TMPDIR": str(rest)}, stderr=subprocess.DEVNULL
        )
        wait_for(lambda: sandbox.state()["calls"]["rows"] >= before + pages, "pages are read")  # noqa: B023
        process.kill()
        assert process.wait(60) == -signal.SIGKILL
        sandbox.clear()
        assert names(copies) == {"a"}
        assert not list(rest.iterdir())
    assert pull(copies.address, *WORDS).returncode == 0
    assert names(copies) == {"a", "later"}


@pytest.mark.parametrize("copies", ["parquet", "sqlite"], indirect=True)
def test_a_table_that_goes_while_it_is_read_fails_alone_and_its_copy_stays(
    copies: Copies, own: OwnTable, pull: Run
) -> None:
    fill(own, "a")
    assert pull(copies.address, *WORDS).returncode == 0

    def goes(number: int) -> None:
        own.is_removed = own.is_removed or number > 500

    own.before_row = goes
    result = pull(copies.address, *WORDS, "--table", "Empty", "--full")
    assert result.returncode == 1
    assert "“Own table”: Peliqan does not know this." in result.stdout
    assert names(copies) == {"a"}
    assert pull(copies.address, *WORDS).returncode == 2


@pytest.mark.parametrize("copies", ["parquet"], indirect=True)
def test_an_account_that_cannot_be_read_is_named_and_the_others_are_copied(
    copies: Copies, pull: Run, sandbox: Sandbox
) -> None:
    sandbox.fault("applications", status=403, times=1)
    result = pull(copies.address, "--account", "1002", "--account", "1003", "--account", "7")
    assert result.returncode == 1
    assert "FAILED account 1002: Peliqan does not allow this" in result.stdout
    assert "FAILED account 7: Peliqan lists no account with this id." in result.stdout
    assert {each["account_id"] for each in copies.tables().values()} == {1003}
    sandbox.fault("sub_accounts", status=500)
    result = pull(copies.address)
    assert result.returncode == 2
    assert "list of accounts could not be read" in result.stdout


@pytest.mark.parametrize("copies", ["parquet"], indirect=True)
def test_a_misspelt_choice_is_no_success(copies: Copies, pull: Run) -> None:
    result = pull(copies.address, "--account", "1002", "--table", "invoises")
    assert result.returncode == 2
    assert "has such a table" in result.stdout
    assert (
        "has such a connection"
        in pull(copies.address, "--account", "1002", "--connection", "5").stdout
    )
    assert (
        "has such a database"
        in pull(copies.address, "--account", "1002", "--database", "none").stdout
    )


@pytest.mark.parametrize("copies", ["parquet", "sqlite"], indirect=True)
def test_no_room_is_a_sentence_and_the_earlier_copy_stays(
    copies: Copies, own: OwnTable, pull: Run, environ: dict[str, str]
) -> None:
    fill(own, "a")
    assert pull(copies.address, *WORDS).returncode == 0
    for n in range(1, ROWS + 1):
        own.put(n, "2026-05-01T00:00:00Z", Name=f"b {n} " + os.urandom(1500).hex())

    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (400_000, 400_000))

    line = [sys.executable, "-m", "dashboard", "pull", "--to", copies.address, *WORDS]
    result = subprocess.run(
        line, env=environ, preexec_fn=limit, capture_output=True, text=True, timeout=60, check=False
    )
    assert result.returncode == 2, result.stdout + result.stderr
    assert "run the pull again" in result.stdout
    assert "Traceback" not in result.stderr
    assert names(copies) == {"a"}


@pytest.mark.parametrize(
    "address",
    [
        "parquet:///dev/null/copies",
        "sqlite:////dev/null/copies.db",
        "postgresql://someone:hunter2@127.0.0.1:1/none",
    ],
)
def test_a_destination_that_is_not_there_is_a_sentence_without_its_password(
    pull: Run, address: str, tmp_path: Path
) -> None:
    result = pull(address, "--account", "1002")
    assert result.returncode == 2
    assert "Traceback" not in result.stderr
    assert "hunter2" not in result.stdout + result.stderr
    assert "Ended early: The " in result.stdout
    with sqlite3.connect(tmp_path / "data" / "console.db") as store:
        what = store.execute(
            "SELECT who, result, detail FROM audit_entry WHERE what = 'pull'"
        ).fetchall()
    assert [each[:2] for each in what] == [("command line", "failed")]
    assert "hunter2" not in what[0][2]
    assert "unmasked" in what[0][2]


@pytest.mark.parametrize("address", ["parquet://", "mysql://localhost/x", "copies", "sqlite://"])
def test_an_address_that_cannot_be_read_is_one_sentence(pull: Run, address: str) -> None:
    result = pull(address)
    assert result.returncode == 2
    assert "Traceback" not in result.stderr
    assert "--to" in result.stderr


def test_postgresql_that_goes_away_ends_the_pull_and_the_next_one_goes_on(
    pull: Run, own: OwnTable, servers: Servers
) -> None:
    servers.postgresql.drop("copies")
    copies = Copies(servers.postgresql.create("copies"))
    fill(own, "a")
    assert pull(copies.address, *WORDS).returncode == 0
    fill(own, "bb")

    def goes(number: int) -> None:
        if number == ROWS and servers.postgresql.process is not None:
            servers.postgresql.stop()

    own.before_row = goes
    result = pull(copies.address, *WORDS)
    own.before_row = lambda _: None
    servers.revive()
    assert result.returncode == 2
    assert "The database does not take the copy" in result.stdout
    assert names(copies) == {"a"}
    assert pull(copies.address, *WORDS).returncode == 0
    assert names(copies) == {"bb"}
    servers.postgresql.drop("copies")


def test_two_pulls_never_write_to_one_destination_at_once(
    copies: Copies, own: OwnTable, pull: Run, environ: dict[str, str]
) -> None:
    fill(own, "a")
    reads, ended = threading.Event(), threading.Event()

    def hold(_: int) -> None:
        reads.set()
        assert ended.wait(60)

    own.before_row = hold
    line = [sys.executable, "-m", "dashboard", "pull", "--to", copies.address, *WORDS]
    patient = {**environ, "DASHBOARD_API_TIMEOUT": "60"}
    first = subprocess.Popen(
        line, env=patient, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    assert reads.wait(60)
    second = pull(copies.address, *WORDS)
    ended.set()
    assert second.returncode == 2
    assert "Another pull is writing to" in second.stdout
    assert first.wait(60) == 0
    assert names(copies) == {"a"}
    assert json.loads(pull(copies.address, *WORDS, "--json").stdout)["tables"][0]["rows"] == ROWS


@pytest.mark.parametrize("address", ["sqlite:///{}/copies.db", "parquet://{}"])
def test_a_destination_that_could_not_be_opened_is_free_for_the_next_pull(
    tmp_path: Path, address: str
) -> None:
    in_the_way = tmp_path / ("copies.db" if "db" in address else "table.under-way")
    in_the_way.mkdir()
    first, second = (open_destination(address.format(tmp_path)) for _ in range(2))
    with pytest.raises(DestinationError):
        first.__enter__()
    in_the_way.rmdir()
    with second:
        assert second.known(1001) == {}
