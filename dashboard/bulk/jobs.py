"""Carry out bulk jobs, one step at a time. A step that is cut off can be repeated.

A step finishes items whose actions have ended and starts the next ones, so that at most ``at_once``
are in flight. Nothing starts while the Peliqan API is unavailable. An item and its action are
committed together, before the API is called. If the worker dies before the commit, nothing has
started; after it, the polls of the action find the outcome. So no connection is started twice.
"""

from collections.abc import Callable
from datetime import timedelta
from functools import partial

from dashboard import peliqan
from dashboard.actions import service as actions
from dashboard.actions import sync
from dashboard.actions.models import Action
from dashboard.actions.service import ActionRequest
from dashboard.bulk import service as bulk
from dashboard.bulk.models import BulkItem, BulkJob
from dashboard.bulk.plan import why_not
from dashboard.context import Clock
from dashboard.core.database import db
from dashboard.customer_links import service as customer_links
from dashboard.fleet import queries

EnqueuePoll = Callable[[Action], None]


def step(
    api: peliqan.Peliqan, job: BulkJob, clock: Clock, interval: float, enqueue_poll: EnqueuePoll
) -> None:
    """Finish and start items, and set when the job is due next. Commits.

    The caller holds the job's lease.

    ``interval``: seconds until the next step if no action ends before. ``enqueue_poll``: called
    with each started action.
    """
    bulk.record_outcomes(job, clock())
    # A step starts at most ``at_once`` items, so that it notices a cancel and other jobs get time.
    for _ in range(job.at_once if api.breaker.outage is None else 0):
        item = bulk.next_item(job)
        if item is None or not _start(api, job, item, clock, interval, enqueue_poll):
            break
    # Links and refusals end an item within the step.
    bulk.record_outcomes(job, clock())
    at = clock()
    bulk.finish_step(
        job, at, at + timedelta(seconds=interval), waits=api.breaker.outage is not None
    )


def _start(
    api: peliqan.Peliqan,
    job: BulkJob,
    item: BulkItem,
    clock: Clock,
    interval: float,
    enqueue_poll: EnqueuePoll,
) -> bool:
    """Start an item, or leave it out with the reason; return False if no item may start now."""
    at, item_id = clock(), item.id
    reason = _why_not_now(job, item)
    connection = queries.connection_or_none(item.account_id, item.connection_id)
    if reason is not None or connection is None:
        bulk.skip(item_id, reason or "It is no longer known.", at)
        return True
    request = ActionRequest(
        who=job.went_on_by or job.who,
        at=at,
        interval=interval,
        why=job.why,
        on_create=partial(bulk.claim, job.id, item_id, at=at),
    )
    try:
        if job.kind == actions.SYNC:
            action = sync.start(api, connection, request)
        else:
            action = customer_links.request_link(api, job.kind, connection, request)
    except bulk.NotNow:
        db.session.rollback()
        return False
    except peliqan.ApiUnavailable:
        # The item stays waiting: it starts when the API is available again.
        return False
    db.session.refresh(item)
    if item.action_id is None:
        # A user started the same action after the check above.
        bulk.skip(item_id, _in_flight(action), clock())
    else:
        enqueue_poll(action)
    return True


def _why_not_now(job: BulkJob, item: BulkItem) -> str | None:
    """Return why an item is left out now that the job has started; None if it is not."""
    connection = queries.connection_or_none(item.account_id, item.connection_id)
    if (reason := why_not(job.kind, connection)) is not None:
        return f"Left out: {reason}."
    if (action := actions.in_flight(item.account_id, item.connection_id, job.kind)) is not None:
        return _in_flight(action)
    return "It recovered by itself before its turn." if bulk.recovered_since(job, item) else None


def _in_flight(action: Action) -> str:
    what = "A sync" if action.kind == actions.SYNC else "A link"
    return f"{what} that {action.started_by} asked for was under way already."
