"""A question with names in it, ``:since``, and the values that it is asked with.

Peliqan's route for SQL takes nothing but a text, so values are written into it as literals, quoted; in words between quotes, in
comments and in casts (``::date``) a colon is no name. Quotes and comments that nothing closes reach to the end of the
text, so that each character is read once.
"""

import re
from collections.abc import Mapping
from datetime import date
from decimal import Decimal, InvalidOperation
from typing import Final

from dashboard.core.sql_text import LONGEST

MOST_DIGITS: Final = 1_000
TYPES: Final = ("text", "number", "date")
_PARTS: Final = re.compile(
    r"""'[^']*(?:'|\Z) | "[^"]*(?:"|\Z) | --[^\n]* | /\*.*?(?:\*/|\Z) | \$(?<!\w\$)((?!\d)\w*+)\$.*?(?:\$\1\$|\Z)
    | :: | :(?P<name>[A-Za-z_]\w*)""",
    re.VERBOSE | re.DOTALL,
)


class BadQuestion(ValueError):
    """A sentence: why it cannot be asked."""


def names_in(text: str) -> list[str]:
    """The names of its parameters, in the order in which they come, each once."""
    return list(dict.fromkeys(found["name"] for found in _PARTS.finditer(text) if found["name"]))


def checked(text: str) -> str:
    """The question, without what stands around it.

    Raises:
        BadQuestion: it is empty, very long, or has characters that no database takes.
    """
    text = text.strip().removesuffix(";").rstrip()
    if not text:
        raise BadQuestion("Write a question first, such as: select count(*) from …")
    if len(text) > LONGEST:
        raise BadQuestion(f"The question has {len(text):,} characters; it can have {LONGEST:,}.")
    if "\0" in text:
        raise BadQuestion("The question has a character that no database takes.")
    return text


def with_values(text: str, types: Mapping[str, str], values: Mapping[str, str]) -> str:
    """The question with each name's value in its place. ``types``: text where none is said.

    Raises:
        BadQuestion: a value is missing, or is not of its type.
    """
    literals = {
        name: _literal(name, types.get(name, "text"), values.get(name, ""))
        for name in names_in(text)
    }
    return _PARTS.sub(lambda found: literals[found["name"]] if found["name"] else found[0], text)


def _literal(name: str, kind: str, value: str) -> str:
    value = value.strip() if kind != "text" else value
    if not value:
        raise BadQuestion(f"“{name}” has no value.")
    if kind == "number":
        try:
            number = Decimal(value)
        except InvalidOperation:
            number = Decimal("NaN")
        # Written out, as below, 1e999999999 has a thousand million digits.
        if not number.is_finite() or abs(number.adjusted()) > MOST_DIGITS:
            raise BadQuestion(f"“{name}” is to be a number, such as 12.50.")
        return f"({number:f})"
    if kind == "date":
        try:
            return f"'{date.fromisoformat(value).isoformat()}'"
        except ValueError:
            raise BadQuestion(f"“{name}” is to be a date, such as 2026-11-24.") from None
    if "\0" in value or "\\" in value:
        # A backslash means itself, or the character after it, by a setting of the database.
        raise BadQuestion(f"“{name}” has a character that cannot be asked for here.")
    return "'" + value.replace("'", "''") + "'"
