"""Changes of one's own password: who may change it, the rules, and the ended sessions."""

import pytest
from flask import Flask

from dashboard.core.database import db
from dashboard.users import service as users
from dashboard.users.errors import PeopleError
from tests.support.people import PASSWORD, PASSWORD_HASH, Person

NEW = "quite another horse"


@pytest.fixture
def pia(app: Flask, request: pytest.FixtureRequest) -> tuple[str, Person]:
    """A user with a password of the test's own."""
    email = f"pia.{abs(hash(request.node.name))}@example.com"
    with app.app_context():
        users.create_user(
            email, "viewer", PASSWORD, app.extensions["services"].clock()
        ).password_hash = PASSWORD_HASH
        db.session.commit()
    person = Person(app.test_client())
    assert person.post("/login", page="/login", email=email, password=PASSWORD).status_code == 302
    return email, person


def change(person: Person, **page: str) -> tuple[int, str]:
    response = person.post(
        "/me/password", **{"current": PASSWORD, "new": NEW, "again": NEW, **page}
    )
    return response.status_code, response.text


def test_one_changes_ones_password_with_the_present_one_and_every_other_session_ends(
    app: Flask, pia: tuple[str, Person]
) -> None:
    email, client = pia
    elsewhere = Person(app.test_client())
    elsewhere.post("/login", page="/login", email=email, password=PASSWORD)
    cookie = client.client.get_cookie("console_session")
    assert cookie is not None
    assert change(client)[0] == 303
    assert "Your password is changed" in client.get("/me").text
    assert elsewhere.client.get("/").status_code == 302
    thief = app.test_client()
    thief.set_cookie("console_session", cookie.value)
    assert thief.get("/").status_code == 302
    again = Person(app.test_client())
    assert again.post("/login", page="/login", email=email, password=PASSWORD).status_code == 403
    assert again.post("/login", page="/login", email=email, password=NEW).status_code == 302
    trail = Person(app.test_client(), "adam@example.com").json(f"/audit.json?q={email}")["items"]
    assert ("change_password", "done") in {(item["what"], item["result"]) for item in trail}
    assert NEW not in str(trail)


@pytest.mark.parametrize(
    ("form", "says"),
    [
        ({"current": "not it at all"}, "is another one"),
        ({"current": ""}, "is another one"),
        ({"again": "not the same one"}, "not the same"),
        ({"new": "short", "again": "short"}, "12 characters"),
        ({"new": "password1234", "again": "password1234"}, "guessed too easily"),
    ],
)
def test_otherwise_nothing_is_changed_and_why_is_said(
    pia: tuple[str, Person], form: dict[str, str], says: str
) -> None:
    _, person = pia
    status, text = change(person, **form)
    assert status == 400
    assert says in text
    assert NEW not in text
    assert person.client.get("/").status_code == 200


@pytest.mark.usefixtures("rate_limited")
def test_whoever_has_a_session_and_not_the_password_cannot_guess_on(
    pia: tuple[str, Person],
) -> None:
    _, person = pia
    assert [change(person, current="guess")[0] for _ in range(7)] == [400] * 5 + [429] * 2


@pytest.mark.parametrize(
    "password",
    ["passwordpassword", "Peliqan-Console", "partner console 1", "viv.example.com",
        "Viv@Example.com!", "aaaaaaaaaaaaaaaa", "ababababababab",
     "welcome123456", "WachtwoordAdmin", "qwertyqwerty1", "operatorsupport"],
)  # fmt: skip
def test_a_password_that_is_tried_first_is_refused(app: Flask, password: str) -> None:
    with app.app_context(), pytest.raises(PeopleError, match="guessed too easily"):
        users.create_user("viv@example.com", "viewer", password, app.extensions["services"].clock())


def test_a_password_is_taken_as_it_is_typed(app: Flask) -> None:
    password = "  Ünïcødé 🐎\t\\ d'e\"f;-- " + "x2y3z" * 190 + " "
    email = "typed@example.com"
    with app.app_context():
        users.create_user(email, "viewer", password, app.extensions["services"].clock())
        assert users.check_password(email, password) is not None
        for other in (password.strip(), password.upper(), password[:72]):
            assert users.check_password(email, other) is None, other[:30]
