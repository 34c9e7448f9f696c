"""SQL results stay hidden on every route until a reason is in the audit trail.

The routes are all with a result or query in their address, and the pages that list results. A
``Channel`` is a form of a value: itself, renamed, computed, a number, a count of rows, an error.
"""

import re
from collections.abc import Iterator
from itertools import count
from typing import NamedTuple

import pytest
from flask import Flask
from sqlalchemy import select

from dashboard.audit.models import AuditEntry
from dashboard.context import Services
from dashboard.core.database import db
from dashboard.sql import service as query_runs
from dashboard.sql.models import QueryResult, QueryRun
from dashboard.sql.tasks import run_query
from dashboard.users import customer_access
from dashboard.users import service as users
from tests.security.route_requests import ACCOUNT
from tests.support.clock import Clock
from tests.support.people import PASSWORD, PASSWORD_HASH, Person
from tests.support.sandbox import Sandbox

REASON = "The customer asks which address is meant"
NUMBERS = count(1)
OTHER_ACCOUNT = "cust-00003"


class Channel(NamedTuple):
    """``statement``: of a table with e-mail addresses. ``value``: the form of its result.

    None: no route ever shows it.
    """

    statement: str
    value: str
    is_shown_ever: bool = True


CHANNELS = {
    "the value": Channel('select "E-mail" from {table} limit 2', r"contact1@example\.com"),
    "another name": Channel('select "E-mail" as note from {table} limit 2',
        r"contact1@example\.com"),
    "computed text": Channel("select replace(\"E-mail\", '@', '~') as x from {table} limit 2",
        r"contact1~example"),
    "a number": Channel('select unicode("E-mail") * 1000003 as n from {table} limit 1',
        r"99000297"),
    "a sum": Channel(
        'select total(unicode("E-mail") * 1000003 * ("E-mail" = \'contact1@example.com\')) as n'
        " from {table}",
        r"99000297",
    ),
    "statistics": Channel("select group_concat(\"E-mail\", '|') as histogram_bounds from {table}",
        r"contact1@example\.com"),
    "a count of rows": Channel(
        "with recursive n(i) as (select 1 union all select i + 1 from n where i < 9000)"
        ' select 1 as one from n limit (select unicode("E-mail") * 37 from {table} limit 1)',
        r'3[^0-9a-z<]?663(?: rows|</td>)|"total": ?3663',
    ),
    "an error": Channel(
        "select json_extract('{{}}', \"E-mail\") from {table}",
        r"contact1@example\.com",
        is_shown_ever=False,
    ),
}  # fmt: skip


@pytest.fixture(scope="module", params=["embedded", "servers"])
def engine(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def table(sandbox_server: Sandbox) -> str:
    placed = [
        (each.placed or each.id % 100, each.connector)
        for each in sandbox_server.life.connections(ACCOUNT)
    ]
    found = sandbox_server.app.extensions["sandbox"].tables.of_account(ACCOUNT, placed)
    name: str = next(each.name for each in found if each.kind == "people" and each.count)
    return f'"{name}"'


def services(app: Flask) -> Services:
    found: Services = app.extensions["services"]
    return found


def newcomer(app: Flask, role: str) -> Person:
    """A new user with this role."""
    email = f"{role}{next(NUMBERS)}@example.com"
    with app.app_context():
        users.create_user(
            email, role, PASSWORD, services(app).clock()
        ).password_hash = PASSWORD_HASH
        db.session.commit()
    return Person(app.test_client(), email)


def work(app: Flask) -> None:
    with app.app_context():
        for answer_id in query_runs.due(services(app).clock()):
            run_query(answer_id)
        db.session.remove()


def run_statement(app: Flask, person: Person, statement: str, reason: str = "") -> tuple[int, int]:
    """Run a query; return the ids of its result and of the query run."""
    response = person.post(f"/accounts/{ACCOUNT}/sql", text=statement, reason=reason)
    assert response.status_code == 302, response.text
    answer_id = int(response.location.rsplit("/", 1)[1])
    work(app)
    with app.app_context():
        return answer_id, db.session.get_one(QueryResult, answer_id).question_id


def result_routes(app: Flask, answer_id: int, question_id: int) -> Iterator[tuple[str, bool]]:
    """Yield each address that may show the result, and whether it shows nothing else."""
    found = 0
    for rule in app.url_map.iter_rules():
        if "GET" in (rule.methods or ()) and rule.arguments in ({"answer_id"}, {"question_id"}):
            path = re.sub(
                r"<(?:\w+:)?(\w+)>",
                lambda name: str(answer_id if name[1] == "answer_id" else question_id),
                rule.rule,
            )
            found += 1
            yield path, path.endswith((".json", ".csv", ".jsonl"))
    assert found >= 8
    yield f"/accounts/{ACCOUNT}/sql", False
    yield f"/accounts/{ACCOUNT}", False
    yield f"/accounts/{ACCOUNT}/sql?answer={answer_id}", False


def seen(
    app: Flask,
    person: Person,
    channel: Channel,
    answer_id: int,
    question_id: int,
    refused: int = 403,
) -> list[str]:
    """Return the routes that show the value; the others for scripts must refuse."""
    showing = []
    for path, is_file in result_routes(app, answer_id, question_id):
        response = person.client.get(path)
        # The statement itself belongs to its author.
        text = re.sub(r"(?s)<(pre|textarea)\b.*?</\1>", "", response.text)
        if re.search(channel.value, text):
            showing.append(path)
        elif is_file:
            assert response.status_code in {refused, 409, 410} or (
                response.status_code == 200 and refused == 200
            ), path
    return showing


@pytest.mark.parametrize("name", CHANNELS)
def test_an_operator_sees_nothing_before_a_reason_and_all_of_it_after(
    app: Flask, clock: Clock, table: str, engine: str, name: str
) -> None:
    channel = CHANNELS[name]
    olga = newcomer(app, "operator")
    ids = run_statement(app, olga, channel.statement.format(table=table))
    assert seen(app, olga, channel, *ids) == []
    olga.post(f"/questions/{ids[1]}/reveal", why="x")
    assert seen(app, olga, channel, *ids) == []
    olga.post(f"/questions/{ids[1]}/reveal", why=REASON, answer=str(ids[0]))
    shown = seen(app, olga, channel, *ids, refused=200)
    assert len(shown) >= (2 if channel.is_shown_ever else 0)
    assert channel.is_shown_ever or not shown
    clock.move(minutes=16)
    assert seen(app, olga, channel, *ids) == []


@pytest.mark.parametrize("name", CHANNELS)
def test_an_answer_is_checked_again_for_an_administrator_who_is_one_no_more(
    app: Flask, table: str, engine: str, name: str
) -> None:
    channel = CHANNELS[name]
    adam = newcomer(app, "admin")
    ids = run_statement(app, adam, channel.statement.format(table=table))
    assert bool(seen(app, adam, channel, *ids, refused=200)) is channel.is_shown_ever
    for role in ("operator", "viewer"):
        email = asker(app, ids[1])
        with app.app_context():
            user = users.find_user(email)
            assert user is not None
            users.set_role(user, role, services(app).clock())
        assert seen(app, Person(app.test_client(), email), channel, *ids) == [], role


def asker(app: Flask, question_id: int) -> str:
    with app.app_context():
        return db.session.get_one(QueryRun, question_id).who


def test_the_reason_stands_in_the_audit_trail_before_anything_is_asked(
    app: Flask, table: str, sandbox_server: Sandbox
) -> None:
    olga = newcomer(app, "operator")
    before = sandbox_server.state()["calls"].get("proxy_db", 0)
    response = olga.post(
        f"/accounts/{ACCOUNT}/sql",
        text=CHANNELS["the value"].statement.format(table=table),
        reason=REASON,
    )
    assert sandbox_server.state()["calls"].get("proxy_db", 0) == before
    with app.app_context():
        result = db.session.get_one(QueryResult, int(response.location.rsplit("/", 1)[1]))
        entries = db.session.scalars(
            select(AuditEntry).where(AuditEntry.who == result.question.who)
        ).all()
        assert ("reveal", "done") in [(each.what, each.result) for each in entries]
        assert any(
            each.detail == f"answers to question {result.question_id}, for 15 minutes: {REASON}"
            for each in entries
        )
        ids = result.id, result.question_id
    work(app)
    assert len(seen(app, olga, CHANNELS["the value"], *ids, refused=200)) >= 4
    for wrong in ("no", "x" * 501):
        assert (
            olga.post(f"/accounts/{ACCOUNT}/sql", text="select 1", reason=wrong).status_code == 422
        )


def test_whether_a_question_failed_is_not_seen_without_a_reason(app: Flask, table: str) -> None:
    """One bit a query is enough to find out any value."""
    pages = []
    for divisor in ("contact1@example.com", "nobody@example.com"):
        olga = newcomer(app, "operator")
        condition = (
            f"case when exists (select 1 from {table} where \"E-mail\" = '{divisor}') "
            "then -9223372036854775807 - 1 else 1 end"
        )
        answer_id, question_id = run_statement(app, olga, f"select abs({condition}) as x")
        email, texts = asker(app, question_id), []
        for path, _ in result_routes(app, answer_id, question_id):
            response = olga.client.get(path)
            text = (
                response.text.replace(email, "")
                .replace(divisor, "")
                .replace(divisor.replace("@", "%40"), "")
            )
            text = re.sub(r'(?s)value="[^"]*"|<body [^>]*>|<time.*?</time>|\d+', "", text)
            if not path.startswith(f"/accounts/{ACCOUNT}"):
                texts.append((response.status_code, text))
            else:
                assert not re.search(r"Failed|Answered|failed|error", own_rows(text)), path
        pages.append(texts)
    failed, answered = pages
    assert failed == answered
    with app.app_context():
        states = set(
            db.session.scalars(select(QueryResult.state).where(QueryResult.account_id == ACCOUNT))
        )
    assert {query_runs.FAILED, query_runs.DONE} <= states


def own_rows(text: str) -> str:
    """Return what an account's page shows of its query runs."""
    found = re.findall(r"(?s)<li\b.*?</li>", text)
    return "".join(each for each in found if "abs(" in each)


def test_an_answer_is_nobody_elses_and_a_reason_is_its_givers(app: Flask, table: str) -> None:
    channel = CHANNELS["the value"]
    olga, oscar, adam = newcomer(app, "operator"), newcomer(app, "operator"), newcomer(app, "admin")
    ids = run_statement(app, olga, channel.statement.format(table=table), reason=REASON)
    assert seen(app, oscar, channel, *ids, refused=404) == []
    others = run_statement(app, olga, channel.statement.format(table=table))
    assert oscar.post(f"/questions/{others[1]}/reveal", why=REASON).status_code == 404
    adam.post(f"/questions/{others[1]}/reveal", why=REASON)
    assert seen(app, olga, channel, *others) == []


def test_an_operator_who_is_limited_since_finds_the_answer_no_more(app: Flask, table: str) -> None:
    olga, channel = newcomer(app, "operator"), CHANNELS["the value"]
    ids = run_statement(app, olga, channel.statement.format(table=table), reason=REASON)
    assert seen(app, olga, channel, *ids, refused=200)
    email = asker(app, ids[1])
    with app.app_context():
        user = users.find_user(email)
        assert user is not None
        customer_access.limit(user, customer_access.read(OTHER_ACCOUNT))
    for path, _ in result_routes(app, *ids):
        assert olga.client.get(path).status_code == 404, path


def test_one_reason_is_for_all_answers_of_a_question_over_many_customers(app: Flask) -> None:
    olga = newcomer(app, "operator")
    channel = Channel("select 4711 * 815 as n", r"3839465")
    made = olga.post("/queries", name=f"Many {next(NUMBERS)}", text=channel.statement)
    assert made.status_code == 302, made.text
    for reason, shown in (("", 0), (REASON, 4)):
        total = olga.get(f"{made.location}?q=amber").select_one("[name=seen]")["value"]  # type: ignore[index]
        response = olga.post(f"{made.location}/ask", q="amber", seen=str(total), reason=reason)
        assert response.status_code == 302, response.text
        work(app)
        question_id = int(response.location.rsplit("/", 1)[1])
        with app.app_context():
            answers = [each.id for each in query_runs.results_of(question_id)]
        assert len(answers) > 1
        for answer_id in answers:
            found = seen(app, olga, channel, answer_id, question_id, refused=200 if reason else 403)
            assert len(found) >= shown
            assert bool(found) is bool(reason)


def test_what_was_answered_is_gone_after_a_day_and_so_are_counts_and_errors(
    app: Flask, clock: Clock, table: str
) -> None:
    olga = newcomer(app, "operator")
    all_ids = [
        run_statement(app, olga, each.statement.format(table=table), reason=REASON)
        for each in CHANNELS.values()
    ]
    clock.move(days=1, minutes=1)
    with app.app_context():
        query_runs.delete_old(services(app).clock())
        for answer_id, _ in all_ids:
            result = db.session.get_one(QueryResult, answer_id)
            assert (
                result.rows,
                result.columns,
                result.count,
                result.told,
                result.question.text,
            ) == (None, [], None, "", b"")
    clock.move(days=-1)
    for answer_id, _ in all_ids:
        assert olga.client.get(f"/answers/{answer_id}.csv").status_code == 410
        assert "deleted after a day" in olga.client.get(f"/answers/{answer_id}").text
