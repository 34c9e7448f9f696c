"""Texts that leave the console, without what nobody outside may read: passwords, tokens, keys, and what addresses carry.

An error of a source's is written by somebody else and may quote whatever it was sent. What merely looks like a secret is taken
out as well: an id that is missing harms nobody.
"""

import re
from typing import Final

HIDDEN: Final = "[hidden]"
_NAME = (
    r"(?:[\w-]{0,30}(?:pass(?:word|wd|phrase|code)?|pwd|secret|token|api[_-]?key|access[_-]?key|account[_-]?key|private[_-]?key"
    r"|credentials?|signature|session(?:[_-]?id)?|cookie|authorization|client[_-]?id)[\w-]{0,30}|sig|auth|pin|otp|jwt)"
)
_ASSIGNED = r"[\"'\\]*\s*(?:=>|[=:])\s*"
_QUOTED = r"\"(?:[^\"\\]|\\.)*\"|'(?:[^'\\]|\\.)*'|“[^”]*”|‘[^’]*’|`[^`]*`"
# In this order: what has a shape of its own first, so that nothing of it is left over.
_OUT: Final = tuple(
    (re.compile(pattern, re.IGNORECASE | re.DOTALL), instead)
    for pattern, instead in (
        # Keys in armour, whole or cut off.
        (r"-----BEGIN [A-Z ]+-----.*?(?:-----END [A-Z ]+-----|\Z)", HIDDEN),
        # An address keeps its scheme and host: paths of webhooks are secrets, queries carry tokens, users have passwords.
        (r"\b([a-z][a-z0-9+.-]{1,20}://)(?:[^\s/?#\"'<>]*@)?([\w.-]+(?::\d+)?|\[[0-9a-f:]+\](?::\d+)?)[/?#][^\s\"'<>“”)\]]*",
         r"\1\2/…"),
        (r"\b([a-z][a-z0-9+.-]{1,20}://)[^\s/?#\"'<>]*@", r"\1"),
        (r"(?<![^\s@/:;,\"'<>])[^\s@/:;,\"'<>]++:[^\s@/\"'<>]++@(?=[\w.-])", f"{HIDDEN}@"),
        # A path with a query, as request lines have it.
        (r"(?<![^\s?\"'<>“”)\]])([^\s?\"'<>/“”)\]]*+/[^\s?\"'<>]*+)\?[^\s\"'<>“”)\]]+", r"\1?…"),
        # Headers.
        (r"\b((?:set-)?cookie)\s*:\s*[^\r\n]+", rf"\1: {HIDDEN}"),
        (r"\b((?:proxy-)?authorization)[\"']?\s*[:=]\s*[\"']?(?:(?:bearer|basic|digest|jwt|token|apikey|negotiate|aws4-\S+)\s+)?[^\s\"',;}]+",
         rf"\1: {HIDDEN}"),
        (r"\b(bearer|basic|jwt)\s+(?=[\w+/=.~-]*[\d.=_-])[\w+/=.~-]{6,}", rf"\1 {HIDDEN}"),
        # <password>…</password>
        (rf"<({_NAME})\b[^>]*>[^<]*(?:</\1>|\Z)", rf"\1 {HIDDEN}"),
        # name=value, "name": "value", name => value
        (r"\b((?:[\w-]{0,30}_)?(?:pass(?:word|phrase|wd)|secret))\s*:\s+(?![\"'“‘`\\])[^,;}\r\n]+", rf"\1 {HIDDEN}"),
        (rf"\b({_NAME}){_ASSIGNED}(?:\[hidden\]|\\?(?:{_QUOTED})|\\?\"[^\"\\]*\\?\"?|[^\s,;&}})\]\"']+)", rf"\1 {HIDDEN}"),
        # password "value", password is val1e
        (rf"\b({_NAME})[ \t]+((?:(?:is|was|of|for)\s+)?)(?:{_QUOTED})", rf"\1 \2{HIDDEN}"),
        (rf"\b({_NAME})[ \t]+(?:(?:is|was)\s+)?(?=[^\s,;]*[\d$!#%^&*+])[^\s,;]{{4,}}", rf"\1 {HIDDEN}"),
        # Known beginnings, and JSON Web Tokens.
        (r"\b(?:sk|pk|rk|pat|pc|gh[oprsu]|github_pat|glpat|xox[a-z]|shp(?:at|ss|ca|pa)|ya29|whsec|key)[-_.][\w.+/=-]{6,}",
         HIDDEN),
        (r"\b(?:AKIA|ASIA|AIza)[\w-]{12,}", HIDDEN),
        (r"\bey[JI][\w-]{8,}(?:\.[\w-]*){0,3}", HIDDEN),
        # Whatever else is long and looks like chance: with a digit, or of letters both large and small.
        (r"(?<![\w+/=-])(?=[\w+/=-]*[a-z])(?=[\w+/=-]*\d)[\w+/=-]{20,}", HIDDEN),
        (r"(?<![\w+/=-])(?-i:(?=[A-Za-z]*[a-z][A-Z])(?=[A-Za-z]*[A-Z]{2}|[A-Za-z]*[a-z][A-Z][a-z]?[A-Z]))[A-Za-z]{32,}", HIDDEN),
        (r"\b(?=[a-f]*\d)[0-9a-f]{16,}\b", HIDDEN),
    )
)  # fmt: skip
# What is read at all: an error may be megabytes long.
_READ = 4_000


def scrubbed(text: str, most: int = 300) -> str:
    """The text on one line without secrets, at most so many characters."""
    # Control characters first: one of them within a word would keep a secret from being seen.
    text = _without_controls(text[:_READ])
    for pattern, instead in _OUT:
        text = pattern.sub(instead, text)
    text = " ".join(text.split())
    return text if len(text) <= most else text[: most - 1] + "…"


def one_line(text: str) -> str:
    """Put a text on one line, without control characters and other invisible ones."""
    return " ".join(_without_controls(text).split())


def _without_controls(text: str) -> str:
    return "".join(
        character for character in text if character.isprintable() or character.isspace()
    )
