"""Restricted users: no page, list, count, file or button shows or changes other customers."""

import re
from collections.abc import Iterator

import pytest
from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy import func, select
from werkzeug.routing import Rule

from dashboard.core.database import db
from dashboard.findings.models import Finding
from dashboard.fleet.models import Connection
from dashboard.users import customer_access
from dashboard.users import service as users
from tests.support.people import Person, words
from tests.support.restricted_users import INSIDE
from tests.support.sandbox import Sandbox

pytestmark = pytest.mark.both_engines


OUTSIDER = re.compile(r"outsider", re.IGNORECASE)
# Ids in addresses that do not belong to a customer; some are of pages for administrators.
OTHERS = {"query_id": "a saved question", "token_id": "one's own token"}


def path_of(rule: Rule, ids: dict[str, int]) -> str | None:
    """Return the rule's path with an outsider's ids; None if it has none of them."""
    if not rule.arguments or not rule.arguments <= ids.keys() or rule.arguments <= OTHERS.keys():
        return None
    return re.sub(r"<(?:\w+:)?(\w+)>", lambda found: str(ids[found[1]]), rule.rule)


def rules(app: Flask, method: str, *roles: str) -> Iterator[Rule]:
    for rule in app.url_map.iter_rules():
        role = app.view_functions[rule.endpoint].__dict__.get("role")
        if rule.endpoint != "static" and method in (rule.methods or ()) and role in roles:
            yield rule


def counts(app: Flask) -> dict[str, int]:
    with app.app_context():
        return {
            table.name: db.session.scalar(select(func.count()).select_from(table)) or 0
            for table in db.metadata.sorted_tables
        }


def test_every_address_with_an_outsiders_id_is_a_404(
    app: Flask, ids: dict[str, int], olga: Person
) -> None:
    requested = set()
    for rule in rules(app, "GET", "viewer", "operator"):
        path = path_of(rule, ids)
        if path is None:
            assert not rule.arguments or rule.arguments <= OTHERS.keys(), rule.rule
            continue
        for headers in ({}, {"HX-Request": "true"}):
            response = olga.client.get(path, headers=headers)
            assert response.status_code == 404, path
            assert not OUTSIDER.search(response.text), path
        requested.add(rule.endpoint)
    assert len(requested) > 40


def test_every_button_of_an_outsiders_is_a_404_and_does_nothing(
    app: Flask, ids: dict[str, int], olga: Person, sandbox: Sandbox
) -> None:
    token, before, requested = olga.token(), counts(app), set()
    fields = {
        "csrf_token": token,
        "text": "select 1",
        "why": "because I may",
        "do": "take",
        "value": "outsider",
        "reason": "none",
        "days": "1",
        "connector": "exact_online",
        "format": "csv",
        "seen": "done",
        "column": "a",
        "language": "en",
    }
    for rule in rules(app, "POST", "viewer", "operator"):
        path = path_of(rule, ids)
        if path is None:
            assert not rule.arguments or rule.arguments <= OTHERS.keys(), rule.rule
            continue
        response = olga.client.post(path, data=fields)
        assert response.status_code == 404, path
        assert not OUTSIDER.search(response.text), path
        requested.add(rule.endpoint)
    assert len(requested) > 25
    assert counts(app) == before
    assert sandbox.state()["syncs"] == {}


@pytest.mark.parametrize("name", ["viv", "olga"])
def test_no_list_and_no_page_names_an_outsider(
    request: pytest.FixtureRequest, app: Flask, ids: dict[str, int], name: str
) -> None:
    person: Person = request.getfixturevalue(name)
    outside = re.compile(r"(?:/accounts/|cust-0)(?!1003\b|10[12]\d\b|0003\b|00[12]\d\b)\d+")
    pages = 0
    for rule in rules(app, "GET", "viewer", "operator"):
        if rule.arguments - OTHERS.keys():
            continue
        for args in (
            "",
            "?per_page=200",
            "?q=outsider&per_page=200",
            "?account=1001",
            "?state=recovered",
            "?external_id=cust-00001",
        ):
            path = (
                re.sub(r"<(?:\w+:)?(\w+)>", lambda found: str(ids.get(found[1], 1)), rule.rule)
                + args
            )
            response = person.client.get(path)
            assert response.status_code in {200, 302, 400, 403, 404}, path
            text = (
                response.text.replace("q=outsider", "")
                .replace('value="outsider"', "")
                .replace("“outsider”", "")
            )
            text = text.replace('placeholder="cust-00001"', "")
            text = text.replace("cust-00001", "") if "external_id" in args else text
            assert not OUTSIDER.search(text), (
                path,
                text[max(0, OUTSIDER.search(text).start() - 200) :][:400],
            )  # type: ignore[union-attr]
            assert not outside.search(text), (path, outside.search(text))
            pages += response.status_code == 200
    assert pages > (130 if name == "olga" else 100)


def test_a_search_finds_nothing_by_words_that_are_not_shown(
    app: Flask, ids: dict[str, int], viv: Person, adam: Person
) -> None:
    lists = (
        "/accounts",
        "/connections",
        "/findings",
        "/causes",
        "/desk",
        "/desk/needed",
        "/receipts",
        "/bulk",
        "/deliveries",
    )
    found = {
        path: (
            adam.json(f"{path}.json?q=outsider")["total"],
            viv.json(f"{path}.json?q=outsider")["total"],
        )
        for path in lists
    }
    # Both users see the causes, which include an outsider's text in the database.
    assert found["/causes"][0] > 0
    assert viv.json("/causes.json")["total"] > 0
    assert {path: mine for path, (_, mine) in found.items()} == dict.fromkeys(lists, 0)


def test_a_token_shows_a_script_no_more_than_its_owner_sees(
    app: Flask, ids: dict[str, int], viv: Person
) -> None:
    shown = viv.post("/me/tokens", name="report")
    token = re.search(r"pc_[\w-]{40,}", shown.text)
    assert token is not None
    script: FlaskClient = app.test_client()
    bearer = {"Authorization": f"Bearer {token.group()}"}
    assert {
        item["account_id"]
        for item in script.get("/accounts.json?per_page=200", headers=bearer).json["items"]
    } == INSIDE
    for path in (
        "/connections.json?per_page=200",
        "/findings.json?per_page=200",
        "/accounts.csv",
        "/receipts.json",
        "/bulk.json",
    ):
        response = script.get(path, headers=bearer)
        assert response.status_code == 200
        assert not OUTSIDER.search(response.text), path
    assert script.get(f"/bulk/{ids['job_id']}.json", headers=bearer).status_code == 404
    assert (
        script.get(f"/accounts/{ids['account_id']}/tables/1.json", headers=bearer).status_code
        == 404
    )


def test_whatever_is_counted_counts_what_they_see(
    app: Flask, ids: dict[str, int], viv: Person, adam: Person
) -> None:
    with app.app_context():
        mine = (
            Connection.account_id.in_(INSIDE),
            Connection.gone_at.is_(None),
            Connection.is_warehouse.is_(False),
        )
        connections = (
            db.session.scalar(select(func.count()).select_from(Connection).where(*mine)) or 0
        )
        behind = {
            row[0]: (row[1], row[2])
            for row in db.session.execute(
                select(
                    Finding.cause_id,
                    func.count(Finding.connection_id),
                    func.count(Finding.account_id.distinct()),
                )
                .where(Finding.account_id.in_(INSIDE), Finding.recovered_at.is_(None))
                .group_by(Finding.cause_id)
            )
        }
    assert viv.json("/connections.json")["total"] == connections
    assert adam.json("/connections.json")["total"] > connections
    assert viv.json("/accounts.json")["total"] == len(INSIDE)
    assert f"{len(INSIDE)} of {len(INSIDE)} accounts read" in words(viv.get("/"))
    cards = [int(card.text) for card in viv.get("/").select(".severity-count")]
    assert (sum(cards), cards[0] > 0) == (connections, True)
    shown = {
        item["id"]: (item["connections"], item["accounts"])
        for item in viv.json("/causes.json?per_page=200")["items"]
    }
    assert shown == behind
    everybody = {
        item["id"]: item["accounts"] for item in adam.json("/causes.json?per_page=200")["items"]
    }
    assert any(everybody[id] > accounts for id, (_, accounts) in shown.items())
    assert (
        sum(item["connections"] for item in viv.json("/accounts.json?per_page=200")["items"])
        == connections
    )


def test_what_is_remembered_for_one_is_not_shown_to_another(
    app: Flask, ids: dict[str, int], viv: Person, adam: Person
) -> None:
    for _ in range(2):
        everything, some = adam.json("/accounts.json")["total"], viv.json("/accounts.json")["total"]
        assert (everything, some) == (60, len(INSIDE))
    with app.app_context():
        user = users.find_user("viv@example.com")
        assert user is not None
        customer_access.limit(user, customer_access.read("cust-00003"))
    assert viv.json("/accounts.json")["total"] == 1
    with app.app_context():
        user = users.find_user("viv@example.com")
        assert user is not None
        customer_access.limit(user, None)
    assert viv.json("/accounts.json")["total"] == 60
