"""Pages of bulk jobs: confirm, try one connection, continue, watch, cancel."""

from dataclasses import dataclass
from typing import Any

from flask import Blueprint, Response, abort, flash, redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue

from dashboard.audit import service as audit
from dashboard.bulk import service as bulk
from dashboard.bulk.limits import MOST_OFFERED
from dashboard.bulk.lists import (
    JOBS,
    items_of,
    links_of,
    one_item,
    serialize_item,
    serialize_job,
    waiting_items,
)
from dashboard.bulk.models import BulkJob
from dashboard.bulk.plan import Candidate, Plan, plan, read_selection
from dashboard.bulk.tasks import step_bulk_job
from dashboard.context import services
from dashboard.customer_links.service import check_link
from dashboard.findings import queries as finding_queries
from dashboard.findings.models import Cause
from dashboard.users.authentication import visitor
from dashboard.web import htmx
from dashboard.web.lists import csv_response, render_list
from dashboard.web.required_role import requires

bp = Blueprint("bulk", __name__)


@dataclass(frozen=True)
class ConfirmPage:
    """A plan to confirm. ``most``: connections that the user's role allows in a job, or None."""

    plan: Plan
    cause: Cause | None
    most: int | None
    at_once: int
    why: str = ""
    problem: str | None = None

    @property
    def offered(self) -> list[Candidate]:
        """The connections that can be tried first."""
        return self.plan.items[:MOST_OFFERED]

    @property
    def too_many(self) -> bool:
        """Whether the plan exceeds what the user's role allows."""
        return self.most is not None and len(self.plan.items) > self.most


@dataclass(frozen=True)
class JobPage:
    """A job with its progress.

    ``first``: the row of the item that was tried; ``others``: rows of items to try next.
    """

    job: BulkJob
    now: bulk.Numbers
    first: Any
    others: Any
    cause: Cause | None
    may_do_all: bool

    @property
    def moves(self) -> bool:
        """Whether the job changes without a user's decision."""
        return self.job.ended_at is None and self.job.state != bulk.TRIED

    @property
    def moved_to(self) -> str:
        """A value that changes with the list of items."""
        return f"{self.job.state}-{self.now.finished}-{self.now.running}"

    @property
    def result(self) -> str:
        """The state of the item that was tried."""
        found: str = self.first.BulkItem.state
        return found

    def host_of(self, url: str) -> str:
        """Return the host of a link, for the user to read before opening it."""
        return check_link(url).host

    @property
    def may_go_on(self) -> bool:
        """Whether the user may start the other items."""
        return self.job.state == bulk.TRIED and self.result in bulk.RESULTS


def get_job_or_404(job_id: int) -> BulkJob:
    """Return the job, or abort with 404."""
    job = bulk.job_or_none(job_id)
    if job is None:
        abort(404, f"There is no bulk job {job_id}.")
    return job


@bp.get("/bulk", endpoint="index")
@bp.get("/bulk.json", endpoint="index_json")
@bp.get("/bulk.csv", endpoint="index_csv")
@requires("viewer")
def index() -> ResponseReturnValue:
    """List all jobs, newest first."""
    return render_list(JOBS, serialize_job, "bulk/jobs.html", "bulk/_jobs.html")


@bp.route("/bulk/new", methods=["GET", "POST"])
@requires("operator")
def new() -> ResponseReturnValue:
    """Show the plan of a job for confirmation. Changes nothing.

    Ticked connections come by POST: they may be too many for an address.
    """
    sent = request.form if request.method == "POST" else request.args
    return render_template(
        "bulk/confirm.html", page=_confirm(plan(read_selection(sent, sent.getlist("c"))))
    )


@bp.post("/bulk")
@requires("operator")
def begin() -> ResponseReturnValue:
    """Create a job that tries one connection first; 409 if the plan changed since it was shown."""
    found = plan(read_selection(request.form, request.form.getlist("c")))
    page = _confirm(found, request.form.get("why", "").strip())
    if page.too_many:
        _refuse(
            found.selection.kind,
            f"{len(found.items)} connections; an operator's job has at most {page.most}.",
        )
    first = next((item for item in page.offered if item.key == request.form.get("first")), None)
    if found.fingerprint != request.form.get("seen"):
        problem = (
            "What matches has changed since you looked. Nothing was done. This is how it is now."
        )
        return render_template("bulk/confirm.html", page=_confirm(found, page.why, problem)), 409
    if first is None or not page.why:
        problem = (
            "Choose the connection to try on."
            if page.why
            else "Say why: the audit trail shows the reason."
        )
        return render_template("bulk/confirm.html", page=_confirm(found, page.why, problem)), 400
    job = bulk.open_job(
        bulk.NewJob(
            kind=found.selection.kind,
            connections=[item.connection_key for item in found.items],
            first=first.connection_key,
            who=visitor().email,
            why=page.why,
            at_once=page.at_once,
            cause_id=found.selection.cause_id,
        ),
        services().clock(),
    )
    step_bulk_job.enqueue_when_due(job)
    return redirect(url_for(".show", job_id=job.id), 303)


@bp.get("/bulk/<int:job_id>", endpoint="show")
@bp.get("/bulk/<int:job_id>.json", endpoint="show_json")
@bp.get("/bulk/<int:job_id>.csv", endpoint="show_csv")
@requires("viewer")
def show(job_id: int) -> ResponseReturnValue:
    """Show one job with its progress and items."""
    page = _job_page(get_job_or_404(job_id))
    return render_list(
        items_of(job_id), serialize_item, "bulk/job.html", "bulk/_items.html", page=page
    )


@bp.get("/bulk/<int:job_id>/progress")
@requires("viewer", poll=True)
def progress(job_id: int) -> ResponseReturnValue:
    """Return the progress for htmx, which polls until the job ends.

    Sends an event when items changed, so that the list of items reloads.
    """
    page = _job_page(get_job_or_404(job_id))
    if not htmx.is_htmx():
        return redirect(url_for(".show", job_id=job_id))
    answer = render_template("bulk/_progress.html", page=page)
    return answer if request.args.get("seen") == page.moved_to else htmx.say_moved(answer)


@bp.get("/bulk/<int:job_id>/links.csv", endpoint="links_csv")
@requires("operator")
def links(job_id: int) -> Response:
    """Send the links that wait for customers as a CSV file."""
    get_job_or_404(job_id)
    found = [
        {
            "account_id": item.account_id,
            "account_name": connection.account.name,
            "external_id": connection.account.external_id,
            "connection_id": item.connection_id,
            "connection_name": connection.name,
            "link_host": check_link(action.url).host,
            "link": action.url,
        }
        for item, connection, action in links_of(job_id)
    ]
    return csv_response(found, f"links-{job_id}.csv")


@bp.post("/bulk/<int:job_id>/go-on")
@requires("operator")
def go_on(job_id: int) -> ResponseReturnValue:
    """Start the other items, after the user saw the result of the first."""
    job = get_job_or_404(job_id)
    count, most = bulk.numbers(job).total, _most()
    if most is not None and count > most:
        _refuse(
            job.kind,
            f"Bulk job {job.id} has {count} connections; an operator's has at most {most}.",
        )
    if not bulk.resume(job, visitor().email, request.form.get("seen", ""), services().clock()):
        abort(
            409,
            "The others can be begun once, after trying on one has ended,"
            " from the page that shows its result.",
        )
    return _changed(
        job,
        "bulk_go_on",
        f"Bulk job {job.id}, after trying on one: {request.form['seen'].replace('_', ' ')}.",
    )


@bp.post("/bulk/<int:job_id>/try")
@requires("operator")
def try_another(job_id: int) -> ResponseReturnValue:
    """Try another item before the rest."""
    job, item = get_job_or_404(job_id), request.form.get("item", "")
    if not (
        item.isascii()
        and item.isdigit()
        and len(item) < 19
        and bulk.try_another(job, int(item), services().clock())
    ):
        abort(
            409,
            "Another one can be tried when the first has ended,"
            " and only one that has not had its turn.",
        )
    return _changed(job, "bulk_try", f"Bulk job {job.id}, another one first.")


@bp.post("/bulk/<int:job_id>/cancel")
@requires("operator")
def cancel(job_id: int) -> ResponseReturnValue:
    """Start no further items."""
    job = get_job_or_404(job_id)
    if not bulk.cancel(job, visitor().email, services().clock()):
        flash("It was over already.", "info")
        return redirect(url_for(".show", job_id=job.id), 303)
    return _changed(job, "bulk_cancel", f"Bulk job {job.id}.")


def _most() -> int | None:
    return None if visitor().may("admin") else services().settings.dashboard_bulk_most


def _confirm(found: Plan, why: str = "", problem: str | None = None) -> ConfirmPage:
    cause_id = found.selection.cause_id
    cause = finding_queries.cause_or_none(cause_id) if cause_id is not None else None
    if cause_id is not None and cause is None:
        abort(404, f"There is no cause {cause_id}, or it has been forgotten.")
    return ConfirmPage(
        found, cause, _most(), services().settings.dashboard_bulk_at_once, why, problem
    )


def _job_page(job: BulkJob) -> JobPage:
    now, most = bulk.numbers(job), _most()
    return JobPage(
        job=job,
        now=now,
        first=one_item(bulk.canary(job).id),
        others=waiting_items(job.id, MOST_OFFERED) if job.state == bulk.TRIED else [],
        cause=finding_queries.cause_or_none(job.cause_id) if job.cause_id is not None else None,
        may_do_all=most is None or now.total <= most,
    )


def _refuse(kind: str, why: str) -> None:
    audit.record(services().clock(), visitor().email, f"bulk_{kind}", audit.REFUSED, detail=why)
    abort(403, f"{why} Narrow the list, or ask an administrator.")


def _changed(job: BulkJob, what: str, detail: str) -> ResponseReturnValue:
    """Audit a change, enqueue the next step, and return the fragment or redirect to the page."""
    audit.record(services().clock(), visitor().email, what, audit.DONE, detail=detail)
    step_bulk_job.enqueue_when_due(job)
    if htmx.is_htmx():
        return htmx.say_moved(render_template("bulk/_progress.html", page=_job_page(job)))
    return redirect(url_for(".show", job_id=job.id), 303)
