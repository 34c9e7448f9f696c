"""Action buttons over HTTP; the test runs the worker's polls."""

from typing import Any

import pytest
from flask import Flask

from dashboard.actions import service as actions
from dashboard.actions.tasks import poll_action
from dashboard.context import Services
from tests.support.clock import Clock
from tests.support.people import Person, path_of, words
from tests.support.sandbox import Sandbox


def poll(app: Flask, services: Services, clock: Clock) -> None:
    """Run the worker's tasks that are due."""
    clock.move(seconds=61)
    with app.app_context():
        for action_id in actions.due(clock()):
            poll_action(action_id)


def test_a_sync_polls_while_it_runs_and_the_finished_fragment_carries_no_trigger(
    olga: Person, app: Flask, services: Services, clock: Clock, sandbox: Sandbox
) -> None:
    connection = sandbox.healthy
    response = olga.post(path_of(connection, "/sync"))
    assert (response.status_code, response.location) == (303, path_of(connection))
    running = olga.fragment(path_of(connection, "/run-status"))
    assert running.select_one("#sync")["data-running"] == "true"
    assert "every 2s" in str(running.select_one("#sync")["hx-trigger"])
    assert "started by olga@example.com" in words(running)
    poll(app, services, clock)
    ended = olga.fragment(path_of(connection, "/run-status")).select_one("#sync")
    assert ended is not None
    assert ended["data-running"] == "false"
    assert not [name for name in ended.attrs if name.startswith("hx-")]
    assert "Sync completed" in words(ended)
    assert "records" in words(ended)
    page = olga.get(path_of(connection)).select_one("#sync")
    assert page is not None
    assert not page.has_attr("hx-get")


def test_pressing_again_and_reloading_start_no_second_run_and_two_agents_see_the_same(
    olga: Person, adam: Person, sandbox: Sandbox
) -> None:
    connection = sandbox.healthy
    for person in (olga, olga, adam):
        person.post(path_of(connection, "/sync"))
        person.get(path_of(connection))
    assert sandbox.state()["syncs"] == {str(connection.id): 1}
    assert sandbox.state()["calls"]["syncdb"] == 1
    assert "started by olga@example.com" in words(adam.get(path_of(connection)))
    assert "Sync now" not in words(adam.get(path_of(connection)))


def test_with_htmx_the_answer_is_the_part_of_the_page_that_changed(
    olga: Person, sandbox: Sandbox
) -> None:
    response = olga.post(path_of(sandbox.healthy, "/sync"), htmx=True)
    assert response.status_code == 200
    assert response.text.lstrip().startswith('<div id="connection"')


def test_an_unknown_outcome_is_said_as_such(olga: Person, sandbox: Sandbox) -> None:
    sandbox.fault("syncdb", kind="html", times=1)
    olga.post(path_of(sandbox.healthy, "/sync"))
    assert "Outcome unknown, checking" in words(olga.get(path_of(sandbox.healthy)))


def test_reauthorising_shows_a_real_link_with_its_host_until_the_connection_is_well(
    olga: Person, app: Flask, services: Services, clock: Clock, sandbox: Sandbox
) -> None:
    connection = sandbox.find(failure="expired", auth="oauth2")
    olga.post(path_of(connection, "/reauthorise"))
    soup = olga.get(path_of(connection))
    link = soup.select_one("a#link")
    assert link is not None
    assert link["target"] == "_blank"
    assert "noopener" in link["rel"]
    assert sandbox.url.removeprefix("http://") in words(soup.select_one("#ask"))
    assert (
        olga.client.get(
            path_of(connection, "/link-status"), headers={"HX-Request": "true"}
        ).status_code
        == 200
    )
    sandbox.life.allow(connection.id)
    sandbox.life.touch(connection.id).allowed_at = None
    poll(app, services, clock)
    ended = olga.fragment(path_of(connection, "/link-status"))
    assert "Reauthorisation worked" in words(ended)
    assert not ended.select("[hx-get], [hx-trigger]")
    assert olga.get(path_of(connection)).select_one("#connection")["data-status"] == "OK"


@pytest.mark.parametrize(
    ("action", "wanted"),
    [("/saltedge-refresh", {"auth": "api_key"}), ("/reauthorise", {"auth": "api_key"})],
)
def test_an_action_that_does_not_fit_is_refused_in_words_and_recorded(
    olga: Person, adam: Person, sandbox: Sandbox, action: str, wanted: dict[str, Any]
) -> None:
    connection = sandbox.find(**wanted)
    assert olga.post(path_of(connection, action)).status_code == 400
    assert any(
        item["result"] == "refused" and item["connection_id"] == connection.id
        for item in adam.json("/audit.json")["items"]
    )


def test_the_widgets_token_is_for_the_frame_and_an_unknown_customer_is_asked_about_first(
    olga: Person, sandbox: Sandbox
) -> None:
    response = olga.post("/embed/token", external_id="cust-00001")
    assert response.json is not None
    assert response.json["expires_at"]
    unknown = olga.post("/embed/token", external_id="nobody-yet")
    assert (unknown.status_code, unknown.json["error"]) == (409, "unknown_account")
    assert sandbox.life.by_external_id("nobody-yet") is None
    assert "creates a real sub-account" in words(olga.get("/embed?external_id=nobody-yet"))
    assert olga.post("/embed/token", external_id="nobody-yet", create="yes").status_code == 200
    assert sandbox.life.by_external_id("nobody-yet") is not None


def test_after_the_callback_the_new_connection_is_read_at_once(
    olga: Person, sandbox: Sandbox
) -> None:
    made = sandbox.life.add_connection(1001, "shopify", "New shop")
    response = olga.post("/embed/connected", external_id="cust-00001", server_id=str(made.id))
    assert "New shop" in response.text
    assert "New shop" in words(olga.get(path_of(made)))


def test_the_widgets_frame_has_an_origin_of_its_own_and_no_secret(mallory: Person) -> None:
    response = mallory.client.get("/embed/frame")
    policy = response.headers["Content-Security-Policy"]
    assert policy.startswith("sandbox allow-scripts")
    assert "allow-same-origin" not in policy
    assert "Set-Cookie" not in response.headers
    assert "token" not in response.text
