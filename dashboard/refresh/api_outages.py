"""Outages of the API, stored for all processes (``peliqan.circuit_breaker``)."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime

from sqlalchemy import Engine, select, update
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session

from dashboard.core.database import change, upsert
from dashboard.peliqan import Outage
from dashboard.refresh.models import ApiOutage

log = logging.getLogger(__name__)


class DatabaseOutageStore:
    """A ``peliqan.OutageStore`` in the database. Each call is its own transaction.

    If the database is unavailable, a process uses what it knows.
    """

    def __init__(self, engine: Engine, host: str) -> None:
        self._engine, self.host = engine, host
        self._known: Outage | None = None

    def read(self) -> Outage | None:
        """Return the current outage; None if the API answers."""
        with self._transaction() as session:
            self._known = self._read(session)
        return self._known

    def start(self, outage: Outage) -> Outage:
        """Store an outage, or return the one that another process has stored already."""
        self._known = outage
        with self._transaction() as session:
            upsert(
                ApiOutage,
                [{"host": self.host, "turns": 0, "reason": ""}],
                keep_existing=True,
                session=session,
            )
            none = update(ApiOutage).where(ApiOutage.host == self.host, ApiOutage.since.is_(None))
            values = {
                "since": outage.since,
                "turn_at": outage.turn_at,
                "turns": outage.turns,
                "reason": outage.reason,
            }
            change(none.values(**values), session)
            self._known = self._read(session) or outage
        return self._known

    def claim_probe(self, outage: Outage, at: datetime) -> bool:
        """Return whether the caller sends the next probe; only one process gets True."""
        claimed, after = 0, outage.after_probe(at)
        with self._transaction() as session:
            due = (
                ApiOutage.since.is_not(None),
                ApiOutage.turns == outage.turns,
                ApiOutage.turn_at <= at,
            )
            unclaimed = update(ApiOutage).where(ApiOutage.host == self.host, *due)
            claimed = change(unclaimed.values(turn_at=after.turn_at, turns=after.turns), session)
        return bool(claimed)

    def finish(self, at: datetime) -> None:
        """Record that the API answers again."""
        self._known = None
        with self._transaction() as session:
            current = update(ApiOutage).where(
                ApiOutage.host == self.host, ApiOutage.since.is_not(None)
            )
            change(current.values(since=None, turn_at=None, ended_at=at), session)

    def ended_at(self) -> datetime | None:
        """Return when the last outage ended; None if there was none or one continues."""
        with self._transaction() as session:
            over = select(ApiOutage.ended_at).where(
                ApiOutage.host == self.host, ApiOutage.since.is_(None)
            )
            return session.scalar(over)
        return None

    def _read(self, session: Session) -> Outage | None:
        current = select(ApiOutage).where(ApiOutage.host == self.host, ApiOutage.since.is_not(None))
        row = session.scalar(current)
        if row is None or row.since is None or row.turn_at is None:
            return None
        return Outage(row.since, row.turn_at, row.turns, row.reason)

    @contextmanager
    def _transaction(self) -> Iterator[Session]:
        try:
            with Session(self._engine) as session, session.begin():
                yield session
        except SQLAlchemyError as error:
            log.warning(
                "The database is unavailable (%s): the known state of the API stays in use.",
                type(error).__name__,
                extra={"away": error},
            )
