"""Masking rules: which columns look like personal data, and who sees them.

The rules are in a file; administrators can override them. Administrators see everything. Others
see ``MASKED`` instead of each value on pages, in exports and in JSON, unless they reveal the table
with a reason (``masking.service``). Empty values stay empty, since support has to see that a value
is missing. A search or filter for a whole value finds its rows, to answer "is this customer in the
table?". Parts of values find nothing and masked columns cannot be sorted, since the results would
reveal the values (``tables.query``).
"""

import configparser
import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Final

from dashboard import peliqan
from dashboard.core.text import comparable
from dashboard.masking.limits import LONGEST_NAME

MASKED: Final = "••••••"
SEES_ALL: Final = "admin"
MOST_CACHED: Final = 5_000
TOO_LONG: Final = "a name too long to check"
_WORDS = re.compile(r"[^\W_]+")
_HUMP = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")


class MasksError(Exception):
    """An invalid rules file; the message is a sentence that names the fault."""


@dataclass(frozen=True)
class Kind:
    """A kind of personal data. ``names``: sequences of lower-case words in column names."""

    title: str
    names: tuple[str, ...] = ()
    types: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Masks:
    """The rules in the order of the file."""

    kinds: tuple[Kind, ...]

    def kind_of(self, name: str, column_type: str = "") -> str | None:
        """Return the kind of personal data that a column holds, or None. Cached."""
        if len(name) > LONGEST_NAME:
            return TOO_LONG
        cache, key = self._cache, (name, column_type)
        if key not in cache:
            if len(cache) >= MOST_CACHED:
                cache.clear()
            cache[key] = self._find(name, column_type)
        return cache[key]

    @cached_property
    def _cache(self) -> dict[tuple[str, str], str | None]:
        """Kinds by name and type: each page of a table checks all its columns, up to 200."""
        return {}

    def _find(self, name: str, column_type: str) -> str | None:
        words = f" {' '.join(_words(_HUMP.sub(' ', name)))} "
        for kind in self.kinds:
            if column_type in kind.types or any(f" {each} " in words for each in kind.names):
                return kind.title
        return None

    def hidden(
        self,
        columns: Sequence[peliqan.Column],
        *,
        role: str,
        overrides: Mapping[str, bool] = {},
        elsewhere: Mapping[int, Mapping[str, bool]] = {},
        revealed: bool = False,
    ) -> dict[str, str]:
        """Return the columns that are masked for a role, with the kind of personal data.

        A column that shows a column of another table (link_row, lookup) is masked if that one is.
        ``overrides``: administrators' decisions by column, True for masked; ``elsewhere``: the same
        for linked tables, by table id; ``revealed``: the user revealed the table.
        """
        if role == SEES_ALL or revealed:
            return {}
        found = {}
        for column in columns:
            kind = self._kind(column, overrides)
            if kind is None and column.linked is not None and column.name not in overrides:
                kind = self._kind(column.linked, elsewhere.get(column.linked_table_id or 0, {}))
            if kind is not None:
                found[column.name] = kind
        return found

    def _kind(self, column: peliqan.Column, overrides: Mapping[str, bool]) -> str | None:
        kind = self.kind_of(column.name, column.type)
        if not overrides.get(column.name, kind is not None):
            return None
        return kind or "masked by an administrator"


def mask(row: Mapping[str, Any], hidden: Collection[str]) -> dict[str, Any]:
    """Return the row with values of hidden columns replaced, except empty ones."""
    return {
        name: MASKED if is_masked(name, value, hidden) else value for name, value in row.items()
    }


def is_masked(name: str, value: Any, hidden: Collection[str]) -> bool:
    """Return whether ``mask`` replaces this value of a row."""
    return name in hidden and not _is_empty(value)


def read_masks(path: Path) -> Masks:
    """Read the file of rules.

    Raises:
        MasksError: The file is missing or invalid.
    """
    parser = configparser.ConfigParser(interpolation=None, strict=True, default_section="")
    try:
        parser.read_string(path.read_text(encoding="utf-8"))
        return Masks(tuple(_kind(parser[title]) for title in parser.sections()))
    except (OSError, UnicodeDecodeError, configparser.Error, ValueError) as error:
        raise MasksError(
            f"The rules for masking, {path.name}, cannot be read: {str(error).splitlines()[0]}"
        ) from None


def _kind(section: configparser.SectionProxy) -> Kind:
    unknown = set(section) - {"names", "types"}
    if unknown:
        raise ValueError(f"[{section.name}] has “{min(unknown)}”; there are names and types.")
    return Kind(
        section.name,
        tuple(" ".join(_words(name)) for name in _listed(section.get("names", ""))),
        frozenset(_listed(section.get("types", ""))),
    )


def _words(name: str) -> list[str]:
    return _WORDS.findall(comparable(name))


def _listed(text: str) -> list[str]:
    return [each.strip() for each in text.split(",") if each.strip()]


def _is_empty(value: Any) -> bool:
    return value is None or value == "" or value == []
