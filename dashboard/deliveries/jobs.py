"""Hands a new connection's tables to the partner's hook: once its first run has completed, part by part, each until it is taken.

A part is a page of Peliqan's, so there is never more of a table in memory than a few of these, and nothing of it on the disk.
Which part is next is written down before it is tried, and that it was taken afterwards: who goes on after a cut, or after a
worker was killed, begins with the part whose fate is not known. It has the same key each time; by that a hook knows it again.
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
from dashboard.deliveries.models import Delivery
from dashboard.exports.formats import with_id
from dashboard.fleet import queries
from dashboard.fleet import runs as fleet_runs
from dashboard.fleet.models import Connection, Run
from dashboard.peliqan.statuses import RunOutcome, outcome_of_run, run_is_over
from dashboard.refresh import live
from dashboard.tables.of_connection import tables_of
from dashboard.tables.reader import Row, TableChanged, TableReading

# So long a completed run is waited for.
WAITED: Final = timedelta(hours=24)
# After the first try that failed, the second, and so on; then it is dead, until somebody sends it again.
WAITS: Final = (
    timedelta(minutes=1),
    timedelta(minutes=5),
    timedelta(minutes=30),
    timedelta(hours=2),
    timedelta(hours=6),
)
# Others have their turn after so long.
TURN: Final = timedelta(minutes=1)
AHEAD: Final = 2
NEW_ACCOUNT: Final = (
    "The console does not know its account yet; the next pass over the fleet lists what is new."
)
NO_RUN: Final = "No run of it completed within 24 hours."
PARTIAL_RUN: Final = "Run {} ended {}: some of the data was not loaded and is missing here. {}"
WAREHOUSE: Final = "It is a warehouse, into which others load: no run of its own brings tables."
KILLED: Final = "The worker that had it in hand was stopped."
NO_TABLES: Final = "It has no table that DASHBOARD_HOOK_TABLES names."
GONE: Final = "“{}” was gone at Peliqan before it was read to its end."


@dataclass(frozen=True)
class Target:
    """Where tables go, and which: ``names`` as ``Settings.hook_tables`` has them. ``hook`` is None where none is set."""

    hook: Hook | None
    names: frozenset[str]


def work_on(
    services: Services, target: Target, delivery: Delivery, interval: float, stop: Event
) -> None:
    """One turn at a delivery whose lease the caller has: to its end, or to where it has to wait. ``interval``: see ``pace``."""
    if delivery.tries > len(WAITS):
        deliveries.complete(
            delivery, deliveries.DEAD, services.clock(), error=delivery.error or KILLED
        )
        return
    try:
        if delivery.state == deliveries.WAITING and not _has_loaded(services, delivery, interval):
            return
        _Turn(services, target, delivery, stop).hand_over()
    except HookError as error:
        _try_again(delivery, error.sentence, services.clock(), error.retry_after)
    except TableChanged as error:
        _try_again(delivery, str(error), services.clock())
    except peliqan.ApiUnavailable as error:
        # Nobody was asked, so that is no try.
        deliveries.reschedule(
            delivery, services.clock() + WAITS[0], tries=delivery.tries, error=sentence_of(error)
        )
    except peliqan.PeliqanError as error:
        _try_again(delivery, sentence_of(error), services.clock(), error.retry_after)


def _try_again(
    delivery: Delivery, error: str, at: datetime, retry_after: float | None = None
) -> None:
    tries = delivery.tries + 1
    if tries > len(WAITS):
        deliveries.complete(delivery, deliveries.DEAD, at, error=error, tries=tries)
        return
    asked = min(timedelta(seconds=retry_after or 0), WAITS[-1])
    deliveries.reschedule(delivery, at + max(WAITS[tries - 1], asked), tries=tries, error=error)


def _has_loaded(services: Services, delivery: Delivery, interval: float) -> bool:
    """Look whether a run has completed: then it goes on; else at the next look, for a day."""
    at, said = services.clock(), ""
    delivery.looks, delivery.looked_at = delivery.looks + 1, at
    looked = {"looks": delivery.looks, "looked_at": at}
    if queries.account_or_none(delivery.account_id) is None:
        said = NEW_ACCOUNT
    else:
        try:
            connection = live.read_connection(
                services.api, delivery.account_id, delivery.connection_id, at
            )
        except peliqan.PeliqanError as error:
            said = error.explained
        else:
            if connection.is_warehouse:
                deliveries.complete(delivery, deliveries.CANCELLED, at, error=WAREHOUSE, **looked)
                return False
            run, said = _completed_run(delivery)
            if run is not None:
                remarks = [*delivery.remarks, *_missing_in(run)]
                reached = {"state": deliveries.READING, "run_id": run.id, "remarks": remarks}
                return deliveries.save_progress(delivery, at, error="", **reached, **looked)
    if at - delivery.waits_since > WAITED:
        deliveries.complete(
            delivery, deliveries.DEAD, at, error=f"{NO_RUN} {said}".strip(), **looked
        )
    else:
        deliveries.reschedule(delivery, next_poll(delivery, at, interval), error=said, **looked)
    return False


def _completed_run(delivery: Delivery) -> tuple[Run | None, str]:
    """The newest run that completed, wholly or in part; or none, and what is to be said of those that did not."""
    runs = fleet_runs.latest(delivery.account_id, delivery.connection_id, fleet_runs.KEPT)
    completed = next((run for run in runs if outcome_of_run(run.status).is_success), None)
    ended = next((run for run in runs if run_is_over(run.status)), None)
    if completed is not None or ended is None:
        return completed, ""
    why = f": {ended.error}" if ended.error else ""
    said = clean(f"Run {ended.id} ended {ended.status}{why}")[:1000].rstrip(".")
    return None, f"{said}. A completed one is waited for."


def _missing_in(run: Run) -> list[str]:
    """The remark for a run that loaded only a part; nothing for a complete one."""
    if outcome_of_run(run.status) is not RunOutcome.PARTIAL:
        return []
    return [clean(PARTIAL_RUN.format(run.id, run.status, run.error))[:1000].strip()]


class _Turn:
    """What is handed over until it ends, fails, or others have their turn."""

    def __init__(self, services: Services, target: Target, delivery: Delivery, stop: Event) -> None:
        if target.hook is None:
            raise HookError(NONE)
        self._services, self._hook, self._names, self._stop = (
            services,
            target.hook,
            target.names,
            stop,
        )
        self._delivery, self._began = delivery, services.clock()
        self._api = services.api.for_account(delivery.account_id)
        connection = queries.connection_or_none(delivery.account_id, delivery.connection_id)
        assert connection is not None  # its run was read
        self._connection = connection
        self._head = _head(delivery, connection)
        # Kept for the turn; no transaction stays open while a place far away takes its time.
        db.session.expunge(connection)
        db.session.rollback()

    def hand_over(self) -> None:
        """Everything that the hook has not taken, then a message that this was all."""
        delivery = self._delivery
        if delivery.tables is None and not self._list_tables():
            return
        for place, table in enumerate(delivery.tables or ()):
            if not table["whole"] and not self._hand_over_table(place):
                return
        tables = [
            {name: each[name] for name in ("id", "name", "rows", "parts")}
            for each in delivery.tables or ()
        ]
        remarks = [*delivery.remarks] if tables else [NO_TABLES]
        whole = {"complete": True, "tables": tables, "rows": delivery.rows, "remarks": remarks}
        self._hook.send({**self._head, "key": f"{delivery.id}-complete", **whole})
        deliveries.complete(
            delivery,
            deliveries.DELIVERED,
            self._services.clock(),
            error="",
            tries=0,
            remarks=remarks,
        )

    def _list_tables(self) -> bool:
        """Settle which tables go over, and in which order: that stays, however often it is interrupted."""
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

    def _hand_over_table(self, place: int) -> bool:
        """A table from the first part on that was not taken. False where it is somebody else's, or goes on later."""
        table = self._table(place)
        try:
            columns = with_id(self._api.columns(table["id"]))
            reading = TableReading(
                self._api, table["id"], {}, first_page=table["parts"] + 1, ahead=AHEAD
            )
            # As if it had never been interrupted.
            told = reading.told
            told.count = told.last_count = table["count"]
            told.read, told.repeated = table["rows"], table["repeated"]
            pages = reading.pages()
            try:
                for rows in pages:
                    self._hook.send(self._part(table, columns, rows, reading))
                    if not self._note(place, reading) or self._has_to_wait():
                        return False
            finally:
                pages.close()
        except peliqan.NotFound:
            remark = GONE.format(table["name"])
            return self._note_table(
                place, {"whole": True}, remarks=[*self._delivery.remarks, remark]
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
            "table": {"id": table["id"], "name": table["name"], "count": reading.told.count},
            "part": reading.page,
            "last": reading.told.ended,
            "columns": [{"name": each.name, "type": each.type} for each in columns],
            "rows": [{each.name: row.get(each.name) for each in columns} for row in rows],
        }

    def _note(self, place: int, reading: TableReading) -> bool:
        told = reading.told
        reached = {
            "parts": reading.page,
            "rows": told.read,
            "count": told.count,
            "repeated": told.repeated,
        }
        remarks = self._delivery.remarks
        if told.ended:
            remarks = [
                *remarks,
                *(f"“{self._table(place)['name']}”: {said}" for said in told.remarks),
            ]
        return self._note_table(
            place, {**reached, "whole": told.ended}, tries=0, error="", remarks=remarks
        )

    def _note_table(self, place: int, reached: Mapping[str, Any], **values: Any) -> bool:
        tables = [
            {**each, **reached} if at == place else each
            for at, each in enumerate(self._delivery.tables or ())
        ]
        rows = sum(each["rows"] for each in tables)
        return deliveries.save_progress(
            self._delivery, self._services.clock(), tables=tables, rows=rows, **values
        )

    def _has_to_wait(self) -> bool:
        """Whether it is let go for now: the worker ends, or others have their turn."""
        at = self._services.clock()
        over = self._stop.is_set() or at - self._began >= TURN
        if over:
            deliveries.reschedule(self._delivery, at)
        return over

    def _table(self, place: int) -> dict[str, Any]:
        return (self._delivery.tables or [])[place]


def is_wanted(table: peliqan.Table, connection: Connection, names: frozenset[str]) -> bool:
    """Whether a connection's table is among these, by its name with or without the connector's, in any case, or its id."""
    name = comparable(table.name)
    its_own = {name, name.removeprefix(f"{comparable(connection.connector)}_"), str(table.id)}
    return not names or not its_own.isdisjoint(map(comparable, names))


def _head(delivery: Delivery, connection: Connection) -> dict[str, Any]:
    """What each message begins with."""
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
