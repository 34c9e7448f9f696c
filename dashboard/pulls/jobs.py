"""Execution of pulls, by hand or by a schedule, with a lease that is extended meanwhile."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from threading import Event
from typing import Final

from dashboard import peliqan
from dashboard.context import Services
from dashboard.core import database_urls
from dashboard.core.text import clean
from dashboard.fleet.models import Connection
from dashboard.pulls import service as pulls
from dashboard.pulls.destinations import base as destinations
from dashboard.pulls.destinations import registry
from dashboard.pulls.manifest import PullResult
from dashboard.pulls.models import PullRun, PullSchedule
from dashboard.pulls.pull import DEFAULT_OPTIONS, Pull, PullOptions, Selection
from dashboard.tables.connection_tables import tables_of

LEASE_EXTENDED_EVERY: Final = timedelta(seconds=30)
BY_SCHEDULE: Final = "schedule"
UNREADABLE: Final = (
    "The destination's address cannot be read with the console's keys: enter it again."
)


def copy(
    services: Services,
    run: PullRun,
    destination: destinations.Destination,
    chosen: Selection,
    options: PullOptions = DEFAULT_OPTIONS,
    stop: Event | None = None,
) -> PullResult:
    """Execute a started pull, and extend its lease meanwhile. Commits.

    It ends early if ``stop`` is set, or if its run was closed by another process.
    """
    extended_at, now, alive = services.clock(), "", True

    def should_continue() -> bool:
        nonlocal extended_at, alive
        if services.clock() - extended_at >= LEASE_EXTENDED_EVERY:
            extended_at = services.clock()
            alive = pulls.extend_lease(run, extended_at, now)
        return alive and not (stop is not None and stop.is_set())

    def show_progress(table: str) -> None:
        nonlocal now
        now = table
        options.progress(table)

    work = Pull(
        services.api,
        destination,
        tables_of=_tables_of,
        clock=services.clock,
        options=replace(options, progress=show_progress),
        should_continue=should_continue,
    )
    return work.run(chosen)


def work_on(services: Services, schedule: PullSchedule, stop: Event) -> None:
    """Execute one pull of a leased schedule. Commits."""
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
        address = database_urls.read(text)
        services.settings.egress_policy.ensure(address)
        destination = registry.open_destination(address)
    except ValueError as error:
        failed = pulls.PullOutcome(pulls.FAILED, 0, 0, 0, (), (), str(error))
        pulls.finish(run, schedule, failed, services.clock())
        return
    options = PullOptions(full_every=schedule.full_every)
    result = copy(services, run, destination, chosen, options=options, stop=stop)
    pulls.finish(run, schedule, outcome_of(result, stopped=stop.is_set()), services.clock())


def outcome_of(result: PullResult, *, stopped: bool = False) -> pulls.PullOutcome:
    """Return the outcome of a pull as it is stored."""
    by_code = {0: pulls.DONE, 1: pulls.PARTLY, 2: pulls.FAILED}
    failures = [
        {"account_id": each.account_id, "table": clean(each.table), "reason": clean(each.reason)}
        for each in result.failures
    ]
    remarks = [
        clean(f"{each.account_id} {each.name}: {text}")
        for each in result.copied
        for text in (*each.schema_changes, *each.remarks)
    ]
    state = pulls.STOPPED if stopped else by_code[result.exit_code]
    rows = sum(each.read for each in result.copied)
    return pulls.PullOutcome(
        state, len(result.copied), rows, len(failures), failures, remarks, result.stopped or ""
    )


def selection_of(schedule: PullSchedule) -> Selection:
    """Return the selection of a schedule."""
    chosen = schedule.chosen
    return Selection(
        frozenset(chosen.get("accounts", ())),
        frozenset(chosen.get("connections", ())),
        frozenset(chosen.get("tables", ())),
        chosen.get("database", ""),
        chosen.get("grows", ""),
    )


def in_words(chosen: Selection) -> str:
    """Return the selection as a text for the audit trail and for pages."""
    parts = {
        "Accounts": ", ".join(map(str, sorted(chosen.accounts))) or "all",
        "connections": ", ".join(map(str, sorted(chosen.connections))),
        "tables": ", ".join(sorted(chosen.tables)),
        "database": chosen.database,
        "by the growing column": chosen.grows,
    }
    return " ".join(f"{name}: {value}." for name, value in parts.items() if value)


def _tables_of(
    connection: peliqan.Connection, tables: Sequence[peliqan.Table]
) -> Sequence[peliqan.Table]:
    # The shared function decides which tables a connection loads.
    return tables_of(Connection(connector=connection.connector), tables)
