"""Events that Peliqan posts (webhooks): parsed once, here; and what they say of a run.

That there are events, and their names, is documented (H); the fields of their bodies are assumed (A). So nothing but the name
is needed: what cannot be read is left unsaid, and the event is kept all the same.
"""

import hashlib
import hmac
import json
from typing import Annotated, Any, Final

from pydantic import (
    AliasChoices,
    Field,
    ValidationError,
    ValidatorFunctionWrapHandler,
    WrapValidator,
)

from dashboard.peliqan.models import Answer, Id, Text, Time, Word
from dashboard.peliqan.statuses import RunOutcome, outcome_of_run

ADDED: Final = "connection_added"
REMOVED: Final = "connection_removed"
OF_RUNS: Final = "pipeline_run_"
STARTED: Final = "STARTED"
LONGEST_KEY = 128


def _unsaid(value: Any, read: ValidatorFunctionWrapHandler) -> Any:
    try:
        return read(value)
    except ValidationError:
        return None


Unsaid = WrapValidator(_unsaid)


class Event(Answer):
    """One event. ``sent_at``: its own time; ``status``: the word that it says of the run or the connection."""

    event: Annotated[Word | None, Unsaid] = None
    event_id: Annotated[Text, Unsaid] = None
    sent_at: Annotated[Time | None, Unsaid] = Field(
        None, validation_alias=AliasChoices("timestamp", "sent_at")
    )
    account_id: Annotated[Id | None, Unsaid] = Field(
        None, validation_alias=AliasChoices("account_id", "sub_account_id")
    )
    connection_id: Annotated[Id | None, Unsaid] = Field(
        None, validation_alias=AliasChoices("server_id", "connection_id")
    )
    run_id: Annotated[Id | None, Unsaid] = Field(
        None, validation_alias=AliasChoices("pipeline_run_id", "run_id")
    )
    status: Annotated[Word | None, Unsaid] = Field(
        None, validation_alias=AliasChoices("status", "health_status")
    )


def parse_event(body: bytes) -> Event:
    """A body as an event.

    Raises:
        ValueError: it is no JSON object in UTF-8.
    """
    try:
        told = json.loads(body.decode())
    except (ValueError, RecursionError):
        raise ValueError("The body is not JSON.") from None
    if not isinstance(told, dict):
        raise ValueError("The body is JSON, but no object.")
    return Event.model_validate(told)


def key_of(event: Event, body: bytes) -> str:
    """What tells the event from all others: its id, or else a hash of its body."""
    return (
        event.event_id
        if event.event_id and len(event.event_id) <= LONGEST_KEY
        else hashlib.sha256(body).hexdigest()
    )


def signature_of(body: bytes, secret: str) -> str:
    """The HMAC-SHA256 of a body, as hexadecimal digits (H)."""
    return hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()


def is_signed(body: bytes, given: str | None, secret: str) -> bool:
    """Whether ``given`` is the HMAC-SHA256 of the raw body, as hexadecimal digits, with or without ``sha256=`` in front.

    Compared in constant time: how long it takes tells nobody how much of a guess is right.
    """
    wanted = signature_of(body, secret)
    said = (given or "").strip().lower().removeprefix("sha256=")
    return hmac.compare_digest(wanted.encode(), said.encode("utf-8", "replace"))


def is_known(event: str, status: str) -> bool:
    """Whether the console knows what an event means."""
    return event in {ADDED, REMOVED} or run_status(event, status) is not None


def run_status(event: str, status: str) -> str | None:
    """The status of a run that an event tells, None where it tells none that is known.

    By the event's name; the word that it carries counts where the name is new. ``pipeline_run_started`` is RUNNING.
    """
    if not event.startswith(OF_RUNS):
        return None
    said = event.removeprefix(OF_RUNS).upper()
    if said == STARTED:
        return "RUNNING"
    return next(
        (
            word
            for word in (said, status.strip().upper())
            if outcome_of_run(word) is not RunOutcome.UNKNOWN
        ),
        None,
    )
