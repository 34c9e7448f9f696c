"""The state of the fleet refresh, and outages of the API."""

from datetime import datetime

from sqlalchemy import String, Text
from sqlalchemy.orm import Mapped, mapped_column

from dashboard.core.database import BigId, Model, UtcTime
from dashboard.core.row_access import EVERYONE, Visibility


class Refresh(Model):
    """One refresh of the fleet: its progress and result. Open while ``ended_at`` is None.

    ``active`` is 1 while it runs and None afterwards; the unique column allows one at a time.
    ``listing_until``: the lease of the worker that reads the list of accounts. ``rate``: recent
    accounts a second.
    """

    __tablename__ = "refresh"
    # Its numbers cover the whole fleet, so restricted users do not see them.
    visibility = Visibility(
        "refresh",
        {
            "accounts": "CAST(NULL AS INTEGER)",
            "done": "0",
            "unreadable": "0",
            "rate": "CAST(NULL AS FLOAT)",
        },
    )

    id: Mapped[int] = mapped_column(BigId, primary_key=True)
    active: Mapped[int | None] = mapped_column(unique=True)
    started_at: Mapped[datetime] = mapped_column(UtcTime, index=True)
    alive_at: Mapped[datetime] = mapped_column(UtcTime)
    listing_until: Mapped[datetime | None] = mapped_column(UtcTime)
    listed_at: Mapped[datetime | None] = mapped_column(UtcTime)
    ended_at: Mapped[datetime | None] = mapped_column(UtcTime)
    rate: Mapped[float | None]
    accounts: Mapped[int | None]
    done: Mapped[int] = mapped_column(default=0)
    unreadable: Mapped[int] = mapped_column(default=0)
    error: Mapped[str | None] = mapped_column(Text)


class ApiOutage(Model):
    """The state of the API at a host, for all processes; a row exists after one outage.

    During an outage: ``since`` is its start, ``turn_at`` the time of the next probe, ``turns`` the
    number of probes sent, ``reason`` what happened. ``ended_at``: the end of the last outage.
    """

    __tablename__ = "api_outage"
    visibility = EVERYONE

    host: Mapped[str] = mapped_column(String(255), primary_key=True)
    since: Mapped[datetime | None] = mapped_column(UtcTime)
    turn_at: Mapped[datetime | None] = mapped_column(UtcTime)
    turns: Mapped[int] = mapped_column(default=0)
    reason: Mapped[str] = mapped_column(Text, default="")
    ended_at: Mapped[datetime | None] = mapped_column(UtcTime)
