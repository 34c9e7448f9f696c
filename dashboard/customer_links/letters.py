"""Messages to customers who must act, in their language. The texts are plain files, ``messages/<language>.txt``.

A file has one text under each ``# heading``; words in braces are filled in. Every language has the same headings.
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

LANGUAGES: Final = ("en", "nl", "fr", "de", "es")
# Rules that the texts explain; whatever else is wrong is explained in general words.
EXPLAINED: Final = ("auth_failed", "consent_expiring")
# Beyond this, some mail programs cut an address off, and with it the message.
LONGEST_MAILTO: Final = 2000
LONGEST_NAME: Final = 120
_HEADING: Final = re.compile(r"^# (\w+)\n", re.MULTILINE)
_WORD: Final = re.compile(r"\{(\w+)\}")


@dataclass(frozen=True)
class MessageTemplate:
    """What a message is about. ``kind``: that of the link; ``rule``: what was wrong; ``service``: as the customer calls it."""

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
        """An address that opens the message in the mail program (RFC 6068: everything percent-encoded, lines end in CRLF)."""
        told = {"subject": self.subject, "body": self.body.replace("\n", "\r\n")}
        return f"mailto:{quote(recipient, safe='@')}?{urlencode(told, quote_via=quote, safe='')}"

    @property
    def may_be_cut(self) -> bool:
        """Whether some mail programs would not take all of it."""
        return len(self.mailto()) > LONGEST_MAILTO


def choices() -> list[tuple[str, str]]:
    """The languages, each by its code and its own name."""
    return [(code, texts(code)["name"]) for code in LANGUAGES]


def in_english(language: str | None) -> str:
    """What a language is called here."""
    return texts(language)["english"] if language in LANGUAGES else "another language"


def write(language: str, about: MessageTemplate, at: datetime, zone: ZoneInfo) -> CustomerMessage:
    """The message at a moment, its times in a zone."""
    said = texts(language)
    names = {"account": _one_line(about.account), "service": _one_line(about.service)}
    subject = _fill(said[f"subject_{about.kind}"], names)
    if about.is_reminder:
        subject = _fill(said["subject_reminder"], {"subject": subject})
    cause = (
        "invite" if about.kind == "invite" else about.rule if about.rule in EXPLAINED else "other"
    )
    until = {
        "until": _date(said, about.good_until.astimezone(zone)),
        "left": _left(said, about.good_until - at),
    }
    paragraphs = (
        said["greeting"],
        said["reminder"] if about.is_reminder else "",
        _fill(said[f"cause_{cause}"], names),
        _fill(said[f"do_{about.kind}"], names),
        about.url,
        _fill(said["until"], until),
        said["safety"],
        said["closing"],
    )
    return CustomerMessage(language, subject, "\n\n".join(filter(None, paragraphs)) + "\n")


@cache
def texts(language: str) -> Mapping[str, str]:
    """A language's texts by heading."""
    file = ASSETS / "messages" / f"{language}.txt"
    parts = _HEADING.split(file.read_text("utf-8"))
    return {name: text.strip() for name, text in zip(parts[1::2], parts[2::2], strict=True)}


def _fill(text: str, words: Mapping[str, str]) -> str:
    """Words in their places. What is put in is never looked at again, whatever braces it has."""
    return _WORD.sub(lambda found: words[found.group(1)], text)


def _one_line(name: str) -> str:
    """A name from outside, fit for a subject."""
    plain = one_line(name)
    return plain if len(plain) <= LONGEST_NAME else plain[: LONGEST_NAME - 1] + "…"


def _date(said: Mapping[str, str], local: datetime) -> str:
    month = said["months"].split()[local.month - 1]
    told = {
        "day": str(local.day),
        "month": month,
        "year": str(local.year),
        "time": f"{local:%H:%M %Z}",
    }
    return _fill(said["date"], told)


def _left(said: Mapping[str, str], left: timedelta) -> str:
    hours = int(left.total_seconds() // 3600)
    if hours < 1:
        return said["soon"]
    return said["hour"] if hours == 1 else _fill(said["hours"], {"count": str(hours)})
