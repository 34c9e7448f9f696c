"""Text from outside: made storable, and made comparable, so that all spellings of a word are one word.

``comparable`` is what a search, a filter and a sort go by, for what is kept and for what is asked alike. No database compares
by its own rules: SQLite and PostgreSQL with the locale C know upper and lower case of English letters only.
"""

import hashlib
import re
from collections.abc import Callable, Iterable
from typing import Final
from unicodedata import normalize

# A spreadsheet runs what begins so as a formula, in full-width and small forms too (OWASP, CSV injection).
FORMULA_STARTS: Final = "=+-@＝＋－＠﹦﹢﹣﹫"
# Ends a cell for a reader that separates by semicolons or tabs, or that does not read quotes.
_SEPARATORS: Final = ";\t\n\r"
# Readers drop these in front of a text: white space, control and invisible characters, byte order marks, quotes.
_SKIPPED: Final = "".join(
    chr(code)
    for first, last in (
        (0x00, 0x20), (0x7F, 0xA0), (0xAD, 0xAD), (0x034F, 0x034F), (0x061C, 0x061C), (0x115F, 0x1160), (0x1680, 0x1680),
        (0x180E, 0x180E), (0x2000, 0x200F), (0x2028, 0x202F), (0x205F, 0x206F), (0x3000, 0x3000), (0x3164, 0x3164),
        (0xFEFF, 0xFEFF),
    )
    for code in range(first, last + 1)
) + '"\N{LEFT DOUBLE QUOTATION MARK}\N{RIGHT DOUBLE QUOTATION MARK}'  # fmt: skip
_FIRST_LOOKED_AT = frozenset(FORMULA_STARTS + _SKIPPED)
# The whole cell. A tab or a line break is dropped by some spreadsheets and ends a cell for others.
_BEGINS_FORMULA = re.compile(rf"[{re.escape(_SKIPPED)}]*[{re.escape(FORMULA_STARTS)}]|[ ]*[\t\r]")
# A part of it.
_PART_BEGINS_FORMULA = re.compile(
    rf"(?<=[{_SEPARATORS}])(?=[{re.escape(''.join(set(_SKIPPED) - set(_SEPARATORS)))}]*[{re.escape(FORMULA_STARTS)}])"
)
_PLAIN_NUMBER = re.compile(r"[+-]\d+(\.\d+)?(e[+-]?\d+)?", re.ASCII | re.IGNORECASE)

# Unicode's Default_Ignorable_Code_Point (DerivedCoreProperties.txt): soft hyphen, zero-width characters, marks of direction,
# variation selectors. Nobody sees them, so they are no part of what stands on the screen.
_INVISIBLE = re.compile(
    "[\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f\u202a-\u202e\u2060-\u206f\u3164\ufe00-\ufe0f\ufeff"
    "\uffa0\ufff0-\ufff8\U0001bca0-\U0001bca3\U0001d173-\U0001d17a\U000e0000-\U000e0fff]"
)
# Control characters, and the blank of Braille, which Unicode does not count among its spaces.
_BLANK = re.compile("[\x00-\x1f\x7f-\x9f\u2800]")
# What small letters make of İ.
_DOTTED_I = re.compile("i\N{COMBINING DOT ABOVE}+")


def clean(text: str) -> str:
    """Text that both databases take: without NUL, and without half of a surrogate pair."""
    return text.replace("\0", "").encode("utf-8", "replace").decode()


def composed(text: str) -> str:
    """Text with each letter and its accents as one character where there is one (NFC), which looks the same."""
    return normalize("NFC", text)


def casefolded(text: str) -> str:
    """Fold compatibility forms, case and blanks (Unicode's NFKC_Casefold); for what identifies somebody.

    Composed and decomposed characters, full-width letters and ligatures become one form; ß is ss; characters that nobody sees
    are dropped; any run of blanks, tabs and line breaks is one space, and none is left at either end. Accents stay: å and a, й
    and и are different letters. Applied twice it changes nothing more.
    """
    return _folded(text, one_i=False)


def comparable(text: str) -> str:
    """Fold text as ``casefolded`` does, with all kinds of i as one; for searching, filtering, sorting and naming.

    I is the upper case of both i and the Turkish ı, and İ that of i: without this a name in capitals would not be found in
    small letters. So for any character: it, its upper, lower and title case, and all its Unicode forms give one text.
    """
    return _folded(text, one_i=True)


def meant(name: str, names: Iterable[str], fold: Callable[[str], str] = comparable) -> str | None:
    """The one of ``names`` that somebody means who typed ``name``: itself, or else the only one that is folded to the same."""
    there = list(names)
    if name in there:
        return name
    alike = [each for each in there if fold(each) == fold(name)]
    return alike[0] if len(alike) == 1 else None


def _folded(text: str, *, one_i: bool) -> str:
    if text.isascii() and text.isprintable():
        return " ".join(text.lower().split())
    text = _BLANK.sub(
        " ", _INVISIBLE.sub("", normalize("NFKC", text.encode("utf-8", "replace").decode()))
    )
    # Decomposed first: folding case may need the marks in their order (Unicode, D146).
    text = normalize("NFD", text).casefold()
    if one_i:
        text = _DOTTED_I.sub("i", text.replace("ı", "i"))
    return " ".join(normalize("NFKC", normalize("NFKC", text).casefold()).split())


def harmless(text: str) -> str:
    """Put an apostrophe in front of each part of a text that a spreadsheet would run as a formula; numbers stay numbers.

    Parts are the whole text and what follows a line break, a tab or a semicolon in it. Quoting the cell does not keep such a part
    from running: where semicolons separate, ``1,"a;=2"`` is the two cells ``1,"a`` and ``=2"``, since a quote counts at the
    beginning of a cell alone. Made harmless twice, a text does not change again.
    """
    if text[:1] not in _FIRST_LOOKED_AT and not any(separator in text for separator in _SEPARATORS):
        return text
    if _PLAIN_NUMBER.fullmatch(text):
        return text
    parts = _PART_BEGINS_FORMULA.sub("'", text)
    return "'" + parts if _BEGINS_FORMULA.match(text) else parts


def name_for(name: str, taken: Iterable[str], *, fold: bool, most_bytes: int | None) -> str:
    """What a column or table called ``name`` is called at the destination, given the names that are taken there.

    ``fold``: names that differ only in case are the same there. ``most_bytes``: longer ones are cut, with a hash of the whole.
    """
    used = {each.casefold() if fold else each for each in taken}
    base = clean(name).strip() or "column"
    found, number = _cut(base, most_bytes, ""), 1
    while (found.casefold() if fold else found) in used:
        number += 1
        found = _cut(base, most_bytes, f"_{number}")
    return found


def _cut(name: str, most_bytes: int | None, suffix: str) -> str:
    whole = name + suffix
    if most_bytes is None or len(whole.encode()) <= most_bytes:
        return whole
    end = f"_{hashlib.sha256(name.encode()).hexdigest()[:8]}{suffix}"
    return name.encode()[: most_bytes - len(end)].decode(errors="ignore") + end
