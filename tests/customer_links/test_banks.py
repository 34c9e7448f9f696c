"""The review of bank connections: sorted by the age of their data; open, mark, next."""

from datetime import timedelta
from typing import Any

import pytest
from flask import Flask
from sqlalchemy import update

from dashboard.context import Services
from dashboard.core.database import db
from dashboard.customer_links.banks.models import BankReview
from dashboard.findings import evaluate
from dashboard.fleet.models import Connection
from tests.support.clock import Clock
from tests.support.people import Person, path_of, words
from tests.support.sandbox import Sandbox

pytestmark = pytest.mark.both_engines


ALL = "/desk/banks.json?per_page=200"


def items(person: Person, query: str = "") -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = person.json(f"{ALL}&{query}")["items"]
    return found


def connection_path(item: dict[str, Any]) -> str:
    return f"/accounts/{item['account_id']}/connections/{item['connection_id']}"


def change(app: Flask, item: dict[str, Any], **values: Any) -> None:
    """Change the stored connection as a read would."""
    with app.app_context():
        same_connection = (
            Connection.account_id == item["account_id"],
            Connection.id == item["connection_id"],
        )
        db.session.execute(update(Connection).where(*same_connection).values(values))
        evaluate.evaluate([item["account_id"]], app.extensions["services"].clock())
        db.session.commit()


def test_every_bank_and_nothing_else_is_on_the_list_the_oldest_data_first(
    viv: Person, sandbox: Sandbox
) -> None:
    found = items(viv)
    banks = {
        each.id
        for account in sandbox.life.accounts(0, 60)
        for each in sandbox.life.connections(account.id)
        if each.connector.auth == "saltedge"
    }
    assert {item["connection_id"] for item in found} == banks
    assert {item["connector"] for item in found} == {"saltedge_kbc", "SaltEdge_ING"}
    ages = [item["last_success_at"] or "" for item in found]
    assert ages == sorted(ages)
    assert [
        row["data-connection-id"]
        for row in viv.get("/desk/banks?per_page=200").select("tr[data-row]")
    ] == [str(item["connection_id"]) for item in found]


def test_one_ticks_off_and_goes_on_to_the_next_until_the_round_is_done(
    olga: Person, viv: Person, adam: Person
) -> None:
    expected = [connection_path(item) for item in items(viv)]
    visited = [olga.client.get("/desk/banks/next").location]
    for _ in range(len(expected)):
        response = olga.post(f"{visited[-1]}/tick", then="next")
        assert response.status_code == 303
        visited.append(response.location)
    assert visited == [*expected, "/desk/banks"]
    assert "The round is done" in words(olga.get("/desk/banks"))
    assert {(item["round"], item["ticked_by"]) for item in items(viv)} == {
        ("ticked", "olga@example.com")
    }
    assert adam.json("/audit.json?what=bank_tick")["total"] == len(expected)


def test_a_tick_is_seen_on_the_list_and_on_the_connections_page_and_can_be_taken_back(
    olga: Person, viv: Person, adam: Person
) -> None:
    first = items(viv)[0]
    url = "/desk/banks?round=to_do"
    row = olga.get(url).select_one("tr[data-row]")
    assert row is not None
    form = next(each for each in row.select("form") if "Tick off" in each.text)
    response = olga.client.post(
        str(form["action"]),
        data={str(each["name"]): str(each["value"]) for each in form.select("input")},
    )
    assert (response.status_code, response.location) == (303, url)
    assert connection_path(items(viv, "round=ticked")[0]) == connection_path(first)
    assert "ticked off by olga@example.com just now" in words(viv.get(connection_path(first)))
    assert not viv.get(connection_path(first)).select("#round form")
    olga.post(f"{connection_path(first)}/tick", do="untick", next="/desk/banks")
    assert items(viv, "round=ticked") == []
    assert adam.json("/audit.json?what=bank_untick")["total"] == 1
    assert olga.post(f"{connection_path(first)}/tick", next="//evil.example").location == "/"
    assert olga.post(f"{connection_path(first)}/tick", do="marry").status_code == 400


def test_two_who_tick_off_the_same_leave_one_tick_the_latest(
    olga: Person, adam: Person, app: Flask
) -> None:
    first = items(olga)[0]
    olga.post(f"{connection_path(first)}/tick")
    adam.post(f"{connection_path(first)}/tick")
    with app.app_context():
        assert [review.who for review in db.session.scalars(db.select(BankReview))] == [
            "adam@example.com"
        ]


def test_a_success_after_a_review_is_a_return_and_the_rest_is_due_again_the_next_day(
    olga: Person, app: Flask, clock: Clock
) -> None:
    # At noon, so that the day does not change during this test.
    clock.move(hours=24 - (clock().hour - 12) % 24)
    olga = Person(app.test_client(), "olga@example.com")
    back, still, *_ = [item for item in items(olga) if item["consent"] != "ended"]
    for item in (back, still):
        olga.post(f"{connection_path(item)}/tick")
    change(app, back, last_success_at=clock() + timedelta(minutes=5))

    def stands() -> list[str]:
        person = Person(app.test_client(), "olga@example.com")
        by_place = {connection_path(item): item["round"] for item in items(person)}
        return [by_place[connection_path(item)] for item in (back, still)]

    assert stands() == ["back", "ticked"]
    clock.move(hours=18)
    assert stands() == ["back", "to_do"]
    clock.move(days=8)
    assert stands() == ["to_do", "to_do"]


def test_whose_consent_has_ended_needs_the_customer_and_what_is_not_told_is_not_guessed(
    viv: Person, olga: Person, app: Flask, services: Services, clock: Clock, sandbox: Sandbox
) -> None:
    refused = sandbox.find(failure="consent", auth="saltedge")
    by_id = {item["connection_id"]: item for item in items(viv)}
    assert by_id[refused.id]["consent"] == "ended"
    well = [item for item in items(viv) if item["consent"] == "lasting"][:4]
    for item, days in zip(well, (-1, 3, 60, None), strict=True):
        change(
            app, item, consent_expires_at=None if days is None else clock() + timedelta(days=days)
        )
    after = {item["connection_id"]: item["consent"] for item in items(viv)}
    assert [after[item["connection_id"]] for item in well] == [
        "ended",
        "ending",
        "lasting",
        "untold",
    ]
    assert {item["consent"] for item in items(viv, "consent=ended")} == {"ended"}
    assert "Ended: needs the customer" in words(viv.get("/desk/banks?consent=ended"))
    total = sum(
        len(items(viv, f"consent={word}")) for word in ("ended", "ending", "lasting", "untold")
    )
    assert total == len(items(viv))


def test_one_opens_a_bank_from_the_list_and_has_the_message_before_one(
    olga: Person, sandbox: Sandbox
) -> None:
    connection = sandbox.find(auth="saltedge", failure=None)
    row = olga.get("/desk/banks?per_page=200").select_one(
        f"tr[data-connection-id='{connection.id}']"
    )
    assert row is not None
    form = next(each for each in row.select("form") if "Make a link" in each.text)
    response = olga.client.post(str(form["action"]), data={"csrf_token": olga.token()})
    assert response.location == path_of(connection)
    assert "confirm at your bank" in words(olga.get(response.location).select_one("#message-body"))


def test_a_viewer_looks_and_ticks_nothing_off_and_what_is_no_bank_is_not_ticked(
    viv: Person, olga: Person, sandbox: Sandbox
) -> None:
    first = items(viv)[0]
    assert not viv.get("/desk/banks").select("tr form")
    assert viv.post(f"{connection_path(first)}/tick").status_code == 403
    assert olga.client.get(f"{connection_path(first)}/tick").status_code == 405
    assert olga.post(path_of(sandbox.healthy, "/tick")).status_code == 400
    assert not olga.get(path_of(sandbox.healthy)).select("#round")
    assert items(viv, "round=ticked") == []


def test_the_list_is_searched_sorted_and_has_its_twins(viv: Person) -> None:
    found = items(viv)
    assert (
        viv.json(f"{ALL}&q={found[0]['external_id']}&connector={found[0]['connector']}")["total"]
        >= 1
    )
    for sort in ("age", "-age", "consent", "account", "ticked", "-ticked"):
        assert len(items(viv, f"sort={sort}")) == len(found)
    assert viv.client.get("/desk/banks.csv").text.count("\n") == len(found) + 1
    assert viv.client.get("/desk/banks?round=lost").status_code == 400
    assert viv.fragment("/desk/banks").select_one("#list")
