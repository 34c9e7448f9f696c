"""A table's rows as a page shows them. A page has thousands of cells, most of them short texts and numbers: those that stand side
by side are escaped and put together at once, which takes a third of what it does one by one.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final, NamedTuple

from markupsafe import Markup, escape

from dashboard import peliqan
from dashboard.masking.rules import is_masked
from dashboard.tables.cells import Cell, cell, masked, short_line

# What begins and ends a short cell while it is put together: none of them is in a short line, and escaping leaves them alone.
BEGINS: Final = {"text": "\n", "number": "\r"}
ENDS: Final = "\f"
MARKUP: Final = (
    (BEGINS["text"], '<td><span dir="auto">'),
    (BEGINS["number"], '<td class="text-end"><span dir="auto">'),
    (ENDS, "</span></td>"),
)


class Run(NamedTuple):
    """Short cells side by side, drawn; then one other ``cell`` of the column ``name``, unless the row ends with short ones."""

    shorts: Markup
    name: str = ""
    cell: Cell | None = None


# A row's id, if it has one, and its cells.
Line = tuple[int | None, list[Run]]


def line(
    row: Mapping[str, Any], columns: Sequence[peliqan.Column], hidden: Mapping[str, str]
) -> Line:
    """A row of the API's. ``hidden``: the columns that are masked, with what each looks like."""
    runs: list[Run] = []
    shorts: list[str] = []
    for column in columns:
        name = column.name
        value = row.get(name)
        short = short_line(value, column.result_type) if name not in hidden else None
        if short is not None:
            shorts.append(f"{BEGINS[short[0]]}{short[1]}{ENDS}")
        else:
            runs.append(Run(_drawn(shorts), name, cell_of(value, column, hidden)))
            shorts = []
    if shorts:
        runs.append(Run(_drawn(shorts)))
    found = row.get("id")
    return found if isinstance(found, int) and found >= 0 else None, runs


def cell_of(value: Any, column: peliqan.Column, hidden: Mapping[str, str]) -> Cell:
    """One cell, masked where it has to be."""
    return (
        masked(hidden[column.name])
        if is_masked(column.name, value, hidden)
        else cell(value, column.result_type)
    )


def _drawn(shorts: Sequence[str]) -> Markup:
    escaped = str(escape("".join(shorts)))
    for mark, markup in MARKUP:
        escaped = escaped.replace(mark, markup)
    return Markup(escaped)  # noqa: S704 - escaped before the markup came in
