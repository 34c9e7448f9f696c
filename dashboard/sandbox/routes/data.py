"""Databases, tables, fields and rows in Baserow's form (recorded from a real server); SQL.

A direct database connection is not emulated: any PostgreSQL server can be one.
"""

import json
from typing import Any
from urllib.parse import urlencode

from flask import Blueprint, Response, jsonify, request
from flask.typing import ResponseReturnValue

from dashboard.sandbox import baserow_fields as columns
from dashboard.sandbox import query as row_query
from dashboard.sandbox.route_helpers import (
    body,
    need_account,
    own_table,
    positive,
    refuse,
    sandbox,
    tables_now,
    tables_of,
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
    """Return the account's warehouse; every fourth account has a second, empty database."""
    databases = [(account_id * 10 + 1, f"dw_{account_id}")]
    return (
        [*databases, (account_id * 10 + 2, "Archive 空")]
        if (account_id - FIRST_ACCOUNT) % 4 == 1
        else databases
    )


@bp.get("/api/applications/", endpoint="applications")
def applications() -> ResponseReturnValue:
    """Return the account's databases, with tables unless ``exclude_tables`` (D B): a bare list."""
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
    """Return the account's data warehouse: ``{"server_id", "server_name"}`` (S)."""
    account_id = need_account()
    return jsonify(server_id=account_id * 100, server_name=f"dw_{account_id}")


@bp.post("/api/proxy/db/", endpoint="proxy_db")
def proxy_db() -> ResponseReturnValue:
    """Run SQL on the account's warehouse (S).

    The response is lines of JSON: the columns, the records in batches, the outcome. ``connection``
    or ``dbName`` names the warehouse; an account has only one here.
    """
    account_id, given = need_account(), body()
    kwargs = given.get("kwargs")
    query = kwargs.get("query") if isinstance(kwargs, dict) else None
    if given.get("action") != "fetch" or not isinstance(query, str):
        refuse(
            400,
            "ERROR_REQUEST_BODY_VALIDATION",
            {"kwargs": [{"error": "This field is required.", "code": "required"}]},
        )
    if given.get("dbName") != f"dw_{account_id}":
        refuse(404, "ERROR_SERVER_DOES_NOT_EXIST", "The requested server does not exist.")
    lines = sandbox().warehouses.execute(account_id, tables_now(account_id), query, QUERY_SECONDS)
    as_text = (json.dumps(line, ensure_ascii=False, default=str) + "\n" for line in lines)
    return Response(as_text, content_type="application/x-ndjson")


@bp.get("/api/database/tables/database/<int:database_id>/", endpoint="tables")
def tables(database_id: int) -> ResponseReturnValue:
    """Return a database's tables (D B): a bare list. Another account's database is a 400."""
    account_id, owner = need_account(), database_id // 10
    exists = sandbox().life.account(owner) is not None and database_id in dict(_databases(owner))
    if not exists:
        refuse(404, "ERROR_APPLICATION_DOES_NOT_EXIST", "The requested application does not exist.")
    if owner != account_id:
        refuse(400, "ERROR_USER_NOT_IN_GROUP", "")
    return jsonify(_tables(account_id, database_id))


@bp.get("/api/database/tables/<int:table_id>/", endpoint="table")
def table(table_id: int) -> ResponseReturnValue:
    """Return one table (S B)."""
    found = own_table(table_id)
    order = next(
        n for n, each in enumerate(tables_of(table_id // 10_000), 1) if each.id == table_id
    )
    return jsonify(_table(found, order))


@bp.get("/api/database/fields/table/<int:table_id>/", endpoint="fields")
def fields(table_id: int) -> ResponseReturnValue:
    """Return a table's fields (B): a bare list, with the settings of each type."""
    found = own_table(table_id)
    return jsonify(
        [
            columns.as_json(found, field, order)
            for order, field in enumerate(sandbox().tables.fields(found))
        ]
    )


@bp.get("/api/database/rows/table/<int:table_id>/", endpoint="rows")
def rows(table_id: int) -> ResponseReturnValue:
    """Return one page of rows (D B).

    Page 0 is page 1, a page past the end is empty, more than 200 rows a page are refused.
    """
    found, current = own_table(table_id), sandbox()
    page, size = positive("page", 1), positive("size", 100)
    if size > LARGEST_PAGE:
        refuse(400, "ERROR_PAGE_SIZE_LIMIT", f"The page size is limited to {LARGEST_PAGE}.")
    try:
        query = row_query.read(current.tables.fields(found), request.args.items(multi=True))
    except row_query.Refused as error:
        refuse(400, error.error, error.detail)
    count, shown = row_query.page(current.tables, found, query, page, size)
    return jsonify(
        count=count,
        next=_link(page + 1) if page * size < count else None,
        previous=_link(page - 1) if page > 1 else None,
        results=shown,
    )


def _link(page: int) -> str:
    """Return the request's address with another page (recorded); page 1 is not named."""
    others = [(key, value) for key, value in request.args.items(multi=True) if key != "page"]
    query = urlencode(sorted([*others, ("page", str(page))] if page > 1 else others))
    return f"{request.base_url}?{query}" if query else request.base_url


@bp.get("/api/database/rows/table/<int:table_id>/<int:row_id>/", endpoint="row")
def row(table_id: int, row_id: int) -> ResponseReturnValue:
    """Return one row (B)."""
    found, current = own_table(table_id), sandbox()
    if not 1 <= row_id <= found.count:
        refuse(404, "ERROR_ROW_DOES_NOT_EXIST", f"The rows ['{row_id}'] do not exist.")
    by_name = row_query.by_name(dict(request.args))
    query = row_query.Query(current.tables.fields(found), by_name)
    return jsonify(row_query.shape(current.tables.row(found, row_id), query))
