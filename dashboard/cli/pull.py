"""The command ``pull``."""

import json
import sys
from typing import Any

import click

from dashboard.cli.common import make_current_app
from dashboard.cli.users import WHO
from dashboard.context import Services
from dashboard.core import database_urls
from dashboard.core.text import clean
from dashboard.pulls import jobs as pull_jobs
from dashboard.pulls import service as pulls
from dashboard.pulls.destinations import base as destinations
from dashboard.pulls.destinations import registry
from dashboard.pulls.limits import FULL_EVERY
from dashboard.pulls.manifest import Copied, PullResult
from dashboard.pulls.pull import PullOptions, Selection


@click.command()
@click.option("--to", "address", required=True, help=f"Where the copies go: {destinations.FORMS}.")
@click.option(
    "--account",
    "accounts",
    type=int,
    multiple=True,
    help="Only this account, by Peliqan's id; again for more.",
)
@click.option(
    "--connection",
    "connections",
    type=int,
    multiple=True,
    help="Only tables of this connection, by its id.",
)
@click.option(
    "--table", "tables", multiple=True, help="Only this table, by name or id; again for more."
)
@click.option("--database", default="", help="Only tables of this database, by name or id.")
@click.option(
    "--grows",
    default="",
    help="A growing column of whole numbers, for tables without a time of change.",
)
@click.option(
    "--full", is_flag=True, help="Read every table completely, also where reading changes would do."
)
@click.option(
    "--full-every",
    type=click.IntRange(1),
    default=FULL_EVERY,
    show_default=True,
    help="Every so many pulls a table is read completely: only that detects deletions.",
)
@click.option("--json", "as_json", is_flag=True, help="The result as JSON, and no progress.")
def pull(address: str, full: bool, full_every: int, as_json: bool, **selected: Any) -> None:
    """Copy customers' tables into Parquet files or a database. Personal data is NOT masked.

    A table is replaced completely, or gets its changed rows if a column has the time of change.
    Readers of the copy never see a part of a change. Exit code 0: all copied; 1: some failed, and
    are named; 2: nothing could be copied.
    """
    try:
        where = database_urls.read(address)
    except ValueError as error:
        raise click.BadParameter(str(error), param_hint="--to") from None
    chosen = _selection(**selected)
    app = make_current_app()
    current: Services = app.extensions["services"]
    try:
        current.settings.egress_policy.ensure_not_own(where)
    except ValueError as error:
        raise click.BadParameter(str(error), param_hint="--to") from None
    destination = registry.open_destination(where)

    def progress(what: str) -> None:
        if not as_json:
            click.echo(clean(f"Reading {what}"), err=True)

    with app.app_context():
        destination_name = registry.name_of(where)
        run = pulls.start(
            None,
            "by hand",
            destination_name,
            WHO,
            pull_jobs.in_words(chosen),
            current.clock(),
        )
        result = pull_jobs.copy(
            current, run, destination, chosen, options=PullOptions(full, full_every, progress)
        )
        pulls.finish(run, None, pull_jobs.outcome_of(result), current.clock())
    # Cleaned, since names of tables may contain half of a surrogate pair, which cannot be printed.
    click.echo(
        clean(json.dumps(result.as_json(), ensure_ascii=False) if as_json else _report(result))
    )
    sys.exit(result.exit_code)


def _selection(
    accounts: tuple[int, ...],
    connections: tuple[int, ...],
    tables: tuple[str, ...],
    database: str,
    grows: str,
) -> Selection:
    return Selection(
        frozenset(accounts), frozenset(connections), frozenset(tables), database, grows
    )


def _report(result: PullResult) -> str:
    lines = [_line(each) for each in result.copied]
    for each in result.failures:
        about = f"account {each.account_id}" if each.account_id else "selection"
        lines.append(f"FAILED {about}{f', “{each.table}”' if each.table else ''}: {each.reason}")
    if result.stopped is not None:
        lines.append(f"Ended early: {result.stopped}")
    lines.append(f"{len(result.copied)} tables copied, {len(result.failures)} failures.")
    return "\n".join(lines)


def _line(copied: Copied) -> str:
    how = "whole" if copied.mode == "full" else "what changed"
    line = (
        f"{copied.account_id} {copied.name}: {copied.rows:,} rows ({how}, {copied.read:,} read)"
        f" in {copied.target}"
    )
    return "\n".join([line, *(f"  {each}" for each in (*copied.schema_changes, *copied.remarks))])
