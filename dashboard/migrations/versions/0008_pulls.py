"""Schedules of copies with their runs.

Revision ID: 0008
Revises: 0007
"""
import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None

BIG_ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
TIME = sa.DateTime(timezone=True)


def upgrade():
    op.create_table(
        "pull_schedule",
        sa.Column("id", BIG_ID, nullable=False),
        sa.Column("name", sa.String(80), nullable=False),
        sa.Column("address", sa.LargeBinary(), nullable=False),
        sa.Column("place", sa.Text(), nullable=False),
        sa.Column("chosen", sa.JSON(), nullable=False),
        sa.Column("every", sa.Integer(), nullable=False),
        sa.Column("full_every", sa.Integer(), nullable=False),
        sa.Column("on", sa.Boolean(), nullable=False),
        sa.Column("created_at", TIME, nullable=False),
        sa.Column("created_by", sa.Text(), nullable=False),
        sa.Column("due_at", TIME, nullable=True),
        sa.Column("leased_until", TIME, nullable=True),
        sa.Column("asked_by", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_pull_schedule"),
        sa.UniqueConstraint("name", name="uq_pull_schedule_name"),
    )
    op.create_index("ix_pull_schedule_due_at", "pull_schedule", ["due_at"])
    op.create_table(
        "pull_run",
        sa.Column("id", BIG_ID, nullable=False),
        sa.Column("schedule_id", BIG_ID, nullable=True),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("place", sa.Text(), nullable=False),
        sa.Column("who", sa.Text(), nullable=False),
        sa.Column("audit_id", BIG_ID, nullable=False),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("began_at", TIME, nullable=False),
        sa.Column("ended_at", TIME, nullable=True),
        sa.Column("leased_until", TIME, nullable=True),
        sa.Column("now", sa.Text(), nullable=False),
        sa.Column("tables", sa.Integer(), nullable=False),
        sa.Column("rows", BIG_ID, nullable=False),
        sa.Column("failed", sa.Integer(), nullable=False),
        sa.Column("failures", sa.JSON(), nullable=False),
        sa.Column("remarks", sa.JSON(), nullable=False),
        sa.Column("error", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(["audit_id"], ["audit_entry.id"], name="fk_pull_run_audit_id_audit_entry"),
        sa.PrimaryKeyConstraint("id", name="pk_pull_run"),
    )
    op.create_index("ix_pull_run_schedule", "pull_run", ["schedule_id", "id"])
    op.create_index("ix_pull_run_open", "pull_run", ["ended_at", "leased_until"])


def downgrade():
    for table in ("pull_run", "pull_schedule"):
        op.drop_table(table)
