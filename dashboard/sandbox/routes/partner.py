"""Partner routes: sub-accounts, their tokens, the widget's token."""

from typing import Any

from flask import Blueprint, jsonify, request
from flask.typing import ResponseReturnValue

from dashboard.sandbox.deps import account_or_404, body, need_partner, refuse, sandbox, whole
from dashboard.sandbox.seed import Account

bp = Blueprint("partner", __name__)
LARGEST_PAGE = 200
LONGEST = 255
PERSON = ("first_name", "last_name", "email", "country")


def as_json(account: Account) -> dict[str, Any]:
    """A sub-account as the API shows it: ``id``, ``name`` and ``external_id`` are documented (D S), the rest believable (A)."""
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
        "created_on": f"2025-{account.position % 12 + 1:02}-{account.position % 28 + 1:02}T09:12:44Z",
    }


def asked_account() -> Account:
    """The account that ``external_id`` or ``account_id`` names (S)."""
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
    """Pages of sub-accounts: ``{"data": [...], "next", "count"}`` (S); the embedding page leaves the last slash out (D)."""
    need_partner()
    page, per_page = whole("page", 1), min(whole("per_page", 10), LARGEST_PAGE)
    life = sandbox().life
    found, count = life.accounts((page - 1) * per_page, per_page), life.count_accounts()
    more = page * per_page < count
    following = f"{request.base_url}?page={page + 1}&per_page={per_page}" if more else None
    return jsonify(data=[as_json(account) for account in found], next=following, count=count)


@bp.post("/api/partner/sub-accounts/", endpoint="sub_account_create")
def create() -> ResponseReturnValue:
    """Create a sub-account (S H); an external id that exists is refused."""
    need_partner()
    told = _told("company_name", "email")
    external_id = told.pop("external_id")
    if external_id and sandbox().life.by_external_id(external_id) is not None:
        refuse(
            400,
            "ERROR_SUB_ACCOUNT_ALREADY_EXISTS",
            f"A sub-account with external_id {external_id} exists.",
        )
    name = told.pop("company_name")
    number = sandbox().life.count_accounts() + 1
    return jsonify(
        as_json(sandbox().life.provision(external_id or f"new-{number:05}", name, **_person(told)))
    )


@bp.get("/api/partner/sub-account/", endpoint="sub_account")
def sub_account() -> ResponseReturnValue:
    """One sub-account by ``external_id`` or ``account_id`` (S)."""
    need_partner()
    return jsonify(as_json(asked_account()))


@bp.get("/api/partner/sub-accounts/<int:account_id>/info/", endpoint="sub_account_info")
def info(account_id: int) -> ResponseReturnValue:
    """Its data warehouse: ``{"default_dw_id", "default_dw_name"}`` (S)."""
    need_partner()
    account_or_404(account_id)
    return jsonify(default_dw_id=account_id * 100, default_dw_name=f"dw_{account_id}")


@bp.get("/api/partner/sub-account/identity/", endpoint="identity")
def identity() -> ResponseReturnValue:
    """A sub-account's long-lived token: ``{"token"}`` (D S)."""
    need_partner()
    return jsonify(token=sandbox().tokens.for_account(asked_account().id))


@bp.post("/api/partner/sub-account/integrate/", endpoint="integrate")
def integrate() -> ResponseReturnValue:
    """The widget's token, ``{"integration_token"}``; provisions an unknown external id (D)."""
    need_partner()
    told = _told("external_id")
    account = sandbox().life.provision(
        told.pop("external_id"), told.pop("company_name"), **_person(told)
    )
    return jsonify(integration_token=sandbox().tokens.for_widget(account.id))


@bp.post("/api/oauth2/token/", endpoint="oauth2_token")
def oauth2_token() -> ResponseReturnValue:
    """OAuth client credentials (S), as a form; the sandbox's client secret is the partner token."""
    if request.form.get("grant_type") != "client_credentials":
        return jsonify(error="unsupported_grant_type"), 400
    if (
        not request.form.get("client_id")
        or request.form.get("client_secret") != sandbox().tokens.partner_token
    ):
        return jsonify(error="invalid_client"), 401
    return jsonify(access_token=sandbox().tokens.for_oauth(), expires_in=3600, token_type="Bearer")


def _told(*required: str) -> dict[str, str]:
    """The body's texts; a missing, empty or overlong one is a 400 in Baserow's shape."""
    given = body()
    told = {name: str(given.get(name) or "") for name in ("external_id", "company_name", *PERSON)}
    missing = {
        name: [{"error": "This field is required.", "code": "required"}]
        for name in required
        if not told[name]
    }
    too_long = {
        name: [
            {
                "error": f"Ensure this field has no more than {LONGEST} characters.",
                "code": "max_length",
            }
        ]
        for name, value in told.items()
        if len(value) > LONGEST
    }
    if missing or too_long:
        refuse(400, "ERROR_REQUEST_BODY_VALIDATION", {**missing, **too_long})
    return told


def _person(told: dict[str, str]) -> dict[str, str]:
    return {name: told[name] for name in PERSON if told[name]}
