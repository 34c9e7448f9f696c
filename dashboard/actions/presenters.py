"""Advice next to action buttons: the playbook's first step, past outcomes, and warnings."""

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
# A bank connection is refreshed where others are reauthorised.
_SAME = {actions.REAUTHORISE: actions.BANK_REFRESH, actions.BANK_REFRESH: actions.REAUTHORISE}


@dataclass(frozen=True)
class Advice:
    """Advice for one connection.

    ``offered``: kinds of actions that it supports; ``learnt``: past outcomes by rule and kind.
    """

    offered: tuple[str, ...]
    findings: Sequence[Finding]
    learnt: Mapping[str, Mapping[str, ActionStats]]

    def first_step(self, finding: Finding) -> str:
        """Return the playbook's first step for a finding; "none" if no offered action fits."""
        play = play_of(finding)
        step = play.first_step if play is not None else NONE
        return next((each for each in (step, _SAME.get(step, NONE)) if each in self.offered), NONE)

    def helped(self, kind: str) -> ActionStats | None:
        """Return past outcomes of this kind for the worst finding; None if there are none."""
        return self.learnt[self.findings[0].rule].get(kind) if self.findings else None

    def warnings(self, kind: str) -> list[str]:
        """Return titles of the findings for which the playbook warns of this action."""
        plays = (play_of(finding) for finding in self.findings if finding.state != SUPPRESSED)
        return [play.title for play in plays if play is not None and kind in play.dont]


def play_of(row: Finding | Cause) -> Play | None:
    """Return the playbook's entry for a cause, or for a finding with its cause loaded."""
    cause = row if isinstance(row, Cause) else row.cause
    return services().playbook.of(row.rule, platform=cause.platform)


def advise(connection: Connection, findings: Sequence[Finding]) -> Advice:
    """Return the advice for a connection with these findings, worst first."""
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
    """Add ``play_of`` to the templates."""
    app.jinja_env.globals.update(play_of=play_of)


@contextmanager
def audit_if_not_sent(
    what: str, account_id: int, connection_id: int | None = None
) -> Iterator[None]:
    """Audit that the action in the block was not sent if the API is unavailable. Commits then.

    Raises:
        peliqan.ApiUnavailable: Raised by the block, for the error page.
    """
    try:
        yield
    except peliqan.ApiUnavailable as error:
        ids = {"account_id": account_id, "connection_id": connection_id}
        audit.record(
            services().clock(),
            current_user.email,
            what,
            audit.REFUSED,
            detail=error.explained,
            **ids,
        )
        raise
