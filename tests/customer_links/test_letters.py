"""Messages to customers: every language has every text, and the values in them are safe."""

import re
from datetime import UTC, datetime, timedelta
from email.message import EmailMessage
from urllib.parse import parse_qsl, unquote, urlsplit
from zoneinfo import ZoneInfo

import pytest

from dashboard.actions.service import LINKS
from dashboard.core.paths import ASSETS
from dashboard.customer_links import letters
from dashboard.customer_links.letters import (
    LANGUAGES,
    CustomerMessage,
    MessageTemplate,
    texts,
    write,
)
from dashboard.findings.rules.definitions import BY_NAME

AT = datetime(2026, 7, 23, 12, 5, tzinfo=UTC)
URL = "https://login.example.com/oauth?state=a%2Fb&scope=read+write#x"
BRUSSELS = ZoneInfo("Europe/Brussels")
HOSTILE = "Evil\r\nBcc: all@example.com\x00 {url} <script>alert(1)</script> \u202e&?%0A" + "x" * 300


def occasion(**changes: object) -> MessageTemplate:
    values = {
        "kind": "reauthorise",
        "rule": "auth_failed",
        "account": "Amber Foods BV",
        "service": "Exact Online main",
        "url": URL,
        "good_until": AT + timedelta(hours=23, minutes=30),
        **changes,
    }
    return MessageTemplate(**values)


def test_there_is_a_file_for_every_language_and_none_that_nobody_can_choose() -> None:
    assert {path.stem for path in (ASSETS / "messages").iterdir()} == set(LANGUAGES)
    assert [name for _, name in letters.choices()] == [
        "English",
        "Nederlands",
        "Français",
        "Deutsch",
        "Español",
    ]
    assert [letters.in_english(code) for code in LANGUAGES] == [
        "English",
        "Dutch",
        "French",
        "German",
        "Spanish",
    ]


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_language_has_every_text_with_the_same_words_to_fill_in(language: str) -> None:
    english, theirs = texts("en"), texts(language)
    assert list(theirs) == list(english)
    for heading, text in theirs.items():
        assert text, heading
        # Placeholders of a sentence: every language uses exactly these.
        assert set(re.findall(r"\{\w+\}", text)) == set(re.findall(r"\{\w+\}", english[heading])), (
            heading
        )
    assert len(theirs["months"].split()) == 12


def test_no_two_languages_say_the_same() -> None:
    for heading, english in texts("en").items():
        if len(english.split()) > 4 and heading != "months":
            assert len({texts(language)[heading] for language in LANGUAGES}) == len(LANGUAGES), (
                heading
            )


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("kind", LINKS)
@pytest.mark.parametrize("rule", [*BY_NAME, None, "a_rule_of_tomorrow"])
def test_a_message_has_its_link_alone_on_a_line_until_when_it_is_good_and_nothing_left_to_fill_in(
    language: str, kind: str, rule: str | None
) -> None:
    for is_reminder in (False, True):
        letter = write(
            language, occasion(kind=kind, rule=rule, is_reminder=is_reminder), AT, BRUSSELS
        )
        assert URL in letter.body.splitlines()
        assert not re.search(r"\{\w+\}", letter.subject + letter.body)
        assert "Amber Foods BV" in letter.subject
        assert "Exact Online main" in letter.body
        assert "2026, 13:35 CEST" in letter.body
        assert "23" in letter.body
        assert "\n\n\n" not in letter.body
        assert "\n" not in letter.subject
        assert (texts(language)["reminder"] in letter.body) is is_reminder


def test_the_cause_is_said_by_the_rule_and_in_general_words_where_none_is_written() -> None:
    messages = texts("en")
    for rule, kind, cause in [
        ("auth_failed", "reauthorise", "cause_auth_failed"),
        ("consent_expiring", "saltedge_refresh", "cause_consent_expiring"),
        ("dark", "saltedge_refresh", "cause_other"),
        (None, "reauthorise", "cause_other"),
        ("auth_failed", "invite", "cause_invite"),
    ]:
        body = write("en", occasion(rule=rule, kind=kind), AT, BRUSSELS).body
        assert messages[cause].split("{")[0].strip()[:25] in body
        filled = (
            messages[cause]
            .replace("{service}", "Exact Online main")
            .replace("{account}", "Amber Foods BV")
        )
        assert filled in body, cause


@pytest.mark.parametrize(
    ("remaining", "says"),
    [
        (timedelta(hours=23, minutes=59), "23 Stunden"),
        (timedelta(hours=2), "2 Stunden"),
        (timedelta(hours=1, minutes=59), "eine Stunde"),
        (timedelta(minutes=59), "weniger als eine Stunde"),
        (timedelta(minutes=-5), "weniger als eine Stunde"),
    ],
)
def test_how_long_a_link_is_good_for_is_said_in_words(remaining: timedelta, says: str) -> None:
    assert f"(noch {says})" in write("de", occasion(good_until=AT + remaining), AT, BRUSSELS).body


def test_dates_are_written_as_the_language_writes_them() -> None:
    bodies = {language: write(language, occasion(), AT, BRUSSELS).body for language in LANGUAGES}
    days = {
        "en": "24 July 2026",
        "nl": "24 juli 2026",
        "fr": "24 juillet 2026",
        "de": "24. Juli 2026",
        "es": "24 de julio de 2026",
    }
    assert all(day in bodies[language] for language, day in days.items())


@pytest.mark.parametrize("language", LANGUAGES)
def test_the_mail_program_gets_exactly_the_message_whatever_is_in_it(language: str) -> None:
    for about in (occasion(), occasion(account=HOSTILE, service=HOSTILE, is_reminder=True)):
        letter = write(language, about, AT, BRUSSELS)
        address = letter.mailto("ann+x@example.com")
        assert re.fullmatch(r"[A-Za-z0-9._~@?&=:%+-]+", address)
        # Not in a form's encoding: its plus for a space would be shown by a mail program.
        assert "+" not in address.split("?")[1]
        parts = urlsplit(address)
        assert (parts.scheme, unquote(parts.path), parts.fragment) == (
            "mailto",
            "ann+x@example.com",
            "",
        )
        fields = [pair.split("=") for pair in parts.query.split("&")]
        assert [name for name, _ in fields] == ["subject", "body"]
        subject, body = (unquote(value) for _, value in fields)
        assert subject == letter.subject
        assert body == letter.body.replace("\n", "\r\n")
        assert dict(parse_qsl(parts.query))["body"] == body
    assert write(language, occasion(), AT, BRUSSELS).mailto().startswith("mailto:?subject=")


def test_a_name_from_outside_stays_on_its_line_and_is_never_filled_in_again() -> None:
    letter = write("en", occasion(account=HOSTILE, service=HOSTILE), AT, BRUSSELS)
    EmailMessage()["Subject"] = letter.subject  # Raises if it has a line break.
    assert "\u202e" not in letter.subject + letter.body
    assert "\0" not in letter.subject + letter.body
    assert "Evil Bcc: all@example.com {url} <script>" in letter.subject
    assert "x" * 121 not in letter.body
    assert letter.body.count(URL) == 1
    assert not [line for line in letter.body.splitlines() if line.startswith("Bcc")]


def test_a_message_that_mail_programs_would_cut_off_says_so() -> None:
    assert not write("en", occasion(), AT, BRUSSELS).may_be_cut
    assert write("en", occasion(url="https://example.com/" + "x" * 1500), AT, BRUSSELS).may_be_cut
    assert CustomerMessage("en", "s", "é" * 400).may_be_cut
