"""The log: a JSON line for each request, with its id and nothing confidential."""

import logging
import re
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from bs4 import BeautifulSoup
from flask import Flask, request
from sqlalchemy import text

from dashboard.context import Services
from dashboard.core.database import db
from dashboard.refresh import service as refresh
from dashboard.telemetry import request_id
from dashboard.telemetry.task_runs import around_task
from tests.support.people import Person, path_of, words
from tests.support.sandbox import Sandbox
from tests.telemetry.conftest import Lines

SECRET = (
    "postgresql://console:hunter2-the-password@db.example.com/console"  # pragma: allowlist secret
    "?sslmode=require"
)


def test_a_request_is_one_line_by_its_endpoint_without_what_its_address_says(
    log_lines: Lines, olga: Person, sandbox: Sandbox
) -> None:
    well = sandbox.healthy
    before = len(log_lines())
    assert olga.client.get(path_of(well), headers={"X-Request-ID": "from-the-proxy.1"}).text
    assert olga.client.get(
        "/connections?q=Somebody%20Secret", headers={"User-Agent": "Secret/1"}
    ).text
    first, second = [
        line for line in log_lines()[before:] if line["logger"] == "dashboard.telemetry.access_log"
    ]
    assert (first["endpoint"], first["status"], first["account_id"], first["connection_id"]) == (
        "connections.show", 200, well.account_id, well.id,
    )  # fmt: skip
    assert (first["request_id"], first["level"], first["method"]) == (
        "from-the-proxy.1",
        "INFO",
        "GET",
    )
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d+\+00:00", first["at"])
    assert 0 < first["seconds"] < 10
    assert second["endpoint"] == "connections.index"
    assert "Secret" not in str(log_lines())


@pytest.mark.parametrize(
    "offered",
    [
        "short",
        "x" * 65,
        "with space in it",
        "line\\nbreak-in",
        "ümlaut-ümlaut",
        '"quoted-words"',
        "",
    ],
)
def test_an_id_that_is_not_well_formed_is_replaced(app: Flask, offered: str) -> None:
    response = app.test_client().get("/healthz", headers={"X-Request-ID": offered})
    assert re.fullmatch(r"[0-9a-f]{16}", response.headers["X-Request-ID"])


def test_a_probe_that_finds_all_well_leaves_no_line(log_lines: Lines, app: Flask) -> None:
    assert app.test_client().get("/healthz").text == "ok\n"
    assert log_lines() == []


@contextmanager
def received_ids(sandbox: Sandbox) -> Iterator[list[str | None]]:
    """Yield the ids of the calls that reach Peliqan in the context."""
    seen: list[str | None] = []
    sandbox.app.before_request_funcs.setdefault(None, []).insert(
        0, lambda: seen.append(request.headers.get("X-Request-ID"))
    )
    try:
        yield seen
    finally:
        sandbox.app.before_request_funcs[None].pop(0)


def test_the_id_goes_to_peliqan_with_every_call_and_stands_on_the_page_of_an_error(
    log_lines: Lines, olga: Person, sandbox: Sandbox
) -> None:
    well = sandbox.healthy
    sandbox.fault("applications", status=500)
    with received_ids(sandbox) as seen:
        response = olga.client.get(
            f"/accounts/{well.account_id}/databases/1", headers={"X-Request-ID": "walks-through-1"}
        )
    assert response.status_code == 502
    assert "walks-through-1" in seen
    assert "Request walks-through-1" in words(BeautifulSoup(response.text, "html.parser"))
    (failed,) = [line for line in log_lines() if line["logger"] == "dashboard.telemetry.api_calls"]
    assert (failed["route"], failed["result"], failed["request_id"]) == (
        "applications",
        "server_error",
        "walks-through-1",
    )


def test_a_mistake_is_told_with_its_place_and_without_what_it_quotes(
    log_lines: Lines, app: Flask, olga: Person
) -> None:
    def breaks() -> str:
        local_secret, token = SECRET, "-".join(["abcdef", "123456"])
        raise RuntimeError(f"cannot connect to {local_secret} with Authorization: JWT {token}")

    breaks.__dict__["role"] = "viewer"
    app.view_functions["trend.show"] = breaks
    response = olga.client.get("/trend?q=walks", headers={"X-Request-ID": "broken-by-itself"})
    assert response.status_code == 500
    assert "broken-by-itself" in response.text
    mistake, line = log_lines()[-2:]
    assert (mistake["level"], mistake["message"]) == (
        "ERROR",
        "A mistake of the console's in trend.show",
    )
    assert "in breaks" in mistake["exception"]
    assert "RuntimeError: cannot connect to postgresql://" in mistake["exception"]
    assert (line["status"], line["level"], line["request_id"]) == (
        500,
        "WARNING",
        "broken-by-itself",
    )
    for hidden in ("hunter2", "abcdef-123456", "walks"):
        assert hidden not in str(log_lines())


def test_an_error_of_the_databases_does_not_tell_the_values_of_its_statement(
    log_lines: Lines, app: Flask
) -> None:
    with app.app_context():
        values = {"value": "Mrs Jones, 1 Main Street"}
        try:
            db.session.execute(text("SELECT * FROM nothing WHERE a = :value"), values)
        except Exception:  # every exception is logged
            logging.getLogger("dashboard.somewhere").exception("It broke")
        db.session.rollback()
    (line,) = log_lines()
    assert "nothing" in line["exception"]
    assert "Jones" not in str(line)


def test_what_libraries_say_is_scrubbed(log_lines: Lines) -> None:
    logging.getLogger("gunicorn.error").error(
        "Error handling request %s", "/accounts?q=Jones&token=abc123def456"
    )
    logging.getLogger("some.library").warning("Retrying %s", SECRET)
    assert "Jones" not in str(log_lines())
    assert "hunter2" not in str(log_lines())
    assert len(log_lines()) == 2


def test_calls_for_a_file_that_is_sent_as_it_is_read_carry_the_requests_id(
    olga: Person, sandbox: Sandbox
) -> None:
    with received_ids(sandbox) as seen:
        assert olga.client.get(
            "/accounts/1001/tables/10011903/export.csv", headers={"X-Request-ID": "a-whole-file"}
        ).data
    assert len(seen) > 2
    assert set(seen) == {"a-whole-file"}


def test_a_task_has_an_id_that_its_calls_carry(
    log_lines: Lines, app: Flask, sandbox: Sandbox
) -> None:
    services: Services = app.extensions["services"]
    with received_ids(sandbox) as seen, app.app_context(), around_task("read"):
        inside = request_id.current()
        logging.getLogger("dashboard.fleet").warning("Something")
        refresh.refresh_fleet(services)
    assert re.fullmatch(r"[0-9a-f]{16}", inside)
    assert {line["request_id"] for line in log_lines()} == {inside}
    assert len(seen) > 2
    assert set(seen) == {inside}
    assert request_id.current() == ""
