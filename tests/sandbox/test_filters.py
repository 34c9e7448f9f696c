"""Filters and sorts of a column of every type, compared with the recorded server."""

import json
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit

import pytest

from tests.support.api_caller import Caller
from tests.support.every_type import (
    ASKED,
    FIELDS,
    REFUSED_SORTS,
    ROWS,
    TABLE,
    WRONG_FILTERS,
    fits,
    install_in,
    is_number,
    sandbox_fields,
    values_for,
)

BASEROW = Path(__file__).parents[1] / "data" / "baserow"
BY_NAME = {each["name"]: each for each in FIELDS}


@pytest.fixture
def every(api: Caller, monkeypatch: pytest.MonkeyPatch) -> Caller:
    install_in(api.app.extensions["sandbox"].tables, monkeypatch, sandbox_fields(), ROWS)
    return api


def get_rows(api: Caller, **query: str) -> Any:
    return api.get(
        f"database/rows/table/{TABLE}/?"
        f"{urlencode({'user_field_names': 'True', 'size': '200', **query})}"
    )


@pytest.mark.parametrize(
    "name", ["error-filters-not-json.json", "error-filters-bad-json-shape.json"]
)
def test_a_tree_of_filters_that_cannot_be_read_is_refused_as_the_recorded_server_did(
    every: Caller, name: str
) -> None:
    [recorded] = [
        each
        for each in json.loads((BASEROW / "index.json").read_text())["files"]
        if each["file"] == name
    ]
    response = get_rows(every, filters=dict(parse_qsl(urlsplit(recorded["path"]).query))["filters"])
    assert response.status_code == recorded["status"] == 400
    assert response.json == json.loads((BASEROW / name).read_text())


def test_a_tree_of_filters_keeps_the_rows_that_fit_it_and_no_other_filter_counts_beside_it(
    every: Caller,
) -> None:
    either = [
        {"type": "contains", "field": "Title", "value": "a"},
        {"type": "empty", "field": "E-mail", "value": ""},
    ]
    groups = [{"filter_type": "OR", "filters": either, "groups": []}]
    active = {"type": "boolean", "field": "Active", "value": "true"}
    tree = {"filter_type": "AND", "filters": [active], "groups": groups}
    expected = [
        row["id"]
        for row in ROWS
        if row["Active"] and ("a" in (row["Title"] or "").casefold() or row["E-mail"] in (None, ""))
    ]
    assert 0 < len(expected) < len(ROWS)
    response = get_rows(
        every, filters=json.dumps(tree), filter__Title__equal="nothing has this title"
    ).json
    assert [row["id"] for row in response["results"]] == expected
    named = {"filter_type": "OR", "filters": either}
    assert get_rows(every, filters=json.dumps(named)).json["count"] > len(expected)


def sent(name: str, kind: str, value: str) -> str:
    day = kind.startswith("date_is")
    return f"UTC?{value}?exact_date" if day else value


def test_the_list_of_fields_is_the_recorded_one(every: Caller) -> None:
    listed = every.get(f"database/fields/table/{TABLE}/").json
    for ours, theirs in zip(listed, FIELDS, strict=True):
        for setting in (
            "id",
            "name",
            "type",
            "formula_type",
            "array_formula_type",
            "duration_format",
            "select_options",
        ):
            assert ours.get(setting) == theirs.get(setting), (theirs["name"], setting)


def test_what_the_recorded_server_refused_is_refused_with_its_code_and_nothing_else(
    every: Caller,
) -> None:
    assert len(WRONG_FILTERS) == 90
    for field in FIELDS:
        for kind in ASKED[field["type"]]:
            value, error = WRONG_FILTERS.get((field["name"], kind), ("1", ""))
            response = get_rows(
                every, **{f"filter__{field['name']}__{kind}": sent(field["name"], kind, value)}
            )
            assert response.json.get("error", "") == error, (field["name"], kind)
            assert response.status_code == (400 if error else 200)


def test_what_the_recorded_server_answered_as_the_rows_say_is_answered_so(every: Caller) -> None:
    for field in FIELDS:
        name = field["name"]
        for kind in ASKED[field["type"]]:
            if (name, kind) in WRONG_FILTERS:
                continue
            for value in values_for(name, kind):
                expected = sum(
                    fits(row[name], kind, value, is_number=is_number(field)) for row in ROWS
                )
                response = get_rows(every, **{f"filter__{name}__{kind}": sent(name, kind, value)})
                assert response.json["count"] == expected, (name, kind, value)


@pytest.mark.parametrize(
    ("name", "kind", "value"),
    [
        ("Day+30", "contains", "2026-03-30"),
        ("Moment copy", "contains", "1970-01-01T00:00:00Z"),
        ("Day+30", "contains_not", "2026-03-30"),
        ("Age", "equal", "44688600.000001"),
        ("Late?", "empty", ""),
        ("Names", "empty", ""),
        ("Credits", "empty", ""),
        ("Countries", "not_empty", ""),
    ],
)
def test_what_the_recorded_server_answered_by_another_notion_is_answered_so(
    every: Caller, name: str, kind: str, value: str
) -> None:
    assert WRONG_FILTERS[name, kind][1] == ""
    as_shown = sum(fits(row[name], kind, value, is_number=is_number(BY_NAME[name])) for row in ROWS)
    assert get_rows(every, **{f"filter__{name}__{kind}": value}).json["count"] != as_shown


def test_sorts_are_refused_as_the_recorded_server_refused_them_and_no_others(every: Caller) -> None:
    # The recorded request had its sign outside the quotes.
    refused = {name: error for name, error in REFUSED_SORTS.items() if name != "-Name, with comma"}
    for field in FIELDS:
        for sign in ("", "-"):
            name = f"{sign}{field['name']}"
            response = get_rows(every, order_by='"' + name.replace('"', '""') + '"')
            assert response.json.get("error", "") == refused.get(name, ""), name


@pytest.mark.parametrize(
    ("order_by", "error", "detail"),
    [
        (
            '-"Name, with comma"',
            "ERROR_ORDER_BY_FIELD_NOT_FOUND",
            'The field -"Name was not found in the table.',
        ),
        ('"-Name, with comma"', "", ""),
        ('"Name, with comma",-Title', "", ""),
        ("+Title", "", ""),
        (
            "-+Title",
            "ERROR_ORDER_BY_FIELD_NOT_FOUND",
            "The field -+Title was not found in the table.",
        ),
        (
            " Title",
            "ERROR_ORDER_BY_FIELD_NOT_FOUND",
            "The field  Title was not found in the table.",
        ),
        (
            "Title,,Notes",
            "ERROR_ORDER_BY_FIELD_NOT_FOUND",
            "The field  was not found in the table.",
        ),
        (
            "Title[x]",
            "ERROR_ORDER_BY_FIELD_NOT_FOUND",
            "The field Title[x] was not found in the table.",
        ),
    ],
)
def test_order_by_is_read_as_the_server_reads_it(
    every: Caller, order_by: str, error: str, detail: str
) -> None:
    response = get_rows(every, order_by=order_by)
    assert (response.json.get("error", ""), response.json.get("detail", "")) == (error, detail)
