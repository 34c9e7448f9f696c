"""The lists of findings and causes. Suppressed and recovered rows need a state filter."""

from typing import Any

from sqlalchemy import case, select
from sqlalchemy.orm import contains_eager

from dashboard.findings.models import CAUSE_STATES, RECOVERED, STATES, SUPPRESSED, Cause, Finding
from dashboard.findings.rules.definitions import BY_NAME, FINDING_SEVERITIES
from dashboard.fleet.models import Account, Connection
from dashboard.listing.listing import Filter, Listing, Newest, shown_time

_HIDDEN = (SUPPRESSED, RECOVERED)
_CONTRADICTS = case((Finding.contradicts, "yes"), else_="no")

FINDINGS = Listing(
    statement=select(Finding)
    .join(Finding.account)
    .outerjoin(Finding.connection)
    .options(
        contains_eager(Finding.account).load_only(Account.name, Account.external_id),
        contains_eager(Finding.connection).load_only(
            Connection.name,
            Connection.connector,
            Connection.status,
            Connection.severity,
            Connection.looked_at,
        ),
        contains_eager(Finding.account).lazyload(Account.check),
    ),
    search=(
        Account.name_folded,
        Account.external_id_folded,
        Connection.name_folded,
        Finding.connector_folded,
        Finding.evidence_folded,
    ),
    exact=(Finding.account_id, Finding.connection_id),
    filters={
        "severity": Filter(Finding.severity, "Severity", FINDING_SEVERITIES),
        "rule": Filter(Finding.rule, "Rule", tuple(BY_NAME)),
        "connector": Filter(Finding.connector, "Connector"),
        "state": Filter(Finding.state, "State", STATES, hides=_HIDDEN),
        "contradicts": Filter(_CONTRADICTS, "Says OK, but", ("yes", "no")),
        "account": Filter(Finding.account_id, "Account", number=True, counted=False),
        "cause": Filter(Finding.cause_id, "Cause", number=True, counted=False),
    },
    sorts={
        "severity": (Finding.severity_rank, Newest(Finding.first_seen_at), Finding.id),
        "first_seen": (Finding.first_seen_at, Finding.id),
        "account": (Account.name_folded, Account.id, Finding.id),
        "connector": (Finding.connector_folded, Finding.id),
        "rule": (Finding.rule, Finding.id),
    },
    default_sort="severity",
)


def serialize_finding(finding: Finding) -> dict[str, Any]:
    """Return a finding as a JSON object."""
    return {
        "id": finding.id,
        "rule": finding.rule,
        "severity": finding.severity,
        "state": finding.state,
        "account_id": finding.account_id,
        "account_name": finding.account.name,
        "external_id": finding.account.external_id,
        "connection_id": finding.connection_id,
        "connector": finding.connector,
        "evidence": finding.evidence,
        "contradicts": finding.contradicts,
        "first_seen": shown_time(finding.first_seen_at),
        "confirmed_at": shown_time(finding.confirmed_at),
        "recovered_at": shown_time(finding.recovered_at),
        "suppressed_until": shown_time(finding.suppressed_until),
        "cause_id": finding.cause_id,
    }


CAUSES = Listing(
    statement=select(Cause),
    search=(Cause.connector_folded, Cause.rule, Cause.text_folded, Cause.example_folded),
    exact=(Cause.id,),
    filters={
        "severity": Filter(Cause.severity, "Severity", FINDING_SEVERITIES),
        "rule": Filter(Cause.rule, "Rule", tuple(BY_NAME)),
        "connector": Filter(Cause.connector, "Connector"),
        "state": Filter(Cause.state, "State", CAUSE_STATES, hides=_HIDDEN),
    },
    sorts={
        "severity": (Cause.severity_rank, Newest(Cause.accounts), Newest(Cause.since), Cause.id),
        "accounts": (Cause.accounts, Cause.id),
        "connections": (Cause.connections, Cause.id),
        "since": (Cause.since, Cause.id),
        "connector": (Cause.connector_folded, Cause.id),
    },
    default_sort="severity",
)


def serialize_cause(cause: Cause) -> dict[str, Any]:
    """Return a cause as a JSON object."""
    return {
        "id": cause.id,
        "rule": cause.rule,
        "connector": cause.connector,
        "severity": cause.severity,
        "state": cause.state,
        "connections": cause.connections,
        "accounts": cause.accounts,
        "since": shown_time(cause.since),
        "recovered_at": shown_time(cause.recovered_at),
        "platform": cause.platform,
        "text": cause.text,
        "example": cause.example,
        "times": cause.times,
        "owner": cause.owner,
        "suppressed_until": shown_time(cause.suppressed_until),
    }
