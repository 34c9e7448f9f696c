"""The table browser: what a page costs the console itself, on the first, the middle and the last page; beside Datasette.

The stand-in answers from a process of its own, so what is measured is the console's processor time alone.
"""

import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from statistics import median
from typing import Final

import requests

from bench import datasette
from bench.fleet import add_person
from bench.memory import family, memory_of
from bench.passes import run_pass
from bench.report import Figure, middle
from bench.served import Site, sign_in, site
from bench.stand_in import StandIn, stand_in
from tests.support.databases import Servers, free_port
from tests.support.processes import answering

ROUNDS: Final = 5
# So many pages a figure: processor time is counted in hundredths of a second.
PAGES: Final = 20
PER_PAGE, COLUMNS, LAST = 100, 20, 10_000
TABLES: Final = "/accounts/1001/tables/1001190"
MILLION, WIDE, EVERYTHING = f"{TABLES}2", f"{TABLES}3", f"{TABLES}0"
TICK: Final = os.sysconf("SC_CLK_TCK")


def measure(_servers: Servers) -> Iterator[Figure]:
    """On SQLite: rows never come from the store."""
    with (
        stand_in(2) as api,
        site(None, api.url) as made,
        tempfile.TemporaryDirectory(prefix="datasette-") as folder,
    ):
        with made.app.app_context():
            add_person()
        run_pass(made.app)
        url, pid = _serve(made)
        session = sign_in(url)
        chosen = "&".join(f"column=Column {number:03}" for number in range(1, COLUMNS + 1))
        wide = f"{url}{WIDE}?per_page={PER_PAGE}&{chosen}&fill=1"
        rows = session.get(f"{url}{WIDE}.json?per_page={PER_PAGE}&{chosen}", timeout=60).json()[
            "items"
        ]
        file = Path(folder) / "rows.db"
        datasette.fill(
            file,
            [
                {name: value for name, value in row.items() if name not in {"id", "order"}}
                for row in rows
            ],
        )
        with datasette.served(datasette.install(Path(folder) / "venv"), file) as (other, other_pid):
            theirs = f"{other}/rows/rows?_size={PER_PAGE}"
            mine, their = (
                partial(_cost, pid),
                partial(_cost, other_pid, lambda: _get(requests.Session(), theirs)),
            )
            yield from _beside(
                f"{COLUMNS} of 200 columns", partial(mine, partial(_get, session, wide)), their
            )
            with _no_more_columns_than(api, COLUMNS):
                whole = f"{url}{WIDE}?per_page={PER_PAGE}"
                _get(session, whole)
                yield from _beside(
                    f"{COLUMNS} columns",
                    partial(mine, partial(_get, session, f"{whole}&fill=1")),
                    their,
                )
        first = [_cost(pid, lambda: _get(session, _page(url, 1))) for _ in range(ROUNDS)]
        for name, number in (("the middle", LAST // 2), ("the last", LAST)):
            there = partial(_get, session, _page(url, number))
            far = [_cost(pid, there) for _ in range(ROUNDS)]
            yield Figure.ratio(
                1, f"a million rows: {name} page, beside the first", far, first, most=1.5, unit="ms"
            )
        # Every row of this table has a cell of 100 kB from now on.
        long = [{"id": number, "Title": "x" * 100_000} for number in range(1, 51)]
        fault = {
            "route": "rows",
            "match": EVERYTHING[-8:],
            "body": {"count": 50, "next": None, "results": long},
        }
        requests.post(
            f"{api.url}/sandbox/control/faults", json=fault, timeout=30
        ).raise_for_status()
        # What the first such page takes is kept for the next.
        _get(session, f"{url}{EVERYTHING}?fill=1")
        before = memory_of(pid)
        for _ in range(PAGES):
            _get(session, f"{url}{WIDE}?per_page=200&fill=1")
            _get(session, f"{url}{EVERYTHING}?fill=1")
        grown = memory_of(pid) - before
        what = "memory after 40 pages, of 200 columns and of 50 cells of 100 kB (MB more)"
        yield Figure(1, what, grown, most=30, detail=f"from {before:.0f} MB")


def _beside(what: str, mine: Callable[[], float], theirs: Callable[[], float]) -> Iterator[Figure]:
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
    yield Figure.ratio(
        1, f"{PER_PAGE} rows x {what}, beside Datasette", ours, others, most=0.5, unit="ms"
    )


@contextmanager
def _no_more_columns_than(api: StandIn, number: int) -> Iterator[None]:
    """Have the wide table only its first columns, and its first page."""
    data, theirs = f"{api.url}/api/database", api.header_of(1001)
    fields = requests.get(f"{data}/fields/table/{WIDE[-8:]}/", headers=theirs, timeout=30).json()[
        :number
    ]
    asked = {
        "user_field_names": "True",
        "size": str(PER_PAGE),
        "include": ",".join(field["name"] for field in fields),
    }
    rows = requests.get(
        f"{data}/rows/table/{WIDE[-8:]}/", params=asked, headers=theirs, timeout=30
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
    answer = session.get(url, timeout=60)
    assert answer.status_code == 200, f"{url}: {answer.status_code}"


def _cost(pid: int, ask: Callable[[], None]) -> float:
    """Processor seconds of the process and those that it began, for one page."""
    before = sum(_ticks(each) for each in family(pid))
    for _ in range(PAGES):
        ask()
    return (sum(_ticks(each) for each in family(pid)) - before) / TICK / PAGES


def _ticks(pid: int) -> int:
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return int(fields[11]) + int(fields[12])


def _in_ms(seconds: list[float]) -> tuple[float, float] | None:
    return middle([each * 1000 for each in seconds])
