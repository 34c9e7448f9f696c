"""Read which tables a run loaded, in every shape that Peliqan's published programs know."""

import json
from typing import Any, Final

# The names of a table's record count (S: the SDK and Peliqan's own health application).
COUNT_NAMES: Final = ("records", "record_count", "rows", "row_count")
# The largest integer that JSON numbers hold exactly; no table has as many records.
_LARGEST: Final = 2**53


def table_loads(tables: Any) -> list[dict[str, Any]]:
    """Return a run's tables as ``[{"name", "records"}]``; ``records`` is None if unreadable.

    ``tables`` may be a list of objects or names, an object by name, or JSON text of either (S).
    Anything else, such as other text, gives no tables: it must not make the run unreadable.
    """
    if isinstance(tables, str):
        tables = _decoded(tables)
    if isinstance(tables, dict):
        return [_load(str(name), load) for name, load in tables.items()]
    if isinstance(tables, list):
        return [_load("", table) for table in tables if isinstance(table, (dict, str))]
    return []


def read_count(value: Any) -> int | None:
    """Return a record count: a whole number, or digits in a text.

    None for booleans, for numbers below 0, and from 2**53 on.
    """
    if isinstance(value, str):
        digits = value.strip()
        value = int(digits) if len(digits) <= 16 and digits.isascii() and digits.isdigit() else None
    if isinstance(value, float):
        value = int(value) if value.is_integer() else None
    if isinstance(value, bool) or not isinstance(value, int):
        return None
    return value if 0 <= value < _LARGEST else None


def _decoded(text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None


def _load(name: str, load: Any) -> dict[str, Any]:
    """Return one table. ``load``: an object with a count, or the count alone.

    In a list without names ``load`` may also be the name alone.
    """
    if not isinstance(load, dict):
        named = isinstance(load, str) and not name
        return {"name": load if named else name, "records": None if named else read_count(load)}
    counts = (read_count(load.get(each)) for each in COUNT_NAMES)
    given = load.get("name")
    return {
        "name": str(given)
        if isinstance(given, (str, int)) and not isinstance(given, bool)
        else name,
        "records": next((count for count in counts if count is not None), None),
    }
