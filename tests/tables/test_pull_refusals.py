"""What a destination refuses of one table is that table's failure alone; what is wrong with the whole destination ends the pull.

Each case is refused by a real PostgreSQL, SQLite or file system. The refused table is the first one of the first of three
customers, so that everything else comes after it.
"""

import json
import re
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

import psycopg
import pytest
from sqlalchemy import event
from sqlalchemy.engine import Engine

from dashboard import peliqan
from dashboard.data import database_tables
from dashboard.data.destinations import open_destination
from dashboard.data.manifest import Copied
from dashboard.data.pull import Pull, Selection
from dashboard.sandbox.tables import Table
from tests.conftest import Sandbox
from tests.processes import TOKEN
from tests.tables.conftest import Copies
from tests.tables.own import ACCOUNT, TABLE, OwnTable

CUSTOMERS = (ACCOUNT, 1002, 1003)
SECRET = "secret-cell-value"


def others() -> set[int]:
    """Ids of all tables but the refused one."""
    return {(each * 10 + 1) * 1000 + 900 + number for each in CUSTOMERS for number in range(2)}


@pytest.fixture
def fleet(own: OwnTable, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> OwnTable:
    """Three customers with two tables of three rows each; the first customer's own table comes before all of them."""

    def of_account(account_id: int, _: Any) -> list[Table]:
        database = account_id * 10 + 1
        mine = [Table(TABLE, database, "Own table", "own", len(own.rows))] if account_id == ACCOUNT else []
        ids = [database * 1000 + 900 + number for number in range(2)]
        return mine + [Table(each, database, f"Contacts {each}", "people", 3) for each in ids]

    monkeypatch.setattr(sandbox.app.extensions["sandbox"].tables, "of_account", of_account)
    for number in (1, 2):
        own.put(number, f"2026-01-0{number}T00:00:00Z", Name=f"{SECRET} {number}")
    return own


class Step(NamedTuple):
    """What one pull of all customers came to."""

    code: int
    failures: list[tuple[int, str, str]]
    copied: dict[int, Copied]
    stopped: str | None


Pulls = Callable[..., Step]


@pytest.fixture
def step(sandbox: Sandbox, copies: Copies) -> Pulls:
    """Pull all three customers; ``address``: another one than the copies' own."""
    api = peliqan.Peliqan(sandbox.url, TOKEN, tokens=peliqan.MemoryTokens())

    def run(address: str = "") -> Step:
        destination = open_destination(address or copies.address)
        work = Pull(api, destination, belongs=lambda _, tables: (), clock=lambda: datetime.now(UTC))
        result = work.run(Selection(accounts=frozenset(CUSTOMERS)))
        told = json.dumps([asdict(each) for each in result.failures]) + str(result.stopped)
        assert SECRET not in told
        failures = [(each.account_id, each.table, each.reason) for each in result.failures]
        return Step(result.exit_code, failures, {each.table_id: each for each in result.copied}, result.stopped)

    return run


def check_refused_alone(found: Step, said: str) -> None:
    """The own table failed for this reason, and every other table of every customer was copied."""
    assert found.stopped is None
    ((account_id, table, reason),) = found.failures
    assert (account_id, table) == (ACCOUNT, "Own table")
    assert re.search(said, reason), reason
    assert set(found.copied) == others()
    assert {each.rows for each in found.copied.values()} == {3}
    assert found.code == 1


def check_all_copied(found: Step) -> None:
    assert (found.code, found.failures, found.stopped) == (0, [], None)
    assert set(found.copied) == {TABLE, *others()}


class Case(NamedTuple):
    """One thing that a destination refuses. ``spoil`` is called between two pulls with the copies and the own table's target;
    without it the first pull is the refused one. ``mend`` takes back what ``spoil`` did.
    """

    said: str
    prepare: Callable[[OwnTable], None] = lambda _: None
    spoil: Callable[[Copies, str], None] | None = None
    change: Callable[[OwnTable], None] = lambda own: own.put(3, "2026-01-03T00:00:00Z", Name=f"{SECRET} 3")
    mend: Callable[[Copies, str], None] | None = None


def columns(count: int, value: str | None = None) -> Callable[[OwnTable], None]:
    def prepare(own: OwnTable) -> None:
        own.columns |= {f"Column {number}": "text" for number in range(count)}
        own.put(1, "2026-01-01T00:00:00Z", **{f"Column {number}": value for number in range(count)})

    return prepare


def run(*statements: str) -> Callable[[Copies, str], None]:
    """SQL as somebody else; ``{t}`` is the own table's copy."""

    def spoil(copies: Copies, target: str) -> None:
        for statement in statements:
            execute(copies.address, statement.replace("{t}", f'"{target}"'))

    return spoil


def execute(address: str, statement: str) -> None:
    if address.startswith("sqlite"):
        with sqlite3.connect(address.removeprefix("sqlite:///")) as connection:
            connection.execute(statement)
        connection.close()
    else:
        with psycopg.connect(address, autocommit=True) as server:
            server.execute(statement.encode())


def in_place(copies: Copies, target: str) -> None:
    path = copies.folder / target
    path.unlink()
    path.mkdir()


def out_of_place(copies: Copies, target: str) -> None:
    (copies.folder / target).rmdir()


def becomes_text(own: OwnTable) -> None:
    own.put(3, "2026-01-03T00:00:00Z", Amount="twelve")


RAISES = """CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN RAISE EXCEPTION 'no: %', NEW."Name" USING ERRCODE = '{code}', DETAIL = NEW."Name"; END $$"""
TRIGGER = "CREATE TRIGGER refuse BEFORE INSERT ON {t} FOR EACH ROW EXECUTE FUNCTION refuse()"


def raises(code: str) -> Case:
    return Case(f", {code}\\)", spoil=run(RAISES.replace("{code}", code), TRIGGER), mend=run("DROP FUNCTION refuse CASCADE"))


POSTGRESQL = {
    "more columns than a table can have": Case("TooManyColumns, 54011", columns(1_601)),
    "a row too wide": Case("ProgramLimitExceeded, 54000", columns(1_000, "a text of thirty characters...")),
    "a view on a table whose kinds change": Case(
        "DependentObjectsStillExist, 2BP01.*view",
        spoil=run('CREATE VIEW seen AS SELECT "Name" FROM {t}'),
        change=becomes_text,
        mend=run("DROP VIEW seen"),
    ),
    "a constraint that somebody added": Case(
        "CheckViolation, 23514, “short”",
        spoil=run("ALTER TABLE {t} ADD CONSTRAINT short CHECK (\"Name\" NOT LIKE '% 3')"),
        mend=run("ALTER TABLE {t} DROP CONSTRAINT short"),
    ),
    "a unique index that somebody added": Case(
        "UniqueViolation, 23505, “one”",
        spoil=run('CREATE UNIQUE INDEX one ON {t} ((length("Name") > 0)) WHERE id > 2'),
        change=lambda own: [own.put(n, "2026-01-03T00:00:00Z") for n in (3, 4)] and None,
        mend=run("DROP INDEX one"),
    ),
    "a key of somebody else's table": Case(
        "ForeignKeyViolation, 23503",
        spoil=run("CREATE TABLE theirs (it bigint REFERENCES {t} (id))", "INSERT INTO theirs VALUES (2)"),
        change=lambda own: own.put(2, "2026-01-03T00:00:00Z", Name=f"{SECRET} anew"),
        mend=run("DROP TABLE theirs"),
    ),
    "a column that somebody made narrower": Case(
        "StringDataRightTruncation, 22001",
        spoil=run('ALTER TABLE {t} ALTER "Name" TYPE varchar(25)'),
        change=lambda own: own.put(3, "2026-01-03T00:00:00Z", Name=f"{SECRET} that is longer than it was"),
        mend=run('ALTER TABLE {t} ALTER "Name" TYPE text'),
    ),
    "a trigger that somebody added": raises("P0001"),
}
SQLITE = {
    "more columns than a table can have": Case("SQLITE_ERROR.*too many columns", columns(2_001)),
    "a unique index that somebody added": Case(
        "SQLITE_CONSTRAINT_UNIQUE",
        spoil=run('CREATE UNIQUE INDEX one ON {t} ("Name")'),
        change=lambda own: [own.put(n, "2026-01-03T00:00:00Z", Name=SECRET) for n in (3, 4)] and None,
        mend=run("DROP INDEX one"),
    ),
    "a trigger that somebody added": Case(
        "SQLITE_CONSTRAINT_TRIGGER",
        spoil=run(f"CREATE TRIGGER no BEFORE INSERT ON {{t}} BEGIN SELECT RAISE(ABORT, '{SECRET}'); END"),
        mend=run("DROP TRIGGER no"),
    ),
    "a trigger with an error in it": Case(
        "SQLITE_ERROR",
        spoil=run("CREATE TRIGGER no BEFORE INSERT ON {t} BEGIN INSERT INTO nowhere VALUES (1); END"),
        mend=run("DROP TRIGGER no"),
    ),
}
FILES = {
    "a folder in the file's place": Case("Is a directory", spoil=in_place, mend=out_of_place),
}
CASES = [
    pytest.param(kind, case, id=f"{kind}: {name}")
    for kind, cases in (("postgresql", POSTGRESQL), ("sqlite", SQLITE), ("parquet", FILES))
    for name, case in cases.items()
]


@pytest.mark.parametrize(("copies", "case"), CASES, indirect=["copies"])
def test_what_is_refused_of_one_table_is_its_failure_alone_and_its_copy_stays(
    step: Pulls, copies: Copies, fleet: OwnTable, case: Case
) -> None:
    case.prepare(fleet)
    if case.spoil is None:
        check_refused_alone(step(), case.said)
        assert TABLE not in copies.tables()
        return
    first = step()
    check_all_copied(first)
    before = None if copies.is_files else copies.rows(TABLE)
    case.spoil(copies, first.copied[TABLE].target)
    case.change(fleet)
    check_refused_alone(step(), case.said)
    if before is not None:
        assert copies.rows(TABLE) == before
        assert copies.tables()[TABLE]["watermark"] == first.copied[TABLE].watermark
    assert case.mend is not None
    case.mend(copies, first.copied[TABLE].target)
    check_all_copied(step())
    assert {row["id"]: row["Name"] for row in copies.rows(TABLE)} == {row["id"]: row["Name"] for row in fleet.rows}


@contextmanager
def limited(limit: Callable[[sqlite3.Connection], object]) -> Iterator[None]:
    """Each connection to a copies.db made smaller than it is."""

    def connect(connection: Any, _: object) -> None:
        if isinstance(connection, sqlite3.Connection):
            ((_, _, path),) = connection.execute("PRAGMA database_list").fetchall()
            if path.endswith("copies.db"):
                limit(connection)

    event.listen(Engine, "connect", connect)
    try:
        yield
    finally:
        event.remove(Engine, "connect", connect)


@pytest.mark.parametrize("copies", ["sqlite"], indirect=True)
def test_a_value_that_is_too_large_for_sqlite_is_its_tables_failure_alone(step: Pulls, copies: Copies, fleet: OwnTable) -> None:
    fleet.put(3, "2026-01-03T00:00:00Z", Name=SECRET * 10_000)
    with limited(lambda connection: connection.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, 100_000)):
        check_refused_alone(step(), "SQLITE_TOOBIG")
    check_all_copied(step())


@pytest.mark.parametrize("copies", ["postgresql"], indirect=True)
def test_a_table_that_the_pulls_own_user_may_not_change_is_its_failure_alone(
    step: Pulls, copies: Copies, fleet: OwnTable
) -> None:
    address = copies.address.replace("console@", "copier@")
    run("CREATE ROLE copier LOGIN", "GRANT CREATE ON SCHEMA public TO copier")(copies, "")
    try:
        first = step(address=address)
        check_all_copied(first)
        target = first.copied[TABLE].target
        run("ALTER TABLE {t} OWNER TO console")(copies, target)
        fleet.put(3, "2026-01-03T00:00:00Z")
        check_refused_alone(step(address=address), "InsufficientPrivilege, 42501.*grant")
        run("ALTER TABLE {t} OWNER TO copier")(copies, target)
        check_all_copied(step(address=address))
    finally:
        run("DROP OWNED BY copier", "DROP ROLE copier")(copies, "")


@pytest.mark.parametrize("copies", ["postgresql"], indirect=True)
def test_a_table_that_somebody_has_locked_is_its_failure_alone(
    step: Pulls, copies: Copies, fleet: OwnTable, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = step().copied[TABLE].target
    fleet.put(3, "2026-01-03T00:00:00Z")
    monkeypatch.setattr(database_tables, "LOCK_SECONDS", 1)
    with psycopg.connect(copies.address) as other:
        other.execute(f'LOCK TABLE "{target}"'.encode())
        check_refused_alone(step(), "LockNotAvailable, 55P03.*locked")
    check_all_copied(step())


@pytest.mark.parametrize("copies", ["postgresql", "sqlite"], indirect=True)
def test_what_is_kept_of_one_customer_and_is_refused_is_named_and_all_tables_are_copied(
    step: Pulls, copies: Copies, fleet: OwnTable
) -> None:
    check_all_copied(step())
    execute(copies.address, NONE_OF_FIRST["sqlite" if "sqlite" in copies.address else "postgresql"])
    found = step()
    assert (found.code, found.stopped, set(found.copied)) == (1, None, {TABLE, *others()})
    assert found.failures[0][:2] == (ACCOUNT, "")
    assert "refuses what is kept of this customer" in found.failures[0][2]


NONE_OF_FIRST = {
    "postgresql": f"ALTER TABLE _pull_connections ADD CHECK (account_id <> {ACCOUNT}) NOT VALID",
    "sqlite": f"""CREATE TRIGGER no BEFORE INSERT ON _pull_connections WHEN NEW.account_id = {ACCOUNT}
        BEGIN SELECT RAISE(ABORT, 'no'); END""",
}


def taken_by(statement: str) -> Callable[[Copies, str], None]:
    return run("DROP TABLE {t}", statement)


HEALED = {
    "postgresql": {
        "a column that somebody dropped": run('ALTER TABLE {t} DROP COLUMN "Name"'),
        "the row's id that somebody dropped": run("ALTER TABLE {t} DROP COLUMN id"),
        "a column that somebody renamed": run('ALTER TABLE {t} RENAME "Name" TO other'),
        "a table that somebody dropped": run("DROP TABLE {t}"),
        "a table that somebody renamed": run("ALTER TABLE {t} RENAME TO other"),
        "its name taken by a view": taken_by("CREATE VIEW {t} AS SELECT 1"),
        "its name taken by a sequence": taken_by("CREATE SEQUENCE {t}"),
        "its name taken by a type": taken_by("CREATE TYPE {t} AS ENUM ('one')"),
        "its name taken by an index": taken_by("CREATE INDEX {t} ON _pull_log (began)"),
        "the name of what is under way taken": run("DROP TABLE {t}", "CREATE VIEW _pull_new AS SELECT 1"),
        "its line of the manifest made unreadable": run(f"UPDATE _pull_manifest SET kept = 'x' WHERE table_id = {TABLE}"),
    },
    "sqlite": {
        "a column that somebody dropped": run('ALTER TABLE {t} DROP COLUMN "Name"'),
        "a column that somebody renamed": run('ALTER TABLE {t} RENAME "Name" TO other'),
        "a table that somebody dropped": run("DROP TABLE {t}"),
        "its name taken by a view": taken_by("CREATE VIEW {t} AS SELECT 1"),
        "its name taken by an index": taken_by("CREATE INDEX {t} ON _pull_log (began)"),
        "the name of what is under way taken": run("DROP TABLE {t}", "CREATE VIEW _pull_new AS SELECT 1"),
        "a broken view beside a new table": run("DROP TABLE {t}", "CREATE VIEW broken AS SELECT 1 FROM nowhere"),
        "its line of the manifest made unreadable": run(f"UPDATE _pull_manifest SET kept = '[]' WHERE table_id = {TABLE}"),
    },
    "parquet": {
        "a file that is damaged in its middle": lambda copies, target: damage(copies.folder / target),
        "a file that is cut off": lambda copies, target: (copies.folder / target).write_bytes(b"PAR1"),
        "a file that is gone": lambda copies, target: (copies.folder / target).unlink(),
    },
}


def damage(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[4:104] = bytes(100)
    path.write_bytes(content)


@pytest.mark.parametrize(
    ("copies", "spoil"),
    [pytest.param(kind, spoil, id=f"{kind}: {name}") for kind, cases in HEALED.items() for name, spoil in cases.items()],
    indirect=["copies"],
)
def test_a_copy_that_somebody_changed_is_made_whole_again_by_the_next_pull(
    step: Pulls, copies: Copies, fleet: OwnTable, spoil: Callable[[Copies, str], None]
) -> None:
    spoil(copies, step().copied[TABLE].target)
    fleet.put(3, "2026-01-03T00:00:00Z")
    check_all_copied(step())
    assert {row["id"]: row["Name"] for row in copies.rows(TABLE)} == {row["id"]: row["Name"] for row in fleet.rows}
    fleet.put(4, "2026-01-04T00:00:00Z")
    assert step().copied[TABLE].mode == "incremental"
    assert len(copies.rows(TABLE)) == 4


def fails_in(code: str) -> Callable[[Copies, str], None]:
    return run(RAISES.replace("{code}", code), TRIGGER)


ENDING = ("08006", "28000", "53100", "53200", "53300", "57014", "57P01", "58030")


@pytest.mark.parametrize(("copies", "code"), [("postgresql", code) for code in ENDING], indirect=["copies"])
def test_an_error_of_the_whole_server_ends_the_pull_and_the_next_one_copies_all(
    step: Pulls, copies: Copies, fleet: OwnTable, code: str
) -> None:
    target = step().copied[TABLE].target
    fails_in(code)(copies, target)
    fleet.put(3, "2026-01-03T00:00:00Z", Name=f"{SECRET} 3")
    found = step()
    assert found.code == 2
    assert found.copied == {}
    assert "The database does not take the copy" in str(found.stopped)
    assert code in str(found.stopped)
    run("DROP FUNCTION refuse CASCADE")(copies, target)
    check_all_copied(step())


@pytest.mark.parametrize("copies", ["sqlite"], indirect=True)
def test_a_full_disk_below_sqlite_ends_the_pull_and_the_next_one_copies_all(step: Pulls, copies: Copies, fleet: OwnTable) -> None:
    check_all_copied(step())
    fleet.put(3, "2026-01-03T00:00:00Z", Name=SECRET * 10_000)
    with limited(lambda connection: connection.execute("PRAGMA max_page_count = 1")):
        found = step()
    assert (found.code, found.copied) == (2, {})
    assert "SQLITE_FULL" in str(found.stopped)
    check_all_copied(step())


@pytest.mark.parametrize("copies", ["parquet"], indirect=True)
def test_a_full_disk_below_files_ends_the_pull_and_the_next_one_copies_all(step: Pulls, copies: Copies, fleet: OwnTable) -> None:
    first = step()
    path = copies.folder / first.copied[TABLE].target
    under_way = path.with_name(f"{path.name}.under-way")

    def full(_: int) -> None:
        # Whatever is written there finds no room.
        if not under_way.is_symlink():
            under_way.symlink_to("/dev/full")

    fleet.before_row = full
    fleet.put(3, "2026-01-03T00:00:00Z")
    found = step()
    fleet.before_row = lambda _: None
    assert (found.code, found.copied) == (2, {})
    assert "No space left" in str(found.stopped)
    check_all_copied(step())
