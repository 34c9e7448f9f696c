"""Pages of the timeline, with and without JavaScript."""

from datetime import timedelta

import pytest
from flask import Flask

from dashboard.core.database import db
from dashboard.fleet.models import HealthChange
from dashboard.notes.models import Note
from tests.support.clock import Clock
from tests.support.people import Person, path_of, words
from tests.support.sandbox import Sandbox


def kinds(soup: object) -> list[str]:
    return [each["data-kind"] for each in soup.select(".event")]  # type: ignore[attr-defined]


def fill(app: Flask, clock: Clock, account_id: int, connection_id: int, count: int) -> None:
    """Add notes, an hour apart."""
    with app.app_context():
        for number in range(count):
            at = clock() - timedelta(hours=number)
            ids = {"account_id": account_id, "connection_id": connection_id}
            db.session.add(
                Note(at=at, who="olga@example.com", text=f"note number {number}.", **ids)
            )
        db.session.commit()


def test_what_an_agent_does_is_in_the_timeline_of_the_connection_and_of_its_account(
    olga: Person, viv: Person, sandbox: Sandbox
) -> None:
    connection = sandbox.healthy
    olga.post(path_of(connection, "/sync"))
    viv.post(path_of(connection, "/sync"))
    for path in (path_of(connection, "/timeline"), f"/accounts/{connection.account_id}/timeline"):
        soup = viv.get(path)
        assert {"action", "audit", "run", "health"} <= set(kinds(soup))
        # An action's audit entry is not shown, the action is; the refusal is an entry.
        action = next(
            each
            for each in soup.select(".event[data-kind=action]")
            if "olga@example.com" in each.text
        )
        assert "under way, by olga@example.com" in words(action)
        entry = soup.select_one(".event[data-kind=audit]")
        assert entry is not None
        assert "refused, by viv@example.com" in words(entry)
        assert "Needs the role operator" in words(entry)
        assert len(soup.select(".event[data-kind=audit]")) == 1


def test_both_pages_lead_to_it_and_it_leads_back(viv: Person, sandbox: Sandbox) -> None:
    connection = sandbox.healthy
    account = f"/accounts/{connection.account_id}"
    for page, timeline in (
        (path_of(connection), path_of(connection, "/timeline")),
        (account, f"{account}/timeline"),
    ):
        assert viv.get(page).select(f"a[href='{timeline}']")
        assert viv.get(timeline).select(f"a[href='{page}']")


def test_earlier_loads_the_rest_and_works_as_a_page_too(
    viv: Person, app: Flask, clock: Clock, sandbox: Sandbox
) -> None:
    connection = sandbox.healthy
    fill(app, clock, connection.account_id, connection.id, 120)
    seen: list[str] = []
    path: str | None = path_of(connection, "/timeline?kind=note")
    ids = set()
    while path is not None:
        part, page = viv.fragment(path), viv.get(path)
        assert part.select_one("main") is None
        (root,) = [each for each in part.contents if getattr(each, "name", None)]
        ids.add(root["id"])
        texts = [words(each) for each in part.select(".event-detail")]
        assert texts == [words(each) for each in page.select(".event-detail")]
        assert len(texts) <= 50
        seen += texts
        more = part.select_one("a[hx-get]")
        assert more is None or more["href"] == more["hx-get"]
        path = str(more["href"]) if more is not None else None
    assert seen == [f"note number {number}." for number in range(120)]
    assert len(ids) == 3
    assert "where what is kept begins" in words(part)


def test_a_part_does_not_say_the_day_again_that_the_part_before_ended_with(
    viv: Person, app: Flask, clock: Clock, sandbox: Sandbox
) -> None:
    connection = sandbox.healthy
    with app.app_context():
        at = clock() - timedelta(days=40)
        for number in range(60):
            db.session.add(
                Note(
                    account_id=connection.account_id,
                    at=at - timedelta(seconds=number),
                    who="v",
                    text=f"{number}",
                )
            )
        db.session.commit()
    first = viv.get(f"/accounts/{connection.account_id}/timeline?kind=note")
    assert len(first.select("h2.timeline-day")) <= 2
    more = str(first.select_one("a[hx-get]")["href"])  # type: ignore[index]
    assert len(viv.fragment(more).select("h2")) == len(first.select("h2")) - 1
    assert len(viv.get(more).select("h2")) == 1


def test_kinds_are_chosen_by_the_address(
    viv: Person, app: Flask, clock: Clock, sandbox: Sandbox
) -> None:
    connection = sandbox.healthy
    fill(app, clock, connection.account_id, connection.id, 3)
    soup = viv.get(path_of(connection, "/timeline?kind=note&kind=health"))
    assert set(kinds(soup)) == {"note", "health"}
    assert [each["value"] for each in soup.select("input[name=kind][checked]")] == [
        "health",
        "note",
    ]
    assert "Nothing of that kind" in words(viv.get(path_of(connection, "/timeline?kind=webhook")))


@pytest.mark.parametrize(
    "query", ["kind=nonsense", "before=nonsense", "before=1-99-1", "kind=note&kind="]
)
def test_what_cannot_be_read_is_a_sentence(viv: Person, sandbox: Sandbox, query: str) -> None:
    for path in (
        path_of(sandbox.healthy, f"/timeline?{query}"),
        f"/accounts/1001/timeline?{query}",
    ):
        assert viv.get(path, 400).select_one(".empty-title")


def test_a_place_without_account_or_connection_is_not_found(viv: Person) -> None:
    for path in ("/accounts/7/timeline", "/accounts/1001/connections/7/timeline"):
        viv.get(path, 404)


def test_a_note_is_text_and_keeps_its_lines(
    viv: Person, app: Flask, clock: Clock, sandbox: Sandbox
) -> None:
    connection = sandbox.healthy
    with app.app_context():
        db.session.add(
            Note(
                account_id=connection.account_id,
                at=clock(),
                who="olga@example.com",
                text="<b>first</b>\nsecond",
            )
        )
        db.session.commit()
    soup = viv.get(path_of(connection, "/timeline?kind=note"))
    (detail,) = soup.select(".event-detail")
    assert detail.text == "<b>first</b>\nsecond"
    assert "the whole account" in words(soup)


def test_times_are_in_the_viewers_zone(
    viv: Person, app: Flask, clock: Clock, sandbox: Sandbox
) -> None:
    connection = sandbox.healthy
    with app.app_context():
        at = clock().replace(
            year=2025, month=12, day=31, hour=20, minute=5, second=6, microsecond=0
        )
        db.session.add(
            Note(account_id=connection.account_id, at=at, who="olga@example.com", text="Late.")
        )
        db.session.commit()
    viv.client.set_cookie("tz", "Asia/Tokyo")
    text = words(viv.get(path_of(connection, "/timeline?kind=note")))
    assert "Thursday 1 January" in text
    assert "05:05:06" in text


def test_an_accounts_strip_shows_the_worst_of_its_connections_a_day(
    viv: Person, app: Flask, clock: Clock, sandbox: Sandbox
) -> None:
    connection = sandbox.healthy
    first, second = list(sandbox.life.connections(connection.account_id))[:2]
    with app.app_context():
        db.session.execute(
            db.delete(HealthChange).where(HealthChange.account_id == connection.account_id)
        )

        def change(each: int, days: int, became: str, severity: str) -> None:
            at, ids = (
                clock() - timedelta(days=days),
                {"account_id": connection.account_id, "connection_id": each},
            )
            db.session.add(
                HealthChange(
                    at=at,
                    was="x",
                    was_severity="ok",
                    became=became,
                    became_severity=severity,
                    **ids,
                )
            )

        change(first.id, 20, "OK", "ok")
        change(first.id, 5, "ERROR", "error")
        change(first.id, 3, "OK", "ok")
        change(second.id, 10, "CHECKING", "busy")
        db.session.execute(
            db.text("UPDATE account SET first_seen_at = :at"),
            {"at": str(clock() - timedelta(days=60))},
        )
        db.session.commit()
    days = viv.get(f"/accounts/{connection.account_id}").select(".strip-day")
    assert len(days) == 30
    worst = [next(name for name in day["class"] if name.startswith("status-")) for day in days]
    assert (
        worst
        == ["status-none"] * 9
        + ["status-ok"] * 10
        + ["status-busy"] * 5
        + ["status-error"] * 3
        + ["status-busy"] * 3
    )
