"""Runs queries at customers' warehouses: one account at a time, within limits, cancellable.

While the database computes, a thread polls twice a second whether the query was cancelled. On a
direct connection it cancels the statement in the database. Peliqan's route has no cancellation:
the stream is closed, and the database may continue for a while.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import Event, Thread
from typing import Final

import psycopg

from dashboard.context import Services
from dashboard.core import database_urls
from dashboard.core.database import db
from dashboard.core.egress import NotAllowed
from dashboard.sql import service as query_runs
from dashboard.sql.backends import peliqan as peliqan_backend
from dashboard.sql.backends import postgresql
from dashboard.sql.models import QueryResult
from dashboard.sql.result import Failed, Result

# Seconds.
POLL_INTERVAL: Final = 0.5
UNREADABLE: Final = (
    "The warehouse's address cannot be read with the console's keys:"
    " an administrator has to enter it again."
)


def run_stored_query(services: Services, stored: QueryResult, stop: Event) -> None:
    """Run a query at one account's warehouse and store its result. Commits.

    ``stop``: set when the worker stops; the query has then failed.
    """
    keys, result = services.vault.keys, Result()
    statement = query_runs.decrypted(stored.question.text, keys)
    if statement is None:
        query_runs.finish(
            stored,
            query_runs.FAILED,
            services.clock(),
            "The question can no longer be read: ask it again.",
        )
        return
    try:
        with _watched(services, stored.id, stop) as watcher:
            state, message = _run(services, stored, statement, result, watcher)
            rows = query_runs.pack(result.rows, keys, watcher.check) if result.columns else None
    except Cancelled:
        # Has no effect if the user cancelled the query: it is finished already.
        query_runs.finish(stored, query_runs.FAILED, services.clock(), query_runs.INTERRUPTED)
        return
    # Encrypted, since a column without a name is named by its expression, which contains values.
    columns = [
        [query_runs.encrypted(each.name, keys).decode(), each.type, query_runs.MASKED_BEFORE]
        for each in result.columns
    ]
    query_runs.finish(
        stored,
        state,
        services.clock(),
        message,
        columns=columns,
        rows=rows,
        count=len(result.rows) if columns else None,
    )


def _run(
    services: Services,
    stored: QueryResult,
    statement: str,
    result: Result,
    watcher: "CancellationWatcher",
) -> tuple[str, str]:
    """Fill ``result``; return the state of the stored result and a sentence, or no sentence."""
    try:
        if stored.direct:
            _run_directly(services, stored.account_id, statement, result, watcher)
        else:
            api = services.api.for_account(stored.account_id)
            peliqan_backend.run_query(api, statement, result, watcher.cancel_with)
    except Failed as error:
        return (query_runs.INCOMPLETE if error.incomplete else query_runs.FAILED), str(error)
    finally:
        watcher.cancel_with(None)
    return query_runs.DONE, result.cut


def _run_directly(
    services: Services,
    account_id: int,
    statement: str,
    result: Result,
    watcher: "CancellationWatcher",
) -> None:
    dsn = query_runs.dsn_or_none(account_id)
    text = services.vault.decrypt(dsn.address) if dsn is not None else None
    db.session.rollback()
    if text is None:
        raise Failed(UNREADABLE)
    try:
        address = database_urls.read_postgresql(text)
        services.settings.egress_policy.ensure(address)
    except (database_urls.BadAddress, NotAllowed) as error:
        raise Failed(str(error)) from None
    postgresql.run_query(address, statement, result, watcher.cancel_with)


class Cancelled(Exception):
    """The query was cancelled, or the worker stops."""


class CancellationWatcher:
    """Polls whether a query was cancelled, and cancels it then.

    ``finished``: to be set when the query is finished. ``stop``: set when the worker stops.
    """

    def __init__(self, stop: Event) -> None:
        self.finished = Event()
        self._stop, self._cancelled = stop, Event()
        self._cancel: Callable[[], None] | None = None

    def cancel_with(self, cancel: Callable[[], None] | None) -> None:
        """Set the function that cancels the query; None once the backend has finished."""
        self._cancel = cancel

    def check(self) -> None:
        """Raise ``Cancelled`` if the query was cancelled or the worker stops."""
        if self._stop.is_set() or self._cancelled.is_set():
            raise Cancelled

    def poll(self, services: Services, result_id: int) -> None:
        """Poll until the query is finished, and extend its lease; cancel it if needed."""
        with services.app.app_context():
            while not self.finished.wait(POLL_INTERVAL):
                if self._stop.is_set() or not query_runs.extend_lease(result_id, services.clock()):
                    self._cancelled.set()
                    if (cancel := self._cancel) is not None:
                        _ignore_errors(cancel)


@contextmanager
def _watched(services: Services, result_id: int, stop: Event) -> Iterator[CancellationWatcher]:
    watcher = CancellationWatcher(stop)
    thread = Thread(target=watcher.poll, args=(services, result_id), name="watch", daemon=True)
    thread.start()
    try:
        yield watcher
    finally:
        watcher.finished.set()
        thread.join()


def _ignore_errors(cancel: Callable[[], None]) -> None:
    """Call ``cancel``, which fails if the query has just finished."""
    try:
        cancel()
    except psycopg.Error:
        return
