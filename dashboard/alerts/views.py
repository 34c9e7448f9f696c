"""Pages of alert rules and of sent alerts, for administrators."""

from collections.abc import Mapping

from flask import Blueprint, abort, flash, redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue

from dashboard.alerts import outbox
from dashboard.alerts import rules as alert_rules
from dashboard.alerts import sending as alert_delivery
from dashboard.alerts.lists import ALERT_MESSAGES, ALERT_RULES, serialize_message, serialize_rule
from dashboard.alerts.models import AlertRule
from dashboard.audit import service as audit
from dashboard.context import services
from dashboard.core.database import db
from dashboard.core.times import shown_minute
from dashboard.findings.rules.definitions import FINDING_SEVERITIES
from dashboard.users.authentication import visitor
from dashboard.web import times
from dashboard.web.lists import render_list
from dashboard.web.required_role import requires

bp = Blueprint("alerts", __name__)


@bp.get("/alerts", endpoint="index")
@bp.get("/alerts.json", endpoint="index_json")
@bp.get("/alerts.csv", endpoint="index_csv")
@requires("admin")
def index() -> ResponseReturnValue:
    """Show the alert rules."""
    template, fragment = "alerts/rules.html", "alerts/_rules.html"
    return render_list(
        ALERT_RULES,
        serialize_rule,
        template,
        fragment,
        sends=alert_rules.SENDS,
        minute=shown_minute,
    )


@bp.get("/alerts/new")
@requires("admin")
def new() -> ResponseReturnValue:
    """Show the form of a new rule, with common defaults."""
    typed = {"severity": FINDING_SEVERITIES[0], "zone": times.zone().key, "digest_at": "08:00"}
    return _form(None, typed, [outbox.NEW, outbox.RECOVERED])


@bp.post("/alerts")
@requires("admin")
def create() -> ResponseReturnValue:
    """Create a rule."""
    at = services().clock()
    rule = AlertRule(on=True, created_at=at, created_by=visitor().email)
    return _save(rule, None, "create_alert_rule")


@bp.get("/alerts/<int:rule_id>")
@requires("admin")
def edit(rule_id: int) -> ResponseReturnValue:
    """Show the form of one rule, without its address."""
    rule = _rule_or_404(rule_id)
    return _form(rule, alert_rules.typed(rule), rule.sends.split())


@bp.post("/alerts/<int:rule_id>")
@requires("admin")
def change(rule_id: int) -> ResponseReturnValue:
    """Change a rule; an empty address keeps the stored one."""
    return _save(_rule_or_404(rule_id), rule_id, "change_alert_rule")


@bp.post("/alerts/<int:rule_id>/switch")
@requires("admin")
def switch(rule_id: int) -> ResponseReturnValue:
    """Switch a rule on or off."""
    rule, to = _rule_or_404(rule_id), request.form.get("to")
    if to not in {"on", "off"}:
        abort(400, "A rule can be switched on or off.")
    alert_rules.switch(rule, to == "on", services().clock())
    _audit("change_alert_rule", audit.DONE, f"{rule.name}: {to}")
    flash(
        f"“{rule.name}” is {to}. "
        + ("Causes that exist already are not sent." if to == "on" else "It sends nothing."),
        "success",
    )
    return redirect(url_for(".index"), 303)


@bp.post("/alerts/<int:rule_id>/delete")
@requires("admin")
def delete(rule_id: int) -> ResponseReturnValue:
    """Delete a rule."""
    rule = _rule_or_404(rule_id)
    name = f"{rule.name}, {rule.place}"
    alert_rules.remove(rule)
    _audit("delete_alert_rule", audit.DONE, name)
    flash("The rule is deleted, and with it the list of what it sent.", "success")
    return redirect(url_for(".index"), 303)


@bp.post("/alerts/<int:rule_id>/test")
@requires("admin")
def test(rule_id: int) -> ResponseReturnValue:
    """Send a test message now, and show the outcome."""
    rule = _rule_or_404(rule_id, with_address=True)
    name, current = rule.name, services()
    error = alert_delivery.send_test(current, rule, visitor().email, current.settings.dashboard_url)
    _audit(
        "test_alert_rule",
        audit.DONE if error is None else audit.FAILED,
        f"{name}: {error or 'sent'}",
    )
    if error is None:
        message, category = f"The test of “{name}” was sent. See whether it has arrived.", "success"
    else:
        message = (
            f"The test of “{name}” was not sent. {error}"
            " Check the service or correct the address, then test again."
        )
        category = "danger"
    flash(message, category)
    return redirect(url_for(".index"), 303)


@bp.get("/alerts/messages", endpoint="messages")
@bp.get("/alerts/messages.json", endpoint="messages_json")
@bp.get("/alerts/messages.csv", endpoint="messages_csv")
@requires("admin")
def messages() -> ResponseReturnValue:
    """Show the messages: sent, waiting, failed."""
    return render_list(
        ALERT_MESSAGES, serialize_message, "alerts/messages.html", "alerts/_messages.html"
    )


@bp.post("/alerts/messages/<int:message_id>/send")
@requires("admin")
def send_again(message_id: int) -> ResponseReturnValue:
    """Send a waiting or given-up message now."""
    try:
        error = alert_delivery.send_again(services(), message_id)
    except LookupError:
        flash(
            "There is nothing to send: the message was sent meanwhile, or is being sent just now.",
            "info",
        )
        return redirect(url_for(".messages"), 303)
    _audit(
        "send_alert",
        audit.DONE if error is None else audit.FAILED,
        f"message {message_id}: {error or 'sent'}",
    )
    flash(
        "It was sent." if error is None else f"It was not sent. {error}",
        "success" if error is None else "danger",
    )
    return redirect(url_for(".messages"), 303)


def _save(rule: AlertRule, rule_id: int | None, action: str) -> ResponseReturnValue:
    address, sends = request.form.get("address", "").strip(), request.form.getlist("sends")
    try:
        values = alert_rules.read_rule(request.form, sends)
        if address:
            rule.place = alert_delivery.check_address(address, services().settings.egress_policy)[
                :200
            ]
            rule.address = services().vault.encrypt(address)
        elif rule_id is None:
            raise alert_delivery.BadAddress("Type the address that the rule sends to.")
        alert_rules.save(rule, values, services().clock())
    except ValueError as error:
        db.session.rollback()
        _audit(action, audit.FAILED, str(error))
        return _form(
            _rule_or_404(rule_id) if rule_id is not None else None, request.form, sends, str(error)
        ), 400
    _audit(action, audit.DONE, f"{rule.name}, {rule.place}")
    flash(f"“{rule.name}” is saved. Test it: a message goes out at once.", "success")
    return redirect(url_for(".index"), 303)


def _form(
    rule: AlertRule | None, typed: Mapping[str, str], sends: list[str], problem: str | None = None
) -> str:
    return render_template(
        "alerts/rule_form.html",
        rule=rule,
        typed=typed,
        chosen=sends,
        sends=alert_rules.SENDS,
        severities=FINDING_SEVERITIES,
        connectors=alert_rules.connectors(),
        problem=problem,
    )


def _rule_or_404(rule_id: int, *, with_address: bool = False) -> AlertRule:
    rule = alert_rules.rule_or_none(rule_id, with_address=with_address)
    if rule is None:
        abort(404, f"There is no alert rule {rule_id}.")
    return rule


def _audit(action: str, result: str, detail: str) -> None:
    audit.record(services().clock(), visitor().email, action, result, detail=detail)
