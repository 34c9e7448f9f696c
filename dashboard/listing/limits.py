"""Limits of lists: sizes, counts and times.

Those that an operator sets are in `settings.py`.
"""

from typing import Final

# Rows a page to choose from; the last one is the most.
PAGE_SIZES: Final = (25, 50, 100, 200)
# Characters of a search.
LONGEST_SEARCH: Final = 200
# Characters of a filter's value. The longest is an e-mail address; each link of the page repeats
# it.
LONGEST_FILTER: Final = 254
# Rows of a list as CSV file.
MOST_CSV_ROWS: Final = 100_000
