"""Deep links open their page, also after signing in first."""

from urllib.parse import parse_qs, urlsplit

import pytest

from tests.support.clock import Clock
from tests.support.people import PASSWORD, Person, path_of, words
from tests.support.sandbox import Sandbox

DEEP = "/connections?q=amber+foods&severity=error&sort=-since&page=1"


def next_of(location: str) -> str:
    """Return the target in the sign-in page."""
    parts = urlsplit(location)
    assert parts.path == "/login"
    return parse_qs(parts.query).get("next", [""])[0]


def sign_in(person: Person, location: str, email: str = "viv@example.com") -> str:
    """Sign in by the form of the page; return the target."""
    form = person.get(location).select_one("form")
    assert form is not None
    form_fields = {
        str(field["name"]): str(field.get("value", "")) for field in form.select("input[name]")
    }
    response = person.client.post(
        str(form["action"]), data={**form_fields, "email": email, "password": PASSWORD}
    )
    assert response.status_code == 302
    return str(response.location)


def test_an_address_with_its_query_is_where_one_lands_after_signing_in(mallory: Person) -> None:
    response = mallory.client.get(DEEP)
    assert response.status_code == 302
    landed = sign_in(mallory, response.location)
    assert parse_qs(urlsplit(landed).query) == parse_qs(urlsplit(DEEP).query)
    assert "Connections" in words(mallory.get(landed))


def test_a_wrong_password_first_loses_nothing(mallory: Person, sandbox: Sandbox) -> None:
    path = path_of(sandbox.healthy)
    response = mallory.client.get(path)
    wrong = mallory.post(
        "/login", page=response.location, email="viv@example.com", password="not it", next=path
    )
    assert f'name="next" value="{path}"' in wrong.text
    assert sign_in(mallory, response.location) == path


def test_who_was_signed_in_till_a_while_ago_is_told_so_and_comes_back_to_the_page(
    olga: Person, clock: Clock
) -> None:
    clock.move(hours=2)
    response = olga.client.get("/causes?state=open")
    assert "Your session has ended" in words(olga.get(response.location))
    assert sign_in(olga, response.location, "olga@example.com") == "/causes?state=open"


def test_who_is_signed_in_and_opens_such_an_address_of_the_sign_in_page_is_sent_on(
    viv: Person,
) -> None:
    response = viv.client.get("/login?next=/causes%3Fstate%3Dopen")
    assert (response.status_code, response.location) == (302, "/causes?state=open")


def test_a_fragment_sends_the_whole_page_to_sign_in_and_back_to_where_it_was(
    olga: Person, clock: Clock, sandbox: Sandbox
) -> None:
    clock.move(hours=2)
    path = path_of(sandbox.healthy)
    headers = {"HX-Request": "true", "HX-Current-URL": f"http://localhost{path}?from=mail"}
    response = olga.client.get(f"{path}/live", headers=headers)
    assert (response.status_code, response.text) == (401, "")
    assert next_of(response.headers["HX-Redirect"]) == f"{path}?from=mail"
    assert sign_in(olga, response.headers["HX-Redirect"], "olga@example.com") == f"{path}?from=mail"


def test_a_form_that_comes_too_late_does_nothing_and_leads_back_to_its_page(
    olga: Person, clock: Clock, sandbox: Sandbox
) -> None:
    path = path_of(sandbox.healthy)
    token = olga.token()
    clock.move(hours=2)
    headers = {"Referer": f"http://localhost{path}"}
    response = olga.client.post(f"{path}/sync", data={"csrf_token": token}, headers=headers)
    assert response.status_code == 302
    assert sign_in(olga, response.location, "olga@example.com") == path
    assert sandbox.state()["syncs"] == {}


@pytest.mark.parametrize(
    "where",
    [
        "https://evil.example/x",
        "http://localhost.evil.example/x",
        "//evil.example/x",
        "javascript:alert(1)",
        "http://[",
        "",
    ],
)
def test_a_page_that_is_not_ours_is_never_where_one_is_sent(
    olga: Person, clock: Clock, sandbox: Sandbox, where: str
) -> None:
    token = olga.token()
    clock.move(hours=2)
    path = path_of(sandbox.healthy)
    fragment = olga.client.get(
        f"{path}/live", headers={"HX-Request": "true", "HX-Current-URL": where}
    )
    form = olga.client.post(f"{path}/sync", data={"csrf_token": token}, headers={"Referer": where})
    for location in (fragment.headers["HX-Redirect"], form.location):
        assert next_of(location) == ""
        assert "evil" not in location
