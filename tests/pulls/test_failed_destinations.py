"""A destination that fails completely ends the pull; finished copies stay."""

from collections.abc import Callable

import pytest

from tests.support.pulled_copies import Copies
from tests.support.pulled_customers import (
    RAISES,
    SECRET,
    TRIGGER,
    Pulls,
    check_all_copied,
    limited,
    run,
)
from tests.support.sample_tables import TABLE, OwnTable


def fails_in(code: str) -> Callable[[Copies, str], None]:
    return run(RAISES.replace("{code}", code), TRIGGER)


ENDING = ("08006", "28000", "53100", "53200", "53300", "57014", "57P01", "58030")


@pytest.mark.parametrize(
    ("copies", "code"), [("postgresql", code) for code in ENDING], indirect=["copies"]
)
def test_an_error_of_the_whole_server_ends_the_pull_and_the_next_one_copies_all(
    step: Pulls, copies: Copies, fleet: OwnTable, code: str
) -> None:
    target = step().copied[TABLE].target
    fails_in(code)(copies, target)
    fleet.put(3, "2026-01-03T00:00:00Z", Name=f"{SECRET} 3")
    found = step()
    assert found.code == 2
    assert found.copied == {}
    assert "The database does not take the copy" in str(found.stopped)
    assert code in str(found.stopped)
    run("DROP FUNCTION refuse CASCADE")(copies, target)
    check_all_copied(step())


@pytest.mark.parametrize("copies", ["sqlite"], indirect=True)
def test_a_full_disk_below_sqlite_ends_the_pull_and_the_next_one_copies_all(
    step: Pulls, copies: Copies, fleet: OwnTable
) -> None:
    check_all_copied(step())
    fleet.put(3, "2026-01-03T00:00:00Z", Name=SECRET * 10_000)
    with limited(lambda connection: connection.execute("PRAGMA max_page_count = 1")):
        found = step()
    assert (found.code, found.copied) == (2, {})
    assert "SQLITE_FULL" in str(found.stopped)
    check_all_copied(step())


@pytest.mark.parametrize("copies", ["parquet"], indirect=True)
def test_a_full_disk_below_files_ends_the_pull_and_the_next_one_copies_all(
    step: Pulls, copies: Copies, fleet: OwnTable
) -> None:
    first = step()
    path = copies.folder / first.copied[TABLE].target
    under_way = path.with_name(f"{path.name}.under-way")

    def full(_: int) -> None:
        # Every write there fails for lack of room.
        if not under_way.is_symlink():
            under_way.symlink_to("/dev/full")

    fleet.before_row = full
    fleet.put(3, "2026-01-03T00:00:00Z")
    found = step()
    fleet.before_row = lambda _: None
    assert (found.code, found.copied) == (2, {})
    assert "No space left" in str(found.stopped)
    check_all_copied(step())
