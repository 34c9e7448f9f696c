"""Pages of deliveries and their buttons; "Read now"; the delivery of a new connection."""

from collections.abc import Iterator

import pytest
from flask import Flask

from dashboard.context import Services
from dashboard.deliveries import service as deliveries
from dashboard.webhooks.tasks import process_events
from tests.support.clock import Clock
from tests.support.hook_receiver import (
    SECRET,
    all_deliveries,
    audited,
    connect,
    received_rows,
    work,
    work_after,
)
from tests.support.people import Person, path_of, words
from tests.support.sandbox import Sandbox
from tests.support.webhook_sender import made, post
from tests.support.webhook_target import Receiver, receiving

OLGA = "olga@example.com"


@pytest.fixture
def hook() -> Iterator[Receiver]:
    with receiving() as receiver:
        yield receiver


@pytest.fixture
def is_set() -> bool:
    """Return whether the settings name a hook."""
    return True


@pytest.fixture
def store(store: dict[str, str], hook: Receiver, is_set: bool) -> dict[str, str]:
    # The path may be a secret.
    ours = {"dashboard_hook": hook.url + "/hush-4711", "dashboard_hook_secret": SECRET}
    return {**store, **ours} if is_set else store


def states(app: Flask) -> list[str]:
    with app.app_context():
        return [each.state for each in all_deliveries()]


def run_workers(app: Flask, services: Services) -> None:
    with app.app_context():
        work(services)


def test_callback_and_event_are_one_delivery(
    olga: Person, app: Flask, services: Services, sandbox: Sandbox, hook: Receiver
) -> None:
    connection = connect(sandbox)
    external_id = sandbox.life.account(connection.account_id).external_id
    response = olga.post("/embed/connected", external_id=external_id, server_id=str(connection.id))
    assert "see how far that is" in response.text
    assert post(app.test_client(), made(connection, "connection_added")).status_code == 204
    with app.app_context():
        process_events()
    olga.post("/embed/connected", external_id=external_id, server_id=str(connection.id))
    run_workers(app, services)
    assert states(app) == ["delivered"]
    assert len(hook.bodies) == len({each["key"] for each in hook.bodies})
    with app.app_context():
        assert audited() == [("deliver", OLGA, "done")]


def test_a_callback_is_kept_also_where_the_connection_cannot_be_read_yet(
    olga: Person, app: Flask, services: Services, sandbox: Sandbox, clock: Clock
) -> None:
    connection = connect(sandbox)
    external_id = sandbox.life.account(connection.account_id).external_id
    sandbox.fault("server", status=500, times=1)
    response = olga.post("/embed/connected", external_id=external_id, server_id=str(connection.id))
    assert "could not be read yet" in response.text
    run_workers(app, services)
    assert states(app) == ["delivered"]


def test_read_now_hands_over_and_a_second_press_shows_the_first(
    olga: Person, app: Flask, services: Services, sandbox: Sandbox, hook: Receiver
) -> None:
    path = path_of(sandbox.healthy)
    page = olga.get(path)
    assert "not handed over by this console yet" in words(page)
    assert page.select_one(f"form[action='{path}/read'] button").get_text(strip=True) == "Read now"  # type: ignore[union-attr]
    answers = [olga.post(f"{path}/read", page=path) for _ in range(2)]
    assert [each.status_code for each in answers] == [303, 303]
    assert states(app) == ["waiting"]
    shown = words(olga.get(answers[1].location))
    assert "are being handed over already" in shown
    assert "1 to 1 of 1 deliveries" in shown
    run_workers(app, services)
    assert states(app) == ["delivered"]
    assert received_rows(hook.bodies)
    assert "Delivered" in words(olga.get(path))
    assert "hush" not in str(olga.get("/deliveries")) + str(olga.get(path))
    olga.post(f"{path}/read", page=path)
    assert states(app) == ["delivered", "waiting"], "another delivery starts"
    with app.app_context():
        assert audited() == [("deliver", OLGA, "done"), ("deliver", OLGA, "pending")]


def test_the_list_says_what_happened_and_its_buttons_have_it_go_on_or_end(
    olga: Person, app: Flask, services: Services, sandbox: Sandbox, hook: Receiver, clock: Clock
) -> None:
    path = path_of(sandbox.healthy)
    olga.post(f"{path}/read", page=path)
    hook.answers += [500] * 6
    run_workers(app, services)
    shown = words(olga.get("/deliveries"))
    assert "The hook answered 500: it is in trouble." in shown
    assert "Tried 1 time; the next try is due" in shown
    with app.app_context():
        for minutes in (2, 6, 31, 121, 361):
            work_after(services, clock, minutes=minutes)
    # The session has expired after hours without use.
    olga = Person(app.test_client(), OLGA)
    assert "Given up" in words(olga.get("/deliveries?state=dead"))
    (line,) = olga.json("/deliveries.json?state=dead")["items"]
    assert (line["tries"], line["error"], line["rows"]) == (
        6,
        "The hook answered 500: it is in trouble.",
        0,
    )
    button = olga.get("/deliveries").select_one("form[action$='/send'] button")
    assert button is not None
    assert button.get_text() == "Send again"
    where = f"/deliveries/{line['id']}"
    assert olga.post(f"{where}/send", page="/deliveries").status_code == 303
    assert states(app) == ["sending"]
    assert olga.get("/deliveries").select_one("form[action$='/cancel'] button") is not None
    olga.post(f"{where}/cancel", page="/deliveries")
    assert states(app) == ["cancelled"]
    olga.post(f"{where}/cancel", page="/deliveries")
    assert "there is nothing to cancel" in words(olga.get("/deliveries"))
    olga.post(f"{where}/send", page="/deliveries")
    run_workers(app, services)
    assert states(app) == ["delivered"]
    olga.post(f"{where}/send", page="/deliveries")
    assert "there is nothing to send again" in words(olga.get("/deliveries"))
    with app.app_context():
        assert audited() == [
            ("deliver", OLGA, "failed"),
            ("send_delivery", OLGA, "failed"),
            ("cancel_delivery", OLGA, "done"),
            ("send_delivery", OLGA, "done"),
        ]
    assert olga.client.get("/deliveries.csv").text.count("\n") == 2


def test_viewers_see_the_list_and_press_nothing(
    viv: Person, app: Flask, services: Services, sandbox: Sandbox
) -> None:
    path, key = path_of(sandbox.healthy), (sandbox.healthy.account_id, sandbox.healthy.id)
    with app.app_context():
        delivery_id = deliveries.request(key, OLGA, services.clock()).id
    page = viv.get("/deliveries")
    assert "Waits for a run" in words(page)
    assert not page.select("main td form")
    assert not viv.get(path).select(f"form[action='{path}/read']")
    for where in (
        f"{path}/read",
        f"/deliveries/{delivery_id}/send",
        f"/deliveries/{delivery_id}/cancel",
    ):
        assert viv.post(where, page="/me").status_code == 403
        assert viv.client.get(where).status_code == 405
    assert states(app) == ["waiting"]


def test_the_buttons_need_the_forms_token(olga: Person, app: Flask, sandbox: Sandbox) -> None:
    for where in (path_of(sandbox.healthy, "/read"), "/deliveries/1/send", "/deliveries/1/cancel"):
        assert olga.client.post(where).status_code == 400
    assert states(app) == []


def test_what_is_not_there_is_a_404_and_a_state_that_is_none_a_400(olga: Person) -> None:
    assert olga.post("/deliveries/7/send", page="/me").status_code == 404
    assert olga.post(f"/deliveries/{2**70}/cancel", page="/me").status_code == 404
    olga.get("/deliveries?state=perhaps", 400)


class TestWithoutAHook:
    @pytest.fixture
    def is_set(self) -> bool:
        return False

    def test_nothing_begins_and_the_page_says_how_to_set_one(
        self, olga: Person, adam: Person, app: Flask, services: Services, sandbox: Sandbox
    ) -> None:
        connection = connect(sandbox)
        external_id = sandbox.life.account(connection.account_id).external_id
        assert (
            "see how far"
            not in olga.post(
                "/embed/connected", external_id=external_id, server_id=str(connection.id)
            ).text
        )
        assert post(app.test_client(), made(connection, "connection_added")).status_code == 204
        with app.app_context():
            process_events()
        assert states(app) == []
        assert "No hook is set" in words(olga.get("/deliveries"))
        assert not olga.get(path_of(connection)).select("form[action$='/read']")
        refused = olga.post(path_of(connection, "/read"), page="/me")
        assert refused.status_code == 400
        assert "DASHBOARD_HOOK" in refused.text
        with app.app_context():
            assert audited() == [("deliver", OLGA, "refused")]
        assert "Deliveries" in words(adam.get("/audit"))
