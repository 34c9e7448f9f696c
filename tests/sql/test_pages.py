"""SQL through Peliqan's API: queries, results, masking, cancellation, saved queries."""

import csv
import io
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
from flask import Flask
from sqlalchemy import select

from dashboard.audit.models import AuditEntry
from dashboard.context import Services
from dashboard.core.database import db
from dashboard.sql import service as query_runs
from dashboard.sql.jobs import POLL_INTERVAL
from dashboard.sql.models import QueryResult, QueryRun
from dashboard.sql.tasks import run_query
from tests.support.clock import Clock
from tests.support.people import Person, words
from tests.support.sandbox import Sandbox
from tests.support.statements import counted

ACCOUNT = 1001
OLGA = "olga@example.com"
EDITOR = f"/accounts/{ACCOUNT}/sql"
REASON = "A customer asks what was loaded"


def services(app: Flask) -> Services:
    found: Services = app.extensions["services"]
    return found


def work(app: Flask) -> None:
    """Run the waiting queries as the worker does."""
    with app.app_context():
        for answer_id in query_runs.due(services(app).clock()):
            run_query(answer_id)
        db.session.remove()


def run_statement(
    person: Person, app: Flask, text: str, run: bool = True, reason: str = REASON
) -> str:
    """Start a query, and return the address of its result."""
    response = person.post(EDITOR, text=text, reason=reason)
    assert response.status_code == 302, response.text
    if run:
        work(app)
    return str(response.location)


def entry(app: Flask) -> AuditEntry:
    with app.app_context():
        found = db.session.scalars(
            select(AuditEntry).where(AuditEntry.what == "sql").order_by(AuditEntry.id.desc())
        ).first()
        assert found is not None
        return found


def named(person: Person, path: str) -> tuple[str, str]:
    """Return the name of a result's file, without its kind, and its ``X-Complete`` header."""
    response = person.client.get(path)
    assert response.status_code == 200
    _, _, name = response.headers["Content-Disposition"].partition("filename=")
    return name.strip('"').partition("-")[2], response.headers["X-Complete"]


@pytest.fixture
def people_table(sandbox: Sandbox) -> str:
    """Return the name of a table of contacts."""
    found = parts_of(sandbox)
    return next(table.name for table in found if table.kind == "people" and table.count)


def parts_of(sandbox: Sandbox) -> list[object]:
    placed = [
        (each.placed or each.id % 100, each.connector) for each in sandbox.life.connections(ACCOUNT)
    ]
    tables: list[object] = sandbox.app.extensions["sandbox"].tables.of_account(ACCOUNT, placed)
    return tables


def test_a_question_is_answered_and_stands_in_the_audit_trail(olga: Person, app: Flask) -> None:
    where = run_statement(
        olga, app, 'select count(*) as n, max("Column 001") as m from "Wide (200 columns)";'
    )
    text = words(olga.get(where))
    assert "Answered" in text
    assert "through Peliqan's API" in text
    assert "300" in text
    assert olga.json(f"{where}.json")["items"] == [{"n": 300, "m": 300}]
    audit_entry = entry(app)
    assert (audit_entry.result, audit_entry.account_id, audit_entry.who) == ("done", ACCOUNT, OLGA)
    assert "Wide (200 columns)" in audit_entry.detail


def test_an_answer_waits_for_the_worker_and_its_page_looks_again(olga: Person, app: Flask) -> None:
    where = run_statement(olga, app, "select 1 as one", run=False)
    page = olga.client.get(where).text
    assert "data-poll" in page
    assert "Waiting" in page
    assert entry(app).result == "pending"
    work(app)
    part = olga.client.get(f"{where}/progress").text
    assert "data-poll" not in part
    assert "Answered" in part


@pytest.mark.parametrize(
    "text",
    [
        'delete from "Empty"',
        "select 1; select 2",
        "pragma query_only = 0",
        "attach 'x' as y",
        "selekt",
    ],
)
def test_what_the_warehouse_refuses_is_said_in_its_words(
    olga: Person, app: Flask, text: str
) -> None:
    shown = words(olga.get(run_statement(olga, app, text)))
    assert "The warehouse did not answer" in shown
    assert "deleted after a day" not in shown
    assert entry(app).result == "failed"


def test_a_file_of_a_complete_answer_says_so(olga: Person, app: Flask) -> None:
    where = run_statement(olga, app, "select 1 as one")
    for suffix in ("csv", "jsonl"):
        assert named(olga, f"{where}.{suffix}") == (f"{where.rpartition('/')[2]}.{suffix}", "true")


def test_a_stream_that_breaks_off_is_incomplete_and_keeps_what_came(
    olga: Person, app: Flask, sandbox: Sandbox
) -> None:
    sandbox.fault("proxy_db", kind="truncated")
    where = run_statement(olga, app, 'select * from "Ledger (1 million)"')
    text = words(olga.get(where))
    assert "It broke off: these rows are not all" in text
    body = olga.client.get(f"{where}.json").json
    assert body["complete"] is False
    for suffix in ("csv", "jsonl"):
        assert named(olga, f"{where}.{suffix}") == (
            f"{where.rpartition('/')[2]}-incomplete.{suffix}",
            "false",
        )
    with app.app_context():
        question_id = db.session.get_one(QueryResult, int(where.rpartition("/")[2])).question_id
    assert named(olga, f"/questions/{question_id}.csv") == (
        f"{question_id}-incomplete.csv",
        "false",
    )
    assert 0 < body["total"] < 2000
    assert entry(app).result == "failed"


def test_the_same_reason_may_be_given_when_the_answer_is_there(
    olga: Person, app: Flask, people_table: str
) -> None:
    where = run_statement(olga, app, f'select "E-mail" from "{people_table}" limit 2', reason="")
    answer_id = where.rsplit("/", 1)[1]
    with app.app_context():
        question_id = db.session.get_one(QueryResult, int(answer_id)).question_id
    assert olga.client.get(f"{where}.csv").status_code == 403
    olga.post(f"/questions/{question_id}/reveal", why="x")
    assert olga.client.get(f"{where}.csv").status_code == 403
    olga.post(
        f"/questions/{question_id}/reveal",
        why="The customer asks which address is meant",
        answer=answer_id,
    )
    assert "contact1@example.com" in olga.client.get(f"{where}.csv").text


def test_an_answer_is_its_askers_and_administrators(
    olga: Person, adam: Person, viv: Person, app: Flask
) -> None:
    where = run_statement(adam, app, "select 1 as one")
    assert olga.client.get(where).status_code == 404
    assert viv.client.get(where).status_code == 403
    assert viv.client.get(EDITOR).status_code == 403


def test_cancelling_before_it_is_asked_asks_nothing(
    olga: Person, app: Flask, sandbox: Sandbox
) -> None:
    where = run_statement(olga, app, "select 1 as one", run=False)
    olga.post(f"{where}/cancel")
    before = sandbox.state()["calls"].get("proxy_db", 0)
    work(app)
    assert sandbox.state()["calls"].get("proxy_db", 0) == before
    assert "Cancelled" in words(olga.get(where))


@pytest.mark.parametrize("how", ["cancelled by its person", "the worker is to end"])
def test_the_work_on_a_large_answer_ends_when_it_is_not_wanted(
    how: str, olga: Person, app: Flask, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Make the packing of rows endless; only ``check`` can stop it."""
    packing, deadline = threading.Event(), time.monotonic() + 60

    def pack_for_ever(_rows: object, _keys: object, check: Callable[[], None]) -> bytes:
        while time.monotonic() < deadline:
            packing.set()
            check()
        raise AssertionError("nothing ended the work")

    monkeypatch.setattr(query_runs, "pack", pack_for_ever)
    where = run_statement(olga, app, "select 'x' as remark", run=False)
    with ThreadPoolExecutor(1) as pool:
        worker = pool.submit(work, app)
        assert packing.wait(60)
        if how == "cancelled by its person":
            olga.post(f"{where}/cancel")
        else:
            services(app).queues.stop.set()
        asked_at = time.monotonic()
        worker.result(60)
        # Twice the watcher's interval, and more time for a machine under load.
        assert time.monotonic() - asked_at < 2 * POLL_INTERVAL + 4
    services(app).queues.stop.clear()
    with app.app_context():
        result = db.session.get_one(QueryResult, int(where.rsplit("/", 1)[1]))
        assert result.rows is None
        wanted = (
            (query_runs.CANCELLED, f"Cancelled by {OLGA}.")
            if how.startswith("c")
            else (query_runs.FAILED, query_runs.INTERRUPTED)
        )
        assert (result.state, result.told) == wanted


def test_a_large_answer_keeps_its_worker_for_a_few_seconds_at_most(
    olga: Person, app: Flask
) -> None:
    text = "with recursive n(i) as (select 1 union all select i + 1 from n where i < 10000)"
    where = run_statement(
        olga,
        app,
        f"{text} select replace(hex(zeroblob(350)), '0', 'x') as remark from n",
        run=False,
    )
    before = time.process_time()
    work(app)
    assert time.process_time() - before < 30
    with app.app_context():
        result = db.session.get_one(QueryResult, int(where.rsplit("/", 1)[1]))
        assert (result.state, result.count) == (query_runs.DONE, 10_000)


def test_a_killed_workers_answer_has_failed_and_nothing_is_asked_twice(
    olga: Person, app: Flask, clock: Clock
) -> None:
    where = run_statement(olga, app, "select 1 as one", run=False)
    with app.app_context():
        answer_id = query_runs.due(services(app).clock())[0]
        assert query_runs.lease(answer_id, services(app).clock()) is not None
        assert query_runs.lease(answer_id, services(app).clock()) is None
        clock.move(seconds=query_runs.LEASE.total_seconds() + 1)
        assert query_runs.fail_lost(services(app).clock()) == 1
    assert "ask again" in words(olga.get(where))


def test_rows_and_question_are_encrypted_and_gone_after_a_day(
    olga: Person, app: Flask, clock: Clock
) -> None:
    where = run_statement(olga, app, "select 'only here' as secret")
    with app.app_context():
        result = db.session.get_one(QueryResult, int(where.rsplit("/", 1)[1]))
        assert result.rows is not None
        assert b"only here" not in result.rows + result.question.text
        clock.move(days=1, minutes=1)
        assert query_runs.delete_old(services(app).clock()) == 1
    clock.move(days=-1)
    assert "The rows were deleted after a day" in words(olga.get(where))
    assert olga.client.get(f"{where}.csv").status_code == 410


def test_a_saved_question_asks_many_accounts_with_a_value_and_gives_one_answer_each(
    olga: Person, app: Flask
) -> None:
    made = olga.post(
        "/queries",
        name="Tables named so",
        text="select count(*) as n, :word as word from sqlite_master",
    )
    assert made.status_code == 302, made.text
    page = olga.client.get(f"{made.location}?q=amber")
    total = int(page.text.split('name="seen" value="')[1].split('"')[0])
    assert total >= 1
    again = olga.post(
        f"{made.location}/ask", q="amber", connector="", seen=str(total + 1), **{"value-word": "x"}
    )
    assert again.status_code == 422
    response = olga.post(
        f"{made.location}/ask",
        q="amber",
        connector="",
        seen=str(total),
        reason=REASON,
        **{"value-word": "it's"},
    )
    assert response.status_code == 302, response.text
    work(app)
    text = words(olga.get(response.location))
    assert f"{total} of {total} answers are there" in text
    lines = list(csv.DictReader(io.StringIO(olga.client.get(f"{response.location}.csv").text)))
    assert len(lines) == total
    assert all(line["account_id"] for line in lines)
    audit_entry = entry(app)
    assert "it's" not in audit_entry.detail
    assert ":word" in audit_entry.detail


def test_looking_at_how_answers_stand_fetches_no_rows(olga: Person, app: Flask) -> None:
    made = olga.post("/queries", name="One", text="select 'kept' as word")
    seen = olga.get(f"{made.location}?q=amber").select_one("[name=seen]")["value"]
    response = olga.post(f"{made.location}/ask", q="amber", seen=seen, reason=REASON)
    work(app)
    with counted(app) as statements:
        assert olga.client.get(f"{response.location}/progress").status_code == 200
    assert any("FROM answer" in each for each in statements)
    assert not any("answer.rows" in each for each in statements)
    with counted(app) as statements:
        assert "kept" in olga.client.get(f"{response.location}.csv").text
    assert any("answer.rows" in each for each in statements)


def test_an_operator_asks_no_more_accounts_than_the_role_may(olga: Person, app: Flask) -> None:
    object.__setattr__(services(app).settings, "dashboard_bulk_most", 3)
    made = olga.post("/queries", name="All", text="select 1 as one")
    total = int(olga.client.get(made.location).text.split('name="seen" value="')[1].split('"')[0])
    refused = olga.post(f"{made.location}/ask", seen=str(total))
    assert refused.status_code == 422
    assert "your role may ask 3" in refused.text
    with app.app_context():
        assert db.session.scalars(select(QueryRun)).all() == []


def test_only_an_administrator_says_where_a_warehouse_is_asked(
    olga: Person, adam: Person, app: Flask
) -> None:
    assert (
        olga.post(
            f"/accounts/{ACCOUNT}/warehouse", address="postgresql://a:b@example.com/c"
        ).status_code
        == 403
    )
    adam.post(
        f"/accounts/{ACCOUNT}/warehouse", address="postgresql://reader:s3cret@127.0.0.1:1/data"
    )
    page = words(adam.get(EDITOR))
    assert "It cannot be reached" in page
    assert "s3cret" not in page
    with app.app_context():
        assert query_runs.dsn_or_none(ACCOUNT) is None


def test_the_schema_stands_beside_the_editor(olga: Person, app: Flask) -> None:
    tables = olga.client.get(f"{EDITOR}/schema").text
    assert "Wide (200 columns)" in tables
    columns = olga.client.get(f"{EDITOR}/schema?table=10011900").text
    assert "Name, with comma" in columns


@pytest.fixture(autouse=True)
def without_faults(sandbox: Sandbox) -> Iterator[None]:
    yield
    sandbox.clear()
