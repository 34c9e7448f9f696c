"""Measures all parts and prints one Markdown table: ``python -m bench [PART ...]``.

Each line is printed as soon as it is measured.
"""

import os
import platform
import re
import sqlite3
import sys
from datetime import UTC, datetime
from pathlib import Path

import click

from bench import causes, exports, load_test, pages, passes, storm, tables, watching
from bench.report import HEAD
from tests.support.databases import run_servers

PARTS = {
    "passes": passes.measure,
    "watching": watching.measure,
    "pages": pages.measure,
    "causes": causes.measure,
    "storm": storm.measure,
    "tables": tables.measure,
    "exports": exports.measure,
    "load": load_test.measure,
}


def machine() -> str:
    """Return a description of this machine."""
    model = (
        re.search(r"model name\s*: (.+)", Path("/proc/cpuinfo").read_text())
        if Path("/proc/cpuinfo").exists()
        else None
    )
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    processor = model[1] if model else platform.processor() or platform.machine()
    versions = f"Python {platform.python_version()}, SQLite {sqlite3.sqlite_version}"
    return (
        f"{os.cpu_count()} cores ({processor}), {memory:.0f} GiB, {platform.system()}, {versions}"
    )


def main() -> None:
    """Measure all parts, or those named on the command line."""
    chosen = sys.argv[1:] or list(PARTS)
    click.echo(f"Measured on {datetime.now(UTC):%d %B %Y}: {machine()}.\n")
    click.echo(HEAD)
    broken = 0
    with run_servers() as servers:
        for part in chosen:
            for figure in PARTS[part](servers):
                click.echo(figure.row)
                broken += figure.is_met is False
    click.echo(f"\n{broken} of the promises are broken." if broken else "\nAll promises are kept.")


main()
