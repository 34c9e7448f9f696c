"""Tables and rows as pure functions of their ids: a million rows cost nothing until they are asked for.

Rows have Baserow's shapes (numbers as strings, selects and links as objects). Search, filters and sorts look at the first
``SCANNED`` rows of a larger table only; sorting by the row number works at any size.
"""

import json
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from dashboard.sandbox.connectors import Connector
from dashboard.sandbox.world import FIRST_ACCOUNT, World

SCANNED = 5_000
MILLION = 1_000_000
PEOPLE = ("Ada", "Bruno", "Chloé", "Dmitri", "Élodie", "Fatima", "Gün", "Håkon", "Łukasz", "María")
COUNTRIES = ((1, "Belgium", "light-yellow"), (2, "Deutschland", "light-red"), (3, "السعودية", "light-green"))


@dataclass(frozen=True)
class Field:
    """A column."""

    id: int
    name: str
    type: str


@dataclass(frozen=True)
class Table:
    """A table. Its id is its database's id and its place; ``kind`` decides what is in it."""

    id: int
    database_id: int
    name: str
    kind: str
    count: int


SHAPES: dict[str, tuple[tuple[str, str], ...]] = {
    "money": (("Number", "text"), ("Customer", "text"), ("Amount", "number"), ("Due", "date"), ("Paid", "boolean"),
              ("Status", "single_select"), ("Updated", "last_modified"), ("_sdc_received_at", "date")),
    "people": (("Full name", "text"), ("E-mail", "email"), ("Phone", "phone_number"), ("Country", "single_select"),
               ("Newsletter", "boolean"), ("Notes", "long_text"), ("Website", "url")),
    "million": (("Nr", "autonumber"), ("Reference", "text"), ("Amount", "number"), ("At", "date"), ("Booked", "boolean")),
    "wide": tuple((f"Column {n:03}", "number" if n % 3 else "text") for n in range(1, 201)),
    "empty": (("Name", "text"), ("Value", "number")),
    "everything": (
        ("Title", "text"), ("Long", "long_text"), ("Amount", "number"), ("amount", "text"), ("Precise", "number"),
        ("Stars", "rating"),
        ("Active", "boolean"), ("Due", "date"), ("Meeting", "date"), ("Website", "url"), ("Files", "file"),
        ("Status", "single_select"), ("Tags", "multiple_select"), ("Customers", "link_row"), ("Lookup", "lookup"),
        ("Owner", "created_by"), ("UUID", "uuid"),
        ("Took", "duration"), ("JSON", "long_text"), ("Secret", "password"), ("Broken", "formula"), ("Link", "formula"),
        ('Quote " dot . slash / 😀', "text"), ("Name, with comma", "text"), ("<b>bold</b>", "text"), ("العنوان", "text"),
    ),
}  # fmt: skip
HOSTILE = ("<script>alert(1)</script>", "=1+1", "@SUM(A1)", "Robert'); DROP TABLE rows;--", "‮reversed", "🏴‍☠️ emoji", "", None,
           "مرحبا بالعالم", '"quoted", with comma')  # fmt: skip


class Tables:
    """The databases and tables of a world."""

    def __init__(self, world: World) -> None:
        self.world = world

    def of_account(self, account_id: int, connectors: Sequence[tuple[int, Connector]]) -> list[Table]:
        """The tables that an account's connections load. ``connectors``: by the place of the connection."""
        database_id = account_id * 10 + 1
        tables = []
        for place, connector in connectors:
            for number, name in enumerate(connector.tables):
                kind = "people" if name in {"contacts", "customers"} else "money"
                count = self.world.number("rows", account_id, place, name) % 1200
                tables.append(
                    Table(database_id * 1000 + place * 10 + number, database_id, f"{connector.name}_{name}", kind, count)
                )
        if account_id == FIRST_ACCOUNT:
            specials = (("Everything", "everything", 60), ("Empty", "empty", 0), ("Ledger (1 million)", "million", MILLION),
                        ("Wide (200 columns)", "wide", 300))  # fmt: skip
            tables += [Table(database_id * 1000 + 900 + n, database_id, *special) for n, special in enumerate(specials)]
        return tables

    def fields(self, table: Table) -> list[Field]:
        """A table's columns; the first is the primary one."""
        return [Field(table.id * 1000 + n, name, type_) for n, (name, type_) in enumerate(SHAPES[table.kind])]

    def row(self, table: Table, number: int) -> dict[str, Any]:
        """Row ``number`` (from 1), with user field names."""
        values = getattr(self, f"_{table.kind}")(table, number)
        return {"id": number, "order": f"{number}.00000000000000000000", **values}

    def page(self, table: Table, query: Mapping[str, str], page: int, size: int) -> tuple[int, list[dict[str, Any]]]:
        """The count after search and filters, and the rows of one page.

        Raises:
            LookupError: ``order_by`` names an unknown column.
        """
        names = {field.name: field for field in self.fields(table)}
        order = [part.strip().strip('"') for part in _split(query.get("order_by", "")) if part.strip()]
        orders = [(part.removeprefix("-").strip('"'), part.startswith("-")) for part in order]
        unknown = [name for name, _ in orders if name not in names]
        if unknown:
            raise LookupError(unknown[0])
        filters = [(key.split("__"), value) for key, value in query.items() if key.startswith("filter__")]
        known = [(parts[1], parts[2], value) for parts, value in filters if len(parts) == 3 and parts[1] in names]
        search = query.get("search", "").lower()
        start = (page - 1) * size
        plain = not known and not search
        if plain and (not orders or (table.kind == "million" and orders[0][0] in {"Nr", "Reference"})):
            numbers = range(table.count, 0, -1) if orders and orders[0][1] else range(1, table.count + 1)
            return table.count, [self.row(table, number) for number in numbers[start : start + size]]
        rows = [self.row(table, number) for number in range(1, min(table.count, SCANNED) + 1)]
        rows = [row for row in rows if _matches(row, known) and (not search or search in _searched(row))]
        for name, descending in reversed(orders):
            rows.sort(key=lambda row: _key(row[name]), reverse=descending)
        return (table.count if plain else len(rows)), rows[start : start + size]

    def _n(self, table: Table, number: int, what: str) -> int:
        return self.world.number(table.id, number, what)

    def _money(self, table: Table, number: int) -> dict[str, Any]:
        day = datetime(2026, 1, 1, tzinfo=UTC) + timedelta(hours=number * 7 % 7800)
        paid = self._n(table, number, "paid") % 3 > 0
        option = ((4, "Open", "light-blue"), (5, "Paid", "light-green"), (6, "Late", "red"))[paid or (number % 7 == 0 and 2) or 0]
        return {
            "Number": f"2026-{number:05}",
            "Customer": f"{PEOPLE[self._n(table, number, 'who') % len(PEOPLE)]} Example",
            "Amount": f"{self._n(table, number, 'amount') % 900000 / 100:.2f}",
            "Due": f"{day:%Y-%m-%d}",
            "Paid": paid,
            "Status": _option(option),
            "Updated": f"{day:%Y-%m-%dT%H:%M:%SZ}",
            "_sdc_received_at": f"{day + timedelta(hours=2):%Y-%m-%dT%H:%M:%SZ}",
        }

    def _people(self, table: Table, number: int) -> dict[str, Any]:
        first = PEOPLE[self._n(table, number, "first") % len(PEOPLE)]
        return {
            "Full name": f"{first} Example",
            "E-mail": f"contact{number}@example.com",
            "Phone": f"+32 2 555 {number % 10000:04}",
            "Country": _option(COUNTRIES[self._n(table, number, "land") % 3]),
            "Newsletter": number % 2 == 0,
            "Notes": None if number % 3 else f"Met at the fair.\nCall back in week {number % 52 + 1}.",
            "Website": f"https://{number}.example.com/",
        }

    def _million(self, table: Table, number: int) -> dict[str, Any]:
        at = datetime(2024, 1, 1, tzinfo=UTC) + timedelta(minutes=number)
        return {
            "Nr": number,
            "Reference": f"LED-{number:07}",
            "Amount": f"{self._n(table, number, 'amount') % 10**7 / 100:.2f}",
            "At": f"{at:%Y-%m-%dT%H:%M:%SZ}",
            "Booked": number % 5 > 0,
        }

    def _wide(self, table: Table, number: int) -> dict[str, Any]:
        return {f"Column {n:03}": str(number * n) if n % 3 else f"Cell {number}/{n}" for n in range(1, 201)}

    def _empty(self, table: Table, number: int) -> dict[str, Any]:
        return {"Name": None, "Value": None}

    def _everything(self, table: Table, number: int) -> dict[str, Any]:
        text = HOSTILE[number % len(HOSTILE)]
        link = f"https://example.com/i/{number}"
        file = {"url": f"{link}.pdf", "thumbnails": None, "visible_name": f"invoice {number}.pdf", "name": "x.pdf", "size": 2048,
                "mime_type": "application/pdf", "is_image": False, "image_width": None, "image_height": None,
                "uploaded_at": "2026-02-02T01:30:00+00:00"}  # fmt: skip
        return {
            "Title": text,
            "Long": "A very long text. " * 1200 if number == 2 else text,
            "Amount": ("-99999999999999999999.99", "9007199254740993", "0.00", None)[number % 4],
            "amount": "lower-case twin",
            "Precise": "1" * 50 if number % 5 == 0 else None,
            "Stars": number % 6,
            "Active": number % 2 == 0,
            "Due": ("0001-01-02", "9999-12-31", "2026-02-02", None)[number % 4],
            "Meeting": "2026-02-02T01:30:00.123456Z" if number % 2 else None,
            "Website": link,
            "Files": [file] if number % 3 == 0 else [],
            "Status": _option((5, "Paid", "light-green")) if number % 2 else None,
            "Tags": [_option((8, "urgent", "red")), _option((9, "urgent", "blue"))][: number % 3],
            "Customers": [
                {"id": n, "value": f"Customer {n} & Søn", "order": "1"} for n in range(150 if number == 3 else number % 4)
            ],
            "Lookup": [{"id": 1, "value": _option(COUNTRIES[0])}],
            "Owner": {"id": 1, "name": "Ada Example"},
            "UUID": str(uuid.UUID(int=self._n(table, number, "uuid"))),
            "Took": 61.5 if number % 2 else None,
            "JSON": json.dumps({"n": number, "list": [1, None, True]}),
            "Secret": True if number % 2 else None,
            "Broken": "NaN",
            "Link": {"url": link, "label": None if number % 2 else "Open"},
            'Quote " dot . slash / 😀': "@SUM(A1)",
            "Name, with comma": "value, 1",
            "<b>bold</b>": "<i>x</i>",
            "العنوان": "قيمة",
        }


def _option(option: tuple[int, str, str]) -> dict[str, Any]:
    return {"id": option[0], "value": option[1], "color": option[2]}


def _split(order_by: str) -> list[str]:
    parts, quoted = [""], False
    for character in order_by:
        quoted ^= character == '"'
        if character == "," and not quoted:
            parts.append("")
        else:
            parts[-1] += character
    return parts


def _text(value: Any) -> str:
    if isinstance(value, dict):
        return str(value.get("value", value.get("name", value.get("url", ""))))
    if isinstance(value, list):
        return ", ".join(_text(each) for each in value)
    return "" if value is None else str(value)


def _searched(row: dict[str, Any]) -> str:
    return "\n".join(_text(value) for value in row.values()).lower()


def _key(value: Any) -> tuple[int, float, str]:
    if value is None:
        return (0, 0.0, "")
    try:
        return (1, float(_text(value)), "")
    except ValueError:
        return (1, 0.0, _text(value).lower())


def _matches(row: dict[str, Any], filters: list[tuple[str, str, str]]) -> bool:
    tests: dict[str, Callable[[str, str], bool]] = {
        "equal": lambda have, want: have == want,
        "not_equal": lambda have, want: have != want,
        "contains": lambda have, want: want.lower() in have.lower(),
        "contains_not": lambda have, want: want.lower() not in have.lower(),
        "higher_than": lambda have, want: bool(have) and float(have) > float(want),
        "lower_than": lambda have, want: bool(have) and float(have) < float(want),
        "empty": lambda have, want: not have,
        "not_empty": lambda have, want: bool(have),
        "boolean": lambda have, want: (have == "True") == (want.lower() in {"1", "true"}),
    }
    for name, kind, want in filters:
        try:
            if kind in tests and not tests[kind](_text(row[name]), want):
                return False
        except ValueError:
            return False
    return True
