"""The knobs, for tests and people on this machine: faults, latency, one connection's fate, what was called."""

from dataclasses import fields
from typing import Any, NoReturn

from flask import Blueprint, jsonify, request
from flask.typing import ResponseReturnValue

from dashboard.sandbox.deps import body, refuse, sandbox
from dashboard.sandbox.faults import KINDS, Fault
from dashboard.sandbox.route_specs import ROUTES
from dashboard.sandbox.tables import DATA_FAULTS
from dashboard.sandbox.webhooks import OF_RUNS, STARTED, payload

bp = Blueprint("control", __name__, url_prefix="/sandbox/control")
MOST_TIMES = 100
SAID_OF_EVENTS = ("event_id", "timestamp", "pipeline_run_id", "status")
ENDS = ("COMPLETED", "COMPLETED_WITH_ERRORS", "ERROR", "INTERNAL_ERROR", "KILLED")


@bp.get("/state")
def state() -> ResponseReturnValue:
    """What was called, started, given out, switched on and sent: calls by route name, syncs by connection id."""
    parts = sandbox()
    starts = {
        str(key): touched.starts
        for key, touched in list(parts.life.touched.items())
        if touched.starts
    }
    faults = parts.faults
    return jsonify(
        calls=dict(faults.calls),
        busiest_second=faults.busiest_second(),
        syncs=starts,
        tokens=parts.tokens.issued,
        faults=len(faults.active),
        knobs=_knobs(),
        accounts=parts.life.count_accounts(),
        webhooks={"sent": parts.webhooks.sent, "failed": parts.webhooks.failed},
    )


@bp.get("/faults")
def list_faults() -> ResponseReturnValue:
    """The faults that are switched on."""
    return jsonify([vars(fault) for fault in list(sandbox().faults.active)])


@bp.post("/faults")
def add_fault() -> ResponseReturnValue:
    """Switch a fault on; see ``Fault`` for its fields. Answers its id, and how many are on."""
    told: dict[str, Any] = dict(body())
    known = {each.name for each in fields(Fault)} - {"id"}
    if not told.get("route") or set(told) - known:
        _wrong(f"A fault has a route and may have {', '.join(sorted(known - {'route'}))}.")
    if told["route"] not in {"*", *ROUTES}:
        _wrong(f"route is * or one of {', '.join(ROUTES)}.")
    if told.get("kind") not in {None, *KINDS}:
        refuse(400, "ERROR_UNKNOWN_KIND", f"kind is one of {', '.join(KINDS)}")
    for name in ("match", "headers", "delay_ms"):
        if told.get(name, 0) is None:
            told.pop(name)
    return jsonify(id=sandbox().faults.add(Fault(**told)), faults=len(sandbox().faults.active))


@bp.delete("/faults")
def clear_faults() -> ResponseReturnValue:
    """Switch all off."""
    sandbox().faults.clear()
    return jsonify(faults=0)


@bp.post("/knobs")
def knobs() -> ResponseReturnValue:
    """``{"latency_ms", "error_rate", "run_seconds": [least, most]}``, each optional."""
    told, parts = request.get_json(), sandbox()
    try:
        latency_ms = float(told.get("latency_ms", parts.faults.latency_ms))
        error_rate = float(told.get("error_rate", parts.faults.error_rate))
        least, most = (float(each) for each in told.get("run_seconds", parts.life.run_seconds))
    except (AttributeError, TypeError, ValueError):
        _wrong("latency_ms and error_rate are numbers, run_seconds two of them.")
    if latency_ms < 0 or not 0 <= error_rate <= 1 or not 0 <= least <= most:
        _wrong(
            "latency_ms is at least 0, error_rate between 0 and 1, run_seconds from least to most."
        )
    parts.faults.latency_ms, parts.faults.error_rate, parts.life.run_seconds = (
        latency_ms,
        error_rate,
        (least, most),
    )
    return jsonify(_knobs())


@bp.post("/connections/<int:connection_id>")
def connection(connection_id: int) -> ResponseReturnValue:
    """``{"health_status", "never_finishes", "next_run", "data_fault"}``, each optional.

    A ``health_status`` of null lifts a forced one; a ``data_fault`` of null is the seed's again, an empty one is none.
    """
    told, life = body(), sandbox().life
    found = life.connection(connection_id)
    if found is None:
        refuse(404, "ERROR_SERVER_DOES_NOT_EXIST", "The requested server does not exist.")
    status, ends_as = told.get("health_status"), told.get("next_run")
    if ends_as not in {None, *ENDS}:
        _wrong(f"next_run is one of {', '.join(ENDS)}.")
    data_fault = told.get("data_fault")
    if data_fault not in {None, "", *DATA_FAULTS}:
        _wrong(f"data_fault is one of {', '.join(DATA_FAULTS)}, or empty.")
    touched = life.touch(connection_id)
    if "data_fault" in told:
        touched.data_fault = None if data_fault is None else str(data_fault)
    if "health_status" in told:
        touched.forced_status = None if status is None else str(status)
    if "next_run" in told:
        touched.next_run = None if ends_as is None else str(ends_as)
    if "never_finishes" in told:
        (life.stick if told["never_finishes"] else life.release)(found)
    return jsonify(ok=True, health_status=life.status(found))


@bp.post("/webhooks")
def webhooks() -> ResponseReturnValue:
    """Where events go from now on: ``{"url", "secret"}``; nowhere without the first, unsigned without the second."""
    told = body()
    url, secret = (str(told.get(name) or "") for name in ("url", "secret"))
    try:
        sandbox().webhooks.configure(url, secret)
    except ValueError as error:
        _wrong(str(error))
    return jsonify(url=url or None, signed=bool(url and secret))


@bp.post("/webhooks/send")
def send_webhook() -> ResponseReturnValue:
    """Post one event now and answer the HTTP statuses, null where none came.

    ``{"connection_id", "event"}``, and as wanted ``pipeline_run_id`` (the newest run's), ``status`` (what the event says),
    ``event_id``, ``timestamp``, ``bad_signature`` and ``times`` (1 to 100, the same event each time).
    """
    told, life = body(), sandbox().life
    found, event, times = told.get("connection_id"), told.get("event"), told.get("times", 1)
    connection = life.connection(found) if isinstance(found, int) else None
    if connection is None:
        refuse(404, "ERROR_SERVER_DOES_NOT_EXIST", "The requested server does not exist.")
    if not isinstance(event, str) or not isinstance(times, int) or not 1 <= times <= MOST_TIMES:
        _wrong(f"event is a text, times a number from 1 to {MOST_TIMES}.")
    status, run_id = life.status(connection), None
    if event.startswith(OF_RUNS):
        status = "RUNNING" if event == STARTED else event.removeprefix(OF_RUNS).upper()
        run_id = next((run.id for run in life.runs(connection, 1)), None)
    made = payload(connection, event, life.clock(), status, run_id)
    made.update({name: told[name] for name in SAID_OF_EVENTS if name in told})
    try:
        statuses = sandbox().webhooks.send(
            made, times=times, bad_signature=bool(told.get("bad_signature"))
        )
    except LookupError:
        _wrong("There is no address to post to.")
    return jsonify(statuses)


@bp.post("/accounts/<int:account_id>/revoke-token")
def revoke(account_id: int) -> ResponseReturnValue:
    """Make the account's token worthless; the identity route gives a new one."""
    sandbox().tokens.revoke(account_id)
    return jsonify(ok=True)


@bp.post("/reset")
def reset() -> ResponseReturnValue:
    """Forget everything that was done since the start, knobs included."""
    parts = sandbox()
    parts.faults.forget()
    parts.life.forget()
    parts.tokens.forget()
    parts.webhooks.forget()
    return jsonify(ok=True)


def _knobs() -> dict[str, Any]:
    parts = sandbox()
    least, most = parts.life.run_seconds
    return {
        "latency_ms": parts.faults.latency_ms,
        "error_rate": parts.faults.error_rate,
        "run_seconds": [least, most],
    }


def _wrong(detail: str) -> NoReturn:
    refuse(400, "ERROR_REQUEST_BODY_VALIDATION", detail)
