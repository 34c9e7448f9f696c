"""Events that Peliqan posts (webhooks), and what they report about a run.

The events and their names are documented (H); the fields of their bodies are assumptions (A). So
only the name is required: unreadable fields become None, and the event is still stored.
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


def _none_if_unreadable(value: Any, read: ValidatorFunctionWrapHandler) -> Any:
    try:
        return read(value)
    except ValidationError:
        return None


Lenient = WrapValidator(_none_if_unreadable)


class Event(Answer):
    """One event. ``sent_at``: its time at Peliqan; ``status``: of the run or connection."""

    event: Annotated[Word | None, Lenient] = None
    event_id: Annotated[Text, Lenient] = None
    sent_at: Annotated[Time | None, Lenient] = Field(
        None, validation_alias=AliasChoices("timestamp", "sent_at")
    )
    account_id: Annotated[Id | None, Lenient] = Field(
        None, validation_alias=AliasChoices("account_id", "sub_account_id")
    )
    connection_id: Annotated[Id | None, Lenient] = Field(
        None, validation_alias=AliasChoices("server_id", "connection_id")
    )
    run_id: Annotated[Id | None, Lenient] = Field(
        None, validation_alias=AliasChoices("pipeline_run_id", "run_id")
    )
    status: Annotated[Word | None, Lenient] = Field(
        None, validation_alias=AliasChoices("status", "health_status")
    )


def parse_event(body: bytes) -> Event:
    """Parse a body as an event.

    Raises:
        ValueError: the body is not a JSON object in UTF-8.
    """
    try:
        content = json.loads(body.decode())
    except (ValueError, RecursionError):
        raise ValueError("The body is not JSON.") from None
    if not isinstance(content, dict):
        raise ValueError("The body is JSON, but no object.")
    return Event.model_validate(content)


def key_of(event: Event, body: bytes) -> str:
    """Return the unique key of an event: its id, or else a hash of its body."""
    return (
        event.event_id
        if event.event_id and len(event.event_id) <= LONGEST_KEY
        else hashlib.sha256(body).hexdigest()
    )


def signature_of(body: bytes, secret: str) -> str:
    """Return the HMAC-SHA256 of a body as hexadecimal digits (H)."""
    return hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()


def is_signed(body: bytes, given: str | None, secret: str) -> bool:
    """Return whether ``given`` is the signature of the raw body, with or without ``sha256=``.

    Compares in constant time, so that the duration reveals nothing about a guess.
    """
    expected = signature_of(body, secret)
    actual = (given or "").strip().lower().removeprefix("sha256=")
    return hmac.compare_digest(expected.encode(), actual.encode("utf-8", "replace"))


def is_known(event: str, status: str) -> bool:
    """Return whether the console knows the meaning of an event."""
    return event in {ADDED, REMOVED} or run_status(event, status) is not None


def run_status(event: str, status: str) -> str | None:
    """Return the run status that an event reports; None if it reports no known one.

    The event's name decides; for a new name its field ``status`` does. ``pipeline_run_started``
    means RUNNING.
    """
    if not event.startswith(OF_RUNS):
        return None
    name = event.removeprefix(OF_RUNS).upper()
    if name == STARTED:
        return "RUNNING"
    return next(
        (
            word
            for word in (name, status.strip().upper())
            if outcome_of_run(word) is not RunOutcome.UNKNOWN
        ),
        None,
    )
