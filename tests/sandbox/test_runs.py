"""Runs: by schedule, by hand, successful, failed and unending."""

from datetime import UTC, datetime, timedelta

import pytest

from tests.support.api_caller import NOON, Caller

HOUR = 3600


def test_history_is_the_same_after_a_restart_and_long_after(api: Caller) -> None:
    other = Caller()
    other.wait(days=3)
    for connection in list(api.connections())[:40]:
        for run in api.of(connection, "runs/?per_page=5")["data"][1:]:
            again = other.get(f"pipeline_runs/?run_id={run['id']}", connection.account_id).json[
                "data"
            ]
            assert again == [run]


def test_runs_are_paged_without_gap_or_overlap(api: Caller) -> None:
    connection = api.find(interval=900)
    whole = [run["id"] for run in api.of(connection, "runs/?per_page=30")["data"]]
    parts = [
        run["id"]
        for page in (1, 2, 3)
        for run in api.of(connection, f"runs/?per_page=10&page={page}")["data"]
    ]
    assert parts == whole == sorted(whole, reverse=True)
    assert api.of(connection, "runs/?page=99999999")["data"] == []


def test_a_scheduled_run_is_seen_running_and_then_ended(api: Caller) -> None:
    connection = api.find(interval=HOUR)
    while not api.of(connection, "syncdb/status/")["running"]:
        api.wait(seconds=10)
    run = api.of(connection, "runs/?per_page=1")["data"][0]
    assert (run["status"], run["timestamp_end"]) == ("RUNNING", None)
    assert api.of(connection, "syncdb/").status_code == 409
    api.wait(minutes=5)
    ended = api.of(connection, "runs/?per_page=1")["data"][0]
    assert ended["id"] == run["id"]
    assert ended["timestamp_end"] > ended["timestamp_start"]


def test_a_connection_says_of_its_health_what_its_newest_ended_run_says(api: Caller) -> None:
    bad = {
        "ERROR": "ERROR",
        "INTERNAL_ERROR": "ERROR",
        "COMPLETED_WITH_ERRORS": "COMPLETED_WITH_ERRORS",
    }
    seen = set()
    for connection in api.connections():
        if connection.placed:
            continue
        runs = api.life.runs(connection, 6)
        newest = next(
            run for run in runs if not run.is_running(api.now) and run.outcome != "KILLED"
        )
        status = api.life.status(connection)
        assert status == bad.get(newest.outcome, status)
        assert (newest.outcome in bad) == (status not in {"OK", "HEALTHY"})
        seen.add(newest.outcome)
    assert seen == {*bad, "COMPLETED"}


def test_a_connection_that_comes_and_goes_changes_within_two_hours(api: Caller) -> None:
    seen = set()
    connection = api.find(flips=True)
    for _ in range(12):
        seen.add(api.status(connection))
        api.wait(minutes=10)
    assert "ERROR" in seen
    assert seen & {"OK", "HEALTHY"}


@pytest.mark.parametrize(
    "failure", ["expired", "no_module", "timeout", "out_of_memory", "schema", "consent"]
)
def test_every_cause_is_there_and_its_text_varies_only_by_ids_and_dates(
    api: Caller, failure: str
) -> None:
    found = [each for each in api.connections() if each.failure and each.failure.name == failure]
    assert len(found) >= 2
    run = next(each for each in api.life.runs(found[0], 3) if not each.is_running(api.now))
    assert run.outcome == found[0].failure.run
    assert api.of(found[0], "runs/")["data"][0].keys() & {
        "error",
        "message",
        "source_error",
        "status_message",
    }
    log = api.get(f"pipeline_runs/{run.id}/logs/", found[0].account_id).json["logs"].splitlines()
    assert log[-1].endswith(run.error)
    assert "ERROR" in log[-1]
    assert log == sorted(log, key=lambda line: line[:19])


def test_tables_of_a_run_come_in_both_shapes_and_killed_runs_exist(api: Caller) -> None:
    shapes, outcomes = set(), set()
    for connection in list(api.connections())[:300]:
        for run in api.of(connection, "runs/")["data"]:
            outcomes.add(run["status"])
            if run["tables"]:
                shapes.add(type(run["tables"]))
    assert shapes == {list, dict}
    assert "KILLED" in outcomes


def test_a_run_of_a_broken_connection_started_by_hand_fails_for_its_own_reason(api: Caller) -> None:
    connection = api.find(failure="expired")
    api.of(connection, "syncdb/?pipeline=true")
    api.wait(seconds=6)
    run = api.of(connection, "runs/?per_page=1")["data"][0]
    assert run["status"] == "ERROR"
    assert "invalid_grant" in str(run)


def test_a_run_that_never_finishes_says_running_false_while_its_status_stays(api: Caller) -> None:
    connection = api.find()
    api.control(f"connections/{connection.id}", never_finishes=True)
    api.of(connection, "syncdb/")
    api.wait(seconds=60)
    status = api.of(connection, "syncdb/status/")
    assert (status["running"], status["status"]) == (False, "RUNNING")
    api.control(f"connections/{connection.id}", never_finishes=False)
    assert api.of(connection, "syncdb/status/")["status"] == "KILLED"


def test_one_connection_of_the_fleet_is_stuck_from_the_start(api: Caller) -> None:
    connection = api.find(stuck=True)
    status = api.of(connection, "syncdb/status/")
    assert (status["running"], status["status"]) == (False, "RUNNING")
    run = api.of(connection, "runs/?per_page=1")["data"][0]
    assert datetime.fromisoformat(run["timestamp_start"]) < NOON - timedelta(hours=4)


def test_the_next_run_ends_as_told_and_the_one_after_by_itself(api: Caller) -> None:
    connection = api.find(interval=86400)
    api.control(f"connections/{connection.id}", next_run="ERROR")
    for outcome, status in (("ERROR", {"ERROR"}), ("COMPLETED", {"OK", "HEALTHY"})):
        api.of(connection, "syncdb/")
        api.wait(seconds=6)
        assert api.of(connection, "runs/?per_page=1")["data"][0]["status"] == outcome
        assert api.status(connection) in status


def test_a_sync_is_found_by_its_task_and_a_full_resync_answers_as_the_sdk_reads_it(
    api: Caller,
) -> None:
    connection = api.find()
    response = api.of(connection, "resync/")
    assert (
        api.of(connection, f"syncdb/status/?task_id={response['task_id']}")["run_id"]
        == response["run_data"]["pipeline_run_id"]
    )
    assert api.of(connection, "resync/status/")["run_id"] == [
        response["run_data"]["pipeline_run_id"]
    ]
    assert api.of(connection, "syncdb/status/?pipeline_run_id=5")["run_id"] is None


def test_a_changed_schedule_holds_from_then_on(api: Caller) -> None:
    connection = api.find(interval=HOUR)
    before = [run["id"] for run in api.of(connection, "runs/")["data"]]
    url, mine = f"/api/servers/{connection.id}/", api.token(connection.account_id)
    assert (
        api.client.patch(url, json={"disable_scheduler": True, "name": "Mine"}, headers=mine).json[
            "name"
        ]
        == "Mine"
    )
    api.wait(days=2)
    assert [run["id"] for run in api.of(connection, "runs/")["data"]] == before
    api.client.patch(url, json={"disable_scheduler": False, "run_interval": 900}, headers=mine)
    api.wait(hours=1)
    newest = [
        datetime.fromisoformat(run["timestamp_start"])
        for run in api.of(connection, "runs/?per_page=5")["data"]
    ]
    assert newest[0] - newest[1] == timedelta(minutes=15)
    assert newest[-1] < NOON.replace(tzinfo=UTC) + timedelta(minutes=1)
    assert api.client.patch(url, json={"run_interval": "often"}, headers=mine).status_code == 400


def test_only_starts_that_were_asked_for_are_counted(api: Caller) -> None:
    connection = api.find()
    api.of(connection, "syncdb/")
    assert api.of(connection, "syncdb/").status_code == 409
    response = api.client.post(
        "/api/partner/sub-account/integrate/",
        json={"external_id": "n"},
        headers={"Authorization": "JWT sandbox-partner-token"},
    )
    api.client.post("/sandbox/widget/connections/", json={"connector": "xero"}, headers={
        "Authorization": f"JWT {response.json['integration_token']}"})  # fmt: skip
    state = api.client.get("/sandbox/control/state").json
    assert state["syncs"] == {str(connection.id): 1}
    assert state["calls"]["syncdb"] == 2


def test_another_name_switches_no_schedule_on(api: Caller) -> None:
    switched_off = next(each for each in api.connections() if each.placed == "DISABLED")
    before = api.life.runs(switched_off, 1)
    path = f"/api/servers/{switched_off.id}/"
    assert (
        api.client.patch(
            path, json={"name": "Another"}, headers=api.token(switched_off.account_id)
        ).status_code
        == 200
    )
    api.wait(days=3)
    assert api.life.runs(switched_off, 1) == before
    api.client.patch(
        path,
        json={"disable_scheduler": False, "run_interval": 3600},
        headers=api.token(switched_off.account_id),
    )
    api.wait(days=1)
    assert api.life.runs(switched_off, 1) != before
