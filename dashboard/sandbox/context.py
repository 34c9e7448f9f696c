"""What the routes share: the sandbox's parts, refusals in Baserow's shapes, and whose token came."""

from dataclasses import dataclass

from flask import abort, current_app, jsonify, make_response, request

from dashboard.sandbox.auth import Tokens
from dashboard.sandbox.faults import Faults
from dashboard.sandbox.life import Life
from dashboard.sandbox.rows import Table, Tables
from dashboard.sandbox.world import Connection


@dataclass(frozen=True)
class Sandbox:
    """The parts."""

    life: Life
    tables: Tables
    tokens: Tokens
    faults: Faults


def sandbox() -> Sandbox:
    """The running sandbox."""
    found: Sandbox = current_app.extensions["sandbox"]
    return found


def refuse(status: int, error: str, detail: object = "", headers: dict[str, str] | None = None) -> None:
    """End the request with ``{"error", "detail"}``."""
    response = make_response(jsonify(error=error, detail=detail), status)
    response.headers.update(headers or {})
    abort(response)


def unauthorised(error: str | None = None) -> None:
    """The three refusals that a Baserow server gives."""
    body = {"error": error, "detail": "Access token is expired or invalid."} if error else {
        "detail": "Authentication credentials were not provided."
    }  # fmt: skip
    abort(make_response(jsonify(body), 401, {"WWW-Authenticate": 'JWT realm="api"'}))


def token() -> str:
    """The token of ``Authorization: JWT <token>`` (or Bearer, for OAuth's access tokens)."""
    scheme, _, value = request.headers.get("Authorization", "").partition(" ")
    if scheme not in {"JWT", "Bearer"} or not value:
        unauthorised()
    return value.strip()


def need_partner() -> None:
    """Only the partner token reaches partner routes (documented)."""
    if token() != sandbox().tokens.partner_token:
        unauthorised("ERROR_INVALID_ACCESS_TOKEN")


def need_account() -> int:
    """Everything else takes a sub-account's token; whose it is."""
    account_id = sandbox().tokens.account_of(token())
    if account_id is None:
        unauthorised("ERROR_INVALID_ACCESS_TOKEN")
    assert account_id is not None
    return account_id


def own_connection(server_id: int) -> Connection:
    """The connection, if it is the token's account's."""
    account_id = need_account()
    connection = sandbox().life.connection(server_id)
    if connection is None or connection.account_id != account_id:
        refuse(404, "ERROR_SERVER_DOES_NOT_EXIST", "The requested server does not exist.")
    assert connection is not None
    return connection


def tables_of(account_id: int) -> list[Table]:
    """The tables of an account."""
    life = sandbox().life
    sources = [(each.id % 100, each.connector) for each in life.connections(account_id)]
    return sandbox().tables.of_account(account_id, sources)


def own_table(table_id: int) -> Table:
    """The table, if it is the token's account's; somebody else's is a 400 (recorded from Baserow)."""
    account_id = need_account()
    owner = table_id // 10_000
    found = next((each for each in tables_of(owner) if each.id == table_id), None) if sandbox().life.account(owner) else None
    if found is None:
        refuse(404, "ERROR_TABLE_DOES_NOT_EXIST", "The requested table does not exist.")
    if owner != account_id:
        refuse(400, "ERROR_USER_NOT_IN_GROUP", "")
    assert found is not None
    return found
