"""Results are delivered only to a user who has the right at that moment."""

import io
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
from dashboard.exports import service as exports
from dashboard.exports.models import Export
from dashboard.masking import service as reveals
from dashboard.masking.models import ColumnMask, Reveal
from dashboard.masking.rule_file import MASKED
from dashboard.sandbox.tables import Field
from dashboard.tables.search import jobs as search_jobs
from dashboard.users import customer_access
from dashboard.users import service as users
from dashboard.users.models import User
from tests.security.route_requests import ACCOUNT
from tests.security.seeded_objects import work
from tests.support.every_type import PATH, TABLE, install_in
from tests.support.people import Person
from tests.support.sandbox import Sandbox

MAIL, NAME = "ada.lovelace@example.com", "Visible name"
FIELDS = [Field(1, "Name", "text", True), Field(2, "E-mail", "email"), Field(3, "Plan", "text")]
ROWS = [
    {
        "id": n,
        "order": f"{n}.0",
        "Name": f"{NAME} {n}",
        "E-mail": MAIL if n == 1 else f"m{n}@example.com",
        "Plan": f"Plan {n}",
    }
    for n in range(1, 4)
]
WHY = "The customer asks which address it is."
PASSWORD = "correct horse battery"


@pytest.fixture(scope="module", autouse=True)
def table(sandbox_server: Sandbox, app: Flask) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        install_in(sandbox_server.app.extensions["sandbox"].tables, patch, FIELDS, ROWS)
        yield


@pytest.fixture(autouse=True)
def undecided(app: Flask) -> Iterator[None]:
    with app.app_context():
        for model in (ColumnMask, Reveal):
            db.session.execute(db.delete(model))
        db.session.commit()
    yield
    services(app).settings.__dict__["dashboard_export_role"] = "operator"


def services(app: Flask) -> Services:
    found: Services = app.extensions["services"]
    return found


class Somebody:
    """A user whose rights change, who then signs in again."""

    count = 0

    def __init__(self, app: Flask, role: str) -> None:
        type(self).count += 1
        self.app, self.email = app, f"somebody{self.count}@example.com"
        with app.app_context():
            users.create_user(self.email, role, PASSWORD, services(app).clock())
        self.sign_in()

    def sign_in(self) -> None:
        self.person = Person(self.app.test_client())
        token = self.person.token("/login")
        self.person.client.post(
            "/login", data={"csrf_token": token, "email": self.email, "password": PASSWORD}
        )

    def change(self, do: Callable[[User], object]) -> None:
        with self.app.app_context():
            do(db.session.scalars(select(User).where(User.email == self.email)).one())
            db.session.commit()

    def reveal(self) -> None:
        self.change(
            lambda user: reveals.reveal(user, ACCOUNT, TABLE, WHY, services(self.app).clock())
        )

    def export(self, suffix: str = "csv", **query: str) -> str:
        response = self.person.post(f"{PATH}/exports", format=suffix, **query)
        assert response.status_code == 303, response.text[:500]
        return str(response.location)


def content(response: Any) -> str:
    if response.status_code == 200 and response.data[:4] == b"PAR1":
        return str(pyarrow.parquet.read_table(io.BytesIO(response.data)).to_pylist())
    return str(response.text)


def role(name: str) -> Callable[[Somebody], None]:
    return lambda who: who.change(
        lambda user: users.set_role(user, name, services(who.app).clock())
    )


def mask(who: Somebody) -> None:
    with who.app.app_context():
        adam = db.session.scalars(select(User).where(User.email == "adam@example.com")).one()
        reveals.decide(adam, ACCOUNT, TABLE, "Name", True, services(who.app).clock())


def limit(who: Somebody) -> None:
    who.change(lambda user: customer_access.limit(user, [("nobody-", True)]))


def later(who: Somebody) -> None:
    services(who.app).clock.move(minutes=16)  # type: ignore[attr-defined]


def administrators_alone(who: Somebody) -> None:
    who.app.extensions["services"].settings.__dict__["dashboard_export_role"] = "admin"


def disable(who: Somebody) -> None:
    who.change(lambda user: users.disable(user, services(who.app).clock()))


# The exporting user, with or without a reveal, the change of rights, and the expected response.
ENDS: dict[str, tuple[str, bool, Callable[[Somebody], None], int]] = {
    "an administrator becomes an operator": ("admin", False, role("operator"), 410),
    "an administrator becomes a viewer": ("admin", False, role("viewer"), 403),
    "an operator becomes a viewer": ("operator", False, role("viewer"), 403),
    "a reveal is over": ("operator", True, later, 410),
    "a column is masked since": ("operator", False, mask, 410),
    "the customer is out of reach since": ("operator", False, limit, 404),
    "exports are for administrators since": ("operator", False, administrators_alone, 403),
    "the person is shut out": ("operator", False, disable, 302),
}
# The other formats have other code, but the same delivery.
CASES = [
    *((end, "csv") for end in ENDS),
    *(("a column is masked since", suffix) for suffix in ("jsonl", "parquet")),
]


@pytest.mark.parametrize(("end", "suffix"), CASES)
@pytest.mark.parametrize("when", ["the file is there", "it is being made"])
def test_a_file_is_kept_back_from_whom_may_not_see_what_it_holds_any_more(
    app: Flask, folder: Path, end: str, suffix: str, when: str
) -> None:
    start, revealed, ends, status = ENDS[end]
    who = Somebody(app, start)
    if revealed:
        who.reveal()
    page = who.export(suffix)
    if when == "the file is there":
        work(app, folder)
        response = who.person.client.get(f"{page}/file")
        assert (response.status_code, MAIL in content(response)) == (
            200,
            start == "admin" or revealed,
        )
    ends(who)
    if when == "it is being made":
        work(app, folder)
    who.sign_in()
    response = who.person.client.get(f"{page}/file")
    assert response.status_code == status
    assert MAIL not in content(response)
    assert NAME not in content(response)
    if status == 410:
        assert "Export the table again" in response.text
        shown = who.person.client.get(page).text
        assert "the file is kept back" in shown
        assert f'{page}/file"' not in shown
        with app.app_context():
            latest = db.session.scalars(select(AuditEntry).order_by(AuditEntry.id.desc())).first()
            assert latest is not None
            assert (latest.who, latest.what, latest.result) == (who.email, "export_file", "refused")


def test_the_file_is_given_while_nothing_ends_after_a_mask_is_lifted_and_to_administrators(
    app: Flask, folder: Path
) -> None:
    who, adam = Somebody(app, "operator"), Person(app.test_client(), "adam@example.com")
    page = who.export()
    work(app, folder)
    mask(who)
    assert who.person.client.get(f"{page}/file").status_code == 410
    who.reveal()
    assert who.person.client.get(f"{page}/file").status_code == 200, (
        "the reason counts for what was exported, too"
    )
    later(who)
    assert who.person.client.get(f"{page}/file").status_code == 410
    assert adam.client.get(f"{page}/file").status_code == 200
    with app.app_context():
        db.session.execute(db.delete(ColumnMask))
        db.session.commit()
    response = who.person.client.get(f"{page}/file")
    assert response.status_code == 200
    assert MASKED in response.text


def test_a_person_who_chose_masked_columns_alone_has_their_file(app: Flask, folder: Path) -> None:
    who = Somebody(app, "operator")
    page = who.export(column="E-mail")
    work(app, folder)
    response = who.person.client.get(f"{page}/file")
    assert response.status_code == 200
    assert MAIL not in response.text


NARROWED = {
    "filtered by a part": {"column": "Plan", "filter__E-mail__contains": "ada"},
    "sorted": {"column": "Plan", "sort": "E-mail"},
    "searched beside a condition": {"column": "Plan", "q": "ada", "filter__E-mail__not_empty": "1"},
}


@pytest.mark.parametrize("how", NARROWED)
def test_a_file_of_other_columns_tells_nothing_of_masked_ones_by_its_rows_or_their_order(
    app: Flask, folder: Path, how: str
) -> None:
    who = Somebody(app, "admin")
    page = who.export(**NARROWED[how])
    whole = who.export(column="Plan", **{"filter__E-mail__equal": MAIL})
    work(app, folder)
    role("operator")(who)
    who.sign_in()
    assert who.person.client.get(f"{page}/file").status_code == 410
    assert who.person.client.get(f"{whole}/file").status_code == 200, (
        "an operator may ask for a whole value"
    )


def test_a_file_of_an_earlier_version_is_given_to_administrators_alone(
    app: Flask, folder: Path
) -> None:
    who, adam = Somebody(app, "operator"), Person(app.test_client(), "adam@example.com")
    page = who.export()
    work(app, folder)
    with app.app_context():
        db.session.execute(db.update(Export).values(disclosed=None))
        db.session.commit()
    response = who.person.client.get(f"{page}/file")
    assert response.status_code == 410
    assert "Export the table again" in response.text
    assert adam.client.get(f"{page}/file").status_code == 200


@pytest.mark.parametrize(("end", "suffix"), CASES)
def test_a_file_within_the_request_is_kept_back_where_the_right_ends_while_it_is_made(
    app: Flask, monkeypatch: pytest.MonkeyPatch, end: str, suffix: str
) -> None:
    start, revealed, ends, status = ENDS[end]
    who = Somebody(app, start)
    if revealed:
        who.reveal()
    before = who.person.client.get(f"{PATH}/export.{suffix}")
    assert (before.status_code, MAIL in content(before)) == (200, start == "admin" or revealed)
    real = peliqan.AccountApi.rows

    def rows(api: Any, *args: Any, **query: Any) -> Any:
        page = real(api, *args, **query)
        ends(who)
        return page

    monkeypatch.setattr(peliqan.AccountApi, "rows", rows)
    response = who.person.client.get(f"{PATH}/export.{suffix}")
    # A changed role and a disabled account end the session.
    assert response.status_code == (401 if end.startswith("an ") or "shut out" in end else status)
    assert MAIL not in content(response)
    assert NAME not in content(response)


def search(who: Person, connection: str, value: str) -> tuple[str, str]:
    """A finished search: its address, and its page."""
    url = str(who.post(f"{connection}/search", value=value).location)
    for _ in range(100):
        text = who.client.get(url).text
        if 'data-state="ended"' in text:
            return url, text
        who.post(url)
    raise AssertionError("it has no end")


def test_a_search_shows_no_parts_of_columns_that_are_masked_since(
    app: Flask, sandbox_server: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    connection = next(each for each in sandbox_server.life.connections(ACCOUNT) if each.connector)
    monkeypatch.setattr(
        search_jobs, "tables_of", lambda _, tables: [each for each in tables if each.id == TABLE]
    )
    who = Somebody(app, "operator")
    path = f"/accounts/{ACCOUNT}/connections/{connection.id}"
    _, text = search(who.person, path, "lovelace")
    assert "Not found" in text, "a part of a masked value is not found"
    _, text = search(who.person, path, MAIL)
    assert "is exactly it" in text
    later(who)
    who.sign_in()
    who.reveal()
    url, text = search(who.person, path, "lovelace")
    assert "contains it" in text
    exactly, text = search(who.person, path, "m2@example.com")
    assert "is exactly it" in text
    later(who)
    assert "is exactly it" not in who.person.client.get(exactly).text
    assert "contains it" not in who.person.client.get(url).text, (
        "revealed values are hidden after the reveal"
    )
    visible, text = search(who.person, path, NAME)
    assert "contains it" in text
    mask(who)
    assert "contains it" not in who.person.client.get(visible).text
    limit(who)
    assert who.person.client.get(visible).status_code == 404


def test_every_kept_file_says_which_columns_it_discloses(app: Flask, folder: Path) -> None:
    """The stored access rules are JSON that parses to columns again."""
    who = Somebody(app, "admin")
    page = who.export(column="Plan", sort="-E-mail")
    with app.app_context():
        export = exports.export_or_none(int(page.rsplit("/", 1)[-1]))
        assert export is not None
        columns = [
            peliqan.Column.model_validate(each) for each in json.loads(json.dumps(export.disclosed))
        ]
        assert {column.name: column.type for column in columns} == {
            "Plan": "text",
            "E-mail": "email",
        }
