"""Answers in which one field is null, or missing: of each that there is."""

from collections.abc import Iterator
from copy import deepcopy
from typing import Any


def variants(good: Any) -> Iterator[tuple[str, str, Any]]:
    """Each field's name ("data.tables.name": of every item of a list), what was done to it, and the answer with that."""
    for path in sorted(set(_paths(good))):
        for what in ("null", "missing"):
            changed = deepcopy(good)
            _change(changed, path.split("."), what)
            yield path, what, changed


def _paths(told: Any, above: str = "") -> Iterator[str]:
    if isinstance(told, list):
        for each in told:
            yield from _paths(each, above)
    elif isinstance(told, dict):
        for name, value in told.items():
            path = f"{above}.{name}" if above else name
            yield path
            yield from _paths(value, path)


def _change(told: Any, path: list[str], what: str) -> None:
    if isinstance(told, list):
        for each in told:
            _change(each, path, what)
        return
    name, *rest = path
    if rest:
        _change(told[name], rest, what)
    elif what == "null":
        told[name] = None
    else:
        told.pop(name, None)
