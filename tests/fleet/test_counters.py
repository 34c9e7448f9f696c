"""Stored counters equal fresh counts of the rows."""

import random
from typing import Any

import pytest
from flask import Flask
from sqlalchemy import func, select

from dashboard.context import Services
from dashboard.core.cache import SnapshotCache
from dashboard.core.database import db
from dashboard.fleet import counters
from dashboard.fleet.models import Account, Connection, ConnectionCount
from dashboard.peliqan import models
from dashboard.refresh import writer
from dashboard.refresh.writer import AccountFetch, save_readings
from tests.support.clock import Clock
from tests.support.people import Person

pytestmark = pytest.mark.both_engines


@pytest.fixture(autouse=True)
def context(app: Flask) -> Any:
    with app.app_context():
        yield


def stored_counts() -> dict[tuple[str, ...], int]:
    rows = db.session.execute(
        select(ConnectionCount).where(ConnectionCount.connections != 0)
    ).scalars()
    return {(row.severity, row.status, row.connector): row.connections for row in rows}


def counted() -> dict[tuple[str, ...], int]:
    kind = (Connection.severity, Connection.status, Connection.connector)
    rows = db.session.execute(select(*kind, func.count()).where(*counters.LISTED).group_by(*kind))
    return {tuple(values): count for *values, count in rows}


def check_accounts() -> None:
    db.session.expire_all()
    of_account = select(Connection.account_id, Connection.severity, func.count()).where(
        *counters.LISTED
    )
    found: dict[int, dict[str, int]] = {}
    for account_id, severity, count in db.session.execute(
        of_account.group_by(Connection.account_id, Connection.severity)
    ):
        found.setdefault(account_id, {})[severity] = count
    for account in db.session.scalars(select(Account).where(Account.gone_at.is_(None))):
        assert account.by_severity == found.get(account.id, {}), account.id
        assert account.connections_count == sum(found.get(account.id, {}).values())


@pytest.mark.parametrize("seed", range(5))
def test_counts_stay_true_through_any_readings(services: Services, clock: Clock, seed: int) -> None:
    """Change statuses; add, omit, remove and restore connections."""
    chance = random.Random(seed)
    for _ in range(12):
        readings = []
        for account_id in chance.sample(range(1001, 1061), 8):
            seen = tuple(
                models.Connection.model_validate(
                    {
                        "id": account_id * 100 + index,
                        "name": f"Name {chance.randint(1, 3)}",
                        "server_type": chance.choice(["odoo", "netsuite"]),
                        "health_status": chance.choice(
                            ["OK", "ERROR", "CHECKING", "SOMETHING_NEW"]
                        ),
                        "is_datawarehouse": index == 0,
                    }
                )
                for index in range(6)
                if chance.random() < 0.7
            )
            readings.append(AccountFetch(account_id, clock(), clock(), seen))
        save_readings(readings, {})
        if chance.random() < 0.3:
            writer.miss_accounts(range(1001, 1001 + chance.randint(50, 60)), clock())
    assert stored_counts() == counted()
    check_accounts()
    before = stored_counts()
    counters.recount()
    assert stored_counts() == before


def test_a_filter_says_how_many_rows_it_gives(viv: Person) -> None:
    for path in ("/connections", "/accounts"):
        page = viv.get(path)
        options = [
            option
            for select in page.select("select")
            for option in select.select("option[value]")
            if option["value"]
        ]
        checked = 0
        for option in options:
            found = option.text.strip().rsplit("(", 1)
            if len(found) == 2 and found[1].rstrip(")").isdigit():
                name = option.find_parent("select")["name"]
                assert viv.json(f"{path}.json?{name}={option['value']}")["total"] == int(
                    found[1].rstrip(")")
                ), option
                checked += 1
        assert checked > 5, path


@pytest.mark.parametrize("path", ["/connections", "/accounts"])
def test_every_row_is_on_exactly_one_page_whichever_end_it_is_read_from(
    viv: Person, path: str
) -> None:
    for sort in (
        "",
        "name",
        "-name",
        "severity",
        "-severity",
        "-connections" if path == "/accounts" else "-last_success",
    ):
        first = viv.json(f"{path}.json?sort={sort}&per_page=25")
        last = -(-first["total"] // 25)
        pages = [
            viv.json(f"{path}.json?sort={sort}&per_page=25&page={number}")["items"]
            for number in range(1, last + 1)
        ]
        ids = [
            tuple(item.get(key) for key in ("account_id", "connection_id"))
            for page in pages
            for item in page
        ]
        assert len(ids) == first["total"] == len(set(ids))
        assert ids == [
            tuple(item.get(key) for key in ("account_id", "connection_id"))
            for number in range(1, -(-first["total"] // 200) + 1)
            for item in viv.json(f"{path}.json?sort={sort}&per_page=200&page={number}")["items"]
        ]


def test_a_search_finds_the_same_with_its_index_as_without(viv: Person) -> None:
    for q in (
        "amber",
        "AMBER odoo",
        "od",
        "cust-00007",
        "Größe",
        'o"m',
        "100%",
        "_x_",
        "netsuite main",
    ):
        found = viv.json(f"/connections.json?per_page=200&q={q.replace('%', '%25')}")
        words = q.lower().split()
        everything = [
            item
            for page in (1, 2)
            for item in viv.json(f"/connections.json?per_page=200&page={page}")["items"]
        ]
        expected = {
            item["connection_id"]
            for item in everything
            if all(
                any(
                    word in (item[key] or "").lower()
                    for key in ("account_name", "external_id", "name", "connector")
                )
                for word in words
            )
        }
        assert {item["connection_id"] for item in found["items"]} == expected, q
        assert found["total"] == len(expected), q


class Work:
    """A computation that takes seconds of its own clock and counts its calls."""

    def __init__(self, *seconds: float) -> None:
        self.now, self._seconds, self.times = 0.0, iter(seconds), 0

    def __call__(self) -> int:
        self.times += 1
        self.now += next(self._seconds)
        return self.times


def test_what_takes_long_to_count_is_shown_for_twenty_times_as_long_though_the_snapshot_moves_on():
    work = Work(0.3, 0.3, 0.3, 2, 2)
    stored_counts = SnapshotCache(lambda: work.now)
    assert [stored_counts.get("all", version, work) for version in (1, 1, 2)] == [1, 1, 2]
    work.now += 5.9
    assert stored_counts.get("all", 3, work) == 2
    work.now += 0.2
    assert stored_counts.get("all", 3, work) == 3
    work.now += 100
    assert [stored_counts.get("all", version, work) for version in (4, 5)] == [4, 4]
    # At most ten seconds.
    work.now += 100
    assert stored_counts.get("all", 6, work) == 5
    work.now += 9.9
    assert stored_counts.get("all", 7, work) == 5


def test_what_is_counted_quickly_or_took_long_only_once_is_always_that_of_now() -> None:
    work = Work(0.04, 5, 0.04, 0.04, 5)
    stored_counts = SnapshotCache(lambda: work.now)
    assert [stored_counts.get("all", version, work) for version in (1, 2, 3, 4, 5)] == [
        1,
        2,
        3,
        4,
        5,
    ]


def test_while_one_counts_what_takes_long_the_others_are_shown_what_was_counted_last() -> None:
    work = Work(1, 1, 1)
    stored_counts = SnapshotCache(lambda: work.now)
    for version in (1, 2):
        stored_counts.get("all", version, work)
    work.now += 60
    shown: list[int] = []

    def read_and_count() -> int:
        shown.append(stored_counts.get("all", 3, work))
        return work()

    assert stored_counts.get("all", 3, read_and_count) == 3
    assert shown == [2]
