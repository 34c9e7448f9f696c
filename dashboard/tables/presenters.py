"""A request's query of a table, within what the person may see of it."""

from collections.abc import Iterable, Mapping, Sequence

from dashboard import peliqan
from dashboard.context import services
from dashboard.masking import service as reveals
from dashboard.masking.presenters import MaskingContext, masking_context
from dashboard.tables.query import TableQuery, read_table_query
from dashboard.users.access import visitor


def read_query(
    account_id: int,
    table_id: int,
    args: Mapping[str, str],
    chosen: Iterable[str],
    columns: Sequence[peliqan.Column],
) -> tuple[TableQuery, MaskingContext]:
    """Read a request's query of a table, with what the person may see of it.

    That a masked column is compared with a value is written into the audit trail, without the value, once a quarter of an hour:
    values can be guessed that way. Commits.

    Raises:
        BadQuery: it cannot be read, or would tell parts of masked values.
    """
    seen = masking_context(account_id, table_id, columns)
    query = read_table_query(args, chosen, columns, masked=seen.hidden)
    if query.compared:
        reveals.record_comparison(
            visitor().user, account_id, table_id, query.compared, services().clock()
        )
    return query, seen
