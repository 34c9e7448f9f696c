"""Each scenario of the sandbox produces exactly its own causes."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from sqlalchemy import select
from werkzeug.serving import make_server

from dashboard.app import create_app
from dashboard.cli.common import upgrade_schema
from dashboard.core.database import db
from dashboard.findings.models import Cause, Finding
from dashboard.fleet.models import Connection
from dashboard.refresh.service import refresh_fleet
from dashboard.sandbox.app import create_sandbox
from dashboard.sandbox.scenarios import SCENARIOS
from dashboard.tables.data_checks import jobs as data_check_jobs
from dashboard.tables.health import freshness
from tests.support.settings import make_settings

ACCOUNTS = 120
NOON = datetime(2026, 11, 24, 12, 20, tzinfo=UTC)
# The number of affected connections: all of the connector, every second one, or a number.
ALL, HALF = "all", "half"
EXPECTED: dict[str, dict[tuple[str, str], str | int]] = {
    "quiet-night": {},
    "expired-token-at-one-connector": {("auth_failed", "exact_online"): HALF},
    "platform-outage": {("dark", "xero"): ALL},
    "stuck-runs": {("stuck_run", "odoo"): 6},
    "bank-consents-expire": {
        ("auth_failed", "saltedge_kbc"): ALL,
        ("consent_expiring", "SaltEdge_ING"): ALL,
    },
    "schema-change": {("failing", "odoo"): 7},
    "loaded-nothing": {("loaded_nothing", "shopify"): ALL},
    "switched-off": {
        ("disabled", "teamleader"): 3,
        ("scheduler_off", "hubspot"): 3,
        ("self_disabled", "yuki"): 4,
    },
    "unreadable-accounts": {("account_unreadable", ""): 5},
    "half-configured": {
        ("config_needed", "teamleader"): 4,
        ("never_ran", "woocommerce"): 3,
        ("duplicate_connection", "exact_online"): 2,
        ("orphan_target", "hubspot"): 2,
    },
    "new-words": {("status_unknown", "yuki"): 3},
    "two-errors-at-one-connector": {
        ("partial_errors", "teamleader"): 6,
        ("auth_failed", "teamleader"): 4,
    },
    "late-runs": {("late", "yuki"): 5},
    "noisy": {("noisy", "xero"): 4},
    # Only a freshness check finds it.
    "stale-rows": {},
    # Only table checks before and after it find it.
    "rows-dropped": {},
    # Peliqan's runner is one cause over all connectors.
    "runner-crashes": {("runner_failed", ""): 5, ("failing", "woocommerce"): 3},
    "unused-target": {("unused_target", "postgresql"): 2},
    "other-names": {},
    # Only a check of the data finds it.
    "wrong-data": {},
    "connected-anew": {
        ("never_ran", "exact_online"): 3,
        ("duplicate_connection", "exact_online"): 3,
    },
    "incident-night": {
        ("auth_failed", "exact_online"): HALF,
        ("dark", "xero"): ALL,
        ("stuck_run", "odoo"): 6,
        ("auth_failed", "saltedge_kbc"): ALL,
        ("consent_expiring", "SaltEdge_ING"): ALL,
        ("partial_errors", "teamleader"): 6,
        ("auth_failed", "teamleader"): 4,
    },
}


@contextmanager
def served(app: Flask) -> Iterator[str]:
    server = make_server("127.0.0.1", 0, app, threaded=True)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join(5)


@contextmanager
def read_once(sandbox: Flask, folder: Path) -> Iterator[Any]:
    """Yield a console that has read a sandbox's fleet once."""
    with served(sandbox) as url:
        app = create_app(make_settings(url, folder), clock=lambda: NOON)
        upgrade_schema(app)
        with app.app_context():
            parts = app.extensions["services"]
            refresh_fleet(parts)
            yield parts
            db.session.remove()
            db.engine.dispose()


def test_every_scenario_has_its_expected_causes_here() -> None:
    assert set(EXPECTED) == set(SCENARIOS)


@pytest.mark.parametrize("scenario", EXPECTED)
def test_a_scenario_gives_exactly_its_causes(scenario: str, tmp_path: Path) -> None:
    sandbox = create_sandbox(ACCOUNTS, scenario=scenario, clock=lambda: NOON)
    life = sandbox.extensions["sandbox"].life
    of_connector: dict[str, int] = {}
    for account in life.accounts(0, ACCOUNTS):
        for each in life.connections(account.id):
            of_connector[each.connector.name] = of_connector.get(each.connector.name, 0) + 1
    wanted = {}
    for (rule, connector), how_many in EXPECTED[scenario].items():
        whole = of_connector.get(connector, 0)
        wanted[rule, connector] = (
            how_many if isinstance(how_many, int) else whole if how_many == ALL else -(-whole // 2)
        )
    with read_once(sandbox, tmp_path):
        found = db.session.scalars(select(Cause).where(Cause.state != "recovered")).all()
        causes = {(each.rule, each.connector): each.connections or each.accounts for each in found}
        assert len(found) == len(causes), "one cause was split into two"
        assert causes == wanted
        assert {each.platform for each in found if each.rule == "dark"} <= {True}
        assert (
            db.session.scalars(select(Finding).where(Finding.recovered_at.is_not(None))).all() == []
        )


def test_who_looks_at_the_rows_finds_those_that_are_older_than_the_last_run(tmp_path: Path) -> None:
    sandbox = create_sandbox(ACCOUNTS, scenario="stale-rows", clock=lambda: NOON)
    life = sandbox.extensions["sandbox"].life
    yuki = [
        each
        for account in life.accounts(0, ACCOUNTS)
        for each in life.connections(account.id)
        if each.connector.name == "yuki"
    ]
    losing = [each for each in yuki if each.fate.rows_until]
    well = next(each for each in yuki if not each.fate.rows_until)
    assert len(losing) == 3
    with read_once(sandbox, tmp_path) as parts:
        for each in (*losing, well):
            row = db.session.get_one(Connection, (each.account_id, each.id))
            assert (row.status, bool(row.last_records)) == ("OK", True)
            freshness.check_freshness(parts.api, row, NOON)
        [cause] = db.session.scalars(select(Cause))
        assert (cause.rule, cause.connector, cause.connections, cause.accounts) == (
            "stale_rows",
            "yuki",
            3,
            3,
        )
        found = db.session.scalars(select(Finding)).all()
        assert {each.connection_id for each in found} == {each.id for each in losing}
        assert all(each.contradicts for each in found)


def test_who_checks_the_data_finds_each_fault_of_it_and_no_other(tmp_path: Path) -> None:
    sandbox = create_sandbox(ACCOUNTS, scenario="wrong-data", clock=lambda: NOON)
    life = sandbox.extensions["sandbox"].life
    connections = [
        each for account in life.accounts(0, ACCOUNTS) for each in life.connections(account.id)
    ]
    faulty = [each for each in connections if each.fate.data_fault]
    assert len(faulty) == 18
    well = next(each for each in connections if not each.fate.data_fault)
    looks_like_it = ("versions_retired", "parent_has_rows")
    with read_once(sandbox, tmp_path) as parts:
        for each in (*faulty, well):
            data_check_jobs.check(
                parts.api, db.session.get_one(Connection, (each.account_id, each.id)), NOON
            )
        found = {(each.connection_id, each.rule) for each in db.session.scalars(select(Finding))}
        assert found == {
            (each.id, each.fate.data_fault)
            for each in faulty
            if each.fate.data_fault not in looks_like_it
        }
        causes = {each.rule: each.connections for each in db.session.scalars(select(Cause))}
        assert causes == dict.fromkeys(
            ("duplicate_keys", "mixed_versions", "table_stale", "parent_table_empty"), 3
        )


def test_who_looks_at_the_rows_before_and_after_finds_the_tables_that_lost_some(
    tmp_path: Path,
) -> None:
    now = [NOON]
    sandbox = create_sandbox(ACCOUNTS, scenario="rows-dropped", clock=lambda: now[0])
    life = sandbox.extensions["sandbox"].life
    yuki = [
        each
        for account in life.accounts(0, ACCOUNTS)
        for each in life.connections(account.id)
        if each.connector.name == "yuki"
    ]
    losing = [each for each in yuki if each.fate.shrinks_at]
    well = next(each for each in yuki if not each.fate.shrinks_at)
    assert len(losing) == 3
    with read_once(sandbox, tmp_path) as parts:
        for minutes, expected in ((0, set()), (9, set()), (20, {each.id for each in losing})):
            now[0] = NOON + timedelta(minutes=minutes)
            for each in (*losing, well):
                freshness.check_freshness(
                    parts.api, db.session.get_one(Connection, (each.account_id, each.id)), now[0]
                )
            found = db.session.scalars(select(Finding).where(Finding.rule == "rows_dropped")).all()
            assert {each.connection_id for each in found} == expected
        [cause] = db.session.scalars(select(Cause))
        assert (cause.rule, cause.connector, cause.connections) == ("rows_dropped", "yuki", 3)
        assert all("40 % fewer" in each.evidence or "41 % fewer" in each.evidence for each in found)
