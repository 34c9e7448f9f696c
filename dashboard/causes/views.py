"""Pages of findings and causes, and their suppression."""

from dataclasses import dataclass, replace
from datetime import datetime

from flask import Blueprint, abort, flash, redirect, request, url_for
from flask.typing import ResponseReturnValue
from sqlalchemy import case

from dashboard.actions import outcomes
from dashboard.audit import service as audit
from dashboard.context import services
from dashboard.findings import queries as finding_queries
from dashboard.findings import suppression
from dashboard.findings.lists import CAUSES, FINDINGS, serialize_cause, serialize_finding
from dashboard.findings.models import Cause, Finding
from dashboard.listing.listing import Filter
from dashboard.notes import service as note_service
from dashboard.notes.models import Note
from dashboard.users.authentication import visitor
from dashboard.web import htmx
from dashboard.web.lists import render_list
from dashboard.web.lookup import get_cause_or_404, get_visible_cause_or_403
from dashboard.web.required_role import requires

bp = Blueprint("causes", __name__)


@dataclass(frozen=True)
class CausePage:
    """What a cause's page shows in addition to its findings."""

    cause: Cause
    moved: finding_queries.CauseDelta
    trend: list[tuple[datetime, int]]
    learnt: dict[str, outcomes.ActionStats]


@dataclass(frozen=True)
class CauseRowContext:
    """What the list of causes shows in addition to its rows, by cause id."""

    moved: dict[int, finding_queries.CauseDelta]
    notes: dict[int, Note]


@bp.get("/findings", endpoint="findings")
@bp.get("/findings.json", endpoint="findings_json")
@bp.get("/findings.csv", endpoint="findings_csv")
@requires("viewer")
def findings() -> ResponseReturnValue:
    """List all findings."""
    return render_list(FINDINGS, serialize_finding, "causes/findings.html", "causes/_findings.html")


@bp.get("/causes", endpoint="index")
@bp.get("/causes.json", endpoint="index_json")
@bp.get("/causes.csv", endpoint="index_csv")
@requires("viewer")
def index() -> ResponseReturnValue:
    """List all causes, worst first."""
    assigned = case(
        (Cause.owner == visitor().email, "me"), (Cause.owner.is_(None), "nobody"), else_="others"
    )
    by_owner = Filter(assigned, "Who is on it", ("me", "nobody", "others"))
    listing = replace(CAUSES, filters={**CAUSES.filters, "owner": by_owner})
    return render_list(
        listing, serialize_cause, "causes/causes.html", "causes/_causes.html", extra=_row_context
    )


@bp.get("/causes/<int:cause_id>", endpoint="show")
@bp.get("/causes/<int:cause_id>.json", endpoint="show_json")
@bp.get("/causes/<int:cause_id>.csv", endpoint="show_csv")
@requires("viewer")
def show(cause_id: int) -> ResponseReturnValue:
    """Show one cause with its findings."""
    cause, at = get_cause_or_404(cause_id), services().clock()
    behind = replace(FINDINGS, statement=FINDINGS.statement.where(Finding.cause_id == cause_id))
    is_page = not request.path.endswith((".json", ".csv")) and not htmx.is_htmx()
    page = _cause_page(cause, at) if is_page else None
    target = note_service.NoteTarget(cause_id=cause_id)
    notes = note_service.notes_on(target) if is_page else []
    return render_list(
        behind,
        serialize_finding,
        "causes/cause.html",
        "causes/_findings.html",
        page=page,
        place=target,
        notes=notes,
    )


@bp.post("/causes/<int:cause_id>/suppress")
@requires("operator")
def suppress_cause(cause_id: int) -> ResponseReturnValue:
    """Suppress a cause for some days."""
    cause = get_visible_cause_or_403(cause_id)
    _suppress(cause, f"cause {cause_id}: {cause.title}, {cause.connector}")
    return redirect(url_for(".show", cause_id=cause_id), 303)


@bp.post("/causes/<int:cause_id>/wake")
@requires("operator")
def wake_cause(cause_id: int) -> ResponseReturnValue:
    """End the suppression of a cause."""
    cause = get_visible_cause_or_403(cause_id)
    suppression.unsuppress(cause, services().clock())
    audit.record(
        services().clock(), visitor().email, "wake", audit.DONE, detail=f"cause {cause_id}"
    )
    return redirect(url_for(".show", cause_id=cause_id), 303)


@bp.post("/findings/<int:finding_id>/suppress")
@requires("operator")
def suppress_finding(finding_id: int) -> ResponseReturnValue:
    """Suppress one finding for some days."""
    finding = _finding_or_404(finding_id)
    _suppress(finding, f"{finding.rule}", finding.account_id, finding.connection_id)
    return _back(finding)


@bp.post("/findings/<int:finding_id>/wake")
@requires("operator")
def wake_finding(finding_id: int) -> ResponseReturnValue:
    """End the suppression of a finding."""
    finding = _finding_or_404(finding_id)
    suppression.unsuppress(finding, services().clock())
    ids = {"account_id": finding.account_id, "connection_id": finding.connection_id}
    audit.record(
        services().clock(), visitor().email, "wake", audit.DONE, **ids, detail=finding.rule
    )
    return _back(finding)


def _cause_page(cause: Cause, at: datetime) -> CausePage:
    return CausePage(
        cause,
        moved=finding_queries.cause_deltas([cause], at)[cause.id],
        trend=finding_queries.trend(cause, at),
        learnt=outcomes.success_rates(cause.rule, cause.connector),
    )


def _row_context(causes: list[Cause]) -> CauseRowContext:
    notes = note_service.newest_on_causes([cause.id for cause in causes])
    return CauseRowContext(finding_queries.cause_deltas(causes, services().clock()), notes)


def _finding_or_404(finding_id: int) -> Finding:
    finding = finding_queries.finding_or_none(finding_id)
    if finding is None:
        abort(404, f"There is no finding {finding_id}, or it has been forgotten.")
    return finding


def _suppress(
    row: Cause | Finding, what: str, account_id: int | None = None, connection_id: int | None = None
) -> None:
    days, reason = request.form.get("days", ""), request.form.get("reason", "")
    at = services().clock()
    try:
        suppression.suppress(
            row, visitor().email, reason, int(days) if days.isascii() and days.isdigit() else 0, at
        )
    except suppression.NoReason as error:
        flash(str(error), "danger")
        return
    ids = {"account_id": account_id, "connection_id": connection_id}
    audit.record(
        at,
        visitor().email,
        "suppress",
        audit.DONE,
        **ids,
        detail=f"{what}, for {days} days: {reason.strip()}",
    )
    flash("Suppressed: no alerts until then. It becomes active again automatically.", "success")


def _back(finding: Finding) -> ResponseReturnValue:
    if finding.connection_id is None:
        return redirect(url_for("accounts.show", account_id=finding.account_id), 303)
    return redirect(
        url_for(
            "connections.show", account_id=finding.account_id, connection_id=finding.connection_id
        ),
        303,
    )
