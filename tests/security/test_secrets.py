"""Secrets appear only where needed: in no page, address, header, log, error or file."""

import logging
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from sqlalchemy import select
from werkzeug.test import TestResponse

from dashboard.alerts.models import AlertRule
from dashboard.cli.common import close_store
from dashboard.context import Services
from dashboard.core.database import db
from dashboard.users.models import User
from tests.security.route_requests import ACCOUNT, RouteRequest, RouteRequests, ask
from tests.security.seeded_objects import newest, send
from tests.support.hook_receiver import HOOK
from tests.support.people import PASSWORD, Person
from tests.support.processes import TOKEN
from tests.support.webhook_sender import SECRET as WEBHOOK_SECRET
from tests.support.webhook_sender import post

ALERT_SECRET = "hush-hush-4711"
WAREHOUSE_PASSWORD = "pw-of-a-warehouse-0815"


@pytest.fixture(scope="module")
def changes() -> dict[str, Any]:
    return {"peliqan_webhook_secret": WEBHOOK_SECRET, **HOOK}


@dataclass(frozen=True)
class Seen:
    """``secrets``: by kind; ``written``: the log; ``answers``: responses to administrators."""

    secrets: dict[str, str]
    written: str
    answers: list[tuple[RouteRequest, TestResponse]]


def _session_of(person: Person) -> str:
    cookie = person.client.get_cookie("console_session")
    assert cookie is not None
    return cookie.value


@pytest.fixture(scope="module")
def seen(app: Flask, route_requests: RouteRequests) -> Seen:
    """Use the console while every logger is at its most verbose level."""
    written: list[str] = []

    class Ear(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            written.append(self.format(record))

    ear, root = Ear(), logging.getLogger()
    level = root.level
    root.addHandler(ear)
    root.setLevel(logging.DEBUG)
    services: Services = app.extensions["services"]
    secrets = {
        "signing key": "k" * 40, "partner token": TOKEN, "webhook secret": WEBHOOK_SECRET,
        "password": PASSWORD,
        "hook's secret": HOOK["dashboard_hook_secret"], "alert's secret": ALERT_SECRET,
        "warehouse's password": WAREHOUSE_PASSWORD,
    }  # fmt: skip
    try:
        olga, adam = (Person(app.test_client(), f"{name}@example.com") for name in ("olga", "adam"))
        warehouse = f"postgresql://bob:{WAREHOUSE_PASSWORD}@127.0.0.1:9/x"
        hook = f"json://bob:{ALERT_SECRET}@127.0.0.1:9/hook/{ALERT_SECRET}?+X={ALERT_SECRET}"
        send(adam, "/alerts/new", "/alerts", name="With a secret", address=hook, sends="new")
        adam.post(f"/alerts/{newest(app, AlertRule)}/test")
        adam.post(f"/accounts/{ACCOUNT}/warehouse", address=warehouse)
        send(adam, "/pulls/new", "/pulls", 422, name="With a secret", address=warehouse)
        shown = re.search(r"pc_[\w-]{40,}", olga.post("/me/tokens", name="secret").text)
        assert shown is not None
        secrets["access token"] = shown.group()
        secrets["integration token"] = olga.post("/embed/token", external_id="cust-00001").json[
            "token"
        ]  # type: ignore[index]
        secrets["session"] = _session_of(olga)
        assert (
            post(
                app.test_client(), {"event": "connection_added"}, **{"X-Peliqan-Signature": "wrong"}
            ).status_code
            == 401
        )
        assert post(app.test_client(), {"event": "connection_added"}).status_code == 204
        # The alert code silences these loggers, which would log addresses.
        logging.getLogger("urllib3").setLevel(logging.DEBUG)
        app.test_client().get(
            "/connections.json", headers={"Authorization": f"Bearer {secrets['access token']}"}
        )
        with app.app_context():
            secrets["customer's token"] = services.api.tokens.get(ACCOUNT) or ""
            hashes = db.session.execute(select(User.email, User.password_hash)).tuples()
            secrets |= {f"hash of {email}": kept for email, kept in hashes}
            db.session.remove()
        assert secrets["customer's token"]
        answers = [
            (place, ask(adam.client, place))
            for place in route_requests.all("GET")
            if not place.path.endswith(".parquet")
        ]
        answers += [
            (place, ask(olga.client, place))
            for place in route_requests.all("GET")
            if place.path.startswith(("/me", "/desk/links"))
        ]
    finally:
        logging.getLogger("urllib3").setLevel(logging.NOTSET)
        root.removeHandler(ear)
        root.setLevel(level)
    return Seen(secrets, "\n".join(written), answers)


def test_no_secret_is_logged_by_anybody(seen: Seen) -> None:
    assert len(seen.written) > 1000
    for what, secret in seen.secrets.items():
        assert secret not in seen.written, what


def test_no_page_file_header_or_redirect_holds_one(seen: Seen) -> None:
    for place, answer in seen.answers:
        _has_none(seen, place, str(answer.headers))
        _has_none(seen, place, answer.get_data().decode("utf-8", "replace"))


def test_no_error_holds_one(app: Flask, seen: Seen, monkeypatch: pytest.MonkeyPatch) -> None:
    adam = Person(app.test_client(), "adam@example.com")
    view = app.view_functions["accounts.index"]

    def breaks() -> None:
        raise RuntimeError(" ".join(seen.secrets.values()))

    breaks.__dict__.update(view.__dict__)
    monkeypatch.setitem(app.view_functions, "accounts.index", breaks)
    monkeypatch.setitem(app.config, "PROPAGATE_EXCEPTIONS", False)
    for how in ({}, {"HX-Request": "true"}):
        answer = adam.client.get("/accounts", headers=how)
        assert answer.status_code == 500
        assert "Traceback" not in answer.text
        assert "RuntimeError" not in answer.text
        _has_none(seen, RouteRequest("accounts.index", "GET", "/accounts", None), answer.text)


def test_nothing_that_is_secret_rests_in_the_store_as_it_is(
    app: Flask, folder: Path, seen: Seen
) -> None:
    close_store(app)
    stored = b"".join(path.read_bytes() for path in folder.rglob("*") if path.is_file())
    assert len(stored) > 100_000
    for what, secret in seen.secrets.items():
        if not what.startswith("hash of"):
            assert secret.encode() not in stored, what


def test_addresses_carry_no_secret_and_the_next_site_learns_of_none(seen: Seen) -> None:
    for place, answer in seen.answers:
        assert answer.headers["Referrer-Policy"] == "same-origin", place
        if answer.mimetype == "text/html":
            for link in re.findall(r'(?:href|src|action|hx-get|hx-post)="([^"]*)"', answer.text):
                _has_none(seen, place, link)
                assert "csrf" not in link, place


def test_settings_errors_and_their_texts_hold_none(app: Flask, seen: Seen) -> None:
    services: Services = app.extensions["services"]
    said = repr(services.settings) + str(services.settings) + repr(services.api) + repr(services)
    for what in ("signing key", "partner token", "webhook secret", "hook's secret"):
        assert seen.secrets[what] not in said, what


def _has_none(seen: Seen, place: RouteRequest, text: str) -> None:
    for what, secret in seen.secrets.items():
        assert secret not in text, f"{what} in {place}"
