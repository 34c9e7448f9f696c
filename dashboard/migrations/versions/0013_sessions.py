"""Passwords that others chose, and which browser a session is of.

Revision ID: 0013
Revises: 0012
"""
import sqlalchemy as sa
from alembic import op

revision = "0013"
down_revision = "0012"
branch_labels = None
depends_on = None


def upgrade():
    op.add_column("user", sa.Column("password_given", sa.Boolean(), nullable=False, server_default=sa.false()))
    op.add_column("sign_in", sa.Column("browser", sa.String(80), nullable=False, server_default=""))


def downgrade():
    op.drop_column("sign_in", "browser")
    op.drop_column("user", "password_given")
