"""Pages of pull schedules and their runs, for administrators."""

from collections.abc import Mapping

from flask import Blueprint, abort, flash, redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue

from dashboard.audit import service as audit
from dashboard.context import services
from dashboard.core import database_urls
from dashboard.core.times import MINUTES_A_DAY, read_minute, read_zone, shown_minute
from dashboard.pulls import service as pulls
from dashboard.pulls.destinations import base as destinations
from dashboard.pulls.destinations import registry
from dashboard.pulls.jobs import in_words, selection_of
from dashboard.pulls.limits import FAILURES_NAMED, FULL_EVERY, MOST_SCHEDULES
from dashboard.pulls.models import PullSchedule
from dashboard.pulls.schedule import EVERY, when_words
from dashboard.pulls.tasks import run_pull
from dashboard.sql.backends import postgresql
from dashboard.users.authentication import visitor
from dashboard.web import times
from dashboard.web.lists import render_list
from dashboard.web.required_role import requires

bp = Blueprint("pulls", __name__)


@bp.get("/pulls", endpoint="index")
@bp.get("/pulls.json", endpoint="index_json")
@bp.get("/pulls.csv", endpoint="index_csv")
@requires("admin")
def index() -> ResponseReturnValue:
    """Show all schedules, each with its last and next pull."""
    return render_list(
        pulls.SCHEDULES,
        pulls.serialize_schedule,
        "pulls/pulls.html",
        "pulls/_pulls.html",
        when=when_words,
    )


@bp.get("/pulls/new")
@requires("admin")
def new() -> ResponseReturnValue:
    """Show the form of a new schedule."""
    return _form(
        {"every": str(MINUTES_A_DAY), "full_every": str(FULL_EVERY), "zone": times.zone().key}
    )


@bp.post("/pulls")
@requires("admin")
def create() -> ResponseReturnValue:
    """Create a schedule; its first pull starts at once."""
    at, form = services().clock(), request.form
    schedule = PullSchedule(on=True, asked_by="", created_at=at, created_by=visitor().email)
    try:
        if pulls.is_full():
            raise ValueError(f"There are {MOST_SCHEDULES} schedules already: delete one first.")
        _read_into(schedule, form)
        schedule = pulls.create(schedule, at)
    except ValueError as error:
        return _form(form, problem=str(error)), 422
    _audit("create_pull_schedule", schedule)
    pulls.run_now(schedule, visitor().email, at)
    run_pull.enqueue_when_due(schedule)
    return redirect(url_for(".show", schedule_id=schedule.id), 303)


@bp.get("/pulls/<int:schedule_id>", endpoint="show")
@bp.get("/pulls/<int:schedule_id>.json", endpoint="show_json")
@bp.get("/pulls/<int:schedule_id>.csv", endpoint="show_csv")
@requires("admin")
def show(schedule_id: int) -> ResponseReturnValue:
    """Show one schedule with its runs."""
    schedule = _schedule_or_404(schedule_id)
    template, fragment = "pulls/pull.html", "pulls/_runs.html"
    when, chosen = when_words(schedule), in_words(selection_of(schedule))
    listing = pulls.runs_listing(schedule_id)
    return render_list(
        listing,
        pulls.serialize_run,
        template,
        fragment,
        schedule=schedule,
        when=when,
        chosen=chosen,
        failures_named=FAILURES_NAMED,
    )


@bp.get("/pulls/<int:schedule_id>/edit")
@requires("admin")
def edit(schedule_id: int) -> ResponseReturnValue:
    """Show the form of a schedule, without its address; an empty address keeps the stored one."""
    schedule = _schedule_or_404(schedule_id)
    chosen = {
        name: ", ".join(map(str, value)) if isinstance(value, list) else value
        for name, value in schedule.chosen.items()
    }
    now = {
        "name": schedule.name,
        "every": str(schedule.every),
        "full_every": str(schedule.full_every),
    }
    clock = {"at": shown_minute(schedule.at_minute), "zone": schedule.zone}
    return _form({**chosen, **now, **clock}, schedule)


@bp.post("/pulls/<int:schedule_id>/edit")
@requires("admin")
def change(schedule_id: int) -> ResponseReturnValue:
    """Change a schedule; a running pull is not affected."""
    schedule = _schedule_or_404(schedule_id)
    try:
        _read_into(schedule, request.form)
    except ValueError as error:
        return _form(request.form, schedule, str(error)), 422
    pulls.save(schedule, services().clock())
    _audit("change_pull_schedule", schedule)
    flash("The schedule is changed.", "success")
    return redirect(url_for(".show", schedule_id=schedule_id), 303)


@bp.post("/pulls/<int:schedule_id>/run")
@requires("admin")
def run(schedule_id: int) -> ResponseReturnValue:
    """Run a schedule now, or right after its running pull."""
    schedule = _schedule_or_404(schedule_id)
    pulls.run_now(schedule, visitor().email, services().clock())
    run_pull.enqueue_when_due(schedule)
    message = (
        f"“{schedule.name}” runs as soon as a worker is free. Reload this page to see how far."
    )
    flash(message, "success")
    return redirect(url_for(".show", schedule_id=schedule_id), 303)


@bp.post("/pulls/<int:schedule_id>/switch")
@requires("admin")
def switch(schedule_id: int) -> ResponseReturnValue:
    """Switch a schedule on or off."""
    schedule, to = _schedule_or_404(schedule_id), request.form.get("to")
    if to not in {"on", "off"}:
        abort(400, "A schedule can be switched on or off.")
    pulls.switch(schedule, to == "on", services().clock())
    _audit(f"switch_pull_schedule_{to}", schedule)
    return redirect(url_for(".show", schedule_id=schedule_id), 303)


@bp.post("/pulls/<int:schedule_id>/delete")
@requires("admin")
def delete(schedule_id: int) -> ResponseReturnValue:
    """Delete a schedule and its runs; the copies stay."""
    schedule = _schedule_or_404(schedule_id)
    _audit("delete_pull_schedule", schedule)
    pulls.remove(schedule)
    flash("The schedule is deleted. Its copies stay where they are.", "success")
    return redirect(url_for(".index"), 303)


def _schedule_or_404(schedule_id: int) -> PullSchedule:
    found = pulls.schedule_or_none(schedule_id)
    if found is None:
        abort(404, f"There is no schedule {schedule_id}.")
    return found


def _audit(action: str, schedule: PullSchedule) -> None:
    audit.record(
        services().clock(),
        visitor().email,
        action,
        audit.DONE,
        detail=f"{schedule.name}, to {schedule.place}",
    )


def _form(typed: Mapping[str, str], schedule: PullSchedule | None = None, problem: str = "") -> str:
    return render_template(
        "pulls/pull_form.html", typed=typed, schedule=schedule, problem=problem, every=EVERY
    )


def _read_into(schedule: PullSchedule, form: Mapping[str, str]) -> None:
    """Set the schedule to the form's input; without an address, the stored one stays.

    Changes nothing if an input is invalid.

    Raises:
        ValueError: a sentence, without secret parts of the address.
    """
    name, address, every = (
        form.get("name", "").strip()[:80],
        form.get("address", "").strip(),
        form.get("every", ""),
    )
    full_every = form.get("full_every", "")
    if not name:
        raise ValueError("Give it a name.")
    if name != schedule.name and pulls.name_exists(name):
        raise ValueError(pulls.name_exists_message(name))
    if not every.isdecimal() or int(every) not in EVERY:
        raise ValueError("Choose how often it runs.")
    minute, zone = read_minute(form.get("at", "")), read_zone(form.get("zone", "UTC"))
    if minute is not None and int(every) < MINUTES_A_DAY:
        raise ValueError(
            "A time of day is for pulls that run every day or week:"
            " leave it empty, or choose one of them."
        )
    if not full_every.isdecimal() or not 1 <= int(full_every) <= 1000:
        raise ValueError("The number of pulls between full copies is a number from 1 to 1,000.")
    chosen = {
        "accounts": _numbers(form.get("accounts", ""), "accounts"),
        "connections": _numbers(form.get("connections", ""), "connections"),
        "tables": _words(form.get("tables", "")),
        "database": form.get("database", "").strip()[:200],
        "grows": form.get("grows", "").strip()[:200],
    }
    if address or schedule.id is None:
        schedule.place, schedule.address = _checked(address), services().vault.encrypt(address)
    schedule.name, schedule.chosen, schedule.every, schedule.full_every = (
        name,
        chosen,
        int(every),
        int(full_every),
    )
    schedule.at_minute, schedule.zone = minute, zone


def _checked(text: str) -> str:
    """Open the destination once, to check it; return the part of the address that may be shown."""
    address = database_urls.read(text)
    services().settings.egress_policy.ensure(address)
    if isinstance(address, database_urls.PostgresAddress):
        # Checked before anything is written: the address may lead to the console's own database.
        postgresql.check(address, services().settings.store_address)
    try:
        with registry.open_destination(address):
            pass
    except destinations.DestinationError as error:
        raise ValueError(f"The destination cannot be used: {error}") from None
    return registry.name_of(address)


def _numbers(text: str, what: str) -> list[int]:
    found = _words(text)
    if wrong := next((each for each in found if not each.isdecimal() or len(each) > 18), None):
        raise ValueError(
            f"“{wrong[:40]}” is no id: {what} are chosen by Peliqan's ids,"
            " with commas between them."
        )
    return [int(each) for each in found]


def _words(text: str) -> list[str]:
    return [each.strip()[:200] for each in text.split(",") if each.strip()][:200]
