"""Which columns a person must see to be given an export's file; not known of exports from before, which are not handed out.

Revision ID: 0019
Revises: 0018
"""
import sqlalchemy as sa
from alembic import op

revision = "0019"
down_revision = "0018"
branch_labels = None
depends_on = None


def upgrade():
    op.add_column("export", sa.Column("disclosed", sa.JSON(), nullable=True))


def downgrade():
    op.drop_column("export", "disclosed")
