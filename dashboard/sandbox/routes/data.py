"""Databases, tables, fields and rows: Baserow's paths, paging and errors (recorded from a real server)."""

from typing import Any

from flask import Blueprint, jsonify, request
from flask.typing import ResponseReturnValue

from dashboard.sandbox.context import need_account, own_table, refuse, sandbox, tables_of
from dashboard.sandbox.rows import Table

bp = Blueprint("data", __name__)
LARGEST_PAGE = 200


def _table(table: Table, order: int = 1) -> dict[str, Any]:
    return {"id": table.id, "name": table.name, "order": order, "database_id": table.database_id}


@bp.get("/api/applications/", endpoint="applications")
def applications() -> ResponseReturnValue:
    """The account's databases, with their tables unless ``exclude_tables`` (D B)."""
    account_id = need_account()
    found: dict[str, Any] = {"id": account_id * 10 + 1, "name": f"dw_{account_id}", "order": 1, "type": "database"}
    if not request.args.get("exclude_tables"):
        found["tables"] = [_table(table, order) for order, table in enumerate(tables_of(account_id), 1)]
    return jsonify([found])


@bp.get("/api/applications/default_dw_info/", endpoint="default_dw_info")
def default_dw_info() -> ResponseReturnValue:
    """The account's data warehouse (S)."""
    account_id = need_account()
    return jsonify(server_id=account_id * 100, server_name=f"dw_{account_id}")


@bp.get("/api/database/tables/database/<int:database_id>/", endpoint="tables")
def tables(database_id: int) -> ResponseReturnValue:
    """A database's tables (D B)."""
    account_id = need_account()
    if sandbox().life.account(database_id // 10) is None or database_id % 10 != 1:
        refuse(404, "ERROR_APPLICATION_DOES_NOT_EXIST", "The requested application does not exist.")
    if database_id // 10 != account_id:
        refuse(400, "ERROR_USER_NOT_IN_GROUP", "")
    return jsonify([_table(table, order) for order, table in enumerate(tables_of(account_id), 1)])


@bp.get("/api/database/tables/<int:table_id>/", endpoint="table")
def table(table_id: int) -> ResponseReturnValue:
    """One table (S B)."""
    return jsonify(_table(own_table(table_id)))


@bp.get("/api/database/fields/table/<int:table_id>/", endpoint="fields")
def fields(table_id: int) -> ResponseReturnValue:
    """A table's fields (B)."""
    found = own_table(table_id)
    return jsonify(
        [
            {"id": field.id, "table_id": table_id, "name": field.name, "order": order, "type": field.type, "primary": order == 0}
            for order, field in enumerate(sandbox().tables.fields(found))
        ]
    )


def _whole(name: str, otherwise: int) -> int:
    """A paging parameter as Baserow reads it: what cannot be read, and what is below one, is the default."""
    try:
        value = int(request.args.get(name, ""))
    except ValueError:
        return otherwise
    return value if value >= 1 else otherwise


@bp.get("/api/database/rows/table/<int:table_id>/", endpoint="rows")
def rows(table_id: int) -> ResponseReturnValue:
    """One page of rows (D B): page 0 is page 1, a page past the end is empty, more than 200 a page is refused."""
    found = own_table(table_id)
    page, size = _whole("page", 1), _whole("size", 100)
    if size > LARGEST_PAGE:
        refuse(400, "ERROR_PAGE_SIZE_LIMIT", f"The page size is limited to {LARGEST_PAGE}.")
    query = dict(request.args)
    try:
        count, shown = sandbox().tables.page(found, query, page, size)
    except LookupError as error:
        refuse(400, "ERROR_ORDER_BY_FIELD_NOT_FOUND", f"The field {error.args[0]} was not found in the table.")
    others = {key: value for key, value in query.items() if key != "page"}

    def link(number: int) -> str:
        parts = others | ({"page": str(number)} if number > 1 else {})
        return request.base_url + ("?" + "&".join(f"{key}={parts[key]}" for key in sorted(parts)) if parts else "")

    return jsonify(
        count=count,
        next=link(page + 1) if page * size < count else None,
        previous=link(page - 1) if page > 1 else None,
        results=shown,
    )


@bp.get("/api/database/rows/table/<int:table_id>/<int:row_id>/", endpoint="row")
def row(table_id: int, row_id: int) -> ResponseReturnValue:
    """One row (B)."""
    found = own_table(table_id)
    if not 1 <= row_id <= found.count:
        refuse(404, "ERROR_ROW_DOES_NOT_EXIST", "The requested row does not exist.")
    return jsonify(sandbox().tables.row(found, row_id))
