"""The tables. Peliqan's ids are kept as they are; times are UTC; ``*_at`` says when, ``*_by`` says who.

``fleet``     accounts, connections, runs, history, and what is counted of them
``findings``  what is wrong, one by one and by cause
``work``      passes, outages, jobs, actions
``together``  notes, rounds over bank consents, work on many connections at once
``data``      what is kept about customers' tables, never a row of theirs
``pulls``     copies that are made by a schedule
``deliveries``  new connections whose tables go to the partner's hook
``sql``       questions in SQL, their answers for a day
``messages``  events that come from Peliqan, alerts that go out
``people``    people, what they see, their sign-ins and tokens, the audit trail
"""

from dashboard.actions.models import Action
from dashboard.alerts.models import AlertMessage, AlertRule
from dashboard.audit.models import AuditEntry
from dashboard.bulk.models import BulkItem, BulkJob
from dashboard.core.snapshot_version import SnapshotVersion
from dashboard.customer_links.banks.models import BankTick
from dashboard.deliveries.models import Delivery
from dashboard.exports.models import Export
from dashboard.findings.models import STATES, Cause, ConnectorMedian, DataCheck, Finding
from dashboard.fleet.models import (
    SEVERITIES,
    Account,
    AccountCheck,
    Connection,
    ConnectionCount,
    FleetHour,
    HealthChange,
    Run,
    WatchedTable,
)
from dashboard.fleet.visibility import Scope, Seen
from dashboard.masking.models import ColumnMask, Reveal
from dashboard.notes.models import Note
from dashboard.pulls.models import PullRun, PullSchedule
from dashboard.refresh.models import ApiOutage, Refresh
from dashboard.sql.models import Answer, Question, SavedQuery, WarehouseAddress
from dashboard.tables.health.models import TableLook
from dashboard.tables.models import TableView
from dashboard.tables.search.models import ValueSearch
from dashboard.tasks.periodic import Job
from dashboard.users.models import AccessToken, RecoveryCode, SignIn, User
from dashboard.webhooks.models import WebhookEvent

__all__ = [
    "SEVERITIES",
    "STATES",
    "AccessToken",
    "Account",
    "AccountCheck",
    "Action",
    "AlertMessage",
    "AlertRule",
    "Answer",
    "ApiOutage",
    "AuditEntry",
    "BankTick",
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
    "FleetHour",
    "HealthChange",
    "Job",
    "Note",
    "PullRun",
    "PullSchedule",
    "Question",
    "RecoveryCode",
    "Refresh",
    "Reveal",
    "Run",
    "SavedQuery",
    "Scope",
    "Seen",
    "SignIn",
    "SnapshotVersion",
    "TableLook",
    "TableView",
    "User",
    "ValueSearch",
    "WarehouseAddress",
    "WatchedTable",
    "WebhookEvent",
]
