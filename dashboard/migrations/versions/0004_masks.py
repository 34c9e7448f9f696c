"""Personal data: what administrators decided of columns, and who saw them.

Revision ID: 0004
Revises: 0003
"""
import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

BIG_ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
TIME = sa.DateTime(timezone=True)


def upgrade():
    op.create_table(
        "column_mask",
        sa.Column("table_id", BIG_ID, nullable=False),
        sa.Column("column", sa.String(300), nullable=False),
        sa.Column("account_id", BIG_ID, nullable=False),
        sa.Column("masked", sa.Boolean(), nullable=False),
        sa.Column("who", sa.Text(), nullable=False),
        sa.Column("at", TIME, nullable=False),
        sa.PrimaryKeyConstraint("table_id", "column", name="pk_column_mask"),
    )
    op.create_index("ix_column_mask_account_id", "column_mask", ["account_id"])
    op.create_table(
        "reveal",
        sa.Column("id", BIG_ID, nullable=False),
        sa.Column("user_id", BIG_ID, nullable=False),
        sa.Column("account_id", BIG_ID, nullable=False),
        sa.Column("table_id", BIG_ID, nullable=False),
        sa.Column("why", sa.Text(), nullable=False),
        sa.Column("at", TIME, nullable=False),
        sa.Column("until", TIME, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_reveal"),
    )
    op.create_index("ix_reveal_who", "reveal", ["user_id", "account_id", "table_id", "until"])


def downgrade():
    op.drop_table("reveal")
    op.drop_table("column_mask")
