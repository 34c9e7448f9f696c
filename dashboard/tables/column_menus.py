"""Menus and forms of a table's page that list every column.

Each column is rendered once and cached: a page lists all columns three times, which for a table
with 200 columns would take as long as its rows.
"""

from collections.abc import Collection, Iterable
from functools import lru_cache

from flask import Flask, get_template_attribute
from markupsafe import Markup

from dashboard import peliqan
from dashboard.tables.filters import key_of

# Entries. A column's name has up to 255 characters, so this is about 2 MB: the menus of half a
# dozen wide tables.
CACHE_SIZE = 4096


def init_app(app: Flask) -> None:
    """Add ``each_column`` to the template globals."""
    app.jinja_env.globals["each_column"] = each_column


def each_column(
    how: str,
    columns: Iterable[peliqan.Column | str],
    marked: Collection[str] = (),
    masked: Collection[str] = (),
) -> Markup:
    """Render a macro of ``tables/column_macros.html`` for each column or column name, joined.

    ``marked``: names of the chosen columns; ``masked``: names of the columns that offer only the
    filters of masked ones.
    """
    described = (
        (each, "", "")
        if isinstance(each, str)
        else (each.name, each.type, key_of(each, masked=each.name in masked))
        for each in columns
    )
    rendered = [_render(how, name, type_, key, name in marked) for name, type_, key in described]
    return Markup("".join(rendered))  # noqa: S704 - each part is escaped by its template


@lru_cache(CACHE_SIZE)
def _render(how: str, name: str, type_: str, key: str, is_marked: bool) -> str:
    return str(
        get_template_attribute("tables/column_macros.html", how)(name, type_, key, is_marked)
    )
