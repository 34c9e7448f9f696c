"""A table of the sandbox that a test fills, and a console command that kills itself.

``python -m tests.support.sample_tables N …`` runs the command and kills it at step N.
"""

import os
import signal
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import pytest

from dashboard.sandbox import baserow_fields as sandbox_fields
from dashboard.sandbox.tables import Field, Table
from tests.support.sandbox import Sandbox

ACCOUNT, TABLE = 1001, 10011950
COLUMNS = {"Name": "text", "Amount": "number", "Updated": "last_modified"}


@dataclass
class OwnTable:
    """A table of the sandbox as the API returns it.

    ``before_row`` is called with the number of each row that is read. ``settings``: settings of
    fields besides their type.
    """

    rows: list[dict[str, Any]] = field(default_factory=list)
    columns: dict[str, str] = field(default_factory=lambda: dict(COLUMNS))
    before_row: Callable[[int], None] = lambda _: None
    is_removed: bool = False
    settings: dict[str, dict[str, Any]] = field(default_factory=dict)

    def put(self, row_id: int, updated: str, **values: Any) -> None:
        """Add a row, or replace the row with this id."""
        row = {
            "id": row_id,
            "order": f"{row_id}.0",
            "Name": f"Row {row_id}",
            "Amount": f"{row_id}.50",
            "Updated": updated,
            **values,
        }
        for index, each in enumerate(self.rows):
            if each["id"] == row_id:
                self.rows[index] = row
                return
        self.rows.append(row)

    def delete(self, row_id: int) -> None:
        self.rows = [each for each in self.rows if each["id"] != row_id]

    def install(self, sandbox: Sandbox, patch: pytest.MonkeyPatch) -> None:
        """Add the table to those of the first account."""
        tables = sandbox.app.extensions["sandbox"].tables
        real = {name: getattr(tables, name) for name in ("of_account", "fields", "row", "ranked")}

        def of_account(account_id: int, *more: Any) -> list[Table]:
            found: list[Table] = real["of_account"](account_id, *more)
            mine = (
                [] if self.is_removed else [Table(TABLE, 10011, "Own table", "own", len(self.rows))]
            )
            return found + mine if account_id == ACCOUNT else found

        def fields(table: Table) -> Any:
            mine = [
                Field(TABLE * 1000 + n, *each, n == 0)
                for n, each in enumerate(self.columns.items())
            ]
            return mine if table.kind == "own" else real["fields"](table)

        def row(table: Table, number: int) -> Any:
            if table.kind != "own":
                return real["row"](table, number)
            self.before_row(number)
            have = (
                self.rows[number - 1]
                if number <= len(self.rows)
                else {"id": -number, "order": "0.0"}
            )
            return {**dict.fromkeys(self.columns), **have}

        real_settings = sandbox_fields._settings

        def settings(table: Table, field: Field) -> dict[str, Any]:
            mine = self.settings.get(field.name) if table.kind == "own" else None
            return real_settings(table, field) if mine is None else mine

        patch.setattr(sandbox_fields, "_settings", settings)
        patch.setattr(tables, "of_account", of_account)
        patch.setattr(tables, "fields", fields)
        patch.setattr(tables, "row", row)
        patch.setattr(
            tables,
            "ranked",
            lambda table, *more: None if table.kind == "own" else real["ranked"](table, *more),
        )


def _killed_at(remaining: int) -> None:
    """Kill this process with SIGKILL at the ``remaining``-th write to the destination."""
    import pyarrow.parquet as pq
    from sqlalchemy import event
    from sqlalchemy.engine import Engine

    def step() -> None:
        nonlocal remaining
        remaining -= 1
        if remaining == 0:
            os.kill(os.getpid(), signal.SIGKILL)

    def of_files(name: str, arguments: tuple[Any, ...]) -> None:
        if name in {"os.rename", "os.remove"} or (
            name == "open" and str(arguments[0]).endswith(".under-way")
        ):
            step()

    def of_statements(connection: Any, *_: Any) -> None:
        if "copies" in str(connection.engine.url.database):
            step()

    write_batch = pq.ParquetWriter.write_batch

    def of_batches(writer: Any, *arguments: Any) -> None:
        write_batch(writer, *arguments)
        step()

    pq.ParquetWriter.write_batch = of_batches
    event.listen(Engine, "before_cursor_execute", of_statements)
    event.listen(Engine, "commit", of_statements)
    sys.addaudithook(of_files)


if __name__ == "__main__":
    _killed_at(int(sys.argv.pop(1)))
    from dashboard.cli.main import main

    main()
