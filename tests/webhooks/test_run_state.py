"""What is heard of runs, in whatever order."""

from datetime import UTC, datetime, timedelta
from itertools import permutations

from hypothesis import given
from hypothesis import strategies as st

from dashboard.webhooks.run_state import ReportedRun, RunState

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
ENDS = ("COMPLETED", "COMPLETED_WITH_ERRORS", "ERROR", "INTERNAL_ERROR")


def at(minute: int) -> datetime:
    return NOON + timedelta(minutes=minute)


def shown(standing: RunState) -> tuple[object, ...]:
    runs = {id: (run.status, run.started_at, run.ended_at) for id, run in standing.runs.items()}
    return (
        standing.newest,
        standing.running,
        standing.last_run_status,
        standing.last_run_at,
        standing.last_success_at,
        runs,
    )


def test_a_run_that_has_ended_never_runs_again() -> None:
    standing = RunState()
    assert standing.hear(5, "ERROR", at(2))
    assert not standing.hear(5, "RUNNING", at(1))
    assert not standing.hear(5, "RUNNING", at(3))
    assert (standing.running, standing.last_run_status) == (False, "ERROR")
    assert standing.runs[5].ended_at == at(2)
    assert standing.last_run_at == at(1)


def test_an_older_runs_end_leaves_the_newer_run_in_sight() -> None:
    standing = RunState(
        newest=7,
        running=True,
        last_run_status="RUNNING",
        last_run_at=at(5),
        runs={7: ReportedRun("RUNNING", at(5))},
    )
    assert standing.hear(6, "COMPLETED", at(9))
    assert (standing.newest, standing.running, standing.last_run_status, standing.last_run_at) == (
        7,
        True,
        "RUNNING",
        at(5),
    )
    assert standing.runs[6].is_new
    assert standing.last_success_at == at(9)


def test_an_older_run_does_not_begin_after_a_newer_one() -> None:
    standing = RunState(
        newest=7, last_run_status="COMPLETED", runs={7: ReportedRun("COMPLETED", at(5), at(6))}
    )
    assert not standing.hear(6, "RUNNING", at(9))
    assert 6 not in standing.runs
    assert not standing.running


def test_two_ends_of_one_run_are_worth_a_reading_and_change_nothing() -> None:
    standing = RunState()
    standing.hear(5, "COMPLETED", at(1))
    before = shown(standing)
    assert standing.hear(5, "ERROR", at(2))
    assert not standing.hear(5, "completed", at(3))
    assert shown(standing) == before


@given(
    ends=st.lists(st.sampled_from(ENDS) | st.none(), min_size=1, max_size=3),
    known=st.integers(0, 3),
    data=st.data(),
)
def test_the_order_in_which_things_are_heard_makes_no_difference(
    ends: list[str | None], known: int, data: st.DataObject
) -> None:
    told = [(id + 1, "RUNNING", at(10 * id)) for id in range(len(ends))]
    told += [(id + 1, end, at(10 * id + 5)) for id, end in enumerate(ends) if end is not None]
    seen = set()
    for order in [
        *data.draw(st.lists(st.permutations(told), min_size=2, max_size=4)),
        sorted(told),
    ]:
        standing = RunState(newest=known)
        for run_id, status, time in [*order, *order]:
            standing.hear(run_id, status, time)
        # Of a run whose end was never told, only the newest is sure to be known to have begun.
        seen.add(shown(standing)[:5])
        assert {id: run.status for id, run in standing.runs.items() if run.is_over} == {
            id + 1: end for id, end in enumerate(ends) if end is not None
        }
    assert len(seen) == 1


def test_every_order_of_two_runs_ends_the_same() -> None:
    told = [
        (1, "RUNNING", at(0)),
        (1, "COMPLETED", at(5)),
        (2, "RUNNING", at(10)),
        (2, "ERROR", at(15)),
    ]
    ends = set()
    for order in permutations(told):
        standing = RunState()
        for each in order:
            standing.hear(*each)
        ends.add(shown(standing)[:5])
    assert ends == {(2, False, "ERROR", at(10), at(5))}
