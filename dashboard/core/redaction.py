"""Removal of secrets from texts that leave the console: passwords, tokens, keys, URLs.

Error texts of other systems may quote whatever these received. What only looks like a secret is
removed as well: a missing id does no harm.
"""

import re
from typing import Final

HIDDEN: Final = "[hidden]"
_NAME = (
    r"(?:[\w-]{0,30}(?:pass(?:word|wd|phrase|code)?|pwd|secret|token|api[_-]?key|access[_-]?key"
    r"|account[_-]?key|private[_-]?key|credentials?|signature|session(?:[_-]?id)?|cookie"
    r"|authorization|client[_-]?id)[\w-]{0,30}|sig|auth|pin|otp|jwt)"
)
_ASSIGNED = r"[\"'\\]*\s*(?:=>|[=:])\s*"
_QUOTED = r"\"(?:[^\"\\]|\\.)*\"|'(?:[^'\\]|\\.)*'|“[^”]*”|‘[^’]*’|`[^`]*`"
_SCHEME = r"\b([a-z][a-z0-9+.-]{1,20}://)"
# The order matters: patterns with a distinct shape go first, so that they match as a whole.
_OUT: Final = tuple(
    (re.compile(pattern, re.IGNORECASE | re.DOTALL), instead)
    for pattern, instead in (
        # PEM keys, also without their end.
        (r"-----BEGIN [A-Z ]+-----.*?(?:-----END [A-Z ]+-----|\Z)", HIDDEN),
        # A URL keeps scheme and host: paths of webhooks are secrets, queries carry tokens, and
        # user names have passwords.
        (
            _SCHEME
            + r"(?:[^\s/?#\"'<>]*@)?([\w.-]+(?::\d+)?|\[[0-9a-f:]+\](?::\d+)?)"
            + r"[/?#][^\s\"'<>“”)\]]*",
            r"\1\2/…",
        ),
        (_SCHEME + r"[^\s/?#\"'<>]*@", r"\1"),
        (r"(?<![^\s@/:;,\"'<>])[^\s@/:;,\"'<>]++:[^\s@/\"'<>]++@(?=[\w.-])", f"{HIDDEN}@"),
        # A path with a query, as in request lines.
        (r"(?<![^\s?\"'<>“”)\]])([^\s?\"'<>/“”)\]]*+/[^\s?\"'<>]*+)\?[^\s\"'<>“”)\]]+", r"\1?…"),
        # Headers.
        (r"\b((?:set-)?cookie)\s*:\s*[^\r\n]+", rf"\1: {HIDDEN}"),
        (
            r"\b((?:proxy-)?authorization)[\"']?\s*[:=]\s*[\"']?"
            r"(?:(?:bearer|basic|digest|jwt|token|apikey|negotiate|aws4-\S+)\s+)?[^\s\"',;}]+",
            rf"\1: {HIDDEN}",
        ),
        (r"\b(bearer|basic|jwt)\s+(?=[\w+/=.~-]*[\d.=_-])[\w+/=.~-]{6,}", rf"\1 {HIDDEN}"),
        # <password>…</password>
        (rf"<({_NAME})\b[^>]*>[^<]*(?:</\1>|\Z)", rf"\1 {HIDDEN}"),
        # name=value, "name": "value", name => value
        (
            r"\b((?:[\w-]{0,30}_)?(?:pass(?:word|phrase|wd)|secret))\s*:\s+"
            r"(?![\"'“‘`\\])[^,;}\r\n]+",
            rf"\1 {HIDDEN}",
        ),
        (
            rf"\b({_NAME}){_ASSIGNED}"
            rf"(?:\[hidden\]|\\?(?:{_QUOTED})|\\?\"[^\"\\]*\\?\"?|[^\s,;&}})\]\"']+)",
            rf"\1 {HIDDEN}",
        ),
        # password "value", password is val1e
        (rf"\b({_NAME})[ \t]+((?:(?:is|was|of|for)\s+)?)(?:{_QUOTED})", rf"\1 \2{HIDDEN}"),
        (
            rf"\b({_NAME})[ \t]+(?:(?:is|was)\s+)?(?=[^\s,;]*[\d$!#%^&*+])[^\s,;]{{4,}}",
            rf"\1 {HIDDEN}",
        ),
        # Known prefixes, and JSON Web Tokens.
        (
            r"\b(?:sk|pk|rk|pat|pc|gh[oprsu]|github_pat|glpat|xox[a-z]|shp(?:at|ss|ca|pa)|ya29"
            r"|whsec|key)[-_.][\w.+/=-]{6,}",
            HIDDEN,
        ),
        (r"\b(?:AKIA|ASIA|AIza)[\w-]{12,}", HIDDEN),
        (r"\bey[JI][\w-]{8,}(?:\.[\w-]*){0,3}", HIDDEN),
        # Long and random: with a digit, or of letters in both cases.
        (r"(?<![\w+/=-])(?=[\w+/=-]*[a-z])(?=[\w+/=-]*\d)[\w+/=-]{20,}", HIDDEN),
        (
            r"(?<![\w+/=-])(?-i:(?=[A-Za-z]*[a-z][A-Z])"
            r"(?=[A-Za-z]*[A-Z]{2}|[A-Za-z]*[a-z][A-Z][a-z]?[A-Z]))[A-Za-z]{32,}",
            HIDDEN,
        ),
        (r"\b(?=[a-f]*\d)[0-9a-f]{16,}\b", HIDDEN),
    )
)
# Longer texts are cut before the patterns run: an error may have megabytes.
_READ = 4_000


def scrubbed(text: str, most: int = 300) -> str:
    """Return the text on one line without secrets, at most ``most`` characters long."""
    # Control characters go first: one inside a word would hide a secret from the patterns.
    text = _without_controls(text[:_READ])
    for pattern, instead in _OUT:
        text = pattern.sub(instead, text)
    text = " ".join(text.split())
    return text if len(text) <= most else text[: most - 1] + "…"


def one_line(text: str) -> str:
    """Put a text on one line, without control and invisible characters."""

    return " ".join(_without_controls(text).split())


def _without_controls(text: str) -> str:
    return "".join(
        character for character in text if character.isprintable() or character.isspace()
    )
