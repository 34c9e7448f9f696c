"""A refused table fails alone; a destination that refuses everything ends the pull.

Each case is refused by a real PostgreSQL, SQLite or file system. The refused table is the first one
of the first of three customers, so that all others come after it.
"""

import sqlite3
from collections.abc import Callable
from typing import NamedTuple

import psycopg
import pytest

from dashboard.pulls.destinations import database_schema as database_tables
from tests.support.pulled_copies import Copies
from tests.support.pulled_customers import (
    RAISES,
    SECRET,
    TRIGGER,
    Pulls,
    check_all_copied,
    check_refused_alone,
    execute,
    limited,
    others,
    run,
)
from tests.support.sample_tables import ACCOUNT, TABLE, OwnTable


class Case(NamedTuple):
    """Case that a destination refuses.

    ``spoil``: called between two pulls with the copies and the table's target; without it, the
    first pull is refused. ``mend``: reverts ``spoil``.
    """

    message: str
    prepare: Callable[[OwnTable], None] = lambda _: None
    spoil: Callable[[Copies, str], None] | None = None
    change: Callable[[OwnTable], None] = lambda own: own.put(
        3, "2026-01-03T00:00:00Z", Name=f"{SECRET} 3"
    )
    mend: Callable[[Copies, str], None] | None = None


def columns(count: int, value: str | None = None) -> Callable[[OwnTable], None]:
    def prepare(own: OwnTable) -> None:
        own.columns |= {f"Column {number}": "text" for number in range(count)}
        own.put(1, "2026-01-01T00:00:00Z", **{f"Column {number}": value for number in range(count)})

    return prepare


def in_place(copies: Copies, target: str) -> None:
    path = copies.folder / target
    path.unlink()
    path.mkdir()


def out_of_place(copies: Copies, target: str) -> None:
    (copies.folder / target).rmdir()


def becomes_text(own: OwnTable) -> None:
    own.put(3, "2026-01-03T00:00:00Z", Amount="twelve")


def raises(code: str) -> Case:
    return Case(
        f", {code}\\)",
        spoil=run(RAISES.replace("{code}", code), TRIGGER),
        mend=run("DROP FUNCTION refuse CASCADE"),
    )


POSTGRESQL = {
    "more columns than a table can have": Case("TooManyColumns, 54011", columns(1_601)),
    "a row too wide": Case(
        "ProgramLimitExceeded, 54000", columns(1_000, "a text of thirty characters...")
    ),
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
        spoil=run(
            "CREATE TABLE theirs (it bigint REFERENCES {t} (id))", "INSERT INTO theirs VALUES (2)"
        ),
        change=lambda own: own.put(2, "2026-01-03T00:00:00Z", Name=f"{SECRET} anew"),
        mend=run("DROP TABLE theirs"),
    ),
    "a column that somebody made narrower": Case(
        "StringDataRightTruncation, 22001",
        spoil=run('ALTER TABLE {t} ALTER "Name" TYPE varchar(25)'),
        change=lambda own: own.put(
            3, "2026-01-03T00:00:00Z", Name=f"{SECRET} that is longer than it was"
        ),
        mend=run('ALTER TABLE {t} ALTER "Name" TYPE text'),
    ),
    "a trigger that somebody added": raises("P0001"),
}
SQLITE = {
    "more columns than a table can have": Case("SQLITE_ERROR.*too many columns", columns(2_001)),
    "a unique index that somebody added": Case(
        "SQLITE_CONSTRAINT_UNIQUE",
        spoil=run('CREATE UNIQUE INDEX one ON {t} ("Name")'),
        change=lambda own: (
            [own.put(n, "2026-01-03T00:00:00Z", Name=SECRET) for n in (3, 4)] and None
        ),
        mend=run("DROP INDEX one"),
    ),
    "a trigger that somebody added": Case(
        "SQLITE_CONSTRAINT_TRIGGER",
        spoil=run(
            f"CREATE TRIGGER no BEFORE INSERT ON {{t}} BEGIN SELECT RAISE(ABORT, '{SECRET}'); END"
        ),
        mend=run("DROP TRIGGER no"),
    ),
    "a trigger with an error in it": Case(
        "SQLITE_ERROR",
        spoil=run(
            "CREATE TRIGGER no BEFORE INSERT ON {t} BEGIN INSERT INTO nowhere VALUES (1); END"
        ),
        mend=run("DROP TRIGGER no"),
    ),
}


def something_under_way(copies: Copies, target: str) -> None:
    (copies.folder / f"{target}.under-way").mkdir()


def nothing_under_way(copies: Copies, target: str) -> None:
    (copies.folder / f"{target}.under-way").rmdir()


FILES = {
    "a folder where the file is written": Case(
        "Is a directory", spoil=something_under_way, mend=nothing_under_way
    ),
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
        check_refused_alone(step(), case.message)
        assert TABLE not in copies.tables()
        return
    first = step()
    check_all_copied(first)
    before = None if copies.is_files else copies.rows(TABLE)
    case.spoil(copies, first.copied[TABLE].target)
    case.change(fleet)
    check_refused_alone(step(), case.message)
    if before is not None:
        assert copies.rows(TABLE) == before
        assert copies.tables()[TABLE]["watermark"] == first.copied[TABLE].watermark
    assert case.mend is not None
    case.mend(copies, first.copied[TABLE].target)
    check_all_copied(step())
    assert {row["id"]: row["Name"] for row in copies.rows(TABLE)} == {
        row["id"]: row["Name"] for row in fleet.rows
    }


@pytest.mark.parametrize("copies", ["sqlite"], indirect=True)
def test_a_value_that_is_too_large_for_sqlite_is_its_tables_failure_alone(
    step: Pulls, copies: Copies, fleet: OwnTable
) -> None:
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


def test_what_is_kept_of_one_customer_and_is_refused_is_named_and_all_tables_are_copied(
    step: Pulls, copies: Copies, fleet: OwnTable
) -> None:
    check_all_copied(step())
    if copies.is_files:
        customer = copies.folder / f"customers/{ACCOUNT}/customer.json"
        customer.unlink()
        customer.mkdir()
    else:
        execute(
            copies.address, NONE_OF_FIRST["sqlite" if "sqlite" in copies.address else "postgresql"]
        )
    found = step()
    assert (found.code, found.stopped, set(found.copied)) == (1, None, {TABLE, *others()})
    assert found.failures[0][:2] == (ACCOUNT, "")
    assert "what is kept of this customer" in found.failures[0][2]


NONE_OF_FIRST = {
    "postgresql": f"ALTER TABLE _pull_connections ADD CHECK (account_id <> {ACCOUNT}) NOT VALID",
    "sqlite": f"""CREATE TRIGGER no BEFORE INSERT ON _pull_connections
        WHEN NEW.account_id = {ACCOUNT} BEGIN SELECT RAISE(ABORT, 'no'); END""",
}
