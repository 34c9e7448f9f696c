"""What time alone changes in findings."""

from datetime import datetime

from dashboard.findings import evaluate
from dashboard.tasks import periodic
from dashboard.tasks.queue import DAY


def enqueue_due(at: datetime) -> None:
    """Expire states of findings that end by now; once a day, evaluate all connections. Commits.

    Consents end by the calendar alone. Everything else is evaluated when it changes.
    """
    evaluate.expire_states(at)
    if periodic.claim_periodic("findings", at, DAY):
        evaluate.evaluate_all(at)
