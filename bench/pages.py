"""Pages at fleet size, compared with a small fleet and with Flask-Admin's list view."""

from collections.abc import Iterator
from contextlib import ExitStack
from statistics import median

import requests

from bench.fleet import evaluate_findings, fill
from bench.report import Figure, Limits
from bench.served import Site, seconds, sign_in, site
from tests.support.databases import Servers, free_port
from tests.support.processes import answering

SMALL, LARGE, ROUNDS, PER_PAGE = 1_000, 100_000, 15, 50
PATHS = {
    "/connections": "/connections",
    "one severity": "/connections?severity=error",
    "one connector": "/connections?connector=exact_online",
    "two filters": "/connections?severity=error&status=ERROR",
    "search by a word": "/connections?q=harbour",
    **{
        f"by {name}": f"/connections?sort={name}"
        for name in ("account", "name", "connector", "status", "last_success", "since")
    },
    "the last page": "/connections?page={last}",
    "/accounts": "/accounts",
    "/accounts by connections": "/accounts?sort=-connections",
    "/": "/",
}
# The same pages of Flask-Admin, which counts columns and pages from 0.
ADMIN = {
    "/connections": "/admin/connection/",
    "one severity": "/admin/connection/?flt0_0=error",
    "search by a word": "/admin/connection/?search=harbour",
    **{
        f"by {name}": f"/admin/connection/?sort={place}"
        for place, name in enumerate(("account", "name", "connector", "status"))
    },
    "by last_success": "/admin/connection/?sort=5",
    "by since": "/admin/connection/?sort=6",
    "the last page": "/admin/connection/?page={last0}",
}


def measure(servers: Servers) -> Iterator[Figure]:
    """Measure on SQLite and on PostgreSQL."""
    for engine, where in (("SQLite", None), ("PostgreSQL", servers)):
        with ExitStack() as stack:
            sites = [stack.enter_context(site(where)) for _ in range(2)]
            for made, size in zip(sites, (SMALL, LARGE), strict=True):
                fill(made.app, size)
                evaluate_findings(made.app)
            yield from _measure(engine, *sites)


def _measure(engine: str, small: Site, large: Site) -> Iterator[Figure]:
    small_url, large_url, admin_url = small.serve(), large.serve(), _serve_admin(large)
    sessions = [sign_in(small_url), sign_in(large_url), requests.Session()]
    for name, path in PATHS.items():
        urls = [url + _last(path, size) for url, size in ((small_url, SMALL), (large_url, LARGE))]
        if name in ADMIN:
            urls.append(admin_url + _last(ADMIN[name], LARGE))
        times = [
            [seconds(session, url) for session, url in zip(sessions, urls, strict=False)]
            for _ in range(ROUNDS + 2)
        ][2:]
        little, much, *admin = (list(each) for each in zip(*times, strict=True))
        what = f"{engine}: {name}"
        yield Figure.ratio(
            3, f"{what}, compared with {SMALL:,} connections", much, little, Limits(most=1.5)
        )
        if admin:
            yield Figure.ratio(
                3, f"{what}, compared with Flask-Admin", much, admin[0], Limits(most=0.5)
            )
    sizes = [
        _transferred(sessions[1], large_url + path) for path in ("/connections", "/accounts", "/")
    ]
    yield Figure(
        3,
        f"{engine}: a warm page load (kB)",
        max(sizes) / 1000,
        most=30,
        detail=f"median {median(sizes) / 1000:.1f} kB",
    )


def _serve_admin(made: Site) -> str:
    port = free_port()
    made.start(str(port), module="bench.flask_admin_app")
    return answering(f"http://127.0.0.1:{port}", "/admin/connection/")


def _last(path: str, size: int) -> str:
    return path.format(last=-(-size // PER_PAGE), last0=-(-size // PER_PAGE) - 1)


def _transferred(session: requests.Session, url: str) -> int:
    """Return the bytes of a page whose static files are cached."""
    response = session.get(url, timeout=60, stream=True)
    head = sum(len(name) + len(value) + 4 for name, value in response.headers.items())
    return head + len(response.raw.read(decode_content=False))
