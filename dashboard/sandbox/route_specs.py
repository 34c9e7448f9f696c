"""The emulated routes by name, with their parameters.

Faults, the counters of calls and the OpenAPI document use these names.
"""

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True)
class Described:
    """A route.

    ``opens``: the kind of token. ``query`` and ``body``: parameter names with their JSON types;
    a name with * is required. ``response``: the JSON type of the response.
    """

    opens: str
    query: tuple[str, ...] = ()
    body: tuple[str, ...] = ()
    response: str = "object"


_PAGED = ("page:integer", "per_page:integer")
_PAGED_RUNS = (*_PAGED, "page_size:integer")
_PERSON = ("first_name:string", "last_name:string", "email:string", "country:string")
_ACCOUNT = ("external_id:string", "account_id:integer")
_SYNC = ("pipeline:boolean", "tables:string", "categories:string", "is_async:boolean")
_RUN = ("task_id:string", "pipeline_run_id:integer", "timeout:integer")
_ROWS = (
    "page:integer",
    "size:integer",
    "search:string",
    "order_by:string",
    "include:string",
    "exclude:string",
    "filter_type:string",
    "user_field_names:boolean",
)
_NEW_ACCOUNT = ("company_name*:string", "email*:string", "external_id:string", *_PERSON)
_INTEGRATE = ("external_id*:string", "company_name:string", *_PERSON)
_CREDENTIALS = ("grant_type*:string", "client_id*:string", "client_secret*:string")
_CHANGE = ("name:string", "run_interval:integer", "disable_scheduler:boolean")
_INVITE = (
    "recipient:string",
    "subject:string",
    "message:string",
    "confirmationRecipient:string",
    "serverType:string",
    "sendEmail:boolean",
)
_SQL = (
    "connection:string",
    "dbName*:string",
    "schemaName:string",
    "tableName:string",
    "pk:string",
    "action*:string",
    "kwargs*:object",
)

ROUTES: Final[dict[str, Described]] = {
    "sub_accounts": Described("partner", _PAGED),
    "sub_account_create": Described("partner", body=_NEW_ACCOUNT),
    "sub_account": Described("partner", _ACCOUNT),
    "sub_account_info": Described("partner"),
    "identity": Described("partner", _ACCOUNT),
    "integrate": Described("partner", body=_INTEGRATE),
    "oauth2_token": Described("", body=_CREDENTIALS),
    "servers": Described("sub_account", response="array"),
    "server": Described("sub_account"),
    "server_change": Described("sub_account", body=_CHANGE),
    "syncdb": Described("sub_account", _SYNC),
    "syncdb_status": Described("sub_account", _RUN),
    "resync": Described("sub_account"),
    "resync_status": Described("sub_account", _RUN),
    "runs": Described("sub_account", _PAGED_RUNS),
    "pipeline_runs": Described("sub_account", ("run_id:string", *_PAGED_RUNS)),
    "run_logs": Described("sub_account"),
    "invite": Described("sub_account", body=_INVITE),
    "reauthorise": Described("sub_account"),
    "saltedge_refresh": Described("sub_account"),
    "applications": Described("sub_account", ("exclude_tables:string",), response="array"),
    "default_dw_info": Described("sub_account"),
    "proxy_db": Described("sub_account", body=_SQL),
    "tables": Described("sub_account", response="array"),
    "table": Described("sub_account"),
    "fields": Described("sub_account", response="array"),
    "rows": Described("sub_account", _ROWS),
    "row": Described("sub_account", ("user_field_names:boolean",)),
}
