"""Findings and causes at fleet size: an evaluation of all, and the cost of a change."""

from collections.abc import Iterator
from datetime import UTC, datetime
from statistics import median
from time import perf_counter

from sqlalchemy import func, select

from bench.fleet import fill
from bench.report import Figure, middle
from bench.served import site
from dashboard.core.database import db
from dashboard.findings import evaluate
from dashboard.findings.models import Cause, Finding
from dashboard.fleet.models import Account
from tests.support.databases import Servers

CONNECTIONS, ROUNDS, CHANGED = 100_000, 3, 100


def measure(servers: Servers) -> Iterator[Figure]:
    """Measure on SQLite and on PostgreSQL."""
    for engine, where in (("SQLite", None), ("PostgreSQL", servers)):
        with site(where) as made:
            fill(made.app, CONNECTIONS)
            with made.app.app_context():
                times = [_seconds(None) for _ in range(ROUNDS)]
                count = [
                    db.session.scalar(select(func.count()).select_from(table))
                    for table in (Finding, Cause)
                ]
                detail = f"{count[0]:,} findings, {count[1]} causes; the first {times[0]:.1f} s"
                yield Figure(
                    5,
                    f"{engine}: all rules over {CONNECTIONS:,} connections (s)",
                    median(times),
                    most=5,
                    detail=detail,
                )
                some = list(
                    db.session.scalars(select(Account.id).order_by(Account.id).limit(CHANGED))
                )
                few = [_seconds(some) for _ in range(ROUNDS)]
                shares = [one / median(times) for one in few]
                detail = f"{median(few) * 1000:.0f} ms for {CHANGED} accounts with changes"
                yield Figure(
                    7,
                    f"{engine}: a change, compared with all",
                    median(shares),
                    most=0.05,
                    spread=middle(shares),
                    detail=detail,
                )
                db.session.remove()
                db.engine.dispose()


def _seconds(accounts: list[int] | None) -> float:
    began, at = perf_counter(), datetime.now(UTC)
    if accounts is None:
        evaluate.evaluate_all(at)
    else:
        evaluate.evaluate(accounts, at)
        db.session.commit()
    return perf_counter() - began
