"""Text for spreadsheets: what they would run as a formula is made harmless."""

import re
from typing import Final

# A spreadsheet runs a text with this beginning as a formula, also in full-width and small forms
# (OWASP, CSV injection).
FORMULA_STARTS: Final = "=+-@＝＋－＠﹦﹢﹣﹫"
# End a cell for programs that separate by semicolons or tabs, or do not read quotes.
SEPARATORS: Final = ";\t\n\r"
# Programs skip these before a text: white space, control and invisible characters, byte order
# marks, quotes.
_SKIPPED: Final = "".join(
    chr(code)
    for first, last in (
        (0x00, 0x20), (0x7F, 0xA0), (0xAD, 0xAD), (0x034F, 0x034F), (0x061C, 0x061C),
        (0x115F, 0x1160), (0x1680, 0x1680), (0x180E, 0x180E), (0x2000, 0x200F), (0x2028, 0x202F),
        (0x205F, 0x206F), (0x3000, 0x3000), (0x3164, 0x3164), (0xFEFF, 0xFEFF),
    )
    for code in range(first, last + 1)
) + '"\N{LEFT DOUBLE QUOTATION MARK}\N{RIGHT DOUBLE QUOTATION MARK}'  # fmt: skip
SUSPECT_STARTS = frozenset(FORMULA_STARTS + _SKIPPED)
# Of a whole cell. Some spreadsheets drop a tab or line break; for others it ends the cell.
_BEGINS_FORMULA = re.compile(rf"[{re.escape(_SKIPPED)}]*[{re.escape(FORMULA_STARTS)}]|[ ]*[\t\r]")
# Of a part of a cell.
_SKIPPED_IN_PART = re.escape("".join(set(_SKIPPED) - set(SEPARATORS)))
_PART_BEGINS_FORMULA = re.compile(
    rf"(?<=[{SEPARATORS}])(?=[{_SKIPPED_IN_PART}]*[{re.escape(FORMULA_STARTS)}])"
)
_PLAIN_NUMBER = re.compile(r"[+-]\d+(\.\d+)?(e[+-]?\d+)?", re.ASCII | re.IGNORECASE)


def harmless(text: str) -> str:
    """Put an apostrophe before each part of a text that a spreadsheet would run as a formula.

    Parts are the text as a whole and what follows a line break, a tab or a semicolon. Numbers
    stay. Quoting the cell does not protect a part: a program that separates by semicolons reads
    ``1,"a;=2"`` as the cells ``1,"a`` and ``=2``, since a quote counts only at the start of a
    cell. Idempotent.
    """
    if text[:1] not in SUSPECT_STARTS and not any(separator in text for separator in SEPARATORS):
        return text
    if _PLAIN_NUMBER.fullmatch(text):
        return text
    parts = _PART_BEGINS_FORMULA.sub("'", text)
    return "'" + parts if _BEGINS_FORMULA.match(text) else parts
