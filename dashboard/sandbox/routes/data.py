"""Databases, tables, fields and rows: Baserow's paths, paging and errors (recorded from a real server); SQL on the warehouse.

Not emulated: a direct database connection. Any PostgreSQL is one.
"""

import json
from typing import Any
from urllib.parse import urlencode

from flask import Blueprint, Response, jsonify, request
from flask.typing import ResponseReturnValue

from dashboard.sandbox import baserow_fields as columns
from dashboard.sandbox import query as asked
from dashboard.sandbox.deps import (
    body,
    need_account,
    own_table,
    refuse,
    sandbox,
    tables_now,
    tables_of,
    whole,
)
from dashboard.sandbox.seed import FIRST_ACCOUNT
from dashboard.sandbox.tables import Table

bp = Blueprint("data", __name__)
LARGEST_PAGE = 200
QUERY_SECONDS = 20


def _table(table: Table, order: int) -> dict[str, Any]:
    return {
        "id": table.id,
        "name": table.name,
        "order": order,
        "database_id": table.database_id,
        "data_sync": None,
    }


def _tables(account_id: int, database_id: int) -> list[dict[str, Any]]:
    found = [table for table in tables_of(account_id) if table.database_id == database_id]
    return [_table(table, order) for order, table in enumerate(found, 1)]


def _databases(account_id: int) -> list[tuple[int, str]]:
    """The account's warehouse; every fourth has a second database besides, with nothing in it."""
    databases = [(account_id * 10 + 1, f"dw_{account_id}")]
    return (
        [*databases, (account_id * 10 + 2, "Archive 空")]
        if (account_id - FIRST_ACCOUNT) % 4 == 1
        else databases
    )


@bp.get("/api/applications/", endpoint="applications")
def applications() -> ResponseReturnValue:
    """The account's databases, with their tables unless ``exclude_tables`` (D B): a bare list."""
    account_id = need_account()
    found = []
    for order, (database_id, name) in enumerate(_databases(account_id), 1):
        workspace = {"id": account_id, "name": f"Account {account_id}"}
        one: dict[str, Any] = {
            "id": database_id,
            "name": name,
            "order": order,
            "type": "database",
            "workspace": workspace,
        }
        one["created_on"] = "2025-11-03T09:12:44.000000Z"
        if request.args.get("exclude_tables", "").lower() not in {"1", "true"}:
            one["tables"] = _tables(account_id, database_id)
        found.append(one)
    return jsonify(found)


@bp.get("/api/applications/default_dw_info/", endpoint="default_dw_info")
def default_dw_info() -> ResponseReturnValue:
    """The account's data warehouse: ``{"server_id", "server_name"}`` (S)."""
    account_id = need_account()
    return jsonify(server_id=account_id * 100, server_name=f"dw_{account_id}")


@bp.post("/api/proxy/db/", endpoint="proxy_db")
def proxy_db() -> ResponseReturnValue:
    """SQL on the account's warehouse (S): lines of JSON with the columns, the records in batches, and how it ended at last.

    Which warehouse is meant ``connection`` or ``dbName`` says; an account has one alone here.
    """
    account_id, asked_for = need_account(), body()
    kwargs = asked_for.get("kwargs")
    query = kwargs.get("query") if isinstance(kwargs, dict) else None
    if asked_for.get("action") != "fetch" or not isinstance(query, str):
        refuse(
            400,
            "ERROR_REQUEST_BODY_VALIDATION",
            {"kwargs": [{"error": "This field is required.", "code": "required"}]},
        )
    if asked_for.get("dbName") != f"dw_{account_id}":
        refuse(404, "ERROR_SERVER_DOES_NOT_EXIST", "The requested server does not exist.")
    lines = sandbox().warehouses.ask(account_id, tables_now(account_id), query, QUERY_SECONDS)
    as_text = (json.dumps(line, ensure_ascii=False, default=str) + "\n" for line in lines)
    return Response(as_text, content_type="application/x-ndjson")


@bp.get("/api/database/tables/database/<int:database_id>/", endpoint="tables")
def tables(database_id: int) -> ResponseReturnValue:
    """A database's tables (D B): a bare list. Somebody else's is a 400."""
    account_id, owner = need_account(), database_id // 10
    exists = sandbox().life.account(owner) is not None and database_id in dict(_databases(owner))
    if not exists:
        refuse(404, "ERROR_APPLICATION_DOES_NOT_EXIST", "The requested application does not exist.")
    if owner != account_id:
        refuse(400, "ERROR_USER_NOT_IN_GROUP", "")
    return jsonify(_tables(account_id, database_id))


@bp.get("/api/database/tables/<int:table_id>/", endpoint="table")
def table(table_id: int) -> ResponseReturnValue:
    """One table (S B)."""
    found = own_table(table_id)
    order = next(
        n for n, each in enumerate(tables_of(table_id // 10_000), 1) if each.id == table_id
    )
    return jsonify(_table(found, order))


@bp.get("/api/database/fields/table/<int:table_id>/", endpoint="fields")
def fields(table_id: int) -> ResponseReturnValue:
    """A table's fields (B): a bare list, with the settings of each type."""
    found = own_table(table_id)
    return jsonify(
        [
            columns.as_json(found, field, order)
            for order, field in enumerate(sandbox().tables.fields(found))
        ]
    )


@bp.get("/api/database/rows/table/<int:table_id>/", endpoint="rows")
def rows(table_id: int) -> ResponseReturnValue:
    """One page of rows (D B): page 0 is page 1, a page past the end is empty, more than 200 a page is refused."""
    found, parts = own_table(table_id), sandbox()
    page, size = whole("page", 1), whole("size", 100)
    if size > LARGEST_PAGE:
        refuse(400, "ERROR_PAGE_SIZE_LIMIT", f"The page size is limited to {LARGEST_PAGE}.")
    try:
        query = asked.read(parts.tables.fields(found), request.args.items(multi=True))
    except asked.Refused as error:
        refuse(400, error.error, error.detail)
    count, shown = asked.page(parts.tables, found, query, page, size)
    return jsonify(
        count=count,
        next=_link(page + 1) if page * size < count else None,
        previous=_link(page - 1) if page > 1 else None,
        results=shown,
    )


def _link(page: int) -> str:
    """The same query with another page, from the request's own host (recorded); page 1 is not named."""
    others = [(key, value) for key, value in request.args.items(multi=True) if key != "page"]
    query = urlencode(sorted([*others, ("page", str(page))] if page > 1 else others))
    return f"{request.base_url}?{query}" if query else request.base_url


@bp.get("/api/database/rows/table/<int:table_id>/<int:row_id>/", endpoint="row")
def row(table_id: int, row_id: int) -> ResponseReturnValue:
    """One row (B)."""
    found, parts = own_table(table_id), sandbox()
    if not 1 <= row_id <= found.count:
        refuse(404, "ERROR_ROW_DOES_NOT_EXIST", f"The rows ['{row_id}'] do not exist.")
    query = asked.Query(parts.tables.fields(found), asked.by_name(dict(request.args)))
    return jsonify(asked.shape(parts.tables.row(found, row_id), query))
