"""Questions in SQL, their answers, saved ones, and where warehouses are reached directly.

Revision ID: 0007
Revises: 0006
"""
import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None

BIG_ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
TIME = sa.DateTime(timezone=True)


def upgrade():
    op.create_table(
        "warehouse_address",
        sa.Column("account_id", BIG_ID, nullable=False),
        sa.Column("address", sa.LargeBinary(), nullable=False),
        sa.Column("shown", sa.Text(), nullable=False),
        sa.Column("who", sa.Text(), nullable=False),
        sa.Column("at", TIME, nullable=False),
        sa.PrimaryKeyConstraint("account_id", name="pk_warehouse_address"),
    )
    op.create_table(
        "saved_query",
        sa.Column("id", BIG_ID, nullable=False),
        sa.Column("name", sa.String(200), nullable=False),
        sa.Column("text", sa.Text(), nullable=False),
        sa.Column("parameters", sa.JSON(), nullable=False),
        sa.Column("who", sa.Text(), nullable=False),
        sa.Column("at", TIME, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_saved_query"),
        sa.UniqueConstraint("name", name="uq_saved_query_name"),
    )
    op.create_table(
        "question",
        sa.Column("id", BIG_ID, nullable=False),
        sa.Column("who", sa.Text(), nullable=False),
        sa.Column("title", sa.Text(), nullable=False),
        sa.Column("text", sa.LargeBinary(), nullable=False),
        sa.Column("asked_at", TIME, nullable=False),
        sa.Column("revealed_until", TIME, nullable=True),
        sa.Column("audit_id", BIG_ID, nullable=False),
        sa.ForeignKeyConstraint(["audit_id"], ["audit_entry.id"], name="fk_question_audit_id_audit_entry"),
        sa.PrimaryKeyConstraint("id", name="pk_question"),
    )
    op.create_index("ix_question_who", "question", ["who", "id"])
    op.create_index("ix_question_asked_at", "question", ["asked_at"])
    op.create_table(
        "answer",
        sa.Column("id", BIG_ID, nullable=False),
        sa.Column("question_id", BIG_ID, nullable=False),
        sa.Column("account_id", BIG_ID, nullable=False),
        sa.Column("direct", sa.Boolean(), nullable=False),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("due_at", TIME, nullable=True),
        sa.Column("leased_until", TIME, nullable=True),
        sa.Column("ended_at", TIME, nullable=True),
        sa.Column("columns", sa.JSON(), nullable=False),
        sa.Column("rows", sa.LargeBinary(), nullable=True),
        sa.Column("count", BIG_ID, nullable=True),
        sa.Column("told", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(["question_id"], ["question.id"], name="fk_answer_question_id_question", ondelete="CASCADE"),
        sa.ForeignKeyConstraint(["account_id"], ["account.id"], name="fk_answer_account_id_account"),
        sa.PrimaryKeyConstraint("id", name="pk_answer"),
    )
    op.create_index("ix_answer_question", "answer", ["question_id", "account_id"])
    op.create_index("ix_answer_due_at", "answer", ["due_at"])


def downgrade():
    for table in ("answer", "question", "saved_query", "warehouse_address"):
        op.drop_table(table)
