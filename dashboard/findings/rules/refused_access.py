"""Recognise error texts that say that the source refused access."""

import re
from typing import Final

_TOKEN = r"refresh[ _-]?token"
# The last line holds signs of Peliqan's own application. ``\b`` excludes ``refresh_tokens``, a
# table's name.
_SIGNS: Final = re.compile(
    r"(?<!\d[.,])\b401\b(?![.,]\d)|invalid_grant|unauthori[sz]ed"
    r"|token[ _-]?(?:has )?(?:been )?(?:is )?(?:expired|revoked|invalid)"
    r"|(?:expired|revoked|invalid)[ _-]?(?:access[ _-]?|refresh[ _-]?)?token"
    r"|consent\W?(?:has )?expired|consent .{0,80}\bexpired\b"
    r"|re-?authori[sz]e|reauthenticat|authentication failed|invalid (?:api.?key|credentials)"
    rf"|(?<![a-z0-9]){_TOKEN}\b|(?<![a-z0-9])chain[ _-]?id\b",
    re.IGNORECASE,
)
# Looks like a sign but is none: counts and ids, names of tables and columns, valid tokens.
_HARMLESS: Final = re.compile(
    r"\b(?:row|page|line|record|offset|batch|item|(?<!chain[ -])id|port|skip|limit|account|schema)"
    r"[ =#]#?\d+\b"
    r"|\b\d+ (?:rows?|pages?|lines?|records?|items?|tables?|seconds?|ms)\b"
    r"|\b(?:column|table|stream|relation|index|constraint|schema)s? [\"'`“]?[\w.]+[\"'`”]?"
    rf"|\bno {_TOKEN}s? (?:is |are |was )?(?:needed|required|necessary)"
    rf"|\b{_TOKEN}s? (?:is |are |was )?not (?:needed|required|necessary)"
    rf"|\b{_TOKEN} (?:is |was |has been )?(?:successfully )?"
    r"(?:renewed|rotated|obtained|received|saved|stored|valid|ok)\b",
    re.IGNORECASE,
)
_ADDRESS: Final = re.compile(r"https?://[^\s'\"<>)\]]+", re.IGNORECASE)
_NUMBER: Final = re.compile(r"\d+")
# Errors may be megabytes long: only their first and last 10,000 characters are read. The end of a
# traceback names the error.
_READ: Final = 10_000


def refuses_access(error: str) -> bool:
    """Return whether the text says that a token, permission or consent is not accepted.

    Ignores case, numbers in addresses, row numbers, and names of tables and columns.
    """
    shortened = error if len(error) <= 2 * _READ else f"{error[:_READ]} {error[-_READ:]}"
    text = " ".join(shortened.split())
    text = _ADDRESS.sub(lambda found: _NUMBER.sub("", found[0]), text)
    return _SIGNS.search(_HARMLESS.sub(" ", text)) is not None
