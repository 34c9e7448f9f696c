"""Table rows for a page.

Adjacent short cells are escaped and joined as one string, since a page has thousands of them
(measured: a third of the time of one by one).
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final, NamedTuple

from markupsafe import Markup, escape

from dashboard import peliqan
from dashboard.masking.rule_file import is_masked
from dashboard.tables.cells import Cell, cell, masked, short_line

# Marks around a short cell until it gets its markup. They never occur in a short cell, and escaping
# leaves them unchanged.
BEGINS: Final = {"text": "\n", "number": "\r"}
ENDS: Final = "\f"
MARKUP: Final = (
    (BEGINS["text"], '<td><span dir="auto">'),
    (BEGINS["number"], '<td class="text-end"><span dir="auto">'),
    (ENDS, "</span></td>"),
)


class Run(NamedTuple):
    """Adjacent short cells as markup, then one other ``cell`` of the column ``name``.

    ``cell`` is None if the row ends with short cells.
    """

    shorts: Markup
    name: str = ""
    cell: Cell | None = None


# A row's id, if it has one, and its cells.
Line = tuple[int | None, list[Run]]


def line(
    row: Mapping[str, Any], columns: Sequence[peliqan.Column], hidden: Mapping[str, str]
) -> Line:
    """Return a row of the API as its id and runs of cells.

    ``hidden``: the masked columns, with what the values of each look like.
    """
    runs: list[Run] = []
    shorts: list[str] = []
    for column in columns:
        name = column.name
        value = row.get(name)
        short = short_line(value, column.result_type) if name not in hidden else None
        if short is not None:
            shorts.append(f"{BEGINS[short[0]]}{short[1]}{ENDS}")
        else:
            runs.append(Run(_render(shorts), name, cell_of(value, column, hidden)))
            shorts = []
    if shorts:
        runs.append(Run(_render(shorts)))
    row_id = row.get("id")
    return row_id if isinstance(row_id, int) and row_id >= 0 else None, runs


def cell_of(value: Any, column: peliqan.Column, hidden: Mapping[str, str]) -> Cell:
    """Return a value's cell, masked if its column is."""
    return (
        masked(hidden[column.name])
        if is_masked(column.name, value, hidden)
        else cell(value, column.result_type)
    )


def _render(shorts: Sequence[str]) -> Markup:
    escaped = str(escape("".join(shorts)))
    for mark, markup in MARKUP:
        escaped = escaped.replace(mark, markup)
    return Markup(escaped)  # noqa: S704 - escaped before the markup is inserted
