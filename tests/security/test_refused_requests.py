"""Refused requests may repeat without end and add few rows: they are counted."""

import itertools
import re
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

import pytest
from flask import Flask
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import func, select

from dashboard.audit import service as audit
from dashboard.audit.limits import MOST_ROWS
from dashboard.audit.models import AuditEntry
from dashboard.core.database import db
from dashboard.users import passwords
from dashboard.worker import retention
from tests.security.route_requests import RouteRequests, send_request
from tests.security.test_sign_in import VIV, attempt
from tests.support.clock import Clock
from tests.support.people import PASSWORD_HASH, Person
from tests.support.webhook_sender import ADDRESS

ABOVE_VIEWER = {"operator", "admin", None}


@pytest.fixture(scope="module", params=["embedded", "servers"])
def engine(request: pytest.FixtureRequest) -> str:
    """Both databases: each has its own way to count in one row."""
    return str(request.param)


@pytest.fixture(scope="module")
def changes() -> dict[str, Any]:
    return {"peliqan_webhook_secret": "hush-hush-4711"}


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(passwords, "_nobodys_hash", lambda: PASSWORD_HASH)


@pytest.fixture
def at_the_hour(clock: Clock) -> None:
    """Keep the clock within one hour: each hour has its own row."""
    now = clock()
    clock.ahead += now.replace(minute=0, second=0, microsecond=0) + timedelta(hours=1) - now


def counts(app: Flask) -> dict[str, int]:
    """Return the number of rows of every table."""
    with app.app_context():
        found = {
            table.name: db.session.scalar(select(func.count()).select_from(table)) or 0
            for table in db.metadata.sorted_tables
        }
        db.session.remove()
        return found


def refused_by_role(app: Flask, route_requests: RouteRequests) -> Iterator[int]:
    viv = Person(app.test_client(), VIV)
    token = viv.token()
    for request in route_requests.all():
        if request.role in ABOVE_VIEWER:
            data = {"csrf_token": token} if request.method != "GET" else None
            yield send_request(viv.client, request, data=data).status_code


def without_the_forms_token(app: Flask, route_requests: RouteRequests) -> Iterator[int]:
    viv = Person(app.test_client(), VIV)
    for request in route_requests.all("POST", "PUT", "PATCH", "DELETE"):
        yield send_request(viv.client, request).status_code


def by_strangers(app: Flask, route_requests: RouteRequests) -> Iterator[int]:
    token = Person(app.test_client()).token("/login")
    for request in route_requests.all():
        if request.role != "public":
            data = {"csrf_token": token} if request.method != "GET" else None
            yield send_request(app.test_client(), request, data=data).status_code


def with_unknown_tokens(app: Flask, route_requests: RouteRequests) -> Iterator[int]:
    for number, request in enumerate(route_requests.all("GET")):
        if request.is_for_scripts and request.role != "public":
            yield send_request(
                app.test_client(), request, headers={"Authorization": f"Bearer pc_{number}"}
            ).status_code


def unsigned_events(app: Flask, _route_requests: RouteRequests) -> Iterator[int]:
    for number in range(5):
        event = {"event": "connection_added", "event_id": f"made up {number}"}
        yield (
            app.test_client()
            .post(ADDRESS, json=event, headers={"X-Peliqan-Signature": "wrong"})
            .status_code
        )


def wrong_codes_and_passwords(app: Flask, _route_requests: RouteRequests) -> Iterator[int]:
    yield attempt(app.test_client(), VIV).status_code
    viv = Person(app.test_client(), VIV)
    yield viv.post("/me/password", current="wrong", new="a", again="a").status_code
    yield viv.post("/me/sessions/end", password="wrong", which="others").status_code
    yield viv.post("/me/second-factor", password="wrong", code="1").status_code
    yield viv.post("/me/second-factor/remove", password="wrong", code="1").status_code
    yield viv.post("/me/tokens/999999/revoke").status_code


def forms_that_are_none(app: Flask, route_requests: RouteRequests) -> Iterator[int]:
    viv = Person(app.test_client(), VIV)
    headers = {"X-CSRFToken": viv.token()}
    for request in route_requests.all("POST"):
        yield send_request(viv.client, request, json={"name": "x"}, headers=headers).status_code


WAYS: list[Callable[[Flask, RouteRequests], Iterator[int]]] = [
    refused_by_role, without_the_forms_token, by_strangers, with_unknown_tokens, unsigned_events,
    wrong_codes_and_passwords,
    forms_that_are_none,
]  # fmt: skip


@pytest.mark.usefixtures("at_the_hour")
@pytest.mark.parametrize("way", WAYS)
def test_asking_again_adds_no_row_to_any_table(
    app: Flask, route_requests: RouteRequests, way: Callable[[Flask, RouteRequests], Iterator[int]]
) -> None:
    answered = list(way(app, route_requests))
    assert answered
    assert all(status in {302, 303} or 400 <= status < 500 for status in answered), answered
    before = counts(app)
    for _ in range(2):
        assert list(way(app, route_requests)) == answered
    after = counts(app)
    # Sign-ins, once each here, are stored and have limits of their own.
    grown = {name: after[name] - before[name] for name in after if after[name] != before[name]}
    assert set(grown) <= {"sign_in", "audit_entry"}, grown
    assert grown.get("audit_entry", 0) <= 2
    assert grown.get("sign_in", 0) <= 2


@pytest.mark.usefixtures("at_the_hour")
def test_each_refusal_is_counted_with_the_time_of_the_first_and_the_last(
    app: Flask, route_requests: RouteRequests, clock: Clock
) -> None:
    viv, adam = Person(app.test_client(), VIV), Person(app.test_client(), "adam@example.com")
    first = clock()
    for _ in range(7):
        viv.client.get("/audit")
        clock.move(seconds=3)
    [entry] = [
        each
        for each in adam.json("/audit.json?what=admin.audit_index&sort=-at")["items"]
        if each["at"] >= f"{first:%Y-%m-%dT%H}"
    ]
    assert (entry["times"], entry["who"], entry["result"]) == (7, VIV, "refused")
    assert entry["at"] < entry["settled_at"]
    assert re.search(r"7\s+times, last", adam.client.get("/audit?what=admin.audit_index").text)
    clock.move(hours=1)
    viv = Person(app.test_client(), VIV)
    viv.client.get("/audit")
    assert [
        each["times"]
        for each in adam_again(app).json("/audit.json?what=admin.audit_index&sort=-at")["items"][:2]
    ] == [1, 7]


def adam_again(app: Flask) -> Person:
    return Person(app.test_client(), "adam@example.com")


@pytest.mark.usefixtures("at_the_hour")
def test_strangers_and_a_viewer_add_no_more_than_so_many_rows_an_hour(app: Flask) -> None:
    with app.app_context():
        before, at = entries(), app.extensions["services"].clock()
        for number in range(3 * MOST_ROWS):
            audit.record(at, f"guess{number}@example.com", "sign_in", audit.FAILED)
        assert entries() - before == MOST_ROWS + 1
        for number in range(3 * MOST_ROWS):
            audit.record(
                at, VIV, "export", audit.REFUSED, account_id=number, detail=f"Table {number}"
            )
        assert entries() - before == 2 * (MOST_ROWS + 1)
        # A user is named, however many strangers tried.
        entry = audit.record(at, "olga@example.com", "sign_in", audit.FAILED)
        assert (entry.who, entry.times) == ("olga@example.com", 1)
        beyond = db.session.scalars(
            select(AuditEntry)
            .where(AuditEntry.detail == audit.BEYOND, AuditEntry.at >= at)
            .order_by(AuditEntry.id)
        ).all()
        assert [(each.who, each.times) for each in beyond] == [
            ("", 2 * MOST_ROWS),
            (VIV, 2 * MOST_ROWS),
        ]


def entries() -> int:
    return db.session.scalar(select(func.count(AuditEntry.id))) or 0


@settings(max_examples=25, deadline=None)
@given(
    st.lists(
        st.tuples(
            st.sampled_from([VIV, "x@example.com", "", "\0", "\ud800"]),
            st.sampled_from(["failed", "refused"]),
            st.integers(1, 3),
        )
    )
)
def test_whatever_is_refused_is_counted_as_often_as_it_was(
    app: Flask, refusals: list[tuple[str, str, int]]
) -> None:
    with app.app_context():
        at = app.extensions["services"].clock()
        total = select(func.coalesce(func.sum(AuditEntry.times), 0))
        before = db.session.scalar(total)
        for who, result, account_id in refusals:
            audit.record(at, who, "made up", result, account_id=account_id, detail=who)
        assert db.session.scalar(total) == before + len(refusals)
        db.session.remove()


def test_refusals_go_with_the_history_and_what_was_done_stays(app: Flask, clock: Clock) -> None:
    with app.app_context():
        at = clock()
        done = audit.record(at - timedelta(days=100), VIV, "made up long ago", audit.DONE).id
        refused = audit.record(at - timedelta(days=100), VIV, "made up long ago", audit.REFUSED).id
        newer = audit.record(at, VIV, "made up now", audit.REFUSED).id
        retention.delete_old(at - timedelta(days=90))
        stored = set(db.session.scalars(select(AuditEntry.id)))
        assert {done, newer} <= stored
        assert refused not in stored


@pytest.mark.usefixtures("rate_limited")
def test_no_line_of_a_log_holds_an_address_or_who_it_was(
    app: Flask, route_requests: RouteRequests, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("DEBUG")
    everybody = itertools.cycle(["192.0.2.77", "2001:db8:77::1", "198.51.100.77"])
    for email in (
        "viv@example.com",
        "nobody@example.net",
        "sam@bücher.example",
        "Ｖiv@example.com",
    ):
        for _ in range(12):
            attempt(app.test_client(), email, address=next(everybody))
    rate_limited = app.test_client()
    for _ in range(35):
        rate_limited.get("/login/provider", environ_overrides={"REMOTE_ADDR": next(everybody)})
    viv = Person(rate_limited)
    for path in ("/login/code", "/me/password", "/login"):
        for _ in range(12):
            form = {"csrf_token": viv.token("/login"), "email": "viv@example.com", "code": "1"}
            rate_limited.post(path, data=form, environ_overrides={"REMOTE_ADDR": next(everybody)})
    text = "\n".join(record.getMessage() for record in caplog.records)
    assert "exceeded at endpoint" in text
    found = re.search(
        r"[^\s@]+@[^\s@]+\.\w+|192\.0\.2\.77|198\.51\.100\.77|2001:db8:77|\bviv\b", text
    )
    assert found is None, text[max(0, found.start() - 200) : found.end() + 50]
