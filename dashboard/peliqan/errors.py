"""One family of errors for everything that can go wrong between the console and Peliqan.

Each knows the route's name (never the URL, which may hold an id a log should not repeat, and never a token), the HTTP
status if there was an answer, and Peliqan's own ``error`` and ``detail``. ``code`` is stable and fit for JSON; ``sentence``
says to a person what happened. Whether a side effect may have happened all the same is ``outcome_unknown``.
"""

from collections.abc import Mapping
from typing import Final

# Baserow's codes for a filter or a sort that it does not carry out (recorded).
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
    """Anything that kept a call from giving its answer."""

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
        retry_after: float | None = None,
        outcome_unknown: bool = False,
        note: str | None = None,
    ) -> None:
        """``retry_after`` in seconds; ``outcome_unknown`` when the request may have been carried out without an answer;
        ``note``: what the console itself found wrong with the answer."""
        self.route = route
        self.status = status
        self.error = error
        self.detail = detail
        self.retry_after = retry_after
        self.outcome_unknown = outcome_unknown
        self.note = note
        super().__init__(self.explained)

    @property
    def explained(self) -> str:
        """The sentence with Peliqan's own words behind it, where it gave any; safe to log and to show."""
        theirs = " ".join(part for part in (self.error, self.detail) if part)
        said = f"Peliqan says: {theirs}" if theirs else ""
        return " ".join(part for part in (self.sentence, self.found, said) if part)

    @property
    def found(self) -> str:
        """What the console itself found, as a sentence; empty where that is nothing."""
        return f"{self.note[0].upper()}{self.note[1:]}." if self.note else ""

    def as_json(self) -> Mapping[str, str]:
        """The shape of every JSON error: ``{"error": code, "detail": sentence}``."""
        return {"error": self.code, "detail": self.explained}


class Unreachable(PeliqanError):
    """No connection, or it broke before an answer came."""

    code = "unreachable"
    sentence = "Peliqan could not be reached."
    next_step = "The console keeps trying; check the network if it lasts."


class TimedOut(PeliqanError):
    """Connected, but no complete answer within the time limit."""

    code = "timed_out"
    sentence = "Peliqan did not answer in time."
    next_step = "Try again in a minute."


class NotAuthorised(PeliqanError):
    """401: the token was refused, also after asking for a new one."""

    code = "not_authorised"
    sentence = "Peliqan does not accept the console's token."
    next_step = "An administrator should check the partner token."


class Forbidden(PeliqanError):
    """403, or Baserow's 400 for something that belongs to somebody else."""

    code = "forbidden"
    sentence = "Peliqan does not allow this for this customer."
    next_step = "Check with Peliqan whether the partner account includes it."


class NotFound(PeliqanError):
    """404: it does not exist (any more)."""

    code = "not_found"
    sentence = "Peliqan does not know this."
    next_step = "It may have been removed. Go back to the list."


class Refused(PeliqanError):
    """400, 405, 409, 422: understood and not done."""

    code = "refused"
    sentence = "Peliqan refused this."
    next_step = "Read the reason; nothing was changed."

    @property
    def is_of_query(self) -> bool:
        """Whether a filter or a sort was refused: the server does not have it for the column, or has no such column."""
        return self.status == 400 and self.error in QUERY_REFUSALS


class QueryFailed(PeliqanError):
    """The warehouse itself refused a question in SQL, or gave up on it; ``detail`` is what the database said."""

    code = "query_failed"
    sentence = "The warehouse did not carry this out."
    next_step = "Change the question and ask again."

    @property
    def explained(self) -> str:
        """The sentence alone: what a database says may quote values. Who shows ``detail`` cuts it (``error_values``)."""
        return self.sentence


class Busy(Refused):
    """409, or an ``..._ALREADY_RUNNING``: something is under way that excludes this."""

    code = "busy"
    sentence = "Peliqan is already busy with this connection."
    next_step = "Wait for it to end, then try again."


class RateLimited(PeliqanError):
    """429; ``retry_after`` tells the wait in seconds where Peliqan gave one."""

    code = "rate_limited"
    sentence = "Peliqan asks to slow down."
    next_step = "The console waits and tries again by itself."


class BrokenAnswer(PeliqanError):
    """Not JSON, cut off, too large, redirected, or JSON of the wrong type."""

    code = "broken_answer"
    sentence = "Peliqan's answer could not be read."
    next_step = "Try again; if it stays so, check PELIQAN_API_URL and tell Peliqan's support the route and the time."


class ServerError(PeliqanError):
    """5xx."""

    code = "server_error"
    sentence = "Peliqan has an internal error."
    next_step = "There is nothing to do here but wait, and try again."


class RateLimiterUnavailable(PeliqanError):
    """The count of requests that all processes share (Redis) cannot be reached. Nothing was sent: the limit is a promise."""

    code = "no_pace"
    sentence = "The console cannot tell how fast it may ask Peliqan: Redis does not answer."
    next_step = "Nothing was sent. It works again by itself as soon as Redis does."


class ApiUnavailable(PeliqanError):
    """Nothing was sent: Peliqan has not answered anybody lately (``breaker``)."""

    code = "away"
    sentence = "Peliqan does not answer."
    next_step = (
        "The console looks for itself whether it answers again; try again when the banner is gone."
    )


# No answer, or a 5xx: what the breaker counts.
SILENT: Final = (Unreachable, TimedOut, ServerError)
# Nothing left this process.
NOT_SENT: Final = (RateLimiterUnavailable, ApiUnavailable)
# The account itself said nothing that could be used: worth another try later.
OUTAGE: Final = (*SILENT, *NOT_SENT)
