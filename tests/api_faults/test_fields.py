"""Every field null, missing or renamed: required ones are reported, the others are optional."""

import pytest

from dashboard import peliqan
from tests.api_faults.fields import renamed, variants
from tests.api_faults.server import RawServer
from tests.api_faults.table import BY_NAME, CASES, RUN, Case
from tests.api_faults.test_service import came_of, client

# Fields with several known names; the result is the same for each of them.
OTHER_NAMES = [
    ("servers", "id", ("connection_id",)),
    ("server", "id", ("connection_id",)),
    ("runs", "data.tables.records", ("record_count", "rows", "row_count")),
    ("pipeline_runs", "data.tables.records", ("record_count", "rows", "row_count")),
    ("syncdb", "run_data.pipeline_run_id", ("run_id",)),
    ("syncdb_status", "run_id", ("pipeline_run_id",)),
]


@pytest.mark.parametrize("beside_null", [False, True])
@pytest.mark.parametrize(
    ("route", "path", "name"),
    [(route, path, name) for route, path, names in OTHER_NAMES for name in names],
)
def test_a_field_says_the_same_under_each_of_its_names(
    raw_server: RawServer, route: str, path: str, name: str, beside_null: bool
) -> None:
    case = BY_NAME[route]
    good = {**case.good, "run_id": RUN} if route == "syncdb_status" else case.good
    seen = []
    for body in (good, renamed(good, path, name, beside_null=beside_null)):
        with raw_server.answering(**{route: body}):
            seen.append(case.call(client(raw_server.url)))
    assert seen[0] == seen[1]


@pytest.mark.parametrize(
    "case", [case for case in CASES if not isinstance(case.good, bytes)], ids=lambda case: case.name
)
def test_only_the_fields_that_the_table_names_are_needed(raw_server: RawServer, case: Case) -> None:
    needed = {"null": set(), "missing": set()}
    for path, what, body in variants(case.good):
        with raw_server.answering(**{case.name: body}):
            seen = came_of(lambda: case.call(client(raw_server.url)))
        if isinstance(seen, peliqan.PeliqanError):
            assert isinstance(seen, peliqan.BrokenAnswer), (path, what, seen)
            needed[what].add(path)
    assert needed == {"null": set(case.needs), "missing": set(case.needs)}
