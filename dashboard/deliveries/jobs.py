"""Delivery of a new connection's tables to the data hook, in parts, after its first run.

A part is one page of Peliqan's API, so memory holds a few pages of a table, and the disk none. The
number of accepted parts is committed after each part. After an interruption, the delivery resumes
with the part whose outcome is unknown. A part has the same key in each attempt, so that the hook
can recognise it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from threading import Event
from typing import Any, Final

from dashboard import peliqan
from dashboard.actions.polling import next_poll
from dashboard.context import Services
from dashboard.core.database import db
from dashboard.core.error_values import sentence_of
from dashboard.core.text import clean, comparable
from dashboard.deliveries import service as deliveries
from dashboard.deliveries.hook import NONE, Hook, HookError
from dashboard.deliveries.limits import RETRY_WAITS, WAIT_FOR_RUN
from dashboard.deliveries.models import Delivery
from dashboard.exports.formats import with_id
from dashboard.fleet import queries
from dashboard.fleet import runs as fleet_runs
from dashboard.fleet.limits import MOST_RUNS_STORED
from dashboard.fleet.models import Connection, Run
from dashboard.peliqan.statuses import RunOutcome, outcome_of_run, run_is_over
from dashboard.refresh import live
from dashboard.tables.connection_tables import tables_of
from dashboard.tables.reader import Row, TableChanged, TableReading

# A delivery works for this long, then others continue.
TURN: Final = timedelta(minutes=1)
# Pages read ahead.
AHEAD: Final = 2
NEW_ACCOUNT: Final = (
    "The console does not know its account yet; the next fleet refresh lists new accounts."
)
NO_RUN: Final = "No run of it completed within 24 hours."
PARTIAL_RUN: Final = "Run {} ended {}: some of the data was not loaded and is missing here. {}"
WAREHOUSE: Final = "It is a warehouse, into which others load: no run of its own brings tables."
KILLED: Final = "The worker that delivered it was stopped."
NO_TABLES: Final = "It has no table that DASHBOARD_HOOK_TABLES names."
REMOVED: Final = "“{}” was gone at Peliqan before it was read to its end."


@dataclass(frozen=True)
class Target:
    """Destination of tables. ``hook``: None if none is set; ``names``: ``Settings.hook_tables``."""

    hook: Hook | None
    names: frozenset[str]


def work_on(
    services: Services, target: Target, delivery: Delivery, interval: float, stop: Event
) -> None:
    """Work on a leased delivery for one turn: to its end, or until it has to wait. Commits.

    ``interval``: seconds between two polls of a run, see ``next_poll``.
    """
    if delivery.tries > len(RETRY_WAITS):
        deliveries.complete(
            delivery, deliveries.DEAD, services.clock(), error=delivery.error or KILLED
        )
        return
    try:
        if delivery.state == deliveries.WAITING and not _has_loaded(services, delivery, interval):
            return
        _Turn(services, target, delivery, stop).deliver()
    except HookError as error:
        _retry_later(delivery, error.sentence, services.clock(), error.retry_after)
    except TableChanged as error:
        _retry_later(delivery, str(error), services.clock())
    except peliqan.ApiUnavailable as error:
        # No request was sent, so this is no attempt.
        deliveries.reschedule(
            delivery,
            services.clock() + RETRY_WAITS[0],
            tries=delivery.tries,
            error=sentence_of(error),
        )
    except peliqan.PeliqanError as error:
        _retry_later(delivery, sentence_of(error), services.clock(), error.retry_after)


def _retry_later(
    delivery: Delivery, error: str, at: datetime, retry_after: float | None = None
) -> None:
    tries = delivery.tries + 1
    if tries > len(RETRY_WAITS):
        deliveries.complete(delivery, deliveries.DEAD, at, error=error, tries=tries)
        return
    requested = min(timedelta(seconds=retry_after or 0), RETRY_WAITS[-1])
    due_at = at + max(RETRY_WAITS[tries - 1], requested)
    deliveries.reschedule(delivery, due_at, tries=tries, error=error)


def _has_loaded(services: Services, delivery: Delivery, interval: float) -> bool:
    """Return whether a run has completed; else reschedule the delivery, for up to 24 hours."""
    at, remark = services.clock(), ""
    delivery.looks, delivery.looked_at = delivery.looks + 1, at
    polls = {"looks": delivery.looks, "looked_at": at}
    if queries.account_or_none(delivery.account_id) is None:
        remark = NEW_ACCOUNT
    else:
        try:
            connection = live.read_connection(
                services.api, delivery.account_id, delivery.connection_id, at
            )
        except peliqan.PeliqanError as error:
            remark = error.explained
        else:
            if connection.is_warehouse:
                deliveries.complete(delivery, deliveries.CANCELLED, at, error=WAREHOUSE, **polls)
                return False
            run, remark = _completed_run(delivery)
            if run is not None:
                remarks = [*delivery.remarks, *_missing_in(run)]
                values = {"state": deliveries.READING, "run_id": run.id, "remarks": remarks}
                return deliveries.save_progress(delivery, at, error="", **values, **polls)
    if at - delivery.waits_since > WAIT_FOR_RUN:
        reason = f"{NO_RUN} {remark}".strip()
        deliveries.complete(delivery, deliveries.DEAD, at, error=reason, **polls)
    else:
        due_at = next_poll(delivery, at, interval)
        deliveries.reschedule(delivery, due_at, error=remark, **polls)
    return False


def _completed_run(delivery: Delivery) -> tuple[Run | None, str]:
    """Return the newest run that completed, or None and a remark on the last failed one."""
    runs = fleet_runs.latest(delivery.account_id, delivery.connection_id, MOST_RUNS_STORED)
    completed = next((run for run in runs if outcome_of_run(run.status).is_success), None)
    ended = next((run for run in runs if run_is_over(run.status)), None)
    if completed is not None or ended is None:
        return completed, ""
    reason = f": {ended.error}" if ended.error else ""
    remark = clean(f"Run {ended.id} ended {ended.status}{reason}")[:1000].rstrip(".")
    return None, f"{remark}. A completed one is waited for."


def _missing_in(run: Run) -> list[str]:
    """Return a remark if the run loaded only a part; nothing for a complete run."""
    if outcome_of_run(run.status) is not RunOutcome.PARTIAL:
        return []
    return [clean(PARTIAL_RUN.format(run.id, run.status, run.error))[:1000].strip()]


class _Turn:
    """One turn of a delivery: until it ends, fails, or others must continue."""

    def __init__(self, services: Services, target: Target, delivery: Delivery, stop: Event) -> None:
        if target.hook is None:
            raise HookError(NONE)
        self._services, self._hook, self._names, self._stop = (
            services,
            target.hook,
            target.names,
            stop,
        )
        self._delivery, self._started = delivery, services.clock()
        self._api = services.api.for_account(delivery.account_id)
        connection = queries.connection_or_none(delivery.account_id, delivery.connection_id)
        assert connection is not None  # its run was read before
        self._connection = connection
        self._head = _head(delivery, connection)
        # Sending takes seconds: no transaction may stay open.
        db.session.expunge(connection)
        db.session.rollback()

    def deliver(self) -> None:
        """Send all parts that the hook has not accepted, then a message of completion."""
        delivery = self._delivery
        if delivery.tables is None and not self._list_tables():
            return
        for index, table in enumerate(delivery.tables or ()):
            if not table["whole"] and not self._deliver_table(index):
                return
        tables = [
            {name: each[name] for name in ("id", "name", "rows", "parts")}
            for each in delivery.tables or ()
        ]
        remarks = [*delivery.remarks] if tables else [NO_TABLES]
        summary = {"complete": True, "tables": tables, "rows": delivery.rows, "remarks": remarks}
        self._hook.send({**self._head, "key": f"{delivery.id}-complete", **summary})
        deliveries.complete(
            delivery,
            deliveries.DELIVERED,
            self._services.clock(),
            error="",
            tries=0,
            remarks=remarks,
        )

    def _list_tables(self) -> bool:
        """Fix the tables to deliver and their order, which no interruption changes."""
        found = tables_of(
            self._connection,
            (table for each in self._api.databases() for table in self._api.tables(each.id)),
        )
        wanted = [each for each in found if is_wanted(each, self._connection, self._names)]
        empty: Mapping[str, Any] = {
            "rows": 0,
            "parts": 0,
            "count": None,
            "repeated": 0,
            "whole": False,
        }
        tables = [{"id": each.id, "name": clean(each.name), **empty} for each in wanted]
        return deliveries.save_progress(
            self._delivery, self._services.clock(), state=deliveries.SENDING, tables=tables
        )

    def _deliver_table(self, index: int) -> bool:
        """Send a table's remaining parts; return False if the lease is lost or the turn is over."""
        table = self._table(index)
        try:
            columns = with_id(self._api.columns(table["id"]))
            reading = TableReading(
                self._api, table["id"], {}, first_page=table["parts"] + 1, ahead=AHEAD
            )
            # Restores the counts of earlier turns.
            counts = reading.progress
            counts.count = counts.last_count = table["count"]
            counts.read, counts.repeated = table["rows"], table["repeated"]
            pages = reading.pages()
            try:
                for rows in pages:
                    self._hook.send(self._part(table, columns, rows, reading))
                    if not self._save(index, reading) or self._has_to_wait():
                        return False
            finally:
                pages.close()
        except peliqan.NotFound:
            remark = REMOVED.format(table["name"])
            return self._save_table(
                index, {"whole": True}, remarks=[*self._delivery.remarks, remark]
            )
        return True

    def _part(
        self,
        table: Mapping[str, Any],
        columns: Sequence[peliqan.Column],
        rows: Sequence[Row],
        reading: TableReading,
    ) -> dict[str, Any]:
        return {
            **self._head,
            "key": f"{self._delivery.id}-{table['id']}-{reading.page}",
            "complete": False,
            "table": {"id": table["id"], "name": table["name"], "count": reading.progress.count},
            "part": reading.page,
            "last": reading.progress.ended,
            "columns": [{"name": each.name, "type": each.type} for each in columns],
            "rows": [{each.name: row.get(each.name) for each in columns} for row in rows],
        }

    def _save(self, index: int, reading: TableReading) -> bool:
        counts = reading.progress
        values = {
            "parts": reading.page,
            "rows": counts.read,
            "count": counts.count,
            "repeated": counts.repeated,
            "whole": counts.ended,
        }
        remarks = self._delivery.remarks
        if counts.ended:
            name = self._table(index)["name"]
            remarks = [*remarks, *(f"“{name}”: {remark}" for remark in counts.remarks)]
        return self._save_table(index, values, tries=0, error="", remarks=remarks)

    def _save_table(self, index: int, table: Mapping[str, Any], **values: Any) -> bool:
        tables = [
            {**each, **table} if position == index else each
            for position, each in enumerate(self._delivery.tables or ())
        ]
        rows = sum(each["rows"] for each in tables)
        return deliveries.save_progress(
            self._delivery, self._services.clock(), tables=tables, rows=rows, **values
        )

    def _has_to_wait(self) -> bool:
        """Return whether the turn is over or the worker ends; then the delivery is released."""
        at = self._services.clock()
        over = self._stop.is_set() or at - self._started >= TURN
        if over:
            deliveries.reschedule(self._delivery, at)
        return over

    def _table(self, index: int) -> dict[str, Any]:
        return (self._delivery.tables or [])[index]


def is_wanted(table: peliqan.Table, connection: Connection, names: frozenset[str]) -> bool:
    """Return whether a table is among the named ones; no names mean all tables.

    A name matches in any case, with or without the connector's prefix. An id matches too.
    """
    name = comparable(table.name)
    keys = {name, name.removeprefix(f"{comparable(connection.connector)}_"), str(table.id)}
    return not names or not keys.isdisjoint(map(comparable, names))


def _head(delivery: Delivery, connection: Connection) -> dict[str, Any]:
    """Return the fields that all messages of a delivery share."""
    account = connection.account
    return {
        "delivery": delivery.id,
        "account": {"id": account.id, "external_id": account.external_id, "name": account.name},
        "connection": {
            "id": connection.id,
            "name": connection.name,
            "connector": connection.connector,
            "run_id": delivery.run_id,
        },
    }
