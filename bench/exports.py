"""Exports of a million rows: speed compared with the API's own pages, and worker memory."""

import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from statistics import median
from typing import Final

import requests
from bs4 import BeautifulSoup

from bench.fake_api import FakeApi, fake_api
from bench.fleet import add_user
from bench.memory import sampled
from bench.passes import run_refresh
from bench.report import Figure, middle
from bench.served import sign_in, site
from dashboard.tables.reader import AHEAD, PAGE
from tests.support.databases import Servers, wait_for

ROWS: Final = 1_000_000
ACCOUNT, SMALL, TABLE = 1001, 10011900, 10011902
# This many pages measure the speed of the API alone.
PAGES, ROUNDS, LIMIT = 2_000, 3, 180.0


def measure(_servers: Servers) -> Iterator[Figure]:
    """Measure on SQLite only: rows never pass through the store."""
    with fake_api(2) as api, site(None, api.url) as made:
        with made.app.app_context():
            add_user()
        run_refresh(made.app)
        url = made.serve()
        session = sign_in(url)
        worker = made.start("worker")
        for suffix, title in (("csv", "CSV"), ("jsonl", "JSON Lines"), ("parquet", "Parquet")):
            # The first file warms up the worker, whose memory is then compared from there.
            _export(session, url, SMALL, suffix)
            alone, ours, grown = [], [], []
            for _ in range(ROUNDS):
                alone.append(_pages(api))
                with sampled(worker.pid, 0.1) as seen:
                    ours.append(ROWS / _export(session, url, TABLE, suffix))
                grown.append(max(seen) - seen[0])
            rates = [mine / other for mine, other in zip(ours, alone, strict=True)]
            detail = f"{median(ours):,.0f} rows a second; the API {median(alone):,.0f}"
            what = f"{title} of {ROWS:,} rows"
            yield Figure(
                5,
                f"{what}, compared with the API's pages alone",
                median(rates),
                0.9,
                None,
                middle(rates),
                detail,
            )
            yield Figure(
                5, f"{what}: what the worker and its children hold (MB more)", max(grown), most=60
            )


def _pages(api: FakeApi) -> float:
    """Return rows a second of the API alone, with as many calls at a time as an export."""
    theirs, local = api.header_of(ACCOUNT), threading.local()

    def fetch(page: int) -> int:
        if not hasattr(local, "session"):
            local.session = requests.Session()
        rows = f"{api.url}/api/database/rows/table/{TABLE}/"
        at = f"{rows}?user_field_names=True&size={PAGE}&page={page}"
        return len(local.session.get(at, headers=theirs, timeout=30).content)

    began = time.perf_counter()
    with ThreadPoolExecutor(AHEAD) as pool:
        assert all(pool.map(fetch, range(1, PAGES + 1)))
    return PAGES * PAGE / (time.perf_counter() - began)


def _export(session: requests.Session, url: str, table: int, suffix: str) -> float:
    """Return the seconds from the click to the finished file."""
    page = BeautifulSoup(
        session.get(f"{url}/accounts/{ACCOUNT}/tables/{table}?fill=1", timeout=30).text,
        "html.parser",
    )
    field = page.select_one("input[name=csrf_token]")
    assert field is not None
    began = time.perf_counter()
    form = {"csrf_token": field["value"], "format": suffix}
    shown = session.post(f"{url}/accounts/{ACCOUNT}/tables/{table}/exports", data=form, timeout=30)
    assert shown.status_code == 200, shown.text[:500]

    def is_there() -> bool:
        time.sleep(0.1)
        return (
            session.head(f"{shown.url}/file", timeout=30, allow_redirects=False).status_code == 200
        )

    wait_for(is_there, f"the file of {shown.url}", within=LIMIT)
    return time.perf_counter() - began
