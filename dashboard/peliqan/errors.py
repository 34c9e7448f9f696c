"""All errors that a call to Peliqan can raise.

Each has the route's name, never the URL, whose ids do not belong into logs, and never a token.
It has the HTTP status if there was an answer, and Peliqan's own ``error`` and ``detail``.
``code`` is stable, for JSON; ``sentence`` explains to a user what happened. ``outcome_unknown``
says whether a side effect may have happened nevertheless.
"""

from collections.abc import Mapping
from typing import Final

# Baserow's codes for a filter or sort that it does not support (recorded).
QUERY_REFUSALS: Final = frozenset(
    {
        "ERROR_VIEW_FILTER_TYPE_UNSUPPORTED_FIELD",
        "ERROR_VIEW_FILTER_TYPE_DOES_NOT_EXIST",
        "ERROR_FILTER_FIELD_NOT_FOUND",
        "ERROR_FILTERS_PARAM_VALIDATION_ERROR",
        "ERROR_ORDER_BY_FIELD_NOT_FOUND",
        "ERROR_ORDER_BY_FIELD_NOT_POSSIBLE",
    }
)


class PeliqanError(Exception):
    """The base of all errors."""

    code = "peliqan_error"
    sentence = "Peliqan gave an answer that the console could not use."
    next_step = "Try again; if it stays so, tell your administrator."

    def __init__(
        self,
        route: str,
        *,
        status: int | None = None,
        error: str | None = None,
        detail: str | None = None,
        outcome_unknown: bool = False,
        note: str | None = None,
    ) -> None:
        """Take what is known of the call.

        ``outcome_unknown``: the request may have been executed without an answer. ``note``: what
        the console found wrong with the answer.
        """
        self.route = route
        self.status = status
        self.error = error
        self.detail = detail
        # Seconds until the next try, if Peliqan gave them.
        self.retry_after: float | None = None
        self.outcome_unknown = outcome_unknown
        self.note = note
        super().__init__(self.explained)

    @property
    def explained(self) -> str:
        """The sentence, followed by Peliqan's own message if there is one; safe to log and show."""
        message = " ".join(part for part in (self.error, self.detail) if part)
        quoted = f"Peliqan says: {message}" if message else ""
        return " ".join(part for part in (self.sentence, self.found, quoted) if part)

    @property
    def found(self) -> str:
        """What the console found wrong with the answer, as a sentence; empty if nothing."""
        return f"{self.note[0].upper()}{self.note[1:]}." if self.note else ""

    def as_json(self) -> Mapping[str, str]:
        """Return the JSON of the error: ``{"error": code, "detail": sentence}``."""
        return {"error": self.code, "detail": self.explained}


class Unreachable(PeliqanError):
    """There was no connection, or it broke before an answer came."""

    code = "unreachable"
    sentence = "Peliqan could not be reached."
    next_step = "The console keeps trying; check the network if it lasts."


class TimedOut(PeliqanError):
    """Connected, but no complete answer arrived within the time limit."""

    code = "timed_out"
    sentence = "Peliqan did not answer in time."
    next_step = "Try again in a minute."


class NotAuthorised(PeliqanError):
    """401: the token was refused, and so was a newly fetched one."""

    code = "not_authorised"
    sentence = "Peliqan does not accept the console's token."
    next_step = "An administrator should check the partner token."


class Forbidden(PeliqanError):
    """403, or Baserow's 400 for an object of another customer."""

    code = "forbidden"
    sentence = "Peliqan does not allow this for this customer."
    next_step = "Check with Peliqan whether the partner account includes it."


class NotFound(PeliqanError):
    """404: the object does not exist, or no longer."""

    code = "not_found"
    sentence = "Peliqan does not know this."
    next_step = "It may have been removed. Go back to the list."


class Refused(PeliqanError):
    """400, 405, 409, 422: Peliqan understood the request and did not execute it."""

    code = "refused"
    sentence = "Peliqan refused this."
    next_step = "Read the reason; nothing was changed."

    @property
    def is_of_query(self) -> bool:
        """Whether a filter or sort was refused: not supported for the column, or no such column."""
        return self.status == 400 and self.error in QUERY_REFUSALS


class QueryFailed(PeliqanError):
    """The warehouse refused or aborted an SQL statement; ``detail`` is the database's message."""

    code = "query_failed"
    sentence = "The warehouse did not carry this out."
    next_step = "Change the query and run it again."

    @property
    def explained(self) -> str:
        """The sentence alone: the database's message may quote values (see ``error_values``)."""
        return self.sentence


class Busy(Refused):
    """409, or an ``..._ALREADY_RUNNING``: a running operation excludes this one."""

    code = "busy"
    sentence = "Peliqan is already busy with this connection."
    next_step = "Wait for it to end, then try again."


class RateLimited(PeliqanError):
    """429; ``retry_after`` is the wait in seconds if Peliqan gave one."""

    code = "rate_limited"
    sentence = "Peliqan asks to slow down."
    next_step = "The console waits and retries automatically."


class BrokenAnswer(PeliqanError):
    """An answer that is not JSON, cut off, too large, a redirect, or JSON of the wrong type."""

    code = "broken_answer"
    sentence = "Peliqan's answer could not be read."
    next_step = (
        "Try again; if it stays so, check PELIQAN_API_URL and tell Peliqan's support the route and"
        " the time."
    )


class ServerError(PeliqanError):
    """5xx."""

    code = "server_error"
    sentence = "Peliqan has an internal error."
    next_step = "There is nothing to do here but wait, and try again."


class RateLimiterUnavailable(PeliqanError):
    """Redis, which counts the requests of all processes, is unavailable, so nothing was sent.

    The rate limit must hold, so no request is sent without it.
    """

    code = "no_pace"
    sentence = "The shared rate limit is unavailable: Redis does not answer."
    next_step = "Nothing was sent. Try again when Redis answers."


class ApiUnavailable(PeliqanError):
    """Nothing was sent: Peliqan has not answered any process lately (``circuit_breaker``)."""

    code = "away"
    sentence = "Peliqan does not answer."
    next_step = "The console checks regularly; try again when the banner disappears."


# No answer, or a 5xx: the failures that the circuit breaker counts.
SILENT: Final = (Unreachable, TimedOut, ServerError)
# Nothing was sent.
NOT_SENT: Final = (RateLimiterUnavailable, ApiUnavailable)
# The account gave no usable answer, so trying later is worthwhile.
OUTAGE: Final = (*SILENT, *NOT_SENT)
