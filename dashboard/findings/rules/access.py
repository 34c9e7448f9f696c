"""Tell from an error text whether the source refused access."""

import re
from typing import Final

_TOKEN = r"refresh[ _-]?token"
# The last line: signs in Peliqan's own application. ``\b`` keeps ``refresh_tokens``, a table's name, apart.
_SIGNS: Final = re.compile(
    r"(?<!\d[.,])\b401\b(?![.,]\d)|invalid_grant|unauthori[sz]ed"
    r"|token[ _-]?(?:has )?(?:been )?(?:is )?(?:expired|revoked|invalid)"
    r"|(?:expired|revoked|invalid)[ _-]?(?:access[ _-]?|refresh[ _-]?)?token"
    r"|consent\W?(?:has )?expired|consent .{0,80}\bexpired\b"
    r"|re-?authori[sz]e|reauthenticat|authentication failed|invalid (?:api.?key|credentials)"
    rf"|(?<![a-z0-9]){_TOKEN}\b|(?<![a-z0-9])chain[ _-]?id\b",
    re.IGNORECASE,
)
# What looks like a sign and is none: numbers that count or name something, names of tables and columns, tokens that are fine.
_HARMLESS: Final = re.compile(
    r"\b(?:row|page|line|record|offset|batch|item|(?<!chain[ -])id|port|skip|limit|account|schema)[ =#]#?\d+\b"
    r"|\b\d+ (?:rows?|pages?|lines?|records?|items?|tables?|seconds?|ms)\b"
    r"|\b(?:column|table|stream|relation|index|constraint|schema)s? [\"'`“]?[\w.]+[\"'`”]?"
    rf"|\bno {_TOKEN}s? (?:is |are |was )?(?:needed|required|necessary)"
    rf"|\b{_TOKEN}s? (?:is |are |was )?not (?:needed|required|necessary)"
    rf"|\b{_TOKEN} (?:is |was |has been )?(?:successfully )?(?:renewed|rotated|obtained|received|saved|stored|valid|ok)\b",
    re.IGNORECASE,
)
_ADDRESS: Final = re.compile(r"https?://[^\s'\"<>)\]]+", re.IGNORECASE)
_NUMBER: Final = re.compile(r"\d+")
# Errors may be megabytes long: so much of the beginning is read, and of the end, where a traceback says what it was.
_READ: Final = 10_000


def refuses_access(error: str) -> bool:
    """Whether the text says that a token, a permission or a consent has ended or is not accepted.

    Case does not matter. A number in an address, a row number and the name of a table or column are no sign.
    """
    whole = error if len(error) <= 2 * _READ else f"{error[:_READ]} {error[-_READ:]}"
    text = " ".join(whole.split())
    text = _ADDRESS.sub(lambda found: _NUMBER.sub("", found[0]), text)
    return _SIGNS.search(_HARMLESS.sub(" ", text)) is not None
