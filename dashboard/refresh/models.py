"""The state of the fleet refresh, and outages of the API."""

from datetime import datetime

from sqlalchemy import String, Text
from sqlalchemy.orm import Mapped, mapped_column

from dashboard.core.database import BigId, Model, UtcTime
from dashboard.core.row_access import EVERYONE, Visibility


class Refresh(Model):
    """One pass over the fleet: how far it is, what could not be read. Open while ``ended_at`` is None.

    ``active`` is 1 while it runs and None afterwards: the unique column lets only one run at a time. ``listing_until`` is the
    lease of whoever asks for the list of accounts. ``rate``: accounts a second, lately.
    """

    __tablename__ = "refresh"
    # A refresh is over the whole fleet.
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
    """Whether the API at a host answers, for all processes: a row a host, from its first outage on.

    While one lasts ``since`` says from when on nothing was answered, ``turn_at`` when somebody is to ask next, after ``turns``
    times, and ``reason`` what happened last. ``ended_at``: when it answered again, at the end of the one before.
    """

    __tablename__ = "api_outage"
    visibility = EVERYONE

    host: Mapped[str] = mapped_column(String(255), primary_key=True)
    since: Mapped[datetime | None] = mapped_column(UtcTime)
    turn_at: Mapped[datetime | None] = mapped_column(UtcTime)
    turns: Mapped[int] = mapped_column(default=0)
    reason: Mapped[str] = mapped_column(Text, default="")
    ended_at: Mapped[datetime | None] = mapped_column(UtcTime)
