"""Exports of whole tables that are made in the background.

Revision ID: 0005
Revises: 0004
"""
import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

BIG_ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
TIME = sa.DateTime(timezone=True)


def upgrade():
    op.create_table(
        "export",
        sa.Column("id", BIG_ID, nullable=False),
        sa.Column("account_id", BIG_ID, nullable=False),
        sa.Column("table_id", BIG_ID, nullable=False),
        sa.Column("table_name", sa.Text(), nullable=False),
        sa.Column("suffix", sa.String(16), nullable=False),
        sa.Column("asked", sa.JSON(), nullable=False),
        sa.Column("columns", sa.JSON(), nullable=False),
        sa.Column("hidden", sa.JSON(), nullable=False),
        sa.Column("in_words", sa.Text(), nullable=False),
        sa.Column("who", sa.Text(), nullable=False),
        sa.Column("audit_id", BIG_ID, nullable=False),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("asked_at", TIME, nullable=False),
        sa.Column("ended_at", TIME, nullable=True),
        sa.Column("expires_at", TIME, nullable=True),
        sa.Column("due_at", TIME, nullable=True),
        sa.Column("leased_until", TIME, nullable=True),
        sa.Column("noted_at", TIME, nullable=True),
        sa.Column("page", BIG_ID, nullable=False),
        sa.Column("offset", BIG_ID, nullable=False),
        sa.Column("rows", BIG_ID, nullable=False),
        sa.Column("total", BIG_ID, nullable=True),
        sa.Column("rate", sa.Double(), nullable=True),
        sa.Column("counted", sa.JSON(), nullable=False),
        sa.Column("tries", sa.Integer(), nullable=False),
        sa.Column("size", BIG_ID, nullable=True),
        sa.Column("error", sa.Text(), nullable=False),
        sa.Column("remarks", sa.JSON(), nullable=False),
        sa.ForeignKeyConstraint(["audit_id"], ["audit_entry.id"], name="fk_export_audit_id_audit_entry"),
        sa.PrimaryKeyConstraint("id", name="pk_export"),
    )
    op.create_index("ix_export_who", "export", ["who", "id"])
    op.create_index("ix_export_due_at", "export", ["due_at"])
    op.create_index("ix_export_expires_at", "export", ["expires_at"])


def downgrade():
    op.drop_table("export")
