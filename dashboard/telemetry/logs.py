"""The log: JSON lines on standard error.

Each line has ``at`` (ISO, UTC), ``level``, ``logger``, ``message`` and, within a request or a task,
``request_id``. An exception is logged with its type, its redacted text and the stack frames:
texts of libraries may contain an address with a password, or a statement with its values.
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
from dashboard.telemetry.outage_log import AWAY

OURS = "dashboard"
LONGEST = 1_000
Caught = tuple[type[BaseException], BaseException, TracebackType | None] | tuple[None, None, None]


class LogFormatter(JsonFormatter):
    """Formats a record as one JSON line."""

    def __init__(self) -> None:
        super().__init__(
            ["levelname", "name", "message"],
            rename_fields={"levelname": "level", "name": "logger", "exc_info": "exception"},
            timestamp="at",
            json_ensure_ascii=False,
        )

    def format(self, record: logging.LogRecord) -> str:
        """Return the line, with the request id; messages of libraries are redacted."""
        line_record = logging.makeLogRecord(record.__dict__)
        if line_record.name.partition(".")[0] != OURS:
            line_record.msg, line_record.args = scrubbed(record.getMessage(), LONGEST), ()
        line_record.exc_text = line_record.stack_info = None
        vars(line_record).pop(AWAY, None)
        if request_id := ids.current():
            line_record.request_id = request_id
        line: str = super().format(line_record)
        return line

    def formatException(self, ei: Caught) -> str:
        """Return type, redacted text and stack frames."""
        return in_words(ei[1]) if ei[1] is not None else ""


def in_words(error: BaseException) -> str:
    """Return an exception and up to four of its causes as text, without the values they quote."""
    parts: list[str] = []
    current: BaseException | None = error
    while current is not None and len(parts) < 5:
        frames = "".join(traceback.format_tb(current.__traceback__, 30))
        parts.append(f"{frames}{type(current).__name__}: {scrubbed(without_values(str(current)))}")
        current = current.__cause__ or (
            None if current.__suppress_context__ else current.__context__
        )
    return "\nbecause of\n".join(parts)


def configure_logging(level: str, stream: TextIO = sys.stderr, *filters: logging.Filter) -> None:
    """Log JSON lines to ``stream``. ``level``: the lowest level that is logged, by its name."""
    handler = logging.StreamHandler(stream)
    handler.setFormatter(LogFormatter())
    for each in filters:
        handler.addFilter(each)
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(level.upper())
    # These log every request or task, which the console logs already.
    for loud in ("huey", "werkzeug", "alembic"):
        logging.getLogger(loud).setLevel(max(logging.WARNING, root.level))
    # These log every retry and every lost connection; the console logs how the call ended.
    for chatty in ("urllib3", "psycopg"):
        logging.getLogger(chatty).setLevel(logging.ERROR)
