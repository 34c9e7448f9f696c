"""Texts that spreadsheets run as formulas, and readers of CSV files with other separators."""

import csv
import io
import json
import re
from collections.abc import Iterator, Sequence
from typing import Any
from urllib.parse import quote
from zlib import crc32

import requests

from tests.security.hostile_api import PAYLOAD, HostileApi

SIGNS = "=+-@＝＋－＠﹦﹢﹣﹫"
# Characters that readers drop at the start of a text.
BEFORE = ("", " ", "\t", "\r", "\n", "\r\n", "\x0b", "\x0c", "\x00", "\x1f", "\x85", "\xa0",
    "\u200b", "\u2028", "\u3000", "\ufeff", '"', '""', "\ufeff \"")  # fmt: skip
# The end of a cell, or of a record, for some readers.
WITHIN = (
    "",
    "a;",
    'a;"',
    "a; ",
    "a;\u3000",
    "a\n",
    "a\r\n",
    "a\r",
    "a\t",
    'a\n"',
    "a;b\n \ufeff",
    '";',
    '"\n',
)
STARTS = tuple(
    dict.fromkeys(part + before + sign for part in WITHIN for before in BEFORE for sign in SIGNS)
)


def cells_of(content: str) -> Iterator[tuple[str, str]]:
    """Yield every cell with its separator, and every line's start without quotes."""
    for separator in ",;\t":
        for record in csv.reader(io.StringIO(content, newline=""), delimiter=separator):
            yield from ((f"separated by {separator!r}", cell) for cell in record)
    for separator in ";\t":
        for record in csv.reader(
            re.split(r"\r\n|\r|\n", content), delimiter=separator, quoting=csv.QUOTE_NONE
        ):
            yield from ((f"separated by {separator!r}, without quotes", cell) for cell in record)


def is_formula(cell: str) -> bool:
    """Return whether a spreadsheet would run it; a number is no formula.

    Written without the code under test.
    """
    start = cell
    while start and (start[0].isspace() or not start[0].isprintable() or start[0] in '"\u3000'):
        start = start[1:]
    if not start or start[0] not in SIGNS:
        return False
    try:
        float(cell)
    except ValueError:
        return True
    return False


class FormulaApi(HostileApi):
    """A hostile API with a formula in front of each text; equal texts get equal formulas."""

    def __init__(self, accounts: set[int], starts: Sequence[str]) -> None:
        super().__init__(accounts)
        self._starts = starts

    def send(self, request: requests.PreparedRequest, *args: Any, **more: Any) -> requests.Response:
        for start in self._starts:
            request.url = (request.url or "").replace(
                quote(start, safe=""), quote(PAYLOAD, safe="")
            )
        return super().send(request, *args, **more)

    def start_of(self, text: str) -> str:
        return self._starts[crc32(text.encode()) % len(self._starts)]

    def _made_hostile(self, path: str, content: bytes) -> bytes:
        lines = super()._made_hostile(path, content).split(b"\n")
        try:
            return b"\n".join(
                json.dumps(self._with_formulas(json.loads(line))).encode() for line in lines
            )
        except ValueError:
            return b"\n".join(lines)

    def _with_formulas(self, body: Any) -> Any:
        if isinstance(body, str):
            rest = body.removeprefix(PAYLOAD)
            return body if rest == body else self.start_of(rest) + rest
        if isinstance(body, list):
            return [self._with_formulas(each) for each in body]
        if isinstance(body, dict):
            return {
                self._with_formulas(name): self._with_formulas(value)
                for name, value in body.items()
            }
        return body
