"""What the warehouse counted of a connection's tables, and which schema a connection loads into.

Revision ID: 0017
Revises: 0016
"""
import sqlalchemy as sa
from alembic import op

revision = "0017"
down_revision = "0016"
branch_labels = None
depends_on = None

BIG_ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
TIME = sa.DateTime(timezone=True)


def upgrade():
    op.add_column("connection", sa.Column("schema_name", sa.Text(), nullable=False, server_default=""))
    op.create_table(
        "data_check",
        sa.Column("account_id", BIG_ID, nullable=False),
        sa.Column("connection_id", BIG_ID, nullable=False),
        sa.Column("warehouse", sa.Text(), nullable=False),
        sa.Column("schema_name", sa.Text(), nullable=False),
        sa.Column("tables", sa.JSON(), nullable=False),
        sa.Column("more_tables", sa.Integer(), nullable=False),
        sa.Column("checked_at", TIME, nullable=False),
        sa.Column("watched_until", TIME, nullable=False),
        sa.Column("due_at", TIME, nullable=True),
        sa.Column("leased_until", TIME, nullable=True),
        sa.PrimaryKeyConstraint("account_id", "connection_id", name="pk_data_check"),
    )
    op.create_index("ix_data_check_due_at", "data_check", ["due_at"])


def downgrade():
    op.drop_index("ix_data_check_due_at", table_name="data_check")
    op.drop_table("data_check")
    op.drop_column("connection", "schema_name")
