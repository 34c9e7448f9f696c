"""A thousand signed webhooks a second for ten seconds, to two web processes and a worker.

Every event must be stored and processed, and pages may take at most twice as long.
"""

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from statistics import median, quantiles
from threading import Event, Thread
from time import perf_counter
from typing import Any

import requests
from sqlalchemy import ColumnElement, func, select

from bench.fake_api import FakeApi, fake_api
from bench.fleet import add_user
from bench.passes import run_refresh
from bench.report import Figure
from bench.served import Site, seconds, sign_in, site
from dashboard.core.database import db
from dashboard.refresh.models import Refresh
from dashboard.webhooks.models import WebhookEvent
from tests.support.databases import Servers, free_port, wait_for
from tests.support.processes import answering

ACCOUNTS, RATE, SECONDS = 250, 1_000, 10
COUNT = RATE * SECONDS
LATENCY_MS = 100
SECRET = "a secret for measuring"
PAGE, PAUSE = "/connections", 0.2
PROCESSED_WITHIN = 120.0


def measure(servers: Servers) -> Iterator[Figure]:
    """Measure on SQLite and on PostgreSQL."""
    with fake_api(ACCOUNTS) as api:
        for engine, where in (("SQLite", None), ("PostgreSQL", servers)):
            api.reset()
            with site(where, api.url, peliqan_webhook_secret=SECRET) as made:
                yield from _measure(engine, made, api)


@dataclass(frozen=True)
class _Storm:
    """The figures of a storm: times in seconds, of each response and of each page."""

    report: dict[str, Any]
    before: list[float]
    during: list[float]
    processed_after: float
    calls: int


def _measure(engine: str, made: Site, api: FakeApi) -> Iterator[Figure]:
    run_refresh(made.app)
    with made.app.app_context():
        add_user()
    port = free_port()
    made.start("serve", f"--port={port}", "--workers=2")
    url = answering(f"http://127.0.0.1:{port}", "/healthz")
    session = sign_in(url)
    wait_for(lambda: _idle(made), "the worker's first refresh is over", within=120)
    api.turn(latency_ms=LATENCY_MS)
    result = _run(made, api, url, session)
    stored, done = _count(made), _count(made, WebhookEvent.state == "done")
    yield from _figures(engine, result, stored, done)


def _run(made: Site, api: FakeApi, url: str, session: requests.Session) -> _Storm:
    calls = api.calls()
    with _sender(url) as sender:
        before = _visits(session, url, Event(), int(SECONDS / PAUSE / 2))
        over, during = Event(), list[float]()
        visitor = Thread(target=lambda: during.extend(_visits(session, url, over, COUNT)))
        began = perf_counter()
        assert sender.stdin is not None
        assert sender.stdout is not None
        sender.stdin.write("now\n")
        sender.stdin.flush()
        visitor.start()
        report = json.loads(sender.stdout.readline())
        over.set()
        visitor.join()
    wait_for(
        lambda: not _count(made, WebhookEvent.state == "waiting"),
        "all events are processed",
        within=PROCESSED_WITHIN,
    )
    return _Storm(report, before, during, perf_counter() - began, api.calls() - calls)


def _figures(engine: str, storm: _Storm, stored: int, done: int) -> Iterator[Figure]:
    what = f"{engine}: {COUNT:,} events in {SECONDS} s"
    sent, times = storm.report["seconds"], storm.report["times"]
    statuses = ", ".join(
        f"{number:,} × {status}" for status, number in storm.report["statuses"].items()
    )
    detail = f"{statuses}, all sent in {sent:.1f} s"
    yield Figure(6, f"{what}, lost events", COUNT - stored, most=0, detail=detail)
    detail = (
        f"the last {storm.processed_after - sent:.1f} s after the storm, "
        f"with {storm.calls} calls to the API for {ACCOUNTS} accounts"
    )
    yield Figure(6, f"{what}, unprocessed events", stored - done, most=0, detail=detail)
    p95 = quantiles(times, n=20)[-1] * 1000
    detail = f"median {median(times) * 1000:.1f} ms from an event's time, 2 web processes"
    yield Figure(6, f"{what}, p95 of the response (ms)", p95, most=50, detail=detail)
    name = f"{engine}: {PAGE} during the storm, compared with before"
    ratio = median(storm.during) / median(storm.before)
    detail = (
        f"{median(storm.during) * 1000:.1f} ms, before {median(storm.before) * 1000:.1f} ms; "
        f"{len(storm.during)} visits"
    )
    yield Figure(6, name, ratio, most=2, detail=detail)


@contextmanager
def _sender(url: str) -> Iterator["subprocess.Popen[str]"]:
    """Start the sender, ready to send; a line on its standard input starts the storm."""
    words = [
        sys.executable,
        "-m",
        "bench.sender",
        f"{url}/webhooks/peliqan",
        SECRET,
        str(ACCOUNTS),
        str(RATE),
        str(SECONDS),
    ]
    process = subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        process.stdout.readline()
        yield process
    finally:
        process.kill()
        process.communicate()


def _visits(session: requests.Session, url: str, over: Event, most: int) -> list[float]:
    """Return the seconds of each visit of the page; visits follow each other after a pause."""
    seconds(session, url + PAGE)
    times: list[float] = []
    while len(times) < most and not over.is_set():
        times.append(seconds(session, url + PAGE))
        over.wait(PAUSE)
    return times


def _count(made: Site, *conditions: ColumnElement[bool]) -> int:
    query = select(func.count()).select_from(WebhookEvent).where(*conditions)
    with made.app.app_context():
        return db.session.scalar(query) or 0


def _idle(made: Site) -> bool:
    query = select(func.count()).select_from(Refresh).where(Refresh.active == 1)
    with made.app.app_context():
        return db.session.scalar(query) == 0
