"""200 browsers that poll one sync, served by two web processes: waiting times and API calls."""

import http.client
import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from statistics import median, quantiles
from time import perf_counter, sleep
from urllib.parse import urlsplit

import requests

from bench.fake_api import FakeApi, fake_api
from bench.fleet import add_user
from bench.passes import run_refresh
from bench.report import Figure
from bench.served import Site, sign_in, site
from tests.support.databases import Servers, free_port
from tests.support.processes import answering

WATCHERS, EVERY, POLLS = 200, 2.0, 10
INTERVAL = 2
RUN_SECONDS = 40
CONNECTION = "/accounts/1001/connections/100102"


def measure(servers: Servers) -> Iterator[Figure]:
    """Measure on SQLite and on PostgreSQL."""
    with fake_api(50) as api:
        for engine, where in (("SQLite", None), ("PostgreSQL", servers)):
            api.reset()
            api.turn(run_seconds=[RUN_SECONDS, RUN_SECONDS])
            with site(where, api.url, dashboard_watch_interval=INTERVAL) as made:
                yield from _measure(engine, made, api)


def _measure(engine: str, made: Site, api: FakeApi) -> Iterator[Figure]:
    run_refresh(made.app)
    with made.app.app_context():
        add_user()
    port = free_port()
    made.start("serve", f"--port={port}", "--workers=2")
    url = answering(f"http://127.0.0.1:{port}", "/healthz")
    session = sign_in(url)
    _start_sync(session, url)
    cookie = "; ".join(f"{each.name}={each.value}" for each in session.cookies)
    before, began = _status_calls(api), perf_counter()
    with ThreadPoolExecutor(WATCHERS) as pool:
        watched = list(pool.map(lambda number: _watch(url, cookie, number), range(WATCHERS)))
    took = perf_counter() - began
    calls = _status_calls(api) - before
    times = [seconds for each in watched for seconds, _ in each]
    p95 = quantiles(times, n=20)[-1] * 1000
    detail = (
        f"median {median(times) * 1000:.1f} ms, {len(times)} polls of {WATCHERS} browsers, "
        "2 web processes"
    )
    yield Figure(2, f"{engine}: p95 of the fragment (ms)", p95, most=25, detail=detail)
    largest = max(size for each in watched for _, size in each)
    yield Figure(2, f"{engine}: the fragment's body (bytes)", largest, most=1000)
    share = calls / (took / INTERVAL + 1)
    detail = f"{calls} calls in {took:.0f} s, polled every {INTERVAL} s and then more rarely"
    name = f"{engine}: status calls, compared with one an interval"
    yield Figure(2, name, share, most=1, detail=detail)


def _start_sync(session: requests.Session, url: str) -> None:
    page = session.get(url + CONNECTION, timeout=30).text
    token = re.search(r'name="csrf_token" value="([^"]+)"', page)
    assert token is not None
    form = {"csrf_token": token[1]}
    session.post(f"{url}{CONNECTION}/sync", data=form, timeout=30).raise_for_status()


def _status_calls(api: FakeApi) -> int:
    calls: int = api.state()["calls"].get("syncdb_status", 0)
    return calls


def _watch(url: str, cookie: str, number: int) -> list[tuple[float, int]]:
    """Poll as one browser while the sync runs; return seconds and bytes of each poll.

    Browsers start one after another.
    """
    connection = http.client.HTTPConnection(urlsplit(url).netloc, timeout=30)
    began = perf_counter() + EVERY * number / WATCHERS
    seen = []
    for poll in range(POLLS + 1):
        sleep(max(0.0, began + poll * EVERY - perf_counter()))
        sent = perf_counter()
        connection.request(
            "GET", f"{CONNECTION}/run-status", headers={"Cookie": cookie, "HX-Request": "true"}
        )
        response = connection.getresponse()
        body = response.read()
        seen.append((perf_counter() - sent, len(body)))
        assert response.status == 200
        assert b"every 2s" in body, body.decode()
    connection.close()
    # Without the first poll, which connects.
    return seen[1:]
