"""Outages of the API, written down for all processes (``peliqan.circuit_breaker``). Each call is its own transaction."""

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
    """A ``peliqan.OutageNotes`` in the store. While that is away, a process goes by what it knows."""

    def __init__(self, engine: Engine, host: str) -> None:
        self._engine, self.host = engine, host
        self._known: Outage | None = None

    def read(self) -> Outage | None:
        """The outage that lasts."""
        with self._transaction() as session:
            self._known = self._read(session)
        return self._known

    def start(self, outage: Outage) -> Outage:
        """Write it down, unless one is; that counts."""
        self._known = outage
        with self._transaction() as session:
            upsert(
                ApiOutage,
                [{"host": self.host, "turns": 0, "reason": ""}],
                keep_existing=True,
                session=session,
            )
            none = update(ApiOutage).where(ApiOutage.host == self.host, ApiOutage.since.is_(None))
            told = {
                "since": outage.since,
                "turn_at": outage.turn_at,
                "turns": outage.turns,
                "reason": outage.reason,
            }
            change(none.values(**told), session)
            self._known = self._read(session) or outage
        return self._known

    def claim_probe(self, outage: Outage, at: datetime) -> bool:
        """Whether the turn is the caller's."""
        taken, after = 0, outage.after_probe(at)
        with self._transaction() as session:
            free = (
                ApiOutage.since.is_not(None),
                ApiOutage.turns == outage.turns,
                ApiOutage.turn_at <= at,
            )
            mine = update(ApiOutage).where(ApiOutage.host == self.host, *free)
            taken = change(mine.values(turn_at=after.turn_at, turns=after.turns), session)
        return bool(taken)

    def finish(self, at: datetime) -> None:
        """It is over."""
        self._known = None
        with self._transaction() as session:
            lasting = update(ApiOutage).where(
                ApiOutage.host == self.host, ApiOutage.since.is_not(None)
            )
            change(lasting.values(since=None, turn_at=None, ended_at=at), session)

    def ended_at(self) -> datetime | None:
        """When the last outage ended; None where none has, or one lasts."""
        with self._transaction() as session:
            over = select(ApiOutage.ended_at).where(
                ApiOutage.host == self.host, ApiOutage.since.is_(None)
            )
            return session.scalar(over)
        return None

    def _read(self, session: Session) -> Outage | None:
        lasting = select(ApiOutage).where(ApiOutage.host == self.host, ApiOutage.since.is_not(None))
        row = session.scalar(lasting)
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
                "The store is away (%s): what is known of the API stays as it is.",
                type(error).__name__,
                extra={"away": error},
            )
