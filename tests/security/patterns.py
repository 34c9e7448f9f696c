"""Texts that are slow for a regular expression: of its characters and of partial matches."""

import re
import re._constants as sre  # type: ignore[import-not-found]
import re._parser as parser  # type: ignore[import-not-found]
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from itertools import islice, product
from typing import Any

MEGABYTE = 1_000_000
# Candidates for members of a class of characters, in this order.
_SAMPLES = [
    *"aA1_ .-@/:\n\"'+(,;=<",
    *map(chr, range(33, 127)),
    "\x00",
    "é",
    "\u2028",
    "\ud800",
    "\u200b",
]
_OTHERS = ("a", "A", "1", " ", "\n", ".", "@", "\x00")
_MOST_WITNESSES, _MOST_LETTERS = 60, 16


def hostile_texts(pattern: "re.Pattern[Any]") -> list[Callable[[int], Any]]:
    """Return functions that make a text of a given length; bytes for a pattern of bytes."""
    if isinstance(pattern.pattern, bytes):
        return [partial(_as_bytes, build) for build in _texts(pattern)]
    return list(_texts(pattern))


def _as_bytes(build: Callable[[int], str], size: int) -> bytes:
    return build(size).encode("latin-1", "replace")


def _texts(pattern: "re.Pattern[Any]") -> list[Callable[[int], str]]:
    tree = list(parser.parse(pattern.pattern, pattern.flags))
    letters = list(dict.fromkeys(_letters(tree)))
    ends = list(dict.fromkeys([*letters[:_MOST_LETTERS], *_OTHERS]))
    parts = {a + b for a, b in product(ends, repeat=2)} | set(ends) | set(letters)
    witnesses = dict.fromkeys(
        word
        for many in (1, 2, 5)
        for word in islice(_witnesses(tree, many), _MOST_WITNESSES)
        if word
    )
    beginnings = {word[:end] for word in witnesses for end in range(1, min(len(word), 40) + 1)}
    parts |= beginnings | {word + end for word in witnesses for end in (" ", "\n", "a", "\x00")}
    texts = [partial(_repeated, "", part) for part in sorted(parts)]
    return texts + [
        partial(_repeated, word, end) for word in sorted(beginnings)[:200] for end in ends
    ]


def _repeated(start: str, part: str, size: int) -> str:
    """Repeat ``part`` after ``start``, with an end that no pattern matches."""
    return (start + part * (size // len(part) + 1))[: size - 2] + "\x00!"


def _letters(tree: Iterable[Any]) -> Iterator[str]:
    """Yield a character for each class and each literal in a pattern."""
    for kind, value in tree:
        if kind is sre.LITERAL:
            yield chr(value)
        elif kind in {sre.IN, sre.NOT_LITERAL, sre.ANY}:
            yield from islice(_members(kind, value), 3)
        else:
            for inner in _inside(kind, value):
                yield from _letters(inner)


def _members(kind: Any, value: Any) -> Iterator[str]:
    if kind is sre.ANY:
        return iter(_SAMPLES)
    items = value if kind is sre.IN else [(sre.NEGATE, None), (sre.LITERAL, value)]
    compiled = re.compile(
        f"[{'^' if items[0][0] is sre.NEGATE else ''}{''.join(map(_written, items))}]"
    )
    own = [
        chr(item[1]) if item[0] is sre.LITERAL else chr(item[1][0])
        for item in items
        if item[0] in {sre.LITERAL, sre.RANGE}
    ]
    return (each for each in [*_SAMPLES, *own] if compiled.fullmatch(each))


def _written(item: tuple[Any, Any]) -> str:
    """Return a part of a class of characters in a pattern's syntax."""
    kind, value = item
    if kind is sre.LITERAL:
        return re.escape(chr(value))
    if kind is sre.RANGE:
        return f"{re.escape(chr(value[0]))}-{re.escape(chr(value[1]))}"
    names = {"DIGIT": "d", "SPACE": "s", "WORD": "w"}
    if kind is sre.CATEGORY:
        word = str(value).removeprefix("CATEGORY_")
        return "\\" + (names[word[4:]].upper() if word.startswith("NOT_") else names[word])
    return ""


def _inside(kind: Any, value: Any) -> list[Any]:
    """Return the parts of a pattern inside one of its nodes."""
    if kind is sre.BRANCH:
        return list(value[1])
    if kind in {sre.MAX_REPEAT, sre.MIN_REPEAT, sre.POSSESSIVE_REPEAT}:
        return [value[2]]
    if kind is sre.SUBPATTERN:
        return [value[3]]
    if kind in {sre.ASSERT, sre.ASSERT_NOT}:
        return [value[1]]
    return [value] if kind is sre.ATOMIC_GROUP else []


def _witnesses(tree: Iterable[Any], many: int) -> Iterator[str]:
    """Yield texts that a pattern nearly matches: repetitions ``many`` times where allowed."""
    choices = []
    for kind, value in tree:
        if kind is sre.LITERAL:
            choices.append([chr(value)])
        elif kind in {sre.IN, sre.NOT_LITERAL, sre.ANY}:
            choices.append(list(islice(_members(kind, value), 1)))
        elif kind in {sre.MAX_REPEAT, sre.MIN_REPEAT, sre.POSSESSIVE_REPEAT}:
            count = min(max(value[0], many), int(value[1]))
            choices.append([word * count for word in islice(_witnesses(value[2], many), 12)])
        elif kind in {sre.ASSERT, sre.ASSERT_NOT, sre.AT, sre.GROUPREF}:
            continue
        else:
            choices.append(
                [
                    word
                    for inner in _inside(kind, value)
                    for word in islice(_witnesses(inner, many), 12)
                ]
            )
    return ("".join(words) for words in product(*choices))
