"""All tables, for Alembic, which compares them with the database."""

from dashboard.actions.models import Action
from dashboard.alerts.models import AlertMessage, AlertRule
from dashboard.audit.models import AuditEntry
from dashboard.bulk.models import BulkItem, BulkJob
from dashboard.core.snapshot_version import SnapshotVersion
from dashboard.customer_links.banks.models import BankReview
from dashboard.deliveries.models import Delivery
from dashboard.exports.models import Export
from dashboard.findings.models import Cause, ConnectorMedian, DataCheck, Finding
from dashboard.fleet.models import (
    Account,
    AccountRefreshState,
    Connection,
    ConnectionCount,
    HealthChange,
    HourlyConnectionCount,
    MonitoredTable,
    Run,
)
from dashboard.fleet.visibility import AccountAccessRule, VisibleAccount
from dashboard.masking.models import ColumnMask, Reveal
from dashboard.notes.models import Note
from dashboard.pulls.models import PullRun, PullSchedule
from dashboard.refresh.models import ApiOutage, Refresh
from dashboard.sql.models import QueryResult, QueryRun, SavedQuery, WarehouseDsn
from dashboard.tables.health.models import TableCheck
from dashboard.tables.models import TableView
from dashboard.tables.search.models import ValueSearch
from dashboard.tasks.periodic import PeriodicTask
from dashboard.users.models import AccessToken, RecoveryCode, User, UserSession
from dashboard.webhooks.models import WebhookEvent

__all__ = [
    "AccessToken",
    "Account",
    "AccountAccessRule",
    "AccountRefreshState",
    "Action",
    "AlertMessage",
    "AlertRule",
    "ApiOutage",
    "AuditEntry",
    "BankReview",
    "BulkItem",
    "BulkJob",
    "Cause",
    "ColumnMask",
    "Connection",
    "ConnectionCount",
    "ConnectorMedian",
    "DataCheck",
    "Delivery",
    "Export",
    "Finding",
    "HealthChange",
    "HourlyConnectionCount",
    "MonitoredTable",
    "Note",
    "PeriodicTask",
    "PullRun",
    "PullSchedule",
    "QueryResult",
    "QueryRun",
    "RecoveryCode",
    "Refresh",
    "Reveal",
    "Run",
    "SavedQuery",
    "SnapshotVersion",
    "TableCheck",
    "TableView",
    "User",
    "UserSession",
    "ValueSearch",
    "VisibleAccount",
    "WarehouseDsn",
    "WebhookEvent",
]
