"""What the person at the browser may see of a table: asked by pages, exports and searches alike."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from dashboard import peliqan
from dashboard.context import console
from dashboard.masking import service as reveals
from dashboard.masking.rules import SEES_ALL
from dashboard.tables.query import TableQuery, read_table_query
from dashboard.web.access import visitor


@dataclass(frozen=True)
class Sight:
    """``hidden``: columns whose values are masked for this person, with what each looks like. ``until``: when a reveal ends."""

    hidden: dict[str, str]
    until: datetime | None = None


def sight(account_id: int, table_id: int, columns: Sequence[peliqan.Column]) -> Sight:
    """What the person who asks may see of this table."""
    user = visitor().user
    if user.role == SEES_ALL:
        return Sight({})
    until = reveals.until(user, account_id, table_id, console().clock())
    decided = _decided(table_id, columns)
    revealed = until is not None
    hidden = console().masks.hidden(
        columns, role=user.role, overrides=decided.get(table_id, {}), elsewhere=decided, revealed=revealed
    )
    return Sight(hidden, until)


def as_others_see(table_id: int, columns: Sequence[peliqan.Column]) -> tuple[dict[str, str], dict[str, bool]]:
    """For administrators: the columns that everybody else sees masked, and what was decided by hand (True: masked)."""
    decided = _decided(table_id, columns)
    own = decided.get(table_id, {})
    return console().masks.hidden(columns, role="viewer", overrides=own, elsewhere=decided), own


def read_query(
    account_id: int, table_id: int, args: Mapping[str, str], chosen: Iterable[str], columns: Sequence[peliqan.Column]
) -> tuple[TableQuery, Sight]:
    """Read a request's query of a table, with what the person may see of it.

    That a masked column is compared with a value is written into the audit trail, without the value, once a quarter of an hour:
    values can be guessed that way. Commits.

    Raises:
        BadQuery: it cannot be read, or would tell parts of masked values.
    """
    seen = sight(account_id, table_id, columns)
    query = read_table_query(args, chosen, columns, masked=seen.hidden)
    if query.compared:
        reveals.record_comparison(visitor().user, account_id, table_id, query.compared, console().clock())
    return query, seen


def _decided(table_id: int, columns: Sequence[peliqan.Column]) -> dict[int, dict[str, bool]]:
    """Return what administrators decided for the columns of a table and of those that it links to, by table."""
    linked = {column.linked_table_id for column in columns if column.linked_table_id is not None}
    return reveals.overrides_in({table_id, *linked})
