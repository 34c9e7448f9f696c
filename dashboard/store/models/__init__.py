"""The tables. Peliqan's ids are kept as they are; times are UTC; ``*_at`` says when, ``*_by`` says who.

``fleet``   accounts, connections, runs, history, and what is counted of them
``work``    passes, jobs, actions
``people``  people, their sign-ins and tokens, the audit trail
"""

from dashboard.store.models.fleet import (
    SEVERITIES,
    Account,
    AccountCheck,
    Connection,
    ConnectionCount,
    HealthChange,
    Run,
    SnapshotVersion,
)
from dashboard.store.models.people import AccessToken, AuditEntry, SignIn, User
from dashboard.store.models.work import Action, Job, Refresh

__all__ = [
    "SEVERITIES",
    "AccessToken",
    "Account",
    "AccountCheck",
    "Action",
    "AuditEntry",
    "Connection",
    "ConnectionCount",
    "HealthChange",
    "Job",
    "Refresh",
    "Run",
    "SignIn",
    "SnapshotVersion",
    "User",
]
