"""The client of Peliqan's REST API. It does not import Flask or the database.

``routes``           the paths, with the source of each
``transport``        one request: time limits, size limits, errors
``adapter``          bounds for slow answers, and how another thread cancels a call
``rate_limit``       how often the API is called, over all processes
``circuit_breaker``  whether the API answers at all, over all processes
``retries``          when a safe read is tried again
``client``           ``Peliqan``: the partner's calls; ``account``: one customer's calls
``responses``        bodies, read within bounds and parsed as one of ``models``
``loads``            what a run reports of its tables
``sql``              the result of an SQL query, part by part
``statuses``         what status words mean
``webhooks``         events: signature, body, meaning
``error_mapping``    which of ``errors`` a failed request is
``interfaces``       where customers' tokens are stored
``observers``        the interface for code that observes every call
"""

from dashboard.peliqan.account import AccountApi, RowQuery
from dashboard.peliqan.adapter import CancelHandle
from dashboard.peliqan.circuit_breaker import CircuitBreaker, MemoryOutageStore, Outage, OutageStore
from dashboard.peliqan.client import Peliqan
from dashboard.peliqan.errors import (
    NOT_SENT,
    OUTAGE,
    ApiUnavailable,
    BrokenAnswer,
    Busy,
    Forbidden,
    NotAuthorised,
    NotFound,
    PeliqanError,
    QueryFailed,
    RateLimited,
    RateLimiterUnavailable,
    Refused,
    ServerError,
    TimedOut,
    Unreachable,
)
from dashboard.peliqan.interfaces import MemoryTokens, TokenStore
from dashboard.peliqan.models import (
    Account,
    Column,
    Connection,
    Database,
    Link,
    Option,
    RowPage,
    Run,
    SyncStarted,
    SyncStatus,
    Table,
    Token,
)
from dashboard.peliqan.observers import ApiCallObserver
from dashboard.peliqan.rate_limit import RateLimiter
from dashboard.peliqan.routes import Routes
from dashboard.peliqan.sql import SqlColumn, SqlPart
from dashboard.peliqan.transport import ClientOptions

__all__ = [
    "NOT_SENT",
    "OUTAGE",
    "Account",
    "AccountApi",
    "ApiCallObserver",
    "ApiUnavailable",
    "BrokenAnswer",
    "Busy",
    "CancelHandle",
    "CircuitBreaker",
    "ClientOptions",
    "Column",
    "Connection",
    "Database",
    "Forbidden",
    "Link",
    "MemoryOutageStore",
    "MemoryTokens",
    "NotAuthorised",
    "NotFound",
    "Option",
    "Outage",
    "OutageStore",
    "Peliqan",
    "PeliqanError",
    "QueryFailed",
    "RateLimited",
    "RateLimiter",
    "RateLimiterUnavailable",
    "Refused",
    "Routes",
    "RowPage",
    "RowQuery",
    "Run",
    "ServerError",
    "SqlColumn",
    "SqlPart",
    "SyncStarted",
    "SyncStatus",
    "Table",
    "TimedOut",
    "Token",
    "TokenStore",
    "Unreachable",
]
