"""Playbook, reasons and past outcomes on pages, over HTTP as users see them."""

import csv
import io
import shutil
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from sqlalchemy import update

from dashboard.actions import service as actions
from dashboard.actions.models import Action
from dashboard.app import create_app
from dashboard.context import Services
from dashboard.core.database import db
from dashboard.findings import queries as finding_queries
from dashboard.findings.models import Cause, Finding
from dashboard.findings.playbook import PLATFORM, read_playbook
from dashboard.fleet import queries
from tests.actions.test_pages import poll
from tests.findings.test_playbook import FOLDER
from tests.support.clock import Clock
from tests.support.people import Person, path_of, words
from tests.support.sandbox import Sandbox
from tests.support.settings import make_settings


@pytest.fixture
def expired(sandbox: Sandbox) -> Any:
    return sandbox.find(failure="expired", auth="oauth2")


def remember(app: Flask, clock: Clock, connection: Any, **times: int) -> None:
    """Store past actions on similar connections, by kind and outcome: ``sync_no_effect=4``."""
    with app.app_context():
        row = queries.connection_or_none(connection.account_id, connection.id)
        assert row is not None
        for name, count in times.items():
            kind, _, verdict = name.partition("_")
            for _ in range(count):
                action, _new = actions.start_action(
                    kind, row, "olga@example.com", clock() - timedelta(days=9)
                )
                actions.complete(action, "done", clock() - timedelta(days=9))
                action.verdict = verdict
                db.session.commit()


def test_the_first_step_and_its_button_stand_beside_what_is_wrong_and_the_rest_can_be_unfolded(
    olga: Person, sandbox: Sandbox, expired: Any
) -> None:
    play = read_playbook(FOLDER).plays["auth_failed"]
    finding = olga.get(path_of(expired)).select_one("[data-rule=auth_failed]")
    assert finding is not None
    first = finding.select_one(".first-step")
    assert first is not None
    assert "Get a link for the customer" in words(first)
    button = first.select_one("button")
    assert button is not None
    assert (button.text.strip(), button["formaction"]) == (
        "Reauthorise",
        path_of(expired, "/reauthorise"),
    )
    rest = finding.select_one("details.play")
    assert rest is not None
    assert [each.text for each in rest.select("h3")] == [section.title for section in play.rest]
    assert olga.post(str(button["formaction"])).status_code == 303
    assert sandbox.state()["calls"]["reauthorise"] == 1


def test_a_viewer_reads_the_playbook_and_gets_no_button_that_acts(
    viv: Person, expired: Any
) -> None:
    soup = viv.get(path_of(expired))
    assert "Get a link for the customer" in words(soup)
    assert not soup.select(".first-step button")
    assert not soup.select("#why, [formaction]")


def test_where_the_first_step_is_to_look_again_a_viewer_may_too(
    viv: Person, app: Flask, expired: Any
) -> None:
    with app.app_context():
        db.session.execute(
            update(Finding).where(Finding.connection_id == expired.id).values(rule="late")
        )
        db.session.commit()
    form = viv.get(path_of(expired)).select_one(".first-step form")
    assert form is not None
    assert form["action"] == path_of(expired, "/check")


def test_a_bank_that_refused_access_is_refreshed_where_others_are_reauthorised(
    olga: Person, sandbox: Sandbox
) -> None:
    bank = sandbox.find(failure="consent", auth="saltedge")
    buttons = olga.get(path_of(bank)).select("[data-rule=auth_failed] .first-step button")
    assert [button["formaction"] for button in buttons] == [path_of(bank, "/saltedge-refresh")]


def test_what_the_playbook_says_not_to_do_is_a_warning_at_its_button(
    olga: Person, expired: Any
) -> None:
    soup = olga.get(path_of(expired))
    sync = soup.select_one(f".connection-actions button[formaction='{path_of(expired, '/sync')}']")
    assert sync is not None
    warning = soup.find(id=sync["aria-describedby"])
    assert warning is not None
    assert "Not while “Access is refused”" in words(warning)
    assert "btn-primary" not in sync["class"]
    other = soup.select_one(
        f".connection-actions button[formaction='{path_of(expired, '/reauthorise')}']"
    )
    assert other is not None
    assert not other.has_attr("aria-describedby")


def test_a_finding_that_people_are_spared_warns_of_nothing(
    olga: Person, app: Flask, expired: Any
) -> None:
    with app.app_context():
        finding = finding_queries.of_connection(expired.account_id, expired.id)[0].id
    olga.post(f"/findings/{finding}/suppress", days="7", reason="Known")
    assert "Not while" not in words(olga.get(path_of(expired)))


def test_ten_actions_give_the_sentence_with_the_right_counts(
    olga: Person, app: Flask, clock: Clock, expired: Any, sandbox: Sandbox
) -> None:
    assert "What helped before" not in words(olga.get(path_of(expired)))
    remember(
        app,
        clock,
        expired,
        reauthorise_worked=5,
        reauthorise_no_effect=1,
        sync_no_effect=3,
        sync_worse=1,
    )
    soup = olga.get(path_of(expired))
    sentence = (
        "What helped before: reauthorise fixed 5 of 6 like this; sync fixed 0 of 4, made 1 worse."
    )
    assert sentence in words(soup)
    notes = {each["id"]: words(each) for each in soup.select(".act-notes")}
    assert notes["act-reauthorise"] == "fixed 5 of 6 like this"
    assert notes["act-sync"].endswith("fixed 0 of 4 like this, made 1 worse")
    with app.app_context():
        cause = finding_queries.of_connection(expired.account_id, expired.id)[0].cause_id
    assert sentence in words(olga.get(f"/causes/{cause}"))
    assert "What helped before" not in words(olga.get(path_of(sandbox.healthy)))


def test_the_causes_page_has_the_playbook_without_a_connections_button(
    viv: Person, app: Flask, expired: Any
) -> None:
    with app.app_context():
        cause = finding_queries.of_connection(expired.account_id, expired.id)[0].cause_id
    soup = viv.get(f"/causes/{cause}")
    assert "Get a link for the customer" in words(soup)
    assert not soup.select(".cause-play button, .cause-play form")


def test_what_lies_on_the_platforms_side_has_a_note_of_its_own(
    viv: Person, app: Flask, expired: Any
) -> None:
    with app.app_context():
        cause = finding_queries.of_connection(expired.account_id, expired.id)[0].cause_id
        db.session.execute(
            update(Cause).where(Cause.id == cause).values(rule="dark", platform=True)
        )
        db.session.execute(update(Finding).where(Finding.cause_id == cause).values(rule="dark"))
        db.session.commit()
    title = read_playbook(FOLDER).plays[PLATFORM].title
    for path in (f"/causes/{cause}", path_of(expired)):
        assert f"Playbook: {title}" in words(viv.get(path))


def test_an_account_that_cannot_be_read_has_its_play_too(
    viv: Person, app: Flask, services: Services, sandbox: Sandbox
) -> None:
    from dashboard.refresh import service as refresh

    sandbox.fault(
        "servers", status=403, body={"error": "ERROR_LICENSE", "detail": "Trial over."}, times=1
    )
    with app.app_context():
        refresh.refresh_account(services, 1001)
    finding = viv.get("/accounts/1001").select_one("[data-rule=account_unreadable]")
    assert finding is not None
    assert "whoever manages your contract" in words(finding)
    assert not finding.select(".first-step button")


def test_a_rule_that_is_no_more_still_has_its_page(viv: Person, app: Flask, expired: Any) -> None:
    with app.app_context():
        db.session.execute(
            update(Finding).where(Finding.connection_id == expired.id).values(rule="of_last_year")
        )
        db.session.commit()
    assert "of last year" in words(viv.get(path_of(expired)))


def test_an_edited_file_is_on_the_page_after_a_restart_and_html_in_it_is_text(
    app: Flask, sandbox: Sandbox, tmp_path: Path, clock: Clock, expired: Any
) -> None:
    folder = Path(shutil.copytree(FOLDER, tmp_path / "own"))
    file = folder / "auth_failed.md"
    file.write_text(
        file.read_text().replace(
            "Get a link", "<script>alert(1)</script> Call Jan, then get a link"
        )
    )
    settings = make_settings(sandbox.url, tmp_path, dashboard_playbook=folder)
    restarted = create_app(settings, clock=clock)
    restarted.config["RATELIMIT_ENABLED"] = False
    text = Person(restarted.test_client(), "viv@example.com").client.get(path_of(expired)).text
    assert "Call Jan, then get a link" in text
    assert "&lt;script&gt;alert(1)&lt;/script&gt; Call Jan" in text
    assert "<script>alert" not in text
    assert (
        "Call Jan"
        not in Person(app.test_client(), "viv@example.com").client.get(path_of(expired)).text
    )
    with restarted.app_context():
        db.session.remove()
        db.engine.dispose()


@pytest.mark.parametrize("htmx", [False, True])
def test_the_line_of_why_is_kept_with_the_result_in_done_here_and_in_the_audit_trail(
    olga: Person,
    adam: Person,
    app: Flask,
    clock: Clock,
    expired: Any,
    htmx: bool,
) -> None:
    field = olga.get(path_of(expired)).select_one("#why")
    assert field is not None
    assert (field["name"], field["form"]) == ("why", "act")
    olga.post(path_of(expired, "/sync"), htmx=htmx, why="<b>Ticket 4711</b>")
    done = olga.get(path_of(expired)).select_one(".done-here")
    assert done is not None
    assert "“<b>Ticket 4711</b>”" in words(done)
    assert "under way" in words(done)
    poll(app, app.extensions["services"], clock)
    done = olga.get(path_of(expired)).select_one(".done-here")
    assert done is not None
    assert "“<b>Ticket 4711</b>”" in words(done)
    assert "no effect" in words(done)
    assert "invalid_grant" in words(done)
    (entry,) = [
        each
        for each in adam.json("/audit.json?what=sync")["items"]
        if each["connection_id"] == expired.id
    ]
    assert entry["detail"].startswith("Why: <b>Ticket 4711</b> · 401 Client Error")
    assert entry["result"] == "failed"


def test_a_reauthorisation_that_worked_is_a_badge_a_recovered_finding_and_a_receipt(
    olga: Person, app: Flask, services: Services, clock: Clock, sandbox: Sandbox, expired: Any
) -> None:
    olga.post(path_of(expired, "/reauthorise"), why="Jan has left")
    sandbox.life.allow(expired.id)
    sandbox.life.touch(expired.id).allowed_at = None
    poll(app, services, clock)
    soup = olga.get(path_of(expired))
    done = soup.select_one(".done-here")
    assert done is not None
    assert "worked" in [words(each) for each in done.select(".status-ok")]
    assert not soup.select("[data-rule]")
    recovered = olga.json(f"/findings.json?q={expired.id}&state=recovered")["items"]
    assert [each["rule"] for each in recovered] == ["auth_failed"]
    (item,) = olga.json("/receipts.json")["items"]
    wanted = {
        "who": "olga@example.com",
        "kind": "reauthorise",
        "why": "Jan has left",
        "connection_id": expired.id,
        "account_id": expired.account_id,
        "rule": "auth_failed",
        "status_before": "ERROR",
        "status_after": "OK",
        "verdict": "worked",
    }
    assert wanted.items() <= item.items()
    assert item["at"] < item["settled_at"]


def test_receipts_are_a_list_like_any_other_for_every_role(
    viv: Person, app: Flask, clock: Clock, sandbox: Sandbox, expired: Any
) -> None:
    assert "Nothing has been done yet" in words(viv.get("/receipts"))
    remember(app, clock, expired, reauthorise_worked=2, sync_no_effect=3)
    remember(app, clock, sandbox.healthy, sync_worked=1)
    with app.app_context():
        db.session.execute(update(Action).where(Action.id == 1).values(why="=1+1"))
        db.session.commit()
    assert viv.json("/receipts.json?verdict=no_effect")["total"] == 3
    assert viv.json("/receipts.json?rule=auth_failed&kind=reauthorise")["total"] == 2
    assert viv.json(f"/receipts.json?q={sandbox.healthy.id}")["total"] == 1
    rows = list(csv.DictReader(io.StringIO(viv.client.get("/receipts.csv?sort=at").text)))
    assert len(rows) == 6
    assert rows[0]["why"] == "'=1+1"
    soup = viv.get("/receipts?kind=sync")
    assert len(soup.select("tr[data-connection-id]")) == 4
    assert "Access is refused" in words(soup)
    link = viv.get(path_of(expired)).find("a", string="All receipts of this connection")
    assert link is not None
    assert len(viv.get(str(link["href"])).select("tr[data-connection-id]")) == 5


def test_the_audit_page_leads_to_the_receipts(adam: Person) -> None:
    assert adam.get("/audit").select("a[href='/receipts']")
