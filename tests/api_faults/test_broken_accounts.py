"""Broken accounts at a working API: a refresh reads all others and reports each broken one.

And the reverse: an API that is down is noticed at once, whatever the fault.
"""

import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from flask import Flask
from sqlalchemy import func, select

from dashboard import peliqan
from dashboard.app import create_app
from dashboard.cli.common import close_store, upgrade_schema
from dashboard.context import Services
from dashboard.core.database import db
from dashboard.fleet.models import Account
from dashboard.refresh.models import ApiOutage
from dashboard.refresh.service import Result, refresh_fleet
from dashboard.tables.reader import TableReading
from tests.support.databases import wait_for
from tests.support.many_accounts import WAYS, ManyAccounts, many_accounts
from tests.support.settings import make_settings

ACCOUNTS = 40
# The positions of the broken accounts: a refresh may read all of them first or last.
SHARES: dict[str, Callable[[list[int]], list[int]]] = {
    "one": lambda ids: ids[20:21],
    "six": lambda ids: ids[-6:],
    "the first six": lambda ids: ids[:6],
    "a tenth": lambda ids: ids[::10],
    "half": lambda ids: ids[::2],
    "the first half": lambda ids: ids[: len(ids) // 2],
}
# Faults, shares and calls in flight. 500 and 503 are handled like 502.
CASES = [
    *((way, share, 8) for way in ("502", "reset") for share in SHARES),
    *(
        (way, share, calls)
        for way in ("502", "reset")
        for share in ("six", "the first half")
        for calls in (1, 32)
    ),
    *((way, "half", calls) for way in ("500", "503") for calls in (1, 8, 32)),
]
QUICK = 0.5

OpenConsole = Callable[..., Flask]


@pytest.fixture
def open_console(tmp_path: Path) -> Iterator[OpenConsole]:
    """A console over an API, with an empty store."""
    opened: list[Flask] = []

    def make(url: str, **settings: object) -> Flask:
        app = create_app(
            make_settings(url, tmp_path, **{"dashboard_api_timeout": QUICK, **settings}),
            backoff=0.0,
        )
        upgrade_schema(app)
        opened.append(app)
        return app

    yield make
    for app in opened:
        close_store(app)


def read(app: Flask) -> Result:
    services: Services = app.extensions["services"]
    with app.app_context():
        return refresh_fleet(services)


def outages(app: Flask) -> int:
    """Return the number of outages, current or past."""
    with app.app_context():
        started = ApiOutage.since.is_not(None) | ApiOutage.ended_at.is_not(None)
        return db.session.scalar(select(func.count()).select_from(ApiOutage).where(started)) or 0


def check_pass(server: ManyAccounts, app: Flask, broken: list[int], *, passes: int) -> None:
    for _ in range(passes):
        result = read(app)
        assert (result.error, result.accounts, sorted(result.unreadable)) == (
            None,
            ACCOUNTS,
            broken,
        )
        assert outages(app) == 0
    server.broken = {}
    assert read(app) == Result(ACCOUNTS, {}, None)


@pytest.mark.parametrize(("way", "share", "concurrency"), CASES)
def test_broken_accounts_are_unreadable_and_all_others_are_read(
    open_console: OpenConsole, way: str, share: str, concurrency: int
) -> None:
    with many_accounts(ACCOUNTS) as server:
        broken = SHARES[share](server.ids)
        server.broken = dict.fromkeys(broken, way)
        passes = 2 if share == "six" else 1
        check_pass(
            server,
            open_console(server.url, dashboard_api_concurrency=concurrency),
            broken,
            passes=passes,
        )


@pytest.mark.parametrize("concurrency", [1, 8, 32])
@pytest.mark.parametrize("share", ["one", "six", "half"])
def test_accounts_that_hang_are_unreadable_and_all_others_are_read(
    open_console: OpenConsole, share: str, concurrency: int
) -> None:
    if (share, concurrency) == ("half", 1):
        share = "a tenth"
    with many_accounts(ACCOUNTS) as server:
        broken = SHARES[share](server.ids)
        server.broken = dict.fromkeys(broken, "hangs")
        check_pass(
            server,
            open_console(server.url, dashboard_api_concurrency=concurrency),
            broken,
            passes=1,
        )


@pytest.mark.parametrize("route", ["identity", "servers", "runs"])
@pytest.mark.parametrize("way", ["502", "reset", "hangs"])
def test_whichever_route_of_theirs_is_broken(
    open_console: OpenConsole, way: str, route: str
) -> None:
    with many_accounts(ACCOUNTS) as server:
        broken = SHARES["six"](server.ids)
        server.broken, server.on = dict.fromkeys(broken, way), {route}
        check_pass(server, open_console(server.url, dashboard_api_concurrency=8), broken, passes=1)


@pytest.mark.parametrize("way", ["502", "reset", "hangs"])
def test_the_same_of_a_slow_api(open_console: OpenConsole, way: str) -> None:
    with many_accounts(ACCOUNTS, seconds=0.3) as server:
        broken = SHARES["six"](server.ids)
        server.broken = dict.fromkeys(broken, way)
        app = open_console(server.url, dashboard_api_concurrency=32, dashboard_api_timeout=1.5)
        result = read(app)
        assert (result.error, sorted(result.unreadable)) == (None, broken)
        assert outages(app) == 0


def test_a_list_of_accounts_with_a_broken_page_leaves_the_known_accounts_readable(
    open_console: OpenConsole,
) -> None:
    with many_accounts(ACCOUNTS) as server:
        app = open_console(server.url)
        assert read(app).error is None
        server.broken, server.on = {0: "502"}, {"sub_accounts"}
        before = server.calls["servers"]
        result = read(app)
        assert result.error is not None
        assert f"could not be read to its end; {ACCOUNTS} known accounts were read." in result.error
        assert server.calls["servers"] - before >= ACCOUNTS
        assert result.unreadable == {}
        assert outages(app) == 0


@pytest.mark.parametrize(("concurrency", "broken"), [(1, 0), (8, 6), (32, 0)])
@pytest.mark.parametrize("way", WAYS)
def test_an_api_that_is_down_is_noticed_within_ten_seconds_and_nothing_is_said_of_accounts(
    open_console: OpenConsole, way: str, concurrency: int, broken: int
) -> None:
    with many_accounts(ACCOUNTS, seconds=0.01) as server:
        app = open_console(server.url, dashboard_api_concurrency=concurrency)
        assert read(app).error is None
        ids = server.ids[:broken]
        server.broken = dict.fromkeys(ids, "502")
        # The outage is noticed within the refresh, however short it is.
        server.down, server.down_from = way, server.calls["servers"] + ACCOUNTS // 2
        passing = threading.Thread(target=read, args=(app,))
        passing.start()
        wait_for(lambda: server.calls["servers"] >= server.down_from, "the refresh is under way")
        started_at = time.monotonic()
        wait_for(lambda: outages(app) == 1, "the outage is noticed", within=10)
        assert time.monotonic() - started_at < 10
        passing.join(20)
        with app.app_context():
            unreadable = set(
                db.session.scalars(select(Account.id).where(Account.unreadable_reason.is_not(None)))
            )
        assert unreadable <= set(ids)
        server.down, server.broken = None, {}
        assert read(app) == Result(ACCOUNTS, {}, None)


@pytest.mark.parametrize("seconds", [0.25, 0.8])
def test_pages_asked_ahead_of_a_slow_server_are_all_read_and_it_is_not_taken_for_dead(
    open_console: OpenConsole, seconds: float
) -> None:
    with many_accounts(3, workers=2, seconds=seconds, rows=1500) as server:
        app = open_console(server.url, dashboard_api_concurrency=16, dashboard_api_timeout=1)
        services: Services = app.extensions["services"]
        with app.app_context():
            reading = TableReading(services.api.for_account(1), 700, {})
            rows = [row["id"] for page in reading.pages() for row in page]
        assert rows == list(range(1, 1501))
        assert reading.progress.remarks == []
        assert outages(app) == 0


def test_a_page_that_never_comes_ends_the_reading_with_its_time_out(
    open_console: OpenConsole,
) -> None:
    with many_accounts(3, rows=3900) as server:
        app = open_console(server.url)
        services: Services = app.extensions["services"]
        server.broken, server.on = {1: "hangs"}, {"rows"}
        with app.app_context(), pytest.raises(peliqan.TimedOut):
            list(TableReading(services.api.for_account(1), 700, {}).pages())
        assert outages(app) == 0
