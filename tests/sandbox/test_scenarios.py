"""Scenarios: a fleet with one known problem and no other."""

import hashlib
import json
import re
import time
from collections import Counter
from datetime import UTC, datetime, timedelta

import pytest

from dashboard.sandbox.app import create_sandbox
from dashboard.sandbox.scenarios import SCENARIOS
from tests.support.api_caller import NOON, Caller
from tests.support.observed import (
    DAY,
    check_failing,
    error_of,
    loaded,
    observe,
    odd,
    of,
    outcomes,
    staged,
    statuses,
    went_well,
)

# Recomputed whenever the fleet changes on purpose; last for the failures of runner and source.
WITHOUT_SCENARIO = "54447733417d8047da2d1ba017d6fc3dfa70602b27be53886c362ba070950f2e"
HOUR = timedelta(hours=1)
ODD_TIME = NOON + timedelta(minutes=7, seconds=31, milliseconds=900)


def test_the_fleet_without_a_scenario_is_the_one_that_is_written_down_here(api: Caller) -> None:
    described = []
    for account in api.life.accounts(0, 200):
        for shown in api.get("servers/", account.id).json:
            # The end of consents was added later, as were the errors that name it.
            shown.pop("consent_expires_at", None)
            runs = (
                []
                if shown["is_datawarehouse"]
                else api.of(api.life.connection(shown["id"]), "runs/?per_page=5")["data"]
            )
            described.append([account.name, shown, runs])
    text = re.sub(
        r"expired on \d{4}-\d\d-\d\d", "expired on then", json.dumps(described, sort_keys=True)
    )
    assert hashlib.sha256(text.encode()).hexdigest() == WITHOUT_SCENARIO


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_a_scenario_keeps_the_accounts_names_and_connectors_of_the_seed(
    api: Caller, scenario: str
) -> None:
    other = Caller(scenario=scenario)
    pages = [each.partner("sub-accounts/?per_page=200").json["data"] for each in (api, other)]
    assert pages[0] == pages[1]
    names = {(each.id, each.name, each.connector.name) for each in api.connections()}
    assert names <= {(each.id, each.name, each.connector.name) for each in other.connections()}


def test_on_a_quiet_night_nothing_is_wrong_however_long_it_lasts() -> None:
    assert odd(staged("quiet-night")) == []
    assert len(staged("quiet-night")) == 687
    for later in (timedelta(hours=7, minutes=3), 3 * DAY):
        assert odd(staged("quiet-night", later=later, accounts=60)) == []


def test_every_second_connection_to_exact_online_has_an_expired_token_for_five_hours() -> None:
    seen = staged("expired-token-at-one-connector")
    found = odd(seen, "exact_online")
    assert found == of("exact_online", seen)[::2]
    assert statuses(found) == {"ERROR": len(found)}
    check_failing(found, 5 * HOUR, "ERROR", "ERROR", "invalid_grant: Token has been expired")
    assert len(odd(staged("expired-token-at-one-connector", accounts=60), "exact_online")) == 14


def test_a_customer_who_consents_in_a_scenario_is_well_again() -> None:
    api = Caller(scenario="expired-token-at-one-connector")
    connection = next(each for each in api.connections() if each.failure)
    link = api.of(connection, "reauthorise/")["auth_uri"].removeprefix("http://localhost")
    api.client.post(link, data={"answer": "allow"})
    api.wait(hours=2)
    assert api.status(connection) == "OK"
    assert api.of(connection, "runs/")["data"][1]["status"] == "COMPLETED"


@pytest.mark.parametrize(
    ("now", "later", "accounts"),
    [
        (NOON, timedelta(), 200),
        (NOON + timedelta(minutes=59, seconds=59, milliseconds=900), 3 * HOUR, 60),
    ],
)
def test_an_outage_of_the_platform_begins_at_the_full_hour_and_lasts(
    now: datetime, later: timedelta, accounts: int
) -> None:
    seen = staged("platform-outage", now, later, accounts)
    found = odd(seen, "xero")
    assert found == of("xero", seen)
    assert len(found) >= 10
    started_at = NOON - 5 * HOUR
    for each in found:
        assert each.status == "OK"
        newest = datetime.fromisoformat(each.runs[0]["timestamp_start"])
        assert started_at - HOUR <= newest < started_at
        assert all(map(went_well, each.runs))


def test_a_run_that_the_outage_prevented_is_not_there_by_its_id() -> None:
    api = Caller(scenario="platform-outage")
    connection = next(each for each in api.connections() if each.connector.name == "xero")
    newest = api.of(connection, "runs/?per_page=1")["data"][0]["id"]
    ids = [newest, newest + connection.interval]
    for each in ids:
        found = api.get(f"pipeline_runs/?run_id={each}", connection.account_id).json["data"]
        assert [run["id"] for run in found] == [each] * (each == newest)


@pytest.mark.parametrize(
    ("now", "later", "accounts"),
    [(NOON, timedelta(), 200), (NOON + timedelta(milliseconds=700), 6 * HOUR, 60)],
)
def test_six_runs_of_odoo_began_five_hours_ago_and_never_end(
    now: datetime, later: timedelta, accounts: int
) -> None:
    found = odd(staged("stuck-runs", now, later, accounts), "odoo")
    assert (len(found), statuses(found)) == (6, {"OK": 6})
    api = Caller(now, scenario="stuck-runs")
    api.now += later
    for each in found:
        assert each.runs[0]["status"] == "RUNNING"
        assert 5 * HOUR <= each.ago() - later <= 5 * HOUR + timedelta(seconds=2)
        assert all(map(went_well, each.runs[1:]))
        status = api.of(api.life.connection(each.fields["id"]), "syncdb/status/")
        assert (status["running"], status["status"]) == (False, "RUNNING")


def test_consents_of_one_bank_ran_out_a_day_ago_and_those_of_another_will_within_three_days() -> (
    None
):
    seen = staged("bank-consents-expire")
    found = odd(seen, "saltedge_kbc", "SaltEdge_ING")
    expired, ending = of("saltedge_kbc", found), of("SaltEdge_ING", found)
    assert (expired, ending) == (of("saltedge_kbc", seen), of("SaltEdge_ING", seen))
    check_failing(
        expired, DAY, "ERROR", "ERROR", "SaltEdge::ConsentExpired.* expired on 2026-11-22;"
    )
    assert {each.ended[0]["status_code_from_source"] for each in expired} == {2}
    assert {each.fields["consent_expires_at"] for each in expired} == {"2026-11-22T12:00:00+00:00"}
    for each in ending:
        assert each.is_calm()
        assert all(map(went_well, each.ended))
        assert NOON < datetime.fromisoformat(each.fields["consent_expires_at"]) <= NOON + 3 * DAY
    later = of(
        "SaltEdge_ING", staged("bank-consents-expire", later=3 * DAY + 2 * HOUR, accounts=60)
    )
    assert statuses(later) == {"ERROR": 10}
    assert all("expired on" in str(error_of(each.ended[0])) for each in later)


def test_seven_connections_to_odoo_fail_for_two_days_since_a_column_changed() -> None:
    found = odd(staged("schema-change"), "odoo")
    assert len(found) == 7
    check_failing(found, 2 * DAY, "ERROR", "ERROR", "DatatypeMismatch")
    api = Caller(scenario="schema-change")
    for each in found:
        connection = api.life.connection(each.fields["id"])
        runs = api.life.runs(connection, 250)
        first = min(run.started_at for run in runs if run.outcome == "ERROR")
        assert timedelta() <= first - (NOON - 2 * DAY) < HOUR


def test_all_connections_to_shopify_load_nothing_for_more_than_an_hour_and_say_they_are_well() -> (
    None
):
    seen = staged("loaded-nothing")
    found = odd(seen, "shopify")
    assert found == of("shopify", seen)
    for each in found:
        after, before = each.split(1.25 * HOUR)
        assert each.is_calm()
        assert (len(after) >= 1, len(before) >= 3) == (True, True)
        assert all(run["status"] == "COMPLETED" and error_of(run) is None for run in after)
        assert {entry["records"] for run in after for entry in run["tables"]} == {0}
        assert {len(run["tables"]) for run in after} == {3}
        assert all(map(went_well, before))
    assert all(
        loaded(each.ended[0]) == 0
        for each in of("shopify", staged("loaded-nothing", later=DAY, accounts=60))
    )


def test_some_connections_are_switched_off_each_in_its_own_way() -> None:
    found = odd(staged("switched-off"), "teamleader", "hubspot", "yuki")
    disabled, unscheduled, closed = (of(name, found) for name in ("teamleader", "hubspot", "yuki"))
    assert (len(disabled), len(unscheduled), len(closed)) == (3, 3, 4)
    assert statuses(disabled) == {"DISABLED": 3}
    assert [each.is_calm() and each.fields["disable_scheduler"] for each in unscheduled] == [
        True
    ] * 3
    for each in disabled + unscheduled:
        assert 2 * DAY < each.ago() <= 2 * DAY + HOUR
        assert all(map(went_well, each.runs))
    assert {each.ended[0]["status_code_from_source"] for each in closed} == {2}
    check_failing(
        closed,
        6 * HOUR,
        "ERROR",
        "ERROR",
        r"^The source switched itself off: the administration \d+ was closed\.$",
    )


def test_five_accounts_cannot_be_read_since_their_licence_has_expired() -> None:
    api = Caller(scenario="unreadable-accounts")
    answers = {account.id: api.get("servers/", account.id) for account in api.life.accounts(0, 200)}
    assert Counter(each.status_code for each in answers.values()) == {200: 195, 403: 5}
    refused = [account_id for account_id, each in answers.items() if each.status_code == 403]
    for account_id in refused:
        error = {
            "error": "ERROR_LICENSE_EXPIRED",
            "detail": "The licence of this account has expired.",
        }
        assert answers[account_id].json == error
        assert api.get(f"servers/{account_id}01/runs/", account_id).status_code == 403
    assert odd(staged("unreadable-accounts")) == []
    assert {each.account_id for each in staged("unreadable-accounts")} == set(answers) - set(
        refused
    )
    for accounts in (3, 60):
        few = Caller(scenario="unreadable-accounts", accounts=accounts)
        found = [
            few.get("servers/", account.id).status_code
            for account in few.life.accounts(0, accounts)
        ]
        assert found.count(403) == min(5, accounts)


def test_some_connections_were_only_half_configured() -> None:
    seen = staged("half-configured")
    found = odd(seen, "teamleader", "woocommerce", "hubspot")
    waiting, never, astray = (of(name, found) for name in ("teamleader", "woocommerce", "hubspot"))
    assert (statuses(waiting), [each.runs for each in waiting]) == ({"CONFIG_SELECT": 4}, [[]] * 4)
    assert [(each.is_calm(), each.fields["disable_scheduler"], each.runs) for each in never] == [
        (True, False, [])
    ] * 3
    assert len(astray) == 2
    for each in astray:
        assert each.is_calm()
        assert went_well(each.ended[0])
        assert each.fields["target"] not in {
            other.fields["id"] for other in seen if other.account_id == each.account_id
        }
        assert each.fields["target"] != each.account_id * 100


@pytest.mark.parametrize("seed", [1, 3])
def test_two_accounts_have_a_connection_twice_though_one_has_two_of_the_connector(
    seed: int,
) -> None:
    seen = staged("half-configured", seed=seed)
    names = Counter(
        (each.account_id, each.fields["server_type"], each.fields["name"]) for each in seen
    )
    twice = [key for key, count in names.items() if count == 2]
    assert (len({account_id for account_id, _, _ in twice}), len(twice), max(names.values())) == (
        2,
        2,
        2,
    )
    assert {connector for _, connector, _ in twice} == {"exact_online"}
    api = Caller(scenario="half-configured", seed=seed)
    assert (
        len({each.fields["id"] for each in seen})
        == len(seen)
        == sum(map(api.life.world.count, range(1001, 1201))) + 2
    )
    for account_id, _, _ in twice:
        assert len({each.id for each in api.life.connections(account_id)}) == len(
            api.life.connections(account_id)
        )
        assert all(
            api.life.connection(each.id) == each for each in api.life.connections(account_id)
        )


def test_three_connections_to_yuki_have_a_status_that_nobody_documented_and_run_well() -> None:
    for later, accounts in ((timedelta(), 200), (DAY, 60)):
        found = odd(staged("new-words", later=later, accounts=accounts), "yuki")
        assert statuses(found) == {"PAUSED_BY_VENDOR": 3}
        assert all(each.ago() < each.interval and all(map(went_well, each.ended)) for each in found)


def test_teamleader_fails_in_two_ways() -> None:
    found = odd(staged("two-errors-at-one-connector"), "teamleader")
    assert statuses(found) == {"COMPLETED_WITH_ERRORS": 6, "ERROR": 4}
    assert outcomes(found) == {"COMPLETED_WITH_ERRORS": 6, "ERROR": 4}
    check_failing(
        found[:6],
        DAY,
        "COMPLETED_WITH_ERRORS",
        "COMPLETED_WITH_ERRORS",
        "module 'opportunities' is not licensed",
    )
    check_failing(found[6:], 6 * HOUR, "ERROR", "ERROR", "invalid_grant")
    assert statuses(
        odd(staged("two-errors-at-one-connector", accounts=60), "teamleader")
    ) == statuses(found)


@pytest.mark.parametrize(
    ("now", "later", "accounts"), [(NOON, timedelta(), 200), (ODD_TIME, 2 * HOUR, 60)]
)
def test_five_connections_to_yuki_are_late_by_two_and_a_half_intervals(
    now: datetime, later: timedelta, accounts: int
) -> None:
    found = odd(staged("late-runs", now, later, accounts), "yuki")
    assert (len(found), statuses(found)) == (5, {"OK": 5})
    for each in found:
        assert timedelta() <= each.ago() - later - each.interval * 2.5 < timedelta(seconds=1)
        assert all(map(went_well, each.runs))
        assert each.ago(1) - each.ago(0) == each.interval


@pytest.mark.parametrize(("now", "accounts"), [(NOON, 200), (ODD_TIME, 60)])
def test_four_connections_to_xero_failed_shortly_after_they_went_well_and_go_well_again(
    now: datetime, accounts: int
) -> None:
    found = odd(staged("noisy", now, accounts=accounts), "xero")
    assert (len(found), statuses(found)) == (4, {"ERROR": 4})
    for each in found:
        newest, before = each.runs[:2]
        assert (newest["status"], newest["status_code_from_source"]) == ("ERROR", 1)
        assert "Read timed out" in str(error_of(newest))
        assert all(map(went_well, each.runs[1:]))
        assert now - datetime.fromisoformat(before["timestamp_end"]) < each.interval
    later = of("xero", staged("noisy", now, HOUR, accounts))
    assert all(each.is_calm() and went_well(each.ended[0]) for each in later)
    api = Caller(now, scenario="noisy")
    for run in (run for each in found for run in each.runs[:3]):
        assert api.get(f"pipeline_runs/?run_id={run['id']}", run["server_id"] // 100).json[
            "data"
        ] == [run]


@pytest.mark.parametrize(
    ("now", "accounts", "seed"), [(NOON, 200, 1), (ODD_TIME, 60, 1), (NOON, 60, 3)]
)
def test_three_connections_to_yuki_load_as_ever_but_no_row_has_come_for_two_days(
    now: datetime, accounts: int, seed: int
) -> None:
    assert odd(staged("stale-rows", now, accounts=accounts, seed=seed)) == []
    for later in (timedelta(), 5 * HOUR):
        api = Caller(now, scenario="stale-rows", accounts=accounts, seed=seed)
        api.now += later
        newest = {}
        for account in api.life.accounts(0, accounts):
            connections = api.life.connections(account.id)
            for table in api.get(f"database/tables/database/{account.id}1/", account.id).json:
                if table["name"].startswith("yuki_"):
                    rows = (
                        f"database/rows/table/{table['id']}/"
                        "?user_field_names=1&size=1&order_by=-_sdc_received_at"
                    )
                    row = api.get(rows, account.id).json["results"][0]
                    age = api.now - datetime.fromisoformat(row["_sdc_received_at"])
                    connection = account.id * 100 + table["id"] % 1000 // 10
                    assert newest.setdefault(connection, age) == age
            mine = [each.id for each in connections if each.connector.name == "yuki"]
            assert len(mine) == 1 or all(newest[each] <= 2 * HOUR for each in mine)
        old = {each: age - later for each, age in newest.items() if age > 2 * HOUR}
        assert len(old) == 3
        assert all(2 * DAY <= age <= 2 * DAY + 2 * HOUR for age in old.values())


def test_peliqans_runner_crashes_without_an_exit_code_of_the_source_and_a_source_has_one() -> None:
    found = odd(staged("runner-crashes"), "netsuite", "odoo", "woocommerce")
    crashed, timed_out = of("netsuite", found) + of("odoo", found), of("woocommerce", found)
    assert (len(crashed), len(timed_out)) == (5, 3)
    check_failing(
        crashed,
        6 * HOUR,
        "ERROR",
        "INTERNAL_ERROR",
        "^Pipeline runner crashed: pod .* was OOMKilled",
    )
    check_failing(timed_out, 6 * HOUR, "ERROR", "ERROR", "Read timed out")
    assert {each.ended[0]["status_code_from_source"] for each in crashed} == {None}
    assert {each.ended[0]["status_code_from_source"] for each in timed_out} == {1}
    api = Caller(scenario="runner-crashes")
    for each, says in ((crashed[0], "OOMKilled"), (timed_out[0], "Read timed out")):
        log = api.get(f"pipeline_runs/{each.ended[0]['id']}/logs/", each.account_id).json["logs"]
        assert says in log.splitlines()[-1]
        assert ("exit code" in log, "retrying" in log) == (each in timed_out, each in timed_out)


def test_two_accounts_have_a_target_that_no_source_loads_into() -> None:
    seen = staged("unused-target")
    targets = odd(seen, "postgresql")
    assert len(targets) == 2
    assert {each.fields["is_target"] for each in seen} == {False, True}
    for each in targets:
        assert (
            each.fields["is_target"],
            each.fields["is_datawarehouse"],
            each.fields["target"],
            each.runs,
        ) == (True, False, None, [])
        others = [
            other for other in seen if other.account_id == each.account_id and other not in targets
        ]
        assert others
        assert {other.fields["target"] for other in others} == {each.account_id * 100}


def test_yuki_is_told_under_the_other_names_and_is_well() -> None:
    api = Caller(scenario="other-names")
    yuki = [each for each in api.connections() if each.connector.name == "yuki"]
    assert len(yuki) >= 10
    for connection in yuki[:10]:
        fields = next(
            each
            for each in api.get("servers/", connection.account_id).json
            if each.get("connection_id") == connection.id
        )
        assert fields.keys() & {"id", "run_interval"} == set()
        assert api.of(connection).keys() == fields.keys()
        sizes = {"page_size=3": 3, "per_page=3": 3, "page_size=2&per_page=5": 2}
        for query, size in sizes.items():
            assert len(api.of(connection, f"runs/?{query}")["data"]) == size
        run = next(each for each in api.of(connection, "runs/")["data"] if each["timestamp_end"])
        assert run["connection_id"] == connection.id
        assert all(int(table["row_count"]) > 0 for table in json.loads(run["tables"]))
        assert api.get(
            f"pipeline_runs/?run_id={run['id']}&page_size=5", connection.account_id
        ).json["data"] == [run]


def test_on_an_incident_night_five_things_go_wrong_at_connectors_of_their_own() -> None:
    parts = (
        "expired-token-at-one-connector",
        "platform-outage",
        "stuck-runs",
        "two-errors-at-one-connector",
        "bank-consents-expire",
    )
    alone = {
        part: {each.fields["id"] for each in staged(part) if not each.is_well()} for part in parts
    }
    together = [each for each in staged("incident-night") if not each.is_well()]
    assert {each.fields["id"] for each in together} == set().union(*alone.values())
    assert len(together) == sum(map(len, alone.values()))
    by_id = {
        each.fields["id"]: each for part in parts for each in staged(part) if not each.is_well()
    }
    assert all(by_id[each.fields["id"]] == each for each in together)


def test_another_seed_has_other_connections_in_trouble() -> None:
    found = odd(observe(Caller(scenario="schema-change", seed=2, accounts=60), 60), "odoo")
    assert len(found) == 7
    assert {each.fields["id"] for each in found} != {
        each.fields["id"] for each in odd(staged("schema-change"), "odoo")
    }


def test_a_scenario_of_ten_thousand_accounts_is_there_at_once() -> None:
    api = Caller(scenario="incident-night", accounts=10_000)
    token, started_at = api.token(11_000), time.process_time()
    assert api.client.get("/api/servers/", headers=token).status_code == 200
    assert time.process_time() - started_at < 2


def test_there_is_no_other_scenario() -> None:
    with pytest.raises(ValueError, match=r"no scenario storm.*quiet-night, .*incident-night"):
        create_sandbox(scenario="storm")


def test_a_scenario_begins_when_the_sandbox_does_and_not_at_a_time_of_its_own() -> None:
    api = create_sandbox(20, scenario="stuck-runs").extensions["sandbox"].life
    stuck = [
        each
        for account in api.accounts(0, 20)
        for each in api.connections(account.id)
        if each.stuck
    ]
    started_at = [api.runs(each, 1)[0].started_at for each in stuck]
    assert all(
        0 <= (datetime.now(UTC) - 5 * HOUR - each).total_seconds() < 60 for each in started_at
    )
    assert stuck
