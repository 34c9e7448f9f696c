"""Tables and rows as pure functions of their ids; nothing is computed before a request.

Rows have the form of a real Baserow server's: numbers as strings, selects and links as objects.
"""

import json
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from dataclasses import field as field_of
from datetime import UTC, datetime, timedelta
from typing import Any

from dashboard.sandbox.connectors import Connector
from dashboard.sandbox.seed import FIRST_ACCOUNT, World

MILLION = 1_000_000
# The million rows contain each amount from 0.00 to 9999.99 once. The multiplier has no common
# factor with the count, so the row of an amount is computed as easily as the amount of a row.
MIXER = 736_337
UNMIXER = pow(MIXER, -1, MILLION)
BOOKED_EVERY = 5
# Rows arrived in the order of their numbers, this far apart; the two columns have the time.
ROWS_APART = timedelta(minutes=7)
RECEIVED = ("Updated", "_sdc_received_at")
# Faults of the rows of one table, whatever the runs say; the last two only resemble faults.
DATA_FAULTS = (
    "duplicate_keys",
    "mixed_versions",
    "table_stale",
    "parent_table_empty",
    "versions_retired",
    "parent_has_rows",
)
LEAST_ROWS = 100
STALE_FOR = timedelta(days=10)
CHILD, CHILD_POSITIONS = "lines", 5
FIRST_VERSION, VERSIONS_APART = 1_764_000_000_000, 86_400_000
PEOPLE = ("Ada", "Bruno", "Chloé", "Dmitri", "Élodie", "Fatima", "Gün", "Håkon", "Łukasz", "María")
COUNTRIES = (
    (1, "Belgium", "light-yellow"),
    (2, "Deutschland", "light-red"),
    (3, "السعودية", "light-green"),
)

STATUSES = ((4, "Open", "light-blue"), (5, "Paid", "light-green"), (6, "Late", "red"))
TAGS = ((8, "urgent", "red"), (9, "urgent", "blue"))


@dataclass(frozen=True)
class Field:
    """A column.

    ``result``: the result type of a formula or lookup; ``item``: the type of the items where that
    is "array". ``settings``: settings besides those that every field of the type has.
    """

    id: int
    name: str
    type: str
    primary: bool = False
    result: str = ""
    item: str = ""
    settings: Mapping[str, Any] = field_of(default_factory=dict, compare=False)


@dataclass(frozen=True)
class Table:
    """A table. Its id consists of the database's id and its number; ``kind`` decides its rows.

    ``connection_id``: the connection whose runs load it. ``received_at``: when its newest row
    arrived; None: unknown or never. ``schema``: its schema in the warehouse. ``fault``: one of
    ``DATA_FAULTS``. The last ``copies`` rows have the keys and values of the first ones.
    """

    id: int
    database_id: int
    name: str
    kind: str
    count: int
    connection_id: int | None = None
    received_at: datetime | None = None
    schema: str = "public"
    fault: str = ""
    copies: int = 0

    def key(self, number: int) -> int:
        """Return the source's key of row ``number``: its ``id`` in the warehouse."""
        distinct = self.count - self.copies
        return number - distinct if number > distinct else number


_MONEY = (
    ("Number", "text"),
    ("Customer", "text"),
    ("Amount", "number"),
    ("Due", "date"),
    ("Paid", "boolean"),
    ("Status", "single_select"),
    ("Updated", "last_modified"),
    ("_sdc_received_at", "date"),
)
# Names and types; the type of a formula or lookup is followed by the type of its result.
SHAPES: dict[str, tuple[tuple[str, str], ...]] = {
    "money": _MONEY,
    # A money table that is loaded as snapshots, each with a version.
    "snapshot": (*_MONEY, ("_sdc_table_version", "number"), ("_sdc_deleted_at", "date")),
    "people": (
        ("Full name", "text"),
        ("E-mail", "email"),
        ("Phone", "phone_number"),
        ("Country", "single_select"),
        ("Newsletter", "boolean"),
        ("Notes", "long_text"),
        ("Website", "url"),
    ),
    "million": (
        ("Nr", "autonumber"),
        ("Reference", "text"),
        ("Amount", "number"),
        ("At", "date"),
        ("Booked", "boolean"),
    ),
    "wide": tuple((f"Column {n:03}", "number" if n % 3 else "text") for n in range(1, 201)),
    "empty": (("Name", "text"), ("Value", "number")),
    "everything": (
        ("Title", "text"),
        ("Long", "long_text"),
        ("Amount", "number"),
        ("amount", "text"),
        ("Precise", "number"),
        ("Stars", "rating"),
        ("Active", "boolean"),
        ("Due", "date"),
        ("Meeting", "date"),
        ("Website", "url"),
        ("Files", "file"),
        ("Status", "single_select"),
        ("Tags", "multiple_select"),
        ("Customers", "link_row"),
        ("Lookup", "lookup/array/single_select"),
        ("Owner", "created_by"),
        ("UUID", "uuid"),
        ("Took", "duration"),
        ("JSON", "long_text"),
        ("Secret", "password"),
        ("Broken", "formula/number"),
        ("Link", "formula/link"),
        ("Payload", "json"),
        ("Empty", "text"),
        ('Quote " dot . slash / 😀', "text"),
        ("Name, with comma", "text"),
        ("<b>bold</b>", "text"),
        ("العنوان", "text"),
    ),
}
PAYLOADS: tuple[Any, ...] = (
    {"lines": [{"sku": "A-1", "qty": 2}], "paid": None},
    [1, "two", None, True, [3]],
    "text",
    12.5,
    True,
    None,
    {},
    [],
)
HOSTILE = (
    "<script>alert(1)</script>",
    "=1+1",
    "@SUM(A1)",
    "Robert'); DROP TABLE rows;--",
    "‮reversed",
    "🏴‍☠️ emoji",
    "",
    None,
    "مرحبا بالعالم",
    '"quoted", with comma',
)
# Tables of the first account only: name, kind, number of rows.
SPECIAL_TABLES = (
    ("Everything", "everything", 60),
    ("Empty", "empty", 0),
    ("Ledger (1 million)", "million", MILLION),
    ("Wide (200 columns)", "wide", 300),
)


class Tables:
    """The databases and tables of a world."""

    def __init__(self, world: World) -> None:
        self.world = world

    def of_account(
        self,
        account_id: int,
        connectors: Sequence[tuple[int, Connector]],
        faults: Mapping[int, str] = {},
    ) -> list[Table]:
        """Return the tables that an account's connections load.

        ``connectors``, ``faults``: by the number of the connection in its account.
        """
        database_id = account_id * 10 + 1
        tables: list[Table] = []
        for position, connector in connectors:
            loaded = self._of_connection(account_id, position, connector)
            tables += _with_fault(loaded, faults.get(position, ""))
        if account_id == FIRST_ACCOUNT:
            tables += [
                Table(database_id * 1000 + 900 + n, database_id, *special)
                for n, special in enumerate(SPECIAL_TABLES)
            ]
        return tables

    def _of_connection(self, account_id: int, position: int, connector: Connector) -> list[Table]:
        database_id = account_id * 10 + 1
        return [
            Table(
                database_id * 1000 + position * 10 + number,
                database_id,
                f"{connector.name}_{name}",
                "people" if name in {"contacts", "customers"} else "money",
                self.world.number("rows", account_id, position, name) % 1200,
                account_id * 100 + position,
                schema=connector.schema(position),
            )
            for number, name in enumerate(connector.tables)
        ]

    def fields(self, table: Table) -> list[Field]:
        """Return a table's columns; the first is the primary one."""
        found = []
        for n, (name, spec) in enumerate(SHAPES[table.kind]):
            type_, result, item = (*spec.split("/"), "", "")[:3]
            found.append(Field(table.id * 1000 + n, name, type_, n == 0, result, item))
        return found

    def row(self, table: Table, number: int) -> dict[str, Any]:
        """Return row ``number`` (from 1), with user field names."""
        values = getattr(self, f"_{table.kind}")(table, number)
        return {"id": number, "order": f"{number}.00000000000000000000", **values}

    def ranked(self, table: Table, column: str, rank: int) -> int | None:
        """Return the number of the row at ``rank`` (from 0) in the ascending order of ``column``.

        None where that needs a read of every row; never for the larger tables.
        """
        if (
            table.kind in {"money", "snapshot"}
            and table.received_at is not None
            and column in RECEIVED
        ):
            return rank + 1
        if table.kind != "million":
            return None
        if column == "Amount":
            return rank * UNMIXER % MILLION + 1
        if column == "Booked":
            unbooked = table.count // BOOKED_EVERY
            if rank < unbooked:
                return (rank + 1) * BOOKED_EVERY
            block, position = divmod(rank - unbooked, BOOKED_EVERY - 1)
            return block * BOOKED_EVERY + position + 1
        return rank + 1

    def _n(self, table: Table, number: int, what: str) -> int:
        return self.world.number(table.id, number, what)

    def _money(self, table: Table, number: int) -> dict[str, Any]:
        received = (
            None
            if table.received_at is None
            else table.received_at - ROWS_APART * (table.count - number)
        )
        number = table.key(number)
        day = datetime(2026, 1, 1, tzinfo=UTC) + timedelta(hours=number * 7 % 7800)
        paid = self._n(table, number, "paid") % 3 > 0
        option = STATUSES[1 if paid else 2 if number % 7 == 0 else 0]
        return {
            "Number": f"2026-{number:05}",
            "Customer": f"{PEOPLE[self._n(table, number, 'who') % len(PEOPLE)]} Example",
            "Amount": f"{self._n(table, number, 'amount') % 900000 / 100:.2f}",
            "Due": f"{day:%Y-%m-%d}",
            "Paid": paid,
            "Status": _option(option),
            "Updated": f"{received or day:%Y-%m-%dT%H:%M:%SZ}",
            "_sdc_received_at": received and f"{received:%Y-%m-%dT%H:%M:%SZ}",
        }

    def _snapshot(self, table: Table, number: int) -> dict[str, Any]:
        """Make two rows of five part of the older snapshot.

        They are marked as deleted where that snapshot was retired.
        """
        is_old = number <= table.count * 2 // 5
        deleted = "2026-01-01T00:00:00Z" if is_old and table.fault == "versions_retired" else None
        version = str(FIRST_VERSION + (0 if is_old else VERSIONS_APART))
        return {
            **self._money(table, number),
            "_sdc_table_version": version,
            "_sdc_deleted_at": deleted,
        }

    def _people(self, table: Table, number: int) -> dict[str, Any]:
        first = PEOPLE[self._n(table, number, "first") % len(PEOPLE)]
        return {
            "Full name": f"{first} Example",
            "E-mail": f"contact{number}@example.com",
            "Phone": f"+32 2 555 {number % 10000:04}",
            "Country": _option(COUNTRIES[self._n(table, number, "land") % 3]),
            "Newsletter": number % 2 == 0,
            "Notes": None
            if number % 3
            else f"Met at the fair.\nCall back in week {number % 52 + 1}.",
            "Website": f"https://{number}.example.com/",
        }

    def _million(self, table: Table, number: int) -> dict[str, Any]:
        at = datetime(2024, 1, 1, tzinfo=UTC) + timedelta(minutes=number)
        return {
            "Nr": number,
            "Reference": f"LED-{number:07}",
            "Amount": f"{(number - 1) * MIXER % MILLION / 100:.2f}",
            "At": f"{at:%Y-%m-%dT%H:%M:%SZ}",
            "Booked": number % BOOKED_EVERY > 0,
        }

    def _wide(self, table: Table, number: int) -> dict[str, Any]:
        return {
            f"Column {n:03}": str(number * n) if n % 3 else f"Cell {number}/{n}"
            for n in range(1, 201)
        }

    def _empty(self, table: Table, number: int) -> dict[str, Any]:
        return {"Name": None, "Value": None}

    def _everything(self, table: Table, number: int) -> dict[str, Any]:
        text = HOSTILE[number % len(HOSTILE)]
        link = f"https://example.com/i/{number}"
        file = {
            "url": f"{link}.pdf",
            "thumbnails": None,
            "visible_name": f"invoice {number}.pdf",
            "name": "x.pdf",
            "size": 2048,
            "mime_type": "application/pdf",
            "is_image": False,
            "image_width": None,
            "image_height": None,
            "uploaded_at": "2026-02-02T01:30:00+00:00",
        }
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
            "Status": _option(STATUSES[1]) if number % 2 else None,
            "Tags": [_option(tag) for tag in TAGS[: number % 3]],
            "Customers": [
                {"id": n, "value": f"Customer {n} & Søn", "order": f"{n}.00000000000000000000"}
                for n in range(150 if number == 3 else number % 4)
            ],
            "Lookup": [{"id": 1, "value": _option(COUNTRIES[0])}],
            "Owner": {"id": 1, "name": "Ada Example"},
            "UUID": str(uuid.UUID(int=self._n(table, number, "uuid"))),
            "Took": 61.5 if number % 2 else None,
            "JSON": json.dumps({"n": number, "list": [1, None, True]}),
            "Secret": True if number % 2 else None,
            "Broken": "NaN",
            "Link": {"url": link, "label": None if number % 2 else "Open"},
            "Payload": PAYLOADS[number % len(PAYLOADS)],
            "Empty": None,
            'Quote " dot . slash / 😀': "@SUM(A1)",
            "Name, with comma": "value, 1",
            "<b>bold</b>": "<i>x</i>",
            "العنوان": "قيمة",
        }


def _with_fault(tables: Sequence[Table], fault: str) -> list[Table]:
    """Return a connection's tables with a fault in one of them.

    The faulty table is the first, or the first that has the times at which rows arrived.
    """
    if not fault:
        return list(tables)
    if fault in {"parent_table_empty", "parent_has_rows"}:
        first, *others = tables
        count = 0 if fault == "parent_table_empty" else max(first.count, LEAST_ROWS)
        child = replace(
            first,
            id=first.id + CHILD_POSITIONS,
            name=f"{first.name}_{CHILD}",
            kind="money",
            count=2 * LEAST_ROWS,
        )
        return [replace(first, count=count, fault=fault), child, *others]
    chosen = next(each for each in tables if each.kind == "money")
    count = max(chosen.count, LEAST_ROWS)
    copies = count // 10 if fault == "duplicate_keys" else 0
    kind = "snapshot" if fault in {"mixed_versions", "versions_retired"} else chosen.kind
    faulty = replace(chosen, count=count + copies, copies=copies, kind=kind, fault=fault)
    return [faulty if each is chosen else each for each in tables]


def _option(option: tuple[int, str, str]) -> dict[str, Any]:
    return {"id": option[0], "value": option[1], "color": option[2]}
