"""Periodic task of findings: changes that only depend on time."""

from datetime import datetime

from dashboard.findings import evaluate
from dashboard.tasks import periodic
from dashboard.tasks.queues import DAY


def enqueue_due(at: datetime) -> None:
    """Expire states of findings that end by now; once a day, evaluate all connections. Commits.

    The daily evaluation is for bank consents, which end without a change of the connection.
    """
    evaluate.expire_states(at)
    if periodic.claim_periodic("findings", at, DAY):
        evaluate.evaluate_all(at)
