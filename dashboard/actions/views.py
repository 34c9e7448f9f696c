"""The list of all actions and their outcomes."""

from flask import Blueprint
from flask.typing import ResponseReturnValue

from dashboard.actions.lists import RECEIPTS, serialize_outcome
from dashboard.web.lists import render_list
from dashboard.web.required_role import requires

bp = Blueprint("receipts", __name__)


@bp.get("/receipts", endpoint="index")
@bp.get("/receipts.json", endpoint="index_json")
@bp.get("/receipts.csv", endpoint="index_csv")
@requires("viewer")
def index() -> ResponseReturnValue:
    """Show the actions, newest first."""
    return render_list(
        RECEIPTS, serialize_outcome, "actions/outcomes.html", "actions/_outcomes.html"
    )
