"""Tell personal data by the shape of its values, for columns of which nothing else is known.

Each pattern is linear and matches at most ``LONGEST`` characters. Texts are searched a piece at a time and ``check`` is called
between pieces, because ``re`` keeps all other threads of the process waiting while it searches.
"""

import re
from collections.abc import Callable, Iterable, Iterator
from typing import Any, Final

# Characters that are searched at once: about a hundredth of a second. LONGEST: the most that a pattern below matches.
PIECE: Final = 100_000
LONGEST: Final = 300
# In this order; a column is named after the first. They begin with a literal or a class, so that ``re`` skips all other text.
SHAPES: Final = (
    ("e-mail address", re.compile(r"@(?<=[^@\s]@)[^@\s]{1,255}\.[A-Za-z]{2}")),
    ("bank account or card", re.compile(r"[A-Z](?<!\w.)[A-Z]\d{2} ?(?:[A-Z0-9]{4} ?){2,7}[A-Z0-9]{1,4}\b")),
    ("telephone number", re.compile(r"\+\d[\d ()/.-]{7,200}\d")),
)


def shape_of(values: Iterable[Any], check: Callable[[], None]) -> str | None:
    """Return what the texts in a column's values look like; None where they look like nothing personal.

    ``values``: as JSON has them; texts inside of lists and objects count. ``check`` is called after each piece that was searched
    and may raise, to end the search.
    """
    found: set[str] = set()
    for text in _joined(_texts(values)):
        for start in range(0, len(text), PIECE):
            end = start + PIECE
            # Beyond the piece, so that what begins in it is found whole; what begins behind it is the next piece's.
            found |= {
                name
                for name, pattern in SHAPES
                if name not in found and (match := pattern.search(text, start, end + LONGEST)) and match.start() < end
            }
            check()
        if SHAPES[0][0] in found:
            break
    return next((name for name, _ in SHAPES if name in found), None)


def _texts(values: Iterable[Any]) -> Iterator[str]:
    waiting = [iter(values)]
    while waiting:
        for value in waiting[-1]:
            if isinstance(value, str):
                yield value
            elif isinstance(value, (list, dict)):
                waiting.append(iter([*value, *value.values()] if isinstance(value, dict) else value))
                break
        else:
            waiting.pop()


def _joined(texts: Iterable[str]) -> Iterator[str]:
    """Many short texts as a few of about a piece each, a line break between them, which no pattern matches."""
    some: list[str] = []
    size = 0
    for text in texts:
        some.append(text)
        size += len(text) + 1
        if size >= PIECE:
            yield "\n".join(some)
            some, size = [], 0
    yield "\n".join(some)
