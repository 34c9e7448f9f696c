"""Which columns look like personal data, and who sees them: rules in a plain file, an administrator's word over them.

Administrators see everything. For others a masked column shows ``MASKED`` in place of every value, on pages, in
exports and in JSON alike, unless they said why they need it: then they see that table's values for a while (``masking.service``).
What is empty stays empty: that something is missing is what support has to see. A whole value still finds its rows, by a search
or a filter, since "is this customer in there?" is asked by exactly such values; part of one finds none, and no list is sorted by
one, or the answers would spell the values out (``tables.query``).
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

MASKED: Final = "••••••"
SEES_ALL: Final = "admin"
REMEMBERED: Final = 5_000
# A longer name is masked unread: no database or table of Peliqan's has one.
LONGEST_NAME: Final = 1_000
TOO_LONG: Final = "a name too long to check"
_WORDS = re.compile(r"[^\W_]+")
_HUMP = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")


class MasksError(Exception):
    """One sentence that names what cannot be read in the file."""


@dataclass(frozen=True)
class Kind:
    """A kind of personal data, and how it is known. ``names`` are runs of lower-case words."""

    title: str
    names: tuple[str, ...] = ()
    types: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Masks:
    """The rules, in the order of the file."""

    kinds: tuple[Kind, ...]

    def kind_of(self, name: str, column_type: str = "") -> str | None:
        """What a column of this name and type looks like; None where it looks like nothing personal."""
        if len(name) > LONGEST_NAME:
            return TOO_LONG
        known, asked = self._known, (name, column_type)
        if asked not in known:
            if len(known) >= REMEMBERED:
                known.clear()
            known[asked] = self._find(name, column_type)
        return known[asked]

    @cached_property
    def _known(self) -> dict[tuple[str, str], str | None]:
        """What was found before: a table of 200 columns is asked about with each of its pages."""
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
        """The columns whose values this person does not see, with what each looks like.

        A column that shows another table's (a link_row's titles, a lookup) is masked where that one is.

        ``overrides``: an administrator's word by column, True for masked; ``elsewhere``: the same for other tables, by their ids;
        ``revealed``: the person said why they need them.
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
    """The row as it may be shown: values of hidden columns are replaced, what is empty stays so."""
    return {
        name: MASKED if is_masked(name, value, hidden) else value for name, value in row.items()
    }


def is_masked(name: str, value: Any, hidden: Collection[str]) -> bool:
    """Whether ``mask`` replaces this value of a row."""
    return name in hidden and not _is_empty(value)


def read_masks(path: Path) -> Masks:
    """Read the file of rules.

    Raises:
        MasksError: it is missing, or a line cannot be read.
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
