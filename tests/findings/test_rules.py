"""Each rule alone: the facts that create a finding, its text, and the facts that do not."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from dashboard.findings.rules.definitions import BY_NAME, RULES, RuleResult, diagnose, may_be_unwell
from dashboard.findings.rules.duplicates import find_recreated
from dashboard.findings.rules.facts import (
    CheckedData,
    Drop,
    Facts,
    RuleContext,
    TableFigures,
    Thresholds,
)

NOW = datetime(2026, 11, 24, 12, tzinfo=UTC)
HOUR = 3600
WELL = Facts(
    account_id=1,
    id=101,
    name="Books",
    connector="xero",
    status="OK",
    severity="ok",
    status_since=NOW - timedelta(days=30),
    interval=HOUR,
    scheduler_off=False,
    running=False,
    last_run_status="COMPLETED",
    last_run_at=NOW - timedelta(minutes=20),
    last_success_at=NOW - timedelta(minutes=19),
    last_error=None,
    last_records=12,
    last_exit_code=0,
    always_loaded=True,
    runs_read_at=NOW,
    target_id=100,
    is_target=False,
    first_seen_at=NOW - timedelta(days=30),
    consent_expires_at=None,
    newest_row_at=None,
    rows_read_at=None,
)
CONTEXT = RuleContext(NOW, Thresholds(), {"xero": 60.0}, {100, 101})


def ago(**by: float) -> datetime:
    return NOW - timedelta(**by)


def found(context: RuleContext = CONTEXT, **facts: Any) -> list[RuleResult]:
    return list(diagnose(WELL._replace(**facts), context))


def rules(context: RuleContext = CONTEXT, **facts: Any) -> list[str]:
    return [each.rule for each in found(context, **facts)]


FAILED: dict[str, Any] = {
    "status": "ERROR",
    "severity": "error",
    "last_run_status": "ERROR",
    "last_error": "500 Server Error",
}
CRASHED: dict[str, Any] = {
    **FAILED,
    "last_run_status": "INTERNAL_ERROR",
    "last_error": "Pod was OOMKilled",
    "last_exit_code": None,
}
PARTIAL: dict[str, Any] = {
    "status": "COMPLETED_WITH_ERRORS",
    "severity": "attention",
    "last_run_status": "COMPLETED_WITH_ERRORS",
    "last_error": "403 Client Error: Forbidden",
}
DENIED = {
    **FAILED,
    "last_error": "401 Client Error: Unauthorized"
    " (invalid_grant: Token has been expired or revoked.)",
}


def test_a_well_connection_has_no_finding_and_is_told_by_a_glance() -> None:
    assert found() == []
    assert not may_be_unwell(WELL)


@pytest.mark.parametrize(
    ("rule", "facts"),
    [
        (
            "config_needed",
            {
                "status": "CONFIG_SELECT",
                "severity": "attention",
                "last_run_at": None,
                "last_success_at": None,
            },
        ),
        ("disabled", {"status": "DISABLED", "severity": "off", "last_success_at": ago(days=9)}),
        ("auth_failed", {**DENIED, "last_success_at": ago(days=9)}),
        (
            "auth_failed",
            {
                **FAILED,
                "last_error": "SaltEdge::ConsentExpired: the consent 3 expired on 2026-11-20",
                "last_exit_code": 2,
            },
        ),
        ("self_disabled", {**FAILED, "last_exit_code": 2, "last_success_at": ago(days=2)}),
        (
            "stuck_run",
            {
                "running": True,
                "last_run_status": "RUNNING",
                "last_run_at": ago(hours=5),
                "last_success_at": ago(hours=6),
            },
        ),
        ("failing", {**FAILED, "last_success_at": ago(hours=2)}),
        ("failing", {**FAILED, "last_success_at": None}),
        ("failing", {"last_run_status": "KILLED", "last_success_at": ago(hours=2)}),
        ("partial_errors", {**PARTIAL, "last_success_at": ago(days=3)}),
        ("partial_errors", PARTIAL),
        ("runner_failed", {**CRASHED, "last_success_at": ago(hours=2)}),
        ("runner_failed", {**CRASHED, "last_success_at": None}),
        ("noisy", FAILED),
        (
            "never_ran",
            {
                "last_run_at": None,
                "last_success_at": None,
                "last_run_status": None,
                "last_records": None,
            },
        ),
        ("scheduler_off", {"scheduler_off": True, "last_success_at": ago(days=5)}),
        ("dark", {"last_success_at": ago(hours=3.1), "last_run_at": ago(hours=3.2)}),
        ("late", {"last_success_at": ago(hours=2.1), "last_run_at": ago(hours=2.2)}),
        ("loaded_nothing", {"last_records": 0}),
        ("stale_rows", {"newest_row_at": ago(hours=9), "rows_read_at": NOW}),
        ("consent_expiring", {"consent_expires_at": NOW + timedelta(days=3)}),
        ("orphan_target", {"target_id": 999}),
        ("status_unknown", {"status": "PAUSED_BY_VENDOR", "severity": "unknown"}),
    ],
)
def test_each_rule_speaks_alone_where_it_is_the_cause(rule: str, facts: dict[str, Any]) -> None:
    [only] = found(**facts)
    assert only.rule == rule
    assert only.evidence.endswith(".")
    assert rule in {"orphan_target"} or may_be_unwell(WELL._replace(**facts))


def test_a_twin_is_found_by_its_account() -> None:
    assert rules(RuleContext(NOW, Thresholds(), {}, {100, 101}, {101: 77})) == [
        "duplicate_connection"
    ]


def test_a_target_has_one_rule_of_its_own_and_no_source_has_it() -> None:
    for sources, says in (
        (1, "its one source loads elsewhere"),
        (4, "its 4 sources load elsewhere"),
    ):
        context = replace(CONTEXT, unused_targets={101: sources})
        [unused] = found(
            context,
            is_target=True,
            target_id=None,
            status="ERROR",
            severity="error",
            last_success_at=None,
        )
        assert (unused.rule, unused.severity) == ("unused_target", "info")
        assert unused.evidence == f"No source of the account loads into it; {says}."
        assert found(context) == []
    assert found(is_target=True, last_success_at=ago(days=90)) == []


OF_DATA = {"duplicate_keys", "mixed_versions", "table_stale", "parent_table_empty"}
OF_SURROUNDINGS = {"duplicate_connection", "rows_dropped", "unused_target"} | OF_DATA


def test_every_rule_is_asked_by_a_test() -> None:
    tested = {
        mark.args[1][number][0]
        for mark in test_each_rule_speaks_alone_where_it_is_the_cause.pytestmark
        for number in range(len(mark.args[1]))
    }
    assert tested | OF_SURROUNDINGS == {rule.name for rule in RULES}
    assert set(BY_NAME) == tested | OF_SURROUNDINGS | {"account_unreadable"}


@pytest.mark.parametrize(
    ("what", "facts"),
    [
        (
            "a failure that was mended since",
            {
                "last_run_status": "ERROR",
                "last_error": "401",
                "last_run_at": ago(hours=2),
                "status_since": ago(minutes=5),
                "last_success_at": ago(days=3),
            },
        ),
        ("exactly two intervals", {"last_success_at": ago(hours=2)}),
        (
            "a long run of a slow connector",
            {"running": True, "last_run_status": "RUNNING", "last_run_at": ago(minutes=50)},
        ),
        (
            "no interval, for which a day is assumed",
            {"interval": None, "last_success_at": ago(days=2), "last_run_at": ago(days=2)},
        ),
        ("nothing loaded, as so often", {"last_records": 0, "always_loaded": False}),
        ("a consent of months", {"consent_expires_at": NOW + timedelta(days=60)}),
        ("rows as new as the run", {"newest_row_at": ago(minutes=30), "rows_read_at": NOW}),
        (
            "rows that were read before the run and were new then",
            {"newest_row_at": ago(hours=2.5), "rows_read_at": ago(hours=1)},
        ),
        (
            "old rows where the run says that there was nothing new",
            {
                "newest_row_at": ago(hours=9),
                "rows_read_at": NOW,
                "last_records": 0,
                "always_loaded": False,
            },
        ),
        (
            "busy",
            {
                "status": "CHECKING",
                "severity": "busy",
                "last_run_at": None,
                "last_success_at": None,
                "last_run_status": None,
            },
        ),
    ],
)
def test_what_is_no_finding(what: str, facts: dict[str, Any]) -> None:
    assert rules(**facts) == []


def test_tables_that_lost_rows_are_told_the_worst_first() -> None:
    drops = [
        Drop("orders", 60, NOW, 100, ago(days=2)),
        Drop("lines", 8_200, NOW, 82_000, ago(days=1)),
    ]
    [result] = found(replace(CONTEXT, drops={101: drops, 7: drops[:1]}))
    assert (result.rule, result.contradicts) == ("rows_dropped", True)
    assert result.evidence == (
        "“lines”: 8,200 rows on 24 November, 82,000 on 23 November: 90 % fewer. 1 more of"
        " its tables has far fewer rows."
    )
    assert found(replace(CONTEXT, drops={7: drops})) == []


def of_data(*tables: TableFigures, **facts: Any) -> list[RuleResult]:
    return found(
        replace(
            CONTEXT, data={101: CheckedData(NOW, tables), 7: CheckedData(NOW, TABLES_WITH_FAULTS)}
        ),
        **facts,
    )


def figures(name: str, rows: int, **others: Any) -> TableFigures:
    return TableFigures(
        name, rows, "id", **{"keys": rows, "versions": 1, "received_at": ago(hours=1), **others}
    )


TABLES_WITH_FAULTS = (
    figures("orders", 0),
    figures("orders_lines", 12, keys=6, versions=3),
    figures("countries", 5, received_at=ago(days=40)),
)


@pytest.mark.parametrize(
    ("rule", "severity", "tables", "evidence"),
    [
        (
            "duplicate_keys",
            "critical",
            [
                figures("a", 102, keys=100),
                figures("b", 1_300, keys=1_000),
                figures("c", 101, keys=100),
            ],
            "“b”: 1,300 rows with 1,000 different values of id (1.30 times as many), as"
            " counted on 24 November 2026. "
            "1 more of its tables has the same fault.",
        ),
        (
            "mixed_versions",
            "warning",
            [figures("a", 9, versions=2), figures("b", 9, versions=1)],
            "“a”: rows of 2 snapshots side by side, as counted on 24 November 2026.",
        ),
        (
            "table_stale",
            "info",
            [figures("a", 9, received_at=ago(days=7)), figures("b", 9, received_at=ago(days=9))],
            "“b”: no row was received for 9 d, as counted on 24 November 2026.",
        ),
        (
            "parent_table_empty",
            "critical",
            [
                figures("orders", 0),
                figures("orders_lines", 4),
                figures("orders2", 4),
                figures("items", 0),
            ],
            "“orders” is empty, though “orders_lines” has 4 rows, as counted on 24 November 2026.",
        ),
    ],
)
def test_what_the_warehouse_counted_is_told_of_the_worst_table(
    rule: str, severity: str, tables: list[TableFigures], evidence: str
) -> None:
    [result] = of_data(*tables)
    assert (result.rule, result.severity, result.evidence) == (rule, severity, evidence)
    assert result.contradicts is (rule != "table_stale")


def test_tables_without_fault_or_without_the_columns_are_no_finding() -> None:
    well = (
        figures("a", 1_010, keys=1_000),
        figures("b", 0, keys=0, versions=0),
        figures("b_lines", 0),
        figures("c", 3),
    )
    assert (
        of_data(
            *well,
            TableFigures("d", 7),
            figures("e", 5, keys=0),
            figures("f", 2, received_at=NOW + timedelta(days=1)),
        )
        == []
    )


def test_a_table_without_new_rows_is_no_finding_where_the_runs_or_all_rows_explain_it() -> None:
    old = figures("a", 9, received_at=ago(days=9))
    assert [
        each.rule for each in of_data(old, last_success_at=ago(days=8), last_run_at=ago(days=8))
    ] == ["dark"]
    assert of_data(old, newest_row_at=ago(days=9), rows_read_at=NOW)[0].rule == "stale_rows"
    assert len(of_data(old, newest_row_at=ago(days=9), rows_read_at=NOW)) == 1


NEVER: dict[str, Any] = {
    "last_success_at": None,
    "last_run_at": None,
    "last_run_status": None,
    "last_records": None,
}


def test_a_connection_that_never_succeeded_next_to_another_may_be_a_recreated_one() -> None:
    mine = [
        WELL,
        WELL._replace(id=102, name="Books 2", **NEVER),
        WELL._replace(id=103, connector="odoo", **NEVER),
    ]
    assert find_recreated(mine, {101: 20}) == {102: 101}
    results = list(diagnose(mine[1], replace(CONTEXT, recreated=find_recreated(mine, {}))))
    assert [each.rule for each in results] == ["never_ran", "duplicate_connection"]
    assert results[1].evidence == (
        "No success of it is known, and the account has another connection of xero, 101:"
        " made anew, perhaps."
    )


@pytest.mark.parametrize(
    "facts",
    [
        {"severity": "off", "status": "DISABLED"},
        {"scheduler_off": True},
        {"severity": "busy", "status": "CHECKING"},
        {"running": True, "last_run_status": "RUNNING", "last_run_at": ago(minutes=1)},
        {"runs_read_at": None},
        {"is_target": True},
        {"last_success_at": ago(days=90)},
    ],
)
def test_one_that_is_off_or_has_only_begun_was_not_made_anew(facts: dict[str, Any]) -> None:
    assert find_recreated([WELL, WELL._replace(id=102, **{**NEVER, **facts})], {}) == {}


def test_of_several_that_never_succeeded_each_names_the_one_that_succeeded_last() -> None:
    older = WELL._replace(id=50, last_success_at=ago(days=3))
    new = [
        WELL._replace(id=id, **{**NEVER, "last_run_status": "ERROR", "last_run_at": ago(hours=1)})
        for id in (102, 103)
    ]
    assert find_recreated([older, WELL, *new], {102: 9, 103: 3}) == {102: 101, 103: 101}
    assert find_recreated(new, {}) == {102: 103, 103: 102}


def test_without_all_runs_only_a_connection_newer_than_the_account_is_a_recreated_one() -> None:
    failing = WELL._replace(id=102, last_success_at=None, last_run_status="ERROR")
    assert find_recreated([WELL, failing], {102: 10}) == {}
    assert find_recreated([WELL, failing._replace(first_seen_at=ago(days=2))], {102: 10}) == {
        102: 101
    }


def test_a_cause_hides_its_effects() -> None:
    assert rules(
        **DENIED, last_success_at=ago(days=30), last_exit_code=2, consent_expires_at=ago(days=1)
    ) == ["auth_failed"]
    assert rules(
        status="DISABLED", severity="off", scheduler_off=True, last_success_at=ago(days=30)
    ) == ["disabled"]
    assert rules(
        scheduler_off=True, last_success_at=None, last_run_at=None, last_run_status=None
    ) == ["scheduler_off"]


def test_age_is_as_of_the_reading_and_not_as_of_now() -> None:
    late = {
        "last_success_at": ago(days=2),
        "last_run_at": ago(days=2),
        "runs_read_at": ago(days=2) + timedelta(minutes=5),
    }
    assert rules(**late) == []


def test_nothing_is_stuck_or_dark_before_it_is_known_what_is_usual() -> None:
    facts: dict[str, Any] = {
        "running": True,
        "last_run_status": "RUNNING",
        "last_run_at": ago(hours=5),
        "last_success_at": ago(hours=6),
    }
    assert rules(RuleContext(NOW, Thresholds(), None, {100, 101}), **facts) == []
    assert rules(RuleContext(NOW, Thresholds(), {"xero": 2 * HOUR}, {100, 101}), **facts) == [
        "dark"
    ]


def test_evidence_has_its_figures() -> None:
    [dark] = found(last_success_at=ago(hours=216), last_run_at=ago(hours=216))
    assert (
        dark.evidence
        == "Peliqan calls it OK, but the last success was 9 d before it was read, 216.0"
        " times its interval of 1 h."
    )
    assert dark.contradicts
    [stuck] = found(
        running=True,
        last_run_status="RUNNING",
        last_run_at=ago(hours=5),
        last_success_at=ago(hours=6),
    )
    assert (
        stuck.evidence
        == "Its run had gone on for 5 h when it was read; one of xero usually takes 1 min."
        " Peliqan calls it OK."
    )


@pytest.mark.parametrize(
    ("facts", "severity"),
    [
        ({**FAILED, "last_success_at": ago(hours=1.5)}, "warning"),
        ({**FAILED, "last_success_at": ago(hours=4)}, "critical"),
        ({**CRASHED, "last_success_at": ago(hours=1.5)}, "warning"),
        ({**CRASHED, "last_success_at": ago(hours=4)}, "critical"),
    ],
)
def test_one_failed_run_is_a_warning_and_no_data_for_long_is_critical(
    facts: dict[str, Any], severity: str
) -> None:
    [only] = found(**facts)
    assert only.rule == (
        "runner_failed" if facts["last_run_status"] == "INTERNAL_ERROR" else "failing"
    )
    assert only.severity == severity


def test_while_a_run_is_under_way_the_one_before_it_is_what_is_known() -> None:
    again: dict[str, Any] = {
        "running": True,
        "last_run_status": "RUNNING",
        "last_run_at": ago(minutes=1),
        "last_success_at": ago(hours=4),
    }
    [only] = found(**{**DENIED, **again})
    assert only.rule == "auth_failed"
    [only] = found(**{**FAILED, **again})
    assert only.evidence.startswith(
        "A run is under way; the one before it failed, “500 Server Error”"
    )


def test_rows_that_were_old_when_looked_at_stay_a_finding_until_somebody_looks_again() -> None:
    old: dict[str, Any] = {"newest_row_at": ago(hours=12), "rows_read_at": ago(hours=3)}
    [only] = found(**old)
    assert only.rule == "stale_rows"
    assert (
        only.evidence
        == "Its runs succeed, but when its rows were looked at the newest was 9 h old."
    )
    assert found(**{**old, "newest_row_at": ago(minutes=30), "rows_read_at": NOW}) == []


def test_a_single_failed_run_of_a_connection_that_is_called_well_is_no_contradiction() -> None:
    killed: dict[str, Any] = {"last_run_status": "KILLED", "last_error": "Out of memory"}
    assert [each.contradicts for each in found(**killed, last_success_at=ago(hours=1.5))] == [False]
    assert [each.contradicts for each in found(**killed, last_success_at=ago(hours=9))] == [True]


@pytest.mark.parametrize("interval", [None, 0])
def test_where_peliqan_names_no_interval_a_day_is_assumed_and_the_evidence_says_so(
    interval: int | None,
) -> None:
    [dark] = found(interval=interval, last_success_at=ago(days=40), last_run_at=ago(days=40))
    assert (dark.rule, dark.severity) == ("dark", "critical")
    assert dark.evidence.endswith(
        "40.0 times the interval of 1 d that is assumed, since Peliqan names none."
    )
    assert rules(interval=interval, last_success_at=ago(days=2.5), last_run_at=ago(days=2.5)) == [
        "late"
    ]
    assert rules(interval=interval, last_success_at=ago(days=40), scheduler_off=True) == [
        "scheduler_off"
    ]
    assert rules(interval=interval, **{**FAILED, "last_success_at": ago(hours=20)}) == ["noisy"]


def test_which_side_failed_is_said_since_it_decides_whom_to_ask() -> None:
    old = {"last_success_at": ago(hours=5)}
    [runner], [source], [killed] = (
        found(**{**FAILED, "last_run_status": status, **old})
        for status in ("INTERNAL_ERROR", "ERROR", "KILLED")
    )
    assert runner.evidence.startswith(
        "The latest run failed in Peliqan's own runner (INTERNAL_ERROR), “500 Server Error”;"
    )
    assert source.evidence.startswith(
        "The latest run failed at the source (ERROR), “500 Server Error”;"
    )
    assert killed.evidence.startswith(
        "The latest run was stopped before its end (KILLED), “500 Server Error”;"
    )
    for status, says in (
        ("INTERNAL_ERROR", "failed in Peliqan's own runner"),
        ("ERROR", "failed at the source"),
    ):
        [noisy] = found(**{**FAILED, "last_run_status": status})
        assert noisy.rule == "noisy"
        assert says in noisy.evidence


@pytest.mark.parametrize("sign", ["401 invalid_grant", "pulling the image: 401 Unauthorized"])
def test_what_peliqans_runner_says_is_no_sign_that_the_source_refused_access(sign: str) -> None:
    old: dict[str, Any] = {"last_error": sign, "last_success_at": ago(hours=9), "last_exit_code": 2}
    assert rules(**{**CRASHED, **old}) == ["runner_failed"]
    assert rules(**{**FAILED, **old}) == ["auth_failed"]


def test_a_partial_run_counts_as_a_success_but_does_not_hide_that_none_came_after_it() -> None:
    [only] = found(**PARTIAL)
    assert (only.rule, only.severity, only.contradicts) == ("partial_errors", "warning", False)
    assert only.evidence == (
        "The latest run loaded 12 records, the rest had errors (COMPLETED_WITH_ERRORS), “403"
        " Client Error: Forbidden”; "
        "the last success was 19 min before it was read."
    )
    # A store from before partial runs counted: it has no last success, but the run counts.
    [only] = found(**{**PARTIAL, "last_success_at": None})
    assert (only.rule, only.since) == ("partial_errors", NOW)
    assert "no success is known" not in only.evidence
    assert rules(**{**PARTIAL, "last_success_at": ago(hours=5), "last_run_at": ago(hours=5)}) == [
        "partial_errors",
        "dark",
    ]


def test_a_partial_run_explains_errors_and_empty_loads_whatever_else_peliqan_calls_it() -> None:
    assert rules(**{**PARTIAL, "status": "ERROR", "severity": "error"}) == ["partial_errors"]
    assert rules(**{**PARTIAL, "status": "OK", "severity": "ok"}) == ["partial_errors"]
    unknown = {
        "last_run_status": None,
        "last_run_at": None,
        "last_success_at": None,
        "last_records": None,
    }
    [by_its_health] = found(**{**PARTIAL, **unknown})
    assert by_its_health.evidence == (
        "The latest run loaded a part of the data, the rest had errors"
        " (COMPLETED_WITH_ERRORS), “403 Client Error: Forbidden”."
    )
    [empty] = found(**{**PARTIAL, "last_records": 0})
    assert empty.evidence.startswith(
        "The latest run loaded no record and had errors (COMPLETED_WITH_ERRORS), “403 "
    )
    assert rules(**{**PARTIAL, "last_error": "401 invalid_grant", "last_exit_code": 2}) == [
        "partial_errors"
    ]
    assert rules(**{**PARTIAL, "last_run_status": "ERROR", "last_success_at": ago(hours=9)}) == [
        "failing"
    ]


@pytest.mark.parametrize("status", ["ERROR", "INTERNAL_ERROR", "KILLED", "COMPLETED_WITH_ERRORS"])
@pytest.mark.parametrize(
    "health", [("ERROR", "error"), ("OK", "ok"), ("COMPLETED_WITH_ERRORS", "attention")]
)
def test_while_a_run_is_under_way_the_findings_are_those_of_the_run_before(
    status: str, health: tuple[str, str]
) -> None:
    ended: dict[str, Any] = {
        "status": health[0],
        "severity": health[1],
        "last_error": "x",
        "last_success_at": ago(hours=4),
    }
    before = rules(**ended, last_run_status=status, last_run_at=ago(hours=1))
    running = {"running": True, "last_run_status": "RUNNING", "last_run_at": ago(minutes=1)}
    assert rules(**ended, **running, previous_status=status, previous_at=ago(hours=1)) == before


def test_what_was_mended_stays_mended_while_the_next_run_is_under_way() -> None:
    mended: dict[str, Any] = {
        "status_since": ago(minutes=30),
        "last_error": "401",
        "last_success_at": ago(hours=1.5),
    }
    running = {"running": True, "last_run_status": "RUNNING", "last_run_at": ago(minutes=1)}
    for status in ("ERROR", "INTERNAL_ERROR", "KILLED", "COMPLETED_WITH_ERRORS"):
        assert rules(**mended, **running, previous_status=status, previous_at=ago(hours=1)) == []


def test_thresholds_are_settings() -> None:
    patient = RuleContext(NOW, Thresholds(late=10, dark=20), {}, {100, 101})
    assert rules(patient, last_success_at=ago(hours=9)) == []
    assert rules(patient, last_success_at=ago(hours=11)) == ["late"]
