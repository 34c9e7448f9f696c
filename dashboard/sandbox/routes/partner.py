"""Partner routes: sub-accounts, their tokens, the widget's token."""

from typing import Any

from flask import Blueprint, jsonify, request
from flask.typing import ResponseReturnValue

from dashboard.sandbox.context import need_partner, refuse, sandbox
from dashboard.sandbox.world import Account

bp = Blueprint("partner", __name__)


def as_json(account: Account) -> dict[str, Any]:
    """A sub-account as the API shows it."""
    return {
        "id": account.id,
        "name": account.name,
        "external_id": account.external_id,
        "country": "BE",
        "license": "production",
        "created_on": "2025-11-03T09:12:44Z",
    }


def number(name: str, otherwise: int) -> int:
    """A paging parameter; unreadable ones are the default."""
    value = request.args.get(name, "")
    return int(value) if value.isascii() and value.isdigit() and int(value) > 0 else otherwise


def asked_account() -> Account:
    """The account that ``external_id`` or ``account_id`` names."""
    life, account_id = sandbox().life, request.args.get("account_id", "")
    external_id = request.args.get("external_id", "")
    found = life.account(int(account_id)) if account_id.isdigit() else life.by_external_id(external_id)
    if found is None:
        refuse(404, "ERROR_SUB_ACCOUNT_DOES_NOT_EXIST", "The requested sub-account does not exist.")
    assert found is not None
    return found


@bp.get("/api/partner/sub-accounts/", endpoint="sub_accounts")
def sub_accounts() -> ResponseReturnValue:
    """Pages of sub-accounts (D S)."""
    need_partner()
    page, per_page = number("page", 1), min(number("per_page", 10), 200)
    found = sandbox().life.accounts((page - 1) * per_page, per_page + 1)
    following = f"{request.base_url}?page={page + 1}&per_page={per_page}" if len(found) > per_page else None
    return jsonify(data=[as_json(account) for account in found[:per_page]], next=following)


@bp.get("/api/partner/sub-account/", endpoint="sub_account")
def sub_account() -> ResponseReturnValue:
    """One sub-account (S)."""
    need_partner()
    return jsonify(as_json(asked_account()))


@bp.get("/api/partner/sub-accounts/<int:account_id>/info/", endpoint="sub_account_info")
def info(account_id: int) -> ResponseReturnValue:
    """Its data warehouse (S)."""
    need_partner()
    if sandbox().life.account(account_id) is None:
        refuse(404, "ERROR_SUB_ACCOUNT_DOES_NOT_EXIST")
    return jsonify(default_dw_id=account_id * 100, default_dw_name=f"dw_{account_id}")


@bp.get("/api/partner/sub-account/identity/", endpoint="identity")
def identity() -> ResponseReturnValue:
    """A sub-account's long-lived token (D S)."""
    need_partner()
    return jsonify(token=sandbox().tokens.for_account(asked_account().id))


@bp.post("/api/partner/sub-account/integrate/", endpoint="integrate")
def integrate() -> ResponseReturnValue:
    """The widget's token; provisions an unknown external id (D)."""
    need_partner()
    body = request.get_json(silent=True)
    external_id = str(body.get("external_id") or "") if isinstance(body, dict) else ""
    if not external_id or len(external_id) > 255:
        refuse(400, "ERROR_REQUEST_BODY_VALIDATION", {"external_id": [{"error": "This field is required.", "code": "required"}]})
    account = sandbox().life.provision(external_id, str((body or {}).get("company_name") or ""))
    return jsonify(integration_token=sandbox().tokens.for_widget(account.id))


@bp.post("/api/oauth2/token/", endpoint="oauth2_token")
def oauth2_token() -> ResponseReturnValue:
    """OAuth client credentials, the newer way to the partner token (S)."""
    if request.form.get("grant_type") != "client_credentials" or not request.form.get("client_secret"):
        return jsonify(error="unsupported_grant_type"), 400
    if request.form["client_secret"] != sandbox().tokens.partner_token:
        return jsonify(error="invalid_client"), 401
    return jsonify(access_token=sandbox().tokens.partner_token, expires_in=3600, token_type="Bearer")
