"""Reveals of masked columns and administrators' decisions, on both databases."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest
from flask import Flask
from sqlalchemy import select

from dashboard.audit.models import AuditEntry
from dashboard.core.database import db
from dashboard.masking import service as reveals
from dashboard.users.models import User

pytestmark = pytest.mark.both_engines


AT = datetime(2026, 3, 1, 12, tzinfo=UTC)


@pytest.fixture(autouse=True)
def context(app: Flask) -> Iterator[None]:
    with app.app_context():
        yield


def person(name: str) -> User:
    return db.session.scalars(select(User).where(User.email == f"{name}@example.com")).one()


def test_a_reveal_holds_for_one_person_one_table_and_a_quarter_of_an_hour_and_is_in_the_audit() -> (
    None
):
    olga = person("olga")
    reveals.reveal(olga, 1001, 7, "the customer asked for her address", AT)
    assert reveals.until(olga, 1001, 7, AT) == AT + timedelta(minutes=15)
    assert reveals.until(olga, 1001, 7, AT + timedelta(minutes=15)) is None
    assert reveals.until(olga, 1001, 8, AT) is None
    assert reveals.until(person("viv"), 1001, 7, AT) is None
    entry = db.session.scalars(select(AuditEntry).where(AuditEntry.what == "reveal")).one()
    assert (entry.who, entry.account_id) == ("olga@example.com", 1001)
    assert "asked for her address" in entry.detail


@pytest.mark.parametrize("why", ["", "   ", "x", "x" * 501])
def test_without_a_reason_nothing_is_revealed(why: str) -> None:
    olga = person("olga")
    with pytest.raises(reveals.BadReason):
        reveals.reveal(olga, 1001, 7, why, AT)
    assert reveals.until(olga, 1001, 7, AT) is None


def test_an_administrators_word_is_kept_and_taken_back() -> None:
    adam = person("adam")
    reveals.decide(adam, 1001, 7, "Notes", True, AT)
    reveals.decide(adam, 1001, 7, "E-mail", False, AT)
    assert reveals.overrides(7) == {"Notes": True, "E-mail": False}
    reveals.decide(adam, 1001, 7, "Notes", None, AT)
    assert reveals.overrides(7) == {"E-mail": False}
    assert len(db.session.scalars(select(AuditEntry).where(AuditEntry.what == "mask")).all()) == 3


def test_a_decision_to_show_a_column_counts_for_its_table_alone() -> None:
    adam = person("adam")
    reveals.decide(adam, 1001, 7, "E-mail", False, AT)
    reveals.decide(adam, 1001, 8, "Notes", True, AT)
    assert reveals.overrides_in({7, 8, 9}) == {7: {"E-mail": False}, 8: {"Notes": True}}
    assert reveals.overrides_in(()) == {}


def test_a_comparison_with_a_masked_column_is_one_entry_for_user_and_table_in_15_minutes() -> None:
    olga, viv = person("olga"), person("viv")
    for user, table_id, minutes in (
        (olga, 7, 0),
        (olga, 7, 14),
        (olga, 70, 14),
        (viv, 7, 14),
        (olga, 7, 15),
        (olga, 7, 29),
    ):
        reveals.record_comparison(
            user, 1001, table_id, ["E-mail", "100%_x"], AT + timedelta(minutes=minutes)
        )
    entries = db.session.scalars(
        select(AuditEntry).where(AuditEntry.what == reveals.COMPARED).order_by(AuditEntry.id)
    ).all()
    assert [
        (entry.who.partition("@")[0], entry.detail.split(",")[0], entry.at - AT)
        for entry in entries
    ] == [
        ("olga", "table 7", timedelta()),
        ("olga", "table 70", timedelta(minutes=14)),
        ("viv", "table 7", timedelta(minutes=14)),
        ("olga", "table 7", timedelta(minutes=15)),
    ]
