"""Runs a query through Peliqan's API, which streams the result.

Peliqan has to keep the query read-only and limit its time.
"""

from collections.abc import Callable

from dashboard import peliqan
from dashboard.core.error_values import sentence_of, without_values
from dashboard.core.sql_text import names_in_statement
from dashboard.sql.limits import QUERY_SECONDS
from dashboard.sql.result import Failed, Result, ResultColumn


def run_query(
    api: peliqan.AccountApi,
    statement: str,
    result: Result,
    on_start: Callable[[Callable[[], None]], None],
) -> None:
    """Fill ``result`` with the columns and rows of a statement.

    ``on_start`` receives a function that cancels the query by closing its stream; another thread
    may call it.

    Raises:
        Failed: the query failed; the rows that came before are in ``result``.
    """
    handle, known = peliqan.CancelHandle(), names_in_statement(statement)
    on_start(handle)
    try:
        for part in api.query(statement, read_timeout=QUERY_SECONDS, cancel=handle):
            if part.columns is not None:
                result.columns = [ResultColumn(column.name, column.type) for column in part.columns]
            if not result.add(part.records):
                return
    except peliqan.BrokenAnswer as error:
        raise Failed(
            f"{sentence_of(error, known)} Ask again.", incomplete=bool(result.columns)
        ) from None
    except peliqan.QueryFailed as error:
        message = without_values(error.detail or "", known) or error.sentence
        raise Failed(
            f"{message[:1].upper()}{message[1:].rstrip('.')}.", incomplete=bool(result.rows)
        ) from None
    except peliqan.PeliqanError as error:
        raise Failed(
            f"{sentence_of(error, known)} {error.next_step}", incomplete=bool(result.rows)
        ) from None
