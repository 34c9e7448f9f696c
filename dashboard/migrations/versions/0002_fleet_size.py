"""A fleet of 100,000 connections: what is due, counts that are kept, an index for each list.

Revision ID: 0002
Revises: 0001
"""
import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

SEVERITIES = ("error", "attention", "unknown", "busy", "off", "ok")
BIG_ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
TIME = sa.DateTime(timezone=True)
SHOWN = {
    "sqlite_where": sa.text("gone_at IS NULL AND is_warehouse IS 0"),
    "postgresql_where": sa.text("gone_at IS NULL AND is_warehouse IS false"),
}
NEWS = {"sqlite_where": sa.text("was IS NOT NULL"), "postgresql_where": sa.text("was IS NOT NULL")}
NEWEST = sa.text("status_since DESC")
ACCOUNT_NAME = sa.text("lower(name)")
LISTS = {
    "severity": ["severity_rank", NEWEST],
    "status_severity": ["status", "severity_rank", NEWEST],
    "connector_severity": ["connector", "severity_rank", NEWEST],
    "name": [sa.text("lower(name)")],
    "connector": ["connector"],
    "status": ["status"],
    "last_success": ["last_success_at"],
    "since": ["status_since"],
}
OLD = {
    "connection_connector": ["connector"],
    "connection_last_success_at": ["last_success_at"],
    "connection_severity": ["severity"],
    "connection_severity_connector": ["severity", "connector"],
    "connection_status": ["status"],
    "health_change_at": ["at"],
}


def upgrade():
    op.create_table(
        "connection_count",
        sa.Column("severity", sa.String(16), nullable=False),
        sa.Column("status", sa.Text(), nullable=False),
        sa.Column("connector", sa.Text(), nullable=False),
        sa.Column("connections", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("severity", "status", "connector", name="pk_connection_count"),
    )
    op.create_table(
        "job",
        sa.Column("name", sa.String(32), nullable=False),
        sa.Column("due_at", TIME, nullable=False),
        sa.PrimaryKeyConstraint("name", name="pk_job"),
    )
    version = op.create_table(
        "snapshot_version",
        sa.Column("id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("version", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_snapshot_version"),
    )
    op.bulk_insert(version, [{"id": 1, "version": 1}])

    op.create_table(
        "account_check",
        sa.Column("account_id", BIG_ID, autoincrement=False, nullable=False),
        sa.Column("due_at", TIME),
        sa.Column("tried_at", TIME),
        sa.Column("checked_at", TIME),
        sa.Column("watched_until", TIME),
        sa.PrimaryKeyConstraint("account_id", name="pk_account_check"),
        sa.ForeignKeyConstraint(["account_id"], ["account.id"], name="fk_account_check_account_id_account"),
    )
    op.add_column("account", sa.Column("by_severity", sa.JSON(), nullable=False, server_default="{}"))
    op.add_column("account", sa.Column("connections_count", sa.Integer(), nullable=False, server_default="0"))
    op.add_column("account", sa.Column("severity", sa.String(16)))
    op.add_column("account", sa.Column("severity_rank", sa.SmallInteger(), nullable=False, server_default=str(len(SEVERITIES))))
    op.add_column("account", sa.Column("search", sa.Text(), nullable=False, server_default=""))
    op.add_column("connection", sa.Column("severity_rank", sa.SmallInteger(), nullable=False, server_default="0"))
    op.add_column("connection", sa.Column("looking_until", TIME))
    op.add_column("refresh", sa.Column("listing_until", TIME))
    op.add_column("refresh", sa.Column("listed_at", TIME))
    op.add_column("refresh", sa.Column("rate", sa.Double()))
    _fill()
    op.drop_column("account", "checked_at")
    op.drop_column("account", "tried_at")

    for name in OLD:
        op.drop_index(f"ix_{name}")
    for name, columns in LISTS.items():
        if name == "last_success" and op.get_bind().dialect.name == "postgresql":
            # What never happened is the oldest, as SQLite has it.
            columns = [sa.text("last_success_at NULLS FIRST")]
        op.create_index(f"ix_connection_{name}", "connection", [*columns, "account_id", "id"], **SHOWN)
    op.create_index("ix_health_change_news", "health_change", ["at"], **NEWS)
    op.create_index("ix_account_check_due_at", "account_check", ["due_at"])
    checked = sa.text("checked_at NULLS FIRST") if op.get_bind().dialect.name == "postgresql" else "checked_at"
    op.create_index("ix_account_check_checked_at", "account_check", [checked, "account_id"])
    op.create_index("ix_account_severity", "account", ["severity_rank", ACCOUNT_NAME, "id"])
    op.create_index("ix_account_name", "account", [ACCOUNT_NAME, "id"])
    op.create_index("ix_account_connections", "account", ["connections_count", ACCOUNT_NAME, "id"])
    _index_search()


def _fill():
    """The new columns, from what is there."""
    bind = op.get_bind()
    bind.execute(sa.text("UPDATE connection SET gone_at = (SELECT account.gone_at FROM account WHERE account.id = account_id) "
                         "WHERE gone_at IS NULL AND account_id IN (SELECT id FROM account WHERE gone_at IS NOT NULL)"))
    bind.execute(sa.text("INSERT INTO account_check (account_id, due_at, tried_at, checked_at) SELECT id, "
                         "CASE WHEN gone_at IS NULL THEN first_seen_at END, tried_at, checked_at FROM account"))
    for rank, severity in enumerate(SEVERITIES):
        bind.execute(sa.text("UPDATE connection SET severity_rank = :rank WHERE severity = :severity"),
                     {"rank": rank, "severity": severity})
    shown = "FROM connection WHERE gone_at IS NULL AND NOT is_warehouse"
    bind.execute(sa.text("INSERT INTO connection_count (severity, status, connector, connections) "
                         f"SELECT severity, status, connector, count(*) {shown} GROUP BY severity, status, connector"))
    table = sa.table("account", *map(sa.column, ("id", "name", "external_id", "connections_count", "severity", "severity_rank",
                                                 "search")), sa.column("by_severity", sa.JSON()),
                     sa.column("gone_at"))
    found = {id: ({}, [name or "", external_id or ""]) for id, name, external_id in
             bind.execute(sa.select(table.c.id, table.c.name, table.c.external_id).where(table.c.gone_at.is_(None)))}
    for id, severity, name, connector in bind.execute(sa.text(f"SELECT account_id, severity, name, connector {shown}")):
        if id in found:
            counts, words = found[id]
            counts[severity] = counts.get(severity, 0) + 1
            words += [name, connector]
    for id, (counts, words) in found.items():
        worst = min(counts, key=SEVERITIES.index, default=None)
        bind.execute(sa.update(table).where(table.c.id == id).values(
            by_severity=counts, connections_count=sum(counts.values()), severity=worst,
            severity_rank=SEVERITIES.index(worst) if worst else len(SEVERITIES),
            search=" ".join(dict.fromkeys(word.lower() for word in words if word))))


def _index_search():
    """Any three letters in a row of ``account.search``, in each database's own way."""
    if op.get_bind().dialect.name == "postgresql":
        op.execute("CREATE EXTENSION IF NOT EXISTS pg_trgm")
        op.create_index("ix_account_search", "account", ["search"], postgresql_using="gin",
                        postgresql_ops={"search": "gin_trgm_ops"})
        return
    op.execute("CREATE VIRTUAL TABLE account_search USING fts5(search, content='account', content_rowid='id', "
               "tokenize='trigram')")
    op.execute("INSERT INTO account_search(account_search) VALUES ('rebuild')")
    old = "INSERT INTO account_search(account_search, rowid, search) VALUES ('delete', old.id, old.search);"
    new = "INSERT INTO account_search(rowid, search) VALUES (new.id, new.search);"
    op.execute(f"CREATE TRIGGER account_search_insert AFTER INSERT ON account BEGIN {new} END")
    op.execute(f"CREATE TRIGGER account_search_delete AFTER DELETE ON account BEGIN {old} END")
    op.execute(f"CREATE TRIGGER account_search_update AFTER UPDATE OF search ON account BEGIN {old} {new} END")


def downgrade():
    if op.get_bind().dialect.name == "postgresql":
        op.drop_index("ix_account_search")
    else:
        for event in ("insert", "delete", "update"):
            op.execute(f"DROP TRIGGER account_search_{event}")
        op.drop_table("account_search")
    for name in ("account_severity", "account_name", "account_connections",
                 "health_change_news", *(f"connection_{name}" for name in LISTS)):
        op.drop_index(f"ix_{name}")
    for name, columns in OLD.items():
        op.create_index(f"ix_{name}", "health_change" if name.startswith("health") else "connection", columns)
    op.add_column("account", sa.Column("checked_at", TIME))
    op.add_column("account", sa.Column("tried_at", TIME))
    op.execute("UPDATE account SET checked_at = account_check.checked_at, tried_at = account_check.tried_at FROM account_check "
               "WHERE account_check.account_id = account.id")
    for table, columns in {
        "account": ("by_severity", "connections_count", "severity", "severity_rank", "search"),
        "connection": ("severity_rank", "looking_until"),
        "refresh": ("listing_until", "listed_at", "rate"),
    }.items():
        for column in columns:
            op.drop_column(table, column)
    for table in ("account_check", "snapshot_version", "job", "connection_count"):
        op.drop_table(table)
