"""Connections ("servers"), their runs, and what can be done to them."""

from typing import Any
from uuid import uuid4

from flask import Blueprint, jsonify, request
from flask.typing import ResponseReturnValue

from dashboard.sandbox.context import need_account, own_connection, refuse, sandbox
from dashboard.sandbox.life import BANK_PAUSE, AlreadyRunning, Run
from dashboard.sandbox.routes.partner import number
from dashboard.sandbox.world import Connection

bp = Blueprint("servers", __name__)


def as_json(connection: Connection) -> dict[str, Any]:
    """A connection as the API shows it (S)."""
    return {
        "id": connection.id,
        "name": connection.name,
        "server_type": connection.connector.name,
        "health_status": sandbox().life.status(connection),
        "is_datawarehouse": False,
        "is_target": False,
        "target": connection.account_id * 100,
        "target_schema": {"schema_name": f"{connection.connector.name.lower()}_{connection.id % 100}"},
        "run_interval": connection.interval,
        "disable_scheduler": connection.scheduler_off,
        "auth_type": connection.connector.auth,
    }


def _warehouse(account_id: int) -> dict[str, Any]:
    return {
        "id": account_id * 100, "name": f"dw_{account_id}", "server_type": "postgresql", "health_status": "OK",
        "is_datawarehouse": True, "is_target": True, "target": None, "target_schema": None, "run_interval": None,
        "disable_scheduler": True,
    }  # fmt: skip


@bp.get("/api/servers/", endpoint="servers")
def servers() -> ResponseReturnValue:
    """All connections of the token's account: a list (S)."""
    account_id = need_account()
    return jsonify([_warehouse(account_id), *(as_json(each) for each in sandbox().life.connections(account_id))])


@bp.get("/api/servers/<int:server_id>/", endpoint="server")
def server(server_id: int) -> ResponseReturnValue:
    """One connection (D; path A)."""
    account_id = need_account()
    return jsonify(_warehouse(account_id) if server_id == account_id * 100 else as_json(own_connection(server_id)))


@bp.patch("/api/servers/<int:server_id>/", endpoint="server_change")
def change(server_id: int) -> ResponseReturnValue:
    """Change a connection (S): here only switching it off and on again."""
    connection = own_connection(server_id)
    body = request.get_json(silent=True) or {}
    if "disable_scheduler" in body:
        sandbox().life.touch(server_id).forced_status = "DISABLED" if body["disable_scheduler"] else None
    return jsonify(as_json(connection))


@bp.get("/api/servers/<int:server_id>/syncdb/", endpoint="syncdb")
def syncdb(server_id: int) -> ResponseReturnValue:
    """Start a sync (D S): a GET with a side effect."""
    return _started(own_connection(server_id))


@bp.get("/api/servers/<int:server_id>/resync/", endpoint="resync")
def resync(server_id: int) -> ResponseReturnValue:
    """Load everything again (S)."""
    return _started(own_connection(server_id))


def _started(connection: Connection) -> ResponseReturnValue:
    try:
        run = sandbox().life.start(connection)
    except AlreadyRunning:
        refuse(409, "ERROR_PIPELINE_ALREADY_RUNNING", "A pipeline run of this connection is under way.")
    task = str(uuid4())
    return jsonify(
        server_id=str(connection.id),
        health_status=sandbox().life.status(connection),
        run_data=[{"pipeline_run_id": run.id, "task_id": task}],
        task_id=task,
        detail="The sync task has started.",
        syncing=True,
    )


@bp.get("/api/servers/<int:server_id>/syncdb/status/", endpoint="syncdb_status")
@bp.get("/api/servers/<int:server_id>/resync/status/", endpoint="resync_status")
def status(server_id: int) -> ResponseReturnValue:
    """Whether a sync runs (D S). A stuck one: ``running: false`` while its status is still RUNNING (S)."""
    connection = own_connection(server_id)
    life, asked = sandbox().life, request.args.get("pipeline_run_id", "")
    runs = life.runs(connection, 20)
    run: Run | None = next((each for each in runs if str(each.id) == asked), runs[0] if runs and not asked else None)
    if run is None:
        return jsonify(running=False, status=None, task_id=None, run_id=None, detail="No run.")
    return jsonify(
        running=life.claims_to_run(connection, run),
        status=life.run_status(run),
        task_id=request.args.get("task_id") or None,
        run_id=run.id,
        detail="The sync task is running." if run.is_running(life.clock()) else "The sync task has completed.",
    )


@bp.get("/api/servers/<int:server_id>/runs/", endpoint="runs")
def runs(server_id: int) -> ResponseReturnValue:
    """A connection's runs, newest first (S)."""
    connection = own_connection(server_id)
    page, per_page = number("page", 1), min(number("per_page", 10), 100)
    found = sandbox().life.runs(connection, per_page, (page - 1) * per_page)
    return jsonify(data=[sandbox().life.as_json(connection, run) for run in found])


@bp.get("/api/pipeline_runs/", endpoint="pipeline_runs")
def pipeline_runs() -> ResponseReturnValue:
    """Runs by their ids (S)."""
    need_account()
    asked = [int(each) for each in request.args.get("run_id", "").split(",") if each.isdigit()]
    found = [_own_run(each) for each in asked[:100]]
    return jsonify(data=[sandbox().life.as_json(connection, run) for connection, run in found if connection and run])


@bp.get("/api/pipeline_runs/<int:run_id>/logs/", endpoint="run_logs")
def logs(run_id: int) -> ResponseReturnValue:
    """The log of a run (S; shape A)."""
    connection, run = _own_run(run_id)
    if run is None:
        refuse(404, "ERROR_PIPELINE_RUN_DOES_NOT_EXIST")
    assert run is not None
    assert connection is not None
    at = f"{run.started_at:%Y-%m-%dT%H:%M:%S}"
    lines = [f"{at} INFO tap-{connection.connector.name}: starting, state found"]
    for table, count in run.records.items():
        lines.append(f"{at} INFO {table}: requesting since last bookmark")
        lines.append(f"{at} INFO {table}: {count} records written to target")
    if run.error:
        lines += [f"{at} WARNING retrying in 4 s (attempt 3 of 3)", f"{at} ERROR {run.error}"]
    lines.append(f"{at} INFO exit code {run.exit_code}")
    return jsonify(logs="\n".join(lines))


def _own_run(run_id: int) -> tuple[Connection | None, Run | None]:
    account_id, life = need_account(), sandbox().life
    run = life.run(run_id)
    connection = life.connection(run.connection_id) if run else None
    if connection is None or connection.account_id != account_id:
        return None, None
    return connection, run


@bp.post("/api/servers/invite/", endpoint="invite")
def invite() -> ResponseReturnValue:
    """Invite a customer to connect (S): 204 when e-mailed, the link when not."""
    need_account()
    body = request.get_json(silent=True) or {}
    if body.get("sendEmail"):
        return "", 204
    return jsonify(url=f"{request.host_url}sandbox/invite/{uuid4().hex}?connector={body.get('serverType', '')}")


@bp.get("/api/servers/<int:server_id>/reauthorise/", endpoint="reauthorise")
def reauthorise(server_id: int) -> ResponseReturnValue:
    """A consent link for an OAuth connection (D; path A)."""
    connection = own_connection(server_id)
    if connection.connector.auth != "oauth2":
        refuse(400, "ERROR_NOT_AN_OAUTH_CONNECTION", "Only OAuth connections can be reauthorised.")
    touched = sandbox().life.touch(server_id)
    touched.asked_at, touched.allowed_at = sandbox().life.clock(), None
    return jsonify(auth_uri=f"{request.host_url}sandbox/consent/{server_id}")


@bp.get("/api/servers/<int:server_id>/saltedge-refresh/", endpoint="saltedge_refresh")
def saltedge_refresh(server_id: int) -> ResponseReturnValue:
    """A refresh link for a bank; SaltEdge refuses a second within about an hour (D; path A)."""
    connection = own_connection(server_id)
    if connection.connector.auth != "saltedge":
        refuse(400, "ERROR_NOT_A_SALTEDGE_CONNECTION", "Only SaltEdge bank connections can be refreshed.")
    touched, at = sandbox().life.touch(server_id), sandbox().life.clock()
    if touched.bank_asked_at and at < touched.bank_asked_at + BANK_PAUSE:
        wait = int((touched.bank_asked_at + BANK_PAUSE - at).total_seconds())
        refuse(
            400,
            "ERROR_SALTEDGE_REFRESH_TOO_SOON",
            f"The bank can be asked again in {wait // 60 + 1} minutes.",
            {"Retry-After": str(wait)},
        )
    touched.bank_asked_at, touched.asked_at, touched.allowed_at = at, at, None
    return jsonify(url=f"{request.host_url}sandbox/consent/{server_id}")
