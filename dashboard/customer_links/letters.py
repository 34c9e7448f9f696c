"""Messages to customers, in their language. The texts are in ``messages/<language>.txt``.

A file has one text under each ``# heading``, with placeholders in braces. All languages have the
same headings.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cache
from typing import Final
from urllib.parse import quote, urlencode
from zoneinfo import ZoneInfo

from dashboard.core.paths import ASSETS
from dashboard.core.redaction import one_line
from dashboard.customer_links.limits import LONGEST_MAILTO, LONGEST_NAME

LANGUAGES: Final = ("en", "nl", "fr", "de", "es")
# Rules with a text of their own; all others share a general text.
EXPLAINED: Final = ("auth_failed", "consent_expiring")
_HEADING: Final = re.compile(r"^# (\w+)\n", re.MULTILINE)
_WORD: Final = re.compile(r"\{(\w+)\}")


@dataclass(frozen=True)
class MessageTemplate:
    """The content of a message.

    ``kind``: of the link's action; ``rule``: of the finding; ``service``: name of the connection.
    """

    kind: str
    rule: str | None
    account: str
    service: str
    url: str
    good_until: datetime
    is_reminder: bool = False


@dataclass(frozen=True)
class CustomerMessage:
    """A message ready to send, as plain text."""

    language: str
    subject: str
    body: str

    def mailto(self, recipient: str = "") -> str:
        """Return a mailto address with the message (RFC 6068: percent-encoded, CRLF lines)."""
        fields = {"subject": self.subject, "body": self.body.replace("\n", "\r\n")}
        return f"mailto:{quote(recipient, safe='@')}?{urlencode(fields, quote_via=quote, safe='')}"

    @property
    def may_be_cut(self) -> bool:
        """Whether some mail programs may cut the message."""
        return len(self.mailto()) > LONGEST_MAILTO


def choices() -> list[tuple[str, str]]:
    """Return the languages, each with its code and its own name."""
    return [(code, texts(code)["name"]) for code in LANGUAGES]


def in_english(language: str | None) -> str:
    """Return the English name of a language."""
    return texts(language)["english"] if language in LANGUAGES else "another language"


def write(language: str, about: MessageTemplate, at: datetime, zone: ZoneInfo) -> CustomerMessage:
    """Return the message in a language, with times in ``zone``."""
    phrases = texts(language)
    names = {"account": _one_line(about.account), "service": _one_line(about.service)}
    subject = _fill(phrases[f"subject_{about.kind}"], names)
    if about.is_reminder:
        subject = _fill(phrases["subject_reminder"], {"subject": subject})
    cause = (
        "invite" if about.kind == "invite" else about.rule if about.rule in EXPLAINED else "other"
    )
    until = {
        "until": _date(phrases, about.good_until.astimezone(zone)),
        "left": _left(phrases, about.good_until - at),
    }
    paragraphs = (
        phrases["greeting"],
        phrases["reminder"] if about.is_reminder else "",
        _fill(phrases[f"cause_{cause}"], names),
        _fill(phrases[f"do_{about.kind}"], names),
        about.url,
        _fill(phrases["until"], until),
        phrases["safety"],
        phrases["closing"],
    )
    return CustomerMessage(language, subject, "\n\n".join(filter(None, paragraphs)) + "\n")


@cache
def texts(language: str) -> Mapping[str, str]:
    """Return a language's texts by heading."""
    file = ASSETS / "messages" / f"{language}.txt"
    parts = _HEADING.split(file.read_text("utf-8"))
    return {name: text.strip() for name, text in zip(parts[1::2], parts[2::2], strict=True)}


def _fill(text: str, words: Mapping[str, str]) -> str:
    """Fill in the placeholders once: braces in the values stay as they are."""
    return _WORD.sub(lambda found: words[found.group(1)], text)


def _one_line(name: str) -> str:
    """Return a name shortened to one line, fit for a subject."""
    plain = one_line(name)
    return plain if len(plain) <= LONGEST_NAME else plain[: LONGEST_NAME - 1] + "…"


def _date(phrases: Mapping[str, str], local: datetime) -> str:
    month = phrases["months"].split()[local.month - 1]
    values = {
        "day": str(local.day),
        "month": month,
        "year": str(local.year),
        "time": f"{local:%H:%M %Z}",
    }
    return _fill(phrases["date"], values)


def _left(phrases: Mapping[str, str], left: timedelta) -> str:
    hours = int(left.total_seconds() // 3600)
    if hours < 1:
        return phrases["soon"]
    return phrases["hour"] if hours == 1 else _fill(phrases["hours"], {"count": str(hours)})
