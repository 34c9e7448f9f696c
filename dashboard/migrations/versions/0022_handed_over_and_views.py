"""People who are handed over to a provider and have not come from there yet; what is asked of tables, kept by a short name.

Revision ID: 0022
Revises: 0021
"""
import sqlalchemy as sa
from alembic import op

revision = "0022"
down_revision = "0021"
branch_labels = None
depends_on = None


def upgrade():
    op.add_column("user", sa.Column("handed_to", sa.Text(), nullable=True))
    op.create_table(
        "table_view",
        sa.Column("id", sa.String(22), primary_key=True),
        sa.Column("account_id", sa.BigInteger(), nullable=False),
        sa.Column("table_id", sa.BigInteger(), nullable=False),
        sa.Column("content", sa.LargeBinary(), nullable=False),
        sa.Column("used_at", sa.DateTime(timezone=True), nullable=False),
    )
    op.create_index("ix_table_view_used_at", "table_view", ["used_at"])


def downgrade():
    op.drop_table("table_view")
    op.drop_column("user", "handed_to")
