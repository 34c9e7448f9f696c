"""Registration of processes that use the database: a restore refuses to run meanwhile.

A process renews its row every ten seconds and deletes it at its end. The row of a killed process
counts for ``COUNTS_FOR``.
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
    """Registration of this process from ``begin`` to ``end``; a thread renews the row."""

    def __init__(self, app: "Flask", clock: "Callable[[], datetime]") -> None:
        self._app, self._clock = app, clock
        self._name, self._over = "", Event()
        self._thread: Thread | None = None

    def begin(self) -> None:
        """Register now, renew from now on, and delete expired rows. Commits.

        Call it after a fork, which does not copy threads.
        """
        self._name = _PREFIX + uuid4().hex[:16]
        self._write(
            lambda: change(
                delete(PeriodicTask).where(_MINE, PeriodicTask.due_at < self._clock() - COUNTS_FOR)
            )
        )
        self._renew()
        self._thread = Thread(target=self._renew_until_end, name="presence", daemon=True)
        self._thread.start()

    def end(self) -> None:
        """Delete the row, and stop the thread. Commits."""
        if self._thread is None:
            return
        self._over.set()
        self._thread.join()
        self._write(lambda: change(delete(PeriodicTask).where(PeriodicTask.name == self._name)))

    def _renew_until_end(self) -> None:
        while not self._over.wait(EVERY.total_seconds()):
            self._renew()

    def _renew(self) -> None:
        self._write(lambda: upsert(PeriodicTask, [{"name": self._name, "due_at": self._clock()}]))

    def _write(self, write: "Callable[[], object]") -> None:
        with self._app.app_context():
            try:
                write()
                db.session.commit()
            except SQLAlchemyError as error:
                kind = type(getattr(error, "orig", None) or error).__name__
                log.warning(
                    "This process could not be registered in the database (%s).",
                    kind,
                    extra={"away": error},
                )


def seconds_in_use(at: datetime) -> int:
    """Return for how many seconds the database still counts as in use; 0 if no process uses it."""
    if not inspect(db.engine).has_table(PeriodicTask.__tablename__):
        return 0
    last = db.session.scalar(select(func.max(PeriodicTask.due_at)).where(_MINE))
    db.session.rollback()
    return max(0, round((last + COUNTS_FOR - at).total_seconds())) if last is not None else 0


def forget() -> None:
    """Delete the rows of all processes, since a restored backup contains old ones. Commits."""
    if inspect(db.engine).has_table(PeriodicTask.__tablename__):
        change(delete(PeriodicTask).where(_MINE))
        db.session.commit()
