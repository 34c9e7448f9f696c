"""Bulk jobs over HTTP; the test runs the worker's steps."""

import csv
import io
import re
from typing import Any
from urllib.parse import urlencode

import pytest
from bs4 import BeautifulSoup
from flask import Flask
from werkzeug.test import TestResponse

from dashboard.actions import service as actions
from dashboard.actions.tasks import poll_action
from dashboard.bulk import service as bulk
from dashboard.bulk.tasks import step_bulk_job
from dashboard.context import Services
from dashboard.core.database import db
from dashboard.fleet import queries
from tests.support.clock import Clock
from tests.support.people import Person, words
from tests.support.sandbox import Sandbox
from tests.support.settings import make_settings

pytestmark = pytest.mark.both_engines


@pytest.fixture(autouse=True)
def earlier(clock: Clock) -> None:
    """Set the clock an hour back: the sandbox uses the real time, which it must not pass."""
    clock.move(hours=-1)


@pytest.fixture
def worker(app: Flask, services: Services, clock: Clock) -> Any:
    """Run the worker's due tasks, several times."""

    def work(times: int = 1) -> None:
        for _ in range(times):
            clock.move(seconds=61)
            with app.app_context():
                for job_id in bulk.due(clock()):
                    step_bulk_job(job_id)
                for action_id in actions.due(clock()):
                    poll_action(action_id)
                for job_id in bulk.due(clock()):
                    step_bulk_job(job_id)

    return work


def a_cause(person: Person, rule: str = "auth_failed", least: int = 3) -> dict[str, Any]:
    """Return the cause of this rule with the most connections."""
    found = person.json(f"/causes.json?rule={rule}&sort=-connections")["items"][0]
    assert found["connections"] >= least
    return dict(found)


def quiet(person: Person, sandbox: Sandbox) -> list[dict[str, Any]]:
    """Return connections that are healthy and stay healthy."""
    items = person.json("/connections.json?severity=ok&per_page=200")["items"]
    return [item for item in items if not sandbox.life.connection(item["connection_id"]).flips]


def a_cause_of_connections(person: Person) -> dict[str, Any]:
    """Return the largest cause among those whose findings all belong to connections."""
    for cause in person.json("/causes.json?sort=-connections&per_page=200")["items"]:
        behind = person.json(f"/causes/{cause['id']}.json?per_page=200")["items"]
        if cause["connections"] == len(behind) and all(
            item["connection_id"] is not None for item in behind
        ):
            assert cause["connections"] >= 2
            return dict(cause)
    raise LookupError


def ticked(person: Person, sandbox: Sandbox, count: int) -> str:
    """Return the address of the confirm page for some connections."""
    items = quiet(person, sandbox)[:count]
    assert len(items) == count
    boxes = [("c", f"{item['account_id']}-{item['connection_id']}") for item in items]
    return "/bulk/new?" + urlencode([("which", "ticked"), ("kind", "sync"), *boxes])


def submit(person: Person, address: str, **changes: str) -> TestResponse:
    """Fill the confirm page in and send it as a browser does."""
    form = person.get(address).select_one("form.bulk-form")
    assert form is not None
    data: dict[str, Any] = {}
    for field in form.select("input[name]"):
        data.setdefault(str(field["name"]), []).append(str(field.get("value", "")))
    first = form.select_one("select[name=first] option")
    assert first is not None
    return person.client.post(
        str(form["action"]), data={**data, "first": first["value"], "why": "mended", **changes}
    )


def started(response: TestResponse) -> str:
    """Return the job's page."""
    assert response.status_code == 303, response.text[:3000]
    return response.location


def button_of(soup: BeautifulSoup, label: str) -> str:
    """Return the address of the link with this label."""
    return str(next(link["href"] for link in soup.select("a.btn") if words(link).startswith(label)))


def numbers(soup: BeautifulSoup) -> dict[str, int]:
    return {
        str(each["data-number"]): int(each.text.replace("\u202f", ""))
        for each in soup.select("[data-number]")
    }


def press(person: Person, page: str, label: str, **changes: str) -> TestResponse:
    """Return the button with this label and its form's fields."""
    button = person.get(page).find("button", string=re.compile(label))
    assert button is not None, f"no button {label}"
    form = button.find_parent("form")
    assert form is not None
    data = {str(field["name"]): str(field.get("value", "")) for field in form.select("input[name]")}
    chosen = form.select_one("select option")
    if chosen is not None:
        data["item"] = str(chosen["value"])
    return person.client.post(str(form["action"]), data={**data, **changes})


def test_a_cause_is_synced_with_one_first_then_all_and_the_numbers_add_up(
    olga: Person, worker: Any, services: Services, sandbox: Sandbox
) -> None:
    cause = a_cause_of_connections(olga)
    count = cause["connections"]
    sync_all = button_of(olga.get(f"/causes/{cause['id']}"), f"Sync all {count}")
    confirm = olga.get(sync_all)
    assert f"A sync is started on {count} connections of {cause['accounts']} account" in words(
        confirm
    )
    page = started(submit(olga, sync_all))
    soup = olga.get(page)
    assert "Go on with" not in words(soup)
    assert soup.select_one("#bulk")["data-poll"] == ""
    worker(3)
    soup = olga.get(page)
    assert soup.select_one("#bulk")["data-state"] == "tried"
    assert not soup.select_one("#bulk").has_attr("hx-get")
    assert sum(sandbox.state()["syncs"].values()) == 1
    assert press(olga, page, "Go on").status_code == 303
    for _ in range(3 * count):
        soup = olga.get(page)
        now = numbers(soup)
        assert (
            now["left"]
            + sum(now.get(name, 0) for name in ("done", "no_effect", "failed", "left_out"))
            == count
        )
        if soup.select_one("#bulk[data-state=done]"):
            break
        worker()
    assert now["left"] == 0
    assert not soup.select("#bulk[hx-get], #bulk button")
    assert set(sandbox.state()["syncs"].values()) == {1}
    listed = olga.json(page + ".json?per_page=200")
    assert listed["total"] == count
    assert set(sandbox.state()["syncs"]) == {str(item["connection_id"]) for item in listed["items"]}
    assert sandbox.state()["calls"]["syncdb"] == count
    assert olga.json(f"{page}.json?state=failed")["total"] == now["failed"]
    job = olga.json("/bulk.json")["items"][0]
    assert (job["state"], job["connections"], job["left"]) == ("done", count, 0)
    assert job["done"] + job["no_effect"] + job["failed"] <= count


def test_where_the_first_did_not_help_that_is_said_before_the_rest_is_offered(
    olga: Person, worker: Any, sandbox: Sandbox
) -> None:
    cause = a_cause_of_connections(olga)
    item = olga.json(f"/causes/{cause['id']}.json")["items"][0]
    first = f"{item['account_id']}-{item['connection_id']}"
    page = started(submit(olga, f"/bulk/new?kind=sync&cause={cause['id']}", first=first))
    worker(3)
    soup = olga.get(page)
    assert "invalid_grant" in words(soup.select_one(".bulk-first"))
    assert "It failed here It will probably do the same to the other" in words(soup)
    assert "Go on all the same with the other" in words(soup)


@pytest.mark.parametrize("seen", ["", "done", "no_effect", "failed", "waiting", "running"])
def test_no_request_begins_the_rest_before_the_first_has_ended(
    olga: Person, adam: Person, worker: Any, sandbox: Sandbox, seen: str
) -> None:
    page = started(submit(olga, ticked(olga, sandbox, 4)))
    sandbox.life.run_seconds = (600, 600)
    for person in (olga, adam):
        assert person.post(f"{page}/go-on", seen=seen).status_code == 409
    worker()
    for person in (olga, adam):
        assert person.post(f"{page}/go-on", seen=seen).status_code == 409
        assert person.post(f"{page}/try", item="2").status_code == 409
    worker(3)
    assert sum(sandbox.state()["syncs"].values()) == 1
    assert numbers(olga.get(page)) == {"done": 0, "failed": 0, "running": 1, "left": 4}


def test_the_rest_is_begun_once_and_only_from_the_page_that_shows_the_result(
    olga: Person, worker: Any, sandbox: Sandbox
) -> None:
    page = started(submit(olga, ticked(olga, sandbox, 3)))
    worker(2)
    assert "Worked" in words(olga.get(page).select_one(".bulk-first"))
    assert olga.post(f"{page}/go-on", seen="failed").status_code == 409
    assert press(olga, page, "Go on with the other 2").status_code == 303
    assert olga.post(f"{page}/go-on", seen="done").status_code == 409
    worker(4)
    assert sum(sandbox.state()["syncs"].values()) == 3


def test_everything_that_matches_is_meant_and_not_one_page(olga: Person, adam: Person) -> None:
    total = adam.json("/connections.json?severity=ok")["total"]
    assert total > 60
    soup = adam.get("/connections?severity=ok&per_page=25&page=2&sort=name")
    form = soup.select_one("form#many")
    assert form is not None
    assert f"all {total} that match" in words(form)
    fields = {str(each["name"]): str(each["value"]) for each in form.select("input[name]")}
    assert fields.pop("csrf_token")
    assert fields == {"severity": "ok", "sort": "name"}
    confirm = adam.get("/bulk/new?" + urlencode({**fields, "which": "all", "kind": "sync"}))
    assert f"A sync is started on {total} connections" in words(confirm)
    first = adam.json("/connections.json?severity=ok&sort=name")["items"][0]
    option = confirm.select_one("select[name=first] option")
    assert option is not None
    assert option["value"] == f"{first['account_id']}-{first['connection_id']}"
    narrowed = adam.json("/connections.json?severity=ok&q=amber")["total"]
    assert 0 < narrowed < total
    assert f"A sync is started on {narrowed} connection" in words(
        adam.get("/bulk/new?kind=sync&which=all&severity=ok&q=amber")
    )


def test_a_search_on_a_causes_page_narrows_what_is_done(olga: Person) -> None:
    cause = a_cause_of_connections(olga)
    one = olga.json(f"/causes/{cause['id']}.json")["items"][0]
    sync_all = button_of(olga.get(f"/causes/{cause['id']}?q={one['external_id']}"), "Sync all")
    count = olga.json(f"/causes/{cause['id']}.json?q={one['external_id']}")["total"]
    assert count < cause["connections"]
    assert f"Sync {count} connection" in words(olga.get(sync_all).h1)


def test_what_cannot_be_done_is_left_out_and_said_why(
    olga: Person, adam: Person, sandbox: Sandbox
) -> None:
    soup = adam.get("/bulk/new?kind=reauthorise&which=all")
    text = words(soup)
    total = adam.json("/connections.json")["total"]
    left_out = re.search(r"Left out: (\d+) of (\d+)", text)
    assert left_out is not None
    assert int(left_out[2]) == total
    making = re.search(r"Make (\d+) reauthorisation links", text)
    assert making is not None
    assert int(making[1]) + int(left_out[1]) == total
    reasons = {
        word: int(count) for count, word in re.findall(r"(\d+): ([^0-9]+?)(?= \d|  | Why|$)", text)
    }
    assert sum(reasons.values()) == int(left_out[1])
    assert any("bank connection" in reason for reason in reasons)
    assert any("not authorised by OAuth" in reason for reason in reasons)


def test_what_is_under_way_already_is_left_out(olga: Person, sandbox: Sandbox) -> None:
    sandbox.life.run_seconds = (600, 600)
    address = ticked(olga, sandbox, 3)
    item = quiet(olga, sandbox)[1]
    olga.post(f"/accounts/{item['account_id']}/connections/{item['connection_id']}/sync")
    text = words(olga.get(address))
    assert "A sync is started on 2 connections" in text
    assert "Left out: 1 of 3 1: a sync is under way already" in text


def test_what_is_gone_or_was_never_there_is_left_out(olga: Person, sandbox: Sandbox) -> None:
    text = words(olga.get(ticked(olga, sandbox, 1) + "&c=999-999"))
    assert "1: it is not known any more" in text


def test_what_has_gone_since_it_was_ticked_is_left_out(
    olga: Person, app: Flask, sandbox: Sandbox, clock: Clock
) -> None:
    address, item = ticked(olga, sandbox, 2), quiet(olga, sandbox)[0]
    with app.app_context():
        connection = queries.connection_or_none(item["account_id"], item["connection_id"])
        assert connection is not None
        connection.gone_at = clock()
        db.session.commit()
    text = words(olga.get(address))
    assert "Left out: 1 of 2 1: it is gone from Peliqan’s list" in text


def test_nothing_ticked_begins_nothing_and_says_so(olga: Person) -> None:
    soup = olga.get("/bulk/new?kind=sync&which=ticked")
    assert "Nothing is ticked" in words(soup)
    assert not soup.select("form.bulk-form")


@pytest.mark.parametrize(
    "query",
    [
        "",
        "kind=drop",
        "kind=sync&which=some",
        "kind=sync&which=ticked&c=x",
        "kind=sync&cause=x",
        "kind=sync&severity=bad",
    ],
)
def test_what_cannot_be_read_is_a_sentence(olga: Person, query: str) -> None:
    olga.get(f"/bulk/new?{query}", 400)


def test_there_is_no_work_for_a_cause_nor_a_job_that_is_not_there(olga: Person) -> None:
    olga.get("/bulk/new?kind=sync&cause=999999", 404)
    olga.get("/bulk/999999", 404)
    olga.get("/bulk/99999999999999999999999", 404)
    for what in ("go-on", "try", "cancel"):
        assert olga.post(f"/bulk/999999/{what}").status_code == 404


def test_a_viewer_sees_the_work_and_may_do_none(
    olga: Person, viv: Person, adam: Person, worker: Any, sandbox: Sandbox
) -> None:
    address = ticked(olga, sandbox, 3)
    page = started(submit(olga, address))
    worker(2)
    assert not viv.get(page).select("#bulk button")
    assert not viv.get("/connections").select("form#many, input[name=c], [data-tick-all]")
    assert "Sync all" not in words(viv.get(f"/causes/{a_cause(viv)['id']}"))
    viv.get(address, 403)
    fields = {"kind": "sync", "severity": "ok", "why": "x"}
    assert viv.post("/bulk", **fields).status_code == 403
    for what in ("go-on", "try", "cancel"):
        assert viv.post(f"{page}/{what}", seen="done", item="2").status_code == 403
    assert viv.client.get(f"{page}/links.csv").status_code == 403
    assert sum(sandbox.state()["syncs"].values()) == 1
    assert (
        len(
            [
                each
                for each in adam.json("/audit.json?result=refused")["items"]
                if each["who"] == "viv@example.com"
            ]
        )
        >= 5
    )


def test_an_operators_job_has_a_limit_and_an_administrators_none(
    app: Flask, store: dict[str, str], sandbox: Sandbox, tmp_path: Any, clock: Clock
) -> None:
    from dashboard.app import create_app

    small = create_app(
        make_settings(sandbox.url, tmp_path, **store, dashboard_bulk_most=3), clock=clock
    )
    small.config["RATELIMIT_ENABLED"] = False
    olga, adam = (Person(small.test_client(), f"{name}@example.com") for name in ("olga", "adam"))
    within, beyond = ticked(olga, sandbox, 3), ticked(olga, sandbox, 4)
    assert "at most 3 connections in one job" in words(olga.get(within))
    refused = olga.get(beyond)
    assert "at most 3 connections, so this cannot begin" in words(refused)
    assert not refused.select("form.bulk-form")
    boxes = [str(each["value"]) for each in adam.get(beyond).select("input[name=c]")]
    seen = str(adam.get(beyond).select_one("input[name=seen]")["value"])
    form: Any = {
        "kind": "sync",
        "which": "ticked",
        "c": boxes,
        "seen": seen,
        "first": boxes[0],
        "why": "x",
    }
    assert olga.post("/bulk", **form).status_code == 403
    assert adam.json("/bulk.json")["total"] == 0
    page = started(submit(adam, beyond))
    with small.app_context():
        for _ in range(3):
            clock.move(seconds=61)
            for job_id in bulk.due(clock()):
                step_bulk_job(job_id)
            for action_id in actions.due(clock()):
                poll_action(action_id)
    soup = olga.get(page)
    assert "Only an administrator may go on with so many" in words(soup)
    assert olga.post(f"{page}/go-on", seen="done").status_code == 403
    assert press(adam, page, "Go on with the other 3").status_code == 303


def test_what_changed_since_it_was_looked_at_is_shown_again_and_nothing_is_done(
    olga: Person, sandbox: Sandbox, adam: Person
) -> None:
    sandbox.life.run_seconds = (600, 600)
    address = ticked(olga, sandbox, 3)
    seen = str(olga.get(address).select_one("input[name=seen]")["value"])
    item = quiet(olga, sandbox)[0]
    olga.post(f"/accounts/{item['account_id']}/connections/{item['connection_id']}/sync")
    response = submit(olga, address, seen=seen)
    assert response.status_code == 409
    assert "Nothing was done. This is how it is now." in response.text
    assert olga.json("/bulk.json")["total"] == 0


def test_without_a_reason_nothing_begins(olga: Person, sandbox: Sandbox) -> None:
    response = submit(olga, ticked(olga, sandbox, 3), why="  ")
    assert response.status_code == 400
    assert "Say why" in response.text
    assert olga.json("/bulk.json")["total"] == 0


def test_a_job_can_be_cancelled_by_a_colleague_and_says_so(
    olga: Person, adam: Person, worker: Any, sandbox: Sandbox
) -> None:
    page = started(submit(olga, ticked(olga, sandbox, 9)))
    worker(2)
    sandbox.life.run_seconds = (600, 600)
    press(olga, page, "Go on")
    worker()
    assert press(adam, page, "Cancel").status_code == 303
    soup = olga.get(page)
    assert numbers(soup) == {"done": 1, "failed": 0, "cancelled": 3, "running": 5, "left": 5}
    assert "by adam@example.com; what is under way is followed to its end" in words(soup)
    assert soup.select_one("#bulk[hx-get]")
    worker(2)
    assert sum(sandbox.state()["syncs"].values()) == 6
    assert not olga.get(page).select("#bulk button")
    assert adam.post(f"{page}/cancel").status_code == 303
    trail = [item["what"] for item in adam.json("/audit.json?q=bulk")["items"]]
    assert sorted(trail) == ["bulk_cancel", "bulk_go_on", "bulk_sync"]


def test_links_are_made_for_customers_and_handed_to_operators_alone(
    olga: Person, viv: Person, worker: Any, sandbox: Sandbox
) -> None:
    items = [
        item
        for item in olga.json(f"/causes/{a_cause(olga)['id']}.json")["items"]
        if item["connection_id"]
    ]
    boxes = [("c", f"{item['account_id']}-{item['connection_id']}") for item in items[:3]]
    page = started(
        submit(
            olga, "/bulk/new?" + urlencode([("kind", "reauthorise"), ("which", "ticked"), *boxes])
        )
    )
    worker()
    first = olga.get(page).select_one(".bulk-first")
    assert first is not None
    assert "The link was made" in words(first)
    host = sandbox.url.removeprefix("http://")
    assert f"It leads to {host}" in words(first)
    press(olga, page, "Go on with the other 2")
    worker(2)
    soup = olga.get(page)
    assert numbers(soup) == {"done": 3, "failed": 0, "left": 0}
    links = [str(link["href"]) for link in soup.select("a[id^=link-]")]
    assert sorted(links) == sorted(
        f"{sandbox.url}/sandbox/consent/{item['connection_id']}" for item in items[:3]
    )
    response = olga.client.get(f"{page}/links.csv")
    rows = list(csv.DictReader(io.StringIO(response.text)))
    assert sorted(row["link"] for row in rows) == sorted(links)
    assert {row["link_host"] for row in rows} == {host}
    assert {"account_id", "account_name", "connection_id"} <= set(rows[0])
    for address in (page, f"{page}.json", f"{page}.csv"):
        assert "/sandbox/consent/" not in viv.client.get(address).text
    text = words(
        olga.get("/bulk/new?" + urlencode([("kind", "reauthorise"), ("which", "ticked"), *boxes]))
    )
    assert "3: a link waits for the customer already" in text


def test_the_progress_fragment_is_the_pages_and_says_when_the_list_should_follow(
    olga: Person, worker: Any, sandbox: Sandbox
) -> None:
    page = started(submit(olga, ticked(olga, sandbox, 3)))
    whole = olga.get(page).select_one("#bulk")
    assert whole is not None
    poll = str(whole["hx-get"])
    same = olga.client.get(poll, headers={"HX-Request": "true"})
    assert "HX-Trigger" not in same.headers
    part = BeautifulSoup(same.text, "html.parser").select_one("#bulk")
    assert part is not None
    assert part.attrs == whole.attrs
    worker(2)
    moved = olga.client.get(poll, headers={"HX-Request": "true"})
    assert moved.headers["HX-Trigger"] == "moved"
    assert "hx-trigger" not in moved.text
    assert olga.client.get(poll).status_code == 302
    listed = olga.fragment(f"{page}?state=done")
    assert len(listed.select("tr[data-result=done]")) == 1


def test_a_hostile_reason_is_text(olga: Person, sandbox: Sandbox) -> None:
    page = started(submit(olga, ticked(olga, sandbox, 2), why="<script>alert(1)</script>"))
    for address in (page, "/bulk"):
        html = olga.client.get(address).text
        assert "<script>alert(1)" not in html
        assert "&lt;script&gt;alert(1)" in html
    assert olga.client.get("/bulk.csv").status_code == 200
