"""Three customers with small tables, one of which a test controls; and a pull of all."""

import re
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, NamedTuple

import psycopg
from sqlalchemy import event
from sqlalchemy.engine import Engine

from dashboard.pulls.manifest import Copied
from tests.support.sample_tables import ACCOUNT, TABLE

if TYPE_CHECKING:
    from tests.support.pulled_copies import Copies

CUSTOMERS = (ACCOUNT, 1002, 1003)
SECRET = "secret-cell-value"
RAISES = """CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN RAISE EXCEPTION 'no: %', NEW."Name"
        USING ERRCODE = '{code}', DETAIL = NEW."Name"; END $$"""
TRIGGER = "CREATE TRIGGER refuse BEFORE INSERT ON {t} FOR EACH ROW EXECUTE FUNCTION refuse()"


def others() -> set[int]:
    """Return the ids of all tables but the refused one."""
    return {(each * 10 + 1) * 1000 + 900 + number for each in CUSTOMERS for number in range(2)}


class Step(NamedTuple):
    """The result of one pull of all customers."""

    code: int
    failures: list[tuple[int, str, str]]
    copied: dict[int, Copied]
    stopped: str | None


Pulls = Callable[..., Step]


def check_refused_alone(found: Step, expected: str) -> None:
    """Check that only the test's own table failed, for this reason."""
    assert found.stopped is None
    ((account_id, table, reason),) = found.failures
    assert (account_id, table) == (ACCOUNT, "Own table")
    assert re.search(expected, reason), reason
    assert set(found.copied) == others()
    assert {each.rows for each in found.copied.values()} == {3}
    assert found.code == 1


def check_all_copied(found: Step) -> None:
    assert (found.code, found.failures, found.stopped) == (0, [], None)
    assert set(found.copied) == {TABLE, *others()}


def run(*statements: str) -> "Callable[[Copies, str], None]":
    """Return a function that runs SQL on the copies; ``{t}`` is the copy of the own table."""

    def spoil(copies: "Copies", target: str) -> None:
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


@contextmanager
def limited(limit: Callable[[sqlite3.Connection], object]) -> Iterator[None]:
    """Limit each connection to a copies.db."""

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
