"""Whether a row contains a value, by its cells, since the API's search is only approximate."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from decimal import Decimal, InvalidOperation
from typing import Any, Final

from dashboard import peliqan
from dashboard.core.text import comparable

# Keys of an option, a link or a file that hold none of its text.
_NO_TEXT_KEYS: Final = frozenset(
    {
        "id",
        "color",
        "order",
        "thumbnails",
        "mime_type",
        "size",
        "is_image",
        "image_width",
        "image_height",
    }
)
_NO_TEXT_TYPES: Final = frozenset({"boolean", "password"})


def found_in(
    row: Mapping[str, Any],
    columns: Sequence[peliqan.Column],
    wanted: str,
    masked: Collection[str] = (),
) -> list[tuple[peliqan.Column, bool]]:
    """Return the columns that contain the value, and whether it is a complete text of the cell.

    Spelling does not matter (``comparable``), nor does the form of a number: 12.5 is 12.50. In
    ``masked`` columns only the complete cell counts, since parts would disclose its value letter by
    letter.
    """
    folded, number = comparable(wanted), _number(wanted)
    if not folded:
        return []
    found = []
    for column in columns:
        if column.type in _NO_TEXT_TYPES:
            continue
        texts = [comparable(text) for text in _texts(row.get(column.name))]
        if column.name in masked and len(texts) != 1:
            continue
        if folded in texts or (
            number is not None and any(_number(text) == number for text in texts)
        ):
            found.append((column, True))
        elif column.name not in masked and any(folded in text for text in texts):
            found.append((column, False))
    return found


def _texts(value: Any) -> Iterable[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, (int, float)) and not isinstance(value, bool):
        yield str(value) if isinstance(value, float) or value.bit_length() < 10_000 else ""
    elif isinstance(value, list):
        for each in value:
            yield from _texts(each)
    elif isinstance(value, dict):
        for name, each in value.items():
            if name not in _NO_TEXT_KEYS:
                yield from _texts(each)


def _number(text: str) -> Decimal | None:
    try:
        found = Decimal(text.strip())
    except InvalidOperation:
        return None
    return found if found.is_finite() else None
