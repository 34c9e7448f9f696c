"""Causes and findings on pages and as JSON."""

import re
from typing import Any

import pytest
from flask import Flask

from dashboard.context import Services
from dashboard.refresh import live
from tests.support.clock import Clock
from tests.support.factories import dark_fleet
from tests.support.people import Person, path_of, words
from tests.support.sandbox import Sandbox


@pytest.fixture
def disabled(app: Flask, services: Services, sandbox: Sandbox) -> Any:
    """Return a connection that has just been disabled."""
    connection = sandbox.healthy
    sandbox.set(connection.id, health_status="DISABLED")
    with app.app_context():
        live.read_connection(services.api, connection.account_id, connection.id, services.clock())
    return connection


def finding_of(person: Person, connection: Any) -> dict[str, Any]:
    [found] = [
        each
        for each in person.json("/findings.json?per_page=200")["items"]
        if each["connection_id"] == connection.id
    ]
    return dict(found)


def test_causes_are_shown_worst_first_and_each_leads_to_what_is_behind_it(viv: Person) -> None:
    items = viv.json("/causes.json")["items"]
    assert items
    ranks = [("critical", "warning", "info").index(each["severity"]) for each in items]
    assert ranks == sorted(ranks)
    assert {"rule", "connector", "connections", "accounts", "since", "state", "example"} <= set(
        items[0]
    )
    assert {each["state"] for each in items} <= {"new", "open"}
    rows = viv.get("/causes").select("tr[data-cause-id]")
    assert [int(str(row["data-cause-id"])) for row in rows] == [each["id"] for each in items]
    for item in items[:5]:
        behind = viv.json(f"/causes/{item['id']}.json?per_page=200")
        assert behind["total"] == max(item["connections"], item["accounts"])
        assert {each["rule"] for each in behind["items"]} == {item["rule"]}
        soup = viv.get(f"/causes/{item['id']}")
        assert len(soup.select("tr[data-account-id]")) == min(behind["total"], 50)
        assert item["example"].split()[0] in words(soup)


def test_findings_have_their_promised_fields_and_filters(viv: Person) -> None:
    everything = viv.json("/findings.json?per_page=200")
    assert {
        "rule",
        "severity",
        "state",
        "account_id",
        "connection_id",
        "connector",
        "evidence",
        "first_seen",
    } <= set(everything["items"][0])
    rule = everything["items"][0]["rule"]
    narrowed = viv.json(f"/findings.json?rule={rule}&per_page=200")
    assert {each["rule"] for each in narrowed["items"]} == {rule}
    assert narrowed["total"] == sum(each["rule"] == rule for each in everything["items"])
    assert viv.client.get("/findings?rule=nonsense").status_code == 400
    assert len(viv.client.get("/findings.csv").text.splitlines()) == everything["total"] + 1


def test_what_recovered_is_shown_where_it_is_asked_for(
    viv: Person, app: Flask, services: Services, sandbox: Sandbox, disabled: Any
) -> None:
    total = viv.json("/findings.json")["total"]
    assert finding_of(viv, disabled)["rule"] == "disabled"
    sandbox.set(disabled.id, health_status=None)
    with app.app_context():
        live.read_connection(services.api, disabled.account_id, disabled.id, services.clock())
    assert viv.json("/findings.json")["total"] == total - 1
    recovered = viv.json("/findings.json?state=recovered&per_page=200")["items"]
    assert disabled.id in [each["connection_id"] for each in recovered]
    options = [option["value"] for option in viv.get("/findings").select("#filter-state option")]
    assert "recovered" in options


def test_a_connections_page_says_what_is_wrong_and_who_else_has_it(
    viv: Person, sandbox: Sandbox, disabled: Any
) -> None:
    soup = viv.get(path_of(disabled))
    [article] = soup.select("article.finding")
    assert article["data-rule"] == "disabled"
    assert "It is switched off (DISABLED)" in words(article)
    well = sandbox.find(auth="api_key", failure=None, placed=None, flips=False)
    assert viv.get(path_of(well)).select("article.finding") == []


def test_the_overview_counts_causes_and_not_connections(viv: Person) -> None:
    soup = viv.get("/")
    total = viv.json("/causes.json")["total"]
    assert f"{total} causes behind" in words(soup)
    assert len(soup.select("section[aria-labelledby=causes] a.change")) == min(8, total)


def test_the_overviews_counts_follow_what_is_suppressed_and_woken(
    olga: Person, app: Flask, clock: Clock
) -> None:
    with app.app_context():
        dark_fleet(clock, 3)

    def shown() -> tuple[int, ...]:
        numbers = re.findall(
            r"(\d+) causes? behind (\d+) connection|Says OK, but (\d+) now", words(olga.get("/"))
        )
        return tuple(int(each) for found in numbers for each in found if each)

    before = shown()
    assert len(before) == 3
    [dark, *_] = [each["cause_id"] for each in olga.json("/findings.json?contradicts=yes")["items"]]
    olga.post(f"/causes/{dark}/suppress", days="7", reason="The customer left")
    suppressed = shown()
    assert all(now < then for now, then in zip(suppressed, before, strict=True))
    [other, *_] = [each["id"] for each in olga.json("/causes.json")["items"] if each["connections"]]
    olga.post(f"/causes/{other}/suppress", days="7", reason="The customer left")
    assert shown() < suppressed
    olga.post(f"/causes/{other}/wake")
    assert shown() == suppressed


def test_what_peliqan_calls_well_and_is_not_has_a_lane_of_its_own(
    viv: Person, app: Flask, clock: Clock
) -> None:
    with app.app_context():
        dark_fleet(clock, 3)
    lane = viv.json("/findings.json?contradicts=yes&per_page=200")["items"]
    assert lane
    soup = viv.get("/")
    shown = soup.select("section[aria-labelledby=contradictions] a.change")
    assert len(shown) == min(8, len(lane))
    for row in shown:
        assert row["data-status"] in {"OK", "HEALTHY"}
        assert "Peliqan calls it OK, but the last success was" in words(row)


def test_suppressing_needs_a_reason_is_audited_and_ends_by_itself(
    olga: Person, adam: Person, app: Flask, clock: Clock, disabled: Any
) -> None:
    finding = finding_of(olga, disabled)
    cause = f"/causes/{finding['cause_id']}"
    olga.post(f"{cause}/suppress", days="7", reason=" ")
    assert "Say why" in words(olga.get(cause))
    olga.post(f"{cause}/suppress", days="7", reason="The customer left")
    text = words(olga.get(cause))
    assert "by olga@example.com: The customer left" in text
    assert finding["cause_id"] not in [
        each["id"] for each in olga.json("/causes.json?per_page=200")["items"]
    ]
    [entry] = adam.json("/audit.json?what=suppress")["items"]
    assert (entry["who"], entry["result"]) == ("olga@example.com", "done")
    assert "The customer left" in entry["detail"]
    olga.post(f"{cause}/wake")
    assert finding["cause_id"] in [
        each["id"] for each in olga.json("/causes.json?per_page=200")["items"]
    ]


def test_one_finding_can_be_suppressed_alone(olga: Person, disabled: Any) -> None:
    finding = finding_of(olga, disabled)
    response = olga.post(f"/findings/{finding['id']}/suppress", days="1", reason="Known")
    assert response.location == path_of(disabled)
    [item] = [
        each
        for each in olga.json("/findings.json?state=suppressed")["items"]
        if each["id"] == finding["id"]
    ]
    assert item["suppressed_until"]
    assert "Suppressed until" in words(olga.get(path_of(disabled)))
    olga.post(f"/findings/{finding['id']}/wake")
    assert finding_of(olga, disabled)["state"] == "new"


def test_a_viewer_suppresses_nothing(viv: Person, disabled: Any) -> None:
    finding = finding_of(viv, disabled)
    for path in (f"/causes/{finding['cause_id']}", f"/findings/{finding['id']}"):
        assert viv.post(f"{path}/suppress", days="1", reason="x").status_code == 403
        assert viv.post(f"{path}/wake").status_code == 403
    assert not viv.get(f"/causes/{finding['cause_id']}").select("form[action$=suppress]")


@pytest.mark.parametrize(
    "path", ["/causes/999999", "/causes/99999999999999999999", "/causes/999999.json"]
)
def test_a_cause_that_there_is_not_is_said_so(viv: Person, path: str) -> None:
    assert viv.client.get(path).status_code == 404
