"""Whether Peliqan answers at all, known to all processes: while it does not, nobody waits for it.

After ``IN_A_ROW`` tries in a row that got no answer, or one of the kind 5xx, no request leaves; only from time to time one safe
read does, to see whether it answers again: after 5 seconds, 10, 20 and so on, up to once a minute, one over all processes. That
is the worker's to do (``take_turn``), so that nobody at a page waits for it; where no worker does it, the next read is it. What
starts something never is. Any answer ends the outage.

Written here, since of the libraries for it (pybreaker, circuitbreaker) none knows waits that grow, reads from what starts
something, or a clock that is passed in; and pybreaker lets one call through at a time.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from threading import Lock
from typing import Final, Protocol

from urllib3.exceptions import HTTPError

IN_A_ROW: Final = 5
# A single address that fails may be one customer's trouble; twice as often in a row, with no answer between, it hardly is.
OF_ONE_PLACE: Final = 2 * IN_A_ROW
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


class OutageNotes(Protocol):
    """Where all processes write an outage down. Safe to use from many threads; raises nothing, whatever becomes of the notes."""

    def read(self) -> Outage | None:
        """The outage that lasts."""

    def begin(self, outage: Outage) -> Outage:
        """Write it down; where another process has, theirs counts and is returned."""

    def take_turn(self, outage: Outage, at: datetime) -> bool:
        """Whether the caller is to ask, instead of all others: only if nobody has had this turn."""

    def end(self, at: datetime) -> None:
        """It answers again."""


class MemoryNotes:
    """Notes of one process alone."""

    def __init__(self) -> None:
        self._outage: Outage | None = None
        self._lock = Lock()

    def read(self) -> Outage | None:
        """See ``OutageNotes``."""
        return self._outage

    def begin(self, outage: Outage) -> Outage:
        """See ``OutageNotes``."""
        with self._lock:
            self._outage = self._outage or outage
            return self._outage

    def take_turn(self, outage: Outage, at: datetime) -> bool:
        """See ``OutageNotes``."""
        with self._lock:
            if self._outage is None or self._outage.turns != outage.turns:
                return False
            self._outage = self._outage.after_turn(at)
            return True

    def end(self, at: datetime) -> None:
        """See ``OutageNotes``."""
        self._outage = None


class Open(HTTPError):
    """Nothing is sent now. One of urllib3's errors, so that it passes through its retries."""

    def __init__(self, outage: Outage) -> None:
        self.outage = outage
        super().__init__("Peliqan does not answer")


class Breaker:
    """Asked before each try of a request, and told how it ended. Safe to use from many threads; costs two looks at the clock."""

    def __init__(self, notes: OutageNotes | None = None, *, clock: Callable[[], datetime] = lambda: datetime.now(UTC)) -> None:
        """``clock`` gives aware times in UTC."""
        self._notes, self._clock = notes or MemoryNotes(), clock
        self._outage: Outage | None = None
        self._looked_at = datetime.min.replace(tzinfo=UTC)
        self._failures, self._places = 0, set[int]()
        self._began: datetime | None = None
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
        raise Open(outage)

    def take_turn(self) -> bool:
        """Whether the caller is to ask now whether Peliqan answers again."""
        outage = self.outage
        return outage is not None and outage.turn_at <= self._clock() and self._take(outage)

    def answered(self) -> None:
        """An answer came, whatever it says."""
        if not self._failures and self._outage is None:
            return
        with self._lock:
            self._failures, self._began = 0, None
            self._places.clear()
            if self._outage is not None:
                self._notes.end(self._clock())
                self._outage = None

    def failed(self, place: int | None, reason: str) -> None:
        """None came, or a 5xx. ``place``: a number for what was asked of whom, None for a try that another follows; ``reason``:
        what happened, a sentence to show."""
        with self._lock:
            at = self._clock()
            self._failures += 1
            self._began = self._began or at
            if place is not None:
                self._places.add(place)
            enough = IN_A_ROW if len(self._places) > 1 else OF_ONE_PLACE
            if self._outage is None and self._failures >= enough:
                self._outage = self._notes.begin(Outage(self._began, at + FIRST_WAIT, reason=reason))
                self._looked_at = at

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
