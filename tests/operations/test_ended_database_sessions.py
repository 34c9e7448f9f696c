"""PostgreSQL ends sessions (restart, failover): before a request, and at each statement."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import psycopg
import pytest
from flask import Flask
from sqlalchemy import event

from dashboard.core.database import db
from tests.security.route_requests import RouteRequest, RouteRequests, send_request
from tests.support.databases import Servers
from tests.support.people import Person


@pytest.fixture
def end_sessions(servers: Servers) -> Iterator[Callable[[], None]]:
    """Return a function that ends every session of the test's database."""
    with psycopg.connect(servers.postgresql.url("postgres"), autocommit=True) as connection:

        def end() -> None:
            connection.execute(
                "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE datname = "
                "'test'"
            )

        yield end


def pages(app: Flask) -> list[RouteRequest]:
    return RouteRequests(app).all("GET")


@contextmanager
def ended_at(app: Flask, number: int, end: Callable[[], None]) -> Iterator[list[int]]:
    """End all sessions before statement ``number``; return the number of statements."""
    seen = [0]

    def count(*_: Any) -> None:
        seen[0] += 1
        if seen[0] == number:
            end()

    with app.app_context():
        engine = db.engine
    event.listen(engine, "before_cursor_execute", count)
    try:
        yield seen
    finally:
        event.remove(engine, "before_cursor_execute", count)


def test_sessions_that_end_before_a_request_or_in_its_midst_are_no_error_of_the_consoles(
    app: Flask, adam: Person, end_sessions: Callable[[], None]
) -> None:
    """Before a request: a normal response. During it: the outage page, or the page itself."""
    wrong, unavailable, routes = [], 0, pages(app)
    assert len(routes) > 80
    for turn, route in enumerate(routes):
        end_sessions()
        with ended_at(app, 0, end_sessions) as statements:
            response = send_request(adam.client, route)
        if response.status_code >= 500:
            wrong.append((str(route), 0, response.status_code, response.data[:200]))
        for number in {1 + turn % max(1, statements[0]), statements[0]} - {0}:
            with ended_at(app, number, end_sessions):
                response = send_request(adam.client, route)
            unavailable += response.status_code == 503
            explains = b"does not answer" in response.data or route.endpoint == "health.ready"
            if response.status_code >= 500 and not (response.status_code == 503 and explains):
                wrong.append((str(route), number, response.status_code, response.data[:200]))
    assert wrong == []
    assert unavailable > 100
