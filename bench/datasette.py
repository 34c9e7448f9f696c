"""Datasette over a SQLite table of the same rows, in a virtual environment of its own."""

import json
import sqlite3
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from dashboard.cli.serve import end
from tests.support.databases import free_port
from tests.support.processes import answering

VERSION = "0.65.5"


def install(folder: Path) -> Path:
    """Install Datasette into the folder from the package index; return its program."""
    subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True)
    pip = [
        str(folder / "bin" / "pip"),
        "install",
        "--quiet",
        "--disable-pip-version-check",
        f"datasette=={VERSION}",
    ]
    subprocess.run(pip, check=True)
    return folder / "bin" / "datasette"


def fill(file: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    """Create a table "rows" with these rows; lists and objects become JSON."""
    names = list(rows[0])
    quoted = ", ".join('"' + name.replace('"', '""') + '"' for name in names)
    with sqlite3.connect(file) as database:
        database.execute(f"create table rows ({quoted})")
        values = [
            [
                json.dumps(row[name]) if isinstance(row[name], (list, dict)) else row[name]
                for name in names
            ]
            for row in rows
        ]
        values_sql = ", ".join("?" * len(names))
        insert = f"insert into rows values ({values_sql})"  # noqa: S608 - question marks only
        database.executemany(insert, values)


@contextmanager
def served(program: Path, file: Path) -> Iterator[tuple[str, int]]:
    """Serve the file; yield the address and the process id."""
    port = free_port()
    words = [
        str(program),
        "serve",
        str(file),
        f"--port={port}",
        "--setting",
        "max_returned_rows",
        "1000",
    ]
    process = subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        yield answering(f"http://127.0.0.1:{port}", "/-/versions.json"), process.pid
    finally:
        end(process)
