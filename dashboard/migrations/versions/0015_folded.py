"""Comparable texts beside those that people search, filter and sort by. ``schema.upgrade`` fills them afterwards.

Users whose addresses differ in spelling alone stay two people: each signs in with the spelling that the store has.

Revision ID: 0015
Revises: 0014
"""
import sqlalchemy as sa
from alembic import op

revision = "0015"
down_revision = "0014"
branch_labels = None
depends_on = None

FOLDED = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")
COLUMNS = {
    "account": ("name_folded", "external_id_folded"),
    "action": ("words", "reasons"),
    "alert_message": ("subject_folded", "error_folded"),
    "alert_rule": ("name_folded", "words"),
    "audit_entry": ("words",),
    "bulk_item": ("detail_folded",),
    "bulk_job": ("words",),
    "cause": ("connector_folded", "text_folded", "example_folded"),
    "connection": ("name_folded", "connector_folded"),
    "delivery": ("who_folded", "error_folded"),
    "finding": ("connector_folded", "evidence_folded"),
    "pull_run": ("name_folded", "words", "error_folded"),
    "pull_schedule": ("name_folded", "words"),
    "saved_query": ("name_folded",),
    "user": ("address", "email_folded"),
    "webhook_event": ("words", "detail_folded"),
}
SHOWN = {
    "sqlite_where": sa.text("gone_at IS NULL AND is_warehouse IS 0"),
    "postgresql_where": sa.text("gone_at IS NULL AND is_warehouse IS false"),
}


def _order(name, status):
    """The indexes by which lists sort, with a name's column or expression and that of a status."""
    op.create_index("ix_account_severity", "account", ["severity_rank", name, "id"])
    op.create_index("ix_account_name", "account", [name, "id"])
    op.create_index("ix_account_connections", "account", ["connections_count", name, "id"])
    op.create_index("ix_connection_name", "connection", [name, "account_id", "id"], **SHOWN)
    op.create_index("ix_connection_status", "connection", [status, "account_id", "id"], **SHOWN)


def _drop_order():
    for name in ("account_severity", "account_name", "account_connections",
                 "connection_name", "connection_status", "connection_connector"):
        op.drop_index(f"ix_{name}")


def upgrade():
    for table, names in COLUMNS.items():
        for name in names:
            op.add_column(table, sa.Column(name, FOLDED, nullable=False, server_default=""))
    _drop_order()
    is_postgresql = op.get_bind().dialect.name == "postgresql"
    _order("name_folded", sa.text('status COLLATE "C"') if is_postgresql else "status")
    op.create_index("ix_connection_connector", "connection", ["connector_folded", "account_id", "id"], **SHOWN)
    op.create_index("ix_account_external_id_folded", "account", ["external_id_folded", "id"])
    op.create_index("ix_user_address", "user", ["address"])


def downgrade():
    op.drop_index("ix_user_address")
    op.drop_index("ix_account_external_id_folded")
    _drop_order()
    _order(sa.text("lower(name)"), "status")
    op.create_index("ix_connection_connector", "connection", ["connector", "account_id", "id"], **SHOWN)
    for table, names in COLUMNS.items():
        for name in names:
            op.drop_column(table, name)
