"""Migrations in sequence: stored rows stay, and the previous version still works."""

import warnings
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from flask import Flask

from dashboard.app import create_app
from dashboard.cli.common import upgrade_schema
from dashboard.core import schema
from dashboard.core.database import db
from dashboard.fleet import counters
from dashboard.fleet.lists import ACCOUNTS, CONNECTIONS
from dashboard.users import service as users
from tests.support.databases import Servers
from tests.support.settings import make_settings

pytestmark = pytest.mark.both_engines


VERSIONS = sorted(
    path.name.partition("_")[0] for path in (schema.MIGRATIONS / "versions").glob("[0-9]*.py")
)
# Migrations up to this one are older than the rule that migrations only add.
BEFORE_THE_RULE = "0008"
AT = "2026-01-02 03:04:05+00:00"


@pytest.fixture
def empty(engine: str, request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Flask]:
    """Give a console without a schema."""
    url = ""
    if engine == "servers":
        servers: Servers = request.getfixturevalue("servers")
        url = servers.postgresql.create("from_the_first")
    made = create_app(make_settings("http://127.0.0.1:1", tmp_path, database_url=url))
    with made.app_context():
        yield made
        db.session.remove()
        db.engine.dispose()
    if engine == "servers":
        servers.postgresql.drop("from_the_first")


def tables() -> dict[str, sa.Table]:
    found = sa.MetaData()
    with warnings.catch_warnings():
        # Reflection skips indexes over expressions; this test does not need them.
        warnings.simplefilter("ignore", sa.exc.SAWarning)
        found.reflect(db.engine, only=lambda name, _: not name.startswith("account_search"))
    return {name: table for name, table in found.tables.items() if name != "alembic_version"}


def put_in(table: sa.Table, connection: sa.Connection) -> None:
    """Insert a row with a value in each required column, whatever its name."""
    values: dict[str, Any] = {}
    for column in table.columns:
        if column.nullable or column.server_default is not None:
            continue
        kind = column.type
        if isinstance(kind, sa.DateTime):
            values[column.name] = sa.text(f"'{AT}'")
        elif isinstance(kind, sa.Boolean):
            values[column.name] = False
        elif isinstance(kind, (sa.Integer, sa.Float, sa.Numeric)):
            values[column.name] = 1
        elif isinstance(kind, sa.LargeBinary):
            values[column.name] = b"1"
        elif isinstance(kind, sa.JSON):
            values[column.name] = sa.text("'{}'")
        else:
            values[column.name] = "ok" if "severity" in column.name else "1"
    connection.execute(sa.insert(table).values(values))


def fill(found: dict[str, sa.Table], names: set[str]) -> None:
    """Insert a row into each of these tables that is empty, parents first."""
    with db.engine.begin() as connection:
        for table in next(iter(found.values())).metadata.sorted_tables:
            if table.name in names and not connection.scalar(
                sa.select(sa.func.count()).select_from(table)
            ):
                put_in(table, connection)


def check(version: str, before: dict[str, sa.Table], after: dict[str, sa.Table]) -> None:
    """Check that the previous version can still read and write all its columns."""
    with db.engine.connect() as reader:
        for name, table in before.items():
            if name not in after:
                assert version <= BEFORE_THE_RULE, f"{version} takes the table {name} away"
                continue
            columns = after[name].columns
            queried = [columns[column.name] for column in table.columns if column.name in columns]
            assert reader.execute(sa.select(*queried)).all(), f"{version} takes rows of {name} away"
            if version > BEFORE_THE_RULE:
                removed = [column.name for column in table.columns if column.name not in columns]
                new = [column for column in columns if column.name not in table.columns]
                needed = [
                    column.name
                    for column in new
                    if not column.nullable and column.server_default is None
                ]
                assert not removed, (
                    f"{version} takes away {removed} of {name}, which the version before reads"
                )
                assert not needed, (
                    f"{version} wants {needed} in {name}, which the version before does not write"
                )


def test_from_the_first_to_the_last_rows_stay_and_the_version_before_can_read_and_write(
    empty: Flask,
) -> None:
    schema.upgrade(VERSIONS[0])
    before = tables()
    fill(before, set(before))
    for version in VERSIONS[1:]:
        schema.upgrade(version)
        assert schema.current_version() == version
        after = tables()
        check(version, before, after)
        fill(after, after.keys() - before.keys())
        before = after
    assert not schema.needs_upgrade()


def test_all_at_once_gives_what_the_models_say(empty: Flask) -> None:
    schema.upgrade()
    reflected = tables()
    for name, table in db.metadata.tables.items():
        assert {column.name for column in table.columns} == {
            column.name for column in reflected[name].columns
        }, name


def add_account(number: int, name: str) -> None:
    """Insert an account with a connection, as version 0014 writes them."""
    reflected = tables()
    with db.engine.begin() as connection:
        at = sa.text(f"'{AT}'")
        new: dict[str, dict[str, Any]] = {
            "account": {
                "id": number,
                "name": name,
                "external_id": f"cust-{name}",
                "first_seen_at": at,
                "by_severity": sa.text("'{}'"),
                "connections_count": 1,
                "severity_rank": 0,
                "search": f"{name} cust-{name} odoo".lower(),
            },
            "account_check": {"account_id": number},
            "connection": {
                "account_id": number,
                "id": 1,
                "name": f"c{name}",
                "connector": "odoo",
                "status": "ERROR",
                "severity": "error",
                "severity_rank": 0,
                "status_since": at,
                "is_warehouse": False,
                "is_target": False,
                "scheduler_off": False,
                "running": False,
                "first_seen_at": at,
                "looked_at": at,
                "always_loaded": False,
            },
            "connection_count": {
                "severity": "error",
                "status": "ERROR",
                "connector": f"odoo{number}",
                "connections": 1,
            },
        }
        for table, values in new.items():
            connection.execute(sa.insert(reflected[table]).values(values))


def accounts_found(listing: Any, q: str) -> list[int]:
    rows = listing.page(listing.read({"q": q})).items
    return sorted({getattr(row, "account_id", None) or row.id for row in rows})


def test_names_that_the_version_before_wrote_are_found_in_any_spelling(empty: Flask) -> None:
    """Covers names written before the upgrade, and by version 0014 on the new schema."""
    schema.upgrade("0014")
    names = {1: "E\u0301cole", 2: "РОМАШКА", 3: "Straße", 4: "\u212bngström"}
    for number, name in names.items():
        add_account(number, name)
    upgrade_schema(empty)
    for number, spelling in {1: "ÉCOLE", 2: "ромашка", 3: "STRASSE", 4: "ångström"}.items():
        for listing in (ACCOUNTS, CONNECTIONS):
            assert accounts_found(listing, spelling) == [number]
            assert accounts_found(listing, f"cust-{spelling}") == [number]
        assert accounts_found(CONNECTIONS, f"c{spelling}") == [number]
    add_account(5, "Ørsted")
    with db.engine.begin() as connection:
        connection.execute(
            sa.text("UPDATE account SET name = 'Ａｃｍｅ', search = 'ａｃｍｅ odoo' WHERE id = 1")
        )
    assert counters.repair_texts() > 0
    for number, spelling in {1: "ACME", 5: "ØRSTED"}.items():
        for listing in (ACCOUNTS, CONNECTIONS):
            assert accounts_found(listing, spelling) == [number]
    assert counters.repair_texts() == 0
    assert accounts_found(ACCOUNTS, "cust-ÉCOLE") == [1]


def test_a_person_whom_the_version_before_knows_stays_the_same_person(empty: Flask) -> None:
    schema.upgrade("0014")
    user_table = tables()["user"]
    with db.engine.begin() as connection:
        for number, email in enumerate(
            ("jan.straße@example.com", "jan.strasse@example.com", "zoé@bücher.example"), 1
        ):
            values = {
                "id": number,
                "email": email,
                "role": "viewer",
                "password_hash": "",
                "created_at": sa.text(f"'{AT}'"),
            }
            connection.execute(sa.insert(user_table).values(values))
    upgrade_schema(empty)
    spellings = {
        "Jan.Straße@Example.com": 1,
        "JAN.STRASSE@example.com": 2,
        "ZOE\u0301@xn--bcher-kva.example": 3,
    }
    assert {
        spelling: found.id for spelling in spellings if (found := users.find_user(spelling))
    } == spellings


@pytest.mark.parametrize("engine", ["servers"], indirect=True)
def test_a_migration_that_somebody_stands_in_the_way_of_gives_up_and_changes_nothing(
    empty: Flask,
) -> None:
    schema.upgrade(VERSIONS[0])
    with db.engine.connect() as holding:
        holding.execute(sa.text("LOCK TABLE account IN ACCESS SHARE MODE"))
        with pytest.raises(sa.exc.OperationalError, match="lock timeout"):
            schema.upgrade(VERSIONS[1], patience="200ms")
    assert schema.current_version() == VERSIONS[0]
    schema.upgrade(VERSIONS[1])


def insert_connection(
    writer: sa.Connection, table: sa.Table, account_id: int, connection_id: int, success: Any
) -> None:
    """Insert a connection with this time of its last success, as version 0015 stored it."""
    at = datetime(2026, 1, 1, 3, 4, 5, tzinfo=UTC)
    texts = {"name": "", "connector": "", "status": "OK", "severity": "ok"}
    flags = dict.fromkeys(
        ("is_warehouse", "is_target", "scheduler_off", "running", "always_loaded"), False
    )
    values = {
        "account_id": account_id,
        "id": connection_id,
        "last_success_at": success,
        "severity_rank": 5,
        "status_since": at,
        "first_seen_at": at,
        "looked_at": at,
    }
    writer.execute(sa.insert(table).values({**values, **texts, **flags}))


def test_kept_partial_runs_become_the_last_success_and_no_other_does(empty: Flask) -> None:
    schema.upgrade(VERSIONS[VERSIONS.index("0016") - 1])
    stored = tables()
    account, connection, run = stored["account"], stored["connection"], stored["run"]
    day = [datetime(2026, 1, number, 3, 4, 5, tzinfo=UTC) for number in range(1, 5)]
    runs: dict[int, list[tuple[str, Any, Any]]] = {
        1: [
            ("COMPLETED", day[0], day[0]),
            ("COMPLETED_WITH_ERRORS", day[1], day[1]),
            ("ERROR", day[3], day[3]),
        ],
        2: [("completed_with_errors", day[2], None), ("COMPLETED_WITH_ERRORS", day[1], day[1])],
        3: [
            ("ERROR", day[3], day[3]),
            ("INTERNAL_ERROR", day[3], day[3]),
            ("RUNNING", day[3], None),
        ],
        4: [("COMPLETED_WITH_ERRORS", None, None)],
        5: [("COMPLETED_WITH_ERRORS", day[0], day[0])],
    }
    before = {1: day[0], 2: None, 3: day[0], 4: day[0], 5: day[3]}
    fill(stored, {"account"})
    with db.engine.begin() as writer:
        account_id: int = writer.execute(sa.select(account.c.id)).scalar_one()
        for number, ended in runs.items():
            insert_connection(writer, connection, account_id, number, before[number])
            for index, (status, started_at, ended_at) in enumerate(ended):
                values = {
                    "account_id": account_id,
                    "connection_id": number,
                    "id": 10 * number + index,
                    "status": status,
                    "started_at": started_at,
                    "ended_at": ended_at,
                    "tables": [],
                    "error": "",
                }
                writer.execute(sa.insert(run).values(values))
    schema.upgrade("0016")
    with db.engine.connect() as reader:
        after = dict(reader.execute(sa.select(connection.c.id, connection.c.last_success_at)).all())
    assert {id: at and at.replace(tzinfo=UTC) for id, at in after.items()} == {
        1: day[1],
        2: day[2],
        3: day[0],
        4: day[0],
        5: day[3],
    }
