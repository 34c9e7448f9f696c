"""Run state after events in any order."""

from datetime import UTC, datetime, timedelta
from itertools import permutations

from hypothesis import given
from hypothesis import strategies as st

from dashboard.webhooks.run_state import ReportedRun, RunState

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
ENDS = ("COMPLETED", "COMPLETED_WITH_ERRORS", "ERROR", "INTERNAL_ERROR")


def at(minute: int) -> datetime:
    return NOON + timedelta(minutes=minute)


def shown(state: RunState) -> tuple[object, ...]:
    runs = {id: (run.status, run.started_at, run.ended_at) for id, run in state.runs.items()}
    return (
        state.newest,
        state.running,
        state.last_run_status,
        state.last_run_at,
        state.last_success_at,
        runs,
    )


def test_a_run_that_has_ended_never_runs_again() -> None:
    state = RunState()
    assert state.apply(5, "ERROR", at(2))
    assert not state.apply(5, "RUNNING", at(1))
    assert not state.apply(5, "RUNNING", at(3))
    assert (state.running, state.last_run_status) == (False, "ERROR")
    assert state.runs[5].ended_at == at(2)
    assert state.last_run_at == at(1)


def test_an_older_runs_end_leaves_the_newer_run_in_sight() -> None:
    state = RunState(
        newest=7,
        running=True,
        last_run_status="RUNNING",
        last_run_at=at(5),
        runs={7: ReportedRun("RUNNING", at(5))},
    )
    assert state.apply(6, "COMPLETED", at(9))
    assert (state.newest, state.running, state.last_run_status, state.last_run_at) == (
        7,
        True,
        "RUNNING",
        at(5),
    )
    assert state.runs[6].is_new
    assert state.last_success_at == at(9)


def test_an_older_run_does_not_begin_after_a_newer_one() -> None:
    state = RunState(
        newest=7, last_run_status="COMPLETED", runs={7: ReportedRun("COMPLETED", at(5), at(6))}
    )
    assert not state.apply(6, "RUNNING", at(9))
    assert 6 not in state.runs
    assert not state.running


def test_two_ends_of_one_run_are_worth_a_reading_and_change_nothing() -> None:
    state = RunState()
    state.apply(5, "COMPLETED", at(1))
    before = shown(state)
    assert state.apply(5, "ERROR", at(2))
    assert not state.apply(5, "completed", at(3))
    assert shown(state) == before


@given(
    ends=st.lists(st.sampled_from(ENDS) | st.none(), min_size=1, max_size=3),
    known=st.integers(0, 3),
    data=st.data(),
)
def test_the_order_in_which_things_are_heard_makes_no_difference(
    ends: list[str | None], known: int, data: st.DataObject
) -> None:
    reports = [(id + 1, "RUNNING", at(10 * id)) for id in range(len(ends))]
    reports += [(id + 1, end, at(10 * id + 5)) for id, end in enumerate(ends) if end is not None]
    seen = set()
    for order in [
        *data.draw(st.lists(st.permutations(reports), min_size=2, max_size=4)),
        sorted(reports),
    ]:
        state = RunState(newest=known)
        for run_id, status, time in [*order, *order]:
            state.apply(run_id, status, time)
        # Without an end, only the newest run is sure to be stored.
        seen.add(shown(state)[:5])
        assert {id: run.status for id, run in state.runs.items() if run.is_over} == {
            id + 1: end for id, end in enumerate(ends) if end is not None
        }
    assert len(seen) == 1


def test_every_order_of_two_runs_ends_the_same() -> None:
    reports = [
        (1, "RUNNING", at(0)),
        (1, "COMPLETED", at(5)),
        (2, "RUNNING", at(10)),
        (2, "ERROR", at(15)),
    ]
    ends = set()
    for order in permutations(reports):
        state = RunState()
        for each in order:
            state.apply(*each)
        ends.add(shown(state)[:5])
    assert ends == {(2, False, "ERROR", at(10), at(5))}
