"""What the routes share: the sandbox's parts, refusals in Baserow's shapes, and whose token came."""

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
    """The parts. ``public_url``: where browsers find the sandbox, None for where the request came to."""

    life: Life
    tables: Tables
    tokens: Tokens
    faults: Faults
    webhooks: Webhooks
    warehouses: Warehouses
    public_url: str | None = None


def sandbox() -> Sandbox:
    """The running sandbox."""
    found: Sandbox = current_app.extensions["sandbox"]
    return found


def public_link(path: str) -> str:
    """An absolute address for a browser; ``path`` without a leading slash."""
    return f"{(sandbox().public_url or request.host_url).rstrip('/')}/{path}"


def refuse(
    status: int, error: str, detail: object = "", headers: dict[str, str] | None = None
) -> NoReturn:
    """End the request with ``{"error", "detail"}`` (B S)."""
    response = make_response(jsonify(error=error, detail=detail), status)
    response.headers.update(headers or {})
    abort(response)


def unauthorised(**body: str) -> NoReturn:
    """A 401 as Baserow gives it: recorded, with its header."""
    abort(make_response(jsonify(body), 401, {"WWW-Authenticate": 'JWT realm="api"'}))


def bad_token() -> NoReturn:
    """The same answer for a token that is wrong, of another kind, revoked or expired: a client cannot tell which."""
    unauthorised(detail="Access token is expired or invalid.", error="ERROR_INVALID_ACCESS_TOKEN")


def token() -> str:
    """The token of ``Authorization: JWT <token>``, or ``Bearer`` for OAuth's access tokens (S)."""
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
    """Only the partner's tokens reach partner routes (D)."""
    if not sandbox().tokens.is_partner(token()):
        bad_token()


def need_account() -> int:
    """Everything else takes a sub-account's token (D); whose it is. An account without a licence is refused."""
    account_id = sandbox().tokens.account_of(token())
    if account_id is None:
        bad_token()
    if not sandbox().life.world.is_readable(account_id):
        refuse(403, "ERROR_LICENSE_EXPIRED", "The licence of this account has expired.")
    return account_id


def body() -> dict[str, object]:
    """The request's JSON object; anything else is an empty one."""
    found = request.get_json(silent=True)
    return found if isinstance(found, dict) else {}


def whole(name: str, otherwise: int) -> int:
    """A paging parameter; what cannot be read, or is below one, is the default (recorded from Baserow)."""
    value = request.args.get(name, "")
    return (
        int(value[:18])
        if value.isascii() and value.isdigit() and int(value[:18]) > 0
        else otherwise
    )


def account_or_404(account_id: int) -> Account:
    """The sub-account with this id."""
    found = sandbox().life.account(account_id)
    if found is None:
        refuse(404, "ERROR_SUB_ACCOUNT_DOES_NOT_EXIST", "The requested sub-account does not exist.")
    return found


def own_connection(server_id: int) -> Connection:
    """The connection, if it is the token's account's."""
    account_id = need_account()
    connection = sandbox().life.connection(server_id)
    if connection is None or connection.account_id != account_id:
        refuse(404, "ERROR_SERVER_DOES_NOT_EXIST", "The requested server does not exist.")
    return connection


def tables_of(account_id: int) -> list[Table]:
    """The tables of an account, as its connections made them."""
    life = sandbox().life
    connections = life.connections(account_id)
    faults = {each.id % 100: life.data_fault(each) for each in connections}
    return sandbox().tables.of_account(
        account_id, [(each.id % 100, each.connector) for each in connections], faults
    )


def tables_now(account_id: int) -> list[Table]:
    """The same with the rows that they have now."""
    return [_as_left(table) for table in tables_of(account_id)]


def own_table(table_id: int) -> Table:
    """The table with the rows that it has now, if it is the token's account's; somebody else's is a 400 (recorded)."""
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
    """A table as the runs of its connection left it."""
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
