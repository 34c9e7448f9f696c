"""The task that polls an action until its outcome is known."""

from collections.abc import Callable
from datetime import datetime

from dashboard import peliqan
from dashboard.actions import service as actions
from dashboard.actions import sync
from dashboard.actions.models import Action
from dashboard.actions.signals import action_completed
from dashboard.context import services
from dashboard.tasks.queues import task

Poller = Callable[[peliqan.Peliqan, Action, datetime, float], None]
# How to poll each kind of action. Features above this one add theirs when the app is created.
POLLERS: dict[str, Poller] = {actions.SYNC: sync.poll}


@task("look")
def poll_action(action_id: int) -> None:
    """Poll an action once if it can be leased, then enqueue the next poll."""
    at = services().clock()
    action = actions.lease(action_id, at)
    if action is None:
        return
    POLLERS[action.kind](services().api, action, at, services().settings.dashboard_watch_interval)
    poll_action.enqueue_when_due(action)
    if action.settled_at is not None:
        action_completed.send(action_id=action_id)


def enqueue_due(at: datetime) -> None:
    """Enqueue all actions that are due."""
    for action_id in actions.due(at):
        poll_action.enqueue(action_id)
