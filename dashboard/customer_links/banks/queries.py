"""The daily review of bank connections: their list and who reviewed them."""

from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import ColumnElement, and_, case, delete, or_, select
from sqlalchemy.orm import aliased, contains_eager

from dashboard.core.database import change, db, upsert
from dashboard.customer_links.banks.models import BankReview
from dashboard.customer_links.limits import SHOWN_AFTER_RENEWAL
from dashboard.findings.models import Finding
from dashboard.fleet.counters import LISTED
from dashboard.fleet.lists import CONNECTIONS
from dashboard.fleet.models import Account, Connection, ConnectionCount
from dashboard.listing.listing import Filter, Listing, Outer, shown_time
from dashboard.peliqan.statuses import is_saltedge

TODO, TICKED, BACK = "to_do", "ticked", "back"
ROUND = (TODO, TICKED, BACK)
ENDED, ENDING, LASTING, UNTOLD = "ended", "ending", "lasting", "untold"
CONSENTS = (ENDED, ENDING, LASTING, UNTOLD)
_KEY = (Connection.account_id, Connection.id)


def bank_list(at: datetime, today: datetime, ending_within: timedelta) -> Listing:
    """Return the list of bank connections with their reviews, oldest data first.

    Rows: ``Connection``, ``BankReview``, ``round`` (one of ``ROUND``) and ``consent`` (one of
    ``CONSENTS``). ``today``: start of the viewer's day. A review counts for its day; a success
    after a review of the last 7 days makes the connection ``back``. A consent is ``ended`` if the
    API says so or if the bank refuses access.
    """
    refused = aliased(Finding)
    reconnected = and_(
        BankReview.at >= today - SHOWN_AFTER_RENEWAL,
        Connection.last_success_at > BankReview.at,
        refused.id.is_(None),
    )
    stands = case((reconnected, BACK), (BankReview.at >= today, TICKED), else_=TODO)
    consent = case(
        (or_(Connection.consent_expires_at <= at, refused.id.is_not(None)), ENDED),
        (Connection.consent_expires_at.is_(None), UNTOLD),
        (Connection.consent_expires_at <= at + ending_within, ENDING),
        else_=LASTING,
    )
    return Listing(
        statement=select(Connection, BankReview, stands.label("round"), consent.label("consent"))
        .join(Connection.account)
        .outerjoin(BankReview, _review_of_connection())
        .outerjoin(refused, _is_refused(refused))
        .options(
            contains_eager(Connection.account).load_only(Account.name, Account.external_id),
            contains_eager(Connection.account).lazyload(Account.check),
        )
        .where(Connection.connector.in_(_banks()), *LISTED),
        search=CONNECTIONS.search,
        exact=CONNECTIONS.exact,
        filters={
            "round": Filter(stands, "Round", ROUND),
            "consent": Filter(consent, "Consent", CONSENTS),
            "connector": Filter(Connection.connector, "Bank"),
            "account": Filter(Connection.account_id, "Account", number=True, counted=False),
        },
        sorts={
            "age": (Connection.last_success_at, *_KEY),
            "consent": (Connection.consent_expires_at, *_KEY),
            "account": (Account.name_folded, Account.id, Connection.id),
            "ticked": (Outer(BankReview.at), *_KEY),
        },
        default_sort="age",
    )


def _review_of_connection() -> ColumnElement[bool]:
    return and_(
        BankReview.account_id == Connection.account_id, BankReview.connection_id == Connection.id
    )


def _is_refused(finding: type[Finding]) -> ColumnElement[bool]:
    return and_(
        finding.account_id == Connection.account_id,
        finding.connection_id == Connection.id,
        finding.recovered_at.is_(None),
        finding.rule == "auth_failed",
    )


def serialize_bank(row: Any) -> dict[str, Any]:
    """Return a row of ``bank_list`` as a JSON object."""
    connection, tick = row.Connection, row.BankReview
    return {
        "account_id": connection.account_id,
        "account_name": connection.account.name,
        "external_id": connection.account.external_id,
        "connection_id": connection.id,
        "name": connection.name,
        "connector": connection.connector,
        "status": connection.status,
        "last_success_at": shown_time(connection.last_success_at),
        "consent_expires_at": shown_time(connection.consent_expires_at),
        "consent": row.consent,
        "round": row.round,
        "ticked_at": shown_time(tick.at) if tick is not None else None,
        "ticked_by": tick.who if tick is not None else None,
    }


def next_to_do(listing: Listing) -> Connection | None:
    """Return the connection with the oldest data that was not reviewed today."""
    to_do = replace(listing.read({"round": TODO}), per_page=1)
    rows = listing.page(to_do).items
    return rows[0].Connection if rows else None


def review(connection: Connection, who: str, at: datetime) -> None:
    """Record that a user reviewed the connection. Commits."""
    upsert(
        BankReview,
        [
            {
                "account_id": connection.account_id,
                "connection_id": connection.id,
                "at": at,
                "who": who,
            }
        ],
    )
    db.session.commit()


def unreview(connection: Connection) -> None:
    """Delete the review of a connection. Commits."""
    of_connection = (
        BankReview.account_id == connection.account_id,
        BankReview.connection_id == connection.id,
    )
    change(delete(BankReview).where(*of_connection))
    db.session.commit()


def review_of(connection: Connection) -> BankReview | None:
    """Return the latest review of a connection."""
    return db.session.get(BankReview, (connection.account_id, connection.id))


def _banks() -> list[str]:
    """Return the connectors that are banks."""
    known = db.session.scalars(select(ConnectionCount.connector).distinct())
    return [connector for connector in known if is_saltedge(connector)]
