"""Connections ("servers" in the API), their runs, and the actions on them."""

from typing import Any

from flask import Blueprint, jsonify, request
from flask.typing import ResponseReturnValue

from dashboard.sandbox import runs as run_views
from dashboard.sandbox.route_helpers import (
    body,
    need_account,
    own_connection,
    positive,
    public_link,
    refuse,
    sandbox,
)
from dashboard.sandbox.runs import Run
from dashboard.sandbox.seed import Connection
from dashboard.sandbox.simulation import BANK_PAUSE, UNTOUCHED, AlreadyRunning

bp = Blueprint("servers", __name__)
# The fields that PATCH may change, with their JSON types; other fields are ignored.
CHANGEABLE: dict[str, type] = {"name": str, "run_interval": int, "disable_scheduler": bool}
SHORTEST_INTERVAL = 60


def as_json(connection: Connection) -> dict[str, Any]:
    """Return a connection as the API shows it (S); ``run_interval`` in seconds.

    Assumed (A): ``auth_type``, and ``consent_expires_at``, which only bank connections have.
    """
    life = sandbox().life
    fields = {
        "id": connection.id,
        "name": connection.name,
        "server_type": connection.connector.name,
        "health_status": life.status(connection),
        "is_datawarehouse": False,
        "is_target": connection.fate.is_target,
        "target": connection.fate.target or connection.account_id * 100,
        "target_schema": {"schema_name": connection.connector.schema(connection.id % 100)},
        "run_interval": connection.interval,
        "disable_scheduler": connection.scheduler_off,
        "auth_type": connection.connector.auth,
        **life.touched.get(connection.id, UNTOUCHED).settings,
    }
    ends = life.consent_ends(connection)
    if ends is not None:
        fields["consent_expires_at"] = ends.isoformat()
    if connection.fate.is_target:
        fields |= {
            "target": None,
            "target_schema": None,
            "run_interval": None,
            "disable_scheduler": True,
        }
    if connection.fate.other_names:
        fields = {"connection_id": fields.pop("id"), **fields}
        fields.pop("run_interval")
    return fields


def _warehouse(account_id: int) -> dict[str, Any]:
    return {
        "id": account_id * 100,
        "name": f"dw_{account_id}",
        "server_type": "postgresql",
        "health_status": "OK",
        "is_datawarehouse": True,
        "is_target": True,
        "target": None,
        "target_schema": None,
        "run_interval": None,
        "disable_scheduler": True,
        "auth_type": "basic",
    }


@bp.get("/api/servers/", endpoint="servers")
def servers() -> ResponseReturnValue:
    """Return all connections of the token's account, its data warehouse first: a list (S)."""
    account_id = need_account()
    return jsonify(
        [
            _warehouse(account_id),
            *(as_json(each) for each in sandbox().life.connections(account_id)),
        ]
    )


@bp.get("/api/servers/<int:server_id>/", endpoint="server")
def server(server_id: int) -> ResponseReturnValue:
    """Return one connection (D; path A)."""
    account_id = need_account()
    return jsonify(
        _warehouse(account_id)
        if server_id == account_id * 100
        else as_json(own_connection(server_id))
    )


@bp.patch("/api/servers/<int:server_id>/", endpoint="server_change")
def change(server_id: int) -> ResponseReturnValue:
    """Change a connection's ``name``, ``run_interval`` or ``disable_scheduler`` (S)."""
    connection = own_connection(server_id)
    changes = {name: value for name, value in body().items() if name in CHANGEABLE}
    wrong = [
        name
        for name, value in changes.items()
        if type(value) is not CHANGEABLE[name] or value == ""
    ]
    interval = changes.get("run_interval")
    if isinstance(interval, int) and interval < SHORTEST_INTERVAL:
        wrong.append("run_interval")
    if wrong:
        detail = {name: [{"error": "Not a valid value.", "code": "invalid"}] for name in wrong}
        refuse(400, "ERROR_REQUEST_BODY_VALIDATION", detail)
    sandbox().life.change(connection, changes)
    return jsonify(as_json(connection))


@bp.get("/api/servers/<int:server_id>/syncdb/", endpoint="syncdb")
def syncdb(server_id: int) -> ResponseReturnValue:
    """Start a sync (D S): a GET with a side effect. A second one is refused with 409 (A)."""
    connection = own_connection(server_id)
    run, response = _started(connection)
    # Some connectors return one object instead of a list (S).
    one = connection.connector.kind in {"files", "e-commerce"}
    return jsonify(run_data=run if one else [run], **response)


@bp.get("/api/servers/<int:server_id>/resync/", endpoint="resync")
def resync(server_id: int) -> ResponseReturnValue:
    """Start a full resync (S); the run's data are one object."""
    run, response = _started(own_connection(server_id))
    return jsonify(run_data=run, **response)


def _started(connection: Connection) -> tuple[dict[str, Any], dict[str, Any]]:
    try:
        run = sandbox().life.start(connection)
    except AlreadyRunning:
        refuse(
            409, "ERROR_PIPELINE_ALREADY_RUNNING", "A pipeline run of this connection is under way."
        )
    task = run_views.task_id(sandbox().life.world, run)
    return {"pipeline_run_id": run.id, "task_id": task}, {
        "server_id": str(connection.id),
        "health_status": sandbox().life.status(connection),
        "task_id": task,
        "detail": "The sync task has started.",
        "syncing": True,
    }


@bp.get("/api/servers/<int:server_id>/syncdb/status/", endpoint="syncdb_status")
def status(server_id: int) -> ResponseReturnValue:
    """Return whether a sync runs (D S).

    A stuck run has ``running: false`` while its status is still RUNNING (S).
    """
    connection = own_connection(server_id)
    return jsonify(_status(connection, _requested_run(connection)))


@bp.get("/api/servers/<int:server_id>/resync/status/", endpoint="resync_status")
def resync_status(server_id: int) -> ResponseReturnValue:
    """Return whether a full resync runs; ``run_id`` is a list, which the SDK reads (S)."""
    connection = own_connection(server_id)
    run = _requested_run(connection)
    return jsonify({**_status(connection, run), "run_id": [run.id] if run else []})


def _requested_run(connection: Connection) -> Run | None:
    """Return the run of ``pipeline_run_id`` or ``task_id``; the newest without either."""
    life = sandbox().life
    number = request.args.get("pipeline_run_id", "")
    task = request.args.get("task_id", "")
    if number:
        found = life.run(int(number[:18])) if number.isascii() and number.isdigit() else None
        return found if found is not None and found.connection_id == connection.id else None
    newest = life.runs(connection, 20)
    if task:
        return next((run for run in newest if run_views.task_id(life.world, run) == task), None)
    return newest[0] if newest else None


def _status(connection: Connection, run: Run | None) -> dict[str, Any]:
    if run is None:
        return {
            "running": False,
            "status": None,
            "task_id": None,
            "run_id": None,
            "detail": "No run.",
        }
    life = sandbox().life
    running = run.is_running(life.clock())
    return {
        "running": life.claims_to_run(connection, run),
        "status": "RUNNING" if running else run.outcome,
        "task_id": run_views.task_id(life.world, run),
        "run_id": run.id,
        "detail": "The sync task is running." if running else "The sync task has completed.",
    }


@bp.get("/api/servers/<int:server_id>/runs/", endpoint="runs")
def runs(server_id: int) -> ResponseReturnValue:
    """Return a connection's runs, newest first: ``{"data": [...]}`` (S)."""
    connection, life = own_connection(server_id), sandbox().life
    page, per_page = _page()
    found = life.runs(connection, per_page, (page - 1) * per_page)
    return jsonify(data=[run_views.as_json(connection, run, life.clock()) for run in found])


@bp.get("/api/pipeline_runs/", endpoint="pipeline_runs")
def pipeline_runs() -> ResponseReturnValue:
    """Return the account's own runs by ``run_id``: one, or several with commas between (S)."""
    account_id, life = need_account(), sandbox().life
    ids = [
        int(each[:18])
        for each in request.args.get("run_id", "").split(",")
        if each.isascii() and each.isdigit()
    ]
    page, per_page = _page()
    found = [_own_run(account_id, each) for each in ids[(page - 1) * per_page : page * per_page]]
    now = life.clock()
    return jsonify(data=[run_views.as_json(pair[0], pair[1], now) for pair in found if pair])


@bp.get("/api/pipeline_runs/<int:run_id>/logs/", endpoint="run_logs")
def logs(run_id: int) -> ResponseReturnValue:
    """Return the log of one run: ``{"logs": "<text>"}`` (S; shape A)."""
    found = _own_run(need_account(), run_id)
    if found is None:
        refuse(
            404, "ERROR_PIPELINE_RUN_DOES_NOT_EXIST", "The requested pipeline run does not exist."
        )
    life = sandbox().life
    return jsonify(logs=run_views.log_of(life.world, *found, life.clock()))


def _page() -> tuple[int, int]:
    """Return the requested page and its size, under either name (seen in published programs)."""
    return positive("page", 1), min(positive("page_size", positive("per_page", 10)), 100)


def _own_run(account_id: int, run_id: int) -> tuple[Connection, Run] | None:
    life = sandbox().life
    run = life.run(run_id)
    connection = life.connection(run.connection_id) if run else None
    if run is None or connection is None or connection.account_id != account_id:
        return None
    return connection, run


@bp.post("/api/servers/invite/", endpoint="invite")
def invite() -> ResponseReturnValue:
    """Invite a customer to connect (S).

    204 for an e-mail (none is sent), otherwise ``{"url"}``.
    """
    account_id, given = need_account(), body()
    if given.get("sendEmail"):
        if not given.get("recipient"):
            refuse(
                400,
                "ERROR_REQUEST_BODY_VALIDATION",
                {"recipient": [{"error": "Required.", "code": "required"}]},
            )
        return "", 204
    key = sandbox().life.world.number("invite", account_id, sandbox().life.next_invite())
    return jsonify(
        url=public_link(f"sandbox/invite/{key:016x}?connector={given.get('serverType') or ''}")
    )


@bp.get("/api/servers/<int:server_id>/reauthorise/", endpoint="reauthorise")
def reauthorise(server_id: int) -> ResponseReturnValue:
    """Return a consent link for an OAuth connection, good for one answer: ``{"auth_uri"}``.

    Documented (D); the path is assumed (A).
    """
    connection = own_connection(server_id)
    if connection.connector.auth != "oauth2":
        refuse(400, "ERROR_NOT_AN_OAUTH_CONNECTION", "Only OAuth connections can be reauthorised.")
    return jsonify(auth_uri=_consent_link(connection))


@bp.get("/api/servers/<int:server_id>/saltedge-refresh/", endpoint="saltedge_refresh")
def saltedge_refresh(server_id: int) -> ResponseReturnValue:
    """Return a refresh link for a bank, ``{"url"}`` (D; path A).

    SaltEdge refuses a second one within about an hour.
    """
    connection = own_connection(server_id)
    if connection.connector.auth != "saltedge":
        refuse(
            400,
            "ERROR_NOT_A_SALTEDGE_CONNECTION",
            "Only SaltEdge bank connections can be refreshed.",
        )
    life = sandbox().life
    with life.lock:
        touched, at = life.touch(server_id), life.clock()
        wait = (
            (touched.bank_asked_at + BANK_PAUSE - at).total_seconds()
            if touched.bank_asked_at
            else 0
        )
        if wait <= 0:
            touched.bank_asked_at = at
    if wait > 0:
        detail = f"The bank can be asked again in {int(wait) // 60 + 1} minutes."
        refuse(400, "ERROR_SALTEDGE_REFRESH_TOO_SOON", detail, {"Retry-After": str(int(wait) + 1)})
    return jsonify(url=_consent_link(connection))


def _consent_link(connection: Connection) -> str:
    life = sandbox().life
    with life.lock:
        touched = life.touch(connection.id)
        touched.asked_at, touched.allowed_at = life.clock(), None
    return public_link(f"sandbox/consent/{connection.id}")
