"""Limits of tables: sizes, counts and times.

The limits of their health, data checks, stored views and value searches are here, too. Those that
an operator sets are in `settings.py`.
"""

from datetime import timedelta
from typing import Final

# Characters of a query string; a longer choice is stored as a view.
LONGEST_QUERY: Final = 1_000
# A stored view is deleted when nobody opened it for this time.
VIEW_KEPT_FOR: Final = timedelta(days=90)
# Conditions of one page of rows.
MOST_FILTERS: Final = 20
# Characters of a condition's value.
LONGEST_VALUE: Final = 500
# Characters of a value in a row; the full value opens by a click.
LONGEST_CELL: Final = 140
# Results up to this age are shown instead of a new check.
CHECK_FRESH_FOR: Final = timedelta(minutes=1)
# After a check a table's rows are counted once a day for this time.
WATCHED_FOR: Final = timedelta(days=7)
# The latest row counts that the page of a table's health lists.
ROW_COUNTS_SHOWN: Final = 10
# The share of rows that must be left; with fewer, a table lost rows.
LEFT_AT_LEAST: Final = 0.7
# Below this many rows a drop can be the deletion of a few rows by the customer.
LEAST_ROWS: Final = 10
# Tables of a connection that a data check reads.
MOST_CHECKED_TABLES: Final = 50
# A value search is deleted after this time.
SEARCH_KEPT_FOR: Final = timedelta(days=1)
# Characters of a value to search for.
LONGEST_SEARCHED: Final = 200
# Characters of a value to search for.
SHORTEST_SEARCHED: Final = 2
# The same search within this time is not started again, for example after a double click.
SAME_SEARCH_WITHIN: Final = timedelta(minutes=1)
# Unread tables that are named; the number of others is given.
NAMED_TABLES: Final = 10
# Rows that one search reads.
SEARCHED_ROWS: Final = 20_000
# Seconds that one search reads.
SEARCHED_SECONDS: Final = 60
# Tables that one search reads.
SEARCHED_TABLES: Final = 200
# Databases that one search reads.
SEARCHED_DATABASES: Final = 10
# Hits that are stored of one search.
MOST_HITS: Final = 50
# Hits that are stored of one table.
MOST_HITS_OF_A_TABLE: Final = 10
# Queries of a table by a form, from one client address.
ROW_REQUESTS: Final = "120 per minute"
