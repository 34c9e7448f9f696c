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

from dashboard.data.masks import Masks
from dashboard.data.places import NotAllowed
from dashboard.data.sql import postgresql, proxy
from dashboard.data.sql.result import Failed, Result
from dashboard.fleet.reading import Fleet
from dashboard.store import questions, reveals
from dashboard.store.database import db
from dashboard.store.models import Answer

LOOK_EVERY: Final = 0.5
UNREADABLE: Final = "The warehouse's address cannot be read with the console's keys: an administrator has to enter it again."


def work_on(fleet: Fleet, masks: Masks, answer: Answer, stop: Event) -> None:
    """Ask for one answer and keep it. ``stop``: the worker is to end; the answer is then given up."""
    keys, result = fleet.vault.keys, Result()
    question = questions.opened(answer.question.text, keys)
    if question is None:
        questions.end(answer, questions.FAILED, fleet.clock(), "The question can no longer be read: ask it again.")
        return
    state, told = questions.DONE, ""
    try:
        with _watched(fleet, answer.id, stop) as watch:
            if answer.direct:
                _ask_directly(fleet, answer.account_id, question, result, watch)
            else:
                proxy.ask(fleet.api.for_account(answer.account_id), question, result, watch.cancels_with)
        told = result.cut
    except Failed as error:
        state, told = (questions.INCOMPLETE if error.incomplete else questions.FAILED), str(error)
    if stop.is_set():
        state, told = questions.FAILED, questions.INTERRUPTED
    masked = result.masked(masks, reveals.overrides_of(answer.account_id))
    columns = [[column.name, column.type, kind] for column, kind in zip(result.columns, masked, strict=True)]
    kept = questions.packed(result.rows, keys) if result.columns else None
    questions.end(answer, state, fleet.clock(), told, columns=columns, rows=kept, count=len(result.rows) if columns else None)


def _ask_directly(fleet: Fleet, account_id: int, question: str, result: Result, watch: "Watch") -> None:
    kept = questions.address_or_none(account_id)
    address = fleet.vault.decrypt(kept.address) if kept is not None else None
    db.session.rollback()
    if address is None:
        raise Failed(UNREADABLE)
    try:
        fleet.places.ensure(address)
    except NotAllowed as error:
        raise Failed(str(error)) from None
    postgresql.ask(address, question, result, watch.cancels_with)


class Watch:
    """Whether the answer is still wanted; what to do when it is not. ``ended``: it is there, and nobody need look."""

    def __init__(self) -> None:
        self.ended = Event()
        self._cancel: Callable[[], None] | None = None

    def cancels_with(self, cancel: Callable[[], None]) -> None:
        """What to call when it is not wanted any more."""
        self._cancel = cancel

    def look(self, fleet: Fleet, answer_id: int, stop: Event) -> None:
        """Until the answer is there or nobody wants it."""
        with fleet.app.app_context():
            while not self.ended.wait(LOOK_EVERY):
                is_wanted = not stop.is_set() and questions.keep(answer_id, fleet.clock())
                if not is_wanted and self._cancel is not None:
                    # It may have ended in this very moment.
                    _quietly(self._cancel)


@contextmanager
def _watched(fleet: Fleet, answer_id: int, stop: Event) -> Iterator[Watch]:
    watch = Watch()
    thread = Thread(target=watch.look, args=(fleet, answer_id, stop), name="watch", daemon=True)
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
