"""One worker's share of a pass: accounts taken, read in threads, written in batches by the thread that called."""

import logging
import queue
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextvars import copy_context
from datetime import datetime, timedelta
from functools import partial
from threading import Event, Thread
from typing import TypeVar

from sqlalchemy.exc import DBAPIError, InterfaceError, OperationalError

from dashboard import peliqan
from dashboard.context import Services
from dashboard.core.database import db, gather_statistics, leave_transaction
from dashboard.findings import evaluate
from dashboard.fleet import hourly_counts, queries
from dashboard.peliqan.circuit_breaker import IN_A_ROW
from dashboard.refresh import passes, writer
from dashboard.refresh import queue as refresh_queue
from dashboard.refresh.fetch import read_account
from dashboard.refresh.writer import AccountFetch

V = TypeVar("V")
log = logging.getLogger(__name__)
BATCH = 100
# What brings news, runs above all, is written sooner: it takes memory.
NEWS = 15
WRITE_EVERY = timedelta(seconds=0.5)
COUNT_EVERY = timedelta(seconds=2)
LOOK_AGAIN = 1.0


class Reader:
    """One worker's share: accounts taken, in flight, and read but not yet written."""

    def __init__(
        self, services: Services, stop: Event, progress: Callable[[int, int], None]
    ) -> None:
        self._services, self._stop, self._progress = services, stop, progress
        self._tokens = _Tokens()
        self._api = services.api.with_tokens(self._tokens)
        self._ready: queue.SimpleQueue[Future[AccountFetch]] = queue.SimpleQueue()
        self._in_hand: set[int] = set()
        self._batch: list[AccountFetch] = []
        # Accounts that did not answer, until anything was answered after them. If nothing is, or no account at all can be read,
        # it was the API and not them.
        self._suspects: list[AccountFetch] = []
        self._answers = 0
        self._read_any = False
        self._outage: str | None = None
        self._listing_error: str | None = None
        self._listing: Thread | None = None
        now = services.clock()
        self._written_at = self._counted_at = self._kept_at = now
        # Enough behind those in flight that no slot waits; never more than can be read while the lease is kept.
        in_flight, rate = (
            services.settings.dashboard_api_concurrency,
            services.settings.dashboard_api_rate,
        )
        self._most = 3 * in_flight if rate is None else min(3 * in_flight, max(2, 5 * rate))

    def run(self) -> None:
        """See ``read_due``."""
        self._pass_id = pass_id = self._patiently(passes.current_id)
        if pass_id is None and self._patiently(_outage_lasts):
            return
        if pass_id is not None and self._patiently(
            lambda: passes.lease_listing(pass_id, self._services.clock())
        ):
            self._listing = Thread(
                target=copy_context().run, args=(self._list, pass_id), name="listing"
            )
            self._listing.start()
        with ThreadPoolExecutor(
            self._services.settings.dashboard_api_concurrency + 2, thread_name_prefix="refresh"
        ) as pool:
            try:
                while self._go_on(pool):
                    pass
            finally:
                pool.shutdown(wait=True, cancel_futures=True)
        if self._listing is not None:
            self._listing.join()
        self._settle_suspects()
        self._write()
        if self._count() and self._listing_error is not None and not self._stop.is_set():
            self._close_unlisted()

    def _go_on(self, pool: ThreadPoolExecutor) -> bool:
        """Take, collect, write; False when there is nothing more to do."""
        if self._outage is not None:
            return False
        # As it is before anything is taken or collected: a listing that ends meanwhile, or a write that takes so long that all in
        # hand is read by then, leaves accounts behind that are due.
        listing = self._listing is not None and self._listing.is_alive() and not self._stop.is_set()
        if not self._stop.is_set():
            self._take(pool)
        at_work = bool(self._in_hand)
        if at_work or listing:
            self._collect()
        if self._read_any and self._api.breaker.answers != self._answers:
            self._batch += self._suspects
            self._suspects = []
        at = self._services.clock()
        if self._has_much() or at - self._written_at >= WRITE_EVERY:
            self._write()
        if at - self._counted_at >= COUNT_EVERY and not self._count():
            return False
        in_hand = self._in_hand | {each.account_id for each in self._suspects}
        if in_hand and at - self._kept_at >= passes.LEASE / 3:
            self._patiently(lambda: refresh_queue.extend_leases(in_hand, at))
            self._kept_at = at
        return at_work or listing

    def _take(self, pool: ThreadPoolExecutor) -> None:
        room = self._most - len(self._in_hand)
        if room < max(1, self._most // 3):
            return
        at = self._services.clock()
        taken = self._patiently(lambda: refresh_queue.lease_accounts(at, room))
        known = (
            self._patiently(lambda: writer.known_of([each.account_id for each in taken]))
            if taken
            else {}
        )
        for each in taken:
            if each.account_id in self._in_hand:
                continue
            self._in_hand.add(each.account_id)
            if (token := self._services.vault.decrypt(each.token)) is not None:
                self._tokens.remember(each.account_id, token)
            # In this thread's context: a call says which task it is made for.
            reading = pool.submit(
                copy_context().run,
                read_account,
                self._api,
                each.account_id,
                known[each.account_id],
                self._services.clock,
                self._services.settings.dashboard_refresh_interval,
                watched_until=each.watched_until,
                was_readable=each.was_readable,
            )
            reading.add_done_callback(self._ready.put)

    def _collect(self) -> None:
        """What has been read, waiting a little for the first."""
        try:
            done = self._ready.get(timeout=0.1)
            while True:
                self._sort_in(done.result())
                done = self._ready.get_nowait()
        except queue.Empty:
            return

    def _sort_in(self, reading: AccountFetch) -> None:
        self._in_hand.discard(reading.account_id)
        if isinstance(reading.error, peliqan.NOT_SENT):
            # It was not asked, so nothing is to be said of it; it is due again when our lease on it is over.
            self._outage = reading.error.explained
            return
        if not isinstance(reading.error, peliqan.OUTAGE):
            self._batch.append(reading)
            self._read_any = True
            return
        self._suspects.append(reading)
        self._answers = self._api.breaker.answers

    def _has_much(self) -> bool:
        return len(self._batch) >= BATCH or sum(reading.news for reading in self._batch) >= NEWS

    def _settle_suspects(self) -> None:
        """At the end: the last few that did not answer, or all there are."""
        if self._outage is not None or not self._suspects:
            return
        error = self._suspects[-1].error
        assert error is not None
        answers = self._api.breaker.answers != self._answers or self._api.check()
        nothing_read = (
            self._pass_id is not None
            and not self._read_any
            and self._patiently(refresh_queue.count_listed) <= len(self._suspects)
        )
        if nothing_read or not answers:
            self._outage = error.explained
            if len(self._suspects) >= IN_A_ROW:
                # Customers' routes can be down while the partner's, which a probe may have asked, are not.
                self._api.breaker.open(error.sentence)
        else:
            self._batch += self._suspects

    def _write(self) -> None:
        """Everything that was read, in one transaction."""
        batch, self._written_at = self._batch, self._services.clock()
        if batch:
            tokens = _encrypted(self._services, self._tokens, batch)
            self._patiently(lambda: writer.save_readings(batch, tokens))
            db.session.expunge_all()
        self._batch = []

    def _count(self) -> bool:
        """Note the pass's progress, and close it when it is complete; False when it is not under way any more."""
        self._counted_at = at = self._services.clock()
        if self._pass_id is None:
            # One that began meanwhile has to be listed for and counted: begin anew.
            return self._patiently(passes.current_id) is None
        pass_id = self._pass_id
        if self._outage is not None:
            self._write_outage(pass_id, at)
            return False
        if self._patiently(lambda: passes.save_progress(pass_id, at)):
            if self._patiently(lambda: passes.close(pass_id, at)):
                self._patiently(lambda: evaluate.evaluate_after_refresh(at))
                self._patiently(lambda: hourly_counts.save_hourly_counts(at))
            self._patiently(gather_statistics)
        found = self._patiently(lambda: passes.get(pass_id))
        self._progress(found.done, found.accounts or 0)
        return found.active == 1

    def _write_outage(self, pass_id: int, at: datetime) -> None:
        self._patiently(lambda: passes.save_progress(pass_id, at))
        done = self._patiently(lambda: passes.get(pass_id)).done
        error = f"{self._outage} The pass stopped after {done} accounts." if done else self._outage
        self._patiently(lambda: passes.close(pass_id, at, error))

    def _close_unlisted(self) -> None:
        """Close a pass whose list of accounts could not be read, with what was read of the accounts that are known."""
        pass_id = self._pass_id
        assert pass_id is not None
        done = self._patiently(lambda: passes.get(pass_id)).done
        error = f"{self._listing_error} The list of accounts could not be read to its end; {done} known accounts were read."
        self._patiently(lambda: passes.close(pass_id, self._services.clock(), error))

    def _list(self, pass_id: int) -> None:
        """Ask for the list of accounts beside the reading, page by page: what is new is due at once."""
        seen: set[int] = set()
        with self._services.app.app_context():
            try:
                for page in self._services.api.account_pages():
                    at = self._services.clock()
                    self._patiently(partial(writer.save_accounts, page, at))
                    self._patiently(partial(passes.extend_listing_lease, pass_id, at))
                    seen.update(account.id for account in page)
                    if self._stop.is_set() or self._outage is not None:
                        return
                self._doubt(seen)
            except peliqan.PeliqanError as error:
                # Accounts that are known are read all the same: one page of the list can be broken for weeks.
                if isinstance(error, peliqan.NOT_SENT):
                    self._outage = error.explained
                else:
                    self._listing_error = error.explained
                return
            at = self._services.clock()
            self._patiently(lambda: writer.miss_accounts(seen, at))
            self._patiently(lambda: passes.end_listing(pass_id, at))

    def _doubt(self, seen: set[int]) -> None:
        """A list that has shrunk to nothing is not believed while one who was in it is still there when asked for by itself.

        Raises:
            peliqan.PeliqanError: it is not believed, or that cannot be told.
        """
        known = None if seen else self._patiently(queries.any_account_id)
        if known is None:
            return
        try:
            self._services.api.account_by_id(known)
        except peliqan.NotFound:
            return
        raise peliqan.BrokenAnswer(
            "sub_accounts",
            note=f"it lists no account any more, though account {known} is still there",
        )

    def _patiently(self, work: Callable[[], V]) -> V:
        """Do something with the database, and again while it is away. Everything done so may be done twice.

        Raises:
            DBAPIError: it is still away when ``stop`` is set.
        """
        while True:
            try:
                return work()
            except DBAPIError as error:
                if not _is_away(error):
                    raise
                log.warning(
                    "The database is away (%s); waiting for it.",
                    type(error.orig).__name__,
                    extra={"away": error},
                )
                leave_transaction()
                if self._stop.wait(LOOK_AGAIN):
                    raise


class _Tokens(peliqan.MemoryTokens):
    """Tokens of the accounts in hand; those that are new are to be kept."""

    def __init__(self) -> None:
        super().__init__()
        self.new: dict[int, str] = {}

    def remember(self, account_id: int, token: str) -> None:
        super().put(account_id, token)

    def put(self, account_id: int, token: str) -> None:
        super().put(account_id, token)
        self.new[account_id] = token

    def forget(self, account_id: int) -> str | None:
        """Done with the account; its token, if it is new."""
        self.drop(account_id, self.get(account_id) or "")
        return self.new.pop(account_id, None)


def _encrypted(
    services: Services, tokens: _Tokens, readings: list[AccountFetch]
) -> dict[int, bytes]:
    new = {reading.account_id: tokens.forget(reading.account_id) for reading in readings}
    return {
        account_id: services.vault.encrypt(token)
        for account_id, token in new.items()
        if token is not None
    }


def _is_away(error: DBAPIError) -> bool:
    """Whether trying again can help: the connection is gone, or the database is busy or starting."""
    if "no such" in str(error.orig):
        return False
    return error.connection_invalidated or isinstance(error, (OperationalError, InterfaceError))


def _outage_lasts() -> bool:
    """Whether the last pass ended in an outage: then only the next pass tries again."""
    last = passes.latest()
    return last is not None and last.error is not None
