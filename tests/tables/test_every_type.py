"""Columns of every type: all offered filters and sorts, on a server that refuses as Baserow."""

import json
from collections.abc import Iterator
from dataclasses import replace
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit

import pytest
from bs4 import BeautifulSoup
from flask import Flask

from dashboard.context import Services
from dashboard.sandbox.tables import Field
from tests.support.every_type import (
    ASKED,
    BY_NAME,
    FIELDS,
    PATH,
    REFUSED_SORTS,
    ROWS,
    TABLE,
    WRONG_FILTERS,
    fits,
    install,
    is_number,
    sandbox_fields,
    values_for,
)
from tests.support.fault_server import Answer, FaultServer, run
from tests.support.people import Person, words
from tests.support.sandbox import Sandbox
from tests.tables.test_recorded_rows import RECORDED


@pytest.fixture
def listed(adam: Person, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> BeautifulSoup:
    install(sandbox, monkeypatch, sandbox_fields(), ROWS)
    return adam.get(PATH)


def offered_filters(soup: BeautifulSoup) -> list[tuple[str, str]]:
    """Return each column with each filter that the form offers for it."""
    form = soup.select_one(".rows-add")
    assert form is not None
    kinds = json.loads(str(form["data-kinds"]))
    shown = {option["value"] for option in form.select("#add-kind option")}
    assert shown == {kind for some in kinds.values() for kind in some}
    options = form.select("#add-column option[data-type]")
    return [
        (str(option["value"]), kind) for option in options for kind in kinds[option["data-type"]]
    ]


def sort_links(soup: BeautifulSoup) -> dict[str, str]:
    """Return the addresses of the columns' header links, by the columns' names."""
    names = [each["name"] for each in FIELDS]
    heads = soup.select(".rows thead th")[1:]
    assert len(heads) == len(names)
    return {
        name: str(head.a["href"])
        for name, head in zip(names, heads, strict=True)
        if head.a is not None
    }


def as_json(address: str) -> str:
    path, _, query = address.partition("?")
    return f"{path}.json?{query}"


def test_no_filter_that_the_page_offers_is_one_that_the_real_server_refused_or_answered_wrongly(
    listed: BeautifulSoup,
) -> None:
    offered = offered_filters(listed)
    assert len(offered) > 200
    assert not [pair for pair in offered if pair in WRONG_FILTERS]


def test_every_filter_that_the_page_offers_gives_the_rows_that_its_words_say(
    listed: BeautifulSoup, adam: Person
) -> None:
    wrong, tried = [], 0
    for name, kind in offered_filters(listed):
        values = values_for(name, kind)
        assert values, (name, kind)
        for value in values:
            expected = sum(
                fits(row[name], kind, value, is_number=is_number(BY_NAME[name])) for row in ROWS
            )
            added = urlencode(
                [
                    ("add_column", name),
                    ("add_kind", kind),
                    ("add_value", value),
                    ("column", "Title"),
                ]
            )
            # Sent as by the form, then read as JSON.
            location = adam.client.get(f"{PATH}?{added}").location
            response = adam.client.get(as_json(location))
            tried += 1
            if response.status_code != 200 or response.json["total"] != expected:
                wrong.append((name, kind, value, expected, response.json))
    assert not wrong
    assert tried > 400


def test_every_filter_that_the_real_server_answered_rightly_is_offered(
    listed: BeautifulSoup,
) -> None:
    tested = {(each["name"], kind) for each in FIELDS for kind in ASKED[each["type"]]}
    assert len(tested) == 311
    assert tested >= WRONG_FILTERS.keys()
    assert not tested - WRONG_FILTERS.keys() - set(offered_filters(listed))


OFFERED = {
    "Day+30": ("date_is", "date_is_after", "date_is_before"),
    "Moment copy": ("date_is", "date_is_after", "date_is_before"),
    "Late?": ("boolean",),
    "Double": ("higher_than", "lower_than"),
    "Ratio": ("higher_than", "lower_than"),
    "Age": ("higher_than", "lower_than"),
    "Names": (
        "has_value_equal",
        "has_not_value_equal",
        "has_value_contains",
        "has_not_value_contains",
    ),
    "Credits": ("has_value_equal", "has_not_value_equal"),
    "Array": ("has_value_equal", "has_not_value_equal"),
    "Sinces": ("has_date_equal", "has_date_after", "has_date_before"),
    "Countries": ("has_value_contains", "has_not_value_contains"),
    "Customers": ("link_row_has", "link_row_contains"),
    "Status": ("single_select_equal", "single_select_not_equal"),
    "Status copy": ("single_select_equal", "single_select_not_equal"),
    "Tags": ("contains", "contains_not", "multiple_select_has"),
    "By": ("user_is", "user_is_not"),
    "Changed by": ("user_is", "user_is_not"),
    "Owners": ("multiple_collaborators_has",),
}


def test_filters_are_offered_by_the_type_of_a_formulas_result(listed: BeautifulSoup) -> None:
    expected = {(name, kind) for name, kinds in OFFERED.items() for kind in kinds}
    assert expected - set(offered_filters(listed)) == set()


def test_a_column_without_filters_is_not_in_the_forms_menu(listed: BeautifulSoup) -> None:
    columns = {column for column, _ in offered_filters(listed)}
    assert columns & {"Link", "Button", "First file", "Lost"} == set()


def test_the_heads_that_sort_are_those_by_which_the_real_server_sorts(
    listed: BeautifulSoup,
) -> None:
    # The last recorded refusal is of a sign outside the quotes, which is no longer sent.
    unsortable = {
        name.removeprefix("-")
        for name, error in REFUSED_SORTS.items()
        if error == "ERROR_ORDER_BY_FIELD_NOT_POSSIBLE"
    }
    assert len(unsortable) == 7
    assert {each["name"] for each in FIELDS} - sort_links(listed).keys() == unsortable
    assert {head["aria-sort"] for head in listed.select(".rows thead th[aria-sort]")} == {"none"}


def test_every_head_sorts_both_ways_and_says_so(listed: BeautifulSoup, adam: Person) -> None:
    for name, link in sort_links(listed).items():
        for direction in ("ascending", "descending"):
            response = adam.client.get(as_json(link))
            assert response.status_code == 200, (name, direction, response.json)
            assert response.json["total"] == len(ROWS)
            alone = adam.get(link if "column=" in link else f"{link}&{urlencode({'column': name})}")
            heads = alone.select(".rows th[aria-sort]")
            assert [head["aria-sort"] for head in heads] == [direction], name
            link = str(heads[0].a["href"])  # type: ignore[index]
    ids = [each["id"] for each in sorted(ROWS, key=lambda row: row["Nr"], reverse=True)]
    assert [item["id"] for item in adam.json(f"{PATH}.json?sort=-Nr")["items"]] == ids


def test_a_filter_that_a_column_does_not_have_is_a_sentence_and_nothing_is_sent(
    listed: BeautifulSoup, adam: Person, sandbox: Sandbox
) -> None:
    before = sandbox.state()["calls"]["rows"]
    for name, kind in WRONG_FILTERS:
        query = urlencode({f"filter__{name}__{kind}": WRONG_FILTERS[name, kind][0]})
        assert "cannot be filtered by" in adam.json(f"{PATH}.json?{query}", 400)["detail"]
    for name in ("Files", "-Files", "Secret", "Tags copy", "-Lost", "First file"):
        for path in (f"{PATH}.json", f"{PATH}/export.csv"):
            assert adam.client.get(f"{path}?{urlencode({'sort': name})}").status_code in {400, 403}
        assert (
            "cannot be sorted by"
            in adam.json(f"{PATH}.json?{urlencode({'sort': name})}", 400)["detail"]
        )
    assert sandbox.state()["calls"]["rows"] == before


REFUSED_VALUES = [
    ("Took", "equal", "90", "a multiple of 60"),
    ("Took", "higher_than", "0.5", "a multiple of 60"),
    ("Took fine", "equal", "0.0001", "a multiple of 0.001"),
    ("Age", "lower_than", "11510999.123456", "a multiple of 1"),
    ("Took", "equal", "9" * 30, "a multiple of 60"),
    ("Nr", "higher_than", "12.5", "a whole number"),
    ("Stars", "equal", "4.0", "a whole number"),
    ("Customers", "link_row_has", "Ann", "the id of one row or user"),
    ("Customers", "link_row_has", "1,2", "the id of one row or user"),
    ("By", "user_is", "-1", "the id of one row or user"),
    ("Status", "single_select_equal", "Closed", "has no choice “Closed”. It has: Open, open"),
    ("Credits", "has_value_equal", "many", "a number"),
    ("Names", "has_value_contains", "100%", "a text without %"),
    ("Late?", "boolean", "perhaps", "true or false"),
    ("Day+30", "date_is", "soon", "a day, such as 2026-03-31"),
]


def test_a_value_that_the_server_would_ignore_or_round_is_refused_with_a_sentence(
    listed: BeautifulSoup, adam: Person
) -> None:
    for name, kind, value, message in REFUSED_VALUES:
        query = urlencode({f"filter__{name}__{kind}": value})
        assert message in adam.json(f"{PATH}.json?{query}", 400)["detail"], (name, kind, value)
    assert message in words(adam.get(f"{PATH}?{query}", 400))


def test_a_choice_whose_text_several_have_is_any_of_them(
    listed: BeautifulSoup, adam: Person
) -> None:
    ids = [
        option["id"] for option in BY_NAME["Status"]["select_options"] if option["value"] == "Open"
    ]
    assert len(ids) == 2
    for name in ("Status", "Status copy"):
        have = sum(row[name] is not None and row[name]["id"] in ids for row in ROWS)
        assert 0 < have < len(ROWS)
        for kind, total in (
            ("single_select_equal", have),
            ("single_select_not_equal", len(ROWS) - have),
        ):
            assert (
                adam.json(f"{PATH}.json?{urlencode({f'filter__{name}__{kind}': 'Open'})}")["total"]
                == total
            )


def test_more_than_a_number_leaves_out_what_is_no_number_also_beside_less_than(
    listed: BeautifulSoup, adam: Person
) -> None:
    finite = [float(row["Ratio"]) for row in ROWS if row["Ratio"] != "NaN"]
    assert 0 < len(finite) < len(ROWS)
    more = urlencode({"filter__Ratio__higher_than": "-1"})
    assert adam.json(f"{PATH}.json?{more}")["total"] == sum(each > -1 for each in finite)
    both = urlencode({"filter__Ratio__higher_than": "-1", "filter__Ratio__lower_than": "1"})
    assert adam.json(f"{PATH}.json?{both}")["total"] == sum(-1 < each < 1 for each in finite)


def test_a_search_in_a_column_that_the_server_does_not_search_is_a_sentence(
    listed: BeautifulSoup, adam: Person
) -> None:
    for chosen in (
        "Took",
        "Age",
        "Names",
        "Credits",
        "Active",
        "Late?",
        "Customers",
        "Files",
        "Secret",
    ):
        query = urlencode({"column": chosen, "q": "1"})
        assert (
            "None of the columns on the page can be searched"
            in adam.json(f"{PATH}.json?{query}", 400)["detail"]
        ), chosen


# Names of columns that Baserow's parameters split, or read as a sign.
ODD_NAMES = (
    "Plain", "Last, first", "-Minus", "+Plus", "Minus", "--", "-", "+", '"', '""', "a\"b,c",
    "back\\slash", "\\", "-\\,\"", "ends\\", "a, b, c", "-a, b", "+a,-b", "'single'",
    "ünï, cødé 😀", "العنوان، ثاني", "a\tb", "%5B,&=#?", "Rate {EUR}", "x" * 250 + ",",
)  # fmt: skip


@pytest.fixture
def odd(sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    rows = [
        {
            "id": n,
            "order": f"{n}.0",
            **{name: f"{(n * 7 + k) % 11:02}" for k, name in enumerate(ODD_NAMES)},
        }
        for n in range(1, 12)
    ]
    install(
        sandbox,
        monkeypatch,
        [Field(9000 + n, name, "text", n == 0) for n, name in enumerate(ODD_NAMES)],
        rows,
    )
    return rows


def test_a_column_of_any_name_is_sorted_by_both_ways_shown_alone_and_filtered_by(
    adam: Person, odd: list[dict[str, Any]]
) -> None:
    heads = adam.get(PATH).select(".rows thead th")[1:]
    for name, head in zip(ODD_NAMES, heads, strict=True):
        assert head.a is not None, name
        link = str(head.a["href"])
        up = sorted(odd, key=lambda row: row[name])
        for expected, direction in ((up, "ascending"), (up[::-1], "descending")):
            found = adam.json(as_json(link))
            assert [item["id"] for item in found["items"]] == [row["id"] for row in expected], (
                name,
                direction,
            )
            alone = dict(parse_qsl(urlsplit(link).query)) | {"column": name}
            assert adam.json(f"{PATH}.json?{urlencode(alone)}")["columns"] == [
                {"name": name, "type": "text"}
            ]
            sorted_heads = adam.get(link).select(".rows thead th")[1:]
            ours = sorted_heads[ODD_NAMES.index(name)]
            assert ours["aria-sort"] == direction, name
            assert sum(each["aria-sort"] != "none" for each in sorted_heads) == 1, name
            link = str(ours.a["href"])  # type: ignore[index]
        for pairs in ([], [("column", "Plain")]):
            query = urlencode([(f"filter__{name}__equal", "05"), *pairs])
            assert adam.json(f"{PATH}.json?{query}")["total"] == 1, name


@pytest.mark.parametrize("name", ["Amount [EUR]", "[x]", "a[]", "[,]"])
def test_a_name_with_brackets_is_no_link_since_the_server_takes_them_for_a_way_to_sort(
    adam: Person, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    install(
        sandbox,
        monkeypatch,
        [Field(1, "Plain", "text", True), Field(2, name, "text")],
        [{"id": 1, "order": "1", "Plain": "", name: "v"}],
    )
    heads = adam.get(PATH).select(".rows thead th")[1:]
    assert [head.a is not None for head in heads] == [True, False]
    query = urlencode({"sort": f"-{name}"})
    assert "cannot be sorted" in adam.json(f"{PATH}.json?{query}", 400)["detail"]
    assert (
        adam.json(f"{PATH}.json?{urlencode({f'filter__{name}__equal': 'v', 'column': name})}")[
            "total"
        ]
        == 1
    )


@pytest.mark.parametrize("name", ["field_created_on", "field_id", "two\nlines"])
def test_a_name_under_which_the_server_finds_no_column_has_no_filter(
    adam: Person, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    install(
        sandbox,
        monkeypatch,
        [Field(1, "Plain", "text", True), Field(2, name, "text")],
        [{"id": 1, "order": "1", "Plain": "", name: "v"}],
    )
    assert {column for column, _ in offered_filters(adam.get(PATH))} == {"Plain"}
    assert (
        "cannot be filtered"
        in adam.json(f"{PATH}.json?{urlencode({f'filter__{name}__equal': 'v'})}", 400)["detail"]
    )


REFUSALS = [
    "error-filter-unknown-field-id.json",
    "error-filter-unknown-type.json",
    "error-filter-wrong-type-for-field.json",
    "error-filters-bad-json-shape.json",
    "error-filters-not-json.json",
    "error-order-case.json",
    "error-order-not-sortable.json",
    "error-order-unknown-field-id.json",
    "error-order-unknown.json",
]


@pytest.fixture
def refusing(app: Flask, services: Services) -> Iterator[FaultServer]:
    """Yield a console with a server that lists the recorded fields."""
    with run(FaultServer()) as server:
        app.extensions["services"] = replace(services, api=server.client())
        server.say(f"/api/database/tables/{TABLE}/", Answer({"id": TABLE, "name": "Every type"}))
        server.say(f"/api/database/fields/table/{TABLE}/", Answer(FIELDS))
        yield server


@pytest.mark.parametrize("name", REFUSALS)
def test_what_the_server_refuses_all_the_same_is_a_bad_request_with_its_reason(
    refusing: FaultServer, olga: Person, name: str
) -> None:
    refusal = json.loads((RECORDED / name).read_text())
    refusing.say(f"/api/database/rows/table/{TABLE}/", Answer(refusal, 400))
    query = "sort=-Amount&filter__Title__contains=x"
    page, fragment = (
        words(olga.get(f"{PATH}?{query}", 400)),
        words(olga.fragment(f"{PATH}?{query}", 400)),
    )
    bodies = [
        olga.json(f"{PATH}{suffix}?{query}", 400)
        for suffix in (".json", "/export.csv", "/export.jsonl", "/export.parquet")
    ]
    for text in (page, fragment, *(each["detail"] for each in bodies)):
        assert "Peliqan cannot filter or sort this table like that" in text
    if isinstance(refusal["detail"], str):
        assert refusal["detail"] in page
    assert "Remove the filter or the sort" in page
    assert {each["error"] for each in bodies} == {"bad_query"}


def test_another_refusal_stays_a_bad_gateway(refusing: FaultServer, olga: Person) -> None:
    refusing.say(
        f"/api/database/rows/table/{TABLE}/",
        Answer({"error": "ERROR_PAGE_SIZE_LIMIT", "detail": "Too many."}, 400),
    )
    assert olga.json(f"{PATH}.json", 502)["error"] == "refused"
