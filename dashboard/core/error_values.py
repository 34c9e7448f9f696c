"""Cut from an error's text what may be a value: databases, drivers and other people's code quote what they choke on.

A value cannot be found by its shape, and its quotes are not escaped, so the text is read from the left and kept only as long as
it is plain words; from the first thing that may be a value on, all of it is cut.
"""

import re
from collections.abc import Collection, Sequence
from itertools import takewhile
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from dashboard import peliqan

# What is read at all.
LONGEST: Final = 1_000
CUT: Final = "…"
_TOKENS: Final = re.compile(r"\w++(?:\.\w++)*+|\s+|[^\w\s]")
_QUOTES: Final = frozenset("\"'`´‘’‚‛“”„‟«»‹›「」『』＂＇")
_PLAIN: Final = frozenset(",;-/.!?…،、。")
# How a message begins in the languages of PostgreSQL.
_SEVERITIES: Final = frozenset({
    "error", "fatal", "panic", "fehler", "erreur", "erro", "errore", "błąd", "chyba", "fel", "hata", "katastrophal", "fatale",
    "ошибка", "помилка", "エラー", "오류", "错误", "錯誤",
})  # fmt: skip
# Words that may stand where values stand: types, and what a message says behind a colon.
_TYPES: Final = frozenset({
    "any", "anyarray", "anyelement", "array", "bigint", "bit", "boolean", "bool", "bytea", "char", "character", "date",
    "decimal", "double", "float", "float4", "float8", "int", "int2", "int4", "int8", "integer", "interval", "json",
    "jsonb", "numeric", "oid", "precision", "real", "record", "smallint", "text", "time", "timestamp", "timestamptz",
    "unknown", "uuid", "varchar", "varying", "with", "without", "xml", "zone", "syntax", "error",
})  # fmt: skip
# n'existe pas, l'opérateur, can't: an apostrophe that is no quote.
_ELIDED: Final = frozenset(["c", "d", "dell", "j", "l", "m", "n", "qu", "s", "sull", "t", "un"])
_SHORTENED: Final = frozenset(["s", "t", "re", "ll"])


def without_values(text: str, known: Collection[str] = ()) -> str:
    """Return the first line of an error as far as it holds no value, with an ellipsis where it is cut; empty if nothing is left.

    ``known``: words in lower case that are no values, such as the names in the statement that was refused; they stay where else
    a value would be suspected: between quotes, in parentheses, behind a colon.
    """
    line = next((each for each in text[:LONGEST].splitlines() if each.strip()), "").strip()
    tokens = _without_beginning(_TOKENS.findall(line))
    kept, place, after_colon = list[str](), 0, False
    while place < len(tokens):
        length = _safe(tokens, place, known, after_colon)
        if not length:
            break
        kept += tokens[place : place + length]
        place += length
        after_colon = after_colon or (
            kept[-1] == ":" and (place == len(tokens) or tokens[place].isspace())
        )
    said = "".join(kept).strip()
    if not any(character.isalpha() for character in said):
        return ""
    return said if place == len(tokens) else f"{said} {CUT}"


def sentence_of(error: "peliqan.PeliqanError", known: Collection[str] = ()) -> str:
    """Return what kept a call from its answer, with Peliqan's own words as far as they hold no value."""
    theirs = without_values(error.detail or "", known)
    said = f"Peliqan says: {theirs.rstrip('.')}." if theirs else ""
    return " ".join(part for part in (error.sentence, error.found, said) if part)


def _without_beginning(tokens: list[str]) -> list[str]:
    """Drop ``ERROR:`` and the class of a driver's exception, ``(psycopg2.errors.UndefinedTable)``."""
    if tokens[:1] == ["("] and tokens[2:3] == [")"] and ".errors." in tokens[1]:
        tokens = tokens[3:]
    if len(tokens) > 1 and tokens[0].lower() in _SEVERITIES and tokens[1] == ":":
        tokens = tokens[2:]
    return tokens


def _safe(tokens: Sequence[str], place: int, known: Collection[str], after_colon: bool) -> int:
    """Return how many tokens from this place on hold no value; 0 where there may be one."""
    token, following = tokens[place], tokens[place + 1] if place + 1 < len(tokens) else ""
    if token.isspace() or token in _PLAIN:
        return 1
    if token[0].isalnum() or token[0] == "_":
        needs_known = after_colon or not token.isalpha() or following in {"(", "@", "="}
        return int(not needs_known or _is_known(token, known))
    if token in _QUOTES:
        return 1 if _is_apostrophe(tokens, place) else _quoted_names(tokens, place, known)
    if token == "(":
        inside = list(takewhile(lambda each: each != ")", tokens[place + 1 :]))
        closed = place + 1 + len(inside) < len(tokens)
        return len(inside) + 2 if closed and all(_is_known(each, known) for each in inside) else 0
    # In an address or between a name and a value nothing stands between the colon and what follows.
    return int(token == ":" and (not following or following.isspace() or following == "/"))


def _quoted_names(tokens: Sequence[str], place: int, known: Collection[str]) -> int:
    """Return the length of the quoted name that begins here; 0 where this or any that follows is not known.

    A value may have quotes in it, after which the rest of it would look like plain words.
    """
    quotes = [
        at
        for at in range(place, len(tokens))
        if tokens[at] in _QUOTES and not _is_apostrophe(tokens, at)
    ]
    names = [
        tokens[first + 1 : last] for first, last in zip(quotes[::2], quotes[1::2], strict=False)
    ]
    if len(quotes) % 2 or not all(
        name and all(part in known for part in _parts(name)) for name in names
    ):
        return 0
    return quotes[1] - place + 1


def _is_known(token: str, known: Collection[str]) -> bool:
    return (
        token.isspace()
        or token == ","
        or all(part in _TYPES or part in known for part in _parts([token]))
    )


def _parts(tokens: Sequence[str]) -> list[str]:
    """Return the names in ``schema.table``."""
    return "".join(tokens).lower().split(".")


def _is_apostrophe(tokens: Sequence[str], place: int) -> bool:
    before, after = (
        tokens[place - 1] if place else "",
        tokens[place + 1] if place + 1 < len(tokens) else "",
    )
    return (before in _ELIDED and after.isalpha()) or (before.isalpha() and after in _SHORTENED)
