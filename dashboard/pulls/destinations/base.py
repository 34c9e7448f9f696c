"""Where copies go. Each destination keeps what is known of a table with its rows, and changes both at once or not at all."""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Self

from dashboard import peliqan
from dashboard.core.addresses import FORMS
from dashboard.pulls.manifest import Copied, NameRules, PullResult
from dashboard.pulls.spool import Spool

__all__ = ["FORMS", "Destination", "DestinationError", "Refused"]


class DestinationError(Exception):
    """The destination does not take it. The message is a sentence without secrets and rows; the earlier copy is whole."""


class Refused(DestinationError):
    """One table, or what is kept of one customer, is refused; the destination takes others. The message is as above."""


class Destination(ABC):
    """A place for copies. Used as a context: entering takes its lock, so that two pulls never write to it at once."""

    rules: NameRules

    def __enter__(self) -> Self:
        try:
            self.open()
        except DestinationError:
            # Whoever did not get in does not leave either, and the lock would be held for as long as the error is.
            self.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @abstractmethod
    def open(self) -> None:
        """Take the lock and make ready what is missing.

        Raises:
            DestinationError: another pull holds the lock, or it cannot be written.
        """

    @abstractmethod
    def close(self) -> None:
        """Let go of the lock, also after an ``open`` that failed half-way."""

    @abstractmethod
    def fits(self, number: Decimal) -> bool:
        """Whether a number is kept exactly."""

    @abstractmethod
    def known(self, account_id: int) -> Mapping[int, Copied]:
        """The account's tables that are there, by their id. Raises as ``replace``."""

    @abstractmethod
    def target(self, account_id: int, connection_id: int | None, table: peliqan.Table) -> str:
        """The place of a table that is not there yet. Raises as ``replace``."""

    @abstractmethod
    def replace(self, copied: Copied, rows: Spool) -> Copied:
        """The table whole: readers see the old rows or the new ones. Gives it with its count of rows.

        Raises:
            Refused: this table is not taken; what was there stays, and other tables can be copied.
            DestinationError: nothing is taken any more; what was there stays.
        """

    @abstractmethod
    def merge(self, copied: Copied, rows: Spool, before: Copied) -> Copied | None:
        """The rows put among those that are there, by id, and what is known of the table, at once. Raises as ``replace``.

        None where the copy is not as the last pull left it (a column was dropped, a file is damaged): then it takes a full copy.
        """

    @abstractmethod
    def describe(self, account: peliqan.Account, connections: Sequence[peliqan.Connection]) -> None:
        """A customer and its connections, above its tables. Raises as ``replace``."""

    @abstractmethod
    def report(self, result: PullResult) -> None:
        """Keep what the pull did, failures included, for people who look at the destination alone.

        Raises:
            DestinationError: it could not be kept.
        """
