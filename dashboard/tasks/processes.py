"""Which processes use the store: each notes every few seconds that it is there, so that a restore can refuse while one is.

A process that ends takes its note back. That of a killed one counts for ``COUNTS_FOR`` and no longer.
"""

import logging
from datetime import datetime, timedelta
from threading import Event, Thread
from typing import TYPE_CHECKING, Final
from uuid import uuid4

from sqlalchemy import delete, func, inspect, select
from sqlalchemy.exc import SQLAlchemyError

from dashboard.core.database import change, db, upsert
from dashboard.tasks.periodic import PeriodicTask

if TYPE_CHECKING:
    from collections.abc import Callable

    from flask import Flask

log = logging.getLogger(__name__)
EVERY: Final = timedelta(seconds=10)
COUNTS_FOR: Final = timedelta(seconds=45)
_PREFIX: Final = "process "
_MINE: Final = PeriodicTask.name.startswith(_PREFIX)


class ProcessRegistration:
    """Notes that this process uses the store, from ``begin`` to ``end``, in a thread."""

    def __init__(self, app: "Flask", clock: "Callable[[], datetime]") -> None:
        self._app, self._clock = app, clock
        self._name, self._over = "", Event()
        self._thread: Thread | None = None

    def begin(self) -> None:
        """Note it now and from now on, and drop the notes of killed ones. Not before a fork, which takes no thread along."""
        self._name = _PREFIX + uuid4().hex[:16]
        self._write(
            lambda: change(
                delete(PeriodicTask).where(_MINE, PeriodicTask.due_at < self._clock() - COUNTS_FOR)
            )
        )
        self._note()
        self._thread = Thread(target=self._go_on, name="presence", daemon=True)
        self._thread.start()

    def end(self) -> None:
        """Take the note back."""
        if self._thread is None:
            return
        self._over.set()
        self._thread.join()
        self._write(lambda: change(delete(PeriodicTask).where(PeriodicTask.name == self._name)))

    def _go_on(self) -> None:
        while not self._over.wait(EVERY.total_seconds()):
            self._note()

    def _note(self) -> None:
        self._write(lambda: upsert(PeriodicTask, [{"name": self._name, "due_at": self._clock()}]))

    def _write(self, write: "Callable[[], object]") -> None:
        with self._app.app_context():
            try:
                write()
                db.session.commit()
            except SQLAlchemyError as error:
                kind = type(getattr(error, "orig", None) or error).__name__
                log.warning(
                    "The store takes no note of this process (%s).", kind, extra={"away": error}
                )


def seconds_in_use(at: datetime) -> int:
    """Return for how many seconds from now the store counts as in use; 0 where no process uses it."""
    if not inspect(db.engine).has_table(PeriodicTask.__tablename__):
        return 0
    last = db.session.scalar(select(func.max(PeriodicTask.due_at)).where(_MINE))
    db.session.rollback()
    return max(0, round((last + COUNTS_FOR - at).total_seconds())) if last is not None else 0


def forget() -> None:
    """Drop the notes of all processes: a store that was restored has those of the time of its backup. Commits."""
    if inspect(db.engine).has_table(PeriodicTask.__tablename__):
        change(delete(PeriodicTask).where(_MINE))
        db.session.commit()
