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

RUNNING: Final = frozenset({"RUNNING", "IN_PROGRESS", "SYNC_IN_PROGRESS"})
SUCCEEDED: Final = frozenset({"COMPLETED"})
FAILED: Final = frozenset({"ERROR", "INTERNAL_ERROR", "KILLED"})
PARTLY: Final = frozenset({"COMPLETED_WITH_ERRORS"})


def severity_of_health(status: str) -> Severity:
    """The severity of a connection's ``health_status``; ``UNKNOWN`` for a word Peliqan never documented."""
    return SEVERITY_OF_HEALTH.get(status.strip().upper(), Severity.UNKNOWN)


def severity_of_run(status: str) -> Severity:
    """The severity of a run's ``status``, on the same scale as a connection's."""
    word = status.strip().upper()
    if word in RUNNING:
        return Severity.BUSY
    if word in SUCCEEDED:
        return Severity.OK
    if word in PARTLY:
        return Severity.ATTENTION
    return Severity.ERROR if word in FAILED else Severity.UNKNOWN


def is_oauth(auth_type: str | None) -> bool:
    """Whether a customer can allow access again by a link: also where the API does not name the kind (assumption)."""
    return auth_type is None or "oauth" in auth_type.lower()


def run_is_over(status: str) -> bool:
    """Whether a run with this status has ended: everything has that is not known to run."""
    return status.strip().upper() not in RUNNING


def is_saltedge(connector: str) -> bool:
    """Whether a connector is a SaltEdge bank connection: its name contains ``saltedge`` in any case (assumption)."""
    return "saltedge" in connector.lower()
