"""What contradicts Peliqan's word is found without looking through all findings.

Revision ID: 0009
Revises: 0008
"""
import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None

WHERE = {"sqlite_where": sa.text("contradicts = 1"), "postgresql_where": sa.text("contradicts")}


def upgrade():
    op.create_index("ix_finding_contradicts", "finding", ["recovered_at", "severity_rank", "first_seen_at", "id"], **WHERE)


def downgrade():
    op.drop_index("ix_finding_contradicts", "finding")
