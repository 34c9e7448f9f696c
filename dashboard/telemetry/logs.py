"""Lines of JSON on standard error: one a request, one for whatever else there is to say.

Each has ``at`` (ISO, UTC), ``level``, ``logger``, ``message`` and, inside a request or a task, ``request_id``. An exception is
told by its kind, its scrubbed words and the places in the code: what a library writes into its exceptions may be an address with
a password, or a statement with its values.
"""

import logging
import sys
import traceback
from types import TracebackType
from typing import TextIO

from pythonjsonlogger.json import JsonFormatter

from dashboard.core.error_values import without_values
from dashboard.core.redaction import scrubbed
from dashboard.telemetry import request_id as ids
from dashboard.telemetry.outages import AWAY

OURS = "dashboard"
LONGEST = 1_000
Caught = tuple[type[BaseException], BaseException, TracebackType | None] | tuple[None, None, None]


class LogFormatter(JsonFormatter):
    """One line of JSON for each record."""

    def __init__(self) -> None:
        super().__init__(
            ["levelname", "name", "message"],
            rename_fields={"levelname": "level", "name": "logger", "exc_info": "exception"},
            timestamp="at",
            json_ensure_ascii=False,
        )

    def format(self, record: logging.LogRecord) -> str:
        """As the base does it, with others' words scrubbed and the request's id beside them."""
        told = logging.makeLogRecord(record.__dict__)
        if told.name.partition(".")[0] != OURS:
            told.msg, told.args = scrubbed(record.getMessage(), LONGEST), ()
        told.exc_text = told.stack_info = None
        vars(told).pop(AWAY, None)
        if request_id := ids.current():
            told.request_id = request_id
        line: str = super().format(told)
        return line

    def formatException(self, ei: Caught) -> str:
        """Kind, scrubbed words, places in the code."""
        return in_words(ei[1]) if ei[1] is not None else ""


def in_words(error: BaseException) -> str:
    """An exception and what led to it, without what it quotes."""
    told: list[str] = []
    seen: BaseException | None = error
    while seen is not None and len(told) < 5:
        places = "".join(traceback.format_tb(seen.__traceback__, 30))
        told.append(f"{places}{type(seen).__name__}: {scrubbed(without_values(str(seen)))}")
        seen = seen.__cause__ or (None if seen.__suppress_context__ else seen.__context__)
    return "\nbecause of\n".join(told)


def configure_logging(level: str, stream: TextIO = sys.stderr, *filters: logging.Filter) -> None:
    """From now on this process speaks in lines of JSON. ``level``: the least that is told, as logging names it."""
    handler = logging.StreamHandler(stream)
    handler.setFormatter(JsonFormatter())
    for each in filters:
        handler.addFilter(each)
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(level.upper())
    # Each tells its own every request, or every call.
    for loud in ("huey", "werkzeug", "alembic"):
        logging.getLogger(loud).setLevel(max(logging.WARNING, root.level))
    # Each try again of a call, and what is left of a connection that was lost: how the call ended is told anyway.
    for chatty in ("urllib3", "psycopg"):
        logging.getLogger(chatty).setLevel(logging.ERROR)
