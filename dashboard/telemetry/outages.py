"""Redis or the database is away: a line when that begins, one a minute while it lasts, and one when it answers again.

Whatever needs one of them fails meanwhile, many times a second, and each failure is logged where it happens, often by a library
and with a traceback. ``Outages`` stands in front of the log, keeps those records back and looks itself whether it is over.
"""

import logging
from collections.abc import Callable, Mapping
from threading import Event, Lock, Thread
from time import monotonic
from typing import Final

import psycopg
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import RedisError
from redis.exceptions import TimeoutError as RedisTimeoutError
from sqlalchemy.exc import DBAPIError, PendingRollbackError, SQLAlchemyError

log = logging.getLogger(__name__)
REDIS, DATABASE = "Redis", "The database"
# The attribute of a record whose exception is not to be shown: ``extra={AWAY: error}``.
AWAY: Final = "away"
# Seconds between two looks; between two lines while it lasts, and after its end for what failed last to be logged.
LOOK_EVERY, TELL_EVERY, LATE = 1.0, 60.0, 10.0
MEANING: Final = {
    REDIS: "Pages are shown, nobody can sign in, and work waits in the store",
    DATABASE: "Pages answer 503, and work waits",
}
# Class 08 is for connections; the others end one: https://www.postgresql.org/docs/current/errcodes-appendix.html
_ENDED: Final = frozenset({"57P01", "57P02", "57P03", "57P05"})
# SQLAlchemy's code of "Can't reconnect until invalid transaction is rolled back" (https://sqlalche.me/e/21/8s2b).
CONNECTION_LOST: Final = "8s2b"


def what_is_away(record: logging.LogRecord) -> tuple[str, BaseException] | None:
    """Return which of the two a record says is away, and the exception that says so; None for any other record."""
    return what_failed(
        getattr(record, AWAY, None) or (record.exc_info[1] if record.exc_info else None)
    )


def what_failed(error: BaseException | None) -> tuple[str, BaseException] | None:
    """Return which of the two was away when an exception was raised, and the exception in its chain that says so; else None."""
    seen = 0
    while error is not None and seen < 10:
        if isinstance(error, RedisConnectionError | RedisTimeoutError):
            return REDIS, error
        if _is_connection_lost(error):
            return DATABASE, error
        error, seen = error.__cause__ or error.__context__, seen + 1
    return None


def follows_lost_connection(error: BaseException | None) -> bool:
    """Tell whether an error only says that the transaction's connection was lost at an earlier statement."""
    return isinstance(error, PendingRollbackError) and error.code == CONNECTION_LOST


def _is_connection_lost(error: BaseException) -> bool:
    if follows_lost_connection(error):
        return True
    found = error.orig if isinstance(error, DBAPIError) else error
    if not isinstance(found, psycopg.OperationalError | psycopg.InterfaceError):
        return False
    return found.sqlstate is None or found.sqlstate.startswith("08") or found.sqlstate in _ENDED


class Outages(logging.Filter):
    """A filter of a log's handler. Its own lines go through the same log."""

    def __init__(
        self,
        probes: Mapping[str, Callable[[], object]],
        look_every: float = LOOK_EVERY,
        tell_every: float = TELL_EVERY,
    ) -> None:
        """``probes``: by name, what raises while that is away. Records about others pass. Both times in seconds."""
        super().__init__()
        self._look_every, self._tell_every = look_every, tell_every
        self._probes = probes
        self._lock = Lock()
        self._lasting: set[str] = set()
        self._ended: dict[str, float] = {}
        self._pause = Event()

    def filter(self, record: logging.LogRecord) -> bool:
        """Keep a record back that says that one of them is away; the first begins an outage."""
        found = what_is_away(record)
        if found is None or found[0] not in self._probes:
            return True
        name, error = found
        with self._lock:
            is_known = name in self._lasting
            self._lasting.add(name)
        if not is_known:
            Thread(
                target=self._follow, args=(name, type(error).__name__), name="outage", daemon=True
            ).start()
        return False

    def _follow(self, name: str, kind: str) -> None:
        """Look until it answers, and say how long that was."""
        began = told = monotonic()
        if self._answers(name):
            if began - self._ended.get(name, -LATE) >= LATE:
                log.warning(
                    "A connection to %s broke off (%s), and a new one works.", _within(name), kind
                )
        else:
            log.error(
                "%s does not answer (%s). %s; it is asked again every second. If this lasts, see that it runs, then run dashboard"
                " check.",
                name,
                kind,
                MEANING[name],
            )
            while not self._answers(name):
                if monotonic() - told >= self._tell_every:
                    told = monotonic()
                    log.error("%s has not answered for %d seconds.", name, told - began)
                self._pause.wait(self._look_every)
            log.warning("%s answers again after %d seconds.", name, round(monotonic() - began))
        with self._lock:
            self._ended[name] = monotonic()
            self._lasting.discard(name)

    def _answers(self, name: str) -> bool:
        try:
            self._probes[name]()
        except (RedisError, SQLAlchemyError, OSError) as error:
            log.debug("%s: %s", name, type(error).__name__)
            return False
        return True


def _within(name: str) -> str:
    """The name within a sentence."""
    return name[0].lower() + name[1:] if name.startswith("The ") else name
