"""No filter, sort or search reads a masked value; a guess of the full value is audited."""

import io
import json
import re
import string
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any
from urllib.parse import urlencode

import pyarrow.parquet
import pytest
from bs4 import BeautifulSoup
from flask import Flask
from sqlalchemy import select

from dashboard import peliqan
from dashboard.audit.models import AuditEntry
from dashboard.context import Services
from dashboard.core.database import db
from dashboard.listing.query import BadQuery
from dashboard.masking import service as reveals
from dashboard.masking.models import ColumnMask, Reveal
from dashboard.masking.rule_file import MASKED
from dashboard.sandbox.tables import Field
from dashboard.tables.filters import KINDS, kinds_of
from dashboard.tables.query import read_table_query
from dashboard.users.models import User
from tests.security.route_requests import ACCOUNT
from tests.support.clock import Clock
from tests.support.every_type import (
    BY_NAME,
    COLUMNS,
    FIELDS,
    PATH,
    ROWS,
    TABLE,
    install_in,
    sandbox_fields,
    values_for,
)
from tests.support.people import Person, words
from tests.support.sandbox import Sandbox

BY_RULE = ("E-mail", "Phone", "Secret")
# Allowed queries of a masked column: full values, and whether there is one.
FULL_VALUE_FILTERS = {"equal", "boolean", "single_select_equal", "user_is", "empty", "not_empty"}
# Columns of days; they have no time.
DAYS = {each["name"] for each in FIELDS if each.get("date_include_time") is False}
WHY = "The customer asks what is written there."


@pytest.fixture(scope="module", autouse=True)
def table(sandbox_server: Sandbox, app: Flask) -> Iterator[None]:
    """The recorded table, among those of the first account."""
    with pytest.MonkeyPatch.context() as patch:
        install_in(sandbox_server.app.extensions["sandbox"].tables, patch, sandbox_fields(), ROWS)
        yield


@pytest.fixture(autouse=True)
def undecided(app: Flask) -> None:
    """Remove decisions and reveals of earlier tests."""
    with app.app_context():
        for model in (ColumnMask, Reveal):
            db.session.execute(db.delete(model))
        db.session.execute(db.delete(AuditEntry).where(AuditEntry.what == reveals.COMPARED))
        db.session.commit()


@pytest.fixture(scope="module")
def viv(app: Flask) -> Person:
    return Person(app.test_client(), "viv@example.com")


@pytest.fixture(scope="module")
def olga(app: Flask) -> Person:
    return Person(app.test_client(), "olga@example.com")


@pytest.fixture(scope="module")
def adam(app: Flask) -> Person:
    return Person(app.test_client(), "adam@example.com")


def decide(app: Flask, masked: bool | None, *names: str, table_id: int = TABLE) -> None:
    """An administrator's decisions for columns."""
    services: Services = app.extensions["services"]
    with app.app_context():
        user = db.session.scalars(select(User).where(User.email == "adam@example.com")).one()
        for name in names:
            reveals.decide(user, ACCOUNT, table_id, name, masked, services.clock())


def compares_full_values(name: str, kind: str) -> bool:
    return kind in FULL_VALUE_FILTERS or (kind == "date_is" and name in DAYS)


def offered(name: str) -> list[str]:
    """Return every filter that a user who sees the column may use."""
    return list(kinds_of(peliqan.Column.model_validate(BY_NAME[name])))


def value_of(name: str, kind: str) -> str:
    try:
        return (values_for(name, kind) or ["1"])[0]
    except (KeyError, TypeError, ValueError):
        return "1"


def test_every_filter_of_every_column_is_whole_or_refused_where_the_column_is_masked() -> None:
    accepted = set()
    for column in COLUMNS:
        for kind in KINDS:
            try:
                value = value_of(column.name, kind)
                read_table_query(
                    {f"filter__{column.name}__{kind}": value}, (), COLUMNS, masked={column.name}
                )
            except BadQuery:
                continue
            accepted.add((column.name, kind))
    assert accepted == {
        (name, kind)
        for name in BY_NAME
        for kind in offered(name)
        if compares_full_values(name, kind)
    }
    assert len(accepted) > 80


def test_no_door_for_rows_takes_a_filter_by_parts_of_any_masked_column(
    app: Flask, viv: Person, adam: Person
) -> None:
    decide(app, True, *BY_NAME)
    refused = 0
    for name in BY_NAME:
        for kind in offered(name):
            query = urlencode({f"filter__{name}__{kind}": value_of(name, kind)})
            response = viv.client.get(f"{PATH}.json?{query}")
            assert response.status_code == (200 if compares_full_values(name, kind) else 400), (
                name,
                kind,
                response.json,
            )
            if not compares_full_values(name, kind):
                refused += 1
                assert "is masked for you" in response.json["detail"], (name, kind)
                assert "show the masked columns first" in response.json["detail"]
    assert refused > 120
    assert (
        adam.client.get(f"{PATH}.json?{urlencode({'filter__E-mail__contains': 'a'})}").status_code
        == 200
    )


def test_the_rows_are_sorted_by_no_masked_column(app: Flask, viv: Person) -> None:
    decide(app, True, *BY_NAME)
    for name in BY_NAME:
        for sign in ("", "-", "+"):
            response = viv.client.get(f"{PATH}.json?{urlencode({'sort': sign + name})}")
            assert response.status_code == 400, (sign, name)
            assert "is masked for you" in response.json["detail"], (sign, name)
    page = viv.get(PATH)
    assert not page.select(".rows thead a")
    assert page.select(".rows thead .column-type")


def test_the_form_offers_for_masked_columns_what_is_accepted(app: Flask, viv: Person) -> None:
    decide(app, True, *list(BY_NAME)[::2])
    hidden = set(viv.json(f"{PATH}.json")["masked"])
    assert {"Title", "E-mail"} <= hidden < set(BY_NAME)
    form = viv.get(PATH).select_one(".rows-add")
    assert form is not None
    kinds = json.loads(str(form["data-kinds"]))
    shown = {
        str(option["value"]): kinds[option["data-type"]]
        for option in form.select("#add-column option[data-type]")
    }
    for name in BY_NAME:
        expected = [
            kind for kind in offered(name) if name not in hidden or compares_full_values(name, kind)
        ]
        assert shown.get(name, []) == expected, name


PARTS = {
    "contains": {"filter__E-mail__contains": "a"},
    "does not contain": {"filter__E-mail__contains_not": "a"},
    "is not": {"filter__E-mail__not_equal": "a"},
    "more": {"filter__E-mail__higher_than": "a"},
    "beside one that is whole": {
        "filter__E-mail__equal": "ada@example.com",
        "filter__Phone__contains": "1",
    },
    "sort": {"sort": "E-mail"},
    "descending": {"sort": "-E-mail"},
    "with a sign": {"sort": "+E-mail"},
}


def get(path: str) -> Callable[[Person, dict[str, str]], Any]:
    return lambda person, query: person.client.get(f"{path}?{urlencode(query)}")


def in_the_frame(person: Person, query: dict[str, str]) -> Any:
    person.client.set_cookie("tz", "Europe/Brussels")
    try:
        return person.client.get(f"{PATH}?{urlencode(query)}")
    finally:
        person.client.delete_cookie("tz")


def as_fragment(person: Person, query: dict[str, str]) -> Any:
    return person.client.get(f"{PATH}?{urlencode(query)}", headers={"HX-Request": "true"})


def by_form(person: Person, query: dict[str, str]) -> Any:
    return person.post(f"{PATH}/exports", format="csv", **query)


def by_token(person: Person, query: dict[str, str]) -> Any:
    page = person.post("/me/tokens", name="of an attack")
    found = person.client.get(page.location).text if page.location else page.text
    token = next(
        part
        for part in found.replace('"', " ").replace("<", " ").replace(">", " ").split()
        if part.startswith("pc_")
    )
    client = person.client.application.test_client()
    return client.get(
        f"{PATH}.json?{urlencode(query)}", headers={"Authorization": f"Bearer {token}"}
    )


VARIANTS = {
    "page": get(PATH),
    "frame": in_the_frame,
    "fragment": as_fragment,
    "filled": lambda person, query: get(PATH)(person, {**query, "fill": "1"}),
    "json": get(f"{PATH}.json"),
    "csv": get(f"{PATH}.csv"),
    "health": get(f"{PATH}/health"),
    "export.csv": get(f"{PATH}/export.csv"),
    "export.jsonl": get(f"{PATH}/export.jsonl"),
    "export.parquet": get(f"{PATH}/export.parquet"),
    "export form": by_form,
    "token": by_token,
}


@pytest.mark.parametrize("variant", VARIANTS)
def test_parts_of_masked_values_are_asked_for_at_no_door(
    olga: Person, sandbox_server: Sandbox, variant: str
) -> None:
    before = sandbox_server.state()["calls"].get("rows", 0)
    for name, query in PARTS.items():
        response = VARIANTS[variant](olga, query)
        assert response.status_code == 400, (variant, name)
    assert sandbox_server.state()["calls"].get("rows", 0) == before, (
        "no request was sent to the API"
    )


def shown_by(response: Any) -> str:
    """Return the values in a response: a page's cells, or the whole file."""
    if response.mimetype == "text/html":
        return " ".join(
            words(cell) for cell in BeautifulSoup(response.text, "html.parser").select("#rows td")
        )
    if "parquet" in response.headers.get("Content-Disposition", ""):
        return str(pyarrow.parquet.read_table(io.BytesIO(response.data)).to_pylist())
    return str(response.text)


@pytest.mark.parametrize("variant", VARIANTS)
def test_a_whole_value_is_found_at_every_door_and_stays_masked(olga: Person, variant: str) -> None:
    row = next(row for row in ROWS if row["E-mail"])
    response = VARIANTS[variant](olga, {"filter__E-mail__equal": row["E-mail"]})
    assert response.status_code in {200, 303}, variant
    assert row["E-mail"] not in shown_by(response)
    if variant not in {"frame", "health", "export form"}:
        assert MASKED in unescaped(shown_by(response))


def unescaped(text: str) -> str:
    """Return text with JSON's escapes decoded, such as the dots of a mask."""
    return re.sub(r"\\u([0-9a-f]{4})", lambda found: chr(int(found[1], 16)), text)


# Queries whether a row's value begins with, has or follows some letters; each returns what an
# attacker sees.
def _seen(response: Any) -> Any:
    return response.json.get("total") if response.status_code == 200 else response.status_code


WAYS: dict[str, Callable[[Person, str, str], Any]] = {
    kind: lambda person, column, text, kind=kind: _seen(  # type: ignore[misc]
        person.client.get(f"{PATH}.json?{urlencode({f'filter__{column}__{kind}': text})}")
    )
    for kind in (
        "contains",
        "contains_not",
        "not_equal",
        "higher_than",
        "lower_than",
        "equal",
        "has_value_contains",
    )
} | {
    "search": lambda person, column, text: _seen(
        person.client.get(f"{PATH}.json?{urlencode({'q': text, 'column': column})}")
    ),
    "search beside a condition": lambda person, column, text: _seen(
        person.client.get(
            f"{PATH}.json?"
            f"{urlencode({'q': text, 'column': 'Nr', f'filter__{column}__not_empty': '1'})}"
        )
    ),
    "order": lambda person, column, text: _seen(
        person.client.get(f"{PATH}.json?{urlencode({'sort': f'-{column}', 'q': text})}")
    ),
}


@pytest.mark.parametrize("way", WAYS)
def test_a_masked_address_cannot_be_read_letter_by_letter(
    app: Flask, viv: Person, adam: Person, way: str
) -> None:
    """The response is the same for every letter; for an administrator it is not."""
    value = next(row["E-mail"] for row in ROWS if row["E-mail"])
    alphabet = sorted({*string.ascii_lowercase[:8], *"@._", value[0], value[1]})
    for prefix in ("", value[:1], value[: len(value) // 2], value[:-1]):
        seen = {
            letter: WAYS[way](viv, "E-mail", prefix + letter)
            for letter in alphabet
            if prefix + letter != value
        }
        assert len({str(each) for each in seen.values()}) == 1, (prefix, seen)
    if way == "contains":
        assert WAYS[way](adam, "E-mail", value[:3]) != WAYS[way](adam, "E-mail", value[:3] + "#")


def test_a_search_counts_parts_of_columns_that_are_shown_and_whole_values_of_masked_ones(
    app: Flask, viv: Person
) -> None:
    mails = [row["E-mail"] for row in ROWS if row["E-mail"]]
    assert viv.json(f"{PATH}.json?{urlencode({'q': mails[0]})}")["total"] >= mails.count(mails[0])
    chosen = {"column": ["Title", "E-mail"]}
    for text in (
        mails[0],
        mails[0][:-1],
        "a",
        "e",
        ROWS[3]["Title"] or "x",
        (ROWS[5]["Title"] or "xyz")[:3],
    ):
        text = text.strip()[:200] or "x"
        expected = [
            row["id"]
            for row in ROWS
            if text.casefold() in (row["Title"] or "").casefold() or row["E-mail"] == text
        ]
        found = viv.json(
            f"{PATH}.json?{urlencode({'q': text, 'per_page': 200, **chosen}, doseq=True)}"
        )
        assert [item["id"] for item in found["items"]] == expected, text
        query = {
            "q": text,
            "per_page": 200,
            "filter__Active__boolean": "true",
            "filter__Nr__lower_than": "3000",
            **chosen,
        }
        both = viv.json(f"{PATH}.json?{urlencode(query, doseq=True)}")
        fits = {row["id"] for row in ROWS if row["Active"] and row["Nr"] < 3000}
        assert [item["id"] for item in both["items"]] == [
            each for each in expected if each in fits
        ], text


def test_a_search_that_looks_into_nothing_says_so(app: Flask, viv: Person) -> None:
    decide(app, True, "Amount")
    detail = viv.json(f"{PATH}.json?{urlencode({'q': 'abc', 'column': 'Amount'})}", 400)["detail"]
    assert "masked ones are compared with whole values" in detail
    assert "show the masked columns first" in detail


def test_the_choices_of_a_masked_column_are_named_nowhere(app: Flask, viv: Person) -> None:
    detail = viv.json(
        f"{PATH}.json?{urlencode({'filter__Status__single_select_equal': 'Closed'})}", 400
    )["detail"]
    assert "It has: Open" in detail
    decide(app, True, "Status", "Status copy")
    query = urlencode({"filter__Status__single_select_equal": "Closed"})
    for text in (viv.json(f"{PATH}.json?{query}", 400)["detail"], viv.client.get(PATH).text):
        assert not [
            each["value"]
            for each in BY_NAME["Status"]["select_options"]
            if f"{each['value']}," in text
        ]
    assert "masked for you" in viv.json(f"{PATH}.json?{query}", 400)["detail"]


def entries(app: Flask) -> list[AuditEntry]:
    with app.app_context():
        return list(
            db.session.scalars(
                select(AuditEntry)
                .where(AuditEntry.what == reveals.COMPARED)
                .order_by(AuditEntry.id)
            )
        )


def test_a_guess_of_a_masked_value_stands_in_the_audit_once_without_the_value(
    app: Flask, clock: Clock, viv: Person, olga: Person
) -> None:
    url = f"{PATH}.json?{urlencode({'filter__E-mail__equal': 'guess@example.com'})}"
    for _ in range(3):
        viv.json(url)
    viv.json(f"{PATH}.json?{urlencode({'filter__E-mail__not_empty': '1'})}")
    [entry] = entries(app)
    assert (entry.who, entry.account_id, entry.result) == ("viv@example.com", ACCOUNT, "done")
    assert f"table {TABLE}" in entry.detail
    assert "E-mail" in entry.detail
    assert "guess" not in entry.detail
    viv.json(f"{PATH}.json?q=guess2")
    assert len(entries(app)) == 1, "within a quarter of an hour it is one entry"
    olga.json(url)
    assert len(entries(app)) == 2
    clock.move(minutes=16)
    viv.json(f"{PATH}.json?q=guess2")
    assert [each.who for each in entries(app)] == [
        "viv@example.com",
        "olga@example.com",
        "viv@example.com",
    ]


def test_the_value_of_a_masked_column_is_not_in_the_entry_of_an_export(
    app: Flask, olga: Person
) -> None:
    olga.client.get(
        f"{PATH}/export.csv?{urlencode({'filter__E-mail__equal': 'guess@example.com'})}"
    )
    with app.app_context():
        latest = db.session.scalars(
            select(AuditEntry).where(AuditEntry.what == "export").order_by(AuditEntry.id.desc())
        ).first()
        assert latest is not None
        assert "E-mail is a value" in latest.detail
        assert "guess" not in latest.detail


# A column that shows values of another table.
OTHER = 10011900


def fields_with(primary: dict[str, Any]) -> list[Field]:
    """The recorded fields with another title in the linked table, and another looked-up field."""
    found = []
    for field in sandbox_fields():
        if field.name == "Customers":
            title = {**field.settings["link_row_table_primary_field"], **primary}
            settings = {
                **field.settings,
                "link_row_table_id": OTHER,
                "link_row_table_primary_field": title,
            }
            field = replace(field, settings=settings)
        if field.name == "Names":
            field = replace(
                field, settings={**field.settings, "target_field_name": primary["name"]}
            )
        found.append(field)
    return found


@pytest.mark.parametrize(
    "primary",
    [{"name": "E-mail"}, {"name": "Reach me at", "type": "email"}, {"name": "Nickname"}],
    ids=str,
)
def test_what_is_masked_in_the_table_it_comes_from_is_masked_in_links_and_lookups(
    app: Flask, viv: Person, adam: Person, sandbox_server: Sandbox, primary: dict[str, Any]
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        tables = sandbox_server.app.extensions["sandbox"].tables
        patch.setattr(tables, "fields", _fields_of(tables, fields_with(primary)))
        app.extensions.pop("recent", None)
        if primary["name"] == "Nickname":
            assert not {"Customers", "Names"} & set(viv.json(f"{PATH}.json")["masked"])
            decide(app, True, "Nickname", table_id=OTHER)
        # A lookup's target is identified by its name, not by its type.
        expected = {"Customers"} if primary["name"] == "Reach me at" else {"Customers", "Names"}
        found = viv.json(f"{PATH}.json")
        assert expected <= set(found["masked"])
        for name in expected:
            assert {str(item[name]) for item in found["items"]} <= {MASKED, "[]"}
            kind = "link_row_contains" if name == "Customers" else "has_value_contains"
            for query in ({f"filter__{name}__{kind}": "a"}, {"sort": name}):
                assert viv.client.get(f"{PATH}.json?{urlencode(query)}").status_code == 400, query
            row = next(row for row in ROWS if row[name])
            shown = words(viv.get(f"{PATH}/rows/{row['id']}/cell?{urlencode({'column': name})}"))
            assert str(row[name][0]["value"]) not in shown or not row[name][0]["value"]
        decide(app, False, "Customers", "Names")
        assert not {"Customers", "Names"} & set(viv.json(f"{PATH}.json")["masked"]), (
            "decided for this column of this table"
        )
    app.extensions.pop("recent", None)


def _fields_of(tables: Any, fields: list[Field]) -> Callable[[Any], list[Field]]:
    real = tables.fields
    return lambda table: list(fields) if table.kind == "every type" else real(table)


def test_a_column_that_is_shown_in_one_table_is_shown_in_no_other(
    app: Flask, viv: Person, olga: Person
) -> None:
    decide(app, False, *BY_RULE, table_id=OTHER)
    assert viv.json(f"/accounts/{ACCOUNT}/tables/{OTHER}.json")["masked"] == []
    assert set(viv.json(f"{PATH}.json")["masked"]) == set(BY_RULE)
    mails = {row["E-mail"] for row in ROWS if row["E-mail"]}
    for suffix in ("csv", "jsonl"):
        text = olga.client.get(f"{PATH}/export.{suffix}").text
        assert not [mail for mail in mails if f'"{mail}"' in text or f",{mail}," in text]
    assert (
        viv.client.get(f"{PATH}.json?{urlencode({'filter__E-mail__contains': 'a'})}").status_code
        == 400
    )
