"""The emulated routes by name: what each is asked with. Faults, the count of calls and the OpenAPI document use these names."""

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True)
class Described:
    """A route. ``opens``: the kind of token. ``query`` and ``body``: parameter names with their JSON types; * is required."""

    opens: str
    query: tuple[str, ...] = ()
    body: tuple[str, ...] = ()
    answer: str = "object"


_PAGED = ("page:integer", "per_page:integer")
_PAGED_RUNS = (*_PAGED, "page_size:integer")
_PERSON = ("first_name:string", "last_name:string", "email:string", "country:string")
_WHICH = ("external_id:string", "account_id:integer")
_SYNC = ("pipeline:boolean", "tables:string", "categories:string", "is_async:boolean")
_RUN = ("task_id:string", "pipeline_run_id:integer", "timeout:integer")
_ROWS = (
    "page:integer", "size:integer", "search:string", "order_by:string", "include:string", "exclude:string",
    "filter_type:string", "user_field_names:boolean",
)  # fmt: skip

ROUTES: Final[dict[str, Described]] = {
    "sub_accounts": Described("partner", _PAGED),
    "sub_account_create": Described("partner", body=("company_name*:string", "email*:string", "external_id:string", *_PERSON)),
    "sub_account": Described("partner", _WHICH),
    "sub_account_info": Described("partner"),
    "identity": Described("partner", _WHICH),
    "integrate": Described("partner", body=("external_id*:string", "company_name:string", *_PERSON)),
    "oauth2_token": Described("", body=("grant_type*:string", "client_id*:string", "client_secret*:string")),
    "servers": Described("sub_account", answer="array"),
    "server": Described("sub_account"),
    "server_change": Described("sub_account", body=("name:string", "run_interval:integer", "disable_scheduler:boolean")),
    "syncdb": Described("sub_account", _SYNC),
    "syncdb_status": Described("sub_account", _RUN),
    "resync": Described("sub_account"),
    "resync_status": Described("sub_account", _RUN),
    "runs": Described("sub_account", _PAGED_RUNS),
    "pipeline_runs": Described("sub_account", ("run_id:string", *_PAGED_RUNS)),
    "run_logs": Described("sub_account"),
    "invite": Described(
        "sub_account",
        body=("recipient:string", "subject:string", "message:string", "confirmationRecipient:string", "serverType:string",
              "sendEmail:boolean"),
    ),
    "reauthorise": Described("sub_account"),
    "saltedge_refresh": Described("sub_account"),
    "applications": Described("sub_account", ("exclude_tables:string",), answer="array"),
    "default_dw_info": Described("sub_account"),
    "proxy_db": Described(
        "sub_account",
        body=("connection:string", "dbName*:string", "schemaName:string", "tableName:string", "pk:string", "action*:string",
              "kwargs*:object"),
    ),
    "tables": Described("sub_account", answer="array"),
    "table": Described("sub_account"),
    "fields": Described("sub_account", answer="array"),
    "rows": Described("sub_account", _ROWS),
    "row": Described("sub_account", ("user_field_names:boolean",)),
}  # fmt: skip
