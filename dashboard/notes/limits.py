"""Limits of notes: sizes, counts and times.

Those that an operator sets are in `settings.py`.
"""

from typing import Final

# Characters of a note.
LONGEST_NOTE: Final = 2000
