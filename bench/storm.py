"""A storm of webhooks: a thousand signed events a second for ten seconds, at a console with two web processes and a worker.

Every event has to be kept and settled, and pages are to be slowed by no more than a factor of two.
"""

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from statistics import median, quantiles
from threading import Event, Thread
from time import perf_counter

import requests
from sqlalchemy import func, select

from bench.fleet import add_person
from bench.passes import run_pass
from bench.report import Figure
from bench.served import Site, seconds, sign_in, site
from bench.stand_in import StandIn, stand_in
from dashboard.core.database import db
from dashboard.refresh.models import Refresh
from dashboard.webhooks.models import WebhookEvent
from tests.support.databases import Servers, free_port, wait_for
from tests.support.processes import answering

ACCOUNTS, RATE, SECONDS = 250, 1_000, 10
LATENCY_MS = 100
SECRET = "a secret for measuring"
PAGE, PAUSE = "/connections", 0.2
SETTLED_WITHIN = 120.0


def measure(servers: Servers) -> Iterator[Figure]:
    """On SQLite and on PostgreSQL."""
    with stand_in(ACCOUNTS) as api:
        for engine, where in (("SQLite", None), ("PostgreSQL", servers)):
            api.reset()
            with site(where, api.url, peliqan_webhook_secret=SECRET) as made:
                yield from _measure(engine, made, api)


def _measure(engine: str, made: Site, api: StandIn) -> Iterator[Figure]:
    run_pass(made.app)
    with made.app.app_context():
        add_person()
    port, count = free_port(), RATE * SECONDS
    made.start("serve", f"--port={port}", "--workers=2")
    url = answering(f"http://127.0.0.1:{port}", "/healthz")
    session = sign_in(url)
    wait_for(lambda: _idle(made), "the worker's first pass is over", within=120)
    api.turn(latency_ms=LATENCY_MS)
    calls = api.calls()
    with _sender(url) as sender:
        before = _visits(session, url, Event(), int(SECONDS / PAUSE / 2))
        over, during = Event(), list[float]()
        visitor = Thread(target=lambda: during.extend(_visits(session, url, over, count)))
        began = perf_counter()
        assert sender.stdin is not None
        assert sender.stdout is not None
        sender.stdin.write("now\n")
        sender.stdin.flush()
        visitor.start()
        told = json.loads(sender.stdout.readline())
        over.set()
        visitor.join()
    wait_for(
        lambda: not _count(made, WebhookEvent.state == "waiting"),
        "all events are settled",
        within=SETTLED_WITHIN,
    )
    settled, calls = perf_counter() - began, api.calls() - calls
    kept, done = _count(made), _count(made, WebhookEvent.state == "done")
    what, sent, times = f"{engine}: {count:,} events in {SECONDS} s", told["seconds"], told["times"]
    statuses = ", ".join(f"{number:,} × {status}" for status, number in told["statuses"].items())
    yield Figure(
        6,
        f"{what}, those that are lost",
        count - kept,
        most=0,
        detail=f"{statuses}, all sent in {sent:.1f} s",
    )
    detail = f"the last {settled - sent:.1f} s after the storm, with {calls} calls to the API for {ACCOUNTS} accounts"
    yield Figure(
        6, f"{what}, those that are not settled as done", kept - done, most=0, detail=detail
    )
    detail = (
        f"median {median(times) * 1000:.1f} ms from the time that an event was due, 2 web processes"
    )
    yield Figure(
        6,
        f"{what}, p95 of the answer (ms)",
        quantiles(times, n=20)[-1] * 1000,
        most=50,
        detail=detail,
    )
    detail = f"{median(during) * 1000:.1f} ms beside {median(before) * 1000:.1f} ms; {len(during)} visits"
    yield Figure(
        6,
        f"{engine}: {PAGE} in the storm, beside before",
        median(during) / median(before),
        most=2,
        detail=detail,
    )


@contextmanager
def _sender(url: str) -> Iterator["subprocess.Popen[str]"]:
    """The sender in a process of its own, with everything made; it begins when it is told to."""
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
    """Seconds of each visit of the page, one after another with a pause between."""
    seconds(session, url + PAGE)
    taken: list[float] = []
    while len(taken) < most and not over.is_set():
        taken.append(seconds(session, url + PAGE))
        over.wait(PAUSE)
    return taken


def _count(made: Site, *where: object) -> int:
    with made.app.app_context():
        return db.session.scalar(select(func.count()).select_from(WebhookEvent).where(*where)) or 0  # type: ignore[arg-type]


def _idle(made: Site) -> bool:
    with made.app.app_context():
        return (
            db.session.scalar(select(func.count()).select_from(Refresh).where(Refresh.active == 1))
            == 0
        )
