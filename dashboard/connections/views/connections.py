"""Pages of connections: the list, one connection, and its actions."""

from dataclasses import dataclass
from datetime import datetime, timedelta

from flask import Blueprint, abort, flash, redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue

from dashboard import peliqan
from dashboard.actions import service as actions
from dashboard.actions import sync
from dashboard.actions.models import Action
from dashboard.actions.presenters import Advice, advise, audit_if_not_sent
from dashboard.actions.service import ActionRequest
from dashboard.actions.tasks import poll_action
from dashboard.audit import service as audit
from dashboard.connections.limits import HEALTH_CHANGES_SHOWN, STRIP_DAYS
from dashboard.connections.views.health_strip import Day, strip
from dashboard.context import services
from dashboard.core.error_values import sentence_of
from dashboard.customer_links import service as customer_links
from dashboard.customer_links.banks import queries as banks
from dashboard.customer_links.presenters import MessageForm, message_of
from dashboard.customer_links.service import SafeLink, check_link
from dashboard.deliveries import service as deliveries
from dashboard.deliveries.models import Delivery
from dashboard.findings import queries as finding_queries
from dashboard.findings.models import DataCheck, Finding
from dashboard.fleet import queries
from dashboard.fleet import runs as fleet_runs
from dashboard.fleet.lists import CONNECTIONS, serialize_connection
from dashboard.fleet.models import Connection, HealthChange, Run
from dashboard.notes import service as notes
from dashboard.refresh import live
from dashboard.refresh.limits import FRESH_FOR
from dashboard.tables.data_checks import jobs as data_check_jobs
from dashboard.tables.data_checks import service as checked_data
from dashboard.tables.health import freshness
from dashboard.users.authentication import visitor
from dashboard.web import htmx
from dashboard.web.lists import render_list
from dashboard.web.lookup import PATH, get_connection_or_404
from dashboard.web.required_role import is_for_scripts, requires

bp = Blueprint("connections", __name__)


@dataclass(frozen=True)
class ConnectionPage:
    """The content of a connection's page and its fragments."""

    connection: Connection
    runs: list[Run]
    history: list[HealthChange]
    days: list[Day]
    findings: list[Finding]
    advice: Advice
    done_here: list[Action]
    sync: Action | None
    ask: Action | None
    link: SafeLink | None
    message: MessageForm | None
    is_fresh: bool
    delivery: Delivery | None
    may_hand_over: bool
    problem: peliqan.PeliqanError | None = None
    rows_note: str = ""
    data_check: DataCheck | None = None
    data_note: str = ""

    @property
    def syncing(self) -> bool:
        """Whether a sync started by a user is in flight."""
        return self.sync is not None and self.sync.settled_at is None

    @property
    def next_run_at(self) -> datetime | None:
        """The next scheduled run; None if it is not known."""
        row = self.connection
        if row.scheduler_off or not row.run_interval or not row.last_run_at:
            return None
        return row.last_run_at + timedelta(seconds=row.run_interval)

    @property
    def lateness(self) -> float | None:
        """Age of the last success in intervals: over 2 is late, over 3 dark."""
        row = self.connection
        if row.is_warehouse or row.is_target or not row.last_success_at:
            return None
        return (services().clock() - row.last_success_at).total_seconds() / row.interval


def connection_page(
    connection: Connection,
    problem: peliqan.PeliqanError | None = None,
    *,
    rows_note: str = "",
    data_note: str = "",
) -> ConnectionPage:
    """Return the page's content from the database.

    ``rows_note``, ``data_note``: result of a check of the rows or of the data.
    """
    at = services().clock()
    account_id, connection_id = connection.account_id, connection.id
    history = queries.health_history(account_id, connection_id, at - timedelta(days=STRIP_DAYS))
    done = actions.latest(account_id, connection_id)
    findings = finding_queries.of_connection(account_id, connection_id)
    ask = next((action for action in done if action.kind != actions.SYNC), None)
    return ConnectionPage(
        connection=connection,
        runs=fleet_runs.latest(account_id, connection_id),
        history=history[::-1][:HEALTH_CHANGES_SHOWN],
        days=strip(history, connection.first_seen_at, at, STRIP_DAYS),
        findings=findings,
        advice=advise(connection, findings),
        done_here=done,
        sync=next((action for action in done if action.kind == actions.SYNC), None),
        ask=ask,
        link=check_link(ask.url) if ask is not None and ask.url else None,
        message=message_of(ask, connection.account, connection)
        if ask is not None and visitor().may("operator")
        else None,
        is_fresh=at - connection.looked_at < FRESH_FOR,
        delivery=deliveries.latest_of((account_id, connection_id)),
        may_hand_over=connection.may_sync and services().hook is not None,
        problem=problem,
        rows_note=rows_note,
        data_check=checked_data.of_connection(account_id, connection_id),
        data_note=data_note,
    )


@bp.get("/connections", endpoint="index")
@bp.get("/connections.json", endpoint="index_json")
@bp.get("/connections.csv", endpoint="index_csv")
@requires("viewer")
def index() -> ResponseReturnValue:
    """List all connections; the page also links to the contradictions."""
    is_page = not is_for_scripts() and not htmx.is_htmx()
    contradictions = finding_queries.count_contradictions() if is_page else 0
    template, fragment = "connections/connections.html", "connections/_connections.html"
    return render_list(
        CONNECTIONS, serialize_connection, template, fragment, contradictions=contradictions
    )


@bp.get(PATH)
@requires("viewer")
def show(account_id: int, connection_id: int) -> ResponseReturnValue:
    """Show one connection from the snapshot; htmx then loads its live state."""
    connection = get_connection_or_404(account_id, connection_id)
    target = notes.NoteTarget(account_id, connection_id)
    return render_template(
        "connections/connection.html",
        page=connection_page(connection),
        notes=notes.notes_on(target),
        place=target,
        account_place=notes.NoteTarget(account_id),
        tick=banks.review_of(connection) if connection.is_saltedge else None,
    )


@bp.get(f"{PATH}/live")
@requires("viewer", poll=True)
def show_live(account_id: int, connection_id: int) -> ResponseReturnValue:
    """Read the connection from the API; on failure, show the last state with the reason."""
    connection = get_connection_or_404(account_id, connection_id)
    live.watch(services(), account_id)
    problem = None
    try:
        live.read_if_old(services().api, connection, services().clock())
    except peliqan.PeliqanError as error:
        problem = error
    connection = get_connection_or_404(account_id, connection_id)
    return render_template(
        "connections/_connection.html", page=connection_page(connection, problem)
    )


@bp.post(f"{PATH}/check")
@requires("viewer")
def check(account_id: int, connection_id: int) -> ResponseReturnValue:
    """Read the connection from the API, by a button that works without JavaScript."""
    connection, problem = _read(get_connection_or_404(account_id, connection_id))
    if problem is not None:
        flash(f"{problem.sentence} {problem.next_step}", "danger")
    return _answer(connection, problem)


@bp.post(f"{PATH}/rows-check")
@requires("viewer")
def check_rows(account_id: int, connection_id: int) -> ResponseReturnValue:
    """Check when the newest row of its tables was received."""
    connection = get_connection_or_404(account_id, connection_id)
    try:
        checked = freshness.check_freshness(services().api, connection, services().clock())
        note, kind = checked.sentence, "info"
    except peliqan.PeliqanError as error:
        note, kind = (
            f"The rows could not be looked at. {error.explained} {error.next_step}",
            "danger",
        )
    if htmx.is_htmx():
        fresh = get_connection_or_404(account_id, connection_id)
        return render_template(
            "connections/_connection.html", page=connection_page(fresh, rows_note=note)
        )
    flash(note, kind)
    return _answer(connection)


@bp.post(f"{PATH}/data-check")
@requires("viewer")
def check_data(account_id: int, connection_id: int) -> ResponseReturnValue:
    """Check the connection's tables in the warehouse, at most once a minute."""
    connection, at = get_connection_or_404(account_id, connection_id), services().clock()
    note, kind = "The data was checked less than a minute ago.", "info"
    if not checked_data.is_fresh(account_id, connection_id, at):
        try:
            note = data_check_jobs.check(services().api, connection, at).sentence
        except data_check_jobs.CannotCheck as error:
            note, kind = str(error), "danger"
        except peliqan.PeliqanError as error:
            step = "" if isinstance(error, peliqan.QueryFailed) else error.next_step
            note, kind = (
                f"The data could not be checked. {sentence_of(error)} {step}".strip(),
                "danger",
            )
    if htmx.is_htmx():
        fresh = get_connection_or_404(account_id, connection_id)
        return render_template(
            "connections/_connection.html", page=connection_page(fresh, data_note=note)
        )
    flash(note, kind)
    return _answer(connection)


@bp.post(f"{PATH}/sync")
@requires("operator")
def start_sync(account_id: int, connection_id: int) -> ResponseReturnValue:
    """Start a sync; repeated requests start one run."""
    connection = get_connection_or_404(account_id, connection_id)
    if not connection.may_sync:
        return _refuse(connection, "sync", "This connection has no pipeline to run.")
    with audit_if_not_sent(actions.SYNC, account_id, connection_id):
        action = sync.start(services().api, connection, _request())
    poll_action.enqueue_when_due(action)
    return _answer(connection)


@bp.post(f"{PATH}/reauthorise")
@requires("operator")
def reauthorise(account_id: int, connection_id: int) -> ResponseReturnValue:
    """Request a link for the customer to allow access again."""
    connection = get_connection_or_404(account_id, connection_id)
    if not connection.may_reauthorise:
        return _refuse(
            connection, actions.REAUTHORISE, "This connection is not authorised by OAuth."
        )
    return _request_link(actions.REAUTHORISE, connection)


@bp.post(f"{PATH}/saltedge-refresh")
@requires("operator")
def saltedge_refresh(account_id: int, connection_id: int) -> ResponseReturnValue:
    """Request a link for the customer to refresh the bank's data."""
    connection = get_connection_or_404(account_id, connection_id)
    if not connection.is_saltedge:
        return _refuse(
            connection, actions.BANK_REFRESH, "This is no bank connection of SaltEdge's."
        )
    return _request_link(actions.BANK_REFRESH, connection)


@bp.get(f"{PATH}/run-status")
@requires("viewer", poll=True)
def run_status(account_id: int, connection_id: int) -> ResponseReturnValue:
    """Return the sync indicator from the database: only the worker polls the API."""
    connection = get_connection_or_404(account_id, connection_id)
    if not htmx.is_htmx():
        return redirect(url_for(".show", account_id=account_id, connection_id=connection_id))
    done = actions.latest(account_id, connection_id)
    action = next((each for each in done if each.kind == actions.SYNC), None)
    answer = render_template("connections/_sync.html", connection=connection, sync=action)
    return (
        htmx.final_fragment(answer)
        if action is not None and action.settled_at is not None
        else answer
    )


@bp.get(f"{PATH}/link-status")
@requires("viewer", poll=True)
def link_status(account_id: int, connection_id: int) -> ResponseReturnValue:
    """Return the waiting link until its action ends."""
    page = connection_page(get_connection_or_404(account_id, connection_id))
    answer = render_template("connections/_link.html", page=page)
    return (
        htmx.final_fragment(answer)
        if page.ask is not None and page.ask.settled_at is not None
        else answer
    )


@bp.get(f"{PATH}/runs/<int:run_id>")
@requires("viewer")
def run(account_id: int, connection_id: int, run_id: int) -> ResponseReturnValue:
    """Show one run with its log from the API."""
    connection = get_connection_or_404(account_id, connection_id)
    found = next(
        (each for each in fleet_runs.latest(account_id, connection_id, 100) if each.id == run_id),
        None,
    )
    if found is None:
        abort(
            404, f"This connection has no run {run_id}, or it is older than the runs that are kept."
        )
    try:
        log, problem = services().api.for_account(account_id).run_logs(run_id), None
    except peliqan.PeliqanError as error:
        log, problem = "", error
    return render_template(
        "connections/run.html", connection=connection, run=found, log=log, problem=problem
    )


def _request() -> ActionRequest:
    """Return who starts an action, with the line that the user wrote next to the buttons."""
    return ActionRequest(
        who=visitor().email,
        at=services().clock(),
        interval=services().settings.dashboard_watch_interval,
        why=request.form.get("why", ""),
    )


def _read(connection: Connection) -> tuple[Connection, peliqan.PeliqanError | None]:
    try:
        live.read_connection(
            services().api, connection.account_id, connection.id, services().clock()
        )
        problem = None
    except peliqan.PeliqanError as error:
        problem = error
    return get_connection_or_404(connection.account_id, connection.id), problem


def _request_link(kind: str, connection: Connection) -> ResponseReturnValue:
    with audit_if_not_sent(kind, connection.account_id, connection.id):
        action = customer_links.request_link(services().api, kind, connection, _request())
    poll_action.enqueue_when_due(action)
    return _answer(connection)


def _refuse(connection: Connection, what: str, why: str) -> ResponseReturnValue:
    audit.record(
        services().clock(),
        visitor().email,
        what,
        audit.REFUSED,
        account_id=connection.account_id,
        connection_id=connection.id,
        detail=why,
    )
    abort(400, why)


def _answer(
    connection: Connection, problem: peliqan.PeliqanError | None = None
) -> ResponseReturnValue:
    """Return the fragment for htmx, else redirect, so that a reload repeats no action."""
    if htmx.is_htmx():
        fresh = get_connection_or_404(connection.account_id, connection.id)
        return render_template("connections/_connection.html", page=connection_page(fresh, problem))
    return redirect(
        url_for(".show", account_id=connection.account_id, connection_id=connection.id), 303
    )
