"""Which class writes to which kind of destination."""

from dashboard.core.addresses import Address, FileAddress, read
from dashboard.pulls.destinations.base import Destination


def open_destination(address: Address | str) -> Destination:
    """The destination at an address.

    Raises:
        ValueError: it cannot be read; the message is a sentence that does not repeat it, since it may hold a password.
    """
    found = read(address) if isinstance(address, str) else address
    # Both load much that no other command needs.
    if isinstance(found, FileAddress) and found.scheme == "parquet":
        from dashboard.pulls.destinations.parquet import ParquetFolder

        return ParquetFolder(found.path)
    from dashboard.pulls.destinations.database import DatabaseDestination

    return DatabaseDestination(found)


def name_of(address: Address | str) -> str:
    """What is shown of an address: a folder or file; host, port and database."""
    found = read(address) if isinstance(address, str) else address
    return found.shown if isinstance(found, FileAddress) else f"postgresql://{found.shown}"
