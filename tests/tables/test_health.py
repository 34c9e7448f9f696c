"""Table checks: monitored tables, daily counts and lost rows; on both databases."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest
from flask import Flask
from sqlalchemy import select

from dashboard.core.database import db
from dashboard.findings.models import Finding
from dashboard.fleet.models import Connection
from dashboard.tables.health import service as table_checks

pytestmark = pytest.mark.both_engines


AT = datetime(2026, 3, 2, 12, tzinfo=UTC)
TABLE = 77


@pytest.fixture(autouse=True)
def context(app: Flask) -> Iterator[None]:
    with app.app_context():
        yield


@pytest.fixture
def connection() -> Connection:
    well = select(Connection).where(Connection.severity == "ok", Connection.is_warehouse.is_(False))
    found = db.session.scalars(
        well.where(Connection.is_target.is_(False), Connection.gone_at.is_(None))
    ).first()
    assert found is not None
    return found


def see(connection: Connection, rows: int, **later: float) -> list[str]:
    """Check the table, and return the findings on it."""
    account_id, connection_id = connection.account_id, connection.id
    table_checks.write(
        account_id,
        [table_checks.TableStats(TABLE, "orders", connection_id, rows)],
        AT + timedelta(**later),
    )
    return evidence_of(account_id, connection_id)


def evidence_of(account_id: int, connection_id: int) -> list[str]:
    mine = select(Finding.evidence).where(
        Finding.account_id == account_id, Finding.connection_id == connection_id
    )
    return list(
        db.session.scalars(
            mine.where(Finding.rule == "rows_dropped", Finding.recovered_at.is_(None))
        )
    )


def test_a_third_of_the_rows_gone_within_a_week_is_a_finding_until_they_are_back(
    connection: Connection,
) -> None:
    assert see(connection, 12_400) == []
    assert see(connection, 8_680, days=1) == [], "exactly 30 % fewer is not more than 30 %"
    [evidence] = see(connection, 8_200, days=2)
    assert evidence == "“orders”: 8,200 rows on 04 March, 12,400 on 02 March: 34 % fewer."
    assert len(see(connection, 8_300, days=3)) == 1
    assert see(connection, 12_000, days=4) == []


def test_a_week_after_it_was_noticed_the_new_count_is_what_the_table_has(
    connection: Connection,
) -> None:
    see(connection, 1_000)
    for day in range(1, 8):
        assert len(see(connection, 500, days=day)) == 1, day
    assert see(connection, 500, days=8) == []
    assert see(connection, 490, days=9) == []
    assert len(see(connection, 300, days=10)) == 1


def test_of_a_handful_of_rows_none_is_missed(connection: Connection) -> None:
    see(connection, 9)
    assert see(connection, 2, hours=1) == []
    assert see(connection, 0, hours=2) == []


def test_a_table_is_due_once_a_day_for_a_week_and_one_worker_counts_it(
    connection: Connection,
) -> None:
    see(connection, 100)
    key = (connection.account_id, TABLE)
    assert table_checks.due(AT + timedelta(hours=23)) == []
    counted = []
    for hour in range(24, 24 * 10):
        at = AT + timedelta(hours=hour)
        if table_checks.due(at) == [key]:
            table = table_checks.lease(*key, at)
            assert table is not None
            assert table_checks.lease(*key, at) is None
            table_checks.save_count(table, 100, at)
            counted.append(hour)
    assert counted == [24, 48, 72, 96, 120, 144]
    assert [each.rows for each in table_checks.latest(*key)] == [100] * 7


def test_what_a_worker_leased_and_never_counted_is_due_again(connection: Connection) -> None:
    see(connection, 100)
    at = AT + timedelta(days=1)
    table = table_checks.lease(connection.account_id, TABLE, at)
    assert table is not None
    assert table_checks.due(at) == []
    assert table_checks.due(at + timedelta(minutes=3)) == [(connection.account_id, TABLE)]
    table_checks.reschedule(table, at)
    assert table_checks.due(at + timedelta(minutes=59)) == []
    table_checks.reschedule(table, at, for_good=True)
    assert table_checks.due(at + timedelta(days=30)) == []
