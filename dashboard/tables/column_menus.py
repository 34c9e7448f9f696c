"""The menus and forms of a table's page that name every column, three times over: each name is drawn once and remembered, or
those of a table of two hundred would take as long as its rows.
"""

from collections.abc import Collection, Iterable
from functools import lru_cache

from flask import Flask, get_template_attribute
from markupsafe import Markup

from dashboard import peliqan
from dashboard.tables.filters import key_of

# Names of columns have up to 255 characters: about 2 MB, for the menus of half a dozen wide tables.
REMEMBERED = 4096


def init_app(app: Flask) -> None:
    """Give the templates ``each_column``."""
    app.jinja_env.globals["each_column"] = each_column


def each_column(
    how: str,
    columns: Iterable[peliqan.Column | str],
    marked: Collection[str] = (),
    masked: Collection[str] = (),
) -> Markup:
    """Render a macro of ``tables/column_macros.html`` for every column, or name of one, side by side.

    ``marked``: names of those that are chosen; ``masked``: names of those that have the filters of masked columns.
    """
    told = (
        (each, "", "")
        if isinstance(each, str)
        else (each.name, each.type, key_of(each, masked=each.name in masked))
        for each in columns
    )
    # Joined as text: each is escaped already.
    return Markup(
        "".join([_drawn(how, name, type_, key, name in marked) for name, type_, key in told])
    )


@lru_cache(REMEMBERED)
def _drawn(how: str, name: str, type_: str, key: str, is_marked: bool) -> str:
    return str(
        get_template_attribute("tables/column_macros.html", how)(name, type_, key, is_marked)
    )
