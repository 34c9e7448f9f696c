"""The checks of the rules about tables; ``detection.py`` has those of connections and runs."""

from collections.abc import Callable

from dashboard.findings.limits import DUPLICATE_KEYS_FROM, LONGEST_TABLE_NAME, TABLE_STALE_AFTER
from dashboard.findings.rules.error_texts import span
from dashboard.findings.rules.facts import Facts, RuleContext, TableFigures


def rows_dropped(facts: Facts, context: RuleContext) -> str | None:
    """Report the table that lost the largest share of its rows within a week."""
    drops = sorted(context.drops.get(facts.id, ()), key=lambda drop: drop.rows / drop.before)
    if not drops:
        return None
    worst = drops[0]
    fewer = round(100 * (1 - worst.rows / worst.before))
    when = f"on {worst.at:%d %B}, {worst.before:,} on {worst.before_at:%d %B}"
    others = len(drops) - 1
    more = (
        f" {others} more of its tables {'has' if others == 1 else 'have'} far fewer rows."
        if others
        else ""
    )
    return (
        f"“{worst.table[:LONGEST_TABLE_NAME]}”: {worst.rows:,} rows {when}: {fewer} % fewer.{more}"
    )


def _worst_table(
    facts: Facts, context: RuleContext, judge: Callable[[TableFigures], tuple[float, str] | None]
) -> str | None:
    """Return the evidence of the worst table, with the number of other tables with the fault.

    ``judge`` returns how bad a table is and the evidence, or None.
    """
    checked = context.data.get(facts.id)
    if checked is None:
        return None
    found = sorted(
        (each for table in checked.tables if (each := judge(table))), key=lambda each: -each[0]
    )
    if not found:
        return None
    more = len(found) - 1
    rest = (
        f" {more} more of its tables {'has' if more == 1 else 'have'} the same fault."
        if more
        else ""
    )
    return f"{found[0][1]}, as counted on {checked.at:%d %B %Y}.{rest}"


def duplicate_keys(facts: Facts, context: RuleContext) -> str | None:
    """Report a table that has over 1 % more rows than different keys."""

    def judge(table: TableFigures) -> tuple[float, str] | None:
        if not table.keys or table.rows <= DUPLICATE_KEYS_FROM * table.keys:
            return None
        times = table.rows / table.keys
        text = (
            f"“{table.name[:LONGEST_TABLE_NAME]}”: {table.rows:,} rows with"
            f" {table.keys:,} different values"
            f" of {table.key} ({times:.2f} times as many)"
        )
        return times, text

    return _worst_table(facts, context, judge)


def mixed_versions(facts: Facts, context: RuleContext) -> str | None:
    """Report a table with live rows of more than one snapshot."""

    def judge(table: TableFigures) -> tuple[float, str] | None:
        if table.versions is None or table.versions <= 1:
            return None
        return (
            table.versions,
            f"“{table.name[:LONGEST_TABLE_NAME]}”: rows of {table.versions} snapshots side by side",
        )

    return _worst_table(facts, context, judge)


def table_stale(facts: Facts, context: RuleContext) -> str | None:
    """Report a table without a new row for over 7 days in which runs succeeded."""
    checked, success = context.data.get(facts.id), facts.success_at

    def judge(table: TableFigures) -> tuple[float, str] | None:
        if checked is None or table.received_at is None or success is None:
            return None
        if min(checked.at, success) - table.received_at <= TABLE_STALE_AFTER:
            return None
        seconds = (checked.at - table.received_at).total_seconds()
        return (
            seconds,
            f"“{table.name[:LONGEST_TABLE_NAME]}”: no row was received for {span(seconds)}",
        )

    return _worst_table(facts, context, judge)


def parent_table_empty(facts: Facts, context: RuleContext) -> str | None:
    """Report an empty table whose child tables, named after it, have rows."""
    checked = context.data.get(facts.id)

    def judge(table: TableFigures) -> tuple[float, str] | None:
        if checked is None or table.rows:
            return None
        below = [
            each for each in checked.tables if each.rows and each.name.startswith(f"{table.name}_")
        ]
        if not below:
            return None
        one = f"“{below[0].name[:LONGEST_TABLE_NAME]}” has {below[0].rows:,} rows"
        return len(below), f"“{table.name[:LONGEST_TABLE_NAME]}” is empty, though {one}"

    return _worst_table(facts, context, judge)
