"""Queries of a table: only parameters that were understood are sent upstream."""

import pytest
from werkzeug.datastructures import MultiDict

from dashboard import peliqan
from dashboard.listing.query import BadQuery
from dashboard.tables.query import Filter, TableQuery, read_table_query

COLUMNS = [
    peliqan.Column(id=1, name="Title", type="text"),
    peliqan.Column(id=2, name="Amount", type="number"),
    peliqan.Column(id=3, name="amount", type="text"),
    peliqan.Column(id=4, name="Active", type="boolean"),
    peliqan.Column(id=5, name="Due", type="date"),
    peliqan.Column(id=6, name="Files", type="file"),
    peliqan.Column(id=7, name='Quote " dot . slash / 😀', type="text"),
    peliqan.Column(id=8, name="a__b", type="text"),
    peliqan.Column(id=9, name="What", type="something_new"),
]


def read(*pairs: tuple[str, str]) -> TableQuery:
    args = MultiDict(pairs)
    return read_table_query(args, args.getlist("column"), COLUMNS, masked=())


@pytest.mark.parametrize(
    ("name", "value", "sent"),
    [
        ("filter__Amount__higher_than", " 12.50 ", "12.50"),
        ("filter__amount__contains", "x", "x"),
        ("filter__Active__boolean", "TRUE", "true"),
        ("filter__Due__date_is_before", "2026-03-31", "UTC?2026-03-31?exact_date"),
        ("filter__Files__not_empty", "", ""),
        ('filter__Quote " dot . slash / 😀__contains', "script", "script"),
        ("filter__a__b__equal", "1", "1"),
    ],
)
def test_a_filter_goes_upstream_as_it_is_read_there(name: str, value: str, sent: str) -> None:
    query = read((name, value))
    assert query.upstream(COLUMNS)["filters"] == {name: sent}
    assert (
        query.url_args()[name] == (value.strip().lower() if "boolean" in name else value.strip())
        or "1"
    )


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("filter__Nope__equal", "1", "no column “Nope”"),
        ("filter__AMOUNT__equal", "1", "no column “AMOUNT”"),
        ("filter__Amount__contains", "1", "cannot be filtered by “contains”. It can be by: equal"),
        ("filter__Amount__equal", "abc", "takes a number"),
        ("filter__Amount__equal", "NaN", "takes a number"),
        ("filter__Amount__higher_than", "1e400000", ""),
        ("filter__Due__date_is", "yesterday", "takes a day, such as 2026-03-31"),
        ("filter__Due__date_is", "", "has no value"),
        ("filter__Active__boolean", "perhaps", "true or false"),
        ("filter__Title__equal", "x" * 501, "too long"),
        ("filter__Files__contains", "x", "cannot be filtered"),
        ("filter__What__contains", "1", "Peliqan has no filter for it"),
        ("filter__", "x", "no column"),
        ("filter____", "x", "no column"),
        ("column", "Nope", "no column “Nope”"),
        ("sort", "Nope", "cannot be sorted"),
    ],
)
def test_what_upstream_would_silently_ignore_is_refused_here_with_a_sentence(
    name: str, value: str, message: str
) -> None:
    if not message:
        read((name, value))
        return
    with pytest.raises(BadQuery, match=message.replace("(", r"\(")):
        read((name, value))


def test_a_column_that_is_filtered_or_sorted_by_is_read_although_it_is_not_shown() -> None:
    query = read(("column", "Title"), ("filter__Amount__equal", "1"), ("sort", "-Due"))
    assert query.upstream(COLUMNS)["include"] == ["Title", "Amount", "Due"]
    assert [column.name for column in query.shown(COLUMNS)] == ["Title"]


def test_the_address_gives_back_what_was_asked_and_lets_go_of_one_condition() -> None:
    query = read(
        ("column", "Title"),
        ("column", "Due"),
        ("filter__Amount__equal", "1"),
        ("filter__Title__empty", ""),
        ("q", "x"),
    )
    again = MultiDict()
    for name, value in query.url_args().items():
        for each in value if isinstance(value, list) else [value]:
            again.add(name, str(each))
    assert read_table_query(again, again.getlist("column"), COLUMNS, masked=()) == query
    assert "filter__Amount__equal" not in query.without(Filter("Amount", "equal", "1"))
    assert query.without(Filter("Amount", "equal", "1"))["column"] == ["Title", "Due"]


def test_a_search_where_nothing_can_be_searched_is_refused_since_upstream_gives_all_rows() -> None:
    with pytest.raises(BadQuery, match="can be searched"):
        read(("column", "Active"), ("q", "x"))


@pytest.mark.parametrize("typed", ["Größe", "Gro\u0308ße"])
def test_a_column_is_meant_in_composed_and_decomposed_letters_and_upstream_is_given_its_own(
    typed: str,
) -> None:
    columns = [
        peliqan.Column(id=1, name="Größe", type="text"),
        peliqan.Column(id=2, name="Größe 2", type="text"),
    ]
    pairs = MultiDict(
        [(f"filter__{typed}__contains", "x"), ("sort", f"-{typed}"), ("column", typed)]
    )
    query = read_table_query(pairs, pairs.getlist("column"), columns, masked=())
    assert query.upstream(columns) == {
        "search": "", "order_by": "-Größe", "filters": {"filter__Größe__contains": "x"},
        "include": ["Größe"],
    }  # fmt: skip


def test_of_columns_that_differ_in_spelling_alone_each_is_meant_by_its_own() -> None:
    assert read(("sort", "Amount")).sort == "Amount"
    assert read(("sort", "-amount")).sort == "-amount"
    with pytest.raises(BadQuery, match="cannot be sorted by"):
        read(("sort", "AMOUNT"))
