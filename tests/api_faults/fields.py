"""Responses in which one field is null, missing or renamed, for each of their fields."""

from collections.abc import Iterator
from copy import deepcopy
from typing import Any


def variants(good: Any) -> Iterator[tuple[str, str, Any]]:
    """Yield a field's path ("data.tables.name": of all items), the change, and the response."""
    for path in sorted(set(_paths(good))):
        for what in ("null", "missing"):
            changed = deepcopy(good)
            _change(changed, path.split("."), what)
            yield path, what, changed


def renamed(good: Any, path: str, name: str, *, beside_null: bool = False) -> Any:
    """Return the response with a renamed field; ``beside_null``: the usual name is null."""
    changed = deepcopy(good)
    _change(changed, path.split("."), name, beside_null=beside_null)
    return changed


def _paths(content: Any, above: str = "") -> Iterator[str]:
    if isinstance(content, list):
        for item in content:
            yield from _paths(item, above)
    elif isinstance(content, dict):
        for name, value in content.items():
            path = f"{above}.{name}" if above else name
            yield path
            yield from _paths(value, path)


def _change(content: Any, path: list[str], what: str, *, beside_null: bool = False) -> None:
    if isinstance(content, list):
        for item in content:
            _change(item, path, what, beside_null=beside_null)
        return
    name, *rest = path
    if rest:
        _change(content[name], rest, what, beside_null=beside_null)
    elif what == "null":
        content[name] = None
    elif what == "missing":
        content.pop(name, None)
    else:
        value = content.pop(name)
        content.update({name: None, what: value} if beside_null else {what: value})
