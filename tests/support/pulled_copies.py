"""A destination of a pull, read as another program reads it."""

import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import sqlalchemy as sa
from sqlalchemy.engine import make_url


class Copies:
    """A destination as another program reads it."""

    def __init__(self, address: str) -> None:
        self.address = address
        self.folder = Path(address.removeprefix("parquet://"))
        self.is_files = address.startswith("parquet://")

    def tables(self) -> dict[int, dict[str, Any]]:
        """Return the manifest's entry of each table."""
        if self.is_files:
            listed = json.loads((self.folder / "manifest.json").read_text())["tables"]
        else:
            listed = [
                json.loads(row["kept"]) for row in self.query("SELECT kept FROM _pull_manifest")
            ]
        return {each["table_id"]: each for each in listed}

    def rows(self, table_id: int) -> list[dict[str, Any]]:
        target = self.tables()[table_id]["target"]
        if self.is_files:
            return list(pq.read_table(self.folder / target).to_pylist())
        name = '"{}"'.format(target.replace('"', '""'))
        return self.query(f"SELECT * FROM {name}")

    def query(self, statement: str) -> list[dict[str, Any]]:
        """Run SQL without parameters: a percent sign in it is literal."""
        url = make_url(self.address)
        statement = statement.replace("%", "%%") if url.drivername == "postgresql" else statement
        engine = sa.create_engine(
            url.set(drivername="postgresql+psycopg") if url.drivername == "postgresql" else url
        )
        try:
            with engine.connect() as connection:
                return [dict(row) for row in connection.exec_driver_sql(statement).mappings()]
        finally:
            engine.dispose()


Run = Callable[..., subprocess.CompletedProcess[str]]
