"""Looks at tables, which of them are counted each day, and searches for one value.

Revision ID: 0006
Revises: 0005
"""
import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

BIG_ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
TIME = sa.DateTime(timezone=True)


def upgrade():
    op.create_table(
        "table_look",
        sa.Column("id", BIG_ID, nullable=False),
        sa.Column("account_id", BIG_ID, nullable=False),
        sa.Column("table_id", BIG_ID, nullable=False),
        sa.Column("at", TIME, nullable=False),
        sa.Column("rows", BIG_ID, nullable=False),
        sa.Column("newest_received_at", TIME, nullable=True),
        sa.Column("says_received", sa.Boolean(), nullable=True),
        sa.Column("page", BIG_ID, nullable=True),
        sa.Column("sampled", sa.Integer(), nullable=True),
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column("duplicates", sa.Integer(), nullable=True),
        sa.Column("empty_columns", sa.JSON(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_table_look"),
    )
    op.create_index("ix_table_look_table", "table_look", ["account_id", "table_id", "at"])
    op.create_index("ix_table_look_at", "table_look", ["at"])
    op.create_table(
        "watched_table",
        sa.Column("account_id", BIG_ID, nullable=False),
        sa.Column("table_id", BIG_ID, nullable=False),
        sa.Column("connection_id", BIG_ID, nullable=True),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("watched_until", TIME, nullable=False),
        sa.Column("due_at", TIME, nullable=True),
        sa.Column("leased_until", TIME, nullable=True),
        sa.Column("rows", BIG_ID, nullable=False),
        sa.Column("rows_at", TIME, nullable=False),
        sa.Column("rows_before", BIG_ID, nullable=True),
        sa.Column("before_at", TIME, nullable=True),
        sa.Column("dropped_at", TIME, nullable=True),
        sa.PrimaryKeyConstraint("account_id", "table_id", name="pk_watched_table"),
    )
    op.create_index("ix_watched_table_due_at", "watched_table", ["due_at"])
    op.create_table(
        "value_search",
        sa.Column("id", BIG_ID, nullable=False),
        sa.Column("account_id", BIG_ID, nullable=False),
        sa.Column("connection_id", BIG_ID, nullable=False),
        sa.Column("who", sa.Text(), nullable=False),
        sa.Column("value", sa.LargeBinary(), nullable=False),
        sa.Column("asked_at", TIME, nullable=False),
        sa.Column("ended_at", TIME, nullable=True),
        sa.Column("leased_until", TIME, nullable=True),
        sa.Column("seconds", sa.Double(), nullable=False),
        sa.Column("rows_read", BIG_ID, nullable=False),
        sa.Column("places", sa.JSON(), nullable=True),
        sa.Column("hits", sa.JSON(), nullable=False),
        sa.Column("error", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_value_search"),
    )
    op.create_index("ix_value_search_mine", "value_search", ["who", "account_id", "connection_id", "id"])
    op.create_index("ix_value_search_asked_at", "value_search", ["asked_at"])


def downgrade():
    op.drop_table("value_search")
    op.drop_table("watched_table")
    op.drop_table("table_look")
