"""Queries about links for customers: waiting links, reminders, missing links, reconnections.

A link waits from its creation until its action ends (``actions.service``). Users record when they
send its message.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any

from sqlalchemy import case, func, select, tuple_, update
from sqlalchemy.orm import contains_eager

from dashboard.actions import service as actions
from dashboard.actions.models import Action
from dashboard.core.database import change, db
from dashboard.core.text import comparable
from dashboard.customer_links.limits import REMIND_AFTER
from dashboard.findings.lists import FINDINGS
from dashboard.findings.models import RECOVERED, SUPPRESSED, Finding
from dashboard.fleet.models import Account, Connection, HealthChange
from dashboard.listing.listing import Filter, Listing, shown_time

REMIND, UNSENT, SENT, FOLLOWED = "remind", "unsent", "sent", "followed"
# The order in which the list sorts: what needs a user first.
STAGES = (REMIND, UNSENT, SENT, FOLLOWED)
# Findings that only the customer can fix.
CUSTOMERS_RULES = ("auth_failed", "consent_expiring")
_WAITS = (
    Action.kind.in_(actions.LINKS),
    Action.state == actions.WAITING,
    Action.in_flight.is_not(None),
)


def waiting_links(at: datetime) -> Listing:
    """Return the list of waiting links, as rows of ``Action`` and ``stage``."""
    last_sent = func.coalesce(Action.reminded_at, Action.sent_at)
    stage = case(
        (Action.followed_at.is_not(None), FOLLOWED),
        (Action.sent_at.is_(None), UNSENT),
        (last_sent <= at - REMIND_AFTER, REMIND),
        else_=SENT,
    )
    rank = case({name: rank for rank, name in enumerate(STAGES)}, value=stage)
    return Listing(
        statement=select(Action, stage.label("stage"))
        .join(Action.account)
        .outerjoin(Action.connection)
        .options(
            contains_eager(Action.account).load_only(Account.name, Account.external_id),
            contains_eager(Action.account).lazyload(Account.check),
            contains_eager(Action.connection),
        )
        .where(*_WAITS),
        search=(
            Account.name_folded,
            Account.external_id_folded,
            Connection.name_folded,
            Action.words,
        ),
        exact=(Action.account_id, Action.connection_id),
        filters={
            "stage": Filter(stage, "What is next", STAGES),
            "kind": Filter(Action.kind, "Kind", actions.LINKS),
            "connector": Filter(Action.connector, "Connector"),
            "by": Filter(Action.started_by, "Made by"),
            "account": Filter(Action.account_id, "Account", number=True, counted=False),
        },
        sorts={
            "stage": (rank, Action.started_at, Action.id),
            "since": (Action.started_at, Action.id),
            "account": (Account.name_folded, Account.id, Action.id),
            "sent": (Action.sent_at, Action.id),
        },
        default_sort="stage",
    )


def serialize_link(row: Any) -> dict[str, Any]:
    """Return a waiting link as a JSON object, without its address."""
    action: Action = row.Action
    return {
        "id": action.id,
        "kind": action.kind,
        "stage": row.stage,
        "account_id": action.account_id,
        "account_name": action.account.name,
        "external_id": action.account.external_id,
        "connection_id": action.connection_id or None,
        "connector": action.connector,
        "made_at": shown_time(action.started_at),
        "made_by": action.started_by,
        "sent_at": shown_time(action.sent_at),
        "sent_by": action.sent_by,
        "language": action.language,
        "reminded_at": shown_time(action.reminded_at),
        "followed_at": shown_time(action.followed_at),
    }


def link_or_none(action_id: int) -> Action | None:
    """Return one link, waiting or ended, with its account and connection."""
    one = select(Action).join(Action.account).outerjoin(Action.connection)
    one = one.options(contains_eager(Action.account), contains_eager(Action.connection))
    return db.session.scalar(one.where(Action.id == action_id, Action.kind.in_(actions.LINKS)))


def stage_of(action: Action, at: datetime) -> str | None:
    """Return the stage of a link; None if it is not waiting."""
    listing = waiting_links(at)
    row = db.session.execute(listing.statement.where(Action.id == action.id)).first()
    return row.stage if row is not None else None


def record_sent(
    action: Action, who: str, language: str, at: datetime, *, reminder: bool = False
) -> bool:
    """Record that a user sent the message. Commits. Returns False if the link is not waiting."""
    values: dict[str, Any] = (
        {"reminded_at": at} if reminder else {"sent_at": at, "sent_by": who, "language": language}
    )
    recorded = change(update(Action).where(Action.id == action.id, *_WAITS).values(values))
    db.session.commit()
    db.session.refresh(action)
    return bool(recorded)


def language_of(account_id: int) -> str | None:
    """Return the language of the last message to the account's customer, or None."""
    written = select(Action.language).where(
        Action.account_id == account_id, Action.language.is_not(None)
    )
    return db.session.scalars(written.order_by(Action.sent_at.desc()).limit(1)).first()


def waiting_of_account(account_id: int) -> list[Action]:
    """Return the waiting links of one account, oldest first."""
    mine = select(Action).outerjoin(Action.connection).options(contains_eager(Action.connection))
    return list(
        db.session.scalars(mine.where(Action.account_id == account_id, *_WAITS).order_by(Action.id))
    )


def reconnected(since: datetime, most: int = 12) -> tuple[list[Action], int]:
    """Return the latest links that succeeded since a time, and their total number."""
    succeeded = (Action.kind.in_(actions.LINKS), Action.state == "done", Action.settled_at >= since)
    shown = select(Action).join(Action.account).outerjoin(Action.connection)
    shown = shown.options(
        contains_eager(Action.account).load_only(Account.name, Account.external_id),
        contains_eager(Action.account).lazyload(Account.check),
        contains_eager(Action.connection),
    )
    latest = (
        shown.where(*succeeded).order_by(Action.settled_at.desc(), Action.id.desc()).limit(most)
    )
    return list(db.session.scalars(latest)), db.session.scalar(
        select(func.count()).select_from(Action).where(*succeeded)
    ) or 0


def changes_since(account_id: int, connection_id: int, at: datetime) -> list[HealthChange]:
    """Return the connection's status changes after a time, oldest first."""
    mine = select(HealthChange).where(
        HealthChange.account_id == account_id, HealthChange.connection_id == connection_id
    )
    return list(
        db.session.scalars(
            mine.where(HealthChange.at > at).order_by(HealthChange.at, HealthChange.id)
        )
    )


def first_connection_since(account_id: int, connector: str, at: datetime) -> Connection | None:
    """Return the account's first connection of a connector that appeared after a time."""
    mine = select(Connection).where(
        Connection.account_id == account_id, Connection.gone_at.is_(None)
    )
    mine = mine.where(
        Connection.connector_folded == comparable(connector), Connection.first_seen_at > at
    )
    return db.session.scalars(
        mine.order_by(Connection.first_seen_at, Connection.id).limit(1)
    ).first()


def _without_link() -> Any:
    link = select(Action.id).where(
        Action.account_id == Finding.account_id,
        Action.connection_id == Finding.connection_id,
        Action.kind.in_(actions.LINKS),
        Action.in_flight.is_not(None),
    )
    return ~link.exists()


NEEDED = replace(
    FINDINGS,
    statement=select(Finding)
    .join(Finding.account)
    .join(Finding.connection)
    .options(
        contains_eager(Finding.account).load_only(Account.name, Account.external_id),
        contains_eager(Finding.account).lazyload(Account.check),
        contains_eager(Finding.connection),
    )
    .where(Finding.rule.in_(CUSTOMERS_RULES), _without_link()),
    filters={name: FINDINGS.filters[name] for name in ("rule", "connector", "state", "account")},
)


def needed(most: int) -> tuple[list[Finding], int]:
    """Return the worst findings that need a link and have none, and their total number."""
    current = NEEDED.statement.where(Finding.state.not_in((RECOVERED, SUPPRESSED)))
    worst = current.order_by(Finding.severity_rank, Finding.first_seen_at.desc(), Finding.id).limit(
        most
    )
    counting = current.order_by(None).with_only_columns(func.count())
    return list(db.session.scalars(worst)), db.session.scalar(counting) or 0


def last_links(keys: Sequence[tuple[int, int]]) -> Mapping[tuple[int, int], Action]:
    """Return the newest link of each connection, by account and connection id."""
    if not keys:
        return {}
    newest = select(func.max(Action.id)).where(
        tuple_(Action.account_id, Action.connection_id).in_(keys), Action.kind.in_(actions.LINKS)
    )
    found = select(Action).where(
        Action.id.in_(newest.group_by(Action.account_id, Action.connection_id))
    )
    return {
        (action.account_id, action.connection_id): action for action in db.session.scalars(found)
    }
