"""People whom a provider vouches for, people who see some customers only, second factors.

Revision ID: 0012
Revises: 0011
"""
import sqlalchemy as sa
from alembic import op

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None

BIG_ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
TIME = sa.DateTime(timezone=True)


def upgrade():
    op.add_column("user", sa.Column("issuer", sa.Text(), nullable=True))
    op.add_column("user", sa.Column("subject", sa.Text(), nullable=True))
    op.add_column("user", sa.Column("limited", sa.Boolean(), nullable=False, server_default=sa.false()))
    op.add_column("user", sa.Column("totp_secret", sa.LargeBinary(), nullable=True))
    op.add_column("user", sa.Column("totp_step", sa.BigInteger(), nullable=True))
    op.create_index("ix_user_provider", "user", ["issuer", "subject"], unique=True)
    op.create_table(
        "scope",
        sa.Column("user_id", BIG_ID, nullable=False),
        sa.Column("text", sa.String(255), nullable=False),
        sa.Column("is_prefix", sa.Boolean(), nullable=False),
        sa.ForeignKeyConstraint(["user_id"], ["user.id"], name="fk_scope_user_id_user"),
        sa.PrimaryKeyConstraint("user_id", "text", "is_prefix", name="pk_scope"),
    )
    op.create_table(
        "seen",
        sa.Column("user_id", BIG_ID, nullable=False),
        sa.Column("account_id", BIG_ID, nullable=False),
        sa.ForeignKeyConstraint(["user_id"], ["user.id"], name="fk_seen_user_id_user"),
        sa.ForeignKeyConstraint(["account_id"], ["account.id"], name="fk_seen_account_id_account"),
        sa.PrimaryKeyConstraint("user_id", "account_id", name="pk_seen"),
    )
    op.create_index("ix_seen_account_id", "seen", ["account_id"])
    op.create_table(
        "recovery_code",
        sa.Column("id", BIG_ID, nullable=False),
        sa.Column("user_id", BIG_ID, nullable=False),
        sa.Column("code_hash", sa.String(64), nullable=False),
        sa.Column("used_at", TIME, nullable=True),
        sa.ForeignKeyConstraint(["user_id"], ["user.id"], name="fk_recovery_code_user_id_user"),
        sa.PrimaryKeyConstraint("id", name="pk_recovery_code"),
    )
    op.create_index("ix_recovery_code_user_id", "recovery_code", ["user_id"])


def downgrade():
    op.drop_table("recovery_code")
    op.drop_table("seen")
    op.drop_table("scope")
    op.drop_index("ix_user_provider", "user")
    for column in ("totp_step", "totp_secret", "limited", "subject", "issuer"):
        op.drop_column("user", column)
