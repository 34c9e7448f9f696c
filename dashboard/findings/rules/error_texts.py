"""Normalise error texts: the same error of 300 customers becomes one text."""

import re
from functools import lru_cache
from typing import Final

LONGEST = 400
# The order matters: an address contains numbers and hosts, a date contains numbers.
_OUT: Final = (
    (r"\b[a-z][a-z0-9+.-]*://[^\s'\"<>)\]]+", "<url>"),
    (r"(?<![\w.+-])[\w.+-]++@[\w-]+(?:\.[\w-]+)+", "<address>"),
    (r"\b[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}\b", "<id>"),
    (r"“[^”]*”|\"[^\"]*\"|'[^']{0,200}'(?![a-z])|`[^`]*`", "<value>"),
    (r"\b\d{4}-\d\d-\d\d(?:[T ]\d\d:\d\d(?::\d\d(?:\.\d+)?)?(?:Z|[+-]\d\d:?\d\d)?)?", "<time>"),
    (r"\b\d{1,2}[/.]\d{1,2}[/.]\d{2,4}\b", "<time>"),
    (r"\b\d{1,2} (?:jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec)[a-z]*\.? \d{4}\b", "<time>"),
    (r"\b\d{1,2}:\d\d(?::\d\d)?\b", "<time>"),
    (r"\b(?:\d{1,3}\.){3}\d{1,3}(?::\d+)?\b", "<host>"),
    (r"\b(?:[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?\.){1,20}"
     r"(?:com|net|org|io|eu|be|nl|de|fr|uk|dk|cloud|app|dev|local|internal)\b(?::\d+)?", "<host>"),
    (r"\b(?=[a-z_-]*+\d)[a-z0-9_-]{16,}\b|\b(?=[a-f]*\d)[0-9a-f]{8,}\b", "<id>"),
    (r"[+-]?\d+(?:[.,]\d+)*", "#"),
    (r"\s+", " "),
)  # fmt: skip
_PATTERNS: Final = tuple((re.compile(pattern, re.IGNORECASE), instead) for pattern, instead in _OUT)


@lru_cache(1024)
def normalised(text: str) -> str:
    """Return the text in lower case with placeholders for what differs between customers.

    Replaces URLs, addresses, ids, times, hosts, quoted values and numbers. At most 400 characters.
    """
    text = text[: 4 * LONGEST]
    for pattern, instead in _PATTERNS:
        text = pattern.sub(instead, text)
    return text.strip().lower()[:LONGEST]


def span(seconds: float) -> str:
    """Return a duration in its two largest units: ``9 d 4 h``, ``2 h 15 min``, ``40 s``."""
    minutes, rest = divmod(round(max(0.0, seconds)), 60)
    hours, minutes = divmod(minutes, 60)
    days, hours = divmod(hours, 24)
    parts = [
        f"{count} {unit}"
        for count, unit in ((days, "d"), (hours, "h"), (minutes, "min"), (rest, "s"))
        if count
    ]
    return " ".join(parts[:2]) or "0 s"
