"""Log lines of Redis and database outages: at the start, once a minute, and at the end.

During an outage, each request and task fails, and each failure is logged, often by a library and
with a traceback. ``Outages`` filters these records out and probes until the outage is over.
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
# Attribute of a record that reports an outage without a traceback: ``extra={AWAY: error}``.
AWAY: Final = "away"
# Seconds between two probes, and between two log lines during an outage. For ``LATE`` seconds after
# the end, records of it may still arrive.
PROBE_EVERY, LOG_EVERY, LATE = 1.0, 60.0, 10.0
MEANING: Final = {
    REDIS: "Pages are shown, nobody can sign in, and work waits in the store",
    DATABASE: "Pages answer 503, and work waits",
}
# Class 08 is connection errors; these codes end a connection:
# https://www.postgresql.org/docs/current/errcodes-appendix.html
_ENDED: Final = frozenset({"57P01", "57P02", "57P03", "57P05"})
# SQLAlchemy's code of "Can't reconnect until invalid transaction is rolled back"
# (https://sqlalche.me/e/21/8s2b).
CONNECTION_LOST: Final = "8s2b"


def outage_of_record(record: logging.LogRecord) -> tuple[str, BaseException] | None:
    """Return the service whose outage a record reports, and the exception; else None."""
    return outage_of_error(
        getattr(record, AWAY, None) or (record.exc_info[1] if record.exc_info else None)
    )


def outage_of_error(error: BaseException | None) -> tuple[str, BaseException] | None:
    """Return the service whose outage caused an error, and the error of its chain that shows it.

    None if the exception has another cause.
    """
    seen = 0
    while error is not None and seen < 10:
        if isinstance(error, RedisConnectionError | RedisTimeoutError):
            return REDIS, error
        if _is_connection_lost(error):
            return DATABASE, error
        error, seen = error.__cause__ or error.__context__, seen + 1
    return None


def follows_lost_connection(error: BaseException | None) -> bool:
    """Return whether an error only repeats that an earlier statement lost the connection."""
    return isinstance(error, PendingRollbackError) and error.code == CONNECTION_LOST


def _is_connection_lost(error: BaseException) -> bool:
    if follows_lost_connection(error):
        return True
    found = error.orig if isinstance(error, DBAPIError) else error
    if not isinstance(found, psycopg.OperationalError | psycopg.InterfaceError):
        return False
    return found.sqlstate is None or found.sqlstate.startswith("08") or found.sqlstate in _ENDED


class Outages(logging.Filter):
    """A filter for a log handler; it logs to the same log itself."""

    def __init__(
        self,
        probes: Mapping[str, Callable[[], object]],
        probe_every: float = PROBE_EVERY,
        log_every: float = LOG_EVERY,
    ) -> None:
        """Filter outages of the services in ``probes``, whose functions raise during one.

        Other records pass. Both times in seconds.
        """
        super().__init__()
        self._probe_every, self._log_every = probe_every, log_every
        self._probes = probes
        self._lock = Lock()
        self._lasting: set[str] = set()
        self._ended: dict[str, float] = {}
        self._pause = Event()

    def filter(self, record: logging.LogRecord) -> bool:
        """Drop a record of an outage; the first one starts a thread that follows the outage."""
        found = outage_of_record(record)
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
        """Probe until the service answers, and log how long that took."""
        started = logged = monotonic()
        if self._answers(name):
            if started - self._ended.get(name, -LATE) >= LATE:
                log.warning(
                    "A connection to %s broke off (%s), and a new one works.", _within(name), kind
                )
        else:
            log.error(
                "%s does not answer (%s). %s; it is asked again every second."
                " If this lasts, see that it runs, then run dashboard check.",
                name,
                kind,
                MEANING[name],
            )
            while not self._answers(name):
                if monotonic() - logged >= self._log_every:
                    logged = monotonic()
                    log.error("%s has not answered for %d seconds.", name, logged - started)
                self._pause.wait(self._probe_every)
            log.warning("%s answers again after %d seconds.", name, round(monotonic() - started))
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
    """Return a service's name as it stands within a sentence."""
    return name[0].lower() + name[1:] if name.startswith("The ") else name
