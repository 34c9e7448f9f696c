"""Compare the console's findings with the checks of Peliqan's health application.

The application's checks are in ``tests.support.health_checks``. A finding stands for a check that
is the same (``SAME``) or that it hides: the console reports a cause, the application its symptoms.
"""

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from flask import Flask
from peliqan import Peliqan
from sqlalchemy import select

from dashboard.core.database import db
from dashboard.findings.models import Finding
from dashboard.findings.rules.definitions import BY_NAME
from dashboard.fleet.models import Connection
from dashboard.sandbox import scenario_builder as stage
from dashboard.sandbox import scenarios
from dashboard.sandbox.app import create_sandbox
from dashboard.sandbox.connectors import CLOSED, EXPIRED, NO_MODULE, SCHEMA
from dashboard.sandbox.scenario_builder import EVERY_ONE, Change, Scenario, failing, placed
from dashboard.tables.data_checks import jobs as data_check_jobs
from dashboard.tables.health import freshness
from tests.findings.test_scenarios import NOON, read_once, served
from tests.support.health_checks import Fleet, Opinion, Warehouse, of_runs, of_structure

TOKEN = "sandbox-partner-token"
AGREE = 0.99
# The application's checks, and the console's rules for the same problem.
SAME: Mapping[str, frozenset[str]] = {
    **{
        name: frozenset({name})
        for name in (
            "never_ran",
            "stuck_run",
            "self_disabled",
            "auth_failed",
            "dark",
            "late",
            "loaded_nothing",
            "disabled",
            "scheduler_off",
            "duplicate_connection",
            "account_unreadable",
            "duplicate_keys",
            "mixed_versions",
            "table_stale",
            "parent_table_empty",
        )
    },
    # Peliqan's own runner and the source fail as two findings.
    "failing": frozenset({"failing", "runner_failed"}),
    # A partial run is reported as such.
    "noisy": frozenset({"noisy", "partial_errors"}),
    "row_count_drop": frozenset({"rows_dropped"}),
    # A target that no source loads into; ``orphan_target`` of the console is a missing target.
    "orphan_target": frozenset({"unused_target"}),
    # A check that could not run is no finding of the console.
    "check_failed": frozenset(),
}
# Not checked by the application: consents, set-up, unknown statuses, rows, missing targets.
OF_THE_CONSOLE_ALONE = {
    "config_needed",
    "consent_expiring",
    "status_unknown",
    "stale_rows",
    "orphan_target",
}


class Difference(NamedTuple):
    """The failed checks and the rules of a connection that only one of the two reports."""

    connection: Any
    application: frozenset[str]
    console: frozenset[str]


@dataclass(frozen=True)
class Reason:
    """A reason for a difference. ``right``: who is; ``holds``: whether a difference has it."""

    right: str
    why: str
    holds: Callable[[Difference, Any], bool]


def _succeeded_before(difference: Difference, life: Any) -> bool:
    """Return whether it succeeded, but not in its 5 newest runs."""
    outcomes = [run.outcome for run in life.runs(difference.connection, 2_000)]
    good = {"COMPLETED", "COMPLETED_WITH_ERRORS"}
    return (
        "duplicate_connection" in difference.application
        and bool(good & {*outcomes})
        and not good & {*outcomes[:5]}
    )


def _runs_again(difference: Difference, life: Any) -> bool:
    """Return whether a recent run is under way and the one before it failed."""
    match life.runs(difference.connection, 2):
        case [latest, before]:
            is_short = latest.is_running(NOON) and NOON - latest.started_at < timedelta(hours=1)
            return (
                is_short
                and before.outcome in {"ERROR", "INTERNAL_ERROR"}
                and bool(difference.console)
            )
    return False


def _is_empty_again(difference: Difference, life: Any) -> bool:
    """Several of the newest ended runs loaded nothing, and earlier ones loaded something."""
    ended = [run for run in life.runs(difference.connection, 30) if not run.is_running(NOON)]
    records = [sum(run.records.values()) for run in ended]
    return difference.console == {"loaded_nothing"} and not any(records[:2]) and any(records)


def _all_rows_are_old(difference: Difference, life: Any) -> bool:
    """No run succeeded for over a week, so no table got a row."""
    return difference.application == {"table_stale"} and NOON - life.last_received(
        difference.connection
    ) > timedelta(days=7)


REASONS: Mapping[str, Reason] = {
    "no success among five runs": Reason(
        "the console",
        "The application takes a connection without a success in its five newest runs for"
        " one that never had any. It was not made "
        "anew: it succeeded before. The console says so only where all of its runs are"
        " known, or it came later than the account.",
        _succeeded_before,
    ),
    "a run is under way": Reason(
        "the console",
        "The application says nothing of a connection whose newest run is under way. The"
        " runs before it failed all the same, and "
        "the customer's data is still missing.",
        _runs_again,
    ),
    "several runs loaded nothing": Reason(
        "the console",
        "The application compares the newest run with the four before it: after a second one"
        " without a record it falls silent. "
        "The console compares with the runs before the first of them.",
        _is_empty_again,
    ),
    "no run succeeded for a week": Reason(
        "the console",
        "Where no run succeeds, every table is old: the application tells that for each"
        " table, the console tells why.",
        _all_rows_are_old,
    ),
}


def stands_for(rule: str, check: str) -> bool:
    """Return whether a finding covers a check of the application."""
    return rule in SAME[check] or bool(SAME[check] & BY_NAME[rule].hides)


def differences_of(
    opinions: Iterable[Opinion],
    findings: Iterable[tuple[int, int, str]],
    connections: Mapping[int, Any],
) -> Iterator[Difference]:
    """Yield the differences between both, by connection."""
    theirs, ours = defaultdict(set), defaultdict(set)
    for opinion in opinions:
        theirs[opinion.account_id, opinion.connection_id].add(opinion.check)
    for account_id, connection_id, rule in findings:
        ours[account_id, connection_id].add(rule)
    for key in sorted(theirs.keys() | ours.keys()):
        unmatched = {
            check for check in theirs[key] if not any(stands_for(rule, check) for rule in ours[key])
        }
        alone = {
            rule
            for rule in ours[key] - OF_THE_CONSOLE_ALONE
            if not any(stands_for(rule, check) for check in theirs[key])
        }
        if unmatched or alone:
            yield Difference(connections.get(key[1]), frozenset(unmatched), frozenset(alone))


def findings_now() -> list[tuple[int, int, str]]:
    now = db.session.scalars(select(Finding).where(Finding.recovered_at.is_(None)))
    return [(each.account_id, each.connection_id or 0, each.rule) for each in now]


def connections_of(sandbox: Flask) -> dict[int, Any]:
    life = sandbox.extensions["sandbox"].life
    return {
        each.id: each
        for account in life.accounts(0, life.count_accounts())
        for each in life.connections(account.id)
    }


def check_differences(found: Iterable[Difference], sandbox: Flask) -> Counter[str]:
    """Check that each difference has a reason; return the number of differences by reason."""
    life, by_reason = sandbox.extensions["sandbox"].life, Counter[str]()
    for difference in found:
        reasons = {
            name
            for name, reason in REASONS.items()
            if difference.connection and reason.holds(difference, life)
        }
        assert reasons, f"no known reason for the difference: {difference}"
        by_reason.update(reasons)
    return by_reason


@contextmanager
def both(sandbox: Flask, folder: Path) -> Iterator[tuple[list[Opinion], Any]]:
    """Yield the application's opinions on a fleet's runs and structure, and a console over it."""
    with served(sandbox) as url:
        fleet = Fleet(url, TOKEN)
        fleet.read()
    opinions = [*of_runs(fleet, NOON), *of_structure(fleet)]
    with read_once(sandbox, folder) as parts:
        yield opinions, parts


def test_of_the_demos_connections_both_say_the_same_but_for_known_reasons(tmp_path: Path) -> None:
    sandbox = create_sandbox(120, clock=lambda: NOON)
    connections = connections_of(sandbox)
    with both(sandbox, tmp_path) as (opinions, _):
        ours = findings_now()
        found = list(differences_of(opinions, ours, connections))
        flagged = {each.connection_id for each in opinions}
        rules = {
            connection_id: {rule for _, id, rule in ours if id == connection_id}
            for connection_id in connections
        }
        # Connections that only one of the two reports, or that they report differently.
        disagree = [
            each
            for each in found
            if each.connection.id not in flagged
            or not any(
                stands_for(rule, check)
                for rule in rules[each.connection.id]
                for check in (
                    opinion.check
                    for opinion in opinions
                    if opinion.connection_id == each.connection.id
                )
            )
        ]
        assert len(flagged) > 30
        assert 1 - len(disagree) / len(connections) >= AGREE
        assert set(check_differences(found, sandbox)) == {
            "no success among five runs",
            "a run is under way",
        }


_EVERY_CHECK = Scenario(
    "Everything that the application checks, each of some connections.",
    (
        Change("exact_online", slice(2), failing(EXPIRED, hours=5)),
        Change("exact_online", slice(2, 4), stage.reconnected, one_an_account=True, alone=True),
        Change("exact_online", slice(4, 6), failing(EXPIRED, days=9)),
        Change("xero", slice(0, 3), stage.resting_since_the_outage),
        Change("odoo", slice(2), stage.hanging),
        Change("odoo", slice(2, 4), failing(SCHEMA, days=2)),
        Change("shopify", slice(3), stage.loading_nothing(hours=1.25)),
        Change("teamleader", slice(2), placed("DISABLED")),
        Change("teamleader", slice(2, 4), failing(NO_MODULE, days=1)),
        Change("hubspot", slice(2), stage.unscheduled),
        Change("yuki", slice(2), failing(CLOSED, hours=6)),
        Change("yuki", slice(2, 4), stage.late),
        Change("woocommerce", slice(2), stage.never_run),
        Change("xero", slice(3, 5), stage.noisy),
        Change("shopify", slice(3, 5), stage.with_unused_target),
        Change("saltedge_kbc", EVERY_ONE, stage.faulty_data("duplicate_keys")),
        Change("netsuite", slice(2), stage.faulty_data("mixed_versions")),
        Change("netsuite", slice(2, 4), stage.faulty_data("table_stale")),
        Change("hubspot", slice(2, 4), stage.faulty_data("parent_table_empty")),
        Change("yuki", slice(4, 6), stage.faulty_data("versions_retired")),
        Change("odoo", slice(4, 6), stage.faulty_data("parent_has_rows")),
    ),
    unreadable=2,
)
OF_RUNS = {
    "never_ran",
    "stuck_run",
    "self_disabled",
    "auth_failed",
    "failing",
    "dark",
    "noisy",
    "late",
    "loaded_nothing",
    "disabled",
    "scheduler_off",
    "duplicate_connection",
    "account_unreadable",
    "orphan_target",
}
OF_DATA = {"duplicate_keys", "mixed_versions", "table_stale", "parent_table_empty"}


class Mixed(NamedTuple):
    """A fleet with a fault for each check, the application's checks, and a console that read it."""

    sandbox: Flask
    opinions: list[Opinion]
    console: Any


@pytest.fixture(scope="module")
def mixed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mixed]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(scenarios.SCENARIOS, "every-check", _EVERY_CHECK)
        sandbox = create_sandbox(70, scenario="every-check", clock=lambda: NOON)
    with both(sandbox, tmp_path_factory.mktemp("mixed")) as (opinions, parts):
        yield Mixed(sandbox, opinions, parts)


def test_each_check_of_runs_and_structure_speaks_and_both_agree(mixed: Mixed) -> None:
    assert {each.check for each in mixed.opinions} == OF_RUNS
    # Almost every connection has a fault here, so each difference needs its own reason.
    ours = [each for each in findings_now() if each[2] not in OF_DATA]
    found = differences_of(mixed.opinions, ours, connections_of(mixed.sandbox))
    assert set(check_differences(found, mixed.sandbox)) == {
        "several runs loaded nothing",
        "no success among five runs",
    }


def test_each_check_of_the_data_speaks_and_both_agree_connection_by_connection(
    mixed: Mixed,
) -> None:
    life = mixed.sandbox.extensions["sandbox"].life
    connections = {
        id: each
        for id, each in connections_of(mixed.sandbox).items()
        if life.world.is_readable(each.account_id)
    }
    of_fault = defaultdict(list)
    for each in connections.values():
        of_fault[each.fate.data_fault].append(each)
    faulty = [each for fault, of_one in of_fault.items() if fault for each in of_one[:2]]
    old = [
        each
        for each in connections.values()
        if each.failure is EXPIRED and each.fate.fails_from < NOON - timedelta(days=8)
    ]
    chosen: dict[int, list[Any]] = defaultdict(list)
    for each in (*faulty, *old, *of_fault[""][:4]):
        chosen[each.account_id].append(each)
    opinions: list[Opinion] = []
    with served(mixed.sandbox) as url:
        partner = Peliqan(jwt=TOKEN, backend_url=url)
        for account_id, of_account in chosen.items():
            warehouse = Warehouse(partner, account_id)
            sources = {source.id: source for source in warehouse.sources}
            for each in of_account:
                opinions += warehouse.opinions(sources[each.id], NOON)
                data_check_jobs.check(
                    mixed.console.api, db.session.get_one(Connection, (account_id, each.id)), NOON
                )
        assert {each.check for each in opinions} == OF_DATA
        ours = [each for each in findings_now() if each[2] in OF_DATA]
        found = list(differences_of(opinions, ours, connections))
        assert set(check_differences(found, mixed.sandbox)) == {"no run succeeded for a week"}
        assert {each.connection.id for each in found} == {each.id for each in old}
        assert sum(map(len, chosen.values())) >= 14
        # Both report the same table.
        evidence = {
            (each.connection_id, each.rule): each.evidence
            for each in db.session.scalars(select(Finding))
        }
        named = [each for each in opinions if (each.connection_id, each.check) in evidence]
        assert len(named) >= len(OF_DATA)
        assert all(f"“{each.table}”" in evidence[each.connection_id, each.check] for each in named)


def test_both_find_the_tables_that_lost_rows(tmp_path: Path) -> None:
    now = [NOON]
    sandbox = create_sandbox(40, scenario="rows-dropped", clock=lambda: now[0])
    connections = connections_of(sandbox)
    yuki = [each for each in connections.values() if each.connector.name == "yuki"][:5]
    with read_once(sandbox, tmp_path) as parts, served(sandbox) as url:
        partner = Peliqan(jwt=TOKEN, backend_url=url)
        warehouses = {each.account_id: Warehouse(partner, each.account_id) for each in yuki}
        sources = {source.id: source for each in warehouses.values() for source in each.sources}
        counts = {each.id: warehouses[each.account_id].rows_of(sources[each.id]) for each in yuki}
        opinions: list[Opinion] = []
        for minutes in (0, 20):
            now[0] = NOON + timedelta(minutes=minutes)
            for each in yuki:
                freshness.check_freshness(
                    parts.api, db.session.get_one(Connection, (each.account_id, each.id)), now[0]
                )
        for each in yuki:
            opinions += warehouses[each.account_id].opinions(
                sources[each.id], now[0], counts[each.id]
            )
        theirs = {each.connection_id for each in opinions if each.check == "row_count_drop"}
        assert theirs == {id for _, id, rule in findings_now() if rule == "rows_dropped"}
        assert theirs == {each.id for each in yuki if each.fate.shrinks_at}


def test_a_table_of_seven_and_a_half_days_is_stale_to_the_console_and_not_yet_to_the_application(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Both report "more than seven days"; the application counts whole days. The console is right.
    monkeypatch.setattr("dashboard.sandbox.route_helpers.STALE_FOR", timedelta(days=7.5))
    sandbox = create_sandbox(20, scenario="wrong-data", clock=lambda: NOON)
    stale = next(
        each for each in connections_of(sandbox).values() if each.fate.data_fault == "table_stale"
    )
    with read_once(sandbox, tmp_path) as parts, served(sandbox) as url:
        warehouse = Warehouse(Peliqan(jwt=TOKEN, backend_url=url), stale.account_id)
        source = next(each for each in warehouse.sources if each.id == stale.id)
        assert list(warehouse.opinions(source, NOON)) == []
        data_check_jobs.check(
            parts.api, db.session.get_one(Connection, (stale.account_id, stale.id)), NOON
        )
        assert (stale.account_id, stale.id, "table_stale") in findings_now()


def test_every_check_has_its_name_here_and_every_rule_of_the_console_is_compared_or_its_own() -> (
    None
):
    named = {rule for rules in SAME.values() for rule in rules}
    assert named <= set(BY_NAME)
    assert set(BY_NAME) - named == OF_THE_CONSOLE_ALONE
    assert OF_RUNS | OF_DATA | {"row_count_drop", "check_failed"} == set(SAME)
    assert all(reason.right == "the console" for reason in REASONS.values())
