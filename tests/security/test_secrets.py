"""Secrets appear only where needed: in no page, address, header, log, error or file."""

import logging
import re
from collections.abc import Iterator
from contextlib import contextmanager
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
from tests.security.route_requests import ACCOUNT, RouteRequest, RouteRequests, send_request
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
class Observed:
    """``secrets``: by kind; ``written``: the log; ``responses``: to GET requests."""

    secrets: dict[str, str]
    written: str
    responses: list[tuple[RouteRequest, TestResponse]]


def _session_of(person: Person) -> str:
    cookie = person.client.get_cookie("console_session")
    assert cookie is not None
    return cookie.value


@contextmanager
def all_logs() -> Iterator[list[str]]:
    """Collect all log lines while every logger is at its most verbose level."""
    written: list[str] = []

    class ListHandler(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            written.append(self.format(record))

    handler, root = ListHandler(), logging.getLogger()
    level = root.level
    root.addHandler(handler)
    root.setLevel(logging.DEBUG)
    try:
        yield written
    finally:
        logging.getLogger("urllib3").setLevel(logging.NOTSET)
        root.removeHandler(handler)
        root.setLevel(level)


def enter_secrets(app: Flask, adam: Person) -> dict[str, str]:
    """Type secrets into the administrator's forms; return them with those of the settings."""
    warehouse = f"postgresql://bob:{WAREHOUSE_PASSWORD}@127.0.0.1:9/x"
    hook = f"json://bob:{ALERT_SECRET}@127.0.0.1:9/hook/{ALERT_SECRET}?+X={ALERT_SECRET}"
    send(adam, "/alerts/new", "/alerts", name="With a secret", address=hook, sends="new")
    adam.post(f"/alerts/{newest(app, AlertRule)}/test")
    adam.post(f"/accounts/{ACCOUNT}/warehouse", address=warehouse)
    send(adam, "/pulls/new", "/pulls", 422, name="With a secret", address=warehouse)
    return {
        "signing key": "k" * 40, "partner token": TOKEN, "webhook secret": WEBHOOK_SECRET,
        "password": PASSWORD,
        "hook's secret": HOOK["dashboard_hook_secret"], "alert's secret": ALERT_SECRET,
        "warehouse's password": WAREHOUSE_PASSWORD,
    }  # fmt: skip


def issue_tokens(olga: Person) -> dict[str, str]:
    """Have the console issue tokens; return them with the session's id."""
    shown = re.search(r"pc_[\w-]{40,}", olga.post("/me/tokens", name="secret").text)
    assert shown is not None
    widget = olga.post("/embed/token", external_id="cust-00001").json
    return {
        "access token": shown.group(),
        "integration token": widget["token"],  # type: ignore[index]
        "session": _session_of(olga),
    }


def stored_secrets(app: Flask) -> dict[str, str]:
    """Return the token of a customer, which the console caches, and the users' hashes."""
    services: Services = app.extensions["services"]
    with app.app_context():
        token = services.api.tokens.get(ACCOUNT)
        assert token
        hashes = db.session.execute(select(User.email, User.password_hash)).tuples()
        found = {f"hash of {email}": password_hash for email, password_hash in hashes}
        db.session.remove()
    return {"customer's token": token, **found}


def send_requests(app: Flask, access_token: str) -> None:
    """Send events with a wrong and a right signature, and a request with an access token."""
    client, event = app.test_client(), {"event": "connection_added"}
    assert post(client, event, **{"X-Peliqan-Signature": "wrong"}).status_code == 401
    assert post(app.test_client(), event).status_code == 204
    # The alert code silences these loggers, which would log addresses.
    logging.getLogger("urllib3").setLevel(logging.DEBUG)
    app.test_client().get("/connections.json", headers={"Authorization": f"Bearer {access_token}"})


@pytest.fixture(scope="module")
def observed(app: Flask, route_requests: RouteRequests) -> Observed:
    """Use the console and collect what it shows and logs."""
    with all_logs() as written:
        olga, adam = (Person(app.test_client(), f"{name}@example.com") for name in ("olga", "adam"))
        secrets = {**enter_secrets(app, adam), **issue_tokens(olga)}
        send_requests(app, secrets["access token"])
        secrets |= stored_secrets(app)
        responses = [
            (request, send_request(adam.client, request))
            for request in route_requests.all("GET")
            if not request.path.endswith(".parquet")
        ]
        responses += [
            (request, send_request(olga.client, request))
            for request in route_requests.all("GET")
            if request.path.startswith(("/me", "/desk/links"))
        ]
    return Observed(secrets, "\n".join(written), responses)


def test_no_secret_is_logged_by_anybody(observed: Observed) -> None:
    assert len(observed.written) > 1000
    for kind, secret in observed.secrets.items():
        assert secret not in observed.written, kind


def test_no_page_file_header_or_redirect_holds_one(observed: Observed) -> None:
    for request, response in observed.responses:
        _has_none(observed, request, str(response.headers))
        _has_none(observed, request, response.get_data().decode("utf-8", "replace"))


def test_no_error_holds_one(
    app: Flask, observed: Observed, monkeypatch: pytest.MonkeyPatch
) -> None:
    adam = Person(app.test_client(), "adam@example.com")
    view = app.view_functions["accounts.index"]

    def breaks() -> None:
        raise RuntimeError(" ".join(observed.secrets.values()))

    breaks.__dict__.update(view.__dict__)
    monkeypatch.setitem(app.view_functions, "accounts.index", breaks)
    monkeypatch.setitem(app.config, "PROPAGATE_EXCEPTIONS", False)
    for how in ({}, {"HX-Request": "true"}):
        response = adam.client.get("/accounts", headers=how)
        assert response.status_code == 500
        assert "Traceback" not in response.text
        assert "RuntimeError" not in response.text
        _has_none(observed, RouteRequest("accounts.index", "GET", "/accounts", None), response.text)


def test_nothing_that_is_secret_rests_in_the_store_as_it_is(
    app: Flask, folder: Path, observed: Observed
) -> None:
    close_store(app)
    stored = b"".join(path.read_bytes() for path in folder.rglob("*") if path.is_file())
    assert len(stored) > 100_000
    for kind, secret in observed.secrets.items():
        if not kind.startswith("hash of"):
            assert secret.encode() not in stored, kind


def test_addresses_carry_no_secret_and_the_next_site_learns_of_none(observed: Observed) -> None:
    for request, response in observed.responses:
        assert response.headers["Referrer-Policy"] == "same-origin", request
        if response.mimetype == "text/html":
            for link in re.findall(r'(?:href|src|action|hx-get|hx-post)="([^"]*)"', response.text):
                _has_none(observed, request, link)
                assert "csrf" not in link, request


def test_settings_errors_and_their_texts_hold_none(app: Flask, observed: Observed) -> None:
    services: Services = app.extensions["services"]
    shown = repr(services.settings) + str(services.settings) + repr(services.api) + repr(services)
    for kind in ("signing key", "partner token", "webhook secret", "hook's secret"):
        assert observed.secrets[kind] not in shown, kind


def _has_none(observed: Observed, request: RouteRequest, text: str) -> None:
    for kind, secret in observed.secrets.items():
        assert secret not in text, f"{kind} in {request}"
