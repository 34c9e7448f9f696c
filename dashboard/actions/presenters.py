"""What stands at the buttons: the playbook's first step, what helped before, what to leave alone."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from flask import Flask
from flask_login import current_user

from dashboard import peliqan
from dashboard.actions import outcomes
from dashboard.actions import service as actions
from dashboard.actions.outcomes import ActionStats
from dashboard.audit import service as audit
from dashboard.context import services
from dashboard.findings.models import SUPPRESSED, Cause, Finding
from dashboard.findings.playbook import Play
from dashboard.fleet.models import Connection

CHECK, NONE = "check", "none"
# A bank is asked by a refresh where others are reauthorised.
_SAME = {actions.REAUTHORISE: actions.BANK_REFRESH, actions.BANK_REFRESH: actions.REAUTHORISE}


@dataclass(frozen=True)
class Advice:
    """For one connection. ``offered``: the kinds of buttons that fit it; ``learnt``: what became of each kind, by rule."""

    offered: tuple[str, ...]
    findings: Sequence[Finding]
    learnt: Mapping[str, Mapping[str, ActionStats]]

    def first_step(self, finding: Finding) -> str:
        """The button that stands beside a finding; ``none`` where the playbook has none, or none that fits."""
        play = play_of(finding)
        step = play.first_step if play is not None else NONE
        return next((each for each in (step, _SAME.get(step, NONE)) if each in self.offered), NONE)

    def helped(self, kind: str) -> ActionStats | None:
        """What became of this kind of action where the worst finding was the same; None where it was never tried."""
        return self.learnt[self.findings[0].rule].get(kind) if self.findings else None

    def warnings(self, kind: str) -> list[str]:
        """Titles of the findings with which the playbook says not to do this."""
        plays = (play_of(finding) for finding in self.findings if finding.state != SUPPRESSED)
        return [play.title for play in plays if play is not None and kind in play.dont]


def play_of(row: Finding | Cause) -> Play | None:
    """What the playbook says of a finding (with its cause) or a cause."""
    cause = row if isinstance(row, Cause) else row.cause
    return services().playbook.of(row.rule, platform=cause.platform)


def advise(connection: Connection, findings: Sequence[Finding]) -> Advice:
    """What stands at the buttons of a connection with these findings, worst first."""
    fits = {
        actions.SYNC: connection.may_sync,
        actions.REAUTHORISE: connection.may_reauthorise,
        actions.BANK_REFRESH: connection.is_saltedge,
        CHECK: True,
    }
    rules = {finding.rule for finding in findings}
    learnt = {rule: outcomes.success_rates(rule, connection.connector) for rule in rules}
    return Advice(tuple(kind for kind, does in fits.items() if does), findings, learnt)


def init_app(app: Flask) -> None:
    """Give it to the templates."""
    app.jinja_env.globals.update(play_of=play_of)


@contextmanager
def audit_if_not_sent(
    what: str, account_id: int, connection_id: int | None = None
) -> Iterator[None]:
    """Around what starts something at Peliqan: where it answers nobody, the audit trail says that nothing was sent.

    Raises:
        peliqan.Away: that, for the page that says so.
    """
    try:
        yield
    except peliqan.ApiUnavailable as error:
        who, place = current_user.email, {"account_id": account_id, "connection_id": connection_id}
        audit.record(services().clock(), who, what, audit.REFUSED, detail=error.explained, **place)
        raise
