"""Removal of data from error texts: databases and drivers quote the values they reject.

A value has no recognisable shape, and quotes inside it are not escaped. So the text is kept from
the left while it consists of plain words, and cut at the first token that may be a value.
"""

import re
from collections.abc import Collection, Sequence
from itertools import takewhile
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from dashboard import peliqan

# Longer texts are cut before they are read.
LONGEST: Final = 1_000
CUT: Final = "…"
_TOKENS: Final = re.compile(r"\w++(?:\.\w++)*+|\s+|[^\w\s]")
_QUOTES: Final = frozenset("\"'`´‘’‚‛“”„‟«»‹›「」『』＂＇")
_PLAIN: Final = frozenset(",;-/.!?…،、。")
# The first word of a message in the languages of PostgreSQL.
_SEVERITIES: Final = frozenset({
    "error", "fatal", "panic", "fehler", "erreur", "erro", "errore", "błąd", "chyba", "fel", "hata",
    "katastrophal", "fatale", "ошибка", "помилка", "エラー", "오류", "错误", "錯誤",
})  # fmt: skip
# Words that may appear in the position of a value: types, and what follows a colon.
_TYPES: Final = frozenset({
    "any", "anyarray", "anyelement", "array", "bigint", "bit", "boolean", "bool", "bytea", "char",
    "character", "date", "decimal", "double", "float", "float4", "float8", "int", "int2", "int4",
    "int8", "integer", "interval", "json", "jsonb", "numeric", "oid", "precision", "real", "record",
    "smallint", "text", "time", "timestamp", "timestamptz", "unknown", "uuid", "varchar", "varying",
    "with", "without", "xml", "zone", "syntax", "error",
})  # fmt: skip
# Apostrophes that are not quotes: n'existe pas, l'opérateur, can't.
_ELIDED: Final = frozenset(["c", "d", "dell", "j", "l", "m", "n", "qu", "s", "sull", "t", "un"])
_SHORTENED: Final = frozenset(["s", "t", "re", "ll"])


def without_values(text: str, known: Collection[str] = ()) -> str:
    """Return the first line of an error up to the first possible value.

    A cut text ends with an ellipsis; the result is empty if nothing is left. ``known``: lowercase
    words that are not values, such as the names in the refused statement. They are kept where
    other words count as values: in quotes, in parentheses, after a colon.
    """
    line = next((each for each in text[:LONGEST].splitlines() if each.strip()), "").strip()
    tokens = _without_prefix(_TOKENS.findall(line))
    safe, index, after_colon = list[str](), 0, False
    while index < len(tokens):
        length = _safe(tokens, index, known, after_colon)
        if not length:
            break
        safe += tokens[index : index + length]
        index += length
        after_colon = after_colon or (
            safe[-1] == ":" and (index == len(tokens) or tokens[index].isspace())
        )
    message = "".join(safe).strip()
    if not any(character.isalpha() for character in message):
        return ""
    return message if index == len(tokens) else f"{message} {CUT}"


def sentence_of(error: "peliqan.PeliqanError", known: Collection[str] = ()) -> str:
    """Return why a call failed, with Peliqan's message up to the first possible value."""
    detail = without_values(error.detail or "", known)
    message = f"Peliqan says: {detail.rstrip('.')}." if detail else ""
    return " ".join(part for part in (error.sentence, error.found, message) if part)


def _without_prefix(tokens: list[str]) -> list[str]:
    """Drop ``ERROR:`` and a driver's exception class, as ``(psycopg2.errors.UndefinedTable)``."""
    if tokens[:1] == ["("] and tokens[2:3] == [")"] and ".errors." in tokens[1]:
        tokens = tokens[3:]
    if len(tokens) > 1 and tokens[0].lower() in _SEVERITIES and tokens[1] == ":":
        tokens = tokens[2:]
    return tokens


def _safe(tokens: Sequence[str], index: int, known: Collection[str], after_colon: bool) -> int:
    """Return how many tokens from this index hold no value; 0 if the first may be a value."""
    token, following = tokens[index], tokens[index + 1] if index + 1 < len(tokens) else ""
    if token.isspace() or token in _PLAIN:
        return 1
    if token[0].isalnum() or token[0] == "_":
        needs_known = after_colon or not token.isalpha() or following in {"(", "@", "="}
        return int(not needs_known or _is_known(token, known))
    if token in _QUOTES:
        return 1 if _is_apostrophe(tokens, index) else _quoted_names(tokens, index, known)
    if token == "(":
        inside = list(takewhile(lambda each: each != ")", tokens[index + 1 :]))
        closed = index + 1 + len(inside) < len(tokens)
        return len(inside) + 2 if closed and all(_is_known(each, known) for each in inside) else 0
    # A colon followed directly by text belongs to an address or separates a name and a value.
    return int(token == ":" and (not following or following.isspace() or following == "/"))


def _quoted_names(tokens: Sequence[str], index: int, known: Collection[str]) -> int:
    """Return the length of the quoted name at this index; 0 if it or a later one is unknown.

    Later names count, since a value may contain quotes: its rest would look like plain words.
    """
    quotes = [
        at
        for at in range(index, len(tokens))
        if tokens[at] in _QUOTES and not _is_apostrophe(tokens, at)
    ]
    names = [
        tokens[first + 1 : last] for first, last in zip(quotes[::2], quotes[1::2], strict=False)
    ]
    if len(quotes) % 2 or not all(
        name and all(part in known for part in _parts(name)) for name in names
    ):
        return 0
    return quotes[1] - index + 1


def _is_known(token: str, known: Collection[str]) -> bool:
    return (
        token.isspace()
        or token == ","
        or all(part in _TYPES or part in known for part in _parts([token]))
    )


def _parts(tokens: Sequence[str]) -> list[str]:
    """Return the lowercase names in ``schema.table``."""
    return "".join(tokens).lower().split(".")


def _is_apostrophe(tokens: Sequence[str], index: int) -> bool:
    before = tokens[index - 1] if index else ""
    after = tokens[index + 1] if index + 1 < len(tokens) else ""
    return (before in _ELIDED and after.isalpha()) or (before.isalpha() and after in _SHORTENED)
