"""SQL statements without the values in them, for what stays: titles, the audit trail, and names that an error may repeat.

Databases read quotes differently (a backslash, double quotes), and nobody says which database answers. Where two readings
differ, the one that takes out more is followed.
"""

import re
from typing import Final

VALUE: Final = "?"
# What is read of a statement: no longer one is asked.
LONGEST: Final = 20_000
# Behind these words a table's name stands, which may be quoted. Elsewhere double quotes are a value in some databases.
_BEFORE_TABLES: Final = frozenset({"from", "join", "into", "update", "table"})
# Each alternative ends where nothing closes it: at the end of the text. Nested comments, a backslash before a quote and
# typographic quotes reach there as well.
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
    """Return the statement with a question mark for each string, number and comment in it.

    Names stay, but for those in double quotes that stand neither behind ``from`` or ``join`` nor behind a dot: some databases
    read them as strings.
    """
    before = earlier = ""

    def shortened(token: re.Match[str]) -> str:
        nonlocal before, earlier
        kept = token[0]
        if token["quoted"]:
            # "is distinct from" compares.
            is_table = before.lower() in _BEFORE_TABLES and earlier.lower() != "distinct"
            kept = kept if is_table or before.endswith(".") else VALUE
        elif token["at"] or not (token["word"] or token["dot"] or kept[0] == "`"):
            kept = VALUE
        before, earlier = kept, before
        return kept

    return _TOKENS.sub(shortened, statement[:LONGEST])


def title_of(statement: str) -> str:
    """Return the first line that says something, without literals."""
    lines = [line.strip() for line in without_literals(statement).splitlines()]
    return next((line for line in lines if line.strip(f"{VALUE} ")), "SQL")


def names_in_statement(statement: str) -> frozenset[str]:
    """Return the words of a statement that are no values, in lower case."""
    return frozenset(_NAMES.findall(without_literals(statement).lower()))
