"""Interface of destinations, which change a table's rows and its manifest at once."""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Self

from dashboard import peliqan
from dashboard.core.database_urls import FORMS
from dashboard.pulls.manifest import Copied, NameRules, PullResult
from dashboard.pulls.spool import Spool

__all__ = ["FORMS", "Destination", "DestinationError", "Refused"]


class DestinationError(Exception):
    """The destination does not accept a copy; the earlier copy is unchanged.

    The message is a sentence without secrets and values of rows.
    """


class Refused(DestinationError):
    """One table, or the data of one customer, is refused; the destination accepts others."""


class Destination(ABC):
    """Destination of copies, used as a context manager.

    Entering takes its lock, so that two pulls never write to it at the same time.
    """

    rules: NameRules

    def __enter__(self) -> Self:
        try:
            self.open()
        except DestinationError:
            # ``__exit__`` is not called after a failed ``__enter__``: the lock would stay.
            self.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @abstractmethod
    def open(self) -> None:
        """Take the lock and create what is missing.

        Raises:
            DestinationError: another pull holds the lock, or the destination cannot be written.
        """

    @abstractmethod
    def close(self) -> None:
        """Release the lock, also after an ``open`` that failed."""

    @abstractmethod
    def fits(self, number: Decimal) -> bool:
        """Return whether a number is stored exactly."""

    @abstractmethod
    def known(self, account_id: int) -> Mapping[int, Copied]:
        """Return the account's copied tables by their id. Raises as ``replace``."""

    @abstractmethod
    def target(self, account_id: int, connection_id: int | None, table: peliqan.Table) -> str:
        """Return the location of a table that was not copied yet. Raises as ``replace``."""

    @abstractmethod
    def replace(self, copied: Copied, rows: Spool) -> Copied:
        """Replace all rows of a table; readers see the old rows or the new ones.

        Returns:
            The copied table with its count of rows.

        Raises:
            Refused: this table is refused; its earlier copy stays, and others can be copied.
            DestinationError: the destination accepts nothing any more; the earlier copy stays.
        """

    @abstractmethod
    def merge(self, copied: Copied, rows: Spool, before: Copied) -> Copied | None:
        """Merge rows into a table by id, and change its manifest, at once. Raises as ``replace``.

        Returns:
            The copied table; None if the copy was changed since the last pull (a column was
            dropped, a file is damaged), so that a full copy is needed.
        """

    @abstractmethod
    def describe(self, account: peliqan.Account, connections: Sequence[peliqan.Connection]) -> None:
        """Store a customer and its connections. Raises as ``replace``."""

    @abstractmethod
    def report(self, result: PullResult) -> None:
        """Store the result of the pull with its failures, for readers of the destination.

        Raises:
            DestinationError: it could not be stored.
        """
