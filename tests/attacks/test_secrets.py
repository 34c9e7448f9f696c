"""Secrets stand where they are needed and nowhere else: in no page, address, header, log, error or file."""

import logging
import re
from pathlib import Path
from typing import Any

import pytest
from flask import Flask

from dashboard.app import Console
from dashboard.cli.shared import close_store
from dashboard.store.database import db
from tests.attacks.places import ACCOUNT, Place, Places
from tests.attacks.seeded import make_one_of_each, work
from tests.conftest import PASSWORD, Person, Sandbox
from tests.processes import TOKEN
from tests.webhooks import SECRET as WEBHOOK_SECRET

ALERT_SECRET = "hush-hush-4711"
WAREHOUSE_PASSWORD = "pw-of-a-warehouse-0815"


@pytest.fixture(scope="module")
def changes() -> dict[str, Any]:
    return {"peliqan_webhook_secret": WEBHOOK_SECRET}


@pytest.fixture(scope="module")
def used(app: Flask, folder: Path, sandbox_server: Sandbox) -> tuple[dict[str, str], str]:
    """What must not be seen, by what it is; and all that was logged, down to the libraries, while the console was used."""
    written: list[str] = []

    class Ear(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            written.append(self.format(record))

    ear, root = Ear(), logging.getLogger()
    level = root.level
    root.addHandler(ear)
    root.setLevel(logging.DEBUG)
    parts: Console = app.extensions["console"]
    try:
        olga, adam = (Person(app.test_client(), f"{name}@example.com") for name in ("olga", "adam"))
        secrets = {"signing key": "k" * 40, "partner token": TOKEN, "webhook secret": WEBHOOK_SECRET, "password": PASSWORD}
        with pytest.raises(AssertionError, match="401"):
            # Its events come unsigned here: all else is made before.
            make_one_of_each(app, olga, adam, folder, "Of the test")
        work(app, folder)
        adam.post(
            "/alerts",
            name="With a secret",
            address=f"json://bob:{ALERT_SECRET}@127.0.0.1:9/hook/{ALERT_SECRET}?+X={ALERT_SECRET}",
            sends="new",
            severity="warning",
            zone="UTC",
        )
        adam.post(f"/accounts/{ACCOUNT}/warehouse", address=f"postgresql://bob:{WAREHOUSE_PASSWORD}@127.0.0.1:9/x")
        adam.post(
            "/pulls",
            page="/pulls/new",
            name="P",
            address=f"postgresql://bob:{WAREHOUSE_PASSWORD}@127.0.0.1:9/x",
            every="60",
            full_every="20",
        )
        shown = olga.post("/me/tokens", name="secret").text
        secrets["access token"] = re.search(r"pc_[\w-]{40,}", shown)[0]  # type: ignore[index]
        made = olga.post("/embed/token", external_id="cust-00001")
        secrets["integration token"] = made.json["token"]  # type: ignore[index]
        cookie = olga.client.get_cookie("console_session")
        assert cookie is not None
        secrets["session"] = cookie.value
        sandbox_server.fault("servers", status=500, body={"detail": f"Authorization: JWT {TOKEN}"})
        adam.client.get(f"/accounts/{ACCOUNT}")
        app.test_client().get("/connections.json", headers={"Authorization": f"Bearer {secrets['access token']}"})
        with app.app_context():
            secrets["customer's token"] = parts.api.tokens.get(ACCOUNT) or ""
            secrets |= {
                f"hash of {each[0]}": each[1]
                for each in db.session.execute(db.text('select email, password_hash from "user"')).tuples()
            }
            db.session.remove()
        assert secrets["customer's token"]
    finally:
        sandbox_server.clear()
        root.removeHandler(ear)
        root.setLevel(level)
    secrets |= {"alert's secret": ALERT_SECRET, "warehouse's password": WAREHOUSE_PASSWORD}
    return secrets, "\n".join(written)


def test_no_secret_is_logged_by_anybody(used: tuple[dict[str, str], str]) -> None:
    secrets, written = used
    assert len(written) > 1000
    for what, secret in secrets.items():
        assert secret not in written, what


def test_no_page_file_header_or_redirect_holds_one(app: Flask, places: Places, used: tuple[dict[str, str], str]) -> None:
    secrets, _ = used
    for name in ("adam", "olga"):
        person = Person(app.test_client(), f"{name}@example.com")
        for place in places.all("GET"):
            answer = person.client.get(place.path)
            _has_none(
                secrets,
                place,
                f"{answer.headers}\n{answer.get_data(as_text=True) if answer.mimetype != 'application/vnd.apache.parquet' else ''}",
            )


def test_no_error_holds_one(app: Flask, used: tuple[dict[str, str], str], monkeypatch: pytest.MonkeyPatch) -> None:
    secrets, _ = used
    adam = Person(app.test_client(), "adam@example.com")
    view = app.view_functions["accounts.index"]

    def breaks() -> None:
        raise RuntimeError(" ".join(secrets.values()))

    breaks.__dict__.update(view.__dict__)
    monkeypatch.setitem(app.view_functions, "accounts.index", breaks)
    monkeypatch.setitem(app.config, "PROPAGATE_EXCEPTIONS", False)
    for how in ({}, {"HX-Request": "true"}):
        answer = adam.client.get("/accounts", headers=how)
        assert answer.status_code == 500
        assert "Traceback" not in answer.text
        assert "RuntimeError" not in answer.text
        _has_none(secrets, Place("accounts.index", "GET", "/accounts", None), answer.text)


def test_nothing_that_is_secret_rests_in_the_store_as_it_is(app: Flask, folder: Path, used: tuple[dict[str, str], str]) -> None:
    secrets, _ = used
    close_store(app)
    stored = b"".join(path.read_bytes() for path in folder.rglob("*") if path.is_file())
    for what, secret in secrets.items():
        if not what.startswith("hash of"):
            assert secret.encode() not in stored, what


def test_addresses_carry_no_secret_and_the_next_site_learns_of_none(
    app: Flask, places: Places, used: tuple[dict[str, str], str]
) -> None:
    secrets, _ = used
    person = Person(app.test_client(), "adam@example.com")
    for place in places.all("GET"):
        answer = person.client.get(place.path)
        assert answer.headers["Referrer-Policy"] == "same-origin", place
        if answer.mimetype == "text/html":
            for link in re.findall(r'(?:href|src|action|hx-get|hx-post)="([^"]*)"', answer.text):
                _has_none(secrets, place, link)
                assert "csrf" not in link, place


def test_settings_errors_and_their_texts_hold_none(app: Flask, used: tuple[dict[str, str], str]) -> None:
    secrets, _ = used
    parts: Console = app.extensions["console"]
    said = repr(parts.settings) + str(parts.settings) + repr(parts.api) + repr(parts.fleet)
    for what in ("signing key", "partner token", "webhook secret"):
        assert secrets[what] not in said, what


def _has_none(secrets: dict[str, str], place: Place, text: str) -> None:
    for what, secret in secrets.items():
        assert secret not in text, f"{what} in {place}"
