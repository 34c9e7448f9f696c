"""A question through Peliqan's API, which gives the answer as a stream. Read-only and for how long is Peliqan's to keep."""

from collections.abc import Callable

from dashboard import peliqan
from dashboard.core.error_values import sentence_of, without_values
from dashboard.core.sql_text import names_in_statement
from dashboard.sql.result import SECONDS, Failed, Result, ResultColumn


def ask(
    api: peliqan.AccountApi,
    question: str,
    result: Result,
    begun: Callable[[Callable[[], None]], None],
) -> None:
    """Fill ``result``. ``begun`` is given what ends it, for another thread to call: that closes the stream.

    Raises:
        Failed: with what was read so far in ``result``.
    """
    hang_up, known = peliqan.CancelHandle(), names_in_statement(question)
    begun(hang_up)
    try:
        for part in api.ask(question, quiet=SECONDS, hang_up=hang_up):
            if part.columns is not None:
                result.columns = [ResultColumn(column.name, column.type) for column in part.columns]
            if not result.take(part.records):
                return
    except peliqan.BrokenAnswer as error:
        raise Failed(
            f"{sentence_of(error, known)} Ask again.", incomplete=bool(result.columns)
        ) from None
    except peliqan.QueryFailed as error:
        said = without_values(error.detail or "", known) or error.sentence
        raise Failed(
            f"{said[:1].upper()}{said[1:].rstrip('.')}.", incomplete=bool(result.rows)
        ) from None
    except peliqan.PeliqanError as error:
        raise Failed(
            f"{sentence_of(error, known)} {error.next_step}", incomplete=bool(result.rows)
        ) from None
