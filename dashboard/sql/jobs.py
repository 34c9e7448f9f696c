"""Asks warehouses what people want to know: one account's answer at a time, within limits, until it is cancelled.

While the database computes, a thread beside looks twice a second whether the answer is still wanted. Of a direct connection it
cancels the statement in the database; Peliqan's route has no such thing: its stream is closed, and the database may go on for a
while.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import Event, Thread
from typing import Final

import psycopg

from dashboard.context import Services
from dashboard.core import addresses
from dashboard.core.database import db
from dashboard.core.egress import NotAllowed
from dashboard.sql import service as query_runs
from dashboard.sql.backends import peliqan as peliqan_backend
from dashboard.sql.backends import postgresql
from dashboard.sql.models import QueryResult
from dashboard.sql.result import Failed, Result

LOOK_EVERY: Final = 0.5
UNREADABLE: Final = "The warehouse's address cannot be read with the console's keys: an administrator has to enter it again."


def work_on(services: Services, answer: QueryResult, stop: Event) -> None:
    """Ask for one answer and keep it. ``stop``: the worker is to end; the answer is then given up."""
    keys, result = services.vault.keys, Result()
    question = query_runs.opened(answer.question.text, keys)
    if question is None:
        query_runs.finish(
            answer,
            query_runs.FAILED,
            services.clock(),
            "The question can no longer be read: ask it again.",
        )
        return
    try:
        with _watched(services, answer.id, stop) as watch:
            state, told = _ask(services, answer, question, result, watch)
            kept = query_runs.packed(result.rows, keys, watch.check) if result.columns else None
    except Cancelled:
        # Where it was cancelled, it has ended already, and stays so.
        query_runs.finish(answer, query_runs.FAILED, services.clock(), query_runs.INTERRUPTED)
        return
    # A column that has no name of its own is called after its expression, with the values in it.
    columns = [
        [query_runs.sealed(each.name, keys).decode(), each.type, query_runs.MASKED_BEFORE]
        for each in result.columns
    ]
    query_runs.finish(
        answer,
        state,
        services.clock(),
        told,
        columns=columns,
        rows=kept,
        count=len(result.rows) if columns else None,
    )


def _ask(
    services: Services,
    answer: QueryResult,
    question: str,
    result: Result,
    watch: "CancellationWatcher",
) -> tuple[str, str]:
    """Fill ``result``; return the answer's state and its sentence."""
    try:
        if answer.direct:
            _ask_directly(services, answer.account_id, question, result, watch)
        else:
            peliqan_backend.ask(
                services.api.for_account(answer.account_id), question, result, watch.cancels_with
            )
    except Failed as error:
        return (query_runs.INCOMPLETE if error.incomplete else query_runs.FAILED), str(error)
    finally:
        watch.cancels_with(None)
    return query_runs.DONE, result.cut


def _ask_directly(
    services: Services, account_id: int, question: str, result: Result, watch: "CancellationWatcher"
) -> None:
    kept = query_runs.address_or_none(account_id)
    text = services.vault.decrypt(kept.address) if kept is not None else None
    db.session.rollback()
    if text is None:
        raise Failed(UNREADABLE)
    try:
        address = addresses.read_postgresql(text)
        services.settings.places.ensure(address)
    except (addresses.BadAddress, NotAllowed) as error:
        raise Failed(str(error)) from None
    postgresql.ask(address, question, result, watch.cancels_with)


class Cancelled(Exception):
    """The answer was cancelled, or the worker is to end."""


class CancellationWatcher:
    """Whether the answer is still wanted; what to do when it is not. ``ended``: it is there, and nobody need look.

    ``stop``: the worker is to end.
    """

    def __init__(self, stop: Event) -> None:
        self.ended = Event()
        self._stop, self._cancelled = stop, Event()
        self._cancel: Callable[[], None] | None = None

    def cancels_with(self, cancel: Callable[[], None] | None) -> None:
        """What to call when it is not wanted any more; None when the database or Peliqan is done."""
        self._cancel = cancel

    def check(self) -> None:
        """Raise ``Cancelled`` where the answer was cancelled or the worker is to end."""
        if self._stop.is_set() or self._cancelled.is_set():
            raise Cancelled

    def look(self, services: Services, answer_id: int) -> None:
        """Until the answer is there or nobody wants it."""
        with services.app.app_context():
            while not self.ended.wait(LOOK_EVERY):
                if self._stop.is_set() or not query_runs.extend_lease(answer_id, services.clock()):
                    self._cancelled.set()
                    if (cancel := self._cancel) is not None:
                        # It may have ended in this very moment.
                        _quietly(cancel)


@contextmanager
def _watched(services: Services, answer_id: int, stop: Event) -> Iterator[CancellationWatcher]:
    watch = CancellationWatcher(stop)
    thread = Thread(target=watch.look, args=(services, answer_id), name="watch", daemon=True)
    thread.start()
    try:
        yield watch
    finally:
        watch.ended.set()
        thread.join()


def _quietly(cancel: Callable[[], None]) -> None:
    try:
        cancel()
    except psycopg.Error:
        return
