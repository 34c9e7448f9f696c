"""Two hundred browsers that watch one sync, served by two web processes: how long they wait, and what the API sees of them."""

import http.client
import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from statistics import median, quantiles
from time import perf_counter, sleep
from urllib.parse import urlsplit

from bench.fleet import add_person
from bench.passes import run_pass
from bench.report import Figure
from bench.served import sign_in, site
from bench.stand_in import stand_in
from tests.support.databases import Servers, free_port
from tests.support.processes import answering

WATCHERS, EVERY, POLLS = 200, 2.0, 10
INTERVAL = 2
RUN_SECONDS = 40
CONNECTION = "/accounts/1001/connections/100102"


def measure(servers: Servers) -> Iterator[Figure]:
    """On SQLite and on PostgreSQL."""
    with stand_in(50) as api:
        for engine, where in (("SQLite", None), ("PostgreSQL", servers)):
            api.reset()
            api.turn(run_seconds=[RUN_SECONDS, RUN_SECONDS])
            with site(where, api.url, dashboard_watch_interval=INTERVAL) as made:
                run_pass(made.app)
                with made.app.app_context():
                    add_person()
                port = free_port()
                made.start("serve", f"--port={port}", "--workers=2")
                url = answering(f"http://127.0.0.1:{port}", "/healthz")
                session = sign_in(url)
                token = re.search(
                    r'name="csrf_token" value="([^"]+)"',
                    session.get(url + CONNECTION, timeout=30).text,
                )
                assert token is not None
                session.post(
                    f"{url}{CONNECTION}/sync", data={"csrf_token": token[1]}, timeout=30
                ).raise_for_status()
                cookie = "; ".join(f"{each.name}={each.value}" for each in session.cookies)
                before, began = _looks(api.state()), perf_counter()
                with ThreadPoolExecutor(WATCHERS) as pool:
                    watched = list(
                        pool.map(lambda place: _watch(url, cookie, place), range(WATCHERS))
                    )
                took = perf_counter() - began
                looks = _looks(api.state()) - before
            times = [seconds for each in watched for seconds, _ in each]
            p95 = quantiles(times, n=20)[-1] * 1000
            detail = f"median {median(times) * 1000:.1f} ms, {len(times)} polls of {WATCHERS} browsers, 2 web processes"
            yield Figure(2, f"{engine}: p95 of the fragment (ms)", p95, most=25, detail=detail)
            largest = max(size for each in watched for _, size in each)
            yield Figure(2, f"{engine}: the fragment's body (bytes)", largest, most=1000)
            most = took / INTERVAL + 1
            detail = (
                f"{looks} calls in {took:.0f} s, looked at every {INTERVAL} s and then more rarely"
            )
            yield Figure(
                2,
                f"{engine}: status calls, beside one an interval",
                looks / most,
                most=1,
                detail=detail,
            )


def _looks(state: dict[str, dict[str, int]]) -> int:
    return state["calls"].get("syncdb_status", 0)


def _watch(url: str, cookie: str, place: int) -> list[tuple[float, int]]:
    """One browser: seconds and bytes of each poll while the sync runs. Browsers begin one after another."""
    connection = http.client.HTTPConnection(urlsplit(url).netloc, timeout=30)
    began = perf_counter() + EVERY * place / WATCHERS
    seen = []
    for poll in range(POLLS + 1):
        sleep(max(0.0, began + poll * EVERY - perf_counter()))
        asked = perf_counter()
        connection.request(
            "GET", f"{CONNECTION}/run-status", headers={"Cookie": cookie, "HX-Request": "true"}
        )
        answer = connection.getresponse()
        body = answer.read()
        seen.append((perf_counter() - asked, len(body)))
        assert answer.status == 200
        assert b"every 2s" in body, body.decode()
    connection.close()
    # Without the first, which connects.
    return seen[1:]
