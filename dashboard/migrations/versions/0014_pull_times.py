"""Schedules of pulls at a time of day.

Revision ID: 0014
Revises: 0013
"""
import sqlalchemy as sa
from alembic import op

revision = "0014"
down_revision = "0013"
branch_labels = None
depends_on = None


def upgrade():
    op.add_column("pull_schedule", sa.Column("at_minute", sa.Integer(), nullable=True))
    op.add_column("pull_schedule", sa.Column("zone", sa.String(60), nullable=False, server_default="UTC"))


def downgrade():
    op.drop_column("pull_schedule", "zone")
    op.drop_column("pull_schedule", "at_minute")
