"""Lists as CSV files."""

import csv
import io
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from dashboard.core.spreadsheet_text import harmless
from dashboard.listing.limits import MOST_CSV_ROWS
from dashboard.listing.listing import Listing
from dashboard.listing.query import BadQuery, ListQuery


def read_full_list(listing: Listing, query: ListQuery) -> list[Any]:
    """Return every row that matches, for a CSV file.

    Raises:
        BadQuery: more than ``MOST_CSV_ROWS`` rows match, since a partial file would look complete.
    """
    page = listing.page(replace(query, page=1, per_page=MOST_CSV_ROWS), full=True)
    if page.total > MOST_CSV_ROWS:
        raise BadQuery(
            f"The list has {page.total:,} rows, and a CSV file holds {MOST_CSV_ROWS:,} at most."
            " No file was made. Narrow the list by a search or a filter, or fetch its .json page by"
            " page."
        )
    return page.items


def csv_text(items: Sequence[dict[str, Any]]) -> str:
    """Return rows with their headings as CSV, with formulas made harmless."""
    out = io.StringIO()
    if items:
        writer = csv.writer(out)
        # Headings are made harmless too, since they may be customers' column names.
        writer.writerow([csv_cell(name) for name in items[0]])
        writer.writerows([csv_cell(row[name]) for name in items[0]] for row in items)
    return out.getvalue()


def csv_cell(value: Any) -> Any:
    """Return a value for CSV, where text that a spreadsheet would run is made harmless."""
    if isinstance(value, dict):
        value = "; ".join(f"{key} {count}" for key, count in value.items())
    return harmless(str(value)) if isinstance(value, (str, list, tuple)) else value
