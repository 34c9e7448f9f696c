"""Text from outside: made storable, and made comparable, so that all spellings of a word are one word.

``comparable`` is what a search, a filter and a sort go by, for what is kept and for what is asked alike. No database compares
by its own rules: SQLite and PostgreSQL with the locale C know upper and lower case of English letters only.
"""

import re
from collections.abc import Callable, Iterable
from unicodedata import normalize

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
    text = _BLANK.sub(" ", _INVISIBLE.sub("", normalize("NFKC", text.encode("utf-8", "replace").decode())))
    # Decomposed first: folding case may need the marks in their order (Unicode, D146).
    text = normalize("NFD", text).casefold()
    if one_i:
        text = _DOTTED_I.sub("i", text.replace("ı", "i"))
    return " ".join(normalize("NFKC", normalize("NFKC", text).casefold()).split())
