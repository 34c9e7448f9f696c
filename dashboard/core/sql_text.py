"""SQL statements without the values in them, for titles, the audit trail and error texts.

Databases read quotes differently (a backslash, double quotes), and it is unknown which database
runs the statement. Where two readings differ, the one that removes more applies.
"""

import re
from typing import Final

VALUE: Final = "?"
# Statements are not longer than this.
LONGEST: Final = 20_000
# A table name follows these words, also in double quotes. Elsewhere these may quote a value.
_BEFORE_TABLES: Final = frozenset({"from", "join", "into", "update", "table"})
# Each alternative that is not closed extends to the end of the text. So do nested comments, a
# backslash before a quote, and typographic quotes.
_TOKENS: Final = re.compile(
    r"""'(?:[^'\\]|''|\\[^'])*+(?:\\'.*|\\?\Z|')
    | --[^\n]*+ | \#[^\n]*+
    | /\*(?:[^*/]|\*(?!/)|/(?!\*))*+(?:\*/|/\*.*|\Z)
    | \$(?<!\w\$)((?!\d)\w*+)\$.*?(?:\$\1\$|\Z)
    | [‘’‚‛“”„‟«»‹›].*
    | \.?\d[\w.]*+
    | (?P<quoted>"(?:[^"\\]|""|\\[^"])*+(?:\\".*|\\?\Z|"))
    | `[^`]*+(?:`|\Z)
    | (?P<word>[^\W\d][\w.$]*+(?P<at>@[\w.-]*+)?)
    | (?P<dot>\.)""",
    re.VERBOSE | re.DOTALL,
)
_NAMES: Final = re.compile(r"\w+")


def without_literals(statement: str) -> str:
    """Return the statement with a question mark for each string, number and comment.

    Names stay, except names in double quotes that follow neither ``from``, ``join`` or the like
    nor a dot: some databases read these as strings.
    """
    before = earlier = ""

    def replaced(token: re.Match[str]) -> str:
        nonlocal before, earlier
        shown = token[0]
        if token["quoted"]:
            # "is distinct from" compares.
            is_table = before.lower() in _BEFORE_TABLES and earlier.lower() != "distinct"
            shown = shown if is_table or before.endswith(".") else VALUE
        elif token["at"] or not (token["word"] or token["dot"] or shown[0] == "`"):
            shown = VALUE
        before, earlier = shown, before
        return shown

    return _TOKENS.sub(replaced, statement[:LONGEST])


def title_of(statement: str) -> str:
    """Return the first line that contains words, without literals; "SQL" if there is none."""
    lines = [line.strip() for line in without_literals(statement).splitlines()]
    return next((line for line in lines if line.strip(f"{VALUE} ")), "SQL")


def names_in_statement(statement: str) -> frozenset[str]:
    """Return the words of a statement that are not values, in lower case."""
    return frozenset(_NAMES.findall(without_literals(statement).lower()))
