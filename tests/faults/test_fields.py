"""Null for every field in turn, and every field missing: what is needed is said to be missing, all else is done without."""

import pytest

from dashboard import peliqan
from tests.faults.fields import variants
from tests.faults.server import RawServer
from tests.faults.table import CASES, Case
from tests.faults.test_service import came_of, client


@pytest.mark.parametrize("case", [case for case in CASES if not isinstance(case.good, bytes)], ids=lambda case: case.name)
def test_only_the_fields_that_the_table_names_are_needed(raw_server: RawServer, case: Case) -> None:
    needed = {"null": set(), "missing": set()}
    for path, what, answer in variants(case.good):
        with raw_server.answering(**{case.name: answer}):
            seen = came_of(lambda: case.call(client(raw_server.url)))
        if isinstance(seen, peliqan.PeliqanError):
            assert isinstance(seen, peliqan.BrokenAnswer), (path, what, seen)
            needed[what].add(path)
    assert needed == {"null": set(case.needs), "missing": set(case.needs)}
