"""A signed-in browser session over a socket."""

import re

import requests

from tests.support.people import PASSWORD


def sign_in(url: str, email: str = "adam@example.com") -> requests.Session:
    """Return a session that is signed in at a served console."""
    session = requests.Session()
    found = re.search(
        'name="csrf_token" value="([^"]+)"', session.get(f"{url}/login", timeout=60).text
    )
    assert found is not None
    form = {"email": email, "password": PASSWORD, "csrf_token": found[1]}
    response = session.post(f"{url}/login", data=form, timeout=60, allow_redirects=False)
    assert response.status_code == 302, response.text[:500]
    return session
