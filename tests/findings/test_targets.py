"""Unused targets, missing targets, and targets that are still unknown."""

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
from flask import Flask
from sqlalchemy import select

from dashboard.context import Services
from dashboard.core.database import db
from dashboard.findings.models import Finding
from dashboard.fleet import queries
from dashboard.peliqan import models
from dashboard.refresh import live, writer
from dashboard.refresh.writer import AccountFetch, save_readings
from tests.support.clock import Clock
from tests.support.sandbox import Sandbox

pytestmark = pytest.mark.both_engines


ACCOUNT = 900_001
WAREHOUSE = {"id": 1, "is_datawarehouse": True, "is_target": True, "health_status": "OK"}
TARGET = {
    "id": 2,
    "is_target": True,
    "server_type": "postgresql",
    "health_status": "OK",
    "name": "Reports",
}
SOURCE = {
    "id": 3,
    "server_type": "xero",
    "health_status": "OK",
    "run_interval": 3600,
    "target": 1,
    "name": "Books",
}


@pytest.fixture(autouse=True)
def context(app: Flask) -> Iterator[None]:
    with app.app_context():
        yield


def read(clock: Clock, *fields: dict[str, Any]) -> dict[int, str]:
    """Store a complete listing of the account; return rules by connection, without runs."""
    at = clock()
    writer.save_accounts([models.Account(id=ACCOUNT, name="Made up")], at)
    connections = [models.Connection(**each) for each in fields]
    run = models.Run(
        id=9,
        status="COMPLETED",
        started_at=at - timedelta(minutes=9),
        ended_at=at - timedelta(minutes=8),
    )
    runs = {each.id: (run,) for each in connections if not each.is_target}
    save_readings([AccountFetch(ACCOUNT, at, at + timedelta(days=1), connections, runs)], {})
    found = db.session.scalars(
        select(Finding).where(Finding.account_id == ACCOUNT, Finding.recovered_at.is_(None))
    )
    return {each.connection_id or 0: each.rule for each in found}


def test_a_target_is_found_while_all_sources_load_elsewhere_and_until_one_loads_into_it(
    clock: Clock,
) -> None:
    assert read(clock, WAREHOUSE, TARGET, SOURCE) == {2: "unused_target"}
    more = {**SOURCE, "id": 4, "name": "More", "target": 2}
    assert read(clock, WAREHOUSE, TARGET, SOURCE, more) == {}
    # One listing may omit a connection by mistake; after the second it is removed.
    assert read(clock, WAREHOUSE, TARGET, SOURCE) == {}
    assert read(clock, WAREHOUSE, TARGET, SOURCE) == {2: "unused_target"}


@pytest.mark.parametrize(
    ("why", "fields"),
    [
        ("there is no source yet", [WAREHOUSE, TARGET]),
        ("nothing says where sources load to", [WAREHOUSE, TARGET, {**SOURCE, "target": None}]),
        ("it is switched off", [WAREHOUSE, {**TARGET, "health_status": "DISABLED"}, SOURCE]),
        ("it is the default warehouse", [WAREHOUSE, TARGET, {**SOURCE, "target": 2}]),
        (
            "a source that is switched off loads into it",
            [
                WAREHOUSE,
                TARGET,
                SOURCE,
                {**SOURCE, "id": 4, "name": "More", "target": 2, "disable_scheduler": True},
            ],
        ),
        (
            "a target loads into it",
            [
                WAREHOUSE,
                TARGET,
                SOURCE,
                {**TARGET, "id": 5, "target": 2},
                {**SOURCE, "id": 6, "target": 5, "name": "x"},
            ],
        ),
    ],
)
def test_where_nothing_is_to_be_said(clock: Clock, why: str, fields: list[dict[str, Any]]) -> None:
    assert "unused_target" not in read(clock, *fields).values()


def test_before_all_connections_were_listed_nothing_is_called_unused_or_missing(
    services: Services, clock: Clock, sandbox: Sandbox
) -> None:
    account = sandbox.life.provision("brand-new", "Brand new")
    connection = sandbox.life.add_connection(account.id, "xero", "Books")
    writer.save_accounts([models.Account(id=account.id, name="Brand new")], clock())
    live.read_connection(services.api, account.id, connection.id, clock())
    row = queries.connection_or_none(account.id, connection.id)
    assert row is not None
    assert row.target_id is not None
    found = db.session.scalars(select(Finding.rule).where(Finding.account_id == account.id)).all()
    assert "orphan_target" not in found
    save_readings(
        [
            AccountFetch(
                account.id,
                clock(),
                clock() + timedelta(days=1),
                [services.api.for_account(account.id).connection(connection.id)],
            )
        ],
        {},
    )
    found = db.session.scalars(
        select(Finding.rule).where(Finding.account_id == account.id, Finding.recovered_at.is_(None))
    ).all()
    assert "orphan_target" in found
