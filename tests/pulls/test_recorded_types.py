"""All field types of a real Baserow server keep type and values in copies and exports.

``tests/data/baserow-everything``: 58 fields and 200 rows of made-up data, recorded from Baserow
1.35.3.
"""

import io
import json
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from dashboard import peliqan
from dashboard.context import Services
from dashboard.exports.tasks import write_export
from tests.support.people import Person
from tests.support.pulled_copies import Copies, Run
from tests.support.sample_tables import TABLE, OwnTable

RECORDED = Path(__file__).parent.parent / "data" / "baserow-everything"
FIELDS: list[dict[str, Any]] = json.loads((RECORDED / "fields.json").read_text())
ROWS: list[dict[str, Any]] = json.loads((RECORDED / "rows.json").read_text())
WORDS = ("--account", "1001", "--table", str(TABLE), "--json")
# Types by column name; all other columns are text.
KINDS = {
    **dict.fromkeys(
        ("Amount", "Precise", "Big", "Took", "Took fine", "Took days", "Name, with comma"), "number"
    ),
    **dict.fromkeys(("Sum credit", "Double", "Ratio", "Age"), "number"),
    **dict.fromkeys(("Stars", "Nr", "How many"), "integer"),
    **dict.fromkeys(("Active", "Late?"), "boolean"),
    **dict.fromkeys(("Day", "Day+30", "Modified day"), "date"),
    **dict.fromkeys(("Moment", "Plain moment", "Moment copy", "Modified", "Created"), "time"),
}
# Columns that are text, since the destination's numbers cannot hold a value: it has more digits
# than SQLite or a Parquet file stores, or is "NaN", which decimals in Parquet files lack.
TEXT_INSTEAD = {
    "sqlite": {"Amount", "Precise", "Big", "Double", "Ratio"},
    "postgresql": set(),
    "parquet": {"Big", "Ratio"},
}
DECLARED = {
    "sqlite": {
        "number": "NUMERIC",
        "integer": "BIGINT",
        "boolean": "BOOLEAN",
        "date": "DATE",
        "time": "DATETIME",
        "text": "TEXT",
    },
    "postgresql": {
        "number": "numeric",
        "integer": "bigint",
        "boolean": "boolean",
        "date": "date",
        "time": "timestamp with time zone",
        "text": "text",
    },
    "parquet": {
        "number": "decimal128(38, 10)",
        "integer": "int64",
        "boolean": "bool",
        "date": "date32[day]",
        "time": "timestamp[us, tz=UTC]",
        "text": "string",
    },
}


@pytest.fixture
def recorded(own: OwnTable) -> OwnTable:
    """Add the recorded table to the first account."""
    own.columns = {each["name"]: each["type"] for each in FIELDS}
    own.settings = {
        each["name"]: {key: value for key, value in each.items() if key not in COMMON}
        for each in FIELDS
    }
    own.rows = ROWS
    return own


COMMON = {"id", "table_id", "name", "order", "type", "primary", "read_only", "description"}


def test_the_recorded_fields_are_of_every_type_and_say_what_formulas_result_in() -> None:
    columns = [peliqan.Column.model_validate(each) for each in FIELDS]
    assert len(columns) == 58
    found = {each.name: each.result_type for each in columns if each.result_type != each.type}
    assert {
        name: found[name]
        for name in ("Sum credit", "Double", "Late?", "Day+30", "Age", "Array", "Names", "Lost")
    } == {
        "Sum credit": "number",
        "Double": "number",
        "Late?": "boolean",
        "Day+30": "date",
        "Age": "duration",
        "Array": "array",
        "Names": "array",
        "Lost": "invalid",
    }
    assert {each.type for each in columns if each.result_type != each.type} == {
        "formula",
        "lookup",
        "rollup",
    }


def test_a_copy_has_every_recorded_field_in_its_type_with_the_values_that_the_api_gave(
    pull: Run, copies: Copies, recorded: OwnTable
) -> None:
    done = pull(copies.address, *WORDS)
    assert done.returncode == 0, done.stdout + done.stderr
    where = copies.address.split(":")[0]
    (table,) = json.loads(done.stdout)["tables"]
    stored = {each["name"]: each["stored"] for each in table["columns"]}
    kinds = {each["name"]: each["kind"] for each in table["columns"]}
    wanted = {each["name"]: KINDS.get(each["name"], "text") for each in FIELDS} | dict.fromkeys(
        TEXT_INSTEAD[where], "text"
    )
    assert kinds == wanted
    declared = types_there(copies, table["target"])
    assert {name: declared[stored[name]] for name in kinds} == {
        name: DECLARED[where][kind] for name, kind in kinds.items()
    }
    rows = {row["id"]: row for row in copies.rows(TABLE)}
    assert len(rows) == len(ROWS)
    for row in ROWS:
        for name, kind in kinds.items():
            assert read(rows[row["id"]][stored[name]], kind) == expected(row[name], kind), (
                row["id"],
                name,
            )
    # Changed rows, merged by id, have the same types.
    second = json.loads(pull(copies.address, *WORDS).stdout)["tables"][0]
    assert (second["mode"], second["schema_changes"]) == ("incremental", [])


def types_there(copies: Copies, target: str) -> dict[str, str]:
    if copies.is_files:
        return {each.name: str(each.type) for each in pq.read_schema(copies.folder / target)}
    if copies.address.startswith("sqlite"):
        return {row["name"]: row["type"] for row in copies.query(f'PRAGMA table_info("{target}")')}
    query = (
        "SELECT column_name, data_type FROM information_schema.columns"
        f" WHERE table_name = '{target}'"
    )
    return {row["column_name"]: row["data_type"] for row in copies.query(query)}


def read(value: Any, kind: str) -> Any:
    """Return a copied value, independent of the destination's form."""
    if value is None:
        return None
    if kind in {"number", "integer"}:
        return str(value) if str(value) == "NaN" else Decimal(str(value))
    if kind == "boolean":
        assert value in {0, 1}
        return bool(value)
    if kind == "date":
        return value if isinstance(value, date) else date.fromisoformat(value)
    if kind == "time":
        time = value if isinstance(value, datetime) else datetime.fromisoformat(value)
        return time.replace(tzinfo=UTC) if time.tzinfo is None else time
    return value


def expected(value: Any, kind: str) -> Any:
    """Return the value that a copy must have for an API value."""
    if value is None or (kind != "text" and value == ""):
        return None
    if kind in {"number", "integer"}:
        return "NaN" if value == "NaN" else Decimal(str(value))
    if kind == "date":
        return date.fromisoformat(value)
    if kind == "time":
        return datetime.fromisoformat(value)
    if kind == "boolean" or isinstance(value, str):
        return value
    if isinstance(value, dict) and set(value) == {"id", "value", "color"}:
        return value["value"]
    return as_text(value)


EXPORTED = {
    **dict.fromkeys(("Stars", "Nr", "How many"), "int64"),
    **dict.fromkeys(("Active", "Late?"), "bool"),
    **dict.fromkeys(("Day", "Day+30", "Modified day"), "date32[day]"),
    **dict.fromkeys(
        ("Moment", "Plain moment", "Moment copy", "Modified", "Created"), "timestamp[us, tz=UTC]"
    ),
    **dict.fromkeys(("Took", "Took fine", "Took days", "Age"), "double"),
    **dict.fromkeys(("Amount", "Sum credit", "Double"), "decimal128(38, 2)"),
    "Precise": "decimal128(38, 10)",
    "Name, with comma": "decimal128(38, 1)",
}


@pytest.mark.parametrize("by", ["sent", "made"])
def test_a_parquet_export_has_every_recorded_field_in_its_type_with_the_values_that_the_api_gave(
    adam: Person, services: Services, recorded: OwnTable, by: str
) -> None:
    where = f"/accounts/1001/tables/{TABLE}"
    if by == "made":
        export_response = adam.post(f"{where}/exports", page="/me", format="parquet")
        assert export_response.status_code == 303, export_response.text
        with services.app.app_context():
            write_export(int(export_response.location.rsplit("/", 1)[1]))
        response = adam.client.get(f"{export_response.location}/file")
    else:
        response = adam.client.get(f"{where}/export.parquet")
    assert response.status_code == 200, response.text
    table = pq.read_table(io.BytesIO(response.data))
    types = {each.name: str(each.type) for each in table.schema}
    names = [each["name"] for each in FIELDS]
    assert {name: types[name] for name in names} == {
        name: EXPORTED.get(name, "string") for name in names
    }
    values = {name: table[name].to_pylist() for name in names}
    for index, row in enumerate(ROWS):
        for name in names:
            assert exported(values[name][index], types[name]) == given(row[name], types[name]), (
                row["id"],
                name,
            )


def exported(value: Any, kind: str) -> Any:
    return (
        Decimal(str(value))
        if value is not None and kind.startswith(("decimal", "double", "int"))
        else value
    )


def given(value: Any, kind: str) -> Any:
    if value is None or kind == "bool":
        return value
    if kind.startswith(("decimal", "double", "int")):
        return Decimal(str(value))
    if kind.startswith("date"):
        return date.fromisoformat(value)
    if kind.startswith("timestamp"):
        return datetime.fromisoformat(value)
    if isinstance(value, str):
        return value
    return as_text(value)


def as_text(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))
