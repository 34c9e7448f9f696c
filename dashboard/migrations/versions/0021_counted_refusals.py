"""Entries of the audit trail that are counted instead of repeated: refusals and failures of one kind within an hour.

Revision ID: 0021
Revises: 0018
"""
import sqlalchemy as sa
from alembic import op

revision = "0021"
down_revision = "0020"
branch_labels = None
depends_on = None


def upgrade():
    op.add_column("audit_entry", sa.Column("times", sa.Integer(), nullable=False, server_default="1"))
    op.add_column("audit_entry", sa.Column("group_key", sa.String(80), nullable=True))
    op.create_index("ix_audit_entry_group_key", "audit_entry", ["group_key"], unique=True)


def downgrade():
    op.drop_index("ix_audit_entry_group_key", table_name="audit_entry")
    op.drop_column("audit_entry", "group_key")
    op.drop_column("audit_entry", "times")
