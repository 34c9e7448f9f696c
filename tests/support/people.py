"""Users of the console over HTTP; each page that they open passes ``page_checks``."""

import re
from typing import Any

from argon2 import PasswordHasher
from bs4 import BeautifulSoup, Tag
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from tests.support.page_checks import check_page

PASSWORD = "correct horse battery"
# A hash that is checked quickly: most tests sign in, and few are about guessing passwords.
PASSWORD_HASH = PasswordHasher(time_cost=1, memory_cost=8, parallelism=1).hash(PASSWORD)


class Person:
    """A user at a browser: pages are returned as soup and pass the checks for every page."""

    def __init__(self, client: FlaskClient, email: str | None = None) -> None:
        self.client = client
        self._token: tuple[object, str] | None = None
        if email:
            response = self.post("/login", page="/login", email=email, password=PASSWORD)
            assert response.status_code == 302, response.text

    def get(self, path: str, status: int = 200, **headers: str) -> BeautifulSoup:
        response = self.client.get(path, headers=headers)
        assert response.status_code == status, (
            f"{path}: {response.status_code}\n{response.text[:1500]}"
        )
        soup = BeautifulSoup(response.text, "lxml")
        if "<html" not in response.text:
            # lxml makes a whole page of a part of one.
            for element in soup.find_all(["html", "body"]):
                element.unwrap()
        if not headers:
            check_page(soup, path)
        return soup

    def fragment(self, path: str, status: int = 200) -> BeautifulSoup:
        return self.get(path, status, **{"HX-Request": "true"})

    def json(self, path: str, status: int = 200) -> Any:
        response = self.client.get(path)
        assert response.status_code == status, response.text[:500]
        return response.json

    def token(self, page: str = "/me") -> str:
        """Return the token of a page's forms, or the last one while the session is the same.

        Each POST needs a token. Not as soup, which takes longer than the page.
        """
        if self._token is not None and self._token[0] == self._session_token():
            return self._token[1]
        found = re.search('name="csrf_token" value="([^"]+)"', self.client.get(page).text)
        assert found is not None
        self._token = self._session_token(), found[1]
        return found[1]

    def _session_token(self) -> object:
        with self.client.session_transaction() as session:
            return session.get("csrf_token")

    def post(self, path: str, page: str = "/me", htmx: bool = False, **fields: str) -> TestResponse:
        headers = {"HX-Request": "true"} if htmx else {}
        return self.client.post(
            path, data={"csrf_token": self.token(page), **fields}, headers=headers
        )


def path_of(connection: Any, below: str = "") -> str:
    """Return the address of a connection's page, or of a page below it."""
    return f"/accounts/{connection.account_id}/connections/{connection.id}{below}"


def words(soup: Tag) -> str:
    """Return the text that a person reads."""
    return re.sub(r"\s+", " ", soup.get_text(" ")).strip()


def entries(adam: Person, **wanted: str) -> list[dict[str, object]]:
    return [
        item
        for item in adam.json("/audit.json")["items"]
        if all(item[key] == value for key, value in wanted.items())
    ]
