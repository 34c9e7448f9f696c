"""The tables of a run in every shape and under every name, over HTTP."""

import json
from itertools import product
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dashboard.peliqan.loads import COUNT_NAMES, read_count, table_loads
from tests.support.fault_server import Answer, FaultServer

RUNS = "/api/servers/7/runs/"
SHAPES: dict[str, Any] = {
    "list": lambda name, count: [{"name": "a", name: count}, {"name": "b"}],
    "object": lambda name, count: {"a": {name: count}, "b": {}},
}


def run_with(server: FaultServer, tables: Any) -> Any:
    server.say(RUNS, Answer({"data": [{"id": 1, "status": "COMPLETED", "tables": tables}]}))
    [run] = server.client(read_timeout=10.0).for_account(1).runs(7)
    return run


@pytest.mark.parametrize(("shape", "name", "as_text"), product(SHAPES, COUNT_NAMES, (False, True)))
@pytest.mark.parametrize(
    ("count", "read"),
    [(5, 5), ("5", 5), (5.0, 5), (0, 0), (True, None), (-1, None), ("x", None), (2**60, None)],
)
def test_the_count_is_read_in_each_shape_and_under_each_name(
    server: FaultServer, shape: str, name: str, as_text: bool, count: Any, read: int | None
) -> None:
    tables = SHAPES[shape](name, count)
    run = run_with(server, json.dumps(tables) if as_text else tables)
    assert [(each.name, each.records) for each in run.tables] == [("a", read), ("b", None)]
    assert run.records == read


@pytest.mark.parametrize("as_text", [False, True])
def test_a_list_of_names_and_an_object_of_counts_are_tables_as_well(
    server: FaultServer, as_text: bool
) -> None:
    for tables, read in (
        (["a", "b"], [("a", None), ("b", None)]),
        ({"a": 5, "b": "6"}, [("a", 5), ("b", 6)]),
    ):
        run = run_with(server, json.dumps(tables) if as_text else tables)
        assert [(each.name, each.records) for each in run.tables] == read


@pytest.mark.parametrize(
    ("first", "second"),
    [(None, 5), (True, 5), (-3, 5), ([{"id": 1}], 5), ("many", "5"), (2**70, 5)],
)
def test_the_first_name_under_which_a_count_can_be_read_is_believed(
    server: FaultServer, first: Any, second: Any
) -> None:
    for one, other in product(COUNT_NAMES, COUNT_NAMES):
        if COUNT_NAMES.index(one) < COUNT_NAMES.index(other):
            assert run_with(server, [{"name": "a", one: first, other: second}]).records == 5
    assert run_with(server, [{"name": "a", "records": 5, "row_count": 9}]).records == 5


@pytest.mark.parametrize(
    "tables",
    [None, "", "[", "not JSON", '"a"', "5", "null", "true", 5, True, 1.5, [None, 5, [], True],
     "[" * 100_000, "9" * 5_000],
)  # fmt: skip
def test_what_names_no_table_makes_no_run_unreadable(server: FaultServer, tables: Any) -> None:
    run = run_with(server, tables)
    assert (run.id, run.tables, run.records) == (1, (), None)


def test_a_name_that_is_no_text_is_left_out_and_the_count_stays(server: FaultServer) -> None:
    run = run_with(
        server,
        [{"name": 7, "rows": 1}, {"name": {}, "rows": 2}, {"rows": 3}, {"name": None, "rows": 4}],
    )
    assert [(each.name, each.records) for each in run.tables] == [
        ("7", 1),
        ("", 2),
        ("", 3),
        ("", 4),
    ]
    assert [
        each.name
        for each in run_with(server, {"a": {"name": None, "rows": 1}, "b": {"name": "c"}}).tables
    ] == ["a", "c"]


def test_a_sum_that_no_column_holds_is_no_count(server: FaultServer) -> None:
    assert (
        run_with(server, [{"name": str(each), "rows": 2**53 - 1} for each in range(3)]).records
        is None
    )


LEAVES = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20)
JSON = st.recursive(
    LEAVES,
    lambda each: (
        st.lists(each, max_size=3)
        | st.dictionaries(st.sampled_from([*COUNT_NAMES, "name", "a"]), each)
    ),
)


@given(tables=JSON)
def test_any_json_and_its_text_give_the_same_tables(tables: Any) -> None:
    text = json.dumps(tables)
    read = table_loads(json.loads(text))
    assert all(
        isinstance(each["name"], str) and read_count(each["records"]) == each["records"]
        for each in read
    )
    if not isinstance(tables, str):
        assert table_loads(text) == read


def test_pages_of_runs_are_asked_for_by_both_names_of_their_size(server: FaultServer) -> None:
    server.say(RUNS, Answer({"data": []}))
    server.say("/api/pipeline_runs/", Answer({"data": []}))
    account = server.client().for_account(1)
    account.runs(7, page=2, per_page=25)
    assert server.requests[-1].query == {"page": ["2"], "per_page": ["25"], "page_size": ["25"]}
    account.run(7, 9)
    assert server.requests[-1].query == {
        "run_id": ["9"],
        "page": ["1"],
        "per_page": ["10"],
        "page_size": ["10"],
    }


def test_a_connection_known_by_connection_id_alone_is_listed_and_read(server: FaultServer) -> None:
    fields = {"connection_id": "7", "id": None, "name": "Books", "health_status": "OK"}
    server.say("/api/servers/", Answer([fields, {**fields, "connection_id": 8}]))
    server.say("/api/servers/7/", Answer(fields))
    account = server.client().for_account(1)
    assert [each.id for each in account.connections()] == [7, 8]
    assert account.connection(7).id == 7
