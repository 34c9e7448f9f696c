"""Start a sync once and poll it to its end.

The start is a GET with a side effect, so it is never repeated. If the response is lost, the outcome
is unknown, and polls of the sync status and the list of runs find out.
"""

from datetime import datetime, timedelta

from dashboard import peliqan
from dashboard.actions import polling
from dashboard.actions import service as actions
from dashboard.actions.limits import GIVE_UP_AFTER
from dashboard.actions.models import Action
from dashboard.actions.polling import next_poll
from dashboard.actions.service import ActionRequest
from dashboard.fleet.models import Connection
from dashboard.refresh import live

# "running: false" with the status RUNNING is a missed liveness ping: poll 3 times more, every 10 s
# (source: Peliqan's SDK).
CONTRADICTIONS_BELIEVED = 3
CONTRADICTION_WAIT = timedelta(seconds=10)
# So many polls without a new run mean that no run started.
POLLS_FOR_A_RUN = 3
# Peliqan's clock may be behind ours, so a run may seem to start before its request.
CLOCK_SKEW = timedelta(seconds=60)


def start(api: peliqan.Peliqan, connection: Connection, request: ActionRequest) -> Action:
    """Start a sync, or return the one that is in flight. Commits.

    Repeated requests start one run. Errors of the API are not raised: the action's state and
    detail hold them.

    Raises:
        peliqan.ApiUnavailable: The circuit breaker is open. Nothing was stored or sent.
    """
    at = request.at
    api.ensure("syncdb")
    action, is_new = actions.start_action(
        actions.SYNC, connection, request.who, at, why=request.why, on_create=request.on_create
    )
    if not is_new:
        return action
    try:
        started = api.for_account(action.account_id).start_sync(action.connection_id)
    except peliqan.Busy:
        action.state = actions.RUNNING
        action.detail = "A run was already under way; following that one."
    except peliqan.PeliqanError as error:
        if not error.outcome_unknown:
            if not isinstance(error, peliqan.OUTAGE):
                polling.read_after(api, action, at)
            actions.complete(action, "failed", at, error.explained)
            return action
        action.state = actions.UNKNOWN
        action.detail = f"{error.sentence} It may have started all the same; finding out."
    else:
        action.state = actions.RUNNING
        action.run_id, action.task_id = started.first_run_id, started.first_task_id
    actions.reschedule(action, next_poll(action, at, request.interval))
    return action


def poll(api: peliqan.Peliqan, action: Action, at: datetime, interval: float) -> None:
    """Poll the sync once and store the result. Commits. The caller holds the action's lease."""
    action.looks += 1
    action.looked_at = at
    if at - action.started_at > GIVE_UP_AFTER:
        polling.read_after(api, action, at)
        actions.complete(action, "stuck", at, "No end was seen within 24 hours.")
        return
    account = api.for_account(action.account_id)
    try:
        status = account.sync_status(
            action.connection_id, task_id=action.task_id, run_id=action.run_id
        )
        if status.running:
            action.state, action.contradictions = actions.RUNNING, 0
            action.run_id = action.run_id or status.run_id
            action.run_status = status.status or action.run_status
            actions.reschedule(action, next_poll(action, at, interval))
        elif status.contradicts_itself:
            confirm_stuck(api, action, at, interval)
        else:
            _ended(api, account, action, at, interval)
    except peliqan.PeliqanError as error:
        if isinstance(error, peliqan.OUTAGE):
            # An outage says nothing about the run, so it does not count as a poll without a run.
            action.looks -= 1
        action.detail = f"{error.sentence} Looking again."
        actions.reschedule(action, next_poll(action, at, interval))


def confirm_stuck(api: peliqan.Peliqan, action: Action, at: datetime, interval: float) -> None:
    """Complete a run as stuck after 4 contradictory polls; else poll it again. Commits."""
    action.contradictions += 1
    if action.contradictions > CONTRADICTIONS_BELIEVED:
        polling.read_after(api, action, at)
        actions.complete(
            action,
            "stuck",
            at,
            "Peliqan says that the run is RUNNING but that nothing runs it:"
            " it is stuck, not complete.",
        )
        return
    action.state = actions.RUNNING
    actions.reschedule(action, at + min(CONTRADICTION_WAIT, timedelta(seconds=interval)))


def _ended(
    api: peliqan.Peliqan, account: peliqan.AccountApi, action: Action, at: datetime, interval: float
) -> None:
    run = _run_of(account, action)
    if run is None and action.looks < POLLS_FOR_A_RUN:
        actions.reschedule(action, next_poll(action, at, interval))
        return
    live.read_connection(api, action.account_id, action.connection_id, at)
    if run is None:
        actions.complete(
            action, "failed", at, "No run began. Nothing was synced; it can be started again."
        )
        return
    if run.is_running:
        confirm_stuck(api, action, at, interval)
        return
    action.run_id, action.run_status, action.records = run.id, run.status, run.records
    actions.complete(action, "done" if run.succeeded else "failed", at, run.error)


def _run_of(account: peliqan.AccountApi, action: Action) -> peliqan.Run | None:
    """Return the action's run: by its id, else the first run that started after the action."""
    if action.run_id is not None:
        return account.run(action.connection_id, action.run_id)
    newer = [
        run
        for run in account.runs(action.connection_id)
        if run.id > (action.last_run_before or 0)
        and (run.started_at or action.started_at) >= action.started_at - CLOCK_SKEW
    ]
    return min(newer, key=lambda run: run.id, default=None)
