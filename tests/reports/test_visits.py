"""The end of a visit, from which "since you left" counts."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from flask import Flask

from dashboard.users import service as users
from dashboard.users import sessions
from dashboard.users.keys import Secret
from dashboard.users.models import User

pytestmark = pytest.mark.both_engines


AT = datetime(2026, 3, 31, 7, 12, tzinfo=UTC)


@pytest.fixture(autouse=True)
def context(app: Flask) -> Any:
    with app.app_context():
        yield


@pytest.fixture
def vera() -> User:
    return users.create_user(
        "vera@example.com", "viewer", "a long enough password", AT - timedelta(days=1)
    )


def use(key: Secret, at: datetime, *, poll: bool = False) -> None:
    sessions.signed_in(key.value, at, counts_as_use=not poll)


def previous_visit_end(user: User) -> datetime | None:
    found = users.find_user(user.email)
    assert found is not None
    return found.left_at


def test_a_first_visit_has_none_before_it(vera: User) -> None:
    key = sessions.sign_in(vera, AT)
    use(key, AT + timedelta(minutes=30))
    assert previous_visit_end(vera) is None


def test_the_visit_before_ended_with_its_last_use_and_polls_do_not_count(vera: User) -> None:
    key = sessions.sign_in(vera, AT)
    use(key, AT + timedelta(minutes=30))
    use(key, AT + timedelta(minutes=85), poll=True)
    sessions.sign_in(vera, AT + timedelta(hours=15))
    assert previous_visit_end(vera) == AT + timedelta(minutes=30)


def test_signing_in_again_soon_goes_on_with_the_same_visit(vera: User) -> None:
    sessions.sign_in(vera, AT)
    sessions.sign_in(vera, AT + timedelta(hours=3))
    assert previous_visit_end(vera) == AT
    key = sessions.sign_in(vera, AT + timedelta(hours=3, minutes=59))
    use(key, AT + timedelta(hours=4, minutes=50))
    assert previous_visit_end(vera) == AT


def test_a_poll_does_not_put_off_the_end_of_a_visit(vera: User) -> None:
    key = sessions.sign_in(vera, AT)
    other = sessions.sign_in(vera, AT + timedelta(minutes=1))
    for minutes in range(5, 60, 5):
        use(key, AT + timedelta(minutes=minutes), poll=True)
        use(other, AT + timedelta(minutes=minutes), poll=True)
    sessions.sign_in(vera, AT + timedelta(minutes=62))
    assert previous_visit_end(vera) == AT + timedelta(minutes=1)
