"""What is kept about customers' tables; never a row of theirs."""

from datetime import datetime
from typing import Any

from sqlalchemy import JSON, ForeignKey, Index, LargeBinary, String, Text
from sqlalchemy.orm import Mapped, mapped_column

from dashboard.core.database import BigId, Model, UtcTime


class ColumnMask(Model):
    """An administrator's word on whether a column is masked, over what the rules say. ``column`` is its name."""

    __tablename__ = "column_mask"

    table_id: Mapped[int] = mapped_column(BigId, primary_key=True)
    column: Mapped[str] = mapped_column(String(300), primary_key=True)
    account_id: Mapped[int] = mapped_column(BigId, index=True)
    masked: Mapped[bool]
    who: Mapped[str] = mapped_column(Text)
    at: Mapped[datetime] = mapped_column(UtcTime)


class Reveal(Model):
    """Somebody sees a table's masked columns until a time, having said why."""

    __tablename__ = "reveal"
    __table_args__ = (Index("ix_reveal_who", "user_id", "account_id", "table_id", "until"),)

    id: Mapped[int] = mapped_column(BigId, primary_key=True)
    user_id: Mapped[int] = mapped_column(BigId)
    account_id: Mapped[int] = mapped_column(BigId)
    table_id: Mapped[int] = mapped_column(BigId)
    why: Mapped[str] = mapped_column(Text)
    at: Mapped[datetime] = mapped_column(UtcTime)
    until: Mapped[datetime] = mapped_column(UtcTime)


class Export(Model):
    """A whole table to be made a file of, and how far that is; states and their order: ``exports.service``.

    ``asked``: what the reading is given (search, order_by, filters, include); ``columns``: name, type and decimal places of
    each; ``hidden``: names of those that are masked; ``disclosed``: those that only a person who sees them may be given the file
    of, as ``peliqan.Column`` reads them. ``page`` and ``offset``: the last page that is in the file, and where the
    file ends after it; ``total``: rows as counted first; ``rate``: rows a second; ``counted``: what remarks will be made of.
    """

    __tablename__ = "export"
    __table_args__ = (Index("ix_export_who", "who", "id"),)

    id: Mapped[int] = mapped_column(BigId, primary_key=True)
    account_id: Mapped[int] = mapped_column(BigId)
    table_id: Mapped[int] = mapped_column(BigId)
    table_name: Mapped[str] = mapped_column(Text)
    suffix: Mapped[str] = mapped_column(String(16))
    asked: Mapped[dict[str, Any]] = mapped_column(JSON)
    columns: Mapped[list[Any]] = mapped_column(JSON)
    hidden: Mapped[list[str]] = mapped_column(JSON)
    disclosed: Mapped[list[Any] | None] = mapped_column(JSON(none_as_null=True))
    in_words: Mapped[str] = mapped_column(Text)
    who: Mapped[str] = mapped_column(Text)
    audit_id: Mapped[int] = mapped_column(BigId, ForeignKey("audit_entry.id"))
    state: Mapped[str] = mapped_column(String(16))
    asked_at: Mapped[datetime] = mapped_column(UtcTime)
    ended_at: Mapped[datetime | None] = mapped_column(UtcTime)
    expires_at: Mapped[datetime | None] = mapped_column(UtcTime, index=True)
    due_at: Mapped[datetime | None] = mapped_column(UtcTime, index=True)
    leased_until: Mapped[datetime | None] = mapped_column(UtcTime)
    noted_at: Mapped[datetime | None] = mapped_column(UtcTime)
    page: Mapped[int] = mapped_column(BigId, default=0)
    offset: Mapped[int] = mapped_column(BigId, default=0)
    rows: Mapped[int] = mapped_column(BigId, default=0)
    total: Mapped[int | None] = mapped_column(BigId)
    rate: Mapped[float | None]
    counted: Mapped[dict[str, int]] = mapped_column(JSON, default=dict)
    tries: Mapped[int] = mapped_column(default=0)
    size: Mapped[int | None] = mapped_column(BigId)
    error: Mapped[str] = mapped_column(Text, default="")
    remarks: Mapped[list[str]] = mapped_column(JSON, default=list)

    @property
    def seconds_left(self) -> float | None:
        """How long it will take at its present rate; None before that can be told."""
        if not self.rate or self.total is None:
            return None
        return max(0, self.total - self.rows) / self.rate

    @property
    def name(self) -> str:
        """The file's name in the exports' folder."""
        return f"{self.id}.{self.suffix}"


class TableView(Model):
    """What is asked of a table (columns, filters, sort), kept since it is too long for an address; see ``tables.saved_views``.

    ``id``: a digest of the content and its table; ``content``: JSON, encrypted; ``used_at``: to the day.
    """

    __tablename__ = "table_view"

    id: Mapped[str] = mapped_column(String(22), primary_key=True)
    account_id: Mapped[int] = mapped_column(BigId)
    table_id: Mapped[int] = mapped_column(BigId)
    content: Mapped[bytes] = mapped_column(LargeBinary)
    used_at: Mapped[datetime] = mapped_column(UtcTime, index=True)


class TableLook(Model):
    """What somebody, or the worker, saw of a table: how many rows, and of a page of them what else can be told.

    ``says_received``: whether a column says when rows were received, None where only the rows were counted. ``page``: the page
    that was read, ``sampled`` how many rows that was, ``key`` the primary column, ``duplicates`` how many of the rows have a key
    that another has; ``empty_columns`` were so in all of them.
    """

    __tablename__ = "table_look"
    __table_args__ = (Index("ix_table_look_table", "account_id", "table_id", "at"),)

    id: Mapped[int] = mapped_column(BigId, primary_key=True)
    account_id: Mapped[int] = mapped_column(BigId)
    table_id: Mapped[int] = mapped_column(BigId)
    at: Mapped[datetime] = mapped_column(UtcTime, index=True)
    rows: Mapped[int] = mapped_column(BigId)
    newest_received_at: Mapped[datetime | None] = mapped_column(UtcTime)
    says_received: Mapped[bool | None]
    page: Mapped[int | None] = mapped_column(BigId)
    sampled: Mapped[int | None]
    key: Mapped[str] = mapped_column(Text, default="")
    duplicates: Mapped[int | None]
    empty_columns: Mapped[list[str]] = mapped_column(JSON, default=list)


class WatchedTable(Model):
    """A table that is counted each day, because somebody looked at it within a week; order and states: ``tables.health.service``.

    ``connection_id``: which connection loads it, as far as its name tells. While it lacks rows, ``rows_before`` is how many there
    were ``before_at``, and ``dropped_at`` when that was noticed.
    """

    __tablename__ = "watched_table"

    account_id: Mapped[int] = mapped_column(BigId, primary_key=True)
    table_id: Mapped[int] = mapped_column(BigId, primary_key=True)
    connection_id: Mapped[int | None] = mapped_column(BigId)
    name: Mapped[str] = mapped_column(Text)
    watched_until: Mapped[datetime] = mapped_column(UtcTime)
    due_at: Mapped[datetime | None] = mapped_column(UtcTime, index=True)
    leased_until: Mapped[datetime | None] = mapped_column(UtcTime)
    rows: Mapped[int] = mapped_column(BigId)
    rows_at: Mapped[datetime] = mapped_column(UtcTime)
    rows_before: Mapped[int | None] = mapped_column(BigId)
    before_at: Mapped[datetime | None] = mapped_column(UtcTime)
    dropped_at: Mapped[datetime | None] = mapped_column(UtcTime)


class DataCheck(Model):
    """The latest check of what a connection loaded; times and states: ``tables.data_checks.service``.

    ``warehouse``: its name at Peliqan; ``schema_name``: the schema that was counted. ``tables``: ``CountedTable`` as objects;
    ``more_tables``: how many tables of the schema were left out.
    """

    __tablename__ = "data_check"

    account_id: Mapped[int] = mapped_column(BigId, primary_key=True)
    connection_id: Mapped[int] = mapped_column(BigId, primary_key=True)
    warehouse: Mapped[str] = mapped_column(Text)
    schema_name: Mapped[str] = mapped_column(Text)
    tables: Mapped[list[dict[str, Any]]] = mapped_column(JSON, default=list)
    more_tables: Mapped[int] = mapped_column(default=0)
    checked_at: Mapped[datetime] = mapped_column(UtcTime)
    watched_until: Mapped[datetime] = mapped_column(UtcTime)
    due_at: Mapped[datetime | None] = mapped_column(UtcTime, index=True)
    leased_until: Mapped[datetime | None] = mapped_column(UtcTime)


class ValueSearch(Model):
    """A search for one value in all tables of a connection, and how far it is; see ``tables.search.jobs``.

    ``value`` is encrypted; ``seconds``: how long it has worked; ``places``: the tables, None before they are known; ``hits``:
    table, row and column of each, never a value.
    """

    __tablename__ = "value_search"
    __table_args__ = (Index("ix_value_search_mine", "who", "account_id", "connection_id", "id"),)

    id: Mapped[int] = mapped_column(BigId, primary_key=True)
    account_id: Mapped[int] = mapped_column(BigId)
    connection_id: Mapped[int] = mapped_column(BigId)
    who: Mapped[str] = mapped_column(Text)
    value: Mapped[bytes] = mapped_column(LargeBinary)
    asked_at: Mapped[datetime] = mapped_column(UtcTime, index=True)
    ended_at: Mapped[datetime | None] = mapped_column(UtcTime)
    leased_until: Mapped[datetime | None] = mapped_column(UtcTime)
    seconds: Mapped[float] = mapped_column(default=0.0)
    rows_read: Mapped[int] = mapped_column(BigId, default=0)
    places: Mapped[list[Any] | None] = mapped_column(JSON(none_as_null=True))
    hits: Mapped[list[Any]] = mapped_column(JSON, default=list)
    error: Mapped[str] = mapped_column(Text, default="")
