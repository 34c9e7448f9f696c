"""The table query of a request, restricted to what masking allows the user."""

from collections.abc import Iterable, Mapping, Sequence

from dashboard import peliqan
from dashboard.context import services
from dashboard.masking import service as reveals
from dashboard.masking.presenters import MaskingContext, masking_context
from dashboard.tables.query import TableQuery, read_table_query
from dashboard.users.authentication import visitor


def read_query(
    account_id: int,
    table_id: int,
    args: Mapping[str, str],
    chosen: Iterable[str],
    columns: Sequence[peliqan.Column],
) -> tuple[TableQuery, MaskingContext]:
    """Return a request's query of a table, and the masking that applies to the user.

    A comparison of a masked column with a value is written to the audit trail, without the
    value, once in 15 minutes, because masked values can be guessed that way. Commits then.

    Raises:
        BadQuery: the query is invalid, or its result would disclose parts of masked values.
    """
    context = masking_context(account_id, table_id, columns)
    query = read_table_query(args, chosen, columns, masked=context.hidden)
    if query.compared:
        reveals.record_comparison(
            visitor().user, account_id, table_id, query.compared, services().clock()
        )
    return query, context
