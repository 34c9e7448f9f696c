"""The table browser: processor time of a page, first to last, compared with Datasette.

The sandbox runs in a process of its own, so only the console's processor time is measured.
"""

import os
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any, Final

import requests

from bench import datasette
from bench.fake_api import FakeApi, fake_api
from bench.fleet import add_user
from bench.memory import family, memory_of
from bench.passes import run_refresh
from bench.report import Figure, Limits, middle
from bench.served import Site, sign_in, site
from tests.support.databases import Servers, free_port
from tests.support.processes import answering

ROUNDS: Final = 5
# Pages a figure: the system counts processor time in hundredths of a second.
PAGES: Final = 20
PER_PAGE, COLUMNS, LAST = 100, 20, 10_000
TABLES: Final = "/accounts/1001/tables/1001190"
MILLION, WIDE, EVERYTHING = f"{TABLES}2", f"{TABLES}3", f"{TABLES}0"
TICK: Final = os.sysconf("SC_CLK_TCK")


def measure(_servers: Servers) -> Iterator[Figure]:
    """Measure on SQLite only: rows never come from the store."""
    with fake_api(2) as api, site(None, api.url) as made:
        with made.app.app_context():
            add_user()
        run_refresh(made.app)
        url, pid = _serve(made)
        session = sign_in(url)
        yield from _wide_table(api, session, url, pid)
        yield from _million_rows(session, url, pid)
        yield _memory(api, session, url, pid)


def _wide_table(api: FakeApi, session: requests.Session, url: str, pid: int) -> Iterator[Figure]:
    chosen = "&".join(f"column=Column {number:03}" for number in range(1, COLUMNS + 1))
    wide = f"{url}{WIDE}?per_page={PER_PAGE}"
    rows = session.get(f"{url}{WIDE}.json?per_page={PER_PAGE}&{chosen}", timeout=60).json()
    with tempfile.TemporaryDirectory(prefix="datasette-") as folder:
        file = Path(folder) / "rows.db"
        datasette.fill(file, [_cells(row) for row in rows["items"]])
        program = datasette.install(Path(folder) / "venv")
        with datasette.served(program, file) as (other, other_pid):
            page = f"{other}/rows/rows?_size={PER_PAGE}"
            theirs = partial(_cost, other_pid, lambda: _get(requests.Session(), page))
            some = partial(_cost, pid, partial(_get, session, f"{wide}&{chosen}&fill=1"))
            yield from _compared(f"{COLUMNS} of 200 columns", some, theirs)
            with _only_columns(api, COLUMNS):
                _get(session, wide)
                all_ = partial(_cost, pid, partial(_get, session, f"{wide}&fill=1"))
                yield from _compared(f"{COLUMNS} columns", all_, theirs)


def _cells(row: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in row.items() if name not in {"id", "order"}}


def _million_rows(session: requests.Session, url: str, pid: int) -> Iterator[Figure]:
    def costs(number: int) -> list[float]:
        return [_cost(pid, lambda: _get(session, _page(url, number))) for _ in range(ROUNDS)]

    first = costs(1)
    for name, number in (("the middle", LAST // 2), ("the last", LAST)):
        what = f"a million rows: {name} page, compared with the first"
        yield Figure.ratio(1, what, costs(number), first, Limits(most=1.5))


def _memory(api: FakeApi, session: requests.Session, url: str, pid: int) -> Figure:
    # From now on every row of this table has a cell of 100 kB.
    long = [{"id": number, "Title": "x" * 100_000} for number in range(1, 51)]
    fault = {
        "route": "rows",
        "match": EVERYTHING[-8:],
        "body": {"count": 50, "next": None, "results": long},
    }
    requests.post(f"{api.url}/sandbox/control/faults", json=fault, timeout=30).raise_for_status()
    # The first page warms up the process, whose memory is compared from there.
    _get(session, f"{url}{EVERYTHING}?fill=1")
    before = memory_of(pid)
    for _ in range(PAGES):
        _get(session, f"{url}{WIDE}?per_page=200&fill=1")
        _get(session, f"{url}{EVERYTHING}?fill=1")
    grown = memory_of(pid) - before
    what = "memory after 40 pages, of 200 columns and of 50 cells of 100 kB (MB more)"
    return Figure(1, what, grown, most=30, detail=f"from {before:.0f} MB")


def _compared(
    what: str, mine: Callable[[], float], theirs: Callable[[], float]
) -> Iterator[Figure]:
    ours, others = (
        list(each)
        for each in zip(*[(mine(), theirs()) for _ in range(ROUNDS + 1)][1:], strict=True)
    )
    detail = "processor time of the console's process, in ms"
    yield Figure(
        1,
        f"{PER_PAGE} rows x {what} (ms)",
        median(ours) * 1000,
        most=15,
        spread=_in_ms(ours),
        detail=detail,
    )
    name = f"{PER_PAGE} rows x {what}, compared with Datasette"
    yield Figure.ratio(1, name, ours, others, Limits(most=0.5))


@contextmanager
def _only_columns(api: FakeApi, number: int) -> Iterator[None]:
    """Reduce the wide table to its first columns and its first page."""
    data, theirs = f"{api.url}/api/database", api.header_of(1001)
    fields = requests.get(f"{data}/fields/table/{WIDE[-8:]}/", headers=theirs, timeout=30).json()[
        :number
    ]
    query = {
        "user_field_names": "True",
        "size": str(PER_PAGE),
        "include": ",".join(field["name"] for field in fields),
    }
    rows = requests.get(
        f"{data}/rows/table/{WIDE[-8:]}/", params=query, headers=theirs, timeout=30
    ).json()
    faults = f"{api.url}/sandbox/control/faults"
    for route, body in (("fields", fields), ("rows", rows)):
        fault = {"route": route, "match": WIDE[-8:], "body": body}
        requests.post(faults, json=fault, timeout=30).raise_for_status()
    yield
    requests.delete(faults, timeout=30).raise_for_status()


def _serve(made: Site) -> tuple[str, int]:
    port = free_port()
    process = made.start("serve", "--no-worker", f"--port={port}")
    return answering(f"http://127.0.0.1:{port}", "/healthz"), process.pid


def _page(url: str, number: int) -> str:
    return f"{url}{MILLION}?per_page={PER_PAGE}&page={number}&fill=1"


def _get(session: requests.Session, url: str) -> None:
    response = session.get(url, timeout=60)
    assert response.status_code == 200, f"{url}: {response.status_code}"


def _cost(pid: int, visit: Callable[[], None]) -> float:
    """Return processor seconds of the process and its descendants, for one page."""
    before = sum(_ticks(each) for each in family(pid))
    for _ in range(PAGES):
        visit()
    return (sum(_ticks(each) for each in family(pid)) - before) / TICK / PAGES


def _ticks(pid: int) -> int:
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return int(fields[11]) + int(fields[12])


def _in_ms(seconds: list[float]) -> tuple[float, float] | None:
    return middle([each * 1000 for each in seconds])
