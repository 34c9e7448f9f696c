"""Rows whose folded texts (``core.search_text``) are not those of their texts."""

from collections.abc import Callable
from functools import cache

from sqlalchemy import select

from dashboard.core.database import db


def wrong_folds() -> list[tuple[str, str]]:
    """Return table and folded text of each such row. Tests share the folds of equal texts."""
    return [
        (table.name, found)
        for table in db.metadata.sorted_tables
        for column in table.columns
        if "sources" in column.info
        for found, *texts in db.session.execute(
            select(column, *(table.c[name] for name in column.info["sources"]))
        )
        if found != _folded(column.info["fold"], *texts)
    ]


@cache
def _folded(fold: Callable[[str], str], *texts: str | None) -> str:
    return "\n".join(fold(text or "") for text in texts)
