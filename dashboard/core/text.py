"""Text from outside: cleaned so that databases store it, and folded so that spellings match.

``comparable`` is the form that searches, filters and sorts compare, in stored texts and queries
alike. Databases do not compare by their own rules: SQLite and PostgreSQL with the locale C know
upper and lower case of English letters only.
"""

import hashlib
import re
from collections.abc import Callable, Iterable
from unicodedata import normalize

# Unicode's Default_Ignorable_Code_Point (DerivedCoreProperties.txt): soft hyphen, zero-width
# characters, direction marks, variation selectors. They are invisible, so they do not count.
_INVISIBLE = re.compile(
    "[\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f\u202a-\u202e"
    "\u2060-\u206f\u3164\ufe00-\ufe0f\ufeff\uffa0\ufff0-\ufff8\U0001bca0-\U0001bca3"
    "\U0001d173-\U0001d17a\U000e0000-\U000e0fff]"
)
# Control characters, and the blank of Braille, which is not one of Unicode's spaces.
_BLANK = re.compile("[\x00-\x1f\x7f-\x9f\u2800]")
# The lowercase form of İ.
_DOTTED_I = re.compile("i\N{COMBINING DOT ABOVE}+")


def clean(text: str) -> str:
    """Return text that both databases store: without NUL and lone surrogates."""
    return text.replace("\0", "").encode("utf-8", "replace").decode()


def composed(text: str) -> str:
    """Return the text in Unicode's form NFC: a letter and its accents are one character."""
    return normalize("NFC", text)


def casefolded(text: str) -> str:
    """Fold compatibility forms, case and blanks (Unicode's NFKC_Casefold), for identities.

    Composed and decomposed characters, full-width letters and ligatures become one form; ß
    becomes ss; invisible characters are dropped. A run of blanks, tabs and line breaks becomes one
    space, and the ends are stripped. Accents stay: å and a, й and и are different letters.
    Idempotent.
    """
    return _folded(text, one_i=False)


def comparable(text: str) -> str:
    """Fold as ``casefolded`` does, with all kinds of i as one; for search, filter and sort.

    I is the upper case of both i and the Turkish ı, and İ that of i; without this rule a name in
    capitals would not match the same name in small letters. A character in upper, lower and title
    case and in all its Unicode forms gives one text.
    """
    return _folded(text, one_i=True)


def meant(name: str, names: Iterable[str], fold: Callable[[str], str] = comparable) -> str | None:
    """Return the one of ``names`` that equals ``name``, or the only one that folds to the same.

    None if several or none do.
    """
    all_names = list(names)
    if name in all_names:
        return name
    alike = [each for each in all_names if fold(each) == fold(name)]
    return alike[0] if len(alike) == 1 else None


def _folded(text: str, *, one_i: bool) -> str:
    if text.isascii() and text.isprintable():
        return " ".join(text.lower().split())
    text = _BLANK.sub(
        " ", _INVISIBLE.sub("", normalize("NFKC", text.encode("utf-8", "replace").decode()))
    )
    # Decomposes first: folding case may need the marks in canonical order (Unicode, D146).
    text = normalize("NFD", text).casefold()
    if one_i:
        text = _DOTTED_I.sub("i", text.replace("ı", "i"))
    return " ".join(normalize("NFKC", normalize("NFKC", text).casefold()).split())


def name_for(name: str, used_names: Iterable[str], *, fold: bool, most_bytes: int | None) -> str:
    """Return the name of a column or table at a destination, unlike the names used there.

    ``fold``: the destination ignores case. ``most_bytes``: a longer name is cut and ends with a
    hash of the full name; None for no limit.
    """
    used = {each.casefold() if fold else each for each in used_names}
    base = clean(name).strip() or "column"
    found, number = _cut(base, most_bytes, ""), 1
    while (found.casefold() if fold else found) in used:
        number += 1
        found = _cut(base, most_bytes, f"_{number}")
    return found


def _cut(name: str, most_bytes: int | None, suffix: str) -> str:
    full = name + suffix
    if most_bytes is None or len(full.encode()) <= most_bytes:
        return full
    end = f"_{hashlib.sha256(name.encode()).hexdigest()[:8]}{suffix}"
    return name.encode()[: most_bytes - len(end)].decode(errors="ignore") + end
