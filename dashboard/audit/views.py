"""The page of the audit log."""

from flask import Blueprint
from flask.typing import ResponseReturnValue

from dashboard.audit.lists import AUDIT, serialize_entry
from dashboard.web.lists import render_list
from dashboard.web.required_role import requires

# Pages of administrators; ``users/views/admin.py`` adds those of users.
bp = Blueprint("admin", __name__)


@bp.get("/audit", endpoint="audit_index")
@bp.get("/audit.json", endpoint="audit_index_json")
@bp.get("/audit.csv", endpoint="audit_index_csv")
@requires("admin")
def audit_index() -> ResponseReturnValue:
    """List the audit entries."""
    return render_list(AUDIT, serialize_entry, "audit/log.html", "audit/_log.html")
