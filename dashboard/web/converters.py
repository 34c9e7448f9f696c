"""Converters of URL variables."""

from typing import Any

from werkzeug.routing import IntegerConverter, Map


class Id(IntegerConverter):
    """``<int:…>`` in a path: a number that fits an id column of both databases; else 404."""

    regex = "[0-9]+"

    def __init__(self, map: Map, *args: Any, **more: Any) -> None:
        super().__init__(map, *args, **{"max": 2**63 - 1, **more})
