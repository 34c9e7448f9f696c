"""The words of the API and what they mean to a person: one table each, asked by everybody.

Peliqan documents the health statuses on its embedding page; run statuses are those that its SDK and help pages name.
A word that is not in a table is shown as it is and counted as unknown: an upstream release must not break a page.
"""

from enum import StrEnum
from typing import Final


class Severity(StrEnum):
    """How much a connection needs a person, worst first."""

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

# Seconds between two runs where the API names no ``run_interval``, as Peliqan's own application assumes.
ASSUMED_INTERVAL: Final = 86_400


class RunOutcome(StrEnum):
    """How a run stands. Whatever asks "did it succeed?" asks this, never the status itself.

    Source: Peliqan's help on pipeline webhooks. ``PARTIAL``: rows of at least one table failed, the rest was written: a success.
    ``SOURCE_FAILED``: the connector's program ended with an error. ``RUNNER_FAILED``: Peliqan's own runner crashed, outside the
    connector. ``STOPPED``: it was ended from outside; by whom is not documented.
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
        """Whether data was written and is current, all of it or a part."""
        return self in {RunOutcome.COMPLETE, RunOutcome.PARTIAL}

    @property
    def is_failure(self) -> bool:
        """Whether it ended without success."""
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
# What a status does not say by itself, for people; nothing where it does.
_MEANING_OF_OUTCOME: Final = {
    RunOutcome.PARTIAL: "partly loaded",
    RunOutcome.SOURCE_FAILED: "the source failed",
    RunOutcome.RUNNER_FAILED: "Peliqan’s own runner failed",
    RunOutcome.STOPPED: "stopped before its end",
}


def severity_of_health(status: str) -> Severity:
    """The severity of a connection's ``health_status``; ``UNKNOWN`` for a word Peliqan never documented."""
    return SEVERITY_OF_HEALTH.get(status.strip().upper(), Severity.UNKNOWN)


def severity_of_run(status: str) -> Severity:
    """The severity of a run's ``status``, on the same scale as a connection's."""
    return _SEVERITY_OF_OUTCOME.get(outcome_of_run(status), Severity.ERROR)


def meaning_of_run(status: str | None) -> str:
    """What a run's ``status`` means in a few words; an empty text where the status says it by itself."""
    return _MEANING_OF_OUTCOME.get(outcome_of_run(status), "")


def outcome_of_run(status: str | None) -> RunOutcome:
    """How a run with this ``status`` stands; ``UNKNOWN`` for no status and for a word Peliqan never documented."""
    return OUTCOME_OF_RUN.get((status or "").strip().upper(), RunOutcome.UNKNOWN)


def is_oauth(auth_type: str | None) -> bool:
    """Whether a customer can allow access again by a link: also where the API does not name the kind (assumption)."""
    return auth_type is None or "oauth" in auth_type.lower()


def run_is_over(status: str) -> bool:
    """Whether a run with this status has ended: everything has that is not known to run."""
    return outcome_of_run(status) is not RunOutcome.RUNNING


def is_saltedge(connector: str) -> bool:
    """Whether a connector is a SaltEdge bank connection: its name contains ``saltedge`` in any case (assumption)."""
    return "saltedge" in connector.lower()
