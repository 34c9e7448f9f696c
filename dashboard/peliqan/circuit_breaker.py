"""A circuit breaker for Peliqan's API, shared by all processes: while the API is down, nobody waits for it.

It is about the API and not about an account. ``IN_A_ROW`` tries in a row without an answer (none, or a 5xx), or a time-out beside
the failure of another account, make the API *suspect*. Then one cheap read that has nothing to do with the failing accounts
decides (``Transport`` sends it): answered, and nothing happens; not answered, and the breaker opens. A try is not counted if
anything was answered after it was sent.

While it is open no request leaves, except one safe read after 5 seconds, 10, 20 and so on, at most once a minute, by one of all
processes. That is the worker's task (``take_turn``), so that no page waits for it; if no worker does it, the next read does.
A request with a side effect never does. Any answer closes it.

Own code, since of the libraries for it (pybreaker, circuitbreaker) none has growing waits, tells reads from side effects, lets a
probe decide, or takes a clock; and pybreaker lets one call through at a time.
"""

from collections.abc import Callable, Hashable
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from threading import Lock
from typing import Final, Protocol

from urllib3.exceptions import HTTPError

IN_A_ROW: Final = 5
# So long after a probe was answered, no other is sent: with many broken accounts each fifth failure would ask for one.
PROBE_EVERY: Final = timedelta(seconds=1)
FIRST_WAIT, LONGEST_WAIT = timedelta(seconds=5), timedelta(seconds=60)
# So long after it was due, a turn is anybody's: no worker seems to be there.
OVERDUE: Final = timedelta(seconds=10)
# How old what a process knows of the others may be.
LOOK_EVERY: Final = timedelta(seconds=1)


@dataclass(frozen=True)
class Outage:
    """Peliqan has not answered ``since`` then. ``turn_at``: when to ask next, after so many ``turns``; ``reason``: a sentence."""

    since: datetime
    turn_at: datetime
    turns: int = 0
    reason: str = ""

    def after_turn(self, at: datetime) -> "Outage":
        """The same, asked once more."""
        wait = min(FIRST_WAIT * 2 ** min(self.turns + 1, 10), LONGEST_WAIT)
        return replace(self, turn_at=at + wait, turns=self.turns + 1)


class OutageStore(Protocol):
    """Where all processes write an outage down. Safe to use from many threads; raises nothing, whatever becomes of the notes."""

    def read(self) -> Outage | None:
        """The outage that lasts."""

    def begin(self, outage: Outage) -> Outage:
        """Write it down; where another process has, theirs counts and is returned."""

    def take_turn(self, outage: Outage, at: datetime) -> bool:
        """Whether the caller is to ask, instead of all others: only if nobody has had this turn."""

    def end(self, at: datetime) -> None:
        """It answers again."""


class MemoryOutageStore:
    """Notes of one process alone."""

    def __init__(self) -> None:
        self._outage: Outage | None = None
        self._lock = Lock()

    def read(self) -> Outage | None:
        """See ``OutageStore``."""
        return self._outage

    def begin(self, outage: Outage) -> Outage:
        """See ``OutageStore``."""
        with self._lock:
            self._outage = self._outage or outage
            return self._outage

    def take_turn(self, outage: Outage, at: datetime) -> bool:
        """See ``OutageStore``."""
        with self._lock:
            if self._outage is None or self._outage.turns != outage.turns:
                return False
            self._outage = self._outage.after_turn(at)
            return True

    def end(self, at: datetime) -> None:
        """See ``OutageStore``."""
        self._outage = None


class CircuitOpen(HTTPError):
    """Nothing is sent now. One of urllib3's errors, as all that ``failures.lost`` reads."""

    def __init__(self, outage: Outage) -> None:
        self.outage = outage
        super().__init__("Peliqan does not answer")


class CircuitBreaker:
    """Asked before each try of a request, and told how it ended. Safe to use from many threads; costs two looks at the clock."""

    def __init__(
        self,
        notes: OutageStore | None = None,
        *,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        """``clock`` gives aware times in UTC."""
        self._notes, self._clock = notes or MemoryOutageStore(), clock
        self._outage: Outage | None = None
        self._looked_at = datetime.min.replace(tzinfo=UTC)
        # Since the last answer: how many tries failed, of whom, and since when.
        self._failures, self._failing = 0, set[Hashable]()
        self._began: datetime | None = None
        self._probing, self._probed_at = False, datetime.min.replace(tzinfo=UTC)
        # How many answers came. A try compares it with what it was when it was sent.
        self.answers = 0
        self._lock, self._looking = Lock(), Lock()

    @property
    def outage(self) -> Outage | None:
        """The outage that lasts, as known a second ago."""
        at = self._clock()
        if not self._looked_within(LOOK_EVERY, at):
            self._look(at)
        return self._outage

    def ask(self, *, may_try: bool = False) -> bool:
        """Return if a request may be sent; whether it is then the one that tries for all. ``may_try``: it may be that.

        Raises:
            Open: it may not.
        """
        outage = self.outage
        if outage is None:
            return False
        if may_try and outage.turn_at + OVERDUE <= self._clock() and self._take(outage):
            return True
        raise CircuitOpen(outage)

    def take_turn(self) -> bool:
        """Whether the caller is to ask now whether Peliqan answers again."""
        outage = self.outage
        return outage is not None and outage.turn_at <= self._clock() and self._take(outage)

    def answered(self) -> None:
        """Record an answer, whatever it says: closes the breaker."""
        self.answers += 1
        if not self._failures and self._outage is None:
            return
        with self._lock:
            self._forget()
            if self._outage is not None:
                self._notes.end(self._clock())
                self._outage = None

    def failed(self, account: Hashable, answers: int, *, timed_out: bool) -> bool:
        """Record a try without an answer, or with a 5xx; return whether the caller has to send a probe and settle it.

        ``account``: whose request it was; ``answers``: this breaker's, when it was sent.
        """
        with self._lock:
            if answers != self.answers or self._outage is not None:
                return False
            at = self._clock()
            self._failures += 1
            self._failing.add(account)
            self._began = self._began or at
            # One account's time-outs are no sign, however many: what it asks for may just be slow.
            suspect = len(self._failing) > 1 if timed_out else self._failures >= IN_A_ROW
            lately = timedelta() <= at - self._probed_at < PROBE_EVERY
            if not suspect or self._probing or lately:
                return False
            self._probing = True
            return True

    def is_failing(self, account: Hashable) -> bool:
        """Return whether a request of this account failed since the last answer."""
        return account in self._failing

    def settle(self, answers: int, *, answered: bool, reason: str = "") -> None:
        """Record what came of a probe: if neither it nor anything else was answered since it was sent, the breaker opens.

        ``answers``: this breaker's, when the probe was sent; ``reason``: what happened to it, a sentence to show.
        """
        with self._lock:
            at = self._clock()
            self._probing, self._probed_at = False, at
            if answered:
                self.answers += 1
                self._forget()
            elif answers == self.answers:
                self._open(at, reason)

    def open(self, reason: str) -> None:
        """Open without a probe, for a caller who knows that no account at all can be read. ``reason``: a sentence to show."""
        with self._lock:
            self._open(self._clock(), reason)

    def _open(self, at: datetime, reason: str) -> None:
        if self._outage is None:
            self._outage = self._notes.begin(
                Outage(self._began or at, at + FIRST_WAIT, reason=reason)
            )
            self._looked_at = at

    def _forget(self) -> None:
        self._failures, self._began = 0, None
        self._failing.clear()

    def _look(self, at: datetime) -> None:
        """One looks. The others go by what was known a moment ago; where that is longer ago, they wait."""
        if not self._looking.acquire(blocking=not self._looked_within(2 * LOOK_EVERY, at)):
            return
        try:
            if not self._looked_within(LOOK_EVERY, at):
                self._outage = self._notes.read()
                self._looked_at = at
        finally:
            self._looking.release()

    def _looked_within(self, time: timedelta, at: datetime) -> bool:
        # A clock that was put back tells no age.
        return timedelta() <= at - self._looked_at < time

    def _take(self, outage: Outage) -> bool:
        at = self._clock()
        mine = self._notes.take_turn(outage, at)
        # Where another had it, that one knows more.
        self._outage = outage.after_turn(at) if mine else self._notes.read()
        return mine
