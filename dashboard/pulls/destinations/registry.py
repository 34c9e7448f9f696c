"""Choice of the destination class by the kind of address."""

from dashboard.core.database_urls import Address, FileAddress, read
from dashboard.pulls.destinations.base import Destination


def open_destination(address: Address | str) -> Destination:
    """Return the destination at an address.

    Raises:
        ValueError: the address cannot be read; the message is a sentence without the address.
    """
    found = read(address) if isinstance(address, str) else address
    # Imported here, since both load large libraries that other commands do not need.
    if isinstance(found, FileAddress) and found.scheme == "parquet":
        from dashboard.pulls.destinations.parquet import ParquetFolder

        return ParquetFolder(found.path)
    from dashboard.pulls.destinations.database import DatabaseDestination

    return DatabaseDestination(found)


def name_of(address: Address | str) -> str:
    """Return the part of an address that is shown: a path, or host, port and database."""
    found = read(address) if isinstance(address, str) else address
    return found.shown if isinstance(found, FileAddress) else f"postgresql://{found.shown}"
