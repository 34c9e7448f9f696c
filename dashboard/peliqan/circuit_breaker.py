"""A circuit breaker for Peliqan's API, shared by all processes.

During an outage no request waits for the API. The breaker covers the API, not an account.
``FAILURES_OF_OUTAGE`` tries in a row without an answer (none, or a 5xx), or a time-out together
with a failure of another account, make the API *suspect*. Then ``Transport`` sends a probe: one
cheap read that is independent of the failing accounts. If it is answered, nothing happens; if not,
the breaker opens. A try does not count if any answer came after it was sent.

While the breaker is open, no request is sent except one probe after 5 seconds, then 10, 20 and so
on, at most one a minute, by one of all processes. The worker sends it (``claim_probe``), so no page
waits for it; if no worker does, the next read does. A request with a side effect is never a probe.
Any answer closes the breaker.

Own code: of the libraries (pybreaker, circuitbreaker) none has growing waits, tells reads from side
effects, lets a probe decide, or takes a clock; and pybreaker lets one call through at a time.
"""

from collections.abc import Callable, Hashable
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from threading import Lock
from typing import Final, Protocol

from urllib3.exceptions import HTTPError

from dashboard.peliqan.limits import FAILURES_OF_OUTAGE, FIRST_PROBE_AFTER, LONGEST_PROBE_WAIT

# How long after an answered probe no other is sent. With many broken accounts every fifth failure
# would cause one.
PROBE_EVERY: Final = timedelta(seconds=1)
# How long after its due time any process may send the probe: no worker seems to run.
OVERDUE: Final = timedelta(seconds=10)
# The greatest age of what a process knows from the shared store.
READ_EVERY: Final = timedelta(seconds=1)


@dataclass(frozen=True)
class Outage:
    """An outage of the API.

    ``since``: the time of the first failure. ``turn_at``: when the next probe is due. ``turns``:
    how many probes were sent. ``reason``: what happened, as a sentence.
    """

    since: datetime
    turn_at: datetime
    turns: int = 0
    reason: str = ""

    def after_probe(self, at: datetime) -> "Outage":
        """Return the outage after one more probe at this time."""
        wait = min(FIRST_PROBE_AFTER * 2 ** min(self.turns + 1, 10), LONGEST_PROBE_WAIT)
        return replace(self, turn_at=at + wait, turns=self.turns + 1)


class OutageStore(Protocol):
    """Where all processes share an outage. Thread-safe. Its methods never raise."""

    def read(self) -> Outage | None:
        """Return the current outage; None if the API answers."""

    def start(self, outage: Outage) -> Outage:
        """Store an outage, or return the one that another process has stored already."""

    def claim_probe(self, outage: Outage, at: datetime) -> bool:
        """Return whether the caller sends the next probe; only one process gets True."""

    def finish(self, at: datetime) -> None:
        """Record that the API answers again."""


class MemoryOutageStore:
    """An outage store of one process."""

    def __init__(self) -> None:
        self._outage: Outage | None = None
        self._lock = Lock()

    def read(self) -> Outage | None:
        """Return the current outage."""
        return self._outage

    def start(self, outage: Outage) -> Outage:
        """Store an outage unless there is one; return the stored one."""
        with self._lock:
            self._outage = self._outage or outage
            return self._outage

    def claim_probe(self, outage: Outage, at: datetime) -> bool:
        """Return whether nobody has claimed this probe before."""
        with self._lock:
            if self._outage is None or self._outage.turns != outage.turns:
                return False
            self._outage = self._outage.after_probe(at)
            return True

    def finish(self, at: datetime) -> None:
        """Remove the outage."""
        self._outage = None


class CircuitOpen(HTTPError):
    """The breaker is open, so nothing was sent. An error of urllib3, as ``error_mapping`` reads."""

    def __init__(self, outage: Outage) -> None:
        self.outage = outage
        super().__init__("Peliqan does not answer")


class CircuitBreaker:
    """The breaker. Consulted before each try of a request, and informed of its result.

    Thread-safe. A call costs two reads of the clock.
    """

    def __init__(
        self,
        store: OutageStore | None = None,
        *,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        """Take the store of the outage, and a clock that gives aware times in UTC."""
        self._store, self._clock = store or MemoryOutageStore(), clock
        self._outage: Outage | None = None
        self._read_at = datetime.min.replace(tzinfo=UTC)
        # Failed tries since the last answer: their number, their accounts, and the first time.
        self._failures, self._failing = 0, set[Hashable]()
        self._failing_since: datetime | None = None
        self._probing, self._probed_at = False, datetime.min.replace(tzinfo=UTC)
        # The number of answers. A try compares it with the number at the time it was sent.
        self.answers = 0
        self._lock, self._reading = Lock(), Lock()

    @property
    def outage(self) -> Outage | None:
        """The current outage, as known at most 1 second ago; None if the API answers."""
        at = self._clock()
        if not self._was_read_within(READ_EVERY, at):
            self._read_store(at)
        return self._outage

    def ensure_closed(self, *, may_probe: bool = False) -> bool:
        """Check that a request may be sent; return whether it is the probe.

        ``may_probe``: the request may be sent as an overdue probe.

        Raises:
            CircuitOpen: the request may not be sent.
        """
        outage = self.outage
        if outage is None:
            return False
        if may_probe and outage.turn_at + OVERDUE <= self._clock() and self._claim(outage):
            return True
        raise CircuitOpen(outage)

    def claim_probe(self) -> bool:
        """Return whether the caller is the one to send a probe now."""
        outage = self.outage
        return outage is not None and outage.turn_at <= self._clock() and self._claim(outage)

    def record_answer(self) -> None:
        """Record an answer of any kind, which closes the breaker."""
        self.answers += 1
        if not self._failures and self._outage is None:
            return
        with self._lock:
            self._reset_failures()
            if self._outage is not None:
                self._store.finish(self._clock())
                self._outage = None

    def record_failure(self, account: Hashable, answers: int, *, timed_out: bool) -> bool:
        """Record a try without an answer, or with a 5xx.

        Return whether the caller has to send a probe and call ``record_probe``. ``account``: whose
        request it was; ``answers``: the value of ``self.answers`` when it was sent.
        """
        with self._lock:
            if answers != self.answers or self._outage is not None:
                return False
            at = self._clock()
            self._failures += 1
            self._failing.add(account)
            self._failing_since = self._failing_since or at
            # Time-outs of one account mean nothing, however many: its requests may just be slow.
            suspect = len(self._failing) > 1 if timed_out else self._failures >= FAILURES_OF_OUTAGE
            lately = timedelta() <= at - self._probed_at < PROBE_EVERY
            if not suspect or self._probing or lately:
                return False
            self._probing = True
            return True

    def is_failing(self, account: Hashable) -> bool:
        """Return whether a request of this account failed since the last answer."""
        return account in self._failing

    def record_probe(self, answers: int, *, answered: bool, reason: str = "") -> None:
        """Record the result of a probe; open if nothing was answered since it was sent.

        ``answers``: the value of ``self.answers`` when the probe was sent. ``reason``: what
        happened to it, as a sentence for users.
        """
        with self._lock:
            at = self._clock()
            self._probing, self._probed_at = False, at
            if answered:
                self.answers += 1
                self._reset_failures()
            elif answers == self.answers:
                self._open(at, reason)

    def open(self, reason: str) -> None:
        """Open without a probe, if no account can be read. ``reason``: a sentence for users."""
        with self._lock:
            self._open(self._clock(), reason)

    def _open(self, at: datetime, reason: str) -> None:
        if self._outage is None:
            self._outage = self._store.start(
                Outage(self._failing_since or at, at + FIRST_PROBE_AFTER, reason=reason)
            )
            self._read_at = at

    def _reset_failures(self) -> None:
        self._failures, self._failing_since = 0, None
        self._failing.clear()

    def _read_store(self, at: datetime) -> None:
        """Read the store in one thread; others use the last value, or wait if it is too old."""
        if not self._reading.acquire(blocking=not self._was_read_within(2 * READ_EVERY, at)):
            return
        try:
            if not self._was_read_within(READ_EVERY, at):
                self._outage = self._store.read()
                self._read_at = at
        finally:
            self._reading.release()

    def _was_read_within(self, time: timedelta, at: datetime) -> bool:
        # The clock may have been set back; then the age is unknown.
        return timedelta() <= at - self._read_at < time

    def _claim(self, outage: Outage) -> bool:
        at = self._clock()
        is_claimed = self._store.claim_probe(outage, at)
        # If another process has claimed it, the store has newer data.
        self._outage = outage.after_probe(at) if is_claimed else self._store.read()
        return is_claimed
