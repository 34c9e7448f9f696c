"""Saved views of a table: columns, filters, search and sort under a short id."""

from datetime import datetime

from sqlalchemy import LargeBinary, String
from sqlalchemy.orm import Mapped, mapped_column

from dashboard.core.database import BigId, Model, UtcTime
from dashboard.core.row_access import BY_ACCOUNT


class TableView(Model):
    """The columns, filters, search and sort of a table's page, stored under a short id.

    Stored because they are too long for an address; see ``tables.saved_views``.
    ``id``: a digest of the content and its table. ``content``: JSON, encrypted. ``used_at``: when
    the view was last opened, updated at most once a day.
    """

    __tablename__ = "table_view"
    visibility = BY_ACCOUNT

    id: Mapped[str] = mapped_column(String(22), primary_key=True)
    account_id: Mapped[int] = mapped_column(BigId)
    table_id: Mapped[int] = mapped_column(BigId)
    content: Mapped[bytes] = mapped_column(LargeBinary)
    used_at: Mapped[datetime] = mapped_column(UtcTime, index=True)
