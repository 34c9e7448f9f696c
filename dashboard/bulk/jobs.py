"""Goes on with work on many connections: one step at a time, however often a step is cut off. While Peliqan answers nobody, no
connection has its turn.

A step notes what has ended and begins the next, so that at most ``at_once`` are under way. A connection's turn and its action
are one commit, made before Peliqan is asked: whoever dies before it has begun nothing, and after it the action's own looks
find out what became of it. So no connection is ever begun twice.
"""

from collections.abc import Callable
from datetime import timedelta
from functools import partial

from dashboard import peliqan
from dashboard.actions import service as actions
from dashboard.actions import sync
from dashboard.actions.models import Action
from dashboard.bulk import service as bulk
from dashboard.bulk.models import BulkItem, BulkJob
from dashboard.bulk.plan import why_not
from dashboard.context import Clock
from dashboard.core.database import db
from dashboard.customer_links import service as customer_links
from dashboard.fleet import queries

Follow = Callable[[Action], None]


def step(api: peliqan.Peliqan, job: BulkJob, clock: Clock, interval: float, follow: Follow) -> None:
    """Note ends, begin what may begin, and say when the job is due next. The caller holds its lease.

    ``interval``: seconds until what is under way is asked after, if nothing says sooner that it has ended. ``follow``: has an
    action that was begun looked at.
    """
    bulk.record_outcomes(job, clock())
    # No more than this in one step, so that a cancelled job is heard and others have their turn.
    for _ in range(job.at_once if api.breaker.outage is None else 0):
        item = bulk.next_item(job)
        if item is None or not _begin(api, job, item, clock, interval, follow):
            break
    # A link is there at once, and so is a refusal.
    bulk.record_outcomes(job, clock())
    at = clock()
    bulk.finish_step(
        job, at, at + timedelta(seconds=interval), waits=api.breaker.outage is not None
    )


def _begin(
    api: peliqan.Peliqan,
    job: BulkJob,
    item: BulkItem,
    clock: Clock,
    interval: float,
    follow: Follow,
) -> bool:
    """Begin one, or leave it out with the reason; False where nothing may begin now."""
    at, item_id = clock(), item.id
    reason = _why_not_now(job, item)
    connection = queries.connection_or_none(item.account_id, item.connection_id)
    if reason is not None or connection is None:
        bulk.skip(item_id, reason or "It is no longer known.", at)
        return True
    along = partial(bulk.claim, job.id, item_id, at=at)
    who = job.went_on_by or job.who
    try:
        if job.kind == actions.SYNC:
            action = sync.start(api, connection, who, at, interval, job.why, along)
        else:
            action = customer_links.request_link(
                api, job.kind, connection, who, at, interval, job.why, along
            )
    except bulk.NotNow:
        db.session.rollback()
        return False
    except peliqan.ApiUnavailable:
        # Not this one's turn: it is begun when Peliqan answers again.
        return False
    db.session.refresh(item)
    if item.action_id is None:
        # Somebody pressed the button between our look and our try.
        bulk.skip(item_id, _under_way(action), clock())
    else:
        follow(action)
    return True


def _why_not_now(job: BulkJob, item: BulkItem) -> str | None:
    """What has changed since the job was begun, so that this connection is not to be touched."""
    connection = queries.connection_or_none(item.account_id, item.connection_id)
    if (reason := why_not(job.kind, connection)) is not None:
        return f"Left out: {reason}."
    if (action := actions.in_flight(item.account_id, item.connection_id, job.kind)) is not None:
        return _under_way(action)
    return "It recovered by itself before its turn." if bulk.recovered_since(job, item) else None


def _under_way(action: Action) -> str:
    what = "A sync" if action.kind == actions.SYNC else "A link"
    return f"{what} that {action.started_by} asked for was under way already."
