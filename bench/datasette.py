"""Datasette over a SQLite table of the same rows, in a virtual environment of its own: no part of the console's."""

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
    """Its program, installed into the folder from the package index."""
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
    """A table "rows" of these; what has a shape is kept as JSON."""
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
        places = ", ".join("?" * len(names))
        database.executemany(f"insert into rows values ({places})", values)  # noqa: S608  (question marks)


@contextmanager
def served(program: Path, file: Path) -> Iterator[tuple[str, int]]:
    """Its address, and its process."""
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
