"""One count a user: no spelling of an address is counted for one account and opens another."""

import io
import itertools
import re
from collections.abc import Iterator
from typing import Any

import pytest
from flask import Flask
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from limits import parse
from sqlalchemy import select

from dashboard.audit.models import AuditEntry
from dashboard.core.database import db
from dashboard.core.email_addresses import LONGEST, canonical
from dashboard.users import passwords
from dashboard.users import service as users
from dashboard.users.models import UserSession
from dashboard.web import login_attempt_keys
from dashboard.web.security import limiter
from tests.security.test_sign_in import OFFICE, VIV, attempt, statuses
from tests.support.people import PASSWORD, PASSWORD_HASH, Person

BUECHER = "sam@bücher.example"
PIECES = [
    *(chr(number) for number in range(0x20)), "\x7f", "\x85", "\xa0", "\u1680", "\u2003", "\u2028",
    "\u202f", "\u2800", "\u3000", "\ufeff",
    "\u200b", "\u200c", "\u200d", "\u2060", "\u00ad", "\u202e", "\u0301", "\u0308", "\ud800",
    "\ufffe", "\U000e0041", ".", "..", "@", "＠",
    "。", "．", "+", "\"", "(x)", "İ", "ı", "ﬁ", "ß", "v", "Ｖ", "ｖ", "V", "xn--",
    ",", ";", "<", ">",
    "%00", "\\0", "[]", "x" * 300,
]  # fmt: skip
BASES = [
    VIV,
    BUECHER,
    "sam@xn--bcher-kva.example",
    "sam@bu\u0308cher.example",
    "ｖｉｖ＠ｅｘａｍｐｌｅ．ｃｏｍ",
    "VIV@EXAMPLE.COM",
    "",
]


def put(base: str, at: int, pieces: list[str]) -> str:
    where = at % (len(base) + 1)
    return base[:where] + "".join(pieces) + base[where:]


SPELLINGS = st.builds(
    put, st.sampled_from(BASES), st.integers(0, 30), st.lists(st.sampled_from(PIECES), max_size=4)
)
# Each piece before, inside and after the address, at its @ and at its end.
EACH = [put(VIV, at, [piece]) for piece in PIECES for at in (0, 1, 3, 4, len(VIV))] + BASES


@pytest.fixture(scope="module", params=["embedded", "servers"])
def engine(request: pytest.FixtureRequest) -> str:
    """Both databases: each compares texts by its own rules."""
    return str(request.param)


@pytest.fixture(scope="module", autouse=True)
def sam(app: Flask) -> None:
    with app.app_context():
        users.create_user(
            BUECHER, "viewer", PASSWORD, app.extensions["services"].clock()
        ).password_hash = PASSWORD_HASH
        db.session.commit()


@pytest.fixture(autouse=True)
def quick(app: Flask, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(passwords, "_nobodys_hash", lambda: PASSWORD_HASH)
    yield
    with app.app_context():
        limiter.reset()


def counted_as(app: Flask, typed: str) -> str:
    """Return the key under which the sign-in form counts attempts with this text."""
    with app.test_request_context(
        "/login", method="POST", data={"email": typed.encode("utf-8", "replace")}
    ):
        return login_attempt_keys.by_account()


@settings(
    max_examples=150,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(st.lists(SPELLINGS, min_size=2, max_size=6))
@example(["v\0iv@example.com", "viv@example.com\0", "\0viv@example.com", "viv@example.com"])
def test_texts_that_find_one_person_are_counted_together_and_all_others_apart(
    app: Flask, texts: list[str]
) -> None:
    with app.app_context():
        for one, other in itertools.combinations([*texts, VIV, BUECHER], 2):
            first, second = users.find_user(one), users.find_user(other)
            together = counted_as(app, one) == counted_as(app, other)
            assert together == (canonical(one) == canonical(other))
            if first is not None and second is not None:
                assert together == (first.id == second.id), (one, other)
            elif first is not None or second is not None:
                assert not together, (one, other)
        db.session.remove()


@settings(max_examples=300, deadline=None)
@given(st.one_of(st.text(max_size=40), SPELLINGS))
def test_the_canonical_form_is_its_own_and_never_holds_what_no_database_takes(typed: str) -> None:
    form = canonical(typed)
    assert canonical(form) == form or len(form) >= LONGEST - 1
    assert len(form) <= LONGEST
    assert not set(form) & {chr(number) for number in range(0x20)}


@pytest.mark.usefixtures("rate_limited")
def test_while_an_account_is_limited_no_spelling_signs_in_with_the_right_password(
    app: Flask,
) -> None:
    assert statuses(app, [(f"203.0.113.{n}", VIV) for n in range(10)]) == [403] * 10
    for number, typed in enumerate(EACH):
        text = typed.encode("utf-8", "replace").decode()
        with app.app_context():
            found = users.find_user(text)
            db.session.remove()
        # From another network each time, so that only the account's limit applies.
        response = attempt(app.test_client(), text, PASSWORD, f"2001:db8:{number:x}::1")
        assert response.status_code != 302 or (found is not None and found.email == BUECHER), ascii(
            typed
        )
        if found is not None and found.email == VIV:
            assert response.status_code == 429, ascii(typed)


OTHER_WAYS: dict[str, dict[str, Any]] = {
    "as JSON": {"json": {"email": VIV, "password": PASSWORD}},
    "as JSON beside a query": {
        "json": {"email": VIV, "password": PASSWORD},
        "query_string": {"email": "other@example.com"},
    },
    "as a JSON list": {"json": {"email": [VIV], "password": [PASSWORD]}},
    "as text": {"data": f"email={VIV}&password={PASSWORD}", "content_type": "text/plain"},
    "as XML": {"data": f"<email>{VIV}</email>", "content_type": "application/xml"},
    "in the query alone": {"query_string": {"email": VIV, "password": PASSWORD}},
    "as a file": {"data": {"email": (io.BytesIO(VIV.encode()), "x"), "password": PASSWORD}},
    "a file and a text": {"data": {"email": [(io.BytesIO(b"x"), "x"), VIV], "password": PASSWORD}},
    "as an array": {"data": {"email[]": VIV, "password[]": PASSWORD}},
    "twice, the other first": {"data": {"email": ["other@example.com", VIV], "password": PASSWORD}},
}


@pytest.mark.usefixtures("rate_limited")
@pytest.mark.parametrize("way", OTHER_WAYS)
@pytest.mark.parametrize("limited_first", [True, False])
def test_no_other_way_of_sending_the_fields_signs_in(
    app: Flask, way: str, limited_first: bool
) -> None:
    if limited_first:
        statuses(app, [(f"203.0.113.{n}", VIV) for n in range(10)])
    client = app.test_client()
    headers = {"X-CSRFToken": Person(client).token("/login")}
    fresh = {
        key: dict(value) if isinstance(value, dict) else value
        for key, value in OTHER_WAYS[way].items()
    }
    if "file" in way:
        parts = [
            ("email", (io.BytesIO(VIV.encode()), "x")),
            *([("email", VIV)] if "text" in way else []),
        ]
        fresh["data"] = {
            name: [value for other, value in parts if other == name] for name in ("email",)
        } | {"password": PASSWORD}
    response = client.post(
        "/login", headers=headers, environ_overrides={"REMOTE_ADDR": OFFICE}, **fresh
    )
    assert response.status_code in {200, 400, 403, 415}, response.status_code
    assert client.get("/").status_code == 302


@pytest.mark.usefixtures("rate_limited")
def test_the_audit_trail_names_the_canonical_form_alone(app: Flask) -> None:
    typed = "Ｖ\u200biv@Example.COM"
    statuses(app, [(f"198.51.100.{n}", typed) for n in range(12)])
    with app.app_context():
        newest = (
            select(AuditEntry.who)
            .where(AuditEntry.what == "sign_in")
            .order_by(AuditEntry.settled_at.desc())
            .limit(2)
        )
        assert set(db.session.scalars(newest)) == {VIV}


@pytest.mark.usefixtures("rate_limited")
def test_a_field_of_another_form_does_not_make_a_browser_known(app: Flask) -> None:
    """Attempts at a code must not count for an account that the client chooses."""
    client = app.test_client()
    assert attempt(client, VIV, PASSWORD).status_code == 302
    cookie = client.get_cookie("console_browser")
    assert cookie is not None
    environ = {"REMOTE_ADDR": OFFICE, "HTTP_COOKIE": f"console_browser={cookie.value}"}
    keys = []
    for path, data in (
        ("/login/code", {"email": VIV}),
        ("/login/code", {}),
        ("/login", {"email": VIV}),
    ):
        with app.test_request_context(path, method="POST", data=data, environ_base=environ):
            keys.append(login_attempt_keys.by_address())
    assert keys[0] == keys[1] != keys[2]


@pytest.mark.usefixtures("rate_limited")
def test_a_browser_keeps_its_mark_and_nobody_signs_in_without_end(
    app: Flask, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each sign-in writes a row: a limit keeps a known password from writing many."""
    client, marks = app.test_client(), set()
    for _ in range(3):
        assert attempt(client, VIV, PASSWORD).status_code == 302
        cookie = client.get_cookie("console_browser")
        assert cookie is not None
        marks.add(cookie.value.rpartition(".")[0])
        assert Person(client).post("/logout").status_code == 302
    assert len(marks) == 1
    monkeypatch.setattr("dashboard.users.authentication.MOST_SIGN_INS", parse("5 per hour"))
    with app.app_context():
        limiter.reset()
        before = len(db.session.scalars(select(UserSession.id)).all())
    found = [
        attempt(app.test_client(), VIV, PASSWORD, f"203.0.113.{n}").status_code for n in range(9)
    ]
    assert found == [302] * 5 + [429] * 4
    with app.app_context():
        assert len(db.session.scalars(select(UserSession.id)).all()) == before + 5


@pytest.mark.usefixtures("rate_limited")
def test_no_key_of_the_limiter_holds_an_address(
    app: Flask, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Codes would otherwise be in its log and in Redis."""
    keys: list[str] = []
    hit = limiter.limiter.hit

    def noted(item: Any, *identifiers: str, **more: Any) -> bool:
        keys.extend(identifiers)
        return bool(hit(item, *identifiers, **more))

    monkeypatch.setattr(limiter.limiter, "hit", noted)
    client = app.test_client()
    for email in (VIV, BUECHER, "nobody@example.net"):
        attempt(client, email, address="192.0.2.77")
        attempt(client, email, address="2001:db8:77::1")
    Person(client, VIV).post("/me/password", current="x", new="y", again="z")
    client.post("/login/code", data={"csrf_token": Person(client).token(), "code": "1"})
    assert len(keys) > 12
    text = " ".join(keys)
    assert not re.search(r"@|viv|sam|nobody|192\.0\.2|2001:db8|127\.0\.0", text), text
