"""Error responses as page, fragment or JSON: what happened, what it means, what to do next."""

import logging
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Final

from flask import Flask, current_app, g, jsonify, make_response, render_template, request, url_for
from flask.typing import ResponseReturnValue
from flask_login import current_user
from flask_wtf.csrf import CSRFError
from redis.exceptions import RedisError
from sqlalchemy.exc import (
    DataError,
    DBAPIError,
    InterfaceError,
    InternalError,
    OperationalError,
    PendingRollbackError,
)
from werkzeug.exceptions import HTTPException, InternalServerError, TooManyRequests

from dashboard import peliqan
from dashboard.audit import service as audit
from dashboard.context import services
from dashboard.core.database import db, leave_transaction, takes_no_rows
from dashboard.core.error_values import sentence_of
from dashboard.exports.parquet import ParquetFailed
from dashboard.exports.table_files import TooLarge
from dashboard.listing.query import BadQuery, NoSuchPage
from dashboard.tables.reader import TableChanged
from dashboard.telemetry import outage_log
from dashboard.telemetry import request_id as ids
from dashboard.users.views import two_factor as second
from dashboard.web import htmx
from dashboard.web.login_attempt_keys import account
from dashboard.web.page_after_sign_in import requested_url
from dashboard.web.required_role import is_for_scripts
from dashboard.web.security import first_in_a_minute


@dataclass(frozen=True)
class Problem:
    """The content of an error response.

    ``code``: for scripts. ``again``: address of the rows that could not be read, to try again.
    ``request_id``: finds the request in the log.
    """

    status: int
    code: str
    title: str
    detail: str
    next_step: str
    again: str = ""
    request_id: str = field(default_factory=ids.current)


TITLES = {
    400: (
        "bad_request",
        "That request cannot be read",
        "Check the address, or start again from the list.",
    ),
    401: ("not_signed_in", "Sign in first", "Sign in and try again."),
    403: ("forbidden", "Not with your role", "Ask an administrator, who can change your role."),
    404: (
        "not_found",
        "There is no such page",
        "Search for the customer above, or go to the overview.",
    ),
    405: ("method_not_allowed", "That cannot be done so", "Use the button on the page."),
    410: ("kept_back", "You cannot have this file any more", "Export the table again."),
    413: ("too_large", "That is too much at once", "Send less than a megabyte."),
    415: ("not_a_form", "That cannot be read", "Use the form on the page."),
    429: (
        "too_many_attempts",
        "Too many attempts",
        "Wait a minute, then try again. If it still says so, wait an hour.",
    ),
    500: (
        "internal_error",
        "The console made a mistake",
        "Try again. If it happens again, tell your administrator the number of the request.",
    ),
}
# Errors that mean that the database or Redis does not answer.
AWAY = (OperationalError, InterfaceError, RedisError)
STATUS_OF = {
    peliqan.NotFound: 404,
    peliqan.Forbidden: 403,
    peliqan.RateLimited: 503,
    peliqan.RateLimiterUnavailable: 503,
    peliqan.ApiUnavailable: 503,
}
# Retry-After in seconds: during an outage, and for the shortest rate limit.
RETRY_AFTER, A_MINUTE = 10, 60
# Control characters, and characters that reverse text or end a line (C0, C1, bidirectional,
# separators).
_ESCAPED: Final = {
    number: chr(number).encode("unicode_escape").decode()
    for number in (*range(0x20), *range(0x7F, 0xA0), *range(0x2028, 0x202F), *range(0x2066, 0x206A))
}


def init_app(app: Flask) -> None:
    """Register a handler for each kind of error."""
    app.log_exception = partial(_log_exception, app)  # type: ignore[method-assign]
    app.register_error_handler(HTTPException, _http)
    app.register_error_handler(CSRFError, _csrf)
    app.register_error_handler(BadQuery, _bad_query)
    app.register_error_handler(NoSuchPage, _no_such_page)
    app.register_error_handler(peliqan.PeliqanError, _peliqan)
    app.register_error_handler(TableChanged, _no_file)
    app.register_error_handler(ParquetFailed, _no_file)
    app.register_error_handler(DataError, _data_error)
    for each in AWAY:
        app.register_error_handler(each, _away)
    for kind in (PendingRollbackError, InternalError):
        app.register_error_handler(kind, _broken_transaction)
    # By name, since ``app.logger`` would add a handler if there is none yet.
    logging.getLogger(app.name).addFilter(_on_one_line)


def _on_one_line(record: logging.LogRecord) -> bool:
    """Escape control characters: an address must not forge a log line or colour a terminal."""
    message = record.getMessage()
    if not message.isprintable():
        record.msg, record.args = message.translate(_ESCAPED), None
    return True


def _log_exception(app: Flask, exc_info: Any) -> None:
    """Log an exception with its endpoint, since the address in Flask's message may be any text."""
    app.logger.error("A mistake of the console's in %s", request.endpoint, exc_info=exc_info)


def _is_guessing(error: HTTPException) -> bool:
    return isinstance(error, TooManyRequests) and request.endpoint in {
        "people.login",
        "second.code",
    }


def _http(error: HTTPException) -> ResponseReturnValue:
    status = error.code or 500
    if isinstance(error, InternalServerError):
        original = error.original_exception
        found = outage_log.outage_of_error(original)
        if isinstance(original, AWAY) or found is not None:
            # Raised while rendering another error's page, or while ending the request.
            return _away(found[1] if found is not None else original)
        # The error may have broken the transaction, and the error page reads the database as well.
        leave_transaction()
    if _is_guessing(error) and first_in_a_minute("refused sign-in"):
        who = account() if request.endpoint == "people.login" else second.half_signed_in_user()
        audit.record(services().clock(), who, "sign_in", audit.REFUSED, detail="Too many attempts.")
    code, title, next_step = TITLES.get(status, ("error", error.name, "Go back and try again."))
    is_ours = (
        not isinstance(error, InternalServerError) and error.description != type(error).description
    )
    description = (error.description or "") if is_ours else ""
    answer = make_response(show(Problem(status, code, title, description, next_step)))
    if status == TooManyRequests.code:
        answer.headers["Retry-After"] = str(A_MINUTE)
    return answer


def _csrf(error: CSRFError) -> ResponseReturnValue:
    if current_user.is_authenticated:
        args = request.view_args or {}
        audit.record(
            services().clock(),
            current_user.email,
            request.endpoint or "",
            audit.REFUSED,
            account_id=args.get("account_id"),
            connection_id=args.get("connection_id"),
            detail="The form did not carry its token.",
        )
    return show(
        Problem(
            400,
            "csrf",
            "This form is too old",
            "It did not carry the mark that shows that it came from this console."
            " Nothing was done.",
            "Go back, reload the page and press the button again.",
        )
    )


def _bad_query(error: BadQuery) -> ResponseReturnValue:
    return show(
        Problem(
            400,
            "bad_query",
            "That list cannot be shown",
            str(error),
            "Mend the address, or start again from the list.",
        )
    )


def _no_such_page(error: NoSuchPage) -> ResponseReturnValue:
    return show(
        Problem(
            404,
            "no_such_page",
            "The list ends before that",
            str(error),
            "Go back, or to the first page.",
        )
    )


def _peliqan(error: peliqan.PeliqanError) -> ResponseReturnValue:
    if isinstance(error, peliqan.Refused) and error.is_of_query:
        detail = (
            "Peliqan cannot filter or sort this table like that, so its rows cannot be shown."
            f" Peliqan says: {error.detail or error.error}"
        )
        next_step = (
            "Remove the filter or the sort, or choose another one:"
            " the table's columns may have changed."
        )
        return show(Problem(400, "bad_query", "That list cannot be shown", detail, next_step))
    status = next((status for kind, status in STATUS_OF.items() if isinstance(error, kind)), 502)
    again = requested_url() if request.endpoint == "tables.rows" else ""
    detail = (
        sentence_of(error)
        if isinstance(error, peliqan.QueryFailed)
        else error.detail or error.error or error.found
    )
    return show(Problem(status, error.code, error.sentence, detail, error.next_step, again))


def _no_file(error: TableChanged | ParquetFailed) -> ResponseReturnValue:
    status, code = (
        (502, "table_changed") if isinstance(error, TableChanged) else (500, "file_not_made")
    )
    next_step = "Try again in a few minutes."
    if isinstance(error, TooLarge):
        status, code, next_step = (
            400,
            "file_too_large",
            "Ask for less of the table, or have the file made as an export.",
        )
    return show(Problem(status, code, "There is no file of this table", str(error), next_step))


def _data_error(_error: DataError) -> ResponseReturnValue:
    """Handle values that PostgreSQL refuses: a NUL character, or more than a column holds."""
    db.session.rollback()
    code, title, next_step = TITLES[400]
    detail = (
        "Something in it cannot be kept: a character that is none, or more than fits."
        " Nothing was done."
    )
    return show(Problem(400, code, title, detail, next_step))


def _broken_transaction(error: PendingRollbackError | DBAPIError) -> ResponseReturnValue:
    if not outage_log.follows_lost_connection(error) and not takes_no_rows(error):
        raise error
    return _away(error)


def _away(error: BaseException | None) -> ResponseReturnValue:
    """Answer during an outage with a page that needs neither database nor Redis."""
    name = "Redis" if isinstance(error, RedisError) else "database"
    if name == "database":
        # The rest of this request, and the next one of this thread, need a new transaction.
        leave_transaction()
    current_app.logger.error(
        "The %s %s: %s",
        name,
        "cannot be written to" if takes_no_rows(error) else "is away",
        type(getattr(error, "orig", None) or error).__name__,
        extra={outage_log.AWAY: error},
    )
    problem = _problem_of(error, name)
    headers = {"Retry-After": str(RETRY_AFTER)}
    if is_for_scripts():
        return jsonify(error=problem.code, detail=problem.title), problem.status, headers
    if htmx.is_htmx():
        page = current_app.jinja_env.get_template("errors/_error.html")
        return page.render(problem=problem, url_for=url_for), problem.status, headers
    # Without the usual template variables, since user and age of the snapshot need the database.
    stylesheets = [
        url_for("static", filename=name) for name in ("vendor/tabler.min.css", "console.css")
    ]
    page = current_app.jinja_env.get_template("errors/api_unavailable.html")
    text = page.render(
        title=problem.title,
        detail=problem.detail,
        next_step=problem.next_step,
        stylesheets=stylesheets,
        retry_after=RETRY_AFTER,
        request_id=problem.request_id,
    )
    return text, problem.status, headers


def _problem_of(error: BaseException | None, name: str) -> Problem:
    """Return the problem: a database that cannot be written to, or one that does not answer."""
    if takes_no_rows(error):
        return Problem(
            503,
            "store_not_writable",
            "The console's database cannot be written to",
            "Its disk may be full. Nobody can sign in or change anything until there is room;"
            " what you asked for was not done.",
            "Tell your administrator: dashboard check says what is wrong.",
        )
    return Problem(
        503,
        "store_away" if name == "database" else "queue_away",
        f"The console's {name} does not answer",
        "What you see here comes from there, so nothing can be shown. Nothing is lost.",
        "This page tries again by itself. If it lasts for more than a minute,"
        " tell your administrator.",
    )


def show(problem: Problem) -> ResponseReturnValue:
    """Render a problem as JSON, fragment or page, as the request needs it."""
    if is_for_scripts():
        return jsonify(error=problem.code, detail=problem.detail or problem.title), problem.status
    g.problem = problem
    template = "errors/_error.html" if htmx.is_htmx() else "errors/error.html"
    return render_template(template, problem=problem, path=request.path), problem.status
