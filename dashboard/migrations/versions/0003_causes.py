"""From red dots to causes: findings, causes, and what people do about them.

Revision ID: 0003
Revises: 0002
"""
import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

BIG_ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
TIME = sa.DateTime(timezone=True)
UNSETTLED = {"sqlite_where": sa.text("recovered_at IS NULL"), "postgresql_where": sa.text("recovered_at IS NULL")}

DARK_NOW = sa.text("rule = 'dark' AND recovered_at IS NULL")
DARK = {"sqlite_where": DARK_NOW, "postgresql_where": DARK_NOW}


def upgrade():
    op.create_table(
        "alert_rule",
        sa.Column("id", BIG_ID, nullable=False),
        sa.Column("name", sa.String(80), nullable=False),
        sa.Column("address", sa.LargeBinary(), nullable=False),
        sa.Column("place", sa.Text(), nullable=False),
        sa.Column("sends", sa.Text(), nullable=False),
        sa.Column("severity", sa.String(16), nullable=False),
        sa.Column("connector", sa.Text(), nullable=True),
        sa.Column("account_id", BIG_ID, nullable=True),
        sa.Column("quiet_from", sa.Integer(), nullable=True),
        sa.Column("quiet_to", sa.Integer(), nullable=True),
        sa.Column("digest_at", sa.Integer(), nullable=True),
        sa.Column("zone", sa.String(64), nullable=False),
        sa.Column("on", sa.Boolean(), nullable=False),
        sa.Column("created_at", TIME, nullable=False),
        sa.Column("created_by", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_alert_rule"),
    )
    op.create_table(
        "bank_tick",
        sa.Column("account_id", BIG_ID, nullable=False),
        sa.Column("connection_id", BIG_ID, nullable=False),
        sa.Column("at", TIME, nullable=False),
        sa.Column("who", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("account_id", "connection_id", name="pk_bank_tick"),
    )
    op.create_table(
        "cause",
        sa.Column("id", BIG_ID, nullable=False),
        sa.Column("key", sa.String(64), nullable=False),
        sa.Column("text", sa.Text(), nullable=False),
        sa.Column("since", TIME, nullable=False),
        sa.Column("platform", sa.Boolean(), nullable=False),
        sa.Column("connections", sa.Integer(), nullable=False),
        sa.Column("accounts", sa.Integer(), nullable=False),
        sa.Column("most", sa.Integer(), nullable=False),
        sa.Column("times", sa.Integer(), nullable=False),
        sa.Column("example", sa.Text(), nullable=False),
        sa.Column("owner", sa.Text(), nullable=True),
        sa.Column("owned_at", TIME, nullable=True),
        sa.Column("rule", sa.String(32), nullable=False),
        sa.Column("connector", sa.Text(), nullable=False),
        sa.Column("severity", sa.String(16), nullable=False),
        sa.Column("severity_rank", sa.SmallInteger(), nullable=False),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("state_rank", sa.SmallInteger(), nullable=False),
        sa.Column("recovered_at", TIME, nullable=True),
        sa.Column("suppressed_until", TIME, nullable=True),
        sa.Column("suppressed_by", sa.Text(), nullable=True),
        sa.Column("suppressed_reason", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("id", name="pk_cause"),
        sa.UniqueConstraint("key", name="uq_cause_key"),
    )
    op.create_index("ix_cause_kind", "cause", ["rule", "connector"])
    op.create_index("ix_cause_worst", "cause", ["state_rank", "severity_rank", "accounts", "id"])

    op.create_table(
        "connector_median",
        sa.Column("connector", sa.Text(), nullable=False),
        sa.Column("seconds", sa.Float(), nullable=False),
        sa.PrimaryKeyConstraint("connector", name="pk_connector_median"),
    )
    op.create_table(
        "fleet_hour",
        sa.Column("hour", TIME, nullable=False),
        sa.Column("severity", sa.String(16), nullable=False),
        sa.Column("connections", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("hour", "severity", name="pk_fleet_hour"),
    )
    op.create_table(
        "webhook_event",
        sa.Column("id", BIG_ID, nullable=False),
        sa.Column("key", sa.String(128), nullable=False),
        sa.Column("received_at", TIME, nullable=False),
        sa.Column("sent_at", TIME, nullable=True),
        sa.Column("event", sa.String(64), nullable=False),
        sa.Column("account_id", BIG_ID, nullable=True),
        sa.Column("connection_id", BIG_ID, nullable=True),
        sa.Column("run_id", BIG_ID, nullable=True),
        sa.Column("status", sa.String(64), nullable=False),
        sa.Column("body", sa.Text(), nullable=False),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("applied_at", TIME, nullable=True),
        sa.Column("due_at", TIME, nullable=True),
        sa.Column("tries", sa.Integer(), nullable=False),
        sa.Column("settled_at", TIME, nullable=True),
        sa.Column("detail", sa.Text(), nullable=False),
        sa.Column("times", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_webhook_event"),
        sa.UniqueConstraint("key", name="uq_webhook_event_key"),
    )
    op.create_index("ix_webhook_event_connection", "webhook_event", ["account_id", "connection_id", "received_at"])
    op.create_index("ix_webhook_event_due_at", "webhook_event", ["due_at"])
    op.create_index("ix_webhook_event_received_at", "webhook_event", ["received_at"])
    op.create_index("ix_webhook_event_state", "webhook_event", ["state", "applied_at", "id"])

    op.create_table(
        "alert_message",
        sa.Column("id", BIG_ID, nullable=False),
        sa.Column("rule_id", BIG_ID, nullable=False),
        sa.Column("key", sa.String(128), nullable=False),
        sa.Column("cause_id", BIG_ID, nullable=True),
        sa.Column("subject", sa.Text(), nullable=False),
        sa.Column("body", sa.Text(), nullable=False),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("tries", sa.Integer(), nullable=False),
        sa.Column("created_at", TIME, nullable=False),
        sa.Column("due_at", TIME, nullable=True),
        sa.Column("leased_until", TIME, nullable=True),
        sa.Column("sent_at", TIME, nullable=True),
        sa.Column("error", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(["cause_id"], ["cause.id"], name="fk_alert_message_cause_id_cause"),
        sa.ForeignKeyConstraint(["rule_id"], ["alert_rule.id"], name="fk_alert_message_rule_id_alert_rule"),
        sa.PrimaryKeyConstraint("id", name="pk_alert_message"),
        sa.UniqueConstraint("rule_id", "key", name="uq_alert_message_rule_id_key"),
    )
    op.create_index("ix_alert_message_created_at", "alert_message", ["created_at"])
    op.create_index("ix_alert_message_due", "alert_message", ["state", "due_at"])

    op.create_table(
        "bulk_job",
        sa.Column("id", BIG_ID, nullable=False),
        sa.Column("kind", sa.String(32), nullable=False),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("who", sa.Text(), nullable=False),
        sa.Column("why", sa.Text(), nullable=False),
        sa.Column("cause_id", BIG_ID, nullable=True),
        sa.Column("canary_id", BIG_ID, nullable=True),
        sa.Column("went_on_by", sa.Text(), nullable=True),
        sa.Column("at_once", sa.Integer(), nullable=False),
        sa.Column("audit_id", BIG_ID, nullable=False),
        sa.Column("started_at", TIME, nullable=False),
        sa.Column("ended_at", TIME, nullable=True),
        sa.Column("ended_by", sa.Text(), nullable=True),
        sa.Column("due_at", TIME, nullable=True),
        sa.Column("leased_until", TIME, nullable=True),
        sa.ForeignKeyConstraint(["audit_id"], ["audit_entry.id"], name="fk_bulk_job_audit_id_audit_entry"),
        sa.ForeignKeyConstraint(["cause_id"], ["cause.id"], name="fk_bulk_job_cause_id_cause"),
        sa.PrimaryKeyConstraint("id", name="pk_bulk_job"),
    )
    op.create_index("ix_bulk_job_due_at", "bulk_job", ["due_at"])
    op.create_index("ix_bulk_job_state", "bulk_job", ["state"])

    op.create_table(
        "finding",
        sa.Column("id", BIG_ID, nullable=False),
        sa.Column("account_id", BIG_ID, nullable=False),
        sa.Column("connection_id", BIG_ID, nullable=True),
        sa.Column("cause_id", BIG_ID, nullable=False),
        sa.Column("evidence", sa.Text(), nullable=False),
        sa.Column("contradicts", sa.Boolean(), nullable=False),
        sa.Column("missing_since", TIME, nullable=True),
        sa.Column("first_seen_at", TIME, nullable=False),
        sa.Column("confirmed_at", TIME, nullable=False),
        sa.Column("rule", sa.String(32), nullable=False),
        sa.Column("connector", sa.Text(), nullable=False),
        sa.Column("severity", sa.String(16), nullable=False),
        sa.Column("severity_rank", sa.SmallInteger(), nullable=False),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("state_rank", sa.SmallInteger(), nullable=False),
        sa.Column("recovered_at", TIME, nullable=True),
        sa.Column("suppressed_until", TIME, nullable=True),
        sa.Column("suppressed_by", sa.Text(), nullable=True),
        sa.Column("suppressed_reason", sa.Text(), nullable=True),
        sa.ForeignKeyConstraint(["account_id"], ["account.id"], name="fk_finding_account_id_account"),
        sa.ForeignKeyConstraint(["cause_id"], ["cause.id"], name="fk_finding_cause_id_cause"),
        sa.PrimaryKeyConstraint("id", name="pk_finding"),
    )
    op.create_index("ix_finding_cause", "finding", ["cause_id", "recovered_at", "first_seen_at"])
    op.create_index("ix_finding_connection", "finding", ["account_id", "connection_id", "first_seen_at"])
    op.create_index("ix_finding_recovered", "finding", ["recovered_at"])
    op.create_index("ix_finding_dark", "finding", ["connector", "missing_since"], **DARK)
    op.create_index("ix_finding_unsettled", "finding", ["account_id", "connection_id"], **UNSETTLED)
    op.create_index("ix_finding_worst", "finding", ["state_rank", "severity_rank", "first_seen_at", "id"])

    op.create_table(
        "note",
        sa.Column("id", BIG_ID, nullable=False),
        sa.Column("account_id", BIG_ID, nullable=True),
        sa.Column("connection_id", BIG_ID, nullable=True),
        sa.Column("cause_id", BIG_ID, nullable=True),
        sa.Column("at", TIME, nullable=False),
        sa.Column("who", sa.Text(), nullable=False),
        sa.Column("text", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(["cause_id"], ["cause.id"], name="fk_note_cause_id_cause"),
        sa.PrimaryKeyConstraint("id", name="pk_note"),
    )
    op.create_index("ix_note_account", "note", ["account_id", "at"])
    op.create_index("ix_note_cause", "note", ["cause_id", "at"])

    op.create_table(
        "bulk_item",
        sa.Column("id", BIG_ID, nullable=False),
        sa.Column("job_id", BIG_ID, nullable=False),
        sa.Column("account_id", BIG_ID, nullable=False),
        sa.Column("connection_id", BIG_ID, nullable=False),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("action_id", BIG_ID, nullable=True),
        sa.Column("detail", sa.Text(), nullable=False),
        sa.Column("settled_at", TIME, nullable=True),
        sa.ForeignKeyConstraint(["action_id"], ["action.id"], name="fk_bulk_item_action_id_action"),
        sa.ForeignKeyConstraint(["job_id"], ["bulk_job.id"], name="fk_bulk_item_job_id_bulk_job"),
        sa.PrimaryKeyConstraint("id", name="pk_bulk_item"),
        sa.UniqueConstraint("job_id", "account_id", "connection_id", name="uq_bulk_item_job_id_account_id_connection_id"),
    )
    op.create_index("ix_bulk_item_state", "bulk_item", ["job_id", "state", "id"])
    op.add_column("account", sa.Column("owner", sa.Text(), nullable=True))
    op.add_column("account", sa.Column("owned_at", TIME, nullable=True))
    op.add_column("action", sa.Column("why", sa.Text(), nullable=False, server_default=""))
    op.add_column("action", sa.Column("rule", sa.String(32), nullable=True))
    op.add_column("action", sa.Column("connector", sa.Text(), nullable=False, server_default=""))
    op.add_column("action", sa.Column("severity_before", sa.String(16), nullable=True))
    op.add_column("action", sa.Column("cause_id", BIG_ID, nullable=True))
    op.add_column("action", sa.Column("status_after", sa.Text(), nullable=True))
    op.add_column("action", sa.Column("verdict", sa.String(16), nullable=True))
    op.add_column("action", sa.Column("sent_at", TIME, nullable=True))
    op.add_column("action", sa.Column("sent_by", sa.Text(), nullable=True))
    op.add_column("action", sa.Column("language", sa.String(8), nullable=True))
    op.add_column("action", sa.Column("reminded_at", TIME, nullable=True))
    op.add_column("action", sa.Column("followed_at", TIME, nullable=True))
    op.add_column("connection", sa.Column("last_records", sa.BigInteger(), nullable=True))
    op.add_column("connection", sa.Column("last_exit_code", sa.Integer(), nullable=True))
    op.add_column("connection", sa.Column("last_run_seconds", sa.Integer(), nullable=True))
    op.add_column("connection", sa.Column("always_loaded", sa.Boolean(), nullable=False, server_default=sa.false()))
    op.add_column("connection", sa.Column("consent_expires_at", TIME, nullable=True))
    op.add_column("connection", sa.Column("newest_row_at", TIME, nullable=True))
    op.add_column("connection", sa.Column("rows_read_at", TIME, nullable=True))
    op.add_column("connection", sa.Column("event_at", TIME, nullable=True))
    op.add_column("user", sa.Column("left_at", TIME, nullable=True))
    op.create_index("ix_action_learnt", "action", ["rule", "connector", "kind", "verdict"])
    op.create_index("ix_action_settled_at", "action", ["settled_at"])


def downgrade():
    op.drop_index("ix_action_learnt", "action")
    op.drop_index("ix_action_settled_at", "action")
    with op.batch_alter_table("account") as batch:
        batch.drop_column("owner")
        batch.drop_column("owned_at")
    with op.batch_alter_table("action") as batch:
        batch.drop_column("why")
        batch.drop_column("rule")
        batch.drop_column("severity_before")
        batch.drop_column("connector")
        batch.drop_column("cause_id")
        batch.drop_column("status_after")
        batch.drop_column("verdict")
        batch.drop_column("sent_at")
        batch.drop_column("sent_by")
        batch.drop_column("language")
        batch.drop_column("reminded_at")
        batch.drop_column("followed_at")
    with op.batch_alter_table("connection") as batch:
        batch.drop_column("last_records")
        batch.drop_column("last_exit_code")
        batch.drop_column("last_run_seconds")
        batch.drop_column("always_loaded")
        batch.drop_column("consent_expires_at")
        batch.drop_column("newest_row_at")
        batch.drop_column("rows_read_at")
        batch.drop_column("event_at")
    with op.batch_alter_table("user") as batch:
        batch.drop_column("left_at")
    op.drop_table("bulk_item")
    op.drop_table("note")
    op.drop_table("finding")
    op.drop_table("bulk_job")
    op.drop_table("alert_message")
    op.drop_table("webhook_event")
    op.drop_table("fleet_hour")
    op.drop_table("connector_median")
    op.drop_table("cause")
    op.drop_table("bank_tick")
    op.drop_table("alert_rule")
