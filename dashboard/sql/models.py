"""SQL queries to customers' warehouses and their results, which are encrypted customer data."""

from datetime import datetime
from typing import Any

from sqlalchemy import JSON, ForeignKey, Index, LargeBinary, String, Text
from sqlalchemy.orm import Mapped, mapped_column, relationship

from dashboard.core.database import BigId, Model, UtcTime
from dashboard.core.row_access import BY_ACCOUNT, Visibility
from dashboard.core.search_text import folded
from dashboard.fleet.models import Account


class WarehouseDsn(Model):
    """The address for direct connections to a customer's warehouse.

    ``address``: encrypted; ``shown``: host, port and database, without user and password.
    """

    __tablename__ = "warehouse_address"
    visibility = BY_ACCOUNT

    account_id: Mapped[int] = mapped_column(BigId, primary_key=True)
    address: Mapped[bytes] = mapped_column(LargeBinary)
    shown: Mapped[str] = mapped_column(Text)
    who: Mapped[str] = mapped_column(Text)
    at: Mapped[datetime] = mapped_column(UtcTime)


class SavedQuery(Model):
    """A saved query. ``parameters``: the type of each of its parameters: text, number or date."""

    __tablename__ = "saved_query"
    # Only the user's own, since the text of others' queries can name customers.
    visibility = Visibility("saved_query WHERE saved_query.who IN ({my_address})")

    id: Mapped[int] = mapped_column(BigId, primary_key=True)
    name: Mapped[str] = mapped_column(String(200), unique=True)
    name_folded: Mapped[str] = folded("name")
    text: Mapped[str] = mapped_column(Text)
    parameters: Mapped[dict[str, str]] = mapped_column(JSON)
    who: Mapped[str] = mapped_column(Text)
    at: Mapped[datetime] = mapped_column(UtcTime)


class QueryRun(Model):
    """A statement that a user runs at the warehouses of one or more accounts.

    ``text``: encrypted, with its values; empty after a day. ``title``: the saved query's name, or
    the first line without values. ``revealed_until``: until when the results are shown to ``who``,
    who gave a reason; administrators need none.
    """

    __tablename__ = "question"
    visibility = Visibility(
        "question WHERE EXISTS (SELECT 1 FROM answer WHERE answer.question_id = question.id"
        " AND answer.account_id IN ({ids}))"
    )
    __table_args__ = (Index("ix_question_who", "who", "id"),)

    id: Mapped[int] = mapped_column(BigId, primary_key=True)
    who: Mapped[str] = mapped_column(Text)
    title: Mapped[str] = mapped_column(Text)
    text: Mapped[bytes] = mapped_column(LargeBinary)
    asked_at: Mapped[datetime] = mapped_column(UtcTime, index=True)
    revealed_until: Mapped[datetime | None] = mapped_column(UtcTime)
    audit_id: Mapped[int] = mapped_column(BigId, ForeignKey("audit_entry.id"))


class QueryResult(Model):
    """The result of a query run at one account's warehouse. For its states, see ``sql.service``.

    ``columns``: encrypted name, type, and an unused third part of each. ``rows``: compressed and
    encrypted; None before the result exists and after a day. ``told``: why the query failed, or
    what is missing, without values; empty after a day.
    """

    __tablename__ = "answer"
    visibility = BY_ACCOUNT
    __table_args__ = (Index("ix_answer_question", "question_id", "account_id"),)

    id: Mapped[int] = mapped_column(BigId, primary_key=True)
    question_id: Mapped[int] = mapped_column(BigId, ForeignKey("question.id", ondelete="CASCADE"))
    account_id: Mapped[int] = mapped_column(BigId, ForeignKey("account.id"))
    direct: Mapped[bool]
    state: Mapped[str] = mapped_column(String(16))
    due_at: Mapped[datetime | None] = mapped_column(UtcTime, index=True)
    leased_until: Mapped[datetime | None] = mapped_column(UtcTime)
    ended_at: Mapped[datetime | None] = mapped_column(UtcTime)
    columns: Mapped[list[Any]] = mapped_column(JSON, default=list)
    # Deferred, since it can be megabytes: loaded only where the rows are shown.
    rows: Mapped[bytes | None] = mapped_column(LargeBinary, deferred=True)
    count: Mapped[int | None] = mapped_column(BigId)
    told: Mapped[str] = mapped_column(Text, default="")

    question: Mapped[QueryRun] = relationship(lazy="joined", innerjoin=True)
    account: Mapped[Account] = relationship(lazy="joined", innerjoin=True)
