"""What is counted, in this process or in a folder that several share; and the page that Prometheus reads.

With ``PROMETHEUS_MULTIPROC_DIR`` in the environment when this is loaded, counts are files in that folder: all processes of
`dashboard serve`, its worker included, are one target. https://prometheus.github.io/client_python/multiprocess/
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
    "Requests to the console, by endpoint and status; seconds until the last byte was handed on.",
    ["endpoint", "status"],
    buckets=(0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30),
    registry=REGISTRY,
)
CALLS = Histogram(
    "console_api_call_seconds",
    "Calls to Peliqan's API, by route; seconds with waiting for a turn and with tries again.",
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
    "Tasks that a worker carried out, by name and result.",
    ["task", "result"],
    registry=REGISTRY,
)
# What a proxy puts before a request of somebody else's: it then comes from this machine, and yet does not.
FORWARDED = (
    "HTTP_X_FORWARDED_FOR",
    "HTTP_X_FORWARDED_PROTO",
    "HTTP_X_FORWARDED_HOST",
    "HTTP_FORWARDED",
    "HTTP_X_REAL_IP",
    "HTTP_VIA",
)


def request_ended(endpoint: str, status: int, seconds: float) -> None:
    """One more request."""
    with _never_in_the_way():
        _of_request(endpoint, status).observe(seconds)


def call_ended(route: str, result: str, seconds: float) -> None:
    """One more call to Peliqan."""
    with _never_in_the_way():
        times, results = _of_call(route, result)
        times.observe(seconds)
        results.inc()


@cache
def _of_request(endpoint: str, status: int) -> Histogram:
    """Looked up once, as those of calls are."""
    return REQUESTS.labels(endpoint, str(status))


@cache
def _of_call(route: str, result: str) -> tuple[Histogram, Counter]:
    """Looked up once: there are as many as there are routes and kinds of errors."""
    return CALLS.labels(route), CALL_RESULTS.labels(route, result)


def task_ended(task: str, result: str) -> None:
    """One more task of a worker's."""
    with _never_in_the_way():
        TASKS.labels(task, result).inc()


@contextmanager
def _never_in_the_way() -> Iterator[None]:
    """Where the shared folder is full or gone, work goes on uncounted."""
    try:
        yield
    except OSError as error:
        log.warning("Something could not be counted: %s", error.strerror)


class _Version(Collector):
    def collect(self) -> Iterator[Metric]:
        yield InfoMetricFamily("console_build", "Which version runs.", {"version": VERSION})


class Disk(Collector):
    """How much room the disk of a folder has, on the machine that is asked: each process of its own answers for its own."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def describe(self) -> list[Metric]:
        """Nothing beforehand."""
        return []

    def collect(self) -> Iterator[Metric]:
        """The room that a user without privileges has; nothing where the folder is gone."""
        try:
            disk = shutil.disk_usage(self._folder)
        except OSError as error:
            log.warning("The disk of DASHBOARD_DATA cannot be measured: %s", error.strerror)
            return
        yield GaugeMetricFamily(
            "console_disk_free_bytes", "Room on the disk of DASHBOARD_DATA.", disk.free
        )
        yield GaugeMetricFamily(
            "console_disk_size_bytes", "Size of the disk of DASHBOARD_DATA.", disk.total
        )


class _Together(Collector):
    """What all processes counted that share the folder. The file of one that begins is empty for a moment: no count yet."""

    def collect(self) -> Iterable[Metric]:
        files = [str(file) for file in Path(os.environ[SHARED]).glob("*.db") if file.stat().st_size]
        found: Iterable[Metric] = MultiProcessCollector.merge(files)  # type: ignore[no-untyped-call]
        return found


def page(*more: Collector) -> bytes:
    """Everything that was counted, and what ``more`` finds at this moment, as Prometheus reads it."""
    registry = CollectorRegistry()
    if os.environ.get(SHARED):
        registry.register(_Together())
    else:
        registry.register(REGISTRY)
    for each in (_Version(), *more):
        registry.register(each)
    return generate_latest(registry)


def may_read(environ: Mapping[str, object], token: str) -> bool:
    """Whether whoever asks may see them: who has the token; without one, this machine itself, not through a proxy."""
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
    """The page alone, for a worker without a web server, in a thread that ends with the process.

    Raises:
        OSError: nobody can listen there.
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
        """Nobody wants a line each time that somebody measures."""
