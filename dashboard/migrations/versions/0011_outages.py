"""Whether the API answers, for all processes.

Revision ID: 0011
Revises: 0010
"""
import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None

TIME = sa.DateTime(timezone=True)


def upgrade():
    op.create_table(
        "api_outage",
        sa.Column("host", sa.String(255), nullable=False),
        sa.Column("since", TIME, nullable=True),
        sa.Column("turn_at", TIME, nullable=True),
        sa.Column("turns", sa.Integer(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("ended_at", TIME, nullable=True),
        sa.PrimaryKeyConstraint("host", name="pk_api_outage"),
    )


def downgrade():
    op.drop_table("api_outage")
