"""Partner routes: sub-accounts, their tokens, the widget's token."""

from typing import Any

from flask import Blueprint, jsonify, request
from flask.typing import ResponseReturnValue

from dashboard.sandbox.route_helpers import (
    account_or_404,
    body,
    need_partner,
    positive,
    refuse,
    sandbox,
)
from dashboard.sandbox.seed import Account

bp = Blueprint("partner", __name__)
LARGEST_PAGE = 200
LONGEST = 255
PERSON = ("first_name", "last_name", "email", "country")


def as_json(account: Account) -> dict[str, Any]:
    """Return a sub-account as the API shows it.

    ``id``, ``name`` and ``external_id`` are documented (D S), the rest is assumed (A).
    """
    month, day = account.position % 12 + 1, account.position % 28 + 1
    return {
        "id": account.id,
        "name": account.name,
        "external_id": account.external_id,
        "company_name": account.name,
        "first_name": account.first_name,
        "last_name": account.last_name,
        "email": account.email,
        "country": account.country,
        "license": "production",
        "created_on": f"2025-{month:02}-{day:02}T09:12:44Z",
    }


def requested_account() -> Account:
    """Return the account that ``external_id`` or ``account_id`` names (S)."""
    account_id = request.args.get("account_id", "")
    if account_id.isascii() and account_id.isdigit():
        return account_or_404(int(account_id[:18]))
    found = sandbox().life.by_external_id(request.args.get("external_id", ""))
    if found is None:
        refuse(404, "ERROR_SUB_ACCOUNT_DOES_NOT_EXIST", "The requested sub-account does not exist.")
    return found


@bp.get("/api/partner/sub-accounts/", endpoint="sub_accounts")
@bp.get("/api/partner/sub-accounts", endpoint="sub_accounts")
def sub_accounts() -> ResponseReturnValue:
    """Return pages of sub-accounts: ``{"data": [...], "next", "count"}`` (S).

    The embedding page omits the last slash of the path (D).
    """
    need_partner()
    page, per_page = positive("page", 1), min(positive("per_page", 10), LARGEST_PAGE)
    life = sandbox().life
    found, count = life.accounts((page - 1) * per_page, per_page), life.count_accounts()
    more = page * per_page < count
    following = f"{request.base_url}?page={page + 1}&per_page={per_page}" if more else None
    return jsonify(data=[as_json(account) for account in found], next=following, count=count)


@bp.post("/api/partner/sub-accounts/", endpoint="sub_account_create")
def create() -> ResponseReturnValue:
    """Create a sub-account (S H); an existing external id is refused."""
    need_partner()
    given = _texts("company_name", "email")
    external_id = given.pop("external_id")
    if external_id and sandbox().life.by_external_id(external_id) is not None:
        refuse(
            400,
            "ERROR_SUB_ACCOUNT_ALREADY_EXISTS",
            f"A sub-account with external_id {external_id} exists.",
        )
    name = given.pop("company_name")
    number = sandbox().life.count_accounts() + 1
    account = sandbox().life.provision(external_id or f"new-{number:05}", name, **_person(given))
    return jsonify(as_json(account))


@bp.get("/api/partner/sub-account/", endpoint="sub_account")
def sub_account() -> ResponseReturnValue:
    """Return one sub-account by ``external_id`` or ``account_id`` (S)."""
    need_partner()
    return jsonify(as_json(requested_account()))


@bp.get("/api/partner/sub-accounts/<int:account_id>/info/", endpoint="sub_account_info")
def info(account_id: int) -> ResponseReturnValue:
    """Return its data warehouse: ``{"default_dw_id", "default_dw_name"}`` (S)."""
    need_partner()
    account_or_404(account_id)
    return jsonify(default_dw_id=account_id * 100, default_dw_name=f"dw_{account_id}")


@bp.get("/api/partner/sub-account/identity/", endpoint="identity")
def identity() -> ResponseReturnValue:
    """Return a sub-account's long-lived token: ``{"token"}`` (D S)."""
    need_partner()
    return jsonify(token=sandbox().tokens.for_account(requested_account().id))


@bp.post("/api/partner/sub-account/integrate/", endpoint="integrate")
def integrate() -> ResponseReturnValue:
    """Return the widget's token, ``{"integration_token"}``; provision an unknown account (D)."""
    need_partner()
    given = _texts("external_id")
    account = sandbox().life.provision(
        given.pop("external_id"), given.pop("company_name"), **_person(given)
    )
    return jsonify(integration_token=sandbox().tokens.for_widget(account.id))


@bp.post("/api/oauth2/token/", endpoint="oauth2_token")
def oauth2_token() -> ResponseReturnValue:
    """Return a token for OAuth client credentials (S), sent as a form.

    The client secret of the sandbox is the partner token.
    """
    if request.form.get("grant_type") != "client_credentials":
        return jsonify(error="unsupported_grant_type"), 400
    if (
        not request.form.get("client_id")
        or request.form.get("client_secret") != sandbox().tokens.partner_token
    ):
        return jsonify(error="invalid_client"), 401
    return jsonify(access_token=sandbox().tokens.for_oauth(), expires_in=3600, token_type="Bearer")


def _texts(*required: str) -> dict[str, str]:
    """Return the body's texts; refuse a missing, empty or overlong one in Baserow's form."""
    given = body()
    texts = {name: str(given.get(name) or "") for name in ("external_id", "company_name", *PERSON)}
    missing = {
        name: [{"error": "This field is required.", "code": "required"}]
        for name in required
        if not texts[name]
    }
    too_long = {
        name: [
            {
                "error": f"Ensure this field has no more than {LONGEST} characters.",
                "code": "max_length",
            }
        ]
        for name, value in texts.items()
        if len(value) > LONGEST
    }
    if missing or too_long:
        refuse(400, "ERROR_REQUEST_BODY_VALIDATION", {**missing, **too_long})
    return texts


def _person(texts: dict[str, str]) -> dict[str, str]:
    return {name: texts[name] for name in PERSON if texts[name]}
