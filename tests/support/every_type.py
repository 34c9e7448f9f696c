"""A table with a column of every type, recorded from Baserow 1.35.3, with filters and sorts.

``baserow-every-type/fields.json`` is its list of fields; ``rows.json`` has 36 of its 4,998 rows.
``filters-and-sorts-live.txt`` has the filters and sorts that the server refused or answered
otherwise than the rows suggest. Every other filter of ``ASKED`` was answered as expected.
"""

import json
from collections.abc import Callable, Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from dashboard import peliqan
from dashboard.sandbox.tables import Field, Table
from tests.support.sandbox import Sandbox

RECORDED = Path(__file__).parent.parent / "data" / "baserow-every-type"
FIELDS: list[dict[str, Any]] = json.loads((RECORDED / "fields.json").read_text())
ROWS: list[dict[str, Any]] = json.loads((RECORDED / "rows.json").read_text())
COLUMNS = [peliqan.Column.model_validate(each) for each in FIELDS]
BY_NAME = {each["name"]: each for each in FIELDS}
ACCOUNT, TABLE = 1001, 10011951
PATH = f"/accounts/{ACCOUNT}/tables/{TABLE}"

_EMPTY = ("empty", "not_empty")
_TEXT = ("contains", "contains_not", "equal", "not_equal", *_EMPTY)
_NUMBER = ("equal", "not_equal", "higher_than", "lower_than", *_EMPTY)
_DAY = ("date_is", "date_is_after", "date_is_before", *_EMPTY)
# The filters that were sent to the server, by the field's type.
ASKED: dict[str, tuple[str, ...]] = {
    **dict.fromkeys(("number", "rating", "autonumber", "count", "rollup", "duration"), _NUMBER),
    **dict.fromkeys(("date", "last_modified", "created_on"), _DAY),
    **dict.fromkeys(
        ("text", "long_text", "url", "email", "phone_number", "uuid", "formula", "lookup"), _TEXT
    ),
    **dict.fromkeys(
        ("file", "password", "link_row", "multiple_select", "multiple_collaborators"), _EMPTY
    ),
    **dict.fromkeys(
        ("single_select", "created_by", "last_modified_by"), ("contains", "contains_not", *_EMPTY)
    ),
    "boolean": ("boolean",),
}


def _read_answers() -> tuple[dict[tuple[str, str], tuple[str, str]], dict[str, str]]:
    filters, sorts = {}, {}
    for line in (RECORDED / "filters-and-sorts-live.txt").read_text().splitlines():
        parts = [part.strip() for part in line.split(" | ")]
        if parts[0].startswith("DIFF"):
            # A value can have the separator in it, so the last parts are counted from the end.
            filters[parts[1], parts[4]] = (line.split(" | ")[5], parts[-1].split(" ")[0])
        elif parts[0] == "sort":
            sorts[parts[1]] = parts[4].split(" ")[0]
    return filters, sorts


# By column and filter: the sent value, and the error's code (empty: a wrong answer, no error).
WRONG_FILTERS, REFUSED_SORTS = _read_answers()


def sandbox_fields() -> list[Field]:
    """Return the recorded fields in the sandbox's form."""
    own = {"id", "table_id", "name", "order", "type", "primary", "read_only", "description"}
    return [
        Field(
            each["id"],
            each["name"],
            each["type"],
            each["primary"],
            each.get("formula_type") or "",
            each.get("array_formula_type") or "",
            {name: value for name, value in each.items() if name not in own},
        )
        for each in FIELDS
    ]


def install(
    sandbox: Sandbox,
    patch: pytest.MonkeyPatch,
    fields: Sequence[Field],
    rows: Sequence[dict[str, Any]],
) -> None:
    """Give the sandbox's first account a table with these fields and rows."""
    install_in(sandbox.app.extensions["sandbox"].tables, patch, fields, rows)


def install_in(
    tables: Any, patch: pytest.MonkeyPatch, fields: Sequence[Field], rows: Sequence[dict[str, Any]]
) -> None:
    """Give the first account of any sandbox a table with these fields and rows."""
    real = {name: getattr(tables, name) for name in ("of_account", "fields", "row", "ranked")}
    table = Table(TABLE, 10011, "Every type", "every type", len(rows))

    def of_account(account_id: int, *more: Any) -> list[Table]:
        found: list[Table] = real["of_account"](account_id, *more)
        return [*found, table] if account_id == ACCOUNT else found

    def is_ours(other: Table) -> bool:
        return other.kind == table.kind

    patch.setattr(tables, "of_account", of_account)
    patch.setattr(
        tables, "fields", lambda other: list(fields) if is_ours(other) else real["fields"](other)
    )
    patch.setattr(
        tables, "row", lambda other, n: rows[n - 1] if is_ours(other) else real["row"](other, n)
    )
    patch.setattr(
        tables,
        "ranked",
        lambda other, *more: None if is_ours(other) else real["ranked"](other, *more),
    )


OPPOSITES = {
    "not_equal": "equal",
    "contains_not": "contains",
    "single_select_not_equal": "single_select_equal",
    "multiple_select_has_not": "multiple_select_has",
    "link_row_not_contains": "link_row_contains",
    "user_is_not": "user_is",
    "multiple_collaborators_has_not": "multiple_collaborators_has",
    "has_not_value_equal": "has_value_equal",
    "has_not_value_contains": "has_value_contains",
    "not_empty": "empty",
}


def fits(cell: Any, kind: str, wanted: str, *, is_number: bool) -> bool:
    """Return whether a cell matches a filter, computed from the cell's value alone."""
    if kind in OPPOSITES:
        return not fits(cell, OPPOSITES[kind], wanted, is_number=is_number)
    test = _TESTS.get(kind)
    assert test is not None, f"no test knows the meaning of the filter {kind}"
    return bool(test(cell, wanted, is_number))


def _fits_date(kind: str) -> Callable[[Any, str, bool], bool]:
    return lambda cell, wanted, _: cell is not None and _on_day(cell, kind, wanted)


def _fits_any_date(kind: str) -> Callable[[Any, str, bool], bool]:
    return lambda cell, wanted, _: any(
        each["value"] is not None and _on_day(each["value"], kind, wanted) for each in cell
    )


def _has_value(cell: Any, wanted: str, _: bool) -> bool:
    return wanted in [each["value"] for each in _listed(cell)]


def _has_id(cell: Any, wanted: str, _: bool) -> bool:
    return int(wanted) in [each["id"] for each in _listed(cell)]


def _any_contains(cell: Any, wanted: str, _: bool) -> bool:
    return any(wanted.casefold() in _shown(each).casefold() for each in cell)


def _listed(cell: Any) -> list[Any]:
    return cell if isinstance(cell, list) else [] if cell is None else [cell]


def _is_finite(cell: Any) -> bool:
    return cell is not None and Decimal(str(cell)).is_finite()


def _same(cell: Any, wanted: str, is_number: bool) -> bool:
    if is_number:
        return _is_finite(cell) and Decimal(str(cell)) == Decimal(wanted)
    return bool(cell == wanted)


def _on_day(cell: str, kind: str, wanted: str) -> bool:
    day = cell[:10]
    return {
        "date_is": day == wanted,
        "date_is_after": day > wanted,
        "date_is_before": day < wanted,
    }[kind]


def _shown(cell: Any) -> str:
    if isinstance(cell, list):
        return ",".join(map(_shown, cell))
    if isinstance(cell, dict):
        return _shown(cell["value"])
    return "" if cell is None else str(cell)


_TESTS: dict[str, Callable[[Any, str, bool], bool]] = {
    "empty": lambda cell, wanted, _: cell in (None, "", []),
    "boolean": lambda cell, wanted, _: cell is (wanted == "true"),
    "contains": lambda cell, wanted, _: wanted.casefold() in _shown(cell).casefold(),
    "equal": lambda cell, wanted, numeric: _same(cell, wanted, numeric),
    "higher_than": lambda cell, wanted, _: (
        _is_finite(cell) and Decimal(str(cell)) > Decimal(wanted)
    ),
    "lower_than": lambda cell, wanted, _: _is_finite(cell) and Decimal(str(cell)) < Decimal(wanted),
    **{kind: _fits_date(kind) for kind in ("date_is", "date_is_after", "date_is_before")},
    **dict.fromkeys(("single_select_equal", "multiple_select_has"), _has_value),
    **dict.fromkeys(("link_row_has", "user_is", "multiple_collaborators_has"), _has_id),
    **dict.fromkeys(("link_row_contains", "has_value_contains"), _any_contains),
    "has_value_equal": lambda cell, wanted, numeric: any(
        _same(each["value"], wanted, numeric) for each in cell
    ),
    "has_date_equal": _fits_any_date("date_is"),
    "has_date_after": _fits_any_date("date_is_after"),
    "has_date_before": _fits_any_date("date_is_before"),
}


NUMBERS = {"number", "rating", "autonumber", "duration"}


def is_number(column: dict[str, Any]) -> bool:
    """Return whether a column's values, or the items of its lists, are numbers."""
    result = column.get("formula_type")
    return (
        column.get("array_formula_type") if result == "array" else result or column["type"]
    ) in NUMBERS


def values_for(name: str, kind: str) -> list[str]:
    """Return up to three values to filter a column by: the first, a middle and the last."""
    if kind == "boolean":
        return ["true", "false"]
    if kind in ("empty", "not_empty"):
        return ["1"]
    texts = sorted({each for each in _filter_texts(name, kind) if _is_usable(each)})
    return list(dict.fromkeys(texts[:: max(1, len(texts) // 2)]))[:3]


def _filter_texts(name: str, kind: str) -> list[str]:
    found = [row[name] for row in ROWS]
    cells = [each for cell in found for each in (cell if isinstance(cell, list) else [cell])]
    cells = [each for each in cells if each is not None]
    by_id = kind == "link_row_has" or "user_is" in kind or "collaborators" in kind
    texts = [str(each["id"]) if by_id else _shown(each) for each in cells]
    if "date" in kind:
        texts = [each[:10] for each in texts]
    if BY_NAME[name].get("formula_type") == "duration":
        # Whole seconds, as in the column's format; the values themselves are finer.
        texts = [str(int(float(each))) for each in texts]
    if "contains" in kind:
        texts = [each[: len(each) // 2 + 1].strip() for each in texts]
        texts = [each for each in texts if not ("has_" in kind and set(each) & set("%_\\"))]
    return texts


def _is_usable(text: str) -> bool:
    return 0 < len(text) <= 300 and text == text.strip() and text != "NaN" and "\0" not in text
