"""The meaning of the API's status words: one table each, used everywhere.

Peliqan documents the health statuses on its embedding page, and run statuses in its SDK and help
pages. A word that is not in a table is shown as it is and counts as unknown, since a release of
Peliqan must not break a page.
"""

from enum import StrEnum
from typing import Final


class Severity(StrEnum):
    """How much a connection needs a user's attention, worst first."""

    ERROR = "error"
    ATTENTION = "attention"
    UNKNOWN = "unknown"
    BUSY = "busy"
    OFF = "off"
    OK = "ok"


SEVERITY_OF_HEALTH: Final[dict[str, Severity]] = {
    "OK": Severity.OK,
    "HEALTHY": Severity.OK,
    "CHECKING": Severity.BUSY,
    "AUTHORIZING": Severity.BUSY,
    "RE_AUTHORISING": Severity.BUSY,
    "RE_AUTHORISED": Severity.BUSY,
    "RE_ENABLED": Severity.BUSY,
    "CONFIG_SELECT": Severity.ATTENTION,
    "COMPLETED_WITH_ERRORS": Severity.ATTENTION,
    "ERROR": Severity.ERROR,
    "DISABLED": Severity.OFF,
}

# Seconds between two runs if the API has no ``run_interval``, as Peliqan's application assumes.
ASSUMED_INTERVAL: Final = 86_400


class RunOutcome(StrEnum):
    """The outcome of a run. Code that depends on success uses this, not the status word.

    Source: Peliqan's help on pipeline webhooks. ``PARTIAL``: rows of at least one table failed, the
    rest was written; this is a success. ``SOURCE_FAILED``: the connector's program failed.
    ``RUNNER_FAILED``: Peliqan's own runner crashed, outside of the connector. ``STOPPED``: stopped
    from outside; by whom is not documented.
    """

    RUNNING = "running"
    COMPLETE = "complete"
    PARTIAL = "partial"
    SOURCE_FAILED = "source_failed"
    RUNNER_FAILED = "runner_failed"
    STOPPED = "stopped"
    UNKNOWN = "unknown"

    @property
    def is_success(self) -> bool:
        """Whether data was written and is current, all or a part of it."""
        return self in {RunOutcome.COMPLETE, RunOutcome.PARTIAL}

    @property
    def is_failure(self) -> bool:
        """Whether the run ended without success."""
        return self in {RunOutcome.SOURCE_FAILED, RunOutcome.RUNNER_FAILED, RunOutcome.STOPPED}


OUTCOME_OF_RUN: Final[dict[str, RunOutcome]] = {
    "RUNNING": RunOutcome.RUNNING,
    "IN_PROGRESS": RunOutcome.RUNNING,
    "SYNC_IN_PROGRESS": RunOutcome.RUNNING,
    "COMPLETED": RunOutcome.COMPLETE,
    "COMPLETED_WITH_ERRORS": RunOutcome.PARTIAL,
    "ERROR": RunOutcome.SOURCE_FAILED,
    "INTERNAL_ERROR": RunOutcome.RUNNER_FAILED,
    "KILLED": RunOutcome.STOPPED,
}
RUNNING_WORDS: Final = tuple(
    word for word, outcome in OUTCOME_OF_RUN.items() if outcome is RunOutcome.RUNNING
)
_SEVERITY_OF_OUTCOME: Final = {
    RunOutcome.RUNNING: Severity.BUSY,
    RunOutcome.COMPLETE: Severity.OK,
    RunOutcome.PARTIAL: Severity.ATTENTION,
    RunOutcome.UNKNOWN: Severity.UNKNOWN,
}
# The meaning of outcomes whose status word does not explain itself.
_MEANING_OF_OUTCOME: Final = {
    RunOutcome.PARTIAL: "partly loaded",
    RunOutcome.SOURCE_FAILED: "the source failed",
    RunOutcome.RUNNER_FAILED: "Peliqan’s own runner failed",
    RunOutcome.STOPPED: "stopped before its end",
}


def severity_of_health(status: str) -> Severity:
    """Return the severity of a ``health_status``; ``UNKNOWN`` for an undocumented word."""
    return SEVERITY_OF_HEALTH.get(status.strip().upper(), Severity.UNKNOWN)


def severity_of_run(status: str) -> Severity:
    """Return the severity of a run's ``status``, on the scale of connections."""
    return _SEVERITY_OF_OUTCOME.get(outcome_of_run(status), Severity.ERROR)


def meaning_of_run(status: str | None) -> str:
    """Return the meaning of a run's ``status`` in a few words; empty if the word is clear."""
    return _MEANING_OF_OUTCOME.get(outcome_of_run(status), "")


def outcome_of_run(status: str | None) -> RunOutcome:
    """Return the outcome of a run's ``status``; ``UNKNOWN`` for none or an undocumented word."""
    return OUTCOME_OF_RUN.get((status or "").strip().upper(), RunOutcome.UNKNOWN)


def is_oauth(auth_type: str | None) -> bool:
    """Return whether a link can renew the authorisation; True for an unknown type (assumption)."""
    return auth_type is None or "oauth" in auth_type.lower()


def run_is_over(status: str) -> bool:
    """Return whether a run with this status has ended; True for unknown words."""
    return outcome_of_run(status) is not RunOutcome.RUNNING


def is_saltedge(connector: str) -> bool:
    """Return whether a connector is a SaltEdge bank connection, by its name (assumption)."""
    return "saltedge" in connector.lower()
