"""Pull schedules: created, run, stopped, resumed by another worker, and shown."""

import sqlite3
from datetime import datetime, timedelta
from pathlib import Path
from threading import Event
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from flask import Flask
from sqlalchemy import select

from dashboard.audit.models import AuditEntry
from dashboard.context import Services
from dashboard.core.database import db
from dashboard.pulls import jobs as pull_jobs
from dashboard.pulls import service as pulls
from dashboard.pulls.models import PullRun, PullSchedule
from dashboard.pulls.tasks import run_pull
from tests.support.clock import Clock
from tests.support.people import Person, words
from tests.support.sample_tables import TABLE, OwnTable
from tests.support.sandbox import Sandbox


def services(app: Flask) -> Services:
    found: Services = app.extensions["services"]
    return found


@pytest.fixture
def destination(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("copies") / "copies.db"


def save(person: Person, destination: Path, **typed: str) -> Any:
    form = {
        "name": "Nightly",
        "address": f"sqlite:///{destination}",
        "every": "60",
        "full_every": "20",
        "accounts": "1002",
        **typed,
    }
    return person.post("/pulls", page="/pulls/new", **form)


def work(app: Flask) -> None:
    """Run the due schedules as a worker does."""
    with app.app_context():
        for schedule_id in pulls.due(services(app).clock()):
            run_pull(schedule_id)
        db.session.remove()


def runs(app: Flask) -> list[PullRun]:
    with app.app_context():
        return list(db.session.scalars(select(PullRun).order_by(PullRun.id)))


def audits(app: Flask) -> list[tuple[str, str]]:
    with app.app_context():
        found = db.session.scalars(
            select(AuditEntry).where(AuditEntry.what == "pull").order_by(AuditEntry.id)
        )
        return [(each.result, each.who) for each in found]


def test_a_schedule_copies_at_once_and_then_so_often(
    adam: Person, app: Flask, clock: Clock, destination: Path
) -> None:
    made = save(adam, destination)
    assert made.status_code == 303, made.text
    work(app)
    (first,) = runs(app)
    assert (first.state, first.who, first.failed) == (pulls.DONE, "adam@example.com", 0)
    assert first.tables > 0
    with sqlite3.connect(destination) as copies:
        assert copies.execute("select count(*) from _pull_manifest").fetchone()[0] == first.tables
    work(app)
    assert len(runs(app)) == 1
    clock.move(minutes=61)
    work(app)
    assert [each.who for each in runs(app)] == ["adam@example.com", pull_jobs.BY_SCHEDULE]
    assert audits(app) == [("done", "adam@example.com"), ("done", pull_jobs.BY_SCHEDULE)]
    # The session has expired after an hour without use.
    adam = Person(app.test_client(), "adam@example.com")
    page = words(adam.get(made.location))
    assert "Done" in page
    assert f"{first.tables}" in page
    (line,) = adam.json("/pulls.json")["items"]
    assert (line["last_state"], line["when"], line["on"]) == ("done", "every hour", True)
    assert adam.json(f"{made.location}.json")["total"] == 2


def test_a_schedule_with_a_time_of_day_runs_by_the_clock_of_its_zone(
    adam: Person, app: Flask, clock: Clock, destination: Path
) -> None:
    made = save(adam, destination, every="1440", at="02:00", zone="Europe/Brussels")
    work(app)
    (line,) = adam.json("/pulls.json")["items"]
    assert line["when"] == "every day at 02:00, Europe/Brussels"
    due_at = datetime.fromisoformat(line["due_at"])
    assert due_at.astimezone(ZoneInfo("Europe/Brussels")).strftime("%H:%M") == "02:00"
    assert timedelta() < due_at - clock() <= timedelta(days=1)
    at = adam.get(f"{made.location}/edit").select_one("input[name=at]")
    assert at is not None
    assert at["value"] == "02:00"
    clock.move(minutes=(due_at - clock()) / timedelta(minutes=1) + 1)
    work(app)
    assert [each.who for each in runs(app)] == ["adam@example.com", pull_jobs.BY_SCHEDULE]
    (line,) = Person(app.test_client(), "adam@example.com").json("/pulls.json")["items"]
    assert datetime.fromisoformat(line["due_at"]) - due_at == timedelta(days=1)


def test_what_fails_is_shown_with_its_reason(adam: Person, app: Flask, destination: Path) -> None:
    made = save(adam, destination, tables="no_such_table")
    work(app)
    assert runs(app)[0].state == pulls.FAILED
    text = words(adam.get(made.location))
    assert "no_such_table" in text
    assert "No account that was read has such a table" in text


def test_a_table_that_the_destination_refuses_is_shown_with_its_reason_and_the_others_are_copied(
    adam: Person, app: Flask, destination: Path, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = OwnTable(
        columns={"half \ud800": "text", **{f"Column {number}": "text" for number in range(2_001)}}
    )
    own.put(1, "2026-01-01T00:00:00Z")
    own.install(sandbox, monkeypatch)
    placed = [
        (each.placed or each.id % 100, each.connector) for each in sandbox.life.connections(1002)
    ]
    later = sandbox.app.extensions["sandbox"].tables.of_account(1002, placed)[0].id
    made = save(adam, destination, accounts="1001, 1002", tables=f"{TABLE}, Empty, {later}")
    work(app)
    (run,) = runs(app)
    assert (run.state, run.tables, run.failed) == (pulls.PARTLY, 2, 1)
    text = words(adam.get(made.location))
    assert (
        "1001 Own table: The database refuses this table (OperationalError, SQLITE_ERROR)."
        " SQLite says: too many columns" in text
    )
    assert adam.json(f"{made.location}.json")["items"][0]["failed"] == 1


def test_a_pull_whose_worker_was_killed_is_taken_over_and_its_audit_entry_settled(
    adam: Person, app: Flask, clock: Clock, destination: Path
) -> None:
    save(adam, destination)
    with app.app_context():
        (schedule_id,) = pulls.due(services(app).clock())
        schedule = pulls.lease(schedule_id, services(app).clock())
        assert schedule is not None
        pulls.start(schedule, "Nightly", "here", "adam@example.com", "", services(app).clock())
        assert pulls.lease(schedule_id, services(app).clock()) is None
    clock.move(seconds=pulls.LEASE.total_seconds() + 1)
    work(app)
    assert [each.state for each in runs(app)] == [pulls.LOST, pulls.DONE]
    assert [result for result, _ in audits(app)] == ["unknown", "done"]


def test_a_killed_pull_of_the_command_line_does_not_stay_pending(app: Flask, clock: Clock) -> None:
    with app.app_context():
        pulls.start(None, "by hand", "here", "command line", "", services(app).clock())
        assert pulls.close_lost(services(app).clock()) == 0
        clock.move(seconds=pulls.LEASE.total_seconds() + 1)
        assert pulls.close_lost(services(app).clock()) == 1
    assert audits(app) == [("unknown", "command line")]


def test_a_worker_that_ends_hands_its_pull_back(
    adam: Person, app: Flask, destination: Path
) -> None:
    save(adam, destination)
    stop = Event()
    stop.set()
    with app.app_context():
        (schedule_id,) = pulls.due(services(app).clock())
        schedule = pulls.lease(schedule_id, services(app).clock())
        assert schedule is not None
        pull_jobs.work_on(services(app), schedule, stop)
        (run,) = db.session.scalars(select(PullRun)).all()
        assert (run.state, run.failed) == (pulls.STOPPED, 0)
        assert pulls.due(services(app).clock()) == [schedule_id]
    work(app)
    assert [each.state for each in runs(app)] == [pulls.STOPPED, pulls.DONE]


def test_switched_off_it_rests_and_deleted_its_copies_stay(
    adam: Person, app: Flask, clock: Clock, destination: Path
) -> None:
    where = save(adam, destination).location
    work(app)
    adam.post(f"{where}/switch", page=where, to="off")
    clock.move(days=2)
    work(app)
    assert len(runs(app)) == 1
    adam = Person(app.test_client(), "adam@example.com")
    adam.post(f"{where}/run", page=where)
    work(app)
    assert len(runs(app)) == 2
    adam.post(f"{where}/delete", page=where)
    assert adam.client.get(where).status_code == 404
    assert destination.exists()


def test_a_schedule_is_changed_and_its_address_stays_where_none_is_typed(
    adam: Person, app: Flask, clock: Clock, destination: Path
) -> None:
    where = save(adam, destination).location
    work(app)
    shown = adam.get(f"{where}/edit")
    assert [shown.select_one(f"#{name}")["value"] for name in ("name", "accounts")] == [
        "Nightly",
        "1002",
    ]
    assert str(destination) not in str(shown.select_one("#address").get("value", ""))
    typed = {
        "name": "Hourly",
        "address": "",
        "every": "360",
        "full_every": "3",
        "accounts": "1001",
        "tables": "Empty",
    }
    refused = adam.post(f"{where}/edit", page=f"{where}/edit", **{**typed, "every": "7"})
    assert refused.status_code == 422
    assert "Nightly" in words(adam.get(where))
    adam.post(f"{where}/edit", page=f"{where}/edit", **typed)
    clock.move(hours=7)
    work(app)
    with sqlite3.connect(destination) as copies:
        assert [row[0] for row in copies.execute("select id from _pull_customers order by id")] == [
            1001,
            1002,
        ]
    assert [each.name for each in runs(app)] == ["Nightly", "Hourly"]
    other = destination.with_name("elsewhere.db")
    adam = Person(app.test_client(), "adam@example.com")
    adam.post(f"{where}/edit", page=f"{where}/edit", **{**typed, "address": f"sqlite:///{other}"})
    assert str(other) in words(adam.get(where))


def test_a_destination_that_cannot_be_written_any_more_fails_in_words_and_the_next_pull_goes_on(
    adam: Person, app: Flask, clock: Clock, destination: Path
) -> None:
    where = save(adam, destination, tables="Everything", accounts="1001").location
    work(app)
    aside = destination.rename(destination.with_suffix(".aside"))
    destination.mkdir()
    clock.move(minutes=61)
    work(app)
    assert [each.state for each in runs(app)] == [pulls.DONE, pulls.FAILED]
    adam = Person(app.test_client(), "adam@example.com")
    assert "does not take the copy" in words(adam.get(where))
    destination.rmdir()
    aside.rename(destination)
    clock.move(minutes=61)
    work(app)
    assert [(each.state, each.error) for each in runs(app)][2:] == [(pulls.DONE, "")]


@pytest.mark.parametrize(
    ("typed", "message"),
    [
        ({"address": "ftp://x"}, "A destination is one of"),
        ({"address": "sqlite:////proc/no/such/place.db"}, "The destination cannot be used"),
        ({"accounts": "1001, x"}, "“x” is no id"),
        ({"every": "7"}, "how often"),
        ({"every": "60", "at": "02:00"}, "A time of day is for"),
        ({"every": "1440", "at": "25:00"}, "no time of day"),
        ({"every": "1440", "at": "02:00", "zone": "Mars/Base"}, "no time zone"),
        ({"full_every": "0"}, "number from 1"),
        ({"name": " "}, "Give it a name"),
    ],
)
def test_what_cannot_be_a_schedule_is_said_before_it_is_kept(
    adam: Person, app: Flask, destination: Path, typed: dict[str, str], message: str
) -> None:
    refused = save(adam, destination, **typed)
    assert refused.status_code == 422
    assert message in refused.text
    with app.app_context():
        assert db.session.scalars(select(PullSchedule)).all() == []


def test_the_consoles_own_store_is_no_destination(
    adam: Person, app: Flask, destination: Path
) -> None:
    own = services(app).settings.store_url
    refused = save(adam, destination, address=own.replace("+psycopg", ""))
    assert refused.status_code == 422
    assert "own store" in refused.text


def test_a_password_of_a_destination_is_kept_encrypted_and_shown_nowhere(
    adam: Person, app: Flask
) -> None:
    refused = adam.post(
        "/pulls",
        page="/pulls/new",
        name="x",
        address="postgresql://a:s3cr3t@127.0.0.1:1/b",
        every="60",
        full_every="20",
    )
    assert refused.status_code == 422
    assert "s3cr3t" not in refused.text


def test_only_administrators_see_and_make_schedules(olga: Person, destination: Path) -> None:
    assert olga.client.get("/pulls").status_code == 403
    assert olga.post("/pulls", page="/me", name="x").status_code == 403
