"""Names and values that a destination could refuse: all are copied."""

import json
import sys
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import pytest

from dashboard.core.text import clean
from dashboard.pulls.column_types import decimal_places
from dashboard.pulls.destinations.registry import open_destination
from dashboard.sandbox.tables import Table
from tests.pulls.test_recorded_types import expected, read
from tests.support.pulled_copies import Copies, Run
from tests.support.pulled_customers import Pulls, check_all_copied, others
from tests.support.sample_tables import ACCOUNT, TABLE, OwnTable
from tests.support.sandbox import Sandbox

WORDS = ("--account", str(ACCOUNT), "--json")
SYSTEM = ("xmin", "xmax", "cmin", "cmax", "ctid", "tableoid", "oid", "rowid", "_rowid_")
COLUMNS = (
    *SYSTEM,
    *(each.upper() for each in SYSTEM),
    *("xmin_2", "id", "ID", "order", "row", "c0", "select", "id_2"),
    *(
        "",
        " ",
        "\0",
        "\ud800",
        "?",
        "�",
        'a"b',
        "a'b",
        "a%sb",
        "a%%b",
        "a:b",
        "a\nb",
        "a;--",
        "a.b",
        "e\u0301",
        "\u00e9",
    ),
    *(
        "L" * 255,
        "L" * 254 + "M",
        "😀" * 100,
        "\N{CJK UNIFIED IDEOGRAPH-20000}" * 255,
        "İ",
        "i̇",
        "ß",
        "SS",
    ),
)
TABLES = (
    *(
        "",
        " ",
        "\0",
        "\ud800",
        "sqlite_master",
        "pg_class",
        "_pull_manifest",
        "a/b",
        "..",
        ".",
        "con",
        "a%sb",
        'a"b',
        "xmin",
    ),
    *(
        "T" * 255,
        "T" * 254 + "U",
        "😀" * 255,
        "\N{CJK UNIFIED IDEOGRAPH-20000}" * 255,
        "same",
        "SAME",
        "same",
    ),
)
TYPES = {
    **{
        each: {}
        for each in (
            "text",
            "duration",
            "rating",
            "autonumber",
            "count",
            "boolean",
            "date",
            "created_on",
            "json",
        )
    },
    "number": {"number_decimal_places": 2},
    "single_select": {"select_options": []},
    "formula": {"formula_type": "number", "number_decimal_places": 2},
    "rollup": {"formula_type": "date"},
    "lookup": {"formula_type": "array", "array_formula_type": "number"},
}
VALUES: tuple[Any, ...] = (
    *(
        "",
        "x\0y",
        "\ud800",
        "x\udfffy",
        "😀",
        "\\x00",
        "NaN",
        "nan",
        "sNaN",
        "Infinity",
        "-Infinity",
        "0x10",
        "true",
    ),
    *(
        "1e400",
        "-1e-20000",
        "1e-20000",
        "1" * 50,
        "1" * 5_000,
        "0." + "1" * 40,
        "0." + "0" * 20_000 + "1",
        "-0",
        "0e500",
    ),
    *(
        "123456789012345678901234567.01234567891",
        "12345678901234567890.123456789012",
        "0.12345678901234567",
    ),
    *(
        2**63,
        -(2**63),
        2**63 - 1,
        2**70,
        10**400,
        1e308,
        5e-324,
        0.1,
        -1748822399.999999,
        True,
        False,
    ),
    *(
        "0001-01-01",
        "9999-12-31",
        "0001-01-01T00:00:00Z",
        "9999-12-31T23:59:59.999999Z",
        "0001-01-01T00:00:00+14:00",
    ),
    *(
        "9999-12-31T23:59:59-12:00",
        "-0044-03-15",
        "0000-00-00",
        "2026-02-30",
        "10000-01-01",
        "44 BC",
        "infinity",
        "now",
    ),
    *(
        [],
        {},
        [[[]]],
        {"a": "\ud800\0"},
        {"id": 1, "value": "x\0\ud800", "color": "red"},
        [{"id": 1, "value": "12.50"}],
    ),
    "long " * 200_000,
)


@pytest.fixture
def settled(own: OwnTable) -> OwnTable:
    """Add a column for each type and value, which only one row has."""
    for number, value in enumerate(VALUES):
        columns = {f"{kind} {number}": kind for kind in TYPES}
        own.columns |= columns
        own.settings |= {name: TYPES[kind] for name, kind in columns.items()}
        own.put(number + 1, "2026-01-01T00:00:00Z", **dict.fromkeys(columns, value))
    return own


def test_any_value_in_a_column_of_any_type_is_copied_and_reads_as_it_came(
    pull: Run, copies: Copies, settled: OwnTable
) -> None:
    done = pull(copies.address, *WORDS, "--table", str(TABLE))
    assert done.returncode == 0, done.stdout + done.stderr
    (table,) = json.loads(done.stdout)["tables"]
    columns = {each["name"]: each for each in table["columns"]}
    rows = {row["id"]: row for row in copies.rows(TABLE)}
    for number, value in enumerate(VALUES):
        for kind in TYPES:
            column = columns[f"{kind} {number}"]
            wanted = expected(value, column["kind"])
            found = read(rows[number + 1][column["stored"]], column["kind"])
            assert found == (clean(wanted) if isinstance(wanted, str) else wanted), (
                kind,
                str(value)[:50],
                column["kind"],
            )


def test_any_name_of_a_column_finds_a_place(pull: Run, copies: Copies, own: OwnTable) -> None:
    own.columns |= dict.fromkeys(COLUMNS, "text")
    own.put(
        1,
        "2026-01-01T00:00:00Z",
        **{name: f"value of {index}" for index, name in enumerate(COLUMNS) if name != "id"},
    )
    done = pull(copies.address, *WORDS, "--table", str(TABLE))
    assert done.returncode == 0, done.stdout + done.stderr
    (row,) = copies.rows(TABLE)
    stored = {
        each.name: each.stored
        for each in open_destination(copies.address).known(ACCOUNT)[TABLE].columns
    }
    for index, name in enumerate(COLUMNS):
        if name != "id":
            assert row[stored[name]] == f"value of {index}", name
    assert row["id"] == 1
    if copies.address.startswith("postgresql"):
        assert {name: stored[name] for name in ("xmin", "XMIN", "xmin_2", "rowid")} == {
            "xmin": "xmin_2",
            "XMIN": "XMIN",
            "xmin_2": "xmin_2_2",
            "rowid": "rowid",
        }
    assert (
        json.loads(pull(copies.address, *WORDS, "--table", str(TABLE)).stdout)["tables"][0]["mode"]
        == "incremental"
    )


def test_any_name_of_a_table_finds_a_place(
    pull: Run, copies: Copies, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    ids = {10011800 + index: name for index, name in enumerate(TABLES)}
    tables = [Table(each, 10011, name, "people", 3) for each, name in ids.items()]
    monkeypatch.setattr(sandbox.app.extensions["sandbox"].tables, "of_account", lambda *_: tables)
    for words in ((), ("--full",), ("--table", "none such")):
        done = pull(copies.address, "--account", str(ACCOUNT), *words)
        assert done.returncode == (2 if "--table" in words else 0), done.stdout + done.stderr
    assert set(copies.tables()) == set(ids)
    for each in ids:
        assert len(copies.rows(each)) == 3


@pytest.mark.parametrize("copies", ["sqlite", "postgresql"], indirect=True)
def test_a_name_that_holds_half_of_a_surrogate_pair_is_said_where_its_table_fails(
    pull: Run, copies: Copies, own: OwnTable, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    own.columns |= {f"Column {number}": "text" for number in range(2_001)}
    own.put(1, "2026-01-01T00:00:00Z")
    tables = [Table(TABLE, 10011, "half \ud800 \0", "own", 1)]
    monkeypatch.setattr(sandbox.app.extensions["sandbox"].tables, "of_account", lambda *_: tables)
    for words in ((), ("--json",)):
        done = pull(copies.address, "--account", str(ACCOUNT), *words)
        assert done.returncode == 2
        assert "half ?" in done.stdout
        assert "more columns than" in done.stdout or "too many columns" in done.stdout


def test_ids_that_repeat_or_are_none_are_no_reason_to_refuse_a_table(
    pull: Run, copies: Copies, own: OwnTable
) -> None:
    own.columns = {"Name": "text"}
    own.rows = [
        {"id": each, "order": "1.0", "Name": f"{each}"}
        for each in (1, 1, None, "text", 2**70, True, 2)
    ]
    done = pull(copies.address, *WORDS, "--table", str(TABLE))
    assert done.returncode == 0, done.stdout + done.stderr
    found = [row["Name"] for row in copies.rows(TABLE)]
    assert {"1", "2", "text", str(2**70)} <= set(found)
    assert len(found) == len(set(found))


@pytest.mark.parametrize("copies", ["parquet", "sqlite"], indirect=True)
def test_a_time_at_the_beginning_of_all_times_is_a_watermark_like_others(
    step: Pulls, fleet: OwnTable
) -> None:
    fleet.rows.clear()
    fleet.put(1, "0001-01-01T00:00:00Z")
    check_all_copied(step())
    fleet.put(2, "0001-01-01T00:00:01Z")
    second = step()
    check_all_copied(second)
    assert (second.copied[TABLE].mode, second.copied[TABLE].rows) == ("incremental", 2)


@pytest.mark.parametrize("copies", ["parquet", "sqlite"], indirect=True)
def test_a_value_that_is_nested_too_deeply_to_be_written_is_its_tables_failure_alone(
    step: Pulls, fleet: OwnTable
) -> None:
    deep: Any = []
    for _ in range(sys.getrecursionlimit() * 3 // 4):
        deep = [deep]
    fleet.put(3, "2026-01-03T00:00:00Z", Name=deep)

    def deeper(frames: int, then: Callable[[], Any]) -> Any:
        return deeper(frames - 1, then) if frames else then()

    found = deeper(sys.getrecursionlimit() // 4, step)
    assert (found.code, found.stopped, set(found.copied)) == (1, None, others())
    assert [each[1:] for each in found.failures] == [
        (
            "Own table",
            "A value of the table is nested too deeply to be copied."
            " An earlier copy stays as it was.",
        )
    ]


@pytest.mark.parametrize(
    ("number", "digits"),
    [
        ("0", 0),
        ("0.00", 0),
        ("0E-30", 0),
        ("1.50", 1),
        ("100", 0),
        ("1E+3", 0),
        ("1E-30", 30),
        ("1." + "0" * 40 + "1", 41),
    ],
)
def test_places_after_the_point_are_counted_of_any_number_of_digits(
    number: str, digits: int
) -> None:
    assert decimal_places(Decimal(number)) == digits
    assert decimal_places(Decimal(f"-{number}")) == digits
