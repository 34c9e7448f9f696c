"""The report of changes since a time: counted from findings, equal in each format."""

import random
from datetime import timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from bs4 import BeautifulSoup
from flask import Flask
from markdown_it import MarkdownIt

from dashboard.core.database import db
from dashboard.fleet.models import Account
from dashboard.reports.since import queries as since_report
from dashboard.reports.since import views as reports
from tests.support.fleet_factory import AT, add_cause, add_finding, ago, reset_fleet
from tests.support.people import words

pytestmark = pytest.mark.both_engines


HOSTILE = "<script>alert(1)</script> [click](javascript:alert(1)) *bold* a_b_c\x1b[31m\nsecond line"


@pytest.fixture(autouse=True)
def context(app: Flask) -> Any:
    with app.app_context():
        yield


def written(app: Flask, name: str, hours: float = 16) -> str:
    found = since_report.read(ago(hours=hours), AT)
    return reports.write(
        app.jinja_env,
        name,
        found,
        ZoneInfo("Europe/Brussels"),
        lambda endpoint, number: f"{endpoint}/{number}",
    )


def make_up_a_fleet() -> None:
    """Add one cause of each kind of change, a suppressed one, and two unreadable accounts."""
    reset_fleet({"error": 9, "ok": 180})
    new = add_cause("auth_failed", "xero", example="401 invalid_grant", owner="olga@example.com")
    for account_id in (1001, 1002):
        add_finding(new, account_id, account_id * 100 + 1, ago(hours=3))
    worse = add_cause("failing", "odoo", "warning", "502 Bad Gateway")
    add_finding(worse, 1003, 100301, ago(days=2))
    add_finding(worse, 1003, 100302, ago(hours=1))
    well = add_cause("stuck_run", "netsuite", example="It had gone on for 5 h.")
    add_finding(well, 1004, 100401, ago(days=1), ago(hours=2))
    still = add_cause("disabled", "shopify", "warning", "It is switched off (DISABLED).")
    add_finding(still, 1005, 100501, ago(days=9))
    add_finding(still, 1006, 100601, ago(days=9), ago(hours=5))
    steady = add_cause("late", "yuki", "warning", "The last success was 9 h before it was read.")
    add_finding(steady, 1007, 100701, ago(days=3))
    suppressed = add_cause("noisy", "xero", "info", state="suppressed")
    add_finding(suppressed, 1008, 100801, ago(hours=2))
    over = add_cause("dark", "yuki")
    add_finding(over, 1009, 100901, ago(days=4), ago(days=1))
    for account_id, seen in ((1010, ago(days=2)), (1011, ago(hours=4))):
        add_finding(
            add_cause("account_unreadable", "", example=f"403 for {account_id}"),
            account_id,
            None,
            seen,
        )
        account = db.session.get_one(Account, account_id)
        account.name, account.unreadable_reason = f"Customer {account_id}", f"403 for {account_id}"
    db.session.commit()


def test_a_report_of_a_made_up_fleet_is_this_text(app: Flask) -> None:
    make_up_a_fleet()
    ids = {
        line.title: line.id
        for line in (
            *since_report.read(ago(hours=16), AT).open,
            *since_report.read(ago(hours=16), AT).recovered,
        )
    }
    expected = f"""\
Connections of all customers, Tue 31 Mar 09:12 CEST
As of Tue 31 Mar 09:10 CEST: 58 of 60 accounts read.
Since Mon 30 Mar 17:12 CEST (16 h): 1 new, 1 worse, 1 recovered, 1 became unreadable.
Now: 4 open causes, 1 of them for over 7 days; 1 suppressed.
Connections: 9 error, 0 attention, 0 unknown, 0 busy, 0 off, 180 ok.

CAUSES, WORST FIRST
- NEW. Critical: Access is refused: xero
  2 connections of 2 accounts, since Tue 31 Mar 06:12 CEST. On it: olga@example.com.
  401 invalid_grant
  causes.show/{ids["Access is refused: xero"]}
- WORSE. Warning: Runs fail: odoo
  2 connections of 1 account (1 more), since Sun 29 Mar 09:12 CEST. Nobody is on it.
  502 Bad Gateway
  causes.show/{ids["Runs fail: odoo"]}
- Warning: Switched off: shopify
  1 connection of 1 account (1 fewer), since Sun 22 Mar 08:12 CET. Nobody is on it.
  It is switched off (DISABLED).
  causes.show/{ids["Switched off: shopify"]}
- Warning: Data is late: yuki
  1 connection of 1 account, since Sat 28 Mar 08:12 CET. Nobody is on it.
  The last success was 9 h before it was read.
  causes.show/{ids["Data is late: yuki"]}

RECOVERED
- Critical: A run is stuck: netsuite
  1 connection of 1 account, recovered Tue 31 Mar 07:12 CEST. Nobody is on it.
  It had gone on for 5 h.
  causes.show/{ids["A run is stuck: netsuite"]}

CANNOT BE READ
- Customer 1011 (new), since Tue 31 Mar 05:12 CEST. Nobody is on it.
  403 for 1011
  accounts.show/1011
- Customer 1010, since Sun 29 Mar 09:12 CEST. Nobody is on it.
  403 for 1010
  accounts.show/1010
"""
    assert written(app, "report.txt") == expected


def test_the_hand_over_has_each_cause_once_under_what_became_of_it(app: Flask) -> None:
    make_up_a_fleet()
    text = written(app, "handover.txt")
    assert "1 new, 1 worse, 1 recovered, 1 became unreadable, 1 open for over 7 days.\n" in text
    titles = [line for line in text.splitlines() if line.isupper() or line.startswith("- ")]
    assert titles == [
        "NEW", "- Critical: Access is refused: xero",
        "WORSE", "- Warning: Runs fail: odoo",
        "RECOVERED", "- Critical: A run is stuck: netsuite",
        "OPEN FOR OVER 7 DAYS", "- Warning: Switched off: shopify",
        "CANNOT BE READ",
        "- Customer 1011 (new), since Tue 31 Mar 05:12 CEST. Nobody is on it.",
        "- Customer 1010, since Sun 29 Mar 09:12 CEST. Nobody is on it.",
    ]  # fmt: skip
    assert text.endswith(
        "\n1 more open, for less than 7 days and no worse than then. 1 suppressed.\n"
    )


def test_markdown_and_html_say_the_same_as_the_text(app: Flask) -> None:
    make_up_a_fleet()
    drawn = BeautifulSoup(MarkdownIt().render(written(app, "report.md")), "html.parser")
    page = BeautifulSoup(written(app, "report.html"), "html.parser")
    for soup in (drawn, page):
        assert [each.text for each in soup.find_all(["h1", "h2"])] == [
            "Connections of all customers, Tue 31 Mar 09:12 CEST",
            "Causes, worst first",
            "Recovered",
            "Cannot be read",
        ]
        text = " ".join(soup.get_text().split())
        for sentence in (
            "58 of 60 accounts read",
            "1 new, 1 worse, 1 recovered, 1 became unreadable",
            "401 invalid_grant",
        ):
            assert sentence in text
        assert [link.text for link in soup.select("a")] == [
            "Access is refused: xero", "Runs fail: odoo", "Switched off: shopify",
            "Data is late: yuki", "A run is stuck: netsuite", "Customer 1011", "Customer 1010",
        ]  # fmt: skip
    assert page.html is not None
    assert page.select_one("head > style")


def test_an_empty_fleet_is_said_in_words(app: Flask) -> None:
    reset_fleet()
    for name in ("report.txt", "report.md", "report.html"):
        text = written(app, name)
        for sentence in (
            "Nothing is wrong, as far as it was read.",
            "Nothing recovered.",
            "Every account could be read.",
        ):
            assert sentence in text, name


def test_what_came_from_outside_stays_text_in_every_format(app: Flask) -> None:
    reset_fleet()
    cause = add_cause("failing", "a|b_c*d", example=HOSTILE)
    add_finding(cause, 1001, 100101, ago(hours=1))
    text = written(app, "report.txt")
    assert "\x1b" not in text
    assert "\nsecond line" not in text
    page = BeautifulSoup(written(app, "report.html"), "html.parser")
    assert not page.select("script")
    assert "<script>alert(1)</script> [click](javascript:alert(1))" in words(page)
    drawn = BeautifulSoup(MarkdownIt().render(written(app, "report.md")), "html.parser")
    assert not drawn.select("script, em")
    assert [link.text for link in drawn.select("a")] == ["Runs fail: a|b_c*d"]
    assert (
        "<script>alert(1)</script> [click](javascript:alert(1)) *bold* a_b_c[31m second line"
        in words(drawn)
    )


@pytest.mark.parametrize("seed", range(6))
def test_the_numbers_on_the_overview_are_those_of_the_lists_whatever_happened(seed: int) -> None:
    chance, since = random.Random(seed), ago(hours=24)
    reset_fleet()
    for number in range(25):
        rule = chance.choice(["failing", "auth_failed", "account_unreadable"])
        cause = add_cause(rule, f"connector{number}", chance.choice(["critical", "info"]))
        for _ in range(chance.randint(1, 5)):
            account_id = chance.randint(1001, 1006)
            seen = ago(hours=chance.choice([2, 20, 30, 300]))
            over = chance.random() < 0.5
            connection = (
                None if rule == "account_unreadable" else account_id * 100 + chance.randint(1, 3)
            )
            add_finding(
                cause,
                account_id,
                connection,
                seen,
                seen + timedelta(hours=chance.choice([1, 1.5])) if over else None,
            )
    found = since_report.read(since, AT)
    assert since_report.count(since, AT) == found.counts
    assert any((found.new, found.worse, found.recovered))


def test_an_account_more_is_worse_even_where_the_connections_are_no_more(app: Flask) -> None:
    reset_fleet()
    cause = add_cause("failing", "odoo")
    add_finding(cause, 1001, 100101, ago(days=2))
    add_finding(cause, 1001, 100102, ago(days=2), ago(hours=2))
    assert [line.change for line in since_report.read(ago(hours=24), AT).open] == ["steady"]
    add_finding(cause, 1002, 100201, ago(hours=1))
    (line,) = since_report.read(ago(hours=24), AT).worse
    assert (line.accounts_before, line.accounts, line.connections_before, line.connections) == (
        1,
        2,
        2,
        2,
    )


def test_what_came_and_went_meanwhile_is_among_what_recovered() -> None:
    reset_fleet()
    add_finding(add_cause("failing", "odoo"), 1001, 100101, ago(hours=5), ago(hours=2))
    found = since_report.read(ago(hours=24), AT)
    assert ([line.title for line in found.recovered], found.new) == (["Runs fail: odoo"], ())
    assert since_report.read(ago(hours=1), AT).recovered == ()
