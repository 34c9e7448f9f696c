"""Pulls, by hand or by a schedule: written down before they begin, kept alive while they run, and settled at their end."""

from collections.abc import Callable, Sequence
from datetime import timedelta
from threading import Event
from typing import Final

from dashboard import peliqan
from dashboard.context import Services
from dashboard.core import addresses
from dashboard.core.text import clean
from dashboard.fleet.models import Connection
from dashboard.pulls import service as pulls
from dashboard.pulls.destinations import base as destinations
from dashboard.pulls.destinations import registry
from dashboard.pulls.manifest import PullResult
from dashboard.pulls.models import PullRun, PullSchedule
from dashboard.pulls.pull import FULL_EVERY, Pull, Selection
from dashboard.tables.of_connection import tables_of

BEAT_EVERY: Final = timedelta(seconds=30)
BY_SCHEDULE: Final = "schedule"
UNREADABLE: Final = (
    "The destination's address cannot be read with the console's keys: enter it again."
)


def copy(
    services: Services,
    run: PullRun,
    destination: destinations.Destination,
    chosen: Selection,
    *,
    full: bool = False,
    full_every: int = FULL_EVERY,
    progress: Callable[[str], None] = lambda _: None,
    stop: Event | None = None,
) -> PullResult:
    """Carry out a pull that was written down. It ends early where ``stop`` is set, or somebody closed it meanwhile."""
    beaten_at, now, alive = services.clock(), "", True

    def go_on() -> bool:
        nonlocal beaten_at, alive
        if services.clock() - beaten_at >= BEAT_EVERY:
            beaten_at = services.clock()
            alive = pulls.extend_lease(run, beaten_at, now)
        return alive and not (stop is not None and stop.is_set())

    def note(what: str) -> None:
        nonlocal now
        now = what
        progress(what)

    work = Pull(
        services.api,
        destination,
        belongs=_belongs,
        clock=services.clock,
        full=full,
        full_every=full_every,
        progress=note,
        goes_on=go_on,
    )
    return work.run(chosen)


def work_on(services: Services, schedule: PullSchedule, stop: Event) -> None:
    """One pull by a schedule whose lease the caller has."""
    chosen, at = selection_of(schedule), services.clock()
    run = pulls.start(
        schedule,
        schedule.name,
        schedule.place,
        schedule.asked_by or BY_SCHEDULE,
        in_words(chosen),
        at,
    )
    text = services.vault.decrypt(schedule.address)
    try:
        if text is None:
            raise ValueError(UNREADABLE)
        address = addresses.read(text)
        services.settings.places.ensure(address)
        destination = registry.open_destination(address)
    except ValueError as error:
        pulls.finish(
            run, schedule, pulls.Ended(pulls.FAILED, 0, 0, 0, (), (), str(error)), services.clock()
        )
        return
    result = copy(services, run, destination, chosen, full_every=schedule.full_every, stop=stop)
    pulls.finish(run, schedule, ended(result, stopped=stop.is_set()), services.clock())


def ended(result: PullResult, *, stopped: bool = False) -> pulls.Ended:
    """How a pull ended, as it is kept."""
    by_code = {0: pulls.DONE, 1: pulls.PARTLY, 2: pulls.FAILED}
    failures = [
        {"account_id": each.account_id, "table": clean(each.table), "reason": clean(each.reason)}
        for each in result.failures
    ]
    remarks = [
        clean(f"{each.account_id} {each.name}: {said}")
        for each in result.copied
        for said in (*each.schema_changes, *each.remarks)
    ]
    state = pulls.STOPPED if stopped else by_code[result.exit_code]
    rows = sum(each.read for each in result.copied)
    return pulls.Ended(
        state, len(result.copied), rows, len(failures), failures, remarks, result.stopped or ""
    )


def selection_of(schedule: PullSchedule) -> Selection:
    """What a schedule copies."""
    chosen = schedule.chosen
    return Selection(
        frozenset(chosen.get("accounts", ())),
        frozenset(chosen.get("connections", ())),
        frozenset(chosen.get("tables", ())),
        chosen.get("database", ""),
        chosen.get("grows", ""),
    )


def in_words(chosen: Selection) -> str:
    """For the audit trail and for people."""
    said = {
        "Accounts": ", ".join(map(str, sorted(chosen.accounts))) or "all",
        "connections": ", ".join(map(str, sorted(chosen.connections))),
        "tables": ", ".join(sorted(chosen.tables)),
        "database": chosen.database,
        "by the growing column": chosen.grows,
    }
    return " ".join(f"{name}: {value}." for name, value in said.items() if value)


def _belongs(
    connection: peliqan.Connection, tables: Sequence[peliqan.Table]
) -> Sequence[peliqan.Table]:
    # The one place that says which tables a connection loads.
    return tables_of(Connection(connector=connection.connector), tables)
