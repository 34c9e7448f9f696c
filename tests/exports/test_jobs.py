"""Exports by a worker: interrupted at any moment, they end with a complete file or a reason."""

import fcntl
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pyarrow.parquet
import pytest
from flask import Flask
from sqlalchemy import select

from dashboard import peliqan
from dashboard.audit.models import AuditEntry
from dashboard.context import Services
from dashboard.core.database import db
from dashboard.exports import jobs as export_jobs
from dashboard.exports import service as exports
from dashboard.exports.models import Export
from dashboard.exports.tasks import write_export
from dashboard.users.models import User
from dashboard.worker import dispatch
from tests.support.clock import Clock

pytestmark = pytest.mark.both_engines


ACCOUNT, TABLE, PAGE = 1001, 10011903, 200


@pytest.fixture(autouse=True)
def context(app: Flask, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(export_jobs, "SAVE_EVERY", 0)
    with app.app_context():
        yield


OpenExport = Callable[..., Export]


@pytest.fixture
def open_export(services: Services) -> OpenExport:
    def open_export(suffix: str = "csv") -> Export:
        olga = db.session.scalars(select(User).where(User.email == "olga@example.com")).one()
        columns = [
            (column.name, column.type, column.decimals)
            for column in services.api.for_account(ACCOUNT).columns(TABLE)
        ]
        query = {"search": "", "order_by": "", "filters": {}, "include": []}
        return exports.open_export(
            olga,
            exports.NewExport(
                ACCOUNT, TABLE, "Wide", suffix, query, columns, [], "Table as a file."
            ),
            services.clock(),
        )

    return open_export


def pages(monkeypatch: pytest.MonkeyPatch, at: int, do: Callable[[], None], count: int = 5) -> None:
    """Give the table ``count`` full pages, and call ``do`` when page ``at`` is requested."""

    def rows(self: Any, table_id: int, query: peliqan.RowQuery, **options: Any) -> peliqan.RowPage:
        page = query.page
        if page == at:
            do()
        found = [
            {"id": n, "Column 002": str(n)} for n in range((page - 1) * PAGE + 1, page * PAGE + 1)
        ]
        return peliqan.RowPage(
            count=count * PAGE,
            rows=found if page <= count else [],
            next="x" if page < count else None,
        )

    monkeypatch.setattr(peliqan.AccountApi, "rows", rows)


def ids(folder: Path, export: Export) -> list[int]:
    path = folder / "exports" / export.name
    if export.suffix == "parquet":
        return list(pyarrow.parquet.read_table(path)["id"].to_pylist())
    lines = path.read_text().splitlines()
    return (
        [json.loads(line)["id"] for line in lines]
        if export.suffix == "jsonl"
        else [int(line.split(",")[0]) for line in lines[1:]]
    )


def detail(export: Export) -> AuditEntry:
    return db.session.get_one(AuditEntry, export.audit_id)


ALL_IDS = list(range(1, 5 * PAGE + 1))


class Killed(BaseException):
    """The worker's process was killed: no later code runs."""


def once(what: BaseException) -> Callable[[], None]:
    pending = [what]

    def fail() -> None:
        if pending:
            raise pending.pop()

    return fail


@pytest.mark.parametrize("suffix", ["csv", "jsonl", "parquet"])
def test_a_table_becomes_a_whole_file_with_its_end_in_the_audit(
    suffix: str, services: Services, open_export: OpenExport, tmp_path: Path
) -> None:
    export = open_export(suffix)
    write_export(export.id)
    assert (export.state, export.rows, export.total, export.remarks, export.error) == (
        "done",
        300,
        300,
        [],
        "",
    )
    assert ids(tmp_path, export) == list(range(1, 301))
    assert export.size == (tmp_path / "exports" / export.name).stat().st_size
    assert [path.name for path in (tmp_path / "exports").iterdir()] == [export.name]
    assert (detail(export).result, detail(export).detail) == ("done", "Table as a file. 300 rows.")


@pytest.mark.parametrize("suffix", ["csv", "jsonl", "parquet"])
def test_after_a_worker_was_killed_the_next_goes_on_and_no_row_is_missing_or_there_twice(
    suffix: str,
    services: Services,
    open_export: OpenExport,
    clock: Clock,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    export = open_export(suffix)
    pages(monkeypatch, 4, once(Killed()))
    with pytest.raises(Killed):
        write_export(export.id)
    db.session.refresh(export)
    assert (export.state, export.page) == ("running", 3)
    part = tmp_path / "exports" / f"{export.name}.part"
    assert part.stat().st_size == export.offset
    with part.open("ab") as file:
        file.write(b"half a li")
    write_export(export.id)
    assert export.state == "running", "its lease is not over yet"
    clock.move(seconds=121)
    assert exports.due(clock()) == [export.id]
    write_export(export.id)
    assert (export.state, export.rows, export.remarks) == ("done", 1000, [])
    assert ids(tmp_path, export) == ALL_IDS


def test_where_the_part_is_gone_it_begins_anew_and_says_so(
    services: Services,
    open_export: OpenExport,
    clock: Clock,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    export = open_export()
    pages(monkeypatch, 4, once(Killed()))
    with pytest.raises(Killed):
        write_export(export.id)
    (tmp_path / "exports" / f"{export.name}.part").unlink()
    clock.move(seconds=121)
    write_export(export.id)
    assert (export.state, export.remarks) == ("done", ["It was interrupted, and began anew."])
    assert ids(tmp_path, export) == ALL_IDS
    assert "began anew" in detail(export).detail


def test_two_never_write_to_one_file_even_when_a_lease_was_too_short(
    services: Services, open_export: OpenExport, tmp_path: Path
) -> None:
    export = open_export()
    (tmp_path / "exports").mkdir()
    with (tmp_path / "exports" / f"{export.name}.part").open("ab") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        write_export(export.id)
    db.session.refresh(export)
    assert (export.state, export.rows) == ("running", 0)


def test_what_passes_by_itself_is_waited_for_and_the_file_goes_on_where_it_was(
    services: Services,
    open_export: OpenExport,
    clock: Clock,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    export = open_export()
    pages(monkeypatch, 4, once(peliqan.ServerError("rows", status=500)))
    write_export(export.id)
    assert (export.state, export.page, export.tries) == ("running", 3, 1)
    assert export.error == peliqan.ServerError.sentence
    clock.move(seconds=31)
    write_export(export.id)
    assert (export.state, export.error) == ("done", "")
    assert ids(tmp_path, export) == ALL_IDS


def test_what_does_not_pass_fails_after_five_tries_and_what_cannot_at_once_and_no_file_is_left(
    services: Services,
    open_export: OpenExport,
    clock: Clock,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def fail() -> None:
        raise error

    pages(monkeypatch, 4, fail)
    for error, tries in (
        (peliqan.ServerError("rows", status=500), 5),
        (peliqan.NotFound("rows", status=404), 1),
    ):
        export = open_export()
        for number in range(tries):
            assert export.state in exports.OPEN, number
            clock.move(seconds=31)
            write_export(export.id)
        assert (export.state, export.error) == ("failed", error.sentence)
        assert list((tmp_path / "exports").iterdir()) == []
        assert detail(export).result == "failed"


def test_a_cancelled_export_stops_with_the_next_page_and_leaves_no_file(
    services: Services, open_export: OpenExport, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    export = open_export()

    def cancel() -> None:
        with services.app.app_context():
            exports.cancel(
                db.session.get_one(Export, export_id), "olga@example.com", services.clock()
            )

    export_id = export.id
    pages(monkeypatch, 3, cancel)
    write_export(export.id)
    db.session.refresh(export)
    assert export.state == "cancelled"
    assert list((tmp_path / "exports").iterdir()) == []
    assert "Cancelled by olga@example.com." in detail(export).detail


def test_a_worker_that_stops_leaves_it_to_the_next_at_once(
    services: Services, open_export: OpenExport, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    export = open_export()
    pages(monkeypatch, 3, services.queues.stop.set)
    write_export(export.id)
    assert export.state == "running"
    assert 0 < export.rows < 1000
    services.queues.stop.clear()
    pages(monkeypatch, 0, lambda: None)
    assert exports.due(services.clock()) == [export.id]
    write_export(export.id)
    assert ids(tmp_path, export) == ALL_IDS


def test_a_file_is_deleted_after_a_day_and_so_is_what_nobody_knows(
    services: Services, open_export: OpenExport, clock: Clock, tmp_path: Path
) -> None:
    export = open_export()
    write_export(export.id)
    export_id, name = export.id, export.name
    (tmp_path / "exports" / "999999.csv.part").touch()
    clock.move(hours=23)
    dispatch.every_minute()
    assert [path.name for path in (tmp_path / "exports").iterdir()] == [name]
    clock.move(hours=1, minutes=1)
    for _ in range(2):
        dispatch.every_minute()
        clock.move(minutes=1)
    assert db.session.get_one(Export, export_id).state == "expired"
    assert list((tmp_path / "exports").iterdir()) == []


def test_a_message_that_was_lost_is_made_good_by_the_next_tick(
    services: Services, open_export: OpenExport, clock: Clock
) -> None:
    open_export()
    clock.move(minutes=2)
    dispatch.every_minute()
    assert services.queues["exports"].pending_count() == 1


def test_nobody_has_more_than_five_under_way(open_export: OpenExport) -> None:
    for _ in range(5):
        open_export()
    with pytest.raises(exports.TooManyExports, match="5 of your exports"):
        open_export()
