"""No CSV file of the console contains a formula, whatever separator the reader uses."""

import csv
import io
from collections.abc import Iterator
from pathlib import Path

import pytest
from flask import Flask
from jinja2 import FileSystemBytecodeCache
from sqlalchemy import select

from dashboard import peliqan
from dashboard.app import create_app
from dashboard.cli.common import upgrade_schema
from dashboard.core.database import db
from dashboard.core.spreadsheet_text import harmless
from dashboard.exports.formats import CsvFile
from dashboard.findings.models import Cause
from dashboard.refresh.service import refresh_fleet
from dashboard.users import service as users
from dashboard.web.lists import csv_response
from dashboard.web.security import limiter
from tests.security.formulas import SIGNS, STARTS, FormulaApi, cells_of, is_formula
from tests.security.route_requests import RouteRequests, send_request
from tests.security.seeded_objects import make_one_of_each
from tests.support.alert_receiver import RECEIVERS
from tests.support.clock import Clock
from tests.support.hook_receiver import HOOK
from tests.support.people import PASSWORD, PASSWORD_HASH, Person
from tests.support.sandbox import Sandbox
from tests.support.settings import make_settings

TYPED = "＝1+1;=2+2; ﹫3"
# Files of numbers and checked e-mail addresses, and lists that are empty in this fleet.
WITHOUT_TEXTS = {"trend.show_csv", "admin.users_csv", "bulk.links_csv"}


@pytest.mark.parametrize("sign", SIGNS)
def test_no_text_is_a_formula_in_any_writer_for_any_reader(sign: str) -> None:
    texts = [start + "1+1|x" for start in STARTS if start.endswith(sign)]
    assert len(texts) > 200
    file = CsvFile([peliqan.Column(name=name, type="text") for name in (texts[0], "B")])
    rows = [{"id": n, texts[0]: "plain", "B": text} for n, text in enumerate(texts)]
    shapes = [{"id": n, texts[0]: "plain", "B": [text]} for n, text in enumerate(texts)]
    written = (file.head() + file.lines(rows) + file.lines(shapes)).decode()
    listed = csv_response(
        [{texts[0]: "plain", "b": text, "c": {text: 1}, "d": 2} for text in texts], "x.csv"
    ).get_data(as_text=True)
    for content in (written, listed):
        found = [(reader, cell) for reader, cell in cells_of(content) if is_formula(cell)]
        assert not found, found[:3]


@pytest.mark.parametrize("sign", SIGNS)
def test_what_is_harmless_stays_so_when_it_is_made_harmless_again(sign: str) -> None:
    for start in STARTS:
        if start.endswith(sign):
            once = harmless(start + "1+1|x")
            assert harmless(once) == once
            assert once.replace("'", "") == start + "1+1|x"


@pytest.mark.parametrize(
    "text",
    [
        "-12.50",
        "+3",
        "-3",
        "-1e-7",
        "12",
        "a-b",
        "a=b",
        "a; b",
        "x\ny",
        "x\r\ny",
        "1 - 2",
        "a\n1",
        "",
        "'",
    ],
)
def test_numbers_and_texts_that_no_spreadsheet_runs_are_not_changed(text: str) -> None:
    assert harmless(text) == text
    file = CsvFile([peliqan.Column(name="A", type="text")])
    content = file.lines([{"id": 1, "A": text}]).decode()
    assert next(csv.reader(io.StringIO(content, newline="")))[1] == text


@pytest.fixture(scope="module")
def api(sandbox_server: Sandbox) -> FormulaApi:
    # The beginnings that the store keeps unchanged, so that each one arrives.
    starts = [start for start in STARTS if "\x00" not in start]
    accounts = {
        *range(1001, 1007),
        sandbox_server.find(failure="expired", auth="oauth2").account_id,
    }
    return FormulaApi(accounts | {sandbox_server.find(auth="saltedge").account_id}, starts[::11])


@pytest.fixture(scope="module")
def app(
    folder: Path,
    clock: Clock,
    sandbox_server: Sandbox,
    compiled: FileSystemBytecodeCache,
    api: FormulaApi,
) -> Iterator[Flask]:
    """A console in which every text of customers and users begins with a formula."""
    sandbox_server.app.test_client().post("/sandbox/control/reset")
    made = create_app(
        make_settings(sandbox_server.url, folder, **HOOK, **RECEIVERS), clock=clock, adapter=api
    )
    made.jinja_env.bytecode_cache = compiled
    limiter.enabled = False
    upgrade_schema(made)
    with made.app_context():
        for name, role in (("olga", "operator"), ("adam", "admin")):
            users.create_user(
                f"{name}@example.com", role, PASSWORD, clock()
            ).password_hash = PASSWORD_HASH
        db.session.commit()
        assert refresh_fleet(made.extensions["services"]).error is None
        db.session.remove()
    olga, adam = (Person(made.test_client(), f"{name}@example.com") for name in ("olga", "adam"))
    make_one_of_each(made, olga, adam, folder, TYPED)
    yield made
    with made.app_context():
        db.session.remove()
        db.engine.dispose()


def test_no_csv_door_gives_out_a_formula(app: Flask, route_requests: RouteRequests) -> None:
    person = Person(app.test_client(), "adam@example.com")
    seen, with_signs = set(), set()
    with app.app_context():
        causes = db.session.scalars(select(Cause.id)).all()
        db.session.remove()
    for request in route_requests.all("GET"):
        if not request.path.endswith(".csv") and request.endpoint != "exports.file":
            continue
        paths = (
            [f"/causes/{each}.csv" for each in causes]
            if request.endpoint == "causes.show_csv"
            else [request.path]
        )
        responses = [send_request(person.client, request, path=path) for path in paths]
        response = max(responses, key=lambda each: len(each.text))
        if response.mimetype != "text/csv":
            continue
        assert response.status_code == 200, request
        seen.add(request.endpoint)
        found = [
            (reader, cell[:80])
            for each in responses
            for reader, cell in cells_of(each.text)
            if is_formula(cell)
        ]
        assert not found, f"{request}: {found[:5]}"
        if "'" in response.text:
            with_signs.add(request.endpoint)
    assert len(seen) > 20
    assert seen - with_signs <= WITHOUT_TEXTS
