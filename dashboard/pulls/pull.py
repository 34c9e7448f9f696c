"""Copying of tables out of Peliqan, one after the other, each completely or not at all.

If a column tells when a row last changed, only rows from the stored watermark on are read: sorted
by this column, newest first, until older rows appear. (Peliqan silently ignores a filter that it
cannot apply, but refuses such a sort.) The next watermark is the newest value before the first page
was read. So rows that change meanwhile are read again and never missed; rows are merged by id, so
a second read does no harm.
"""

import sqlite3
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Final

from dashboard import peliqan
from dashboard.core.error_values import sentence_of
from dashboard.core.text import comparable
from dashboard.pulls.destinations.base import Destination, DestinationError, Refused
from dashboard.pulls.limits import FULL_EVERY
from dashboard.pulls.manifest import (
    FULL,
    INCREMENTAL,
    Copied,
    CopiedColumn,
    Failure,
    PullResult,
    columns_now,
)
from dashboard.pulls.spool import Spool
from dashboard.pulls.watermark import CursorColumn, cursor_column_of, until
from dashboard.tables.reader import ReadRemarks, TableChanged, TableReading

STOPPED = "It was stopped before its end; what had been copied is complete."
TOO_DEEP = (
    "A value of the table is nested too deeply to be copied. An earlier copy stays as it was."
)
ROOM = (
    "There is no room on this machine for the rows being read: free disk space, or set TMPDIR to"
    " another folder, and run the pull again."
)

# Returns the tables that a connection loads.
TableOwner = Callable[[peliqan.Connection, Sequence[peliqan.Table]], Sequence[peliqan.Table]]
Progress = Callable[[str], None]
# Called with each page; the pull stops if it returns False.
ShouldContinue = Callable[[], bool]


def _no_progress(_table: str) -> None:
    pass


@dataclass(frozen=True)
class PullOptions:
    """Options of a pull. ``full``: read every table completely; ``progress``: called per table.

    ``full_every``: number of pulls after which a table is read completely.
    """

    full: bool = False
    full_every: int = FULL_EVERY
    progress: Progress = _no_progress


DEFAULT_OPTIONS: Final = PullOptions()


@dataclass(frozen=True)
class Selection:
    """Selection of tables; empty means all. ``tables``, ``database``: names in any case, or ids.

    ``grows``: name of an integer column that only grows, for tables without a time of change.
    """

    accounts: frozenset[int] = frozenset()
    connections: frozenset[int] = frozenset()
    tables: frozenset[str] = frozenset()
    database: str = ""
    grows: str = ""


@dataclass(frozen=True)
class TableToPull:
    """Table to copy, with its database and the connection that loads it, if that is known."""

    database: str
    connection_id: int | None
    table: peliqan.Table


class Pull:
    """One pull. ``tables_of``: returns the tables that a connection loads."""

    def __init__(
        self,
        api: peliqan.Peliqan,
        destination: Destination,
        *,
        tables_of: TableOwner,
        clock: Callable[[], datetime],
        options: PullOptions = DEFAULT_OPTIONS,
        should_continue: ShouldContinue = lambda: True,
    ) -> None:
        self._api, self._destination, self._clock = api, destination, clock
        self._tables_of, self._options = tables_of, options
        self._should_continue, self._grows = should_continue, ""
        self._found: set[tuple[str, str]] = set()

    def run(self, chosen: Selection) -> PullResult:
        """Copy the selected tables and return the result.

        An account or a table that fails is a failure in the result, and the others continue. The
        pull stops if the destination or the whole API does not answer.
        """
        result, self._grows = PullResult(self._clock()), chosen.grows
        try:
            with self._destination:
                try:
                    self._pull_accounts(chosen, result)
                except (DestinationError, _Stop) as error:
                    result.stopped = str(error)
                result.ended = self._clock()
                self._destination.report(result)
        except DestinationError as error:
            result.stopped = result.stopped or str(error)
        result.ended = self._clock()
        return result

    def _pull_accounts(self, chosen: Selection, result: PullResult) -> None:
        try:
            accounts = {account.id: account for account in self._api.accounts()}
        except peliqan.PeliqanError as error:
            raise _Stop(
                f"The list of accounts could not be read. {sentence_of(error)} {error.next_step}"
            ) from None
        for account_id in sorted(chosen.accounts or accounts):
            if account_id not in accounts:
                result.failures.append(
                    Failure(account_id, None, "", "Peliqan lists no account with this id.")
                )
                continue
            try:
                connections, tables = self._plan(account_id, chosen)
            except peliqan.PeliqanError as error:
                result.failures.append(Failure(account_id, None, "", sentence_of(error)))
                _stop_if_unavailable(error)
                continue
            if tables:
                self._describe(accounts[account_id], connections, result)
                self._pull_tables(account_id, tables, result)
        self._report_missing(chosen, result)

    def _describe(
        self,
        account: peliqan.Account,
        connections: Sequence[peliqan.Connection],
        result: PullResult,
    ) -> None:
        try:
            self._destination.describe(account, connections)
        except Refused as error:
            result.failures.append(Failure(account.id, None, "", str(error)))

    def _report_missing(self, chosen: Selection, result: PullResult) -> None:
        """Add a failure for each selected name that was not found: it may be misspelt."""
        selected = {("database", chosen.database)} if chosen.database else set()
        selected |= {("table", name) for name in chosen.tables} | {
            ("connection", str(each)) for each in chosen.connections
        }
        for kind, name in sorted(selected - self._found):
            result.failures.append(
                Failure(
                    0,
                    None,
                    name,
                    f"No account that was read has such a {kind} among what was chosen.",
                )
            )

    def _plan(
        self, account_id: int, chosen: Selection
    ) -> tuple[Sequence[peliqan.Connection], list[TableToPull]]:
        """Return the account's connections and its selected tables.

        A table that two connections may load has no connection; it belongs to the account.
        """
        api = self._api.for_account(account_id)
        connections = [
            each for each in api.connections() if not (each.is_warehouse or each.is_target)
        ]
        self._found |= {("connection", str(each.id)) for each in connections}
        found = []
        for database in api.databases():
            if chosen.database and comparable(chosen.database) not in {
                comparable(database.name),
                str(database.id),
            }:
                continue
            self._found.add(("database", chosen.database))
            tables = api.tables(database.id)
            owners: dict[int, list[int]] = {}
            for connection in connections:
                for table in self._tables_of(connection, tables):
                    owners.setdefault(table.id, []).append(connection.id)
            for table in tables:
                owner = owners.get(table.id, [])
                if chosen.connections and not chosen.connections & set(owner):
                    continue
                names = {
                    name
                    for name in chosen.tables
                    if comparable(name) in {comparable(table.name), str(table.id)}
                }
                self._found |= {("table", name) for name in names}
                if names or not chosen.tables:
                    found.append(
                        TableToPull(database.name, owner[0] if len(owner) == 1 else None, table)
                    )
        return connections, found

    def _pull_tables(
        self, account_id: int, tables: Sequence[TableToPull], result: PullResult
    ) -> None:
        try:
            known = self._destination.known(account_id)
        except Refused as error:
            result.failures.append(Failure(account_id, None, "", str(error)))
            return
        for each in tables:
            self._options.progress(f"{account_id}: {each.table.name}")
            self._check_continue()

            def fail(reason: str, table: peliqan.Table = each.table) -> None:
                result.failures.append(Failure(account_id, table.id, table.name, reason))

            try:
                result.copied.append(self._pull_table(account_id, each, known.get(each.table.id)))
            except peliqan.PeliqanError as error:
                fail(sentence_of(error))
                _stop_if_unavailable(error)
            except (TableChanged, Refused) as error:
                fail(str(error))
            except RecursionError:
                # JSON is parsed with less stack than is left when the value is written.
                fail(TOO_DEEP)
            except _StopRequested:
                raise
            except (DestinationError, _Stop) as error:
                fail(str(error))
                raise

    def _pull_table(self, account_id: int, found: TableToPull, before: Copied | None) -> Copied:
        api, table = self._api.for_account(account_id), found.table
        columns = api.columns(table.id)
        now, changes = columns_now(
            before.columns if before else (), columns, self._destination.rules
        )
        target = (
            before.target
            if before
            else self._destination.target(account_id, found.connection_id, table)
        )
        copied = Copied(
            account_id=account_id,
            table_id=table.id,
            connection_id=found.connection_id,
            database=found.database,
            name=table.name,
            target=target,
            columns=now,
            mode=FULL,
            at=self._clock().isoformat(),
            schema_changes=tuple(changes),
        )
        by = cursor_column_of(columns, self._grows)
        newest = None
        if by:
            try:
                newest = self._newest(api, table.id, by)
            except peliqan.Refused as error:
                if not error.is_of_query:
                    raise
                remark = (
                    f"Peliqan refused to sort by “{by.column}”,"
                    " so the table was read whole and not by what changed."
                )
                copied = replace(copied, remarks=(remark,))
        copied = replace(
            copied, change_column=by.column if by and newest else None, watermark=newest
        )
        if (
            before is not None
            and by is not None
            and newest is not None
            and self._may_be_incremental(before, copied, by)
        ):
            merged = self._pull_changes(api, copied, before, by)
            if merged is not None:
                return merged
        return self._pull_full(api, copied, before)

    def _newest(self, api: peliqan.AccountApi, table_id: int, by: CursorColumn) -> str | None:
        """Return the newest cursor value; None without one, or if it is in the future.

        A value in the future would hide all later changes.
        """
        last = peliqan.RowQuery(size=1, order_by=f"-{by.column}", include=(by.column,))
        rows = api.rows(table_id, last).rows
        value = rows[0].get(by.column) if rows else None
        return str(value) if by.is_sound(value, self._clock()) else None

    def _may_be_incremental(self, before: Copied, now: Copied, by: CursorColumn) -> bool:
        is_due = before.since_full + 1 >= self._options.full_every
        if self._options.full or is_due or not before.keyed:
            return False
        kinds = {each.name: each.kind for each in before.columns}
        if any(kinds.get(each.name, each.kind) != each.kind for each in now.columns):
            return False
        since, newest = by.read(before.watermark), by.read(now.watermark)
        # If the newest value is older than the last one, rows were deleted or the table replaced.
        return (
            before.change_column == now.change_column
            and since is not None
            and newest is not None
            and since <= newest
        )

    def _pull_changes(
        self, api: peliqan.AccountApi, copied: Copied, before: Copied, by: CursorColumn
    ) -> Copied | None:
        """Copy only changed rows; return None if a full copy is needed.

        It is needed if values do not fit existing columns, or if the copy was changed since.
        """
        reading = TableReading(api, copied.table_id, {"order_by": f"-{by.column}"}, ahead=2)
        with self._spool(copied.columns) as spool:
            for rows in until(reading, by, by.start_after(before.watermark)):
                spool.add(rows)
                self._check_continue()
            known = {each.name for each in before.columns}
            new = {each.name for each in copied.columns} - known
            widened = [
                each.name
                for each, was in zip(spool.columns, copied.columns, strict=True)
                if each.kind != was.kind
            ]
            if not spool.keyed or set(widened) - new:
                return None
            counts = reading.progress
            remarks = []
            # With the old watermark, the next pull reads rows that may have been missed.
            unsure = _may_have_missed(counts)
            if unsure:
                remarks.append(
                    "The table changed while it was read: the next pull starts where this one did."
                )
            copied = replace(
                copied,
                columns=tuple(spool.columns),
                mode=INCREMENTAL,
                read=counts.read,
                since_full=before.since_full + 1,
                watermark=before.watermark if unsure else copied.watermark,
                remarks=tuple(remarks),
            )
            done = self._destination.merge(copied, spool, before)
        if done is None:
            return None
        if counts.last_count is not None and counts.last_count != done.rows:
            remark = (
                f"Peliqan has {counts.last_count:,} rows and the copy {done.rows:,}: rows were"
                " deleted there, or have no time of change. The next full copy corrects it."
            )
            done = replace(done, remarks=(*done.remarks, remark))
        return done

    def _pull_full(self, api: peliqan.AccountApi, copied: Copied, before: Copied | None) -> Copied:
        reading = TableReading(api, copied.table_id, {})
        with self._spool(copied.columns) as spool:
            for rows in reading.pages():
                spool.add(rows)
                self._check_continue()
            old = {each.name: each.kind for each in before.columns} if before else {}
            was = {each.name: each.kind for each in copied.columns}
            widened = [
                f"Column “{each.name}” was {was[each.name]} and is {each.kind} now."
                for each in spool.columns
                if each.name in old and each.kind != was[each.name]
            ]
            unsure = _may_have_missed(reading.progress)
            again = (
                ("Rows may be missing, so the next pull reads the table whole again.",)
                if unsure
                else ()
            )
            copied = replace(
                copied,
                columns=tuple(spool.columns),
                read=reading.progress.read,
                keyed=spool.keyed,
                watermark=None if unsure else copied.watermark,
                remarks=(*copied.remarks, *reading.progress.remarks, *again),
                schema_changes=(*copied.schema_changes, *widened),
            )
            return self._destination.replace(copied, spool)

    def _check_continue(self) -> None:
        if not self._should_continue():
            raise _StopRequested(STOPPED)

    @contextmanager
    def _spool(self, columns: Sequence[CopiedColumn]) -> Iterator[Spool]:
        try:
            with Spool(columns, self._destination.fits) as spool:
                yield spool
        except sqlite3.Error:
            raise _Stop(ROOM) from None


class _Stop(Exception):
    """Nothing more can be copied. The message is a sentence for users."""


class _StopRequested(_Stop):
    """The process that runs the pull ends; this is no failure."""


def _may_have_missed(counts: ReadRemarks) -> bool:
    """Return whether rows were deleted during the read, as far as the counts show.

    Then all later rows move forward, some to pages that were already read. Added rows do no harm:
    they are newer than the watermark.
    """
    if counts.count is None or counts.last_count is None:
        return False
    expected = min(counts.count, counts.last_count)
    short = counts.ended and counts.read + counts.repeated < expected
    return (
        counts.last_count < counts.count
        or (counts.repeated > 0 and counts.last_count == counts.count)
        or short
    )


def _stop_if_unavailable(error: peliqan.PeliqanError) -> None:
    """Stop the pull if the whole API is down; one account's failure does not stop it."""
    if isinstance(error, peliqan.ApiUnavailable):
        raise _Stop(f"{sentence_of(error)} Try again later.")
