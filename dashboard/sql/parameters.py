"""SQL statements with named parameters such as ``:since``, and their values.

Peliqan's SQL route accepts only a text, so values are inserted as quoted literals. Between quotes,
in comments and in casts (``::date``) a colon starts no parameter. Unclosed quotes and comments
extend to the end of the text, so that each character is read once.
"""

import re
from collections.abc import Mapping
from datetime import date
from decimal import Decimal, InvalidOperation
from typing import Final

from dashboard.core.sql_text import LONGEST

MOST_DIGITS: Final = 1_000
TYPES: Final = ("text", "number", "date")
_TOKENS: Final = re.compile(
    r"""'[^']*(?:'|\Z) | "[^"]*(?:"|\Z) | --[^\n]* | /\*.*?(?:\*/|\Z)
    | \$(?<!\w\$)((?!\d)\w*+)\$.*?(?:\$\1\$|\Z) | :: | :(?P<name>[A-Za-z_]\w*)""",
    re.VERBOSE | re.DOTALL,
)


class BadStatement(ValueError):
    """The statement cannot be run. The message is a sentence."""


def names_in(text: str) -> list[str]:
    """Return the names of the parameters, each once, in the order of the text."""
    return list(dict.fromkeys(found["name"] for found in _TOKENS.finditer(text) if found["name"]))


def checked(text: str) -> str:
    """Return a statement without surrounding spaces and a final semicolon.

    Raises:
        BadStatement: it is empty, too long, or has a character that no database accepts.
    """
    text = text.strip().removesuffix(";").rstrip()
    if not text:
        raise BadStatement("Write a question first, such as: select count(*) from …")
    if len(text) > LONGEST:
        raise BadStatement(f"The question has {len(text):,} characters; it can have {LONGEST:,}.")
    if "\0" in text:
        raise BadStatement("The question has a character that no database takes.")
    return text


def with_values(text: str, types: Mapping[str, str], values: Mapping[str, str]) -> str:
    """Return a statement with its parameters replaced by values.

    ``types``: by name; a parameter without one is a text.

    Raises:
        BadStatement: a value is missing or not of its type.
    """
    literals = {
        name: _literal(name, types.get(name, "text"), values.get(name, ""))
        for name in names_in(text)
    }
    return _TOKENS.sub(lambda found: literals[found["name"]] if found["name"] else found[0], text)


def _literal(name: str, kind: str, value: str) -> str:
    value = value.strip() if kind != "text" else value
    if not value:
        raise BadStatement(f"“{name}” has no value.")
    if kind == "number":
        try:
            number = Decimal(value)
        except InvalidOperation:
            number = Decimal("NaN")
        # Limited, because 1e999999999 in full notation has a thousand million digits.
        if not number.is_finite() or abs(number.adjusted()) > MOST_DIGITS:
            raise BadStatement(f"“{name}” is to be a number, such as 12.50.")
        return f"({number:f})"
    if kind == "date":
        try:
            return f"'{date.fromisoformat(value).isoformat()}'"
        except ValueError:
            raise BadStatement(f"“{name}” is to be a date, such as 2026-11-24.") from None
    if "\0" in value or "\\" in value:
        # A setting of the database decides whether a backslash escapes the next character.
        raise BadStatement(f"“{name}” has a character that cannot be asked for here.")
    return "'" + value.replace("'", "''") + "'"
