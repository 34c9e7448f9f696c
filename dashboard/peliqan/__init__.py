"""The thin service: all HTTP to Peliqan's API is here. Knows no Flask and no database.

``routes``      the one place for paths, with the source of each
``http``        one request: timeouts, limits, errors; ``answers`` its body, read within bounds and as one of ``models``
``rate``        how fast it may be asked, over all processes
``breaker``     whether it answers at all, over all processes
``adapter``     requests' adapters for one host; how another thread hangs up
``retries``     when a safe read is tried again, and after which wait
``service``     ``Peliqan``: the partner's calls; ``for_account`` gives one customer's
``account``     ``AccountApi``: one customer's calls
``sql``         the answer to a question in SQL, part by part
``models``      typed answers; ``loads`` what a run says of its tables
``vocabulary``  what status words mean
``events``      webhooks: signature, body, what they say
``failures``    what went wrong with a request, as one of ``errors``
``errors``      one family of errors
``tokens``      where customers' tokens are kept
``watching``    who wants to know of every call
"""

from dashboard.peliqan.account import AccountApi
from dashboard.peliqan.adapter import HangUp
from dashboard.peliqan.circuit_breaker import Breaker, MemoryNotes, Outage, OutageNotes
from dashboard.peliqan.client import Peliqan
from dashboard.peliqan.errors import (
    NOT_SENT,
    OUTAGE,
    Away,
    BrokenAnswer,
    Busy,
    Forbidden,
    NoPace,
    NotAuthorised,
    NotFound,
    PeliqanError,
    QueryFailed,
    RateLimited,
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
from dashboard.peliqan.observers import Watch
from dashboard.peliqan.rate_limit import Pace
from dashboard.peliqan.routes import Routes
from dashboard.peliqan.sql import SqlColumn, SqlPart

__all__ = [
    "NOT_SENT",
    "OUTAGE",
    "Account",
    "AccountApi",
    "Away",
    "Breaker",
    "BrokenAnswer",
    "Busy",
    "Column",
    "Connection",
    "Database",
    "Forbidden",
    "HangUp",
    "Link",
    "MemoryNotes",
    "MemoryTokens",
    "NoPace",
    "NotAuthorised",
    "NotFound",
    "Option",
    "Outage",
    "OutageNotes",
    "Pace",
    "Peliqan",
    "PeliqanError",
    "QueryFailed",
    "RateLimited",
    "Refused",
    "Routes",
    "RowPage",
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
    "Watch",
]
