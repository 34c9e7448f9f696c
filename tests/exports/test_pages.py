"""Exports for scripts: all rows, masked for the user, and never a part that looks complete."""

import csv
import errno
import io
import json
import os
import socket
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pyarrow.parquet
import pytest
import requests
from flask import Flask
from sqlalchemy import select
from sqlalchemy.exc import OperationalError

from dashboard import peliqan
from dashboard.app import create_app
from dashboard.audit.models import AuditEntry
from dashboard.context import Services
from dashboard.core.database import db
from dashboard.exports import service as exports
from dashboard.exports import table_files
from dashboard.exports.tasks import write_export
from dashboard.masking.rule_file import MASKED
from dashboard.users import tokens
from dashboard.users.models import User
from tests.support.clock import Clock
from tests.support.databases import wait_for
from tests.support.people import Person, words
from tests.support.processes import Processes, make_environ
from tests.support.sandbox import Sandbox
from tests.support.settings import make_settings

ACCOUNT, EVERYTHING, EMPTY, LEDGER, WIDE = 1001, 10011900, 10011901, 10011902, 10011903


def path(table_id: int, suffix: str = "csv", query: str = "") -> str:
    return f"/accounts/{ACCOUNT}/tables/{table_id}/export.{suffix}{query}"


def lines(person: Person, address: str) -> list[dict[str, str]]:
    response = person.client.get(address)
    assert response.status_code == 200, response.text[:500]
    return list(csv.DictReader(io.StringIO(response.text, newline="")))


def entries(app: Flask) -> list[AuditEntry]:
    with app.app_context():
        return list(
            db.session.scalars(
                select(AuditEntry).where(AuditEntry.what == "export").order_by(AuditEntry.id)
            )
        )


def people_table(sandbox: Sandbox) -> int:
    """Return the address of a table of contacts with more than one page."""
    parts = sandbox.app.extensions["sandbox"]
    placed = [
        (each.placed or each.id % 100, each.connector) for each in sandbox.life.connections(ACCOUNT)
    ]
    found = [
        table
        for table in parts.tables.of_account(ACCOUNT, placed)
        if table.kind == "people" and table.count
    ]
    return int(found[0].id)


def test_every_row_of_every_page_comes_once_in_all_three_formats(olga: Person) -> None:
    found = lines(olga, path(WIDE))
    assert [line["id"] for line in found] == [str(n) for n in range(1, 301)]
    assert found[299]["Column 002"] == "600"
    response = olga.client.get(path(WIDE, "jsonl"))
    assert response.mimetype == "application/x-ndjson"
    assert [json.loads(line)["id"] for line in response.text.splitlines()] == list(range(1, 301))
    response = olga.client.get(path(WIDE, "parquet"))
    assert response.content_length == len(response.data)
    table = pyarrow.parquet.read_table(io.BytesIO(response.data))
    assert table["id"].to_pylist() == list(range(1, 301))
    assert str(table.schema.field("Column 002").type) == "decimal128(38, 0)"
    assert response.headers["Content-Disposition"] == f'attachment; filename="table-{WIDE}.parquet"'


def test_the_pages_filters_sort_and_columns_hold_for_the_file(olga: Person) -> None:
    found = lines(
        olga,
        path(
            WIDE,
            query="?filter__Column+002__higher_than=590&sort=-Column+002&column=Column+001&column=Column+002",
        ),
    )
    assert [line["Column 002"] for line in found] == ["600", "598", "596", "594", "592"]
    assert list(found[0]) == ["id", "Column 001", "Column 002"]


def test_an_empty_table_is_a_file_with_its_columns(olga: Person) -> None:
    assert olga.client.get(path(EMPTY)).text == "id,Name,Value\r\n"
    assert olga.client.get(path(EMPTY, "jsonl")).text == ""


def test_what_a_spreadsheet_would_run_comes_as_text_and_every_odd_column_comes(
    olga: Person,
) -> None:
    found = lines(olga, path(EVERYTHING))
    assert {line["Title"] for line in found} >= {"'=1+1", "'@SUM(A1)"}
    assert {"Amount", "amount", 'Quote " dot . slash / 😀', "<b>bold</b>", "العنوان"} <= set(
        found[0]
    )
    assert {"-99999999999999999999.99", "9007199254740993"} <= {line["Amount"] for line in found}
    table = pyarrow.parquet.read_table(
        io.BytesIO(olga.client.get(path(EVERYTHING, "parquet")).data)
    )
    assert "9007199254740993" in {
        str(value).removesuffix(".00") for value in table["Amount"].to_pylist()
    }


@pytest.mark.parametrize("suffix", ["csv", "jsonl", "parquet"])
def test_masked_columns_are_masked_in_the_file_for_operators_and_not_for_administrators(
    suffix: str, olga: Person, adam: Person, sandbox: Sandbox
) -> None:
    table_id = people_table(sandbox)
    for person, sees in ((olga, False), (adam, True)):
        content = person.client.get(path(table_id, suffix)).data
        if suffix == "parquet":
            content = str(pyarrow.parquet.read_table(io.BytesIO(content)).to_pylist()).encode()
        assert (b"contact1@example.com" in content) is sees
        assert (MASKED.encode() in content) is not sees


def test_every_export_is_in_the_audit_with_who_what_of_it_and_how_it_ended(
    olga: Person, app: Flask, sandbox: Sandbox
) -> None:
    lines(olga, path(WIDE, query="?filter__Column+002__higher_than=590&column=Column+002"))
    olga.client.get(path(people_table(sandbox), "parquet"))
    first, second = entries(app)
    assert (first.who, first.account_id, first.result) == ("olga@example.com", ACCOUNT, "done")
    assert (
        first.detail
        == f"Table {WIDE} as CSV; filter: Column 002 is more than 590; columns: Column 002. 5 rows."
    )
    assert second.detail.startswith(
        f"Table {people_table(sandbox)} as Parquet; masked: Full name, E-mail, Phone"
    )


@pytest.mark.parametrize(
    "query",
    [
        "?column=Nothing",
        "?filter__Nothing__equal=1",
        "?sort=Nothing",
        "?filter__Column+002__equal=x",
    ],
)
def test_what_the_table_does_not_have_is_refused_before_anything_is_read(
    query: str, olga: Person, app: Flask
) -> None:
    assert olga.json(path(WIDE, query=query), 400)["error"] == "bad_query"
    assert entries(app) == []


def test_a_viewer_may_not_export_and_is_told_which_role_may(viv: Person, app: Flask) -> None:
    body = viv.json(path(WIDE), 403)
    assert body == {
        "error": "forbidden",
        "detail": "Exporting whole tables needs the role operator here; yours is viewer.",
    }
    assert [(entry.who, entry.result) for entry in entries(app)] == [("viv@example.com", "refused")]


@pytest.mark.parametrize("suffix", ["csv", "parquet"])
def test_a_table_that_cannot_be_read_from_the_start_is_an_error_and_no_file(
    suffix: str, olga: Person, app: Flask, sandbox: Sandbox
) -> None:
    sandbox.fault("rows", status=404)
    assert olga.json(path(WIDE, suffix), 404)["error"] == "not_found"
    assert [entry.result for entry in entries(app)] == ["failed"]


def breaks_off(monkeypatch: pytest.MonkeyPatch, page: int) -> None:
    """Remove the table before this page is requested."""
    real = peliqan.AccountApi.rows

    def rows(self: Any, table_id: int, query: peliqan.RowQuery, **options: Any) -> peliqan.RowPage:
        if query.page >= page:
            raise peliqan.NotFound("rows", status=404)
        return real(self, table_id, query, **options)

    monkeypatch.setattr(peliqan.AccountApi, "rows", rows)


@pytest.mark.parametrize("suffix", ["csv", "jsonl", "parquet"])
def test_a_file_whose_table_breaks_off_is_an_error_and_no_file(
    suffix: str, olga: Person, app: Flask, monkeypatch: pytest.MonkeyPatch
) -> None:
    breaks_off(monkeypatch, 2)
    assert olga.json(path(WIDE, suffix), 404)["error"] == "not_found"
    assert "200 rows. Peliqan does not know this" in entries(app)[0].detail


def test_asking_for_the_head_alone_reads_no_row(olga: Person, app: Flask, sandbox: Sandbox) -> None:
    response = olga.client.head(path(WIDE))
    assert response.status_code == 200
    assert "Content-Length" not in response.headers
    assert entries(app) == []


class Served:
    """Yield the console under gunicorn, and a script with a token of Olga."""

    def __init__(self, url: str, token: str) -> None:
        self.url, self.headers = url, {"Authorization": f"Bearer {token}"}

    def get(self, address: str) -> requests.Response:
        return requests.get(self.url + address, headers=self.headers, stream=True, timeout=30)


@pytest.fixture
def served(
    app: Flask, services: Services, store: dict[str, str], sandbox: Sandbox, tmp_path: Path
) -> Iterator[Served]:
    with app.app_context():
        olga = db.session.scalars(select(User).where(User.email == "olga@example.com")).one()
        token = str(tokens.new_token(olga, "script", services.clock()).value)
    processes = Processes(make_environ(sandbox.url, tmp_path, dashboard_api_timeout=3, **store))
    try:
        yield Served(processes.serve(), token)
    finally:
        processes.end_all()


@pytest.mark.parametrize("suffix", ["csv", "jsonl", "parquet"])
def test_a_client_that_goes_away_ends_the_reading_and_is_in_the_audit(
    suffix: str, served: Served, app: Flask, sandbox: Sandbox
) -> None:
    before = sandbox.state()["calls"].get("rows", 0)
    with socket.create_connection(("127.0.0.1", urlsplit(served.url).port or 0)) as sock:
        request_lines = [
            f"GET {path(LEDGER, suffix)} HTTP/1.1",
            "Host: console",
            f"Authorization: {served.headers['Authorization']}",
            "",
            "",
        ]
        sock.sendall("\r\n".join(request_lines).encode())
        wait_for(lambda: sandbox.state()["calls"].get("rows", 0) > before + 5, "the table is read")
    wait_for(lambda: entries(app)[0].settled_at, "the end is in the audit")
    [entry] = entries(app)
    assert entry.result == "failed"
    assert "The client closed the connection before the file was made." in entry.detail


@pytest.mark.parametrize("suffix", ["csv", "jsonl", "parquet"])
def test_a_file_that_would_be_too_large_is_refused_with_a_sentence_and_leaves_nothing_on_the_disk(
    suffix: str, olga: Person, app: Flask, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = sorted(tmp_path.iterdir())
    monkeypatch.setattr(table_files, "LARGEST", 50_000)
    body = olga.json(path(WIDE, suffix), 400)
    assert body["error"] == "file_too_large"
    assert "so it was not made. Ask for fewer rows by a filter" in body["detail"]
    assert "so it was not made" in entries(app)[0].detail
    assert sorted(tmp_path.iterdir()) == before


@pytest.mark.parametrize("suffix", ["csv", "jsonl", "parquet"])
def test_a_disk_without_room_is_an_error_with_a_sentence_and_no_file(
    suffix: str, olga: Person, app: Flask, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: Any, **__: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device", "/a/path")

    monkeypatch.setattr(tempfile, "TemporaryFile", full)
    monkeypatch.setattr(tempfile, "TemporaryDirectory", full)
    body = olga.json(path(WIDE, suffix), 500)
    assert body["error"] == "file_not_made"
    assert body["detail"].startswith("The file could not be written: No space left on device.")
    assert "No space left on device" in entries(app)[0].detail


@pytest.mark.parametrize("suffix", ["csv", "jsonl", "parquet"])
def test_a_database_that_is_away_when_the_file_is_made_is_an_error_and_no_file(
    suffix: str, olga: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    def away(*_: Any) -> None:
        raise OperationalError(
            "update audit_entry", {}, Exception("the server closed the connection")
        )

    monkeypatch.setattr(exports, "complete_audit_entry", away)
    assert olga.json(path(WIDE, suffix), 503)["error"] == "store_away"


def test_a_folder_that_a_killed_process_left_is_removed_after_a_day(
    olga: Person, tmp_path: Path
) -> None:
    for name, days in (("export-new", 0), ("export-old", 2)):
        (tmp_path / name).mkdir()
        (tmp_path / name / "lines").write_text("a customer's rows")
        os.utime(tmp_path / name, (time.time() - days * 86_400,) * 2)
    olga.client.get(path(EMPTY, "parquet"))
    assert [each.name for each in tmp_path.glob("export-*")] == ["export-new"]


def test_a_script_with_a_token_has_the_whole_file_with_its_length(served: Served) -> None:
    response = served.get(path(WIDE))
    assert len(response.content.splitlines()) == 301
    assert int(response.headers["Content-Length"]) == len(response.content)


def work(services: Services, page: str) -> None:
    """Write the file as the worker does."""
    with services.app.app_context():
        write_export(int(page.rsplit("/", 1)[-1]))


def start_export(
    person: Person, table_id: int, suffix: str, services: Services, **fields: str
) -> str:
    """Return the page of an export after the worker has made its file."""
    response = person.post(
        f"/accounts/{ACCOUNT}/tables/{table_id}/exports", format=suffix, **fields
    )
    assert response.status_code == 303, response.text
    work(services, response.location)
    return str(response.location)


@pytest.mark.parametrize("suffix", ["csv", "jsonl", "parquet"])
def test_the_button_makes_a_job_whose_page_shows_its_progress_and_then_its_file_with_a_length(
    suffix: str, olga: Person, services: Services, app: Flask
) -> None:
    form = olga.get(f"/accounts/{ACCOUNT}/tables/{WIDE}?q=Cell").select_one(
        "form[action$='/exports']"
    )
    assert form is not None
    fields = {str(field["name"]): str(field.get("value", "")) for field in form.select("input")}
    assert fields.pop("csrf_token")
    assert fields == {"q": "Cell"}
    response = olga.post(str(form["action"]), format=suffix, **fields)
    page = olga.get(response.location).select_one("#export")
    assert page is not None
    assert (page["data-state"], page["hx-trigger"]) == ("waiting", "every 2s")
    assert olga.client.get(f"{response.location}/file").status_code == 404
    work(services, response.location)
    done = olga.fragment(f"{response.location}/progress").select_one("#export")
    assert done is not None
    assert "hx-get" not in done.attrs
    assert "300 of 300 rows" in words(done)
    found = olga.client.get(f"{response.location}/file")
    assert found.content_length == len(found.data)
    assert f"table-{WIDE}.{suffix}" in found.headers["Content-Disposition"]
    assert [entry.result for entry in entries(app)] == ["done"]
    assert "Wide (200 columns)" in words(olga.get("/exports"))


def test_masks_hold_in_the_file_of_a_job_and_nobody_else_has_it(
    olga: Person, viv: Person, adam: Person, services: Services, sandbox: Sandbox
) -> None:
    page = start_export(olga, people_table(sandbox), "csv", services)
    assert b"contact1@example.com" not in olga.client.get(f"{page}/file").data
    assert "Masked in it: Full name, E-mail, Phone" in words(olga.get(page))
    for below in ("", "/progress", "/file"):
        assert viv.client.get(page + below).status_code == 404
    assert viv.post(f"{page}/cancel").status_code == 404
    adam.get(page)


def test_what_changed_while_it_was_read_stands_on_its_page_and_in_the_audit(
    olga: Person, services: Services, app: Flask, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = peliqan.AccountApi.rows

    def rows(self: Any, table_id: int, query: peliqan.RowQuery, **options: Any) -> peliqan.RowPage:
        found = real(self, table_id, query, **options)
        return found.model_copy(update={"count": 301}) if query.page == 2 else found

    monkeypatch.setattr(peliqan.AccountApi, "rows", rows)
    remark = "The table had 300 rows at the start of the reading and 301 at its end."
    assert remark in words(olga.get(start_export(olga, WIDE, "csv", services)))
    assert remark in entries(app)[0].detail
    lines(olga, path(WIDE))
    assert remark in entries(app)[1].detail


def test_an_export_can_be_cancelled_with_and_without_javascript(olga: Person) -> None:
    for htmx, status in ((False, 303), (True, 200)):
        response = olga.post(f"/accounts/{ACCOUNT}/tables/{WIDE}/exports", format="csv")
        assert olga.post(f"{response.location}/cancel", htmx=htmx).status_code == status
        assert "Cancelled" in words(olga.get(response.location))


def test_who_may_not_export_sees_no_button_and_begins_nothing(viv: Person, app: Flask) -> None:
    assert viv.get(f"/accounts/{ACCOUNT}/tables/{WIDE}").select("form[action$='/exports']") == []
    response = viv.post(f"/accounts/{ACCOUNT}/tables/{WIDE}/exports", format="csv")
    assert response.status_code == 403
    assert "needs the role operator" in response.text


def test_an_unknown_format_is_refused_with_those_there_are(olga: Person) -> None:
    response = olga.post(f"/accounts/{ACCOUNT}/tables/{WIDE}/exports", format="xlsx")
    assert response.status_code == 400
    assert "CSV, JSON Lines, Parquet" in response.text


def test_a_file_that_another_machine_has_is_said_to_be_there(
    olga: Person, services: Services, tmp_path: Path
) -> None:
    page = start_export(olga, WIDE, "csv", services)
    (tmp_path / "exports" / f"{page.rsplit('/', 1)[-1]}.csv").unlink()
    assert "The file is not on this machine" in words(olga.get(page))
    assert olga.client.get(f"{page}/file").status_code == 404


@pytest.mark.parametrize(
    ("least", "may"), [("viewer", {"viv", "olga"}), ("operator", {"olga"}), ("admin", set())]
)
def test_a_setting_says_from_which_role_on_tables_may_be_exported(
    least: str, may: set[str], sandbox: Sandbox, store: dict[str, str], tmp_path: Path, clock: Clock
) -> None:
    app = create_app(
        make_settings(sandbox.url, tmp_path, dashboard_export_role=least, **store), clock=clock
    )
    app.config["RATELIMIT_ENABLED"] = False
    for name in ("viv", "olga"):
        person = Person(app.test_client(), f"{name}@example.com")
        assert person.client.get(path(EMPTY)).status_code == (200 if name in may else 403)
        form = person.get(f"/accounts/{ACCOUNT}/tables/{WIDE}").select("form[action$='/exports']")
        assert bool(form) is (name in may)
    with app.app_context():
        db.session.remove()
        db.engine.dispose()
