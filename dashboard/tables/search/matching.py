"""Whether a value stands in a row: looked for in the cells themselves, since the API's search is only roughly right."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from decimal import Decimal, InvalidOperation
from typing import Any, Final

from dashboard import peliqan
from dashboard.core.text import comparable

LONGEST: Final = 200
# What is beside the words of an option, a link or a file.
_BESIDE: Final = frozenset(
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
_NO_WORDS: Final = frozenset({"boolean", "password"})


def found_in(
    row: Mapping[str, Any],
    columns: Sequence[peliqan.Column],
    wanted: str,
    masked: Collection[str] = (),
) -> list[tuple[peliqan.Column, bool]]:
    """The columns that hold the value, in any spelling (``comparable``); with True where it is a whole text in the cell.

    A number is the same however it is written: 12.5 is 12.50. In columns whose names are ``masked``, only the whole cell counts:
    parts would tell its value letter by letter.
    """
    folded, number = comparable(wanted), _number(wanted)
    if not folded:
        return []
    found = []
    for column in columns:
        if column.type in _NO_WORDS:
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
            if name not in _BESIDE:
                yield from _texts(each)


def _number(text: str) -> Decimal | None:
    try:
        found = Decimal(text.strip())
    except InvalidOperation:
        return None
    return found if found.is_finite() else None
