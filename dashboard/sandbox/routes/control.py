"""Switches for tests and people on this machine: faults, latency, connections, counters."""

from dataclasses import fields
from typing import Any, NoReturn

from flask import Blueprint, jsonify, request
from flask.typing import ResponseReturnValue

from dashboard.sandbox.faults import KINDS, Fault
from dashboard.sandbox.route_helpers import body, refuse, sandbox
from dashboard.sandbox.route_specs import ROUTES
from dashboard.sandbox.tables import DATA_FAULTS
from dashboard.sandbox.webhooks import OF_RUNS, STARTED, payload

bp = Blueprint("control", __name__, url_prefix="/sandbox/control")
MOST_TIMES = 100
OVERRIDABLE = ("event_id", "timestamp", "pipeline_run_id", "status")
ENDS = ("COMPLETED", "COMPLETED_WITH_ERRORS", "ERROR", "INTERNAL_ERROR", "KILLED")


@bp.get("/state")
def state() -> ResponseReturnValue:
    """Return counters and switches: calls by route name, syncs by connection id."""
    current = sandbox()
    starts = {
        str(key): touched.starts
        for key, touched in list(current.life.touched.items())
        if touched.starts
    }
    faults = current.faults
    return jsonify(
        calls=dict(faults.calls),
        busiest_second=faults.busiest_second(),
        syncs=starts,
        tokens=current.tokens.issued,
        faults=len(faults.active),
        knobs=_knobs(),
        accounts=current.life.count_accounts(),
        webhooks={"sent": current.webhooks.sent, "failed": current.webhooks.failed},
    )


@bp.get("/faults")
def list_faults() -> ResponseReturnValue:
    """Return the faults that are switched on."""
    return jsonify([vars(fault) for fault in list(sandbox().faults.active)])


@bp.post("/faults")
def add_fault() -> ResponseReturnValue:
    """Switch a fault on; return its id and how many are on. ``Fault`` describes the fields."""
    given: dict[str, Any] = dict(body())
    known = {each.name for each in fields(Fault)} - {"id"}
    if not given.get("route") or set(given) - known:
        _wrong(f"A fault has a route and may have {', '.join(sorted(known - {'route'}))}.")
    if given["route"] not in {"*", *ROUTES}:
        _wrong(f"route is * or one of {', '.join(ROUTES)}.")
    if given.get("kind") not in {None, *KINDS}:
        refuse(400, "ERROR_UNKNOWN_KIND", f"kind is one of {', '.join(KINDS)}")
    for name in ("match", "headers", "delay_ms"):
        if given.get(name, 0) is None:
            given.pop(name)
    return jsonify(id=sandbox().faults.add(Fault(**given)), faults=len(sandbox().faults.active))


@bp.delete("/faults")
def clear_faults() -> ResponseReturnValue:
    """Switch all faults off."""
    sandbox().faults.clear()
    return jsonify(faults=0)


@bp.post("/knobs")
def knobs() -> ResponseReturnValue:
    """Set ``{"latency_ms", "error_rate", "run_seconds": [least, most]}``, each optional."""
    given, current = request.get_json(), sandbox()
    faults, life = current.faults, current.life
    try:
        latency_ms = float(given.get("latency_ms", faults.latency_ms))
        error_rate = float(given.get("error_rate", faults.error_rate))
        least, most = (float(each) for each in given.get("run_seconds", life.run_seconds))
    except (AttributeError, TypeError, ValueError):
        _wrong("latency_ms and error_rate are numbers, run_seconds two of them.")
    if latency_ms < 0 or not 0 <= error_rate <= 1 or not 0 <= least <= most:
        _wrong(
            "latency_ms is at least 0, error_rate between 0 and 1, run_seconds from least to most."
        )
    faults.latency_ms, faults.error_rate, life.run_seconds = latency_ms, error_rate, (least, most)
    return jsonify(_knobs())


@bp.post("/connections/<int:connection_id>")
def connection(connection_id: int) -> ResponseReturnValue:
    """Set ``{"health_status", "never_finishes", "next_run", "data_fault"}``, each optional.

    A ``health_status`` of null removes a forced one. A ``data_fault`` of null restores the seed's;
    an empty one removes it.
    """
    given, life = body(), sandbox().life
    found = life.connection(connection_id)
    if found is None:
        refuse(404, "ERROR_SERVER_DOES_NOT_EXIST", "The requested server does not exist.")
    status, ends_as = given.get("health_status"), given.get("next_run")
    if ends_as not in {None, *ENDS}:
        _wrong(f"next_run is one of {', '.join(ENDS)}.")
    data_fault = given.get("data_fault")
    if data_fault not in {None, "", *DATA_FAULTS}:
        _wrong(f"data_fault is one of {', '.join(DATA_FAULTS)}, or empty.")
    touched = life.touch(connection_id)
    if "data_fault" in given:
        touched.data_fault = None if data_fault is None else str(data_fault)
    if "health_status" in given:
        touched.forced_status = None if status is None else str(status)
    if "next_run" in given:
        touched.next_run = None if ends_as is None else str(ends_as)
    if "never_finishes" in given:
        (life.stick if given["never_finishes"] else life.release)(found)
    return jsonify(ok=True, health_status=life.status(found))


@bp.post("/webhooks")
def webhooks() -> ResponseReturnValue:
    """Send future events to ``{"url", "secret"}``; nowhere without url, unsigned without secret."""
    given = body()
    url, secret = (str(given.get(name) or "") for name in ("url", "secret"))
    try:
        sandbox().webhooks.configure(url, secret)
    except ValueError as error:
        _wrong(str(error))
    return jsonify(url=url or None, signed=bool(url and secret))


@bp.post("/webhooks/send")
def send_webhook() -> ResponseReturnValue:
    """Send one event and return the HTTP statuses, null where no response came.

    ``{"connection_id", "event"}``; optional are ``pipeline_run_id`` (default: the newest run's),
    ``status`` (default: derived from the event), ``event_id``, ``timestamp``, ``bad_signature``
    and ``times`` (1 to 100 requests with the same event).
    """
    given, life = body(), sandbox().life
    found, event, times = given.get("connection_id"), given.get("event"), given.get("times", 1)
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
    made.update({name: given[name] for name in OVERRIDABLE if name in given})
    try:
        statuses = sandbox().webhooks.send(
            made, times=times, bad_signature=bool(given.get("bad_signature"))
        )
    except LookupError:
        _wrong("There is no address to post to.")
    return jsonify(statuses)


@bp.post("/accounts/<int:account_id>/revoke-token")
def revoke(account_id: int) -> ResponseReturnValue:
    """Invalidate the account's token; the identity route issues a new one."""
    sandbox().tokens.revoke(account_id)
    return jsonify(ok=True)


@bp.post("/reset")
def reset() -> ResponseReturnValue:
    """Undo all changes since the start, switches included."""
    current = sandbox()
    current.faults.forget()
    current.life.forget()
    current.tokens.forget()
    current.webhooks.forget()
    return jsonify(ok=True)


def _knobs() -> dict[str, Any]:
    current = sandbox()
    least, most = current.life.run_seconds
    return {
        "latency_ms": current.faults.latency_ms,
        "error_rate": current.faults.error_rate,
        "run_seconds": [least, most],
    }


def _wrong(detail: str) -> NoReturn:
    refuse(400, "ERROR_REQUEST_BODY_VALIDATION", detail)
