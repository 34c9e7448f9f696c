"""Functions that the routes share: the current sandbox, refusals in Baserow's form, tokens."""

from dataclasses import dataclass, replace
from typing import NoReturn

from flask import abort, current_app, jsonify, make_response, request

from dashboard.sandbox.auth import Tokens
from dashboard.sandbox.faults import Faults
from dashboard.sandbox.seed import Account, Connection
from dashboard.sandbox.simulation import Life
from dashboard.sandbox.tables import STALE_FOR, Table, Tables
from dashboard.sandbox.warehouse import Warehouses
from dashboard.sandbox.webhooks import Webhooks


@dataclass(frozen=True)
class Sandbox:
    """The objects that the routes use.

    ``public_url``: the address for browsers; None: the request's own host.
    """

    life: Life
    tables: Tables
    tokens: Tokens
    faults: Faults
    webhooks: Webhooks
    warehouses: Warehouses
    public_url: str | None = None


def sandbox() -> Sandbox:
    """Return the sandbox of the current app."""
    found: Sandbox = current_app.extensions["sandbox"]
    return found


def public_link(path: str) -> str:
    """Return an absolute address for a browser; ``path`` has no leading slash."""
    return f"{(sandbox().public_url or request.host_url).rstrip('/')}/{path}"


def refuse(
    status: int, error: str, detail: object = "", headers: dict[str, str] | None = None
) -> NoReturn:
    """End the request with ``{"error", "detail"}`` (B S)."""
    response = make_response(jsonify(error=error, detail=detail), status)
    response.headers.update(headers or {})
    abort(response)


def unauthorised(**body: str) -> NoReturn:
    """End the request with Baserow's 401 and its header (recorded)."""
    abort(make_response(jsonify(body), 401, {"WWW-Authenticate": 'JWT realm="api"'}))


def bad_token() -> NoReturn:
    """Refuse the token. Wrong, revoked and expired tokens get the same response."""
    unauthorised(detail="Access token is expired or invalid.", error="ERROR_INVALID_ACCESS_TOKEN")


def token() -> str:
    """Return the token of the Authorization header.

    The scheme is ``JWT``, or ``Bearer`` for OAuth's access tokens (S).
    """
    parts = request.headers.get("Authorization", "").split()
    if not parts or parts[0] not in {"JWT", "Bearer"}:
        unauthorised(detail="Authentication credentials were not provided.")
    if len(parts) != 2:
        unauthorised(
            detail="Authorization header must contain two space-delimited values",
            code="bad_authorization_header",
        )
    return parts[1]


def need_partner() -> None:
    """Refuse the request unless its token is the partner's (D)."""
    if not sandbox().tokens.is_partner(token()):
        bad_token()


def need_account() -> int:
    """Return the account of the request's sub-account token (D).

    An account without a licence is refused.
    """
    account_id = sandbox().tokens.account_of(token())
    if account_id is None:
        bad_token()
    if not sandbox().life.world.is_readable(account_id):
        refuse(403, "ERROR_LICENSE_EXPIRED", "The licence of this account has expired.")
    return account_id


def body() -> dict[str, object]:
    """Return the request's JSON object; an empty one for anything else."""
    found = request.get_json(silent=True)
    return found if isinstance(found, dict) else {}


def positive(name: str, default: int) -> int:
    """Return a paging parameter; ``default`` where it is unreadable or below 1 (recorded)."""
    value = request.args.get(name, "")
    is_number = value.isascii() and value.isdigit() and int(value[:18]) > 0
    return int(value[:18]) if is_number else default


def account_or_404(account_id: int) -> Account:
    """Return the sub-account with this id."""
    found = sandbox().life.account(account_id)
    if found is None:
        refuse(404, "ERROR_SUB_ACCOUNT_DOES_NOT_EXIST", "The requested sub-account does not exist.")
    return found


def own_connection(server_id: int) -> Connection:
    """Return the connection if it belongs to the token's account."""
    account_id = need_account()
    connection = sandbox().life.connection(server_id)
    if connection is None or connection.account_id != account_id:
        refuse(404, "ERROR_SERVER_DOES_NOT_EXIST", "The requested server does not exist.")
    return connection


def tables_of(account_id: int) -> list[Table]:
    """Return the tables that an account's connections load."""
    life = sandbox().life
    connections = life.connections(account_id)
    faults = {each.id % 100: life.data_fault(each) for each in connections}
    return sandbox().tables.of_account(
        account_id, [(each.id % 100, each.connector) for each in connections], faults
    )


def tables_now(account_id: int) -> list[Table]:
    """Return the account's tables with their current rows."""
    return [_as_left(table) for table in tables_of(account_id)]


def own_table(table_id: int) -> Table:
    """Return the table with its current rows if it belongs to the token's account.

    Another account's table is a 400 (recorded).
    """
    account_id = need_account()
    owner = table_id // 10_000
    exists = sandbox().life.account(owner) is not None
    found = (
        next((each for each in tables_of(owner) if each.id == table_id), None) if exists else None
    )
    if found is None:
        refuse(404, "ERROR_TABLE_DOES_NOT_EXIST", "The requested table does not exist.")
    if owner != account_id:
        refuse(400, "ERROR_USER_NOT_IN_GROUP", "")
    return _as_left(found)


def _as_left(table: Table) -> Table:
    """Return a table as the runs of its connection left it."""
    life = sandbox().life
    connection = life.connection(table.connection_id) if table.connection_id is not None else None
    if connection is None:
        return table
    if connection.fate.shrinks_at is not None and life.clock() >= connection.fate.shrinks_at:
        table = replace(table, count=table.count * 3 // 5)
    received_at = (
        life.born - STALE_FOR if table.fault == "table_stale" else life.last_received(connection)
    )
    return replace(table, received_at=received_at)
