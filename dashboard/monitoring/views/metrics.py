"""The endpoint `/metrics` for Prometheus: counters of the processes, and gauges of the fleet.

It contains no customer's name and no secret, but is for the operator's machines only: see
``telemetry.metrics.may_read``.
"""

import sqlite3
from collections.abc import Iterator, Mapping

from flask import Blueprint, abort, current_app, request
from flask.typing import ResponseReturnValue
from prometheus_client import CONTENT_TYPE_LATEST
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector
from redis.exceptions import RedisError
from sqlalchemy.exc import SQLAlchemyError

from dashboard.context import Services, services
from dashboard.monitoring import queries as service_status
from dashboard.telemetry import metrics
from dashboard.web.access import PUBLIC, requires

bp = Blueprint("measured", __name__)


@bp.get("/metrics")
@requires(PUBLIC)
def show() -> ResponseReturnValue:
    """Return all metrics to clients that may read them."""
    current = services()
    if not metrics.may_read(request.environ, current.settings.dashboard_metrics_token):
        abort(
            403,
            "These are read by this machine alone,"
            " or with DASHBOARD_METRICS_TOKEN as a bearer token.",
        )
    return metrics.page(FleetCollector(current), metrics.Disk(current.settings.dashboard_data)), {
        "Content-Type": CONTENT_TYPE_LATEST
    }


class FleetCollector(Collector):
    """Gauges of the database and the queue, read at each scrape; those not available are left out.

    All machines share both, so each reports the same values.
    """

    def __init__(self, current: Services) -> None:
        self._services = current

    def describe(self) -> list[Metric]:
        """Return no descriptions, since describing the gauges would read them."""
        return []

    def collect(self) -> Iterator[Metric]:
        """Yield the gauges."""
        try:
            waiting = self._services.queues.waiting()
        except (RedisError, sqlite3.Error):
            waiting = None
        yield _one(
            "console_queue_up", "1 where the work queue answers.", float(waiting is not None)
        )
        if waiting is not None:
            yield _by(
                "console_queue_waiting",
                "Messages that wait in the work queue, by queue.",
                "queue",
                waiting,
            )
        try:
            found, counts = service_status.read(), service_status.count()
        except SQLAlchemyError as error:
            current_app.logger.warning(
                "Metrics without those of the database: %s", type(error).__name__
            )
            yield _one("console_store_up", "1 where the store answers.", 0)
            return
        yield _one("console_store_up", "1 where the store answers.", 1)
        now = self._services.clock()
        for name, text, last in (
            (
                "console_snapshot_age_seconds",
                "Seconds since a pass over the fleet last ended well.",
                found.snapshot_at,
            ),
            (
                "console_pass_idle_seconds",
                "Seconds since a pass over the fleet was last written to.",
                found.pass_alive_at,
            ),
            (
                "console_api_answered_seconds",
                "Seconds since an account was last read well.",
                found.answered_at,
            ),
            (
                "console_worker_due_seconds",
                "Seconds since the job of every minute became due; below 0: until.",
                found.ticked_at,
            ),
            (
                "console_backup_age_seconds",
                "Seconds since dashboard backup last wrote a file.",
                found.backup_at,
            ),
        ):
            if last is not None:
                yield _one(name, text, (now - last).total_seconds())
        yield _by(
            "console_findings", "Findings that hold, by severity.", "severity", counts.findings
        )
        yield _by(
            "console_connections", "Connections, by severity.", "severity", counts.connections
        )
        yield _one("console_accounts", "Accounts that are listed.", counts.accounts)
        yield _one(
            "console_accounts_unreadable", "Accounts whose last reading failed.", counts.unreadable
        )


def _one(name: str, text: str, value: float) -> Metric:
    return GaugeMetricFamily(name, text, value)


def _by(name: str, text: str, label: str, values: Mapping[str, int]) -> Metric:
    family = GaugeMetricFamily(name, text, labels=[label])
    for key, value in values.items():
        family.add_metric([key], value)
    return family
