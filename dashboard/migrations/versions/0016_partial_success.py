"""A run that loaded a part of the data counts as a success: the last success of each connection whose runs are kept.

Revision ID: 0016
Revises: 0014
"""
from alembic import op

revision = "0016"
down_revision = "0015"
branch_labels = None
depends_on = None

PARTIAL = """
    FROM run WHERE run.account_id = connection.account_id AND run.connection_id = connection.id
    AND upper(run.status) = 'COMPLETED_WITH_ERRORS' AND coalesce(run.ended_at, run.started_at) IS NOT NULL
"""


def upgrade():
    op.execute(f"""
        UPDATE connection SET last_success_at = (SELECT max(coalesce(run.ended_at, run.started_at)) {PARTIAL})
        WHERE EXISTS (
            SELECT 1 {PARTIAL}
            AND (connection.last_success_at IS NULL OR coalesce(run.ended_at, run.started_at) > connection.last_success_at)
        )
    """)


def downgrade():
    """Nothing to undo: the version before works out its own last success with the next run that it reads."""
