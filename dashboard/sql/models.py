"""Questions in SQL to customers' warehouses. Results are customers' data: compressed, encrypted, and gone after a day."""

from datetime import datetime
from typing import Any

from sqlalchemy import JSON, ForeignKey, Index, LargeBinary, String, Text
from sqlalchemy.orm import Mapped, mapped_column, relationship

from dashboard.core.database import BigId, Model, UtcTime
from dashboard.core.row_access import BY_ACCOUNT, Visibility
from dashboard.core.search_text import folded
from dashboard.fleet.models import Account


class WarehouseDsn(Model):
    """Where a customer's warehouse is reached directly. ``address`` is encrypted, ``shown`` is what may be seen of it."""

    __tablename__ = "warehouse_address"
    visibility = BY_ACCOUNT

    account_id: Mapped[int] = mapped_column(BigId, primary_key=True)
    address: Mapped[bytes] = mapped_column(LargeBinary)
    shown: Mapped[str] = mapped_column(Text)
    who: Mapped[str] = mapped_column(Text)
    at: Mapped[datetime] = mapped_column(UtcTime)


class SavedQuery(Model):
    """A question that is asked again and again. ``parameters``: the type of each name in it: text, number or date."""

    __tablename__ = "saved_query"
    # Others' may name customers in their text.
    visibility = Visibility("saved_query WHERE saved_query.who IN ({my_address})")

    id: Mapped[int] = mapped_column(BigId, primary_key=True)
    name: Mapped[str] = mapped_column(String(200), unique=True)
    name_folded: Mapped[str] = folded("name")
    text: Mapped[str] = mapped_column(Text)
    parameters: Mapped[dict[str, str]] = mapped_column(JSON)
    who: Mapped[str] = mapped_column(Text)
    at: Mapped[datetime] = mapped_column(UtcTime)


class QueryRun(Model):
    """What somebody asked, of one account or of many; ``text`` has its values in it, is encrypted, and is gone after a day.

    ``title``: the saved query's name, or the first line without values. ``revealed_until``: until when its answers are shown to
    ``who``, who gave a reason; administrators need none.
    """

    __tablename__ = "question"
    visibility = Visibility(
        "question WHERE EXISTS (SELECT 1 FROM answer WHERE answer.question_id = question.id AND answer.account_id IN ({ids}))"
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
    """One account's answer to a question; states and their order: ``sql.service``.

    ``columns``: of each its encrypted name, its type, and a third part that is of no use any more; ``rows``: encrypted, None
    before there are any and after a day. ``told``: why it failed, or what is missing, without values; gone after a day.
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
    # Of megabytes: fetched by who shows them, and not with each look at how things stand.
    rows: Mapped[bytes | None] = mapped_column(LargeBinary, deferred=True)
    count: Mapped[int | None] = mapped_column(BigId)
    told: Mapped[str] = mapped_column(Text, default="")

    question: Mapped[QueryRun] = relationship(lazy="joined", innerjoin=True)
    account: Mapped[Account] = relationship(lazy="joined", innerjoin=True)
