"""Values in a statement stay in the encrypted statement; saved queries have an owner."""

import logging
import re
from collections.abc import Iterator
from itertools import count, product

import pytest
from flask import Flask
from sqlalchemy import select

from dashboard.context import Services
from dashboard.core.database import db
from dashboard.core.sql_text import names_in_statement, title_of, without_literals
from dashboard.sql import service as query_runs
from dashboard.sql.models import QueryRun, SavedQuery
from dashboard.sql.tasks import run_query
from dashboard.users import customer_access
from dashboard.users import service as users
from tests.security.route_requests import ACCOUNT
from tests.support.people import PASSWORD, PASSWORD_HASH, Person

NUMBERS = count(1)
# Not a short number, which might be part of any token.
WORDS = re.compile(r"zanzibar|quokka|47110815", re.IGNORECASE)
# Ways to write a value, in any of the supported databases.
LITERALS = [
    "'zanzibar'", "'O''Zanzibar'", "E'it\\'s zanzibar'", "'it\\'s zanzibar'", "'zanzibar\nquokka'",
    "N'zanzibar'", "U&'zanzibar'",
    "x'47110815'", "47110815", "47110815.5e47", ".47110815", "-47110815", "$$zanzibar$$",
    "$a$ $b$ zanzibar $a$", "'zanzibar", "'zanzibar\\",
    '"zanzibar"', '"a ""zanzibar"', "‘zanzibar’", "“zanzibar”", "zanzibar@example.com",
    "date 'quokka'",
    "1 -- zanzibar\n", "1 /* zanzibar */", "1 /* a /* b */ zanzibar */", "1 # zanzibar\n",
    "x is distinct from \"zanzibar\"",
    "1 /* zanzibar",
]  # fmt: skip
FRAMES = [
    "select {}",
    "select a, b from t where c = {}",
    "select *\nfrom t\nwhere c in ({}, 1)",
    "{} select 1",
    "select a=({})",
]


def services(app: Flask) -> Services:
    found: Services = app.extensions["services"]
    return found


def newcomer(app: Flask, role: str, to: str = "") -> Person:
    """A user with this role, restricted to the customers ``to`` if given."""
    email = f"{role}.{next(NUMBERS)}@example.com"
    with app.app_context():
        user = users.create_user(email, role, PASSWORD, services(app).clock())
        user.password_hash = PASSWORD_HASH
        db.session.commit()
        if to:
            customer_access.limit(user, customer_access.read(to))
    return Person(app.test_client(), email)


def work(app: Flask) -> None:
    with app.app_context():
        for answer_id in query_runs.due(services(app).clock()):
            run_query(answer_id)
        db.session.remove()


@pytest.mark.parametrize(("frame", "literal"), product(FRAMES, LITERALS))
def test_no_value_is_left_in_a_statement_without_literals(frame: str, literal: str) -> None:
    statement = frame.replace("{}", literal)
    assert not WORDS.search(without_literals(statement))
    assert not WORDS.search(title_of(statement))
    assert not WORDS.search(" ".join(names_in_statement(statement)))


def test_names_stay() -> None:
    statement = (
        'select count(*) as n, i.col1 from "Order lines" i join s."t 2" on `a b` = :since::date '
        'group by 1 order by i."x y"'
    )
    assert without_literals(statement) == statement.replace(" 1 ", " ? ")


@pytest.fixture
def written() -> Iterator[list[str]]:
    """Everything that is logged, at the most verbose level."""
    lines: list[str] = []

    class ListHandler(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            lines.append(self.format(record))

    handler, root = ListHandler(), logging.getLogger()
    level = root.level
    root.addHandler(handler)
    root.setLevel(logging.DEBUG)
    yield lines
    root.removeHandler(handler)
    root.setLevel(level)


def stored_text(app: Flask) -> str:
    """Everything in the store, in every column of every table."""
    with app.app_context():
        return "\n".join(
            str(tuple(row))
            for table in db.metadata.sorted_tables
            for row in db.session.execute(select(table))
        )


def run_and_repeat(olga: Person, literal: str) -> None:
    """Run a statement with this value; no address on the way to its repetition has it."""
    statement = f"select {literal}\nfrom t"
    response = olga.post(f"/accounts/{ACCOUNT}/sql", text=statement, reason="To see what is stored")
    assert response.status_code == 302
    assert not WORDS.search(response.location)
    link = str(olga.get(response.location).select_one("a[href*='/sql?']")["href"])  # type: ignore[index]
    assert not WORDS.search(link)
    # A repeated query starts with the previous statement.
    assert olga.get(link).select_one("textarea").text.strip() == statement.strip()  # type: ignore[union-attr]


def run_saved(olga: Person) -> str:
    """Run a saved query on several accounts, with values; return the address of its run."""
    saved = olga.post(
        "/queries",
        name=f"Saved {next(NUMBERS)}",
        text="select :who as who, :n as n",
        **{"type-n": "number"},
    )
    seen = olga.get(f"{saved.location}?q=amber").select_one("[name=seen]")["value"]  # type: ignore[index]
    values = {"value-who": "zanzibar", "value-n": "47110815"}
    response = olga.post(
        f"{saved.location}/ask", q="amber", seen=str(seen), reason="To see what is stored", **values
    )
    assert response.status_code == 302
    return str(response.location)


def test_a_value_is_kept_shown_and_logged_nowhere_outside_of_its_statement(
    app: Flask, written: list[str]
) -> None:
    olga, adam = newcomer(app, "operator"), newcomer(app, "admin")
    for literal in LITERALS[::3]:
        run_and_repeat(olga, literal)
    saved_run = run_saved(olga)
    work(app)
    assert not WORDS.search(stored_text(app))
    with app.app_context():
        runs = db.session.scalars(
            select(QueryRun).where(QueryRun.text != b"").order_by(QueryRun.id)
        ).all()
        statements = [query_runs.decrypted(run.text, services(app).vault.keys) for run in runs]
        assert sum(bool(WORDS.search(text or "")) for text in statements) >= len(LITERALS[::3])
    for person, path in (
        (olga, f"/accounts/{ACCOUNT}/sql"),
        (adam, "/audit?per_page=200"),
        (adam, f"/accounts/{ACCOUNT}"),
        (olga, "/queries"),
        (olga, saved_run),
        (olga, f"{saved_run}/progress"),
    ):
        response = person.client.get(path)
        assert response.status_code == 200
        assert not WORDS.search(response.text), path
    for result_id in range(1, 4):
        page = adam.client.get(f"/answers/{result_id}")
        assert not WORDS.search(re.sub(r"(?s)<pre.*?</pre>|<tbody>.*?</tbody>", "", page.text))
        assert not WORDS.search(str(adam.client.get(f"/answers/{result_id}.csv").headers))
    assert not WORDS.search("\n".join(written))


@pytest.mark.parametrize("path", [f"/accounts/{ACCOUNT}/sql", "/queries/new"])
def test_no_address_has_a_statement_in_it(app: Flask, path: str) -> None:
    """Browsers, proxies and servers store addresses."""
    olga = newcomer(app, "operator")
    assert not WORDS.search(olga.client.get(f"{path}?text=select+'zanzibar'").text)
    page = olga.get(path)
    for form in page.select("form"):
        if form.select("[name=text]"):
            assert form["method"] == "post"
            assert not form.select("[formmethod=get]")
    assert "zanzibar" in olga.post("/queries/new", text="select 'zanzibar'").text


def test_a_saved_question_is_changed_by_its_author_and_administrators_alone(app: Flask) -> None:
    olga, oscar, adam = newcomer(app, "operator"), newcomer(app, "operator"), newcomer(app, "admin")
    name = f"Of the author {next(NUMBERS)}"
    where = olga.post("/queries", name=name, text="select 'zanzibar' as a").location
    assert "zanzibar" in oscar.client.get(where).text
    assert "/edit" not in oscar.client.get(where).text
    assert oscar.client.get(f"{where}/edit").status_code == 403
    assert oscar.post(f"{where}/edit", name=name, text="select 2").status_code == 403
    assert oscar.post(f"{where}/delete").status_code == 403
    assert olga.post(f"{where}/edit", name=name, text="select 3 as a").status_code == 302
    assert adam.post(f"{where}/edit", name=name, text="select 4 as a").status_code == 302
    assert adam.post(f"{where}/delete").status_code == 302
    with app.app_context():
        assert db.session.scalars(select(SavedQuery).where(SavedQuery.name == name)).all() == []


def test_a_limited_person_finds_their_own_saved_questions_alone(app: Flask) -> None:
    adam, olga = newcomer(app, "admin"), newcomer(app, "operator", to="cust-00003")
    name = f"Of all {next(NUMBERS)}"
    others = adam.post("/queries", name=name, text="select 'zanzibar' as a").location
    query_id = others.rsplit("/", 1)[1]
    for rule in app.url_map.iter_rules():
        if rule.arguments == {"query_id"}:
            path = rule.rule.replace("<int:query_id>", query_id)
            response = (
                olga.post(path, name="x", text="select 1")
                if "POST" in (rule.methods or ())
                else olga.client.get(path)
            )
            assert response.status_code == 404, path
            assert not WORDS.search(response.text)
    assert not WORDS.search(olga.client.get("/queries").text)
    response = olga.post("/queries", name=name, text="select 1 as a")
    assert response.status_code == 422
    assert "choose another name" in response.text
    own = olga.post("/queries", name=f"{name}, mine", text="select 1 as a").location
    assert olga.post(f"{own}/edit", name=f"{name}, mine", text="select 2 as a").status_code == 302
    assert olga.post(f"{own}/delete").status_code == 302
    with app.app_context():
        assert db.session.scalars(select(SavedQuery.text).where(SavedQuery.name == name)).all() == [
            "select 'zanzibar' as a"
        ]
