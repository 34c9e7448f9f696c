"""The round over the banks: connections by the age of their data, and who dealt with which."""

from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import and_, case, delete, or_, select
from sqlalchemy.orm import aliased, contains_eager

from dashboard.core.database import change, db, upsert
from dashboard.customer_links.banks.models import BankReview
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
BACK_WITHIN = timedelta(days=7)
_PLACE = (Connection.account_id, Connection.id)


def bank_list(at: datetime, today: datetime, ending_within: timedelta) -> Listing:
    """The list of bank connections, as rows of ``Connection``, ``BankReview``, ``round`` and ``consent``, oldest data first.

    ``today``: when the viewer's day began: what was ticked off before is to be done again, unless it came back: it had a success
    since it was ticked off, within the last week. A consent has ended where the API says so, or where the bank refuses access.
    """
    refused = aliased(Finding)
    came_back = and_(
        BankReview.at >= today - BACK_WITHIN,
        Connection.last_success_at > BankReview.at,
        refused.id.is_(None),
    )
    stands = case((came_back, BACK), (BankReview.at >= today, TICKED), else_=TODO)
    consent = case(
        (or_(Connection.consent_expires_at <= at, refused.id.is_not(None)), ENDED),
        (Connection.consent_expires_at.is_(None), UNTOLD),
        (Connection.consent_expires_at <= at + ending_within, ENDING),
        else_=LASTING,
    )
    its_refusal = and_(
        refused.account_id == Connection.account_id,
        refused.connection_id == Connection.id,
        refused.recovered_at.is_(None),
        refused.rule == "auth_failed",
    )
    return Listing(
        statement=select(Connection, BankReview, stands.label("round"), consent.label("consent"))
        .join(Connection.account)
        .outerjoin(
            BankReview,
            and_(
                BankReview.account_id == Connection.account_id,
                BankReview.connection_id == Connection.id,
            ),
        )
        .outerjoin(refused, its_refusal)
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
            "age": (Connection.last_success_at, *_PLACE),
            "consent": (Connection.consent_expires_at, *_PLACE),
            "account": (Account.name_folded, Account.id, Connection.id),
            "ticked": (Outer(BankReview.at), *_PLACE),
        },
        default_sort="age",
    )


def serialize_bank(row: Any) -> dict[str, Any]:
    """One bank connection as scripts see it."""
    connection, tick = row.Connection, row.BankTick
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
    """The bank connection with the oldest data of those that nobody ticked off today."""
    to_do = replace(listing.read({"round": TODO}), per_page=1)
    rows = listing.page(to_do).items
    return rows[0].Connection if rows else None


def review(connection: Connection, who: str, at: datetime) -> None:
    """Somebody dealt with it. Commits."""
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
    """It is to be done after all. Commits."""
    here = (
        BankReview.account_id == connection.account_id,
        BankReview.connection_id == connection.id,
    )
    change(delete(BankReview).where(*here))
    db.session.commit()


def review_of(connection: Connection) -> BankReview | None:
    """When somebody last dealt with it, and who."""
    return db.session.get(BankReview, (connection.account_id, connection.id))


def _banks() -> list[str]:
    """The connectors that are banks, by the one place that says how to tell."""
    known = db.session.scalars(select(ConnectionCount.connector).distinct())
    return [connector for connector in known if is_saltedge(connector)]
