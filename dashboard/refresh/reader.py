"""One worker's share of a refresh: accounts are leased, read in threads, then saved.

The calling thread saves them in batches.
"""

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
from dashboard.peliqan.limits import FAILURES_OF_OUTAGE
from dashboard.refresh import passes, writer
from dashboard.refresh import queue as refresh_queue
from dashboard.refresh.fetch import AccountToRead, read_account
from dashboard.refresh.writer import AccountFetch

V = TypeVar("V")
log = logging.getLogger(__name__)
BATCH = 100
# Accounts with changes, above all with runs, are saved sooner, since they take memory.
NEWS = 15
WRITE_EVERY = timedelta(seconds=0.5)
COUNT_EVERY = timedelta(seconds=2)
# Seconds between two checks of a database or of another worker's progress.
POLL_SECONDS = 1.0


class Reader:
    """One worker's share: accounts leased, being read, and read but not yet saved."""

    def __init__(
        self, services: Services, stop: Event, progress: Callable[[int, int], None]
    ) -> None:
        self._services, self._stop, self._progress = services, stop, progress
        self._tokens = _Tokens()
        self._api = services.api.with_tokens(self._tokens)
        self._ready: queue.SimpleQueue[Future[AccountFetch]] = queue.SimpleQueue()
        self._leased: set[int] = set()
        self._batch: list[AccountFetch] = []
        # Accounts that did not answer, until any answer comes after them. If none comes, or no
        # account can be read, the API is down and the accounts are not at fault.
        self._suspects: list[AccountFetch] = []
        self._answers = 0
        self._read_any = False
        self._outage: str | None = None
        self._listing_error: str | None = None
        self._listing: Thread | None = None
        now = services.clock()
        self._written_at = self._counted_at = self._extended_at = now
        # Enough queued reads to use every slot, and no more than can be read within the lease.
        in_flight, rate = (
            services.settings.dashboard_api_concurrency,
            services.settings.dashboard_api_rate,
        )
        self._most = 3 * in_flight if rate is None else min(3 * in_flight, max(2, 5 * rate))

    def run(self) -> None:
        """Read until nothing is due (``service.read_due``)."""
        self._refresh_id = refresh_id = self._with_retries(passes.current_id)
        if refresh_id is None and self._with_retries(_outage_lasts):
            return
        if refresh_id is not None and self._with_retries(
            lambda: passes.lease_listing(refresh_id, self._services.clock())
        ):
            self._listing = Thread(
                target=copy_context().run, args=(self._list, refresh_id), name="listing"
            )
            self._listing.start()
        with ThreadPoolExecutor(
            self._services.settings.dashboard_api_concurrency + 2, thread_name_prefix="refresh"
        ) as pool:
            try:
                while self._step(pool):
                    pass
            finally:
                pool.shutdown(wait=True, cancel_futures=True)
        if self._listing is not None:
            self._listing.join()
        self._resolve_suspects()
        self._write()
        if self._count() and self._listing_error is not None and not self._stop.is_set():
            self._close_unlisted()

    def _step(self, pool: ThreadPoolExecutor) -> bool:
        """Lease, collect and save; return False when nothing is left to do."""
        if self._outage is not None:
            return False
        # Read before leasing and collecting. If the listing ends meanwhile, or saving takes long
        # enough for all leased accounts to be read, other accounts are still due.
        listing = self._listing is not None and self._listing.is_alive() and not self._stop.is_set()
        if not self._stop.is_set():
            self._lease(pool)
        at_work = bool(self._leased)
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
        leased = self._leased | {each.account_id for each in self._suspects}
        if leased and at - self._extended_at >= passes.LEASE / 3:
            self._with_retries(lambda: refresh_queue.extend_leases(leased, at))
            self._extended_at = at
        return at_work or listing

    def _lease(self, pool: ThreadPoolExecutor) -> None:
        room = self._most - len(self._leased)
        if room < max(1, self._most // 3):
            return
        at = self._services.clock()
        leased = self._with_retries(lambda: refresh_queue.lease_accounts(at, room))
        known = (
            self._with_retries(lambda: writer.known_of([each.account_id for each in leased]))
            if leased
            else {}
        )
        for each in leased:
            if each.account_id in self._leased:
                continue
            self._leased.add(each.account_id)
            if (token := self._services.vault.decrypt(each.token)) is not None:
                self._tokens.add_stored(each.account_id, token)
            wanted = AccountToRead(
                each.account_id, known[each.account_id], each.watched_until, each.was_readable
            )
            # In this thread's context, so that observers know the task of each call.
            reading = pool.submit(
                copy_context().run,
                read_account,
                self._api,
                wanted,
                self._services.clock,
                self._services.settings.dashboard_refresh_interval,
            )
            reading.add_done_callback(self._ready.put)

    def _collect(self) -> None:
        """Collect the accounts that were read; wait up to 0.1 s for the first."""
        try:
            done = self._ready.get(timeout=0.1)
            while True:
                self._sort_in(done.result())
                done = self._ready.get_nowait()
        except queue.Empty:
            return

    def _sort_in(self, reading: AccountFetch) -> None:
        self._leased.discard(reading.account_id)
        if isinstance(reading.error, peliqan.NOT_SENT):
            # Nothing was sent, so nothing is recorded; the account is due when its lease expires.
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

    def _resolve_suspects(self) -> None:
        """Decide on the last accounts that did not answer: their fault, or an outage."""
        if self._outage is not None or not self._suspects:
            return
        error = self._suspects[-1].error
        assert error is not None
        answers = self._api.breaker.answers != self._answers or self._api.check()
        nothing_read = (
            self._refresh_id is not None
            and not self._read_any
            and self._with_retries(refresh_queue.count_listed) <= len(self._suspects)
        )
        if nothing_read or not answers:
            self._outage = error.explained
            if len(self._suspects) >= FAILURES_OF_OUTAGE:
                # Customers' routes can fail while the partner's, which a probe may use, works.
                self._api.breaker.open(error.sentence)
        else:
            self._batch += self._suspects

    def _write(self) -> None:
        """Save everything that was read, in one transaction."""
        batch, self._written_at = self._batch, self._services.clock()
        if batch:
            tokens = _encrypted(self._services, self._tokens, batch)
            self._with_retries(lambda: writer.save_readings(batch, tokens))
            db.session.expunge_all()
        self._batch = []

    def _count(self) -> bool:
        """Save the progress, and close the refresh when it is complete.

        Return False if the refresh is no longer active, or if one has started meanwhile.
        """
        self._counted_at = at = self._services.clock()
        if self._refresh_id is None:
            # A refresh that started meanwhile needs a listing and counts, so ``run`` starts over.
            return self._with_retries(passes.current_id) is None
        refresh_id = self._refresh_id
        if self._outage is not None:
            self._write_outage(refresh_id, at)
            return False
        if self._with_retries(lambda: passes.save_progress(refresh_id, at)):
            if self._with_retries(lambda: passes.close(refresh_id, at)):
                self._with_retries(lambda: evaluate.evaluate_after_refresh(at))
                self._with_retries(lambda: hourly_counts.save_hourly_counts(at))
            self._with_retries(gather_statistics)
        found = self._with_retries(lambda: passes.get(refresh_id))
        self._progress(found.done, found.accounts or 0)
        return found.active == 1

    def _write_outage(self, refresh_id: int, at: datetime) -> None:
        self._with_retries(lambda: passes.save_progress(refresh_id, at))
        done = self._with_retries(lambda: passes.get(refresh_id)).done
        error = (
            f"{self._outage} The refresh stopped after {done} accounts." if done else self._outage
        )
        self._with_retries(lambda: passes.close(refresh_id, at, error))

    def _close_unlisted(self) -> None:
        """Close a refresh whose list of accounts could not be read; known accounts were read."""
        refresh_id = self._refresh_id
        assert refresh_id is not None
        done = self._with_retries(lambda: passes.get(refresh_id)).done
        error = (
            f"{self._listing_error} The list of accounts could not be read to its end;"
            f" {done} known accounts were read."
        )
        self._with_retries(lambda: passes.close(refresh_id, self._services.clock(), error))

    def _list(self, refresh_id: int) -> None:
        """Read the list of accounts page by page, while others read accounts; new ones are due."""
        seen: set[int] = set()
        with self._services.app.app_context():
            try:
                for page in self._services.api.account_pages():
                    at = self._services.clock()
                    self._with_retries(partial(writer.save_accounts, page, at))
                    self._with_retries(partial(passes.extend_listing_lease, refresh_id, at))
                    seen.update(account.id for account in page)
                    if self._stop.is_set() or self._outage is not None:
                        return
                self._confirm_empty_listing(seen)
            except peliqan.PeliqanError as error:
                # Known accounts are read nevertheless: a page of the list can fail for weeks.
                if isinstance(error, peliqan.NOT_SENT):
                    self._outage = error.explained
                else:
                    self._listing_error = error.explained
                return
            at = self._services.clock()
            self._with_retries(lambda: writer.miss_accounts(seen, at))
            self._with_retries(lambda: passes.end_listing(refresh_id, at))

    def _confirm_empty_listing(self, seen: set[int]) -> None:
        """Check that an empty list has really lost an account that it had.

        Raises:
            peliqan.PeliqanError: the account still exists, or could not be read.
        """
        known = None if seen else self._with_retries(queries.any_account_id)
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

    def _with_retries(self, work: Callable[[], V]) -> V:
        """Run work with the database, and retry it while the database is unavailable.

        ``work`` may run twice, so it has to be repeatable.

        Raises:
            DBAPIError: the database is still unavailable when ``stop`` is set.
        """
        while True:
            try:
                return work()
            except DBAPIError as error:
                if not _is_unavailable(error):
                    raise
                log.warning(
                    "The database is unavailable (%s); waiting for it.",
                    type(error.orig).__name__,
                    extra={"away": error},
                )
                leave_transaction()
                if self._stop.wait(POLL_SECONDS):
                    raise


class _Tokens(peliqan.MemoryTokens):
    """Tokens of leased accounts. ``new``: tokens to save."""

    def __init__(self) -> None:
        super().__init__()
        self.new: dict[int, str] = {}

    def add_stored(self, account_id: int, token: str) -> None:
        super().put(account_id, token)

    def put(self, account_id: int, token: str) -> None:
        super().put(account_id, token)
        self.new[account_id] = token

    def release(self, account_id: int) -> str | None:
        """Remove the account's token; return it if it is new."""
        self.drop(account_id, self.get(account_id) or "")
        return self.new.pop(account_id, None)


def _encrypted(
    services: Services, tokens: _Tokens, readings: list[AccountFetch]
) -> dict[int, bytes]:
    new = {reading.account_id: tokens.release(reading.account_id) for reading in readings}
    return {
        account_id: services.vault.encrypt(token)
        for account_id, token in new.items()
        if token is not None
    }


def _is_unavailable(error: DBAPIError) -> bool:
    """Return whether a retry can help: connection lost, or database busy or starting."""
    if "no such" in str(error.orig):
        return False
    return error.connection_invalidated or isinstance(error, (OperationalError, InterfaceError))


def _outage_lasts() -> bool:
    """Return whether an outage ended the last refresh; then only the next one tries again."""
    last = passes.latest()
    return last is not None and last.error is not None
