"""The endpoint `/metrics` for Prometheus: counters of processes, gauges of the fleet.

It contains no customer's name and no secret, but is for the operator's machines only: see
``telemetry.process_metrics.may_read``.
"""

import sqlite3
from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Final

from flask import Blueprint, abort, current_app, request
from flask.typing import ResponseReturnValue
from prometheus_client import CONTENT_TYPE_LATEST
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector
from redis.exceptions import RedisError
from sqlalchemy.exc import SQLAlchemyError

from dashboard.context import Services, services
from dashboard.monitoring import queries as service_status
from dashboard.telemetry import process_metrics
from dashboard.web.required_role import PUBLIC, requires

bp = Blueprint("measured", __name__)
# Gauges of the age of an event: name, help text, and the field of ``ServiceStatus`` with its time.
AGES: Final = (
    (
        "console_snapshot_age_seconds",
        "Seconds since the last complete refresh of the fleet ended.",
        "snapshot_at",
    ),
    (
        "console_pass_idle_seconds",
        "Seconds since the last sign of life of the latest refresh.",
        "pass_alive_at",
    ),
    (
        "console_api_answered_seconds",
        "Seconds since an account was last read successfully.",
        "answered_at",
    ),
    (
        "console_worker_due_seconds",
        "Seconds since the minute task became due; negative until it is.",
        "ticked_at",
    ),
    (
        "console_backup_age_seconds",
        "Seconds since dashboard backup last wrote a file.",
        "backup_at",
    ),
)


@bp.get("/metrics")
@requires(PUBLIC)
def show() -> ResponseReturnValue:
    """Return all metrics to clients that may read them."""
    current = services()
    if not process_metrics.may_read(request.environ, current.settings.dashboard_metrics_token):
        abort(
            403,
            "These are read by this machine alone,"
            " or with DASHBOARD_METRICS_TOKEN as a bearer token.",
        )
    return process_metrics.page(
        FleetCollector(current), process_metrics.Disk(current.settings.dashboard_data)
    ), {"Content-Type": CONTENT_TYPE_LATEST}


class FleetCollector(Collector):
    """Gauges of database and queue, read at each scrape; unavailable ones are left out.

    All machines share both, so each reports the same values.
    """

    def __init__(self, current: Services) -> None:
        self._services = current

    def describe(self) -> list[Metric]:
        """Return no descriptions, since describing the gauges would read them."""
        return []

    def collect(self) -> Iterator[Metric]:
        """Yield the gauges."""
        yield from self._queue_gauges()
        try:
            status, counts = service_status.read(), service_status.count()
        except SQLAlchemyError as error:
            current_app.logger.warning(
                "Metrics without those of the database: %s", type(error).__name__
            )
            yield _one("console_store_up", "1 if the database answers.", 0)
            return
        yield _one("console_store_up", "1 if the database answers.", 1)
        now = self._services.clock()
        for name, text, field in AGES:
            last: datetime | None = getattr(status, field)
            if last is not None:
                yield _one(name, text, (now - last).total_seconds())
        yield _by("console_findings", "Active findings, by severity.", "severity", counts.findings)
        yield _by(
            "console_connections", "Connections, by severity.", "severity", counts.connections
        )
        yield _one("console_accounts", "Accounts that are listed.", counts.accounts)
        yield _one(
            "console_accounts_unreadable", "Accounts whose last read failed.", counts.unreadable
        )

    def _queue_gauges(self) -> Iterator[Metric]:
        try:
            waiting = self._services.queues.waiting()
        except (RedisError, sqlite3.Error):
            yield _one("console_queue_up", "1 if the work queue answers.", 0)
            return
        yield _one("console_queue_up", "1 if the work queue answers.", 1)
        yield _by(
            "console_queue_waiting",
            "Messages that wait in the work queue, by queue.",
            "queue",
            waiting,
        )


def _one(name: str, text: str, value: float) -> Metric:
    return GaugeMetricFamily(name, text, value)


def _by(name: str, text: str, label: str, values: Mapping[str, int]) -> Metric:
    family = GaugeMetricFamily(name, text, labels=[label])
    for key, value in values.items():
        family.add_metric([key], value)
    return family
