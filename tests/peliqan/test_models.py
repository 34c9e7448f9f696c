"""Any JSON is a typed answer or a ``BrokenAnswer``; Peliqan's field names go first."""

import json
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dashboard.peliqan import (
    Account,
    BrokenAnswer,
    Column,
    Connection,
    Database,
    Link,
    Routes,
    RowPage,
    Run,
    SyncStarted,
    SyncStatus,
    Table,
    Token,
)
from dashboard.peliqan.models import AccountPage, Answer
from dashboard.peliqan.responses import parse, parse_list
from dashboard.peliqan.routes import ROUTES
from dashboard.peliqan.webhooks import parse_event

MODELS: list[type[Answer]] = [
    Account,
    AccountPage,
    Column,
    Connection,
    Database,
    Link,
    RowPage,
    Run,
    SyncStarted,
    SyncStatus,
    Table,
    Token,
]
NAMES = sorted(
    {
        name
        for model in MODELS
        for field in model.model_fields.values()
        for name in getattr(field.validation_alias, "choices", [])
    }
    | {name for model in MODELS for name in model.model_fields}
    | {"name", "message", "records"}
)
LEAVES = (
    st.none() | st.booleans() | st.integers() | st.just(10**400) | st.floats() | st.text()
    | st.sampled_from(["0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-12:00"])
    | st.sampled_from(["2026-01-01T00:00:00Z", "\ud800", "\x00", "1e400"])
)  # fmt: skip
JSON = st.recursive(
    LEAVES,
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.sampled_from(NAMES) | st.text(), inner, max_size=5)
    ),
    max_leaves=15,
)
OBJECTS = st.dictionaries(st.sampled_from(NAMES), JSON, max_size=8)


@settings(max_examples=200, deadline=None)
@given(data=OBJECTS | JSON, model=st.sampled_from(MODELS))
def test_any_json_is_a_typed_answer_or_broken(data: Any, model: type[Answer]) -> None:
    with suppress(BrokenAnswer):
        assert isinstance(parse(model, data, ROUTES[0]), model)
    with suppress(BrokenAnswer):
        assert all(isinstance(each, model) for each in parse_list(model, [data], ROUTES[0]))


KNOWN: list[tuple[type[Answer], dict[str, Any]]] = [
    (Account, {"id": 1, "name": "Acme", "external_id": "cust-1"}),
    (
        Connection,
        {
            "id": 2,
            "name": "c",
            "server_type": "exact",
            "health_status": "OK",
            "is_datawarehouse": True,
            "is_target": False,
            "target": 3,
            "target_schema": {"schema_name": "s"},
            "run_interval": 3600,
            "disable_scheduler": True,
            "auth_type": "oauth2",
            "consent_expires_at": "2026-12-01T00:00:00Z",
        },
    ),
    (
        Run,
        {
            "id": 4,
            "status": "ERROR",
            "timestamp_start": "2026-01-02T03:04:05",
            "timestamp_end": "2026-01-02T05:04:05+02:00",
            "tables": {"a": {"records": 5}},
            "error": "e",
            "status_code_from_source": 1,
        },
    ),
    (
        SyncStarted,
        {
            "run_data": {"pipeline_run_id": 5, "task_id": "t"},
            "task_id": "u",
            "detail": "d",
            "syncing": False,
            "health_status": "OK",
        },
    ),
    (
        SyncStatus,
        {"running": True, "status": "RUNNING", "task_id": "t", "run_id": 6, "detail": "d"},
    ),
    (RowPage, {"count": 1, "results": [{"id": 1}], "next": None}),
]


@settings(max_examples=100, deadline=None)
@given(
    extra=st.dictionaries(st.sampled_from(NAMES) | st.text(), JSON, max_size=6),
    known=st.sampled_from(KNOWN),
)
def test_what_is_documented_survives_any_field_beside_it(
    extra: dict[str, Any], known: tuple[type[Answer], dict[str, Any]]
) -> None:
    model, documented = known
    assert parse(model, {**extra, **documented}, ROUTES[0]) == parse(model, documented, ROUTES[0])


@pytest.mark.parametrize("value", ["soon", {}, [], True, "0001-01-01T00:00:00+14:00", None])
def test_the_end_of_a_consent_that_cannot_be_read_is_as_good_as_none(value: Any) -> None:
    assert (
        parse(Connection, {"id": 1, "consent_expires_at": value}, ROUTES[0]).consent_expires_at
        is None
    )


def test_times_are_in_utc_whatever_their_zone() -> None:
    run = parse(Run, KNOWN[2][1], ROUTES[0])
    assert run.started_at == run.ended_at == datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


def test_a_time_that_has_no_place_in_utc_is_broken() -> None:
    with pytest.raises(BrokenAnswer, match="timestamp_start"):
        parse(Run, {"id": 1, "timestamp_start": "0001-01-01T00:00:00+14:00"}, ROUTES[0])


@pytest.mark.parametrize(
    "tables",
    [[{"name": "a", "records": 5}, "b"], {"a": 5, "b": None}, {"a": {"records": 5}, "b": {}}],
)
def test_a_runs_tables_come_in_any_of_their_shapes(tables: Any) -> None:
    run = parse(Run, {"id": 1, "tables": tables}, ROUTES[0])
    assert [(each.name, each.records) for each in run.tables] == [("a", 5), ("b", None)]
    assert run.records == 5


def test_numbers_that_no_column_could_hold_are_left_out_and_fail_nothing() -> None:
    run = parse(
        Run,
        {"id": 1, "tables": {"a": 10**400, "b": 3 * 10**9}, "status_code_from_source": -(10**30)},
        ROUTES[0],
    )
    assert (run.records, run.source_exit_code) == (3 * 10**9, None)


@pytest.mark.parametrize("data", [{"run_data": None}, {"run_data": []}, {}])
def test_a_sync_may_start_without_saying_which_run(data: dict[str, Any]) -> None:
    assert parse(SyncStarted, data, ROUTES[0]).first_run_id is None


def test_our_own_names_build_an_answer_too() -> None:
    started = SyncStarted(runs=(SyncStarted.Started(run_id=1, task_id="t"),), status="OK")
    assert (started.first_run_id, started.first_task_id, started.status) == (1, "t", "OK")
    assert Connection(id=1, connector="exact", status="OK").connector == "exact"


def test_no_secret_shows_in_a_repr() -> None:
    assert "s3cr3t" not in repr(Token(token="s3cr3t"))
    assert "s3cr3t" not in repr(Link(url="https://example.com/?state=s3cr3t"))


def test_what_has_a_side_effect_is_marked_as_sent_once() -> None:
    once = {route.name for route in ROUTES if route.once}
    assert once == {"integrate", "invite", "syncdb", "reauthorise", "saltedge_refresh"}
    # An SQL query only reads; it is a POST because it is long.
    assert all(route.once for route in ROUTES if route.method != "GET" and route.name != "proxy_db")


@pytest.mark.parametrize(
    "path",
    [
        "no-slash/{server_id}",
        "//evil.example.com/{server_id}",
        "/x/",
        "/{server_id}/{other}",
        "/{}",
        "/{server_id",
        "/{server_id.x}",
    ],
)
def test_a_replaced_path_that_cannot_work_is_refused_by_the_name_of_its_setting(path: str) -> None:
    with pytest.raises(ValueError, match="PELIQAN_PATH_SERVER:"):
        Routes({"server": path})


def test_a_replaced_path_keeps_all_else_about_its_route() -> None:
    route = Routes({"syncdb": "/v2/{server_id}/go"})["syncdb"]
    assert (route.path, route.once, route.method, route.partner) == (
        "/v2/{server_id}/go",
        True,
        "GET",
        False,
    )
    assert route.placeholders == {"server_id"}


@pytest.mark.parametrize(
    ("field", "names", "value"),
    [
        ("account_id", ("account_id", "sub_account_id"), 5),
        ("connection_id", ("server_id", "connection_id"), 7),
        ("run_id", ("pipeline_run_id", "run_id"), 9),
        ("status", ("status", "health_status"), "ERROR"),
    ],
)
def test_an_event_says_the_same_under_each_of_its_names(
    field: str, names: tuple[str, ...], value: Any
) -> None:
    for name in names:
        nulls = {other: None for other in names if other != name}
        for fields in ({name: value}, {**nulls, name: value}, {name: str(value)}):
            event = parse_event(json.dumps({"event": "pipeline_run_error", **fields}).encode())
            assert getattr(event, field) == value
