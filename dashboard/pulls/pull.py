"""Tables copied out of Peliqan: which, from where on, and one after the other, each whole or not at all.

Where a column says when a row last changed, only rows from the kept watermark on are read: sorted by it, the newest first, until
older ones come (a filter that upstream cannot read it ignores, and says nothing; a sort that it cannot read it refuses). The next
watermark is the newest value as it stood before the first page was read, so what changes meanwhile is read once more and never
left out; rows are put in by their id, so twice does no harm.
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

FULL_EVERY: Final = 20
ASKED_TO_STOP = "It was stopped before its end; what had been copied is whole."
TOO_DEEP = (
    "A value of the table is nested too deeply to be copied. An earlier copy stays as it was."
)
ROOM = "There is no room for the rows under way: make some (TMPDIR names another folder), and run the pull again."

Belongs = Callable[[peliqan.Connection, Sequence[peliqan.Table]], Sequence[peliqan.Table]]
Progress = Callable[[str], None]
# Called with each page: whether to go on.
GoesOn = Callable[[], bool]


@dataclass(frozen=True)
class Selection:
    """What is copied; empty is all. ``tables`` and ``database`` are names in any case, or ids.

    ``grows``: the name of a column of whole numbers that only grows, where a table says nothing of its changes.
    """

    accounts: frozenset[int] = frozenset()
    connections: frozenset[int] = frozenset()
    tables: frozenset[str] = frozenset()
    database: str = ""
    grows: str = ""


@dataclass(frozen=True)
class TableToPull:
    """A table to copy, with where it belongs."""

    database: str
    connection_id: int | None
    table: peliqan.Table


class Pull:
    """One pull. ``belongs`` says which tables a connection loads; ``full``: read every table whole."""

    def __init__(
        self,
        api: peliqan.Peliqan,
        destination: Destination,
        *,
        belongs: Belongs,
        clock: Callable[[], datetime],
        full: bool = False,
        full_every: int = FULL_EVERY,
        progress: Progress = lambda _: None,
        goes_on: GoesOn = lambda: True,
    ) -> None:
        self._api, self._destination, self._belongs, self._clock = api, destination, belongs, clock
        self._full, self._full_every, self._progress = full, full_every, progress
        self._goes_on, self._grows = goes_on, ""
        self._met: set[tuple[str, str]] = set()

    def run(self, chosen: Selection) -> PullResult:
        """Copy what is chosen. An account that cannot be read or a table that cannot be copied is a failure in the result, and
        the others go on; it stops where the destination or Peliqan as a whole does not answer."""
        result, self._grows = PullResult(self._clock()), chosen.grows
        try:
            with self._destination:
                try:
                    self._accounts(chosen, result)
                except (DestinationError, _Stop) as error:
                    result.stopped = str(error)
                result.ended = self._clock()
                self._destination.report(result)
        except DestinationError as error:
            result.stopped = result.stopped or str(error)
        result.ended = self._clock()
        return result

    def _accounts(self, chosen: Selection, result: PullResult) -> None:
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
                _stop_if_away(error)
                continue
            if tables:
                self._describe(accounts[account_id], connections, result)
                self._tables(account_id, tables, result)
        self._name_missing(chosen, result)

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

    def _name_missing(self, chosen: Selection, result: PullResult) -> None:
        """What was asked for and is nowhere: a misspelt name must not look like success."""
        asked = {("database", chosen.database)} if chosen.database else set()
        asked |= {("table", name) for name in chosen.tables} | {
            ("connection", str(each)) for each in chosen.connections
        }
        for kind, name in sorted(asked - self._met):
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
        """The account's connections, and its chosen tables. One that two connections may load belongs to none: it stands under
        the account."""
        api = self._api.for_account(account_id)
        connections = [
            each for each in api.connections() if not (each.is_warehouse or each.is_target)
        ]
        self._met |= {("connection", str(each.id)) for each in connections}
        found = []
        for database in api.databases():
            if chosen.database and comparable(chosen.database) not in {
                comparable(database.name),
                str(database.id),
            }:
                continue
            self._met.add(("database", chosen.database))
            tables = api.tables(database.id)
            owners: dict[int, list[int]] = {}
            for connection in connections:
                for table in self._belongs(connection, tables):
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
                self._met |= {("table", name) for name in names}
                if names or not chosen.tables:
                    found.append(
                        TableToPull(database.name, owner[0] if len(owner) == 1 else None, table)
                    )
        return connections, found

    def _tables(self, account_id: int, tables: Sequence[TableToPull], result: PullResult) -> None:
        try:
            known = self._destination.known(account_id)
        except Refused as error:
            result.failures.append(Failure(account_id, None, "", str(error)))
            return
        for each in tables:
            self._progress(f"{account_id}: {each.table.name}")
            self._look_up()
            try:
                result.copied.append(self._table(account_id, each, known.get(each.table.id)))
            except peliqan.PeliqanError as error:
                result.failures.append(
                    Failure(account_id, each.table.id, each.table.name, sentence_of(error))
                )
                _stop_if_away(error)
            except (TableChanged, Refused) as error:
                result.failures.append(
                    Failure(account_id, each.table.id, each.table.name, str(error))
                )
            except RecursionError:
                # Read from JSON with a little less on the stack than there is where it is written.
                result.failures.append(
                    Failure(account_id, each.table.id, each.table.name, TOO_DEEP)
                )
            except _AskedToStop:
                raise
            except (DestinationError, _Stop) as error:
                result.failures.append(
                    Failure(account_id, each.table.id, each.table.name, str(error))
                )
                raise

    def _table(self, account_id: int, found: TableToPull, before: Copied | None) -> Copied:
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
                remark = f"Peliqan refused to sort by “{by.column}”, so the table was read whole and not by what changed."
                copied = replace(copied, remarks=(remark,))
        copied = replace(
            copied, change_column=by.column if by and newest else None, watermark=newest
        )
        if (
            before is not None
            and by is not None
            and newest is not None
            and self._may_go_on(before, copied, by)
        ):
            merged = self._incremental(api, copied, before, by)
            if merged is not None:
                return merged
        return self._whole(api, copied, before)

    def _newest(self, api: peliqan.AccountApi, table_id: int, by: CursorColumn) -> str | None:
        """The newest change value of all rows; None where it is none, or lies ahead, where it would hide what follows."""
        rows = api.rows(table_id, size=1, order_by=f"-{by.column}", include=(by.column,)).rows
        value = rows[0].get(by.column) if rows else None
        return str(value) if by.is_sound(value, self._clock()) else None

    def _may_go_on(self, before: Copied, now: Copied, by: CursorColumn) -> bool:
        if self._full or before.since_full + 1 >= self._full_every or not before.keyed:
            return False
        kinds = {each.name: each.kind for each in before.columns}
        if any(kinds.get(each.name, each.kind) != each.kind for each in now.columns):
            return False
        since, newest = by.read(before.watermark), by.read(now.watermark)
        # A newest row that is older than it was: rows were deleted, or the table is another one.
        return (
            before.change_column == now.change_column
            and since is not None
            and newest is not None
            and since <= newest
        )

    def _incremental(
        self, api: peliqan.AccountApi, copied: Copied, before: Copied, by: CursorColumn
    ) -> Copied | None:
        """Only what changed; None where that takes a full copy: the values do not fit the columns that are there, or the copy is
        not as the last pull left it."""
        reading = TableReading(api, copied.table_id, {"order_by": f"-{by.column}"}, ahead=2)
        with self._spool(copied.columns) as spool:
            for rows in until(reading, by, by.from_where(before.watermark)):
                spool.add(rows)
                self._look_up()
            known = {each.name for each in before.columns}
            fresh = {each.name for each in copied.columns} - known
            moved = [
                each.name
                for each, was in zip(spool.columns, copied.columns, strict=True)
                if each.kind != was.kind
            ]
            if not spool.keyed or set(moved) - fresh:
                return None
            told = reading.told
            remarks = []
            # Those that may have been left out are met again from the old watermark on.
            unsure = _may_have_missed(told)
            if unsure:
                remarks.append(
                    "The table changed while it was read: the next pull begins where this one did."
                )
            copied = replace(
                copied,
                columns=tuple(spool.columns),
                mode=INCREMENTAL,
                read=told.read,
                since_full=before.since_full + 1,
                watermark=before.watermark if unsure else copied.watermark,
                remarks=tuple(remarks),
            )
            done = self._destination.merge(copied, spool, before)
        if done is None:
            return None
        if told.last_count is not None and told.last_count != done.rows:
            differs = f"Peliqan has {told.last_count:,} rows and the copy {done.rows:,}"
            said = f"{differs}: rows were deleted there, or say no time of change. The next full copy settles it."
            done = replace(done, remarks=(*done.remarks, said))
        return done

    def _whole(self, api: peliqan.AccountApi, copied: Copied, before: Copied | None) -> Copied:
        reading = TableReading(api, copied.table_id, {})
        with self._spool(copied.columns) as spool:
            for rows in reading.pages():
                spool.add(rows)
                self._look_up()
            old = {each.name: each.kind for each in before.columns} if before else {}
            was = {each.name: each.kind for each in copied.columns}
            widened = [
                f"Column “{each.name}” was {was[each.name]} and is {each.kind} now."
                for each in spool.columns
                if each.name in old and each.kind != was[each.name]
            ]
            unsure = _may_have_missed(reading.told)
            again = (
                ("Rows may be missing, so the next pull reads the table whole again.",)
                if unsure
                else ()
            )
            copied = replace(
                copied,
                columns=tuple(spool.columns),
                read=reading.told.read,
                keyed=spool.keyed,
                watermark=None if unsure else copied.watermark,
                remarks=(*copied.remarks, *reading.told.remarks, *again),
                schema_changes=(*copied.schema_changes, *widened),
            )
            return self._destination.replace(copied, spool)

    def _look_up(self) -> None:
        if not self._goes_on():
            raise _AskedToStop(ASKED_TO_STOP)

    @contextmanager
    def _spool(self, columns: Sequence[CopiedColumn]) -> Iterator[Spool]:
        try:
            with Spool(columns, self._destination.fits) as spool:
                yield spool
        except sqlite3.Error:
            raise _Stop(ROOM) from None


class _Stop(Exception):
    """Nothing more can be copied. The message is a sentence."""


class _AskedToStop(_Stop):
    """Nobody's fault: whoever runs it ends."""


def _may_have_missed(told: ReadRemarks) -> bool:
    """Whether rows went while a table was read, as far as the counts tell: all that follow move, some onto pages that were read
    already. Rows that came are no danger: they are newer than the watermark."""
    if told.count is None or told.last_count is None:
        return False
    short = told.ended and told.read + told.repeated < min(told.count, told.last_count)
    return (
        told.last_count < told.count
        or (told.repeated > 0 and told.last_count == told.count)
        or short
    )


def _stop_if_away(error: peliqan.PeliqanError) -> None:
    """End the pull if the API is down. An account that does not answer while others do is that account's failure alone."""
    if isinstance(error, peliqan.ApiUnavailable):
        raise _Stop(f"{sentence_of(error)} Try again later.")
