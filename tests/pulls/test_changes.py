"""A second pull of a table whose rows or columns changed."""

import json
from typing import Any

import pytest

from tests.support.pulled_copies import Copies, Run
from tests.support.sample_tables import TABLE, OwnTable
from tests.support.sandbox import Sandbox

WORDS = ("--account", "1001", "--table", str(TABLE))


@pytest.fixture
def step(pull: Run, copies: Copies) -> Any:
    """Pull the changed table; return its manifest."""

    def run(*words: str) -> dict[str, Any]:
        result = pull(copies.address, *WORDS, "--json", *words)
        assert result.returncode == 0, result.stdout + result.stderr
        found: dict[str, Any] = json.loads(result.stdout)["tables"][0]
        return found

    return run


def names(copies: Copies) -> dict[int, Any]:
    rows = copies.rows(TABLE)
    assert len({row["id"] for row in rows}) == len(rows)
    return {row["id"]: row["Name"] for row in rows}


def test_only_what_changed_is_read_and_each_row_is_there_once(
    step: Any, copies: Copies, own: OwnTable
) -> None:
    for n in range(1, 501):
        own.put(n, f"2026-01-01T{n // 60:02}:{n % 60:02}:00Z")
    first = step()
    assert (first["mode"], first["rows"], first["watermark"]) == (
        "full",
        500,
        "2026-01-01T08:20:00Z",
    )
    # More rows of one time than fit on a page; one of them is an old row.
    for n in range(400, 900):
        own.put(n, "2026-02-01T00:00:00Z", Name=f"New {n}")
    second = step()
    assert (second["mode"], second["rows"], second["watermark"]) == (
        "incremental",
        899,
        "2026-02-01T00:00:00Z",
    )
    assert names(copies) == {n: f"New {n}" if n >= 400 else f"Row {n}" for n in range(1, 900)}
    own.put(900, "2026-02-01T00:00:00Z", Name="Same time, later")
    assert step()["rows"] == 900
    assert names(copies)[900] == "Same time, later"


def test_by_a_number_that_grows_only_new_rows_are_read_and_none_is_missed_at_the_edge(
    step: Any, copies: Copies, own: OwnTable
) -> None:
    own.columns = {"Name": "text", "Nr": "autonumber"}
    for n in range(1, 1501):
        own.put(n, "", Nr=n)
    first = step("--grows", "nr")
    assert (first["mode"], first["rows"], first["watermark"]) == ("full", 1500, "1500")
    # One was started before the others and finished after them; the change of an old row is
    # copied by the next full copy.
    own.put(3, "", Nr=3, Name="Changed")
    own.put(1502, "", Nr=1502)
    own.put(1501, "", Nr=1499, Name="Late")
    second = step("--grows", "nr")
    assert second["mode"] == "incremental"
    assert second["watermark"] == "1502"
    found = names(copies)
    assert (found[1501], found[1502], found[3], len(found)) == ("Late", "Row 1502", "Row 3", 1502)
    assert step()["mode"] == "full"
    assert names(copies)[3] == "Changed"


@pytest.mark.parametrize("copies", ["sqlite"], indirect=True)
@pytest.mark.parametrize(
    "name",
    ["Changed, last", '"Changed", last', "-Changed", "+,Changed", "Changed\\", "changed, 😀"],
)
def test_a_column_of_changes_may_have_any_name(
    step: Any, copies: Copies, own: OwnTable, name: str
) -> None:
    own.columns = {"Name": "text", name: "last_modified"}
    for n in range(1, 6):
        own.put(n, "", **{name: f"2026-01-0{n}T00:00:00Z"})
    first = step()
    assert (first["mode"], first["rows"], first["watermark"]) == ("full", 5, "2026-01-05T00:00:00Z")
    own.put(2, "", Name="Changed", **{name: "2026-02-01T00:00:00Z"})
    second = step()
    assert (second["mode"], second["rows"], second["watermark"]) == (
        "incremental",
        5,
        "2026-02-01T00:00:00Z",
    )
    assert names(copies)[2] == "Changed"


@pytest.mark.parametrize("copies", ["sqlite"], indirect=True)
def test_a_table_whose_column_of_changes_cannot_be_sorted_by_is_read_whole(
    step: Any, copies: Copies, own: OwnTable
) -> None:
    own.columns = {"Name": "text", "Changed [UTC]": "last_modified"}
    for n in range(1, 4):
        own.put(n, "", **{"Changed [UTC]": f"2026-01-0{n}T00:00:00Z"})
    assert step()["mode"] == "full"
    own.put(2, "", Name="Changed", **{"Changed [UTC]": "2026-02-01T00:00:00Z"})
    assert step()["mode"] == "full"
    assert names(copies)[2] == "Changed"


@pytest.mark.parametrize("copies", ["sqlite"], indirect=True)
def test_a_sort_that_the_server_refuses_costs_a_whole_read_and_not_the_copy(
    step: Any, copies: Copies, own: OwnTable, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("dashboard.sandbox.filters.UNSORTABLE", {"last_modified"})
    own.put(1, "2026-01-01T00:00:00Z")
    table = step()
    assert (table["mode"], table["rows"], table["watermark"]) == ("full", 1, None)
    assert table["remarks"] == [
        "Peliqan refused to sort by “Updated”, so the table was read whole and not by what changed."
    ]
    assert names(copies) == {1: "Row 1"}


@pytest.mark.parametrize("copies", ["parquet", "sqlite"], indirect=True)
def test_deleted_rows_go_with_the_next_full_copy_and_are_told_of_before(
    step: Any, copies: Copies, own: OwnTable
) -> None:
    for n in range(1, 11):
        own.put(n, f"2026-01-0{min(n, 9)}T00:00:00Z")
    step("--full-every", "3")
    own.delete(2)
    table = step("--full-every", "3")
    assert (table["mode"], table["rows"]) == ("incremental", 10)
    assert "9 rows and the copy 10" in table["remarks"][0]
    assert step("--full-every", "3")["mode"] == "incremental"
    third = step("--full-every", "3")
    assert (third["mode"], third["rows"]) == ("full", 9)
    assert 2 not in names(copies)
    # The newest row was deleted: all others are older than the watermark.
    own.delete(10)
    own.delete(9)
    assert step()["mode"] == "full"


@pytest.mark.parametrize("copies", ["parquet", "postgresql"], indirect=True)
def test_a_row_that_goes_while_changes_are_read_hides_no_other(
    step: Any, copies: Copies, own: OwnTable
) -> None:
    for n in range(1, 601):
        own.put(n, "2026-01-01T00:00:00Z")
    step()
    for n in range(1, 601):
        own.put(n, f"2026-02-01T{n // 60:02}:{n % 60:02}:00Z", Name=f"New {n}")
    sorts = 0

    def delete_one(number: int) -> None:
        # Each page sorts all rows: after the second page, a row of the first one is deleted.
        nonlocal sorts
        sorts += number == 1
        if sorts == 3 and len(own.rows) == 600:
            own.delete(600)

    own.before_row = delete_one
    step()
    own.before_row = lambda _: None
    step()
    assert {n: name for n, name in names(copies).items() if n < 600} == {
        n: f"New {n}" for n in range(1, 600)
    }


def test_columns_that_come_go_or_hold_something_else_are_told_and_no_old_value_is_lost(
    step: Any, copies: Copies, own: OwnTable
) -> None:
    for n in range(1, 4):
        own.put(n, f"2026-01-0{n}T00:00:00Z", Code=str(n))
    own.columns["Code"] = "number"
    first = step()
    assert first["schema_changes"] == []
    own.columns['Café ☕ / "x" %s'] = "boolean"
    del own.columns["Amount"]
    own.put(4, "2026-01-04T00:00:00Z", **{"Code": "4", 'Café ☕ / "x" %s': True})
    second = step()
    assert second["mode"] == "incremental"
    assert second["schema_changes"] == [
        'Column “Café ☕ / "x" %s” is new.',
        "Column “Amount” is gone at Peliqan; it stays here, empty from now on.",
    ]
    rows = {row["id"]: row for row in copies.rows(TABLE)}
    assert (float(rows[1]["Amount"]), rows[4]["Amount"]) == (1.5, None)
    assert [bool(rows[n]['Café ☕ / "x" %s']) for n in (1, 4)] == [False, True]
    own.put(5, "2026-01-05T00:00:00Z", Code="A-5")
    third = step()
    assert (third["mode"], third["schema_changes"]) == (
        "full",
        ["Column “Code” was number and is text now."],
    )
    assert {row["id"]: row["Code"] for row in copies.rows(TABLE)} == {
        1: "1",
        2: "2",
        3: "3",
        4: "4",
        5: "A-5",
    }
    own.columns["Amount"] = "number"
    own.columns["Code"] = "number"
    fourth = step()
    assert fourth["schema_changes"] == ["Column “Amount” is back."]
    assert fourth["rows"] == 5


def test_a_time_in_the_future_is_no_watermark(step: Any, own: OwnTable) -> None:
    own.put(1, "9999-12-31T00:00:00Z")
    assert step()["watermark"] is None
    assert step()["mode"] == "full"


def test_long_names_and_twins_find_a_place(step: Any, copies: Copies, own: OwnTable) -> None:
    long = "é" * 40
    own.columns |= {
        long + "1": "text",
        long + "2": "text",
        "NAME": "text",
        "ID": "text",
        "a.b": "text",
        "a_b": "text",
    }
    own.put(
        1,
        "2026-01-01T00:00:00Z",
        **{
            long + "1": "one",
            long + "2": "two",
            "NAME": "upper",
            "ID": "own id",
            "a.b": "dot",
            "a_b": "line",
        },
    )
    table = step()
    stored = {each["name"]: each["stored"] for each in table["columns"]}
    row = copies.rows(TABLE)[0]
    values = [
        row[stored[name]] for name in (long + "1", long + "2", "NAME", "Name", "ID", "a.b", "a_b")
    ]
    assert values == ["one", "two", "upper", "Row 1", "own id", "dot", "line"]
    assert row["id"] == 1
    if copies.address.startswith("postgresql"):
        assert all(len(each.encode()) <= 63 for each in stored.values())
        assert (
            f"Column “{long}1” is called “{stored[long + '1']}” at the destination."
            in table["schema_changes"]
        )
    else:
        assert stored["NAME"] == "NAME_2"


@pytest.mark.parametrize("copies", ["postgresql"], indirect=True)
def test_a_view_on_a_copy_stays_when_the_table_is_read_whole_again(
    step: Any, copies: Copies, own: OwnTable, sandbox: Sandbox
) -> None:
    import psycopg

    own.put(1, "2026-01-01T00:00:00Z")
    target = step()["target"]
    with psycopg.connect(copies.address, autocommit=True) as connection:
        connection.execute(f'CREATE VIEW seen AS SELECT "Name" FROM "{target}"'.encode())
        own.put(2, "2026-01-01T00:00:00Z")
        assert step("--full")["rows"] == 2
        assert len(connection.execute(b"SELECT * FROM seen").fetchall()) == 2
