"""Counters of one process or of several that share a folder, and the page for Prometheus.

If ``PROMETHEUS_MULTIPROC_DIR`` is set when this is imported, counters are files in that folder, and
all processes of `dashboard serve`, its worker included, are one target.
https://prometheus.github.io/client_python/multiprocess/
"""

import hmac
import ipaddress
import logging
import os
import shutil
import threading
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from pathlib import Path

from prometheus_client import (
    CONTENT_TYPE_LATEST,
    CollectorRegistry,
    Counter,
    Histogram,
    generate_latest,
)
from prometheus_client.core import GaugeMetricFamily, InfoMetricFamily, Metric
from prometheus_client.multiprocess import MultiProcessCollector
from prometheus_client.registry import Collector
from werkzeug.serving import WSGIRequestHandler, make_server
from werkzeug.wrappers import Request, Response

from dashboard.telemetry.multiprocess import SHARED
from dashboard.version import VERSION

log = logging.getLogger(__name__)
REGISTRY = CollectorRegistry()
REQUESTS = Histogram(
    "console_request_seconds",
    "Requests to the console, by endpoint and status; seconds until the last byte was passed on.",
    ["endpoint", "status"],
    buckets=(0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30),
    registry=REGISTRY,
)
CALLS = Histogram(
    "console_api_call_seconds",
    "Calls to Peliqan's API, by route; seconds with rate-limit waits and retries.",
    ["route"],
    buckets=(0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60),
    registry=REGISTRY,
)
CALL_RESULTS = Counter(
    "console_api_calls",
    "Calls to Peliqan's API, by route and result: ok, or the error's code.",
    ["route", "result"],
    registry=REGISTRY,
)
TASKS = Counter(
    "console_tasks",
    "Tasks that a worker ran, by name and result.",
    ["task", "result"],
    registry=REGISTRY,
)
# Headers of a proxy: its requests come from this machine, but not their clients.
FORWARDED = (
    "HTTP_X_FORWARDED_FOR",
    "HTTP_X_FORWARDED_PROTO",
    "HTTP_X_FORWARDED_HOST",
    "HTTP_FORWARDED",
    "HTTP_X_REAL_IP",
    "HTTP_VIA",
)


def request_ended(endpoint: str, status: int, seconds: float) -> None:
    """Count one request. ``seconds``: until the last byte was passed on."""
    with _ignoring_disk_errors():
        _of_request(endpoint, status).observe(seconds)


def call_ended(route: str, result: str, seconds: float) -> None:
    """Count one call to Peliqan."""
    with _ignoring_disk_errors():
        times, results = _of_call(route, result)
        times.observe(seconds)
        results.inc()


@cache
def _of_request(endpoint: str, status: int) -> Histogram:
    """Return the histogram of an endpoint and status. Cached, since looking it up is slow."""
    return REQUESTS.labels(endpoint, str(status))


@cache
def _of_call(route: str, result: str) -> tuple[Histogram, Counter]:
    """Return the metrics of a route and result. Cached: there are few combinations."""
    return CALLS.labels(route), CALL_RESULTS.labels(route, result)


def task_ended(task: str, result: str) -> None:
    """Count one task of a worker."""
    with _ignoring_disk_errors():
        TASKS.labels(task, result).inc()


@contextmanager
def _ignoring_disk_errors() -> Iterator[None]:
    """Continue without counting if the shared folder is full or missing."""
    try:
        yield
    except OSError as error:
        log.warning("Something could not be counted: %s", error.strerror)


class _Version(Collector):
    def collect(self) -> Iterator[Metric]:
        yield InfoMetricFamily("console_build", "Which version runs.", {"version": VERSION})


class Disk(Collector):
    """Free and total space of a folder's disk, on the machine that answers the scrape."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def describe(self) -> list[Metric]:
        """Return no descriptions, since describing the gauges would read them."""
        return []

    def collect(self) -> Iterator[Metric]:
        """Yield the space for a user without privileges; nothing if the folder is missing."""
        try:
            disk = shutil.disk_usage(self._folder)
        except OSError as error:
            log.warning("The disk of DASHBOARD_DATA cannot be measured: %s", error.strerror)
            return
        yield GaugeMetricFamily(
            "console_disk_free_bytes", "Free space on the disk of DASHBOARD_DATA.", disk.free
        )
        yield GaugeMetricFamily(
            "console_disk_size_bytes", "Size of the disk of DASHBOARD_DATA.", disk.total
        )


class _SharedCounters(Collector):
    """Counters of all processes that share the folder. A new process's file is empty at first."""

    def collect(self) -> Iterable[Metric]:
        files = [str(file) for file in Path(os.environ[SHARED]).glob("*.db") if file.stat().st_size]
        found: Iterable[Metric] = MultiProcessCollector.merge(files)  # type: ignore[no-untyped-call]
        return found


def page(*more: Collector) -> bytes:
    """Return all counters and the gauges of ``more`` in the text format of Prometheus."""
    registry = CollectorRegistry()
    if os.environ.get(SHARED):
        registry.register(_SharedCounters())
    else:
        registry.register(REGISTRY)
    for each in (_Version(), *more):
        registry.register(each)
    return generate_latest(registry)


def may_read(environ: Mapping[str, object], token: str) -> bool:
    """Return whether a client may read metrics.

    With a token: who sends it. Without: clients on this machine that do not come through a proxy.
    """
    if token:
        scheme, _, offered = str(environ.get("HTTP_AUTHORIZATION", "")).partition(" ")
        return scheme.lower() == "bearer" and hmac.compare_digest(
            offered.strip().encode(), token.encode()
        )
    if any(name in environ for name in FORWARDED):
        return False
    try:
        return ipaddress.ip_address(str(environ.get("REMOTE_ADDR", ""))).is_loopback
    except ValueError:
        return False


def serve(host: str, port: int, token: str, more: Iterable[Collector] = ()) -> None:
    """Serve the metrics page for a worker without a web server.

    Runs in a thread that ends with the process.

    Raises:
        OSError: the port cannot be used.
    """

    @Request.application
    def answer(request: Request) -> Response:
        if request.path != "/metrics":
            return Response("There is only /metrics here.\n", 404)
        if not may_read(request.environ, token):
            return Response("Not for you: see DASHBOARD_METRICS_TOKEN.\n", 403)
        return Response(page(*more), content_type=CONTENT_TYPE_LATEST)

    server = make_server(host, port, answer, request_handler=_Silent)
    threading.Thread(target=server.serve_forever, name="metrics", daemon=True).start()


class _Silent(WSGIRequestHandler):
    def log(self, type: str, message: str, *args: object) -> None:
        """Write no log line for scrapes."""
