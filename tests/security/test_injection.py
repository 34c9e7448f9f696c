"""Input is never interpreted as anything else: not as SQL, a path or a line of a log.

A route's parameters are found by recording what it reads from its request.
"""

import io
import logging
from collections import defaultdict
from collections.abc import Iterator
from typing import Any

import pytest
from flask import Flask, request
from sqlalchemy import func, inspect, select
from werkzeug.datastructures import ImmutableMultiDict

from dashboard.core.database import db
from dashboard.fleet.models import Account, Connection
from dashboard.users import passwords
from dashboard.users.models import User
from tests.security.route_requests import RouteRequest, RouteRequests, send_request
from tests.support.people import PASSWORD_HASH, Person

SQL = (
    "' OR '1'='1", "'; DROP TABLE \"user\"; --", "1) UNION SELECT password_hash FROM \"user\" --",
    "\\' OR 1=1 --", "%' OR '%'='",
    "$$; SELECT pg_sleep(5); $$", "1; ATTACH DATABASE '/tmp/x' AS x",
    "' || (SELECT token_hash FROM access_token) || '",
)  # fmt: skip
ODD = (
    "\0", "a\0b", "\ud800", "\ufdd0", "9" * 20, "9" * 5000, "-1", "1e400", "NaN", "0x10", "１２",
    "[]", "{}", "null", "%", "_", "*", "(", "[a", "\\",
    "\r\nSet-Cookie: a=b", "../../etc/passwd", "2026-13-45", "0001-01-01T00:00:00+14:00",
    "9999-12-31T23:59:59-12:00", "\U0001f355" * 300, " ", "",
)  # fmt: skip
READ: set[str] = set()


class Watched(ImmutableMultiDict[str, str]):
    """A request's parameters, which record the names that are read."""

    def get(self, key: Any, *args: Any, **more: Any) -> Any:
        READ.add(str(key))
        return super().get(key, *args, **more)

    def getlist(self, key: Any, *args: Any, **more: Any) -> Any:
        READ.add(str(key))
        return super().getlist(key, *args, **more)

    def __getitem__(self, key: Any) -> Any:
        READ.add(str(key))
        return super().__getitem__(key)

    def __contains__(self, key: Any) -> bool:
        READ.add(str(key))
        return super().__contains__(key)


@pytest.fixture(scope="module", params=["embedded", "servers"])
def engine(request: pytest.FixtureRequest) -> str:
    """Both databases: each has its own rules for texts and numbers."""
    return str(request.param)


@pytest.fixture(scope="module")
def all_requests(route_requests: RouteRequests) -> list[RouteRequest]:
    return route_requests.all()


@pytest.fixture(autouse=True)
def watching(app: Flask) -> Iterator[None]:
    before = app.request_class.parameter_storage_class
    app.request_class.parameter_storage_class = Watched
    yield
    app.request_class.parameter_storage_class = before


def stored_data(app: Flask) -> dict[str, Any]:
    """The data that no request may change: tables, users, fleet."""
    with app.app_context():
        found = {
            "tables": sorted(inspect(db.engine).get_table_names()),
            "people": sorted(
                db.session.execute(select(User.email, User.role, User.password_hash)).tuples()
            ),
            "accounts": db.session.scalar(select(func.count(Account.id))),
            "connections": db.session.scalar(select(func.count()).select_from(Connection)),
        }
        db.session.remove()
        return found


def db_is_sqlite(app: Flask) -> bool:
    with app.app_context():
        return db.engine.dialect.name == "sqlite"


def parameters(person: Person, route_request: RouteRequest) -> list[str]:
    READ.clear()
    send_request(person.client, route_request)
    return sorted(name for name in READ if name not in {"csrf_token", "v"})


def test_no_parameter_of_any_route_is_ever_read_as_sql_or_breaks_the_page(
    app: Flask, all_requests: list[RouteRequest]
) -> None:
    adam, before = Person(app.test_client(), "adam@example.com"), stored_data(app)
    values = [*SQL, *ODD]
    # Each parameter gets one value on each database; of a list's formats one is enough.
    first = tried = 0 if db_is_sqlite(app) else len(values) // 2
    for route_request in (
        each
        for each in all_requests
        if each.method == "GET" and not each.path.endswith((".csv", ".jsonl", ".parquet"))
    ):
        for name in parameters(adam, route_request):
            value = values[tried % len(values)]
            tried += 1
            response = send_request(
                adam.client,
                route_request,
                query_string={name: value.encode("utf-8", "surrogatepass")},
            )
            assert response.status_code < 500, (
                f"{route_request}?{name}={value[:40]!r}: {response.status_code}\n"
                f"{response.text[:1500]}"
            )
            assert "root:" not in response.text, route_request
    assert tried - first > 150
    assert stored_data(app) == before


@pytest.mark.parametrize("value", SQL)
def test_a_condition_that_is_always_true_finds_what_its_letters_find(
    app: Flask, value: str
) -> None:
    adam = Person(app.test_client(), "adam@example.com")
    for path in (
        "/accounts.json",
        "/connections.json",
        "/findings.json",
        "/users.json",
        "/audit.json",
        "/webhooks.json",
    ):
        response = adam.client.get(path, query_string={"q": value})
        assert response.json["total"] == 0, path
        assert "argon2" not in response.text


def test_no_field_of_any_form_breaks_anything(app: Flask, all_requests: list[RouteRequest]) -> None:
    adam, before = Person(app.test_client(), "adam@example.com"), stored_data(app)
    token, values, tried = adam.token(), list(SQL + ODD), 0
    fields: dict[str, set[str]] = defaultdict(set)
    for route_request in (
        each
        for each in all_requests
        if each.method != "GET" and each.endpoint not in {"people.logout", "people.login"}
    ):
        READ.clear()
        adam.client.post(route_request.path, data={"csrf_token": token})
        fields[route_request.endpoint] |= READ
        for name in sorted(fields[route_request.endpoint] - {"csrf_token"}):
            value = values[tried % len(values)]
            tried += 1
            form = {
                "csrf_token": token,
                name: value.encode("utf-8", "surrogatepass").decode("utf-8", "replace"),
            }
            response = adam.client.post(route_request.path, data=form)
            # Objects that Peliqan does not have: its own message.
            assert response.status_code < 500 or response.status_code == 502, (
                f"{route_request} {name}={value[:40]!r}: {response.text[:1500]}"
            )
    assert tried > 20
    found = stored_data(app)
    assert found["tables"] == before["tables"]
    assert [each for each in before["people"] if each not in found["people"]] == []


def test_signing_in_with_anything_is_a_refusal(app: Flask, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(passwords, "_nobodys_hash", lambda: PASSWORD_HASH)
    client = app.test_client()
    token = Person(client).token("/login")
    for number, value in enumerate((*SQL, *ODD)):
        text = value.encode("utf-8", "replace").decode()
        form = (
            {"email": text, "password": text}
            if number % 2
            else {"email": f"viv@example.com{text}", "password": "x"}
        )
        response = client.post("/login", data={"csrf_token": token, **form})
        assert response.status_code in {200, 403}, f"{form}: {response.status_code}"


def test_a_number_in_a_path_that_no_id_is_is_no_page(
    app: Flask, route_requests: RouteRequests
) -> None:
    adam = Person(app.test_client(), "adam@example.com")
    number = str(2**63 if db_is_sqlite(app) else 2**63 - 1)
    token = adam.token()
    for rule in app.url_map.iter_rules():
        for argument in rule.arguments - {"filename"}:
            path = route_requests.path_with(rule, {argument: number})
            method = "POST" if "POST" in (rule.methods or set()) else "GET"
            form = {"csrf_token": token} if method == "POST" else None
            response = adam.client.open(path, method=method, data=form)
            # Peliqan's own message about a row or table that it does not have.
            assert response.status_code < 500 or response.status_code == 502, (
                f"{method} {path}: {response.status_code}\n{response.text[:1500]}"
            )


@pytest.mark.parametrize(
    "number", ["-1", "1e3", "0x1", "1%00", "..%2f1", "%2e%2e", "1;", "１", "1 ", "%201", "١"]
)
def test_what_is_no_number_is_no_page(app: Flask, number: str) -> None:
    adam = Person(app.test_client(), "adam@example.com")
    for path in (
        "/accounts/{}",
        "/accounts/1001/connections/{}",
        "/accounts/1001/tables/{}/rows/3",
        "/exports/{}/file",
        "/causes/{}.json",
    ):
        assert adam.client.get(path.format(number)).status_code == 404, path


TRAVERSAL = [
    "../pyproject.toml", "..%2fpyproject.toml", "%2e%2e/pyproject.toml", "....//pyproject.toml",
    "..\\pyproject.toml", "/etc/passwd", "//etc/passwd",
    "vendor/../../pyproject.toml", "%00", "console.css%00.txt", "", ".", "vendor", "vendor/",
    ".git/config",
]  # fmt: skip


@pytest.mark.parametrize("name", TRAVERSAL)
def test_no_path_leads_out_of_the_static_files_nor_lists_them(app: Flask, name: str) -> None:
    for before in ("/static/", "/exports/", "/accounts/1001/", "/"):
        response = app.test_client().get(before + name)
        assert response.status_code in {302, 308, 400, 401, 404, 405}, (
            f"{before + name}: {response.status_code}"
        )
        assert "[project]" not in response.text
        assert "root:" not in response.text
        assert "Index of" not in response.text


def test_a_line_break_or_a_colour_in_an_address_writes_no_line_of_its_own_into_the_log(
    app: Flask,
) -> None:
    out = io.StringIO()
    handler = logging.StreamHandler(out)
    handler.setFormatter(logging.Formatter("%(levelname)s %(message)s"))
    app.logger.addHandler(handler)
    try:
        with app.test_request_context(
            "/connections/x%0aERROR forged%1b[31m%e2%80%ae%0d%c2%85%e2%80%a8ERROR forged"
        ):
            app.logger.error("Something about %s", request.path)
            app.log_exception((None, None, None))
    finally:
        app.logger.removeHandler(handler)
    written = out.getvalue()
    assert "forged" in written
    assert [line.partition(" ")[0] for line in written.splitlines()] == [
        "ERROR",
        "ERROR",
        "NoneType:",
    ]
    assert "forged" not in written.splitlines()[1]
    assert not set(written) & set("\x1b\u202e\r\x85\u2028")


def test_what_a_statement_was_about_is_in_no_error_of_the_databases(app: Flask) -> None:
    with app.app_context():
        db.session.add(
            User(
                email="viv@example.com",
                role="viewer",
                password_hash="hash-that-is-secret",
                created_at=app.extensions["services"].clock(),
            )
        )
        with pytest.raises(Exception) as caught:  # noqa: PT011 (whatever the driver calls it)
            db.session.flush()
        assert "hash-that-is-secret" not in str(caught.value)
        db.session.rollback()
